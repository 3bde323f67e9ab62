//! Each check on machines made of files.

use super::*;
use crate::config::Config;
use crate::doctor::State;
use crate::doctor::facts::tests::Machine;

/// So many connections on four workers.
fn load(connections: u64) -> Load {
    Load::of(None, Some(connections), 4)
}

/// The state of one finding; `None` when nothing was found to say.
fn state(machine: &Machine, load: &Load, key: &str) -> Option<State> {
    let findings = all(&machine.facts, load);
    let found = findings
        .into_iter()
        .chain(network_cards(&machine.facts, load));
    let mut found = found.filter(|finding| finding.key == key);
    let finding = found.next()?;
    if finding.state != State::Fine {
        assert!(!finding.why.is_empty() && !finding.fix.is_empty(), "{key}");
    }
    Some(finding.state)
}

/// The states of a finding while a kernel setting takes these values.
fn states<const N: usize>(
    machine: &Machine,
    load: &Load,
    key: &str,
    values: [&str; N],
) -> [State; N] {
    values.map(|value| {
        machine.set(key, value);
        state(machine, load, key).expect(key)
    })
}

const FINE: State = State::Fine;
const WARNING: State = State::Warning;

#[test]
fn descriptors_are_two_a_connection_and_a_reserve() {
    let mut machine = Machine::new();
    machine.facts.nofile = (1024, 20_064);
    assert_eq!(state(&machine, &load(10_000), NOFILE), Some(FINE));
    machine.facts.nofile = (1024, 20_063);
    assert_eq!(state(&machine, &load(10_000), NOFILE), Some(WARNING));
    assert_eq!(
        states(&machine, &load(10_000), "fs.nr_open", ["20064", "20063"]),
        [FINE, WARNING]
    );
}

#[test]
fn locked_memory_has_to_hold_the_rings_of_two_processes() {
    let mut machine = Machine::new();
    // Four workers: 2 × 4 × 320 KiB.
    machine.facts.memlock = 2560 << 10;
    assert_eq!(state(&machine, &load(1), "memlock"), Some(FINE));
    machine.facts.memlock -= 1;
    assert_eq!(state(&machine, &load(1), "memlock"), Some(WARNING));
    // CAP_IPC_LOCK is bit 14.
    machine.write("proc/self/status", "CapEff:\t0000000000004000\n");
    assert_eq!(state(&machine, &load(1), "memlock"), Some(FINE));
}

#[test]
fn files_that_others_have_open_count() {
    let machine = Machine::new();
    machine.set("fs.file-nr", "1000\t0\t21064");
    assert_eq!(state(&machine, &load(10_000), "fs.file-max"), Some(FINE));
    machine.set("fs.file-nr", "1001\t0\t21064");
    assert_eq!(state(&machine, &load(10_000), "fs.file-max"), Some(WARNING));
}

#[test]
fn without_a_load_only_what_is_always_wrong_is_wrong() {
    let mut machine = Machine::new();
    machine.facts.nofile = (64, 64);
    machine.set("fs.nr_open", "64");
    machine.set("fs.file-nr", "60\t0\t64");
    machine.set("net.ipv4.tcp_ehash_entries", "64");
    machine.set("fs.pipe-user-pages-soft", "16384");
    machine.set("kernel.osrelease", "6.18.44");
    let findings = all(&machine.facts, &Load::of(None, None, 4));
    assert!(findings.iter().all(|it| it.state == FINE), "{findings:#?}");
    assert!(findings.iter().any(|it| it.key == NOFILE));
}

#[test]
fn ports_are_counted_for_each_backend_and_source_address() {
    const KEY: &str = "net.ipv4.ip_local_port_range";
    let config = |upstream: &str| {
        let text = format!(
            "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\nupstream = \"u\"\n[[upstream]]\nname = \"u\"\n{upstream}\n"
        );
        Config::parse(&text, "test.toml").unwrap()
    };
    let one = "[[upstream.backend]]\naddress = \"10.0.0.1:80\"";
    let two = format!("{one}\n[[upstream.backend]]\naddress = \"10.0.0.2:80\"");
    let backup = format!("{two}\nbackup = true");
    let sources = format!("source_addresses = [\"10.0.0.8\", \"10.0.0.9\"]\n{one}");
    let machine = Machine::new();
    machine.set(KEY, "32768\t60999");
    for (upstream, connections, wanted) in [
        (one, 28_232, FINE),
        (one, 28_233, WARNING),
        (&two, 56_464, FINE),
        (&backup, 56_464, WARNING),
        (&sources, 56_464, FINE),
        (&sources, 56_465, WARNING),
    ] {
        let load = Load::of(Some(&config(upstream)), Some(connections), 1);
        assert_eq!(
            state(&machine, &load, KEY),
            Some(wanted),
            "{upstream} {connections}"
        );
    }
}

#[test]
fn pipes_are_sixteen_mebibytes_a_worker() {
    const KEY: &str = "fs.pipe-user-pages-soft";
    let machine = Machine::new();
    let found = states(&machine, &load(1), KEY, ["16384", "16383", "0"]);
    assert_eq!(found, [FINE, WARNING, FINE]);
    machine.set(KEY, "1");
    // CAP_SYS_RESOURCE is bit 24.
    machine.write("proc/self/status", "CapEff:\t0000000001000000\n");
    assert_eq!(state(&machine, &load(1), KEY), Some(FINE));
}

#[test]
fn memory_has_to_hold_connections_and_workers() {
    let machine = Machine::new();
    // 16 GiB, of which four workers take 448 MiB.
    assert_eq!(state(&machine, &load(1_800_000), "memory"), Some(FINE));
    assert_eq!(state(&machine, &load(1_900_000), "memory"), Some(WARNING));
    assert_eq!(state(&machine, &load(1), "cgroup.memory"), None);
    machine.write("proc/self/cgroup", "0::/\n");
    machine.write("sys/fs/cgroup/memory.max", "1073741824\n");
    assert_eq!(state(&machine, &load(60_000), "cgroup.memory"), Some(FINE));
    assert_eq!(
        state(&machine, &load(70_000), "cgroup.memory"),
        Some(WARNING)
    );
    // More than there is, is no limit.
    machine.write("sys/fs/cgroup/memory.max", "9223372036854771712\n");
    assert_eq!(state(&machine, &load(70_000), "cgroup.memory"), None);
}

#[test]
fn too_few_tasks_or_processor_time_in_a_group_are_found() {
    let machine = Machine::new();
    machine.write("proc/self/cgroup", "0::/\n");
    for (tasks, wanted) in [("20", FINE), ("19", State::Critical)] {
        machine.write("sys/fs/cgroup/pids.max", tasks);
        assert_eq!(state(&machine, &load(1), "cgroup.pids"), Some(wanted));
    }
    for (quota, wanted) in [("400000 100000", FINE), ("399000 100000", WARNING)] {
        machine.write("sys/fs/cgroup/cpu.max", quota);
        assert_eq!(state(&machine, &load(1), "cgroup.cpu"), Some(wanted));
    }
    machine.write("sys/fs/cgroup/cpu.max", "max 100000");
    assert_eq!(state(&machine, &load(1), "cgroup.cpu"), None);
}

#[test]
fn the_table_of_connections_has_a_bucket_for_each() {
    let found = states(
        &Machine::new(),
        &load(500_000),
        "net.ipv4.tcp_ehash_entries",
        ["524288", "-524288", "262144"],
    );
    assert_eq!(found, [FINE, FINE, WARNING]);
}

#[test]
fn kernels_that_forget_to_wake_who_was_moved_are_known() {
    const KEY: &str = "kernel.migration";
    let machine = Machine::new();
    for (release, version, wanted) in [
        ("6.12.85", "#1 SMP", Some(WARNING)),
        ("6.12.86-custom", "#1 SMP", Some(FINE)),
        (
            "6.1.0-37-amd64",
            "#1 SMP Debian 6.1.140-1 (2025-05-22)",
            Some(WARNING),
        ),
        (
            "6.1.0-47-amd64",
            "#1 SMP Debian 6.1.176-1 (2026-06-01)",
            Some(FINE),
        ),
        ("6.8.0-57-generic", "#59-Ubuntu SMP", None),
        ("7.1.2", "#1 SMP", None),
    ] {
        machine.set("kernel.osrelease", release);
        machine.set("kernel.version", version);
        machine.set("net.ipv4.tcp_migrate_req", "1");
        assert_eq!(state(&machine, &load(1), KEY), wanted, "{release}");
        machine.set("net.ipv4.tcp_migrate_req", "0");
        assert_eq!(state(&machine, &load(1), KEY), None, "{release}");
    }
}

#[test]
fn a_slow_clock_and_huge_pages_for_all_are_warned_about() {
    let machine = Machine::new();
    for (clock, wanted) in [("tsc", FINE), ("kvm-clock", FINE), ("hpet", WARNING)] {
        machine.write(
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            clock,
        );
        assert_eq!(state(&machine, &load(1), "clocksource"), Some(wanted));
    }
    for (modes, wanted) in [
        ("always [madvise] never", FINE),
        ("[always] madvise never", WARNING),
    ] {
        machine.write("sys/kernel/mm/transparent_hugepage/enabled", modes);
        assert_eq!(
            state(&machine, &load(1), "transparent_hugepage"),
            Some(wanted)
        );
    }
}

#[test]
fn a_card_with_fewer_queues_than_workers_is_found_where_the_load_is_high() {
    let machine = Machine::new();
    machine.write("sys/class/net/lo/queues/rx-0/rps_cpus", "0");
    machine.write("sys/class/net/eth0/device/vendor", "0x1d0f");
    for queue in 0..3 {
        machine.write(
            &format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"),
            "0",
        );
    }
    assert_eq!(state(&machine, &load(9_999), "eth0.queues"), Some(FINE));
    assert_eq!(state(&machine, &load(10_000), "eth0.queues"), Some(WARNING));
    for queue in 0..3 {
        assert_eq!(state(&machine, &load(10_000), "eth0.queues"), Some(WARNING));
        let mask = format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus");
        machine.write(&mask, "00000000,00000002\n");
    }
    assert_eq!(state(&machine, &load(10_000), "eth0.queues"), Some(FINE));
    machine.write("sys/class/net/eth0/queues/rx-3/rps_cpus", "0");
    assert_eq!(state(&machine, &load(10_000), "eth0.queues"), Some(FINE));
    assert_eq!(state(&machine, &load(10_000), "lo.queues"), None);
}
