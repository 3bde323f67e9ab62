//! The scripts under more than one shell, and before shellcheck.

use crate::machine::{Machine, script};
use crate::support::skip;
use std::process::{Command, Stdio};

const SCRIPTS: &[&str] = &[
    "ringway-tune",
    "ringway-nic",
    "lib/state.sh",
    "lib/snapshot.sh",
    "lib/notrack.sh",
];

fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$1\"", "sh", program])
        .stdout(Stdio::null())
        .status();
    found.unwrap().success()
}

#[test]
fn every_shell_does_the_same() {
    let shells: &[&[&str]] = &[&["dash"], &["bash", "--posix"], &["busybox", "sh"]];
    let mut ran = 0;
    for shell in shells.iter().filter(|shell| is_installed(shell[0])) {
        let machine = Machine::new();
        let tune = script("ringway-tune");
        let command = [shell, &[tune.to_str().unwrap()][..]].concat();
        machine
            .run(&command, &["apply", "--profile", "edge-1m"])
            .with(0);
        assert_eq!(machine.get("net.core.somaxconn"), "65535", "{shell:?}");
        machine.run(&command, &["verify"]).with(0);
        machine.run(&command, &["revert"]).with(0);
        assert_eq!(machine.get("net.core.somaxconn"), "4096", "{shell:?}");
        ran += 1;
    }
    assert!(ran > 0, "no shell was found");
}

#[test]
fn shellcheck_has_nothing_to_say() {
    if !is_installed("shellcheck") {
        skip(
            "shellcheck_has_nothing_to_say",
            "needs: apt-get install shellcheck",
        );
        return;
    }
    let folder = script("");
    let checked = Command::new("timeout")
        .args(["60", "shellcheck", "-x"])
        .args(SCRIPTS)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{said}");
}
