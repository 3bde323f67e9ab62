//! Ports kept out of connection tracking: what `ringway-tune` asks of an nft that is a script.

use crate::machine::Machine;

/// Keeps one table, as nft would, and lists what others have set up.
const NFT: &str = r#"#!/bin/sh
folder=$(dirname "$0")
case "$*" in
'list ruleset') cat "$folder/firewall"; [ ! -f "$folder/table" ] || cat "$folder/table" ;;
'-s list table inet ringway_notrack') cat "$folder/table" ;;
'delete table inet ringway_notrack') rm "$folder/table" ;;
'-f '*) [ ! -f "$folder/broken" ] && sed -n '/{$/,$p' "$2" >"$folder/table" ;;
*) echo "unexpected: $*" >&2; exit 64 ;;
esac
"#;

const TABLE: &str = "usr/sbin/table";
const RULES: &str = "etc/ringway/notrack.nft";

fn machine() -> Machine {
    let machine = Machine::new();
    machine.set("net.netfilter.nf_conntrack_max", "9000000");
    machine.program("usr/sbin/nft", NFT);
    machine.write("usr/sbin/firewall", "table ip filter {\n}\n");
    machine
}

fn with_ports<'a>(command: &'a str, service: &'a str, backend: &'a str) -> Vec<&'a str> {
    [
        command,
        "--profile",
        "latency",
        "--service-ports",
        service,
        "--backend-ports",
        backend,
    ]
    .to_vec()
}

#[test]
fn both_directions_of_service_and_backend_connections_are_left_out() {
    let machine = machine();
    let before = machine.everything();
    let plan = machine
        .tune(&with_ports("plan", "9000,9443", "8080"))
        .with(0);
    assert!(
        plan.out.contains("can hurt: address translation"),
        "{}",
        plan.out
    );
    assert_eq!(machine.everything(), before);
    machine
        .tune(&with_ports("apply", "9000,9443", "8080"))
        .with(0);
    let table = machine.read(TABLE);
    for rule in [
        "hook prerouting priority raw;\n        tcp dport { 9000, 9443 } notrack\n        tcp sport { 8080 } notrack\n",
        "hook output priority raw;\n        tcp sport { 9000, 9443 } notrack\n        tcp dport { 8080 } notrack\n",
    ] {
        assert!(table.contains(rule), "{table}");
    }
    assert!(machine.read(RULES).contains(&table));
    machine
        .tune(&with_ports("verify", "9000,9443", "8080"))
        .with(0);
    machine
        .tune(&with_ports("verify", "9000,9444", "8080"))
        .with(1);
}

#[test]
fn a_table_that_is_gone_is_noticed_and_loaded_again() {
    let machine = machine();
    machine.tune(&with_ports("apply", "9000", "8080")).with(0);
    machine.tune(&["verify"]).with(0);
    let applied = machine.everything();
    // `nft flush ruleset`, as /etc/nftables.conf begins.
    std::fs::remove_file(machine.path(TABLE)).unwrap();
    let verified = machine.tune(&["verify"]).with(1);
    assert!(verified.out.contains("apply again"), "{}", verified.out);
    machine.tune(&with_ports("apply", "9000", "8080")).with(0);
    assert_eq!(machine.everything(), applied);
}

#[test]
fn revert_removes_the_table_unless_somebody_has_changed_it() {
    let machine = machine();
    let before = machine.everything();
    machine.tune(&with_ports("apply", "9000", "8080")).with(0);
    machine.tune(&["revert"]).with(0);
    assert_eq!(machine.everything(), before);

    machine.tune(&with_ports("apply", "9000", "8080")).with(0);
    let changed = machine.read(TABLE).replace("9000", "9001");
    machine.write(TABLE, &changed);
    let reverted = machine.tune(&["revert"]).with(0);
    assert!(
        reverted
            .out
            .contains("nft delete table inet ringway_notrack"),
        "{}",
        reverted.out
    );
    assert_eq!(machine.read(TABLE), changed);
}

#[test]
fn a_firewall_that_goes_by_states_is_not_locked_out_of() {
    let machine = machine();
    let stateful = "table inet filter {\n    ct state established accept\n}\n";
    machine.write("usr/sbin/firewall", stateful);
    let ended = machine.tune(&with_ports("apply", "9000", "8080")).with(1);
    assert!(
        ended.out.contains("ct state untracked accept"),
        "{}",
        ended.out
    );
    assert_eq!(machine.read(TABLE), "");
    let prepared = format!("{stateful}table inet more {{\n    ct state untracked accept\n}}\n");
    machine.write("usr/sbin/firewall", &prepared);
    machine.tune(&with_ports("apply", "9000", "8080")).with(0);
    assert_ne!(machine.read(TABLE), "");
}

#[test]
fn where_nothing_is_tracked_nothing_is_loaded() {
    let machine = machine();
    machine.remove("net.netfilter.nf_conntrack_max");
    let ended = machine.tune(&with_ports("apply", "9000", "8080")).with(0);
    assert!(ended.out.contains("nothing to bypass"), "{}", ended.out);
    assert_eq!(machine.read(RULES), "");
}

#[test]
fn what_nft_lacks_or_refuses_is_said() {
    let machine = machine();
    machine.write("usr/sbin/broken", "");
    let ended = machine.tune(&with_ports("apply", "9000", "8080")).with(1);
    assert!(ended.out.contains("nft refused"), "{}", ended.out);
    std::fs::remove_file(machine.path("usr/sbin/nft")).unwrap();
    let ended = machine.tune(&with_ports("apply", "9000", "8080")).with(1);
    assert!(
        ended.out.contains("apt-get install nftables"),
        "{}",
        ended.out
    );
}
