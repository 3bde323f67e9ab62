//! `ringway-tune` and kernel settings, on machines made of files.

use crate::machine::{DROP_IN, Machine, SNAPSHOT};

const APPLY: &[&str] = &["apply", "--profile", "edge-100k"];
const VERIFY: &[&str] = &["verify", "--profile", "edge-100k"];

/// A machine after `apply`.
fn applied() -> Machine {
    let machine = Machine::new();
    machine.tune(APPLY).with(0);
    machine
}

#[test]
fn what_falls_short_is_raised_and_what_is_better_stays() {
    let machine = Machine::new();
    machine.set("net.core.somaxconn", "100000");
    machine.set("net.ipv4.tcp_fin_timeout", "5");
    machine.set("net.ipv4.ip_local_port_range", "20000\t61000");
    machine.tune(APPLY).with(0);
    assert_eq!(machine.get("net.core.somaxconn"), "100000");
    assert_eq!(machine.get("net.ipv4.tcp_fin_timeout"), "5");
    assert_eq!(machine.get("net.ipv4.ip_local_port_range"), "1024 65535");
    assert_eq!(machine.get("fs.file-max"), "2097152");
    assert_eq!(machine.get("net.ipv4.tcp_slow_start_after_idle"), "0");
    let drop_in = machine.read(DROP_IN);
    assert!(drop_in.contains("\nfs.file-max = 2097152\n"), "{drop_in}");
    assert!(!drop_in.contains("somaxconn"), "{drop_in}");
    machine.tune(VERIFY).with(0);
}

#[test]
fn a_bound_of_several_numbers_is_computed_from_ram_and_raised_number_by_number() {
    let machine = Machine::new();
    // Of 4,194,304 pages an eighth, three sixteenths and a quarter; the last is larger already.
    machine.set("net.ipv4.tcp_mem", "190000\t254000\t2000000");
    machine.tune(APPLY).with(0);
    assert_eq!(machine.get("net.ipv4.tcp_mem"), "524288 786432 2000000");
}

#[test]
fn a_number_that_awk_would_round_is_kept_to_the_digit() {
    let machine = Machine::new();
    machine.set("fs.file-max", "9223372036854775807");
    machine.tune(APPLY).with(0);
    assert_eq!(machine.get("fs.file-max"), "9223372036854775807");
}

#[test]
fn zero_stays_where_it_means_no_limit() {
    let machine = Machine::new();
    machine.set("fs.pipe-user-pages-soft", "0");
    machine.tune(APPLY).with(0);
    assert_eq!(machine.get("fs.pipe-user-pages-soft"), "0");
    machine.set("fs.pipe-user-pages-soft", "1");
    machine.tune(APPLY).with(0);
    assert_eq!(machine.get("fs.pipe-user-pages-soft"), "32768");
}

#[test]
fn ports_that_listen_are_reserved_before_the_range_reaches_them() {
    let machine = Machine::new();
    // 0x1F90 = 8080 and 0x2328 = 9000 listen; 22 is too low to be lent, 0x9C40 = 40000 could be lent all along; 0x0A is a
    // listener, 0x01 an open connection.
    machine.write(
        "proc/net/tcp",
        "  sl  local_address rem_address   st\n\
         0: 0100007F:1F90 00000000:0000 0A\n 1: 00000000:0016 00000000:0000 0A\n\
         2: 00000000:9C40 00000000:0000 0A\n 3: 0100007F:1388 0100007F:1F90 01\n",
    );
    machine.write(
        "proc/net/tcp6",
        "  sl  local_address rem_address   st\n\
         0: 00000000000000000000000000000000:2328 00000000000000000000000000000000:0000 0A\n",
    );
    machine.set("net.ipv4.ip_local_reserved_ports", "9001-9002,7000");
    machine
        .tune(&[APPLY, &["--service-ports", "9443,8080"]].concat())
        .with(0);
    let reserved = machine.get("net.ipv4.ip_local_reserved_ports");
    assert_eq!(reserved, "7000,8080,9000-9002,9443");
    let drop_in = machine.read(DROP_IN);
    let at = |key: &str| drop_in.find(key).unwrap();
    assert!(at("ip_local_reserved_ports") < at("ip_local_port_range"));
    // Who listens may have gone since; what was reserved has to be, still.
    machine.write("proc/net/tcp", "");
    machine.tune(VERIFY).with(0);
    machine.set("net.ipv4.ip_local_reserved_ports", "7000,8080");
    let verified = machine.tune(VERIFY).with(1);
    let line = verified.line("net.ipv4.ip_local_reserved_ports");
    assert!(line.contains("ringway-tune apply"), "{line}");
}

#[test]
fn planning_and_rehearsing_write_nothing() {
    let machine = Machine::new();
    let before = machine.everything();
    let plan = machine.tune(&["plan", "--profile", "edge-1m"]).with(0);
    assert!(
        plan.line("net.core.somaxconn")
            .starts_with("set net.core.somaxconn 4096 -> 65535"),
        "{}",
        plan.out
    );
    assert!(
        plan.line("net.netfilter.nf_conntrack_max")
            .contains("nothing to do"),
        "{}",
        plan.out
    );
    assert!(plan.out.contains("ringway doctor -c FILE"), "{}", plan.out);
    let rehearsal = machine.tune(&[APPLY, &["--dry-run"]].concat()).with(0);
    assert!(
        rehearsal.out.contains("+net.core.somaxconn|4096|16384"),
        "{}",
        rehearsal.out
    );
    assert!(
        rehearsal.out.contains("+net.core.somaxconn = 16384"),
        "{}",
        rehearsal.out
    );
    assert_eq!(machine.everything(), before);
}

#[test]
fn applying_twice_is_applying_once() {
    let machine = applied();
    let before = machine.everything();
    let again = machine.tune(APPLY).with(0);
    assert!(again.out.contains("set: 0;"), "{}", again.out);
    assert_eq!(machine.everything(), before);
}

#[test]
fn revert_leaves_no_trace() {
    let machine = Machine::new();
    let reread = |machine: &Machine| -> Vec<_> {
        let files = machine.everything().into_iter();
        files
            .map(|(path, text)| (path, String::from_utf8(text).unwrap().replace('\t', " ")))
            .collect()
    };
    let before = reread(&machine);
    machine.tune(APPLY).with(0);
    assert_ne!(reread(&machine), before);
    machine.tune(&["revert"]).with(0);
    assert_eq!(reread(&machine), before);
    let again = machine.tune(&["revert"]).with(0);
    assert!(again.out.contains("nothing to take back"), "{}", again.out);
}

#[test]
fn revert_leaves_alone_what_somebody_has_changed_and_says_so() {
    let machine = applied();
    machine.set("net.core.somaxconn", "30000");
    let mut drop_in = machine.read(DROP_IN);
    drop_in += "\nvm.overcommit_memory = 1\n";
    machine.write(DROP_IN, &drop_in);
    let reverted = machine.tune(&["revert"]).with(0);
    assert_eq!(machine.get("net.core.somaxconn"), "30000");
    let line = reverted.line("net.core.somaxconn");
    assert!(
        line.starts_with("left net.core.somaxconn is 30000"),
        "{line}"
    );
    assert_eq!(machine.get("net.ipv4.tcp_tw_reuse"), "2");
    assert_eq!(machine.read(DROP_IN), "vm.overcommit_memory = 1");
}

#[test]
fn another_profile_on_top_is_taken_back_to_where_the_first_began() {
    let machine = applied();
    machine.set("net.ipv4.tcp_max_orphans", "300000");
    machine.tune(&["apply", "--profile", "edge-1m"]).with(0);
    assert_eq!(machine.get("net.core.somaxconn"), "65535");
    // Without a profile, the one that was applied last.
    machine.tune(&["verify"]).with(0);
    machine.tune(&["revert"]).with(0);
    assert_eq!(machine.get("net.core.somaxconn"), "4096");
    // What somebody set in between counts as what was there.
    assert_eq!(machine.get("net.ipv4.tcp_max_orphans"), "300000");
}

#[test]
fn an_apply_that_was_cut_short_can_be_taken_back_and_gone_on_with() {
    let machine = applied();
    let whole = machine.read(SNAPSHOT);
    // The snapshot is written first: after a crash most settings are what they were.
    machine.set("net.core.somaxconn", "4096");
    machine.set("net.ipv4.tcp_tw_reuse", "2");
    machine.tune(APPLY).with(0);
    assert_eq!(machine.get("net.core.somaxconn"), "16384");
    assert_eq!(machine.read(SNAPSHOT), whole);
    machine.set("net.core.somaxconn", "4096");
    machine.tune(&["revert"]).with(0);
    assert_eq!(machine.get("net.core.somaxconn"), "4096");
    assert_eq!(machine.get("net.ipv4.tcp_mtu_probing"), "0");
}

#[test]
fn verify_names_what_falls_short_now_or_will_after_a_boot() {
    let machine = Machine::new();
    machine.tune(VERIFY).with(1);
    machine.tune(APPLY).with(0);
    machine.tune(VERIFY).with(0);
    machine.set("fs.file-max", "1600000");
    let verified = machine.tune(VERIFY).with(1);
    assert!(
        verified
            .line("fs.file-max")
            .contains("should be 2097152: ringway-tune apply"),
        "{}",
        verified.out
    );
    machine.tune(APPLY).with(0);

    machine.write(
        "usr/lib/sysctl.d/10-early.conf",
        "net.core.somaxconn = 128\n",
    );
    machine.tune(VERIFY).with(0);
    machine.write(
        "usr/lib/sysctl.d/99-late.conf",
        "-net/core/somaxconn=128\n# net.core.somaxconn = 9\n",
    );
    let verified = machine.tune(VERIFY).with(1);
    let line = verified.line("net.core.somaxconn");
    assert!(
        line.contains("99-late.conf sets it to 128 at boot"),
        "{line}"
    );
    // A file of that name in /etc hides the other.
    machine.write("etc/sysctl.d/99-late.conf", "");
    machine.tune(VERIFY).with(0);

    machine.write(DROP_IN, "");
    let verified = machine.tune(VERIFY).with(1);
    assert!(
        verified.out.contains("60-ringway.conf is not as it was"),
        "{}",
        verified.out
    );
}

#[test]
fn a_container_changes_its_own_network_alone_and_names_the_rest() {
    let machine = Machine::new();
    machine.write(".dockerenv", "");
    for of_the_host in [
        "net.ipv4.tcp_mem",
        "net.ipv4.tcp_max_orphans",
        "net.core.netdev_max_backlog",
    ] {
        machine.remove(of_the_host);
    }
    let ended = machine.tune(APPLY).with(0);
    assert_eq!(machine.get("net.core.somaxconn"), "16384");
    assert_eq!(machine.get("fs.file-max"), "1600000");
    for (key, value) in [
        ("fs.file-max", "2097152"),
        ("net.ipv4.tcp_mem", "524288 786432 1048576"),
    ] {
        let line = ended.line(key);
        let fix = format!("on the host: sysctl -w {key}=\"{value}\"");
        assert!(line.starts_with("no ") && line.ends_with(&fix), "{line}");
    }
    // What can be seen to fall short counts, what cannot be seen does not.
    let verified = machine.tune(VERIFY).with(1);
    assert!(
        verified
            .line("net.ipv4.tcp_mem")
            .starts_with("unseen net.ipv4.tcp_mem"),
        "{}",
        verified.out
    );
    machine.set("fs.file-max", "2097152");
    machine.set("fs.pipe-user-pages-soft", "32768");
    machine.tune(VERIFY).with(0);
}

#[test]
fn a_container_on_its_hosts_network_changes_nothing() {
    let machine = Machine::new();
    machine.write("run/systemd/container", "podman");
    let before = machine.everything();
    let ended = machine.tune(APPLY).with(0);
    let line = ended.line("net.core.somaxconn");
    assert!(
        line.contains("has the host's network; on the host"),
        "{line}"
    );
    assert_eq!(machine.everything(), before);
}

#[test]
fn a_process_namespace_of_its_own_is_a_container() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("proc/self/ns")).unwrap();
    let link = machine.path("proc/self/ns/pid");
    for (namespace, word) in [("pid:[4026531836]", "no"), ("pid:[4026532999]", "yes")] {
        std::os::unix::fs::symlink(namespace, &link).unwrap();
        let plan = machine.tune(&["plan", "--profile", "latency"]).with(0);
        let says = format!("container: {word}");
        assert!(plan.out.contains(&says), "{namespace}: {}", plan.out);
        std::fs::remove_file(&link).unwrap();
    }
}

#[test]
fn explain_tells_everything_of_a_setting_for_this_machine() {
    let machine = Machine::new();
    let ended = machine.tune(&["explain", "net.ipv4.tcp_mem"]).with(0);
    for phrase in [
        "now 190000 254000 380000",
        "edge-100k: at least ram_pages/8",
        "edge-1m: ",
        "unit:      pages",
        "can hurt:  This memory cannot be swapped",
        "source:    networking/ip-sysctl.rst",
        "here:      524288 786432 1048576",
    ] {
        assert!(
            ended.out.contains(phrase),
            "no {phrase:?} in\n{}",
            ended.out
        );
    }
    let ended = machine.tune(&["explain", "vm.stat_interval", "--profile", "latency"]);
    assert!(ended.with(0).out.contains("latency: at least 10"));
}

#[test]
fn what_is_not_understood_is_a_usage_error_that_says_what_is() {
    let machine = Machine::new();
    for (arguments, phrase) in [
        (&[] as &[&str], "ringway-tune help"),
        (&["tune"], "unknown command tune"),
        (&["apply"], "one of: edge-100k edge-1m latency"),
        (&["apply", "--profile", "huge"], "edge-100k edge-1m latency"),
        (&["apply", "--profile", "../lib/state.sh"], "takes a name"),
        (&["verify"], "which profile?"),
        (&["plan", "--dry-run"], "goes with apply"),
        (&["plan", "--service-ports", "http"], "1 to 65535"),
        (&["plan", "--service-ports", "0"], "1 to 65535"),
        (&["plan", "extra"], "unexpected argument"),
        (&["explain"], "explain which setting"),
        (&["explain", "net.ipv4.tcp_tw_recycle"], "no profile sets"),
    ] {
        let ended = machine.tune(arguments).with(2);
        assert!(ended.err.contains(phrase), "{arguments:?}: {}", ended.err);
    }
    let help = machine.tune(&["help"]).with(0);
    assert!(help.out.contains("Exit codes:"), "{}", help.out);
}

#[test]
fn two_at_once_exclude_each_other() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("var/lib/ringway-tune/lock")).unwrap();
    let before = machine.everything();
    for command in [APPLY, &["revert"]] {
        let ended = machine.tune(command).with(71);
        assert!(ended.err.contains("rmdir"), "{}", ended.err);
    }
    assert_eq!(machine.everything(), before);
    std::fs::remove_dir(machine.path("var/lib/ringway-tune/lock")).unwrap();
    machine.tune(APPLY).with(0);
}

#[test]
fn nothing_is_changed_when_the_snapshot_cannot_be_written() {
    let machine = Machine::new();
    // A file in the place of its folder: nobody can write there, not even root.
    machine.write("var/lib/ringway-tune", "");
    let before = machine.everything();
    let ended = machine.tune(APPLY).with(71);
    assert!(ended.err.contains("run as root"), "{}", ended.err);
    assert_eq!(machine.everything(), before);
}
