//! `ringway-nic`, on a card made of files and an ethtool that is a script.

use crate::machine::{Ended, Machine, script};

/// Keeps channels and coalescing in files beside itself, and answers as ethtool 6.1 does.
const ETHTOOL: &str = r#"#!/bin/sh
at=$(dirname "$0")
case "$*" in
'-l eth0') printf 'Channel parameters for eth0:\nPre-set maximums:\nRX:\t\tn/a\nOther:\t\t1\nCombined:\t%s\n' "$(cat "$at/most")"
    printf 'Current hardware settings:\nRX:\t\tn/a\nOther:\t\t1\nCombined:\t%s\n' "$(cat "$at/combined")" ;;
'-c eth0') printf 'Coalesce parameters for eth0:\nAdaptive RX: %s  TX: n/a\n' "$(cat "$at/adaptive-rx")"
    printf 'stats-block-usecs:\tn/a\nrx-usecs:\t%s\nrx-usecs-irq:\tn/a\n' "$(cat "$at/rx-usecs")" ;;
'-L eth0 combined '*) echo "$4" >"$at/combined" ;;
'-C eth0 '*) echo "$4" >"$at/$3" ;;
*) echo "unexpected: $*" >&2; exit 64 ;;
esac
"#;

const IRQS: [&str; 4] = ["40", "41", "42", "43"];

/// Four CPUs, a card of four queues with an interrupt each, and one more for its management.
fn card() -> Machine {
    let machine = Machine::new();
    machine.program("usr/sbin/ethtool", ETHTOOL);
    for (name, value) in [
        ("most", "64"),
        ("combined", "4"),
        ("adaptive-rx", "off"),
        ("rx-usecs", "50"),
    ] {
        machine.write(&format!("usr/sbin/{name}"), value);
    }
    for (queue, irq) in IRQS.iter().enumerate() {
        machine.write(&affinity(irq), "0-2,7\n");
        machine.write(
            &format!("sys/class/net/eth0/device/msi_irqs/{irq}"),
            "msix\n",
        );
        machine.write(&xps(queue), "00000000,00000000\n");
        machine.write(&rps(queue), "00000000,00000000\n");
    }
    machine.write("sys/class/net/eth0/device/msi_irqs/39", "msix\n");
    machine.write(&affinity("39"), "0-2,7\n");
    interrupts(&machine, "eth0-TxRx-");
    machine
}

/// Names the interrupts of the card, in an order that is not theirs, among those of others.
fn interrupts(machine: &Machine, name: &str) {
    machine.write(
        "proc/interrupts",
        &format!(
            "            CPU0       CPU1       CPU2       CPU7\n\
             \x20 9:          0          0          0          0  IO-APIC   9-fasteoi   acpi\n\
             \x2039:          1          0          0          0  PCI-MSI 0-edge      ena-mgmnt@pci:0000:00:05.0\n\
             \x2041:          0         17          0          0  PCI-MSI 1-edge      {name}1\n\
             \x2040:         23          0          0          0  PCI-MSI 2-edge      {name}0\n\
             \x2043:          0          0          0          2  PCI-MSI 4-edge      {name}3\n\
             \x2042:          0          0          5          0  PCI-MSI 3-edge      {name}2\n\
             \x2050:          0          0          5          0  PCI-MSI 3-edge      nvme0q2\n"
        ),
    );
}

fn affinity(irq: &str) -> String {
    format!("proc/irq/{irq}/smp_affinity_list")
}

fn xps(queue: usize) -> String {
    format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus")
}

fn rps(queue: usize) -> String {
    format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus")
}

fn nic(machine: &Machine, arguments: &[&str]) -> Ended {
    machine.run(&[script("ringway-nic").to_str().unwrap()], arguments)
}

const APPLY: &[&str] = &["apply", "eth0", "--profile", "edge-100k"];

#[test]
fn each_queue_gets_a_cpu_and_is_taken_back() {
    let machine = card();
    let before = machine.everything();
    nic(&machine, &["plan", "eth0", "--profile", "edge-100k"]).with(0);
    assert_eq!(machine.everything(), before);

    nic(&machine, APPLY).with(0);
    assert_eq!(
        IRQS.map(|irq| machine.read(&affinity(irq))),
        ["0", "1", "2", "7"]
    );
    assert_eq!(
        [0, 1, 2, 3].map(|queue| machine.read(&xps(queue))),
        ["1", "2", "4", "80"]
    );
    assert_eq!(machine.read("usr/sbin/adaptive-rx"), "on");
    // A queue for each CPU: nothing is passed on. The card's own interrupt is nobody's queue.
    assert_eq!(machine.read(&rps(0)), "00000000,00000000");
    assert_eq!(machine.read(&affinity("39")), "0-2,7");
    nic(&machine, &["verify", "eth0"]).with(0);

    let applied = machine.everything();
    nic(&machine, APPLY).with(0);
    assert_eq!(machine.everything(), applied);

    machine.write(&affinity("42"), "1\n");
    nic(&machine, &["verify", "eth0"]).with(1);
    let reverted = nic(&machine, &["revert", "eth0"]).with(0);
    assert!(
        reverted
            .line("/proc/irq/42/smp_affinity_list")
            .starts_with("left"),
        "{}",
        reverted.out
    );
    assert_eq!(machine.read(&affinity("42")), "1");
    assert_eq!(machine.read(&affinity("43")), "0-2,7");
    assert_eq!(machine.read(&xps(3)), "0");
    assert_eq!(machine.read("usr/sbin/adaptive-rx"), "off");
}

#[test]
fn the_workers_cpus_can_be_named_and_bound_the_queues() {
    let machine = card();
    nic(&machine, &[APPLY, &["--cpus", "1-2"]].concat()).with(0);
    assert_eq!(machine.read("usr/sbin/combined"), "2");
    // The files still have four queues, which go round.
    assert_eq!(
        IRQS.map(|irq| machine.read(&affinity(irq))),
        ["1", "2", "1", "2"]
    );
    assert_eq!(
        [0, 1, 2, 3].map(|queue| machine.read(&xps(queue))),
        ["2", "4", "2", "4"]
    );
}

#[test]
fn fewer_queues_than_cpus_are_shared_out() {
    let machine = card();
    machine.write("usr/sbin/most", "2");
    machine.write("usr/sbin/combined", "1");
    for queue in [2, 3] {
        for side in ["tx", "rx"] {
            let folder = format!("sys/class/net/eth0/queues/{side}-{queue}");
            std::fs::remove_dir_all(machine.path(&folder)).unwrap();
        }
    }
    nic(&machine, APPLY).with(0);
    assert_eq!(machine.read("usr/sbin/combined"), "2");
    // CPUs 0 and 2 are bits 0 and 2; 1 and 7 are bits 1 and 7.
    assert_eq!([0, 1].map(|queue| machine.read(&rps(queue))), ["5", "82"]);
    assert_eq!([0, 1].map(|queue| machine.read(&xps(queue))), ["5", "82"]);
}

#[test]
fn masks_of_large_machines_are_words_of_32_bits() {
    let machine = card();
    machine.write("sys/devices/system/cpu/online", "0-95\n");
    nic(&machine, &[APPLY, &["--cpus", "0,31,32,95"]].concat()).with(0);
    assert_eq!(
        [0, 1, 2, 3].map(|queue| machine.read(&xps(queue))),
        ["1", "80000000", "1,00000000", "80000000,00000000,00000000"]
    );
    nic(&machine, &["verify", "eth0", "--cpus", "0,31,32,95"]).with(0);
}

#[test]
fn latency_bounds_the_wait_and_never_lengthens_it() {
    let machine = card();
    machine.write("usr/sbin/adaptive-rx", "on");
    let apply = ["apply", "eth0", "--profile", "latency"];
    nic(&machine, &apply).with(0);
    assert_eq!(machine.read("usr/sbin/adaptive-rx"), "off");
    assert_eq!(machine.read("usr/sbin/rx-usecs"), "8");
    machine.write("usr/sbin/rx-usecs", "0");
    nic(&machine, &apply).with(0);
    assert_eq!(machine.read("usr/sbin/rx-usecs"), "0");
}

#[test]
fn interrupts_are_known_by_the_names_that_drivers_give_them() {
    for name in [
        "eth0-TxRx-",
        "i40e-eth0-TxRx-",
        "eth0-Tx-Rx-",
        "eth0-rx-",
        "virtio3-input.",
        "eth0-",
    ] {
        let machine = card();
        interrupts(&machine, name);
        nic(&machine, APPLY).with(0);
        let set = IRQS.map(|irq| machine.read(&affinity(irq)));
        assert_eq!(set, ["0", "1", "2", "7"], "{name}");
    }
    let machine = card();
    interrupts(&machine, "mlx5_comp");
    let named = machine.read("proc/interrupts");
    let named = named.replace("mlx5_comp2", "mlx5_comp2@pci:0000:81:00.0");
    machine.write("proc/interrupts", &named);
    nic(&machine, APPLY).with(0);
    assert_eq!(machine.read(&affinity("42")), "2");
}

#[test]
fn an_interrupt_that_cannot_be_told_is_not_guessed() {
    let machine = card();
    interrupts(&machine, "mystery");
    let ended = nic(&machine, APPLY).with(1);
    assert!(
        ended
            .out
            .contains("4 receive queues, but only 0 interrupts"),
        "{}",
        ended.out
    );
    assert_eq!(machine.read(&affinity("40")), "0-2,7");
    // The rest is known, and done.
    assert_eq!(machine.read(&xps(0)), "1");
    let verified = nic(&machine, &["verify", "eth0"]).with(1);
    assert!(
        verified.out.contains("unknown  interrupts"),
        "{}",
        verified.out
    );
}

#[test]
fn irqbalance_is_not_fought_with() {
    let machine = card();
    machine.write("proc/77/comm", "irqbalance\n");
    let ended = nic(&machine, APPLY).with(1);
    assert!(
        ended.out.contains("disable --now irqbalance"),
        "{}",
        ended.out
    );
    assert_eq!(machine.read(&affinity("40")), "0-2,7");
}

#[test]
fn what_the_driver_does_not_say_is_left_alone() {
    let machine = card();
    for unsaid in ["most", "combined", "adaptive-rx", "rx-usecs"] {
        machine.write(&format!("usr/sbin/{unsaid}"), "n/a");
    }
    let ended = nic(&machine, APPLY).with(0);
    assert!(ended.out.contains("does not say how many"), "{}", ended.out);
    for unsaid in ["combined", "adaptive-rx", "rx-usecs"] {
        assert_eq!(machine.read(&format!("usr/sbin/{unsaid}")), "n/a");
    }
}

#[test]
fn what_is_no_card_is_refused_with_what_to_do() {
    let machine = card();
    machine.write("sys/class/net/bond0/lower_eth0", "");
    let ended = nic(&machine, &["plan", "bond0", "--profile", "latency"]).with(1);
    assert!(ended.err.contains("lower_eth0"), "{}", ended.err);
    for (arguments, phrase) in [
        (&["plan"] as &[&str], "bond0 eth0"),
        (&["plan", "eth9", "--profile", "latency"], "no device eth9"),
        (&["plan", "eth0"], "which profile?"),
        (&["plan", "eth0", "--profile", "fast"], "no profile fast"),
        (
            &["plan", "eth0", "--profile", "latency", "--cpus", "3"],
            "no CPU 3",
        ),
        (
            &["plan", "eth0", "--profile", "latency", "--cpus", "a"],
            "such as 0-3,8",
        ),
        (&["tune", "eth0"], "unknown command tune"),
    ] {
        let ended = nic(&machine, arguments).with(2);
        assert!(ended.err.contains(phrase), "{arguments:?}: {}", ended.err);
    }
    std::fs::remove_file(machine.path("usr/sbin/ethtool")).unwrap();
    let ended = nic(&machine, APPLY).with(71);
    assert!(
        ended.err.contains("apt-get install ethtool"),
        "{}",
        ended.err
    );
}
