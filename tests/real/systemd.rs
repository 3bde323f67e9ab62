//! What `systemd/` holds, before systemd's own tools: the units are right, strict enough, and the socket unit's sockets are
//! served.

use crate::programs::{Program, client, free_address, installed, is_root, output, server};
use crate::support::{Backend, Peer, RINGWAY, Setup, skip, wait};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use tempfile::TempDir;

/// The exposure that `systemd-analyze security` may find in the service, times ten.
const EXPOSURE_MAX: u32 = 20;

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The units, with the program where it was built.
fn units() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["ringway.service", "ringway.socket"] {
        let unit = shipped(name).replace("/usr/bin/ringway", RINGWAY);
        fs::write(dir.path().join(name), unit).unwrap();
    }
    dir
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !installed(&["systemd-analyze"]) {
        return;
    }
    let units = units();
    let mut verify = client("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    verify.args(["ringway.service", "ringway.socket"].map(|name| units.path().join(name)));
    let output = verify.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // It may have something to say about this machine's own units.
    let ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("ringway"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_service_may_do_little_besides_what_it_does() {
    if !installed(&["systemd-analyze"]) {
        return;
    }
    let units = units();
    let mut security = client("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true"]);
    security.arg(format!("--threshold={EXPOSURE_MAX}"));
    // Fails above the threshold.
    output(security.arg(units.path().join("ringway.service")));
}

#[test]
fn the_user_and_the_folder_for_keys_are_made() {
    if !installed(&["systemd-sysusers", "systemd-tmpfiles"]) {
        return;
    }
    if !is_root() {
        return skip("the_user_and_the_folder_for_keys_are_made", "needs root");
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let at_root = |name: &str, file: &str| {
        let path = root.path().join("ringway.conf");
        fs::write(&path, shipped(file)).unwrap();
        let mut command = client(name);
        command.arg(format!("--root={}", root.path().display()));
        (command, path)
    };
    let (mut sysusers, file) = at_root("systemd-sysusers", "sysusers.d/ringway.conf");
    output(sysusers.arg(file));
    let passwd = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(passwd.contains("ringway:x:"), "{passwd}");
    let (mut tmpfiles, file) = at_root("systemd-tmpfiles", "tmpfiles.d/ringway.conf");
    output(tmpfiles.arg("--create").arg(file));
    assert!(root.path().join("etc/ringway/tls").is_dir());
}

#[test]
fn a_socket_that_systemd_passes_is_accepted_from_by_all_workers() {
    if !installed(&["systemd-socket-activate"]) {
        return;
    }
    let (backend, address) = (Backend::echo(), free_address());
    let setup = Setup::before(&backend)
        .process("workers = 2")
        .listener(&format!("listen = \"{address}\""));
    let (dir, file) = setup.write();
    let mut activate = server("systemd-socket-activate");
    activate.arg(format!("--listen={address}"));
    activate.args([RINGWAY, "run", "-c"]).arg(file);
    let mut proxy = Program::listening(&mut activate, dir.path(), address);
    for _ in 0..50 {
        let client = Peer::connect(address);
        client.send(b"hello");
        client.expect(b"hello");
    }
    proxy.assert_alive();
    assert_eq!(listening(address), 1, "one socket for both workers");
    assert!(!proxy.said().contains("in vain"), "{}", proxy.said());
}

#[test]
fn a_passed_socket_that_no_listener_wants_is_named() {
    if !installed(&["systemd-socket-activate"]) {
        return;
    }
    let (backend, stray) = (Backend::echo(), free_address());
    let (dir, file) = Setup::before(&backend).write();
    let mut activate = server("systemd-socket-activate");
    activate.arg(format!("--listen={stray}"));
    activate.args([RINGWAY, "run", "-c"]).arg(file);
    let proxy = Program::listening(&mut activate, dir.path(), stray);
    wait::until("the stray socket is named", || {
        proxy
            .said()
            .contains(&format!("systemd listens on {stray}"))
    });
}

/// Sockets that listen on this address (proc_net_tcp(5): state 0A).
fn listening(on: SocketAddr) -> usize {
    let IpAddr::V4(host) = on.ip() else {
        panic!("{on} is in another file")
    };
    let local = format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(host.octets()),
        on.port()
    );
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_listening = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&local) && fields.nth(1) == Some("0A")
    };
    table.lines().filter(is_listening).count()
}
