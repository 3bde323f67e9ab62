//! The access log: one line for each connection, wherever it goes, and nobody waits for its reader.

use crate::support::{Backend, Peer, Proxy, Setup, wait};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::Path;

const KEYS: [&str; 20] = [
    "time",
    "id",
    "worker",
    "listener",
    "client",
    "upstream",
    "backend",
    "host",
    "path",
    "sni",
    "peek_us",
    "connect_us",
    "duration_ms",
    "bytes_up",
    "bytes_down",
    "tries",
    "relay",
    "end",
    "code",
    "errno",
];

fn one_connection(at: SocketAddr) -> SocketAddr {
    let client = Peer::connect(at);
    client.send(b"hello");
    client.expect(b"hello");
    client.fin();
    client.expect_fin();
    client.local()
}

fn await_text(path: &Path, part: &str) -> String {
    wait::until_some("the line is in the file", || {
        let text = std::fs::read_to_string(path).ok()?;
        text.contains(part).then_some(text)
    })
}

#[test]
fn a_text_line_has_every_key_in_the_order_of_the_contract() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).log("format = \"text\"").start();
    let client = one_connection(proxy.address());
    let line = proxy.await_line(&format!(" client={client} "));
    let keys: Vec<_> = line
        .split(' ')
        .map(|pair| pair.split_once('=').unwrap().0)
        .collect();
    assert_eq!(keys, KEYS);
    for part in [
        " listener=feed ",
        " bytes_up=5 bytes_down=5 tries=1 relay=copy end=client-fin/done code=-- errno=-",
    ] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}

#[test]
fn a_json_line_is_one_object_with_the_same_keys() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).start();
    let client = one_connection(proxy.address()).to_string();
    let line = proxy.await_line(&client);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, KEYS);
    assert_eq!(value["worker"], 0);
    assert_eq!(value["errno"], serde_json::Value::Null);
}

#[test]
fn a_reload_has_lines_go_elsewhere_and_look_otherwise() {
    let backend = Backend::echo();
    let setup = |access: &str, format: &str| {
        Setup::before(&backend)
            .log(&format!("access = \"{access}\""))
            .log(&format!("format = \"{format}\""))
    };
    let proxy = setup("off", "json").start();
    let file = proxy.dir().join("access.log");
    let reloaded = |times: usize, setup: Setup| {
        std::fs::write(proxy.dir().join("ringway.toml"), setup.toml()).unwrap();
        proxy.signal(Signal::SIGHUP);
        wait::until("it is reloaded", || {
            let lines = proxy.lines();
            let told = lines.iter().filter(|line| line.contains("reloaded: log"));
            told.count() == times
        });
    };
    let unseen = one_connection(proxy.address());
    reloaded(1, setup(file.to_str().unwrap(), "text"));
    let seen = one_connection(proxy.address());
    let text = await_text(&file, &format!(" client={seen} "));
    assert!(!text.contains(&unseen.to_string()), "{text}");
    reloaded(2, setup("stderr", "json"));
    let last = proxy.lines().pop().unwrap();
    assert!(last.contains("\"message\":\"reloaded"), "{last}");
    let seen = one_connection(proxy.address());
    proxy.await_access_of(seen);
    reloaded(3, setup("off", "json"));
    let unseen = one_connection(proxy.address()).to_string();
    let stderr = proxy.terminate().stderr;
    assert!(!stderr.contains(&unseen), "{stderr}");
}

#[test]
fn a_reload_to_a_file_that_cannot_be_opened_changes_nothing() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).start();
    let line = proxy.reload(&Setup::before(&backend).log("access = \"/nowhere/access.log\""));
    assert!(
        line.contains("refused") && line.contains("/nowhere/access.log"),
        "{line}"
    );
    let client = one_connection(proxy.address());
    proxy.await_access_of(client);
}

#[test]
fn a_file_gets_the_lines_and_keeps_those_it_has() {
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    std::fs::write(&path, "an older line\n").unwrap();
    let access = format!("access = \"{}\"", path.display());
    let proxy = Setup::before(&backend).log(&access).start();
    let client = one_connection(proxy.address()).to_string();
    let text = await_text(&path, &client);
    assert!(text.starts_with("an older line\n"), "{text}");
    assert_eq!(text.lines().count(), 2);
    assert!(proxy.access().is_empty());
}

#[test]
fn after_sighup_lines_go_to_the_file_that_has_the_name_now() {
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("access.log"), dir.path().join("rotated"));
    let setup = Setup::before(&backend).log(&format!("access = \"{}\"", path.display()));
    let proxy = setup.start();
    let before = one_connection(proxy.address()).to_string();
    await_text(&path, &before);
    std::fs::rename(&path, &rotated).unwrap();
    proxy.reload(&setup);
    let after = one_connection(proxy.address()).to_string();
    let text = await_text(&path, &after);
    assert_eq!(text.lines().count(), 1, "{text}");
    let old = std::fs::read_to_string(&rotated).unwrap();
    assert!(old.contains(&before) && !old.contains(&after), "{old}");
}

#[test]
fn a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file() {
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let (folder, moved) = (dir.path().join("log"), dir.path().join("moved"));
    std::fs::create_dir(&folder).unwrap();
    let access = format!("access = \"{}\"", folder.join("access.log").display());
    let setup = Setup::before(&backend).log(&access);
    let proxy = setup.start();
    std::fs::rename(&folder, &moved).unwrap();
    proxy.reload(&setup);
    proxy.await_line("cannot open");
    let client = one_connection(proxy.address()).to_string();
    await_text(&moved.join("access.log"), &client);
}

#[test]
fn a_connection_that_stays_open_has_a_line_each_time_the_span_is_over() {
    let backend = Backend::echo();
    let setup = Setup::before(&backend).log("still_open = \"1s\"");
    let proxy = setup.start();
    let client = proxy.connect();
    client.send(b"hello");
    client.expect(b"hello");
    let lines = || {
        let mut lines = proxy.lines();
        lines.retain(|line| line.contains("\"open/relaying\""));
        lines
    };
    let told = wait::until_some("two lines", || Some(lines()).filter(|told| told.len() >= 2));
    for line in told {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["bytes_up"], &line["code"]),
            (&5.into(), &"--".into())
        );
        assert_eq!(line["client"], client.local().to_string());
        assert!(line["duration_ms"].as_u64().unwrap() >= 1000, "{line}");
    }
    client.fin();
    client.expect_fin();
    proxy.await_line("client-fin/done");
}

#[test]
fn off_writes_no_line() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).log("access = \"off\"").start();
    one_connection(proxy.address());
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(0));
    assert!(!exit.stderr.contains("\"end\""), "{}", exit.stderr);
}

#[test]
fn the_last_line_is_written_before_the_process_ends() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("drain_over = \"0s\"")
        .start();
    let clients: Vec<_> = (0..500).map(|_| proxy.connect()).collect();
    for client in &clients {
        client.send(b"hello");
        client.expect(b"hello");
    }
    proxy.signal(Signal::SIGTERM);
    drop(clients);
    let exit = proxy.await_exit();
    assert_eq!(exit.code, Some(0));
    assert_eq!(exit.stderr.matches("\"end\":").count(), 500);
}

#[test]
fn a_log_file_that_cannot_be_opened_is_refused() {
    let proxy = Setup::new(&[Backend::refusing()])
        .log("access = \"/nowhere/at/all/access.log\"")
        .launch();
    let exit = proxy.await_exit();
    assert_eq!(exit.code, Some(71), "{}", exit.stderr);
    assert!(exit.stderr.contains("/nowhere/at/all"), "{}", exit.stderr);
}

/// A proxy whose port is known without reading its standard error.
fn unread(backend: &Backend) -> (Proxy, std::process::ChildStderr, SocketAddr) {
    let address = Backend::refusing();
    let setup = Setup::before(backend)
        .process("drain_over = \"0s\"")
        .process("drain_deadline = \"1s\"")
        .listener(&format!("listen = \"{address}\""));
    let (proxy, stderr) = setup.launch_unread();
    wait::until("it listens", || Peer::try_connect(address).is_ok());
    (proxy, stderr, address)
}

#[test]
fn a_reader_of_stderr_that_stands_still_holds_up_no_connection() {
    let backend = Backend::echo();
    let (_proxy, _stderr, address) = unread(&backend);
    // A pipe holds 64 KiB, a line is some 350 bytes.
    for _ in 0..1_000 {
        one_connection(address);
    }
}

#[test]
fn a_reader_of_stderr_that_stands_still_does_not_hold_up_the_end() {
    let backend = Backend::echo();
    let (proxy, _stderr, address) = unread(&backend);
    for _ in 0..1_000 {
        one_connection(address);
    }
    assert_eq!(proxy.terminate().code, Some(0));
}

#[test]
fn a_reader_of_stderr_that_is_gone_costs_the_log_alone() {
    let backend = Backend::echo();
    let (proxy, stderr, address) = unread(&backend);
    drop(stderr);
    for _ in 0..100 {
        one_connection(address);
    }
    assert_eq!(proxy.terminate().code, Some(0));
}
