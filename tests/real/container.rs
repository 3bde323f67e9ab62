//! `packaging/container/seccomp.json` is enough: everything that a proxy does, under that profile, as a container runtime
//! applies it.

use crate::programs::{PYTHON_SECCOMP, installed};
use crate::support::{Backend, Setup, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/under_profile.py");
const PROFILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/packaging/container/seccomp.json"
);

fn under(setup: Setup, profile: &Path) -> Setup {
    setup.through(&["/usr/bin/python3", SCRIPT, profile.to_str().unwrap()])
}

#[test]
fn a_proxy_under_the_containers_profile_relays_reloads_and_upgrades() {
    if !installed(&["python3", PYTHON_SECCOMP]) {
        return;
    }
    let backend = Backend::echo();
    let of = |line: &str| {
        let setup = Setup::before(&backend).process("workers = 2").admin();
        let setup = setup.upstream("probe = { interval = \"50ms\" }");
        under(setup.listener(line), Path::new(PROFILE))
    };
    let proxy = of("relay = \"splice\"").start();
    let admin = proxy.admin();
    let client = proxy.connect();
    let other_side = client.share();
    std::thread::scope(|scope| {
        scope.spawn(move || other_side.send_pattern(4 << 20));
        client.expect_pattern(4 << 20);
    });
    wait::until("a probe has passed", || {
        let backend = &admin.status()["upstreams"][0]["backends"][0];
        backend["probe"]["passed_total"].as_u64() > Some(0)
    });
    let line = proxy.reload(&of("mode = \"http\""));
    assert!(line.contains("reloaded"), "{line}");
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let peeked = proxy.connect();
    peeked.send(head);
    peeked.expect(head);
    drop((client, peeked));
    proxy.signal(Signal::SIGUSR2);
    let line: Value = serde_json::from_str(&proxy.await_line("\"upgraded")).unwrap();
    let heir = Pid::from_raw(i32::try_from(line["pid"].as_i64().unwrap()).unwrap());
    let served = proxy.connect();
    served.send(head);
    served.expect(head);
    drop(served);
    kill(heir, Signal::SIGTERM).unwrap();
    proxy.await_succeeded();
}

#[test]
fn a_profile_without_io_uring_is_named_as_the_cause() {
    if !installed(&["python3", PYTHON_SECCOMP]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let profile: PathBuf = folder.path().join("seccomp.json");
    let text = std::fs::read_to_string(PROFILE).unwrap();
    std::fs::write(&profile, text.replace("\"io_uring_setup\", ", "")).unwrap();
    let backend = Backend::echo();
    let exit = under(Setup::before(&backend), &profile)
        .launch()
        .await_exit();
    assert_eq!(exit.code, Some(71), "{}", exit.stderr);
    assert!(exit.stderr.contains("io_uring"), "{}", exit.stderr);
    assert!(exit.stderr.contains("seccomp"), "{}", exit.stderr);
}
