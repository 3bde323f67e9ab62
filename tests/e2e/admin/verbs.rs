//! The verbs that talk to a running proxy.

use crate::support::{Backend, Proxy, RINGWAY, Setup, wait};
use serde_json::Value;
use std::process::{Command, Output};

fn start() -> (Backend, Proxy) {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    (backend, proxy)
}

/// Runs `ringway` with these words and the proxy's address.
fn verb(proxy: &Proxy, words: &[&str]) -> Output {
    let admin = proxy.admin();
    let mut command = Command::new(RINGWAY);
    command.args(words).args(["--admin", admin.as_str()]);
    command.output().unwrap()
}

/// What it printed, if it ended well.
#[track_caller]
fn told(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it complained of, and what it ended with.
fn complaint(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

#[test]
fn status_is_a_table_for_people_and_json_for_programs() {
    let (backend, proxy) = start();
    let client = proxy.connect();
    client.send(b"hello");
    client.expect(b"hello");
    let table = told(&verb(&proxy, &["status"]));
    assert!(table.contains("serving, 1 connections"), "{table}");
    assert!(table.contains(&backend.address().to_string()), "{table}");
    assert!(table.contains(&proxy.address().to_string()), "{table}");
    let json: Value = serde_json::from_str(&told(&verb(&proxy, &["status", "--json"]))).unwrap();
    assert_eq!(json["listeners"][0]["connections"], 1);
}

#[test]
fn top_shows_what_a_second_brought_by_backend_and_by_worker() {
    let (_backend, proxy) = start();
    let client = proxy.connect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                client.send(b"tick");
                client.expect(b"tick");
            }
        });
        let once = told(&verb(&proxy, &["top", "--once", "--json"]));
        let rates: Value = serde_json::from_str(&once).unwrap();
        assert!(
            rates["backends"][0]["up_per_second"].as_f64() > Some(0.0),
            "{rates}"
        );
        assert!(
            rates["workers"][0]["down_per_second"].as_f64() > Some(0.0),
            "{rates}"
        );
        let table = told(&verb(&proxy, &["top", "--once"]));
        assert!(
            table.contains("DOWN/s") && !table.contains('\x1b'),
            "{table}"
        );
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn drain_and_undrain_are_told_to_the_proxy() {
    let (_backend, proxy) = start();
    assert_eq!(told(&verb(&proxy, &["drain"])), "draining\n");
    assert_eq!(proxy.admin().status()["draining"], true);
    assert_eq!(told(&verb(&proxy, &["undrain"])), "serving\n");
    assert_eq!(proxy.admin().get("/readyz").status, 200);
}

#[test]
fn a_backend_gets_another_state_and_another_weight() {
    let (backend, proxy) = start();
    let name = backend.address().to_string();
    let done = told(&verb(&proxy, &["backend", "feed", &name, "maint"]));
    assert_eq!(done, format!("feed/{name} is maint\n"));
    let drain = ["backend", "feed", &name, "drain", "--over", "90s"];
    let done = told(&verb(&proxy, &drain));
    let leave = "its connections leave over 90s";
    assert_eq!(done, format!("feed/{name} is drain; {leave}\n"));
    let ready = ["backend", "feed", &name, "ready", "--over", "90s"];
    assert!(complaint(&verb(&proxy, &ready)).1.contains("goes with"));
    told(&verb(&proxy, &["backend", "feed", &name, "maint"]));
    told(&verb(&proxy, &["backend", "feed", &name, "weight=7"]));
    let seen = &proxy.admin().status()["upstreams"][0]["backends"][0];
    assert_eq!(
        (&seen["admin"], &seen["weight"]),
        (&"maint".into(), &7.into())
    );
    let status = told(&verb(&proxy, &["status"]));
    let changed =
        format!("by an admin, and not in the file: feed/{name} weight, feed/{name} state\n");
    assert!(status.contains(&changed), "{status}");
    let (code, said) = complaint(&verb(&proxy, &["backend", "feed", "nobody", "ready"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("no backend \"nobody\"; there are:"), "{said}");
}

#[test]
fn a_connection_is_killed_by_its_id() {
    let (_backend, proxy) = start();
    let client = proxy.connect();
    client.send(b"x");
    client.expect(b"x");
    let id = proxy.admin().get("/connections").json()["connections"][0]["id"].clone();
    told(&verb(&proxy, &["kill", &id.to_string()]));
    client.drain();
    assert_eq!(proxy.await_first_access().end().0, "killed/relaying");
    let (code, said) = complaint(&verb(&proxy, &["kill", &id.to_string()]));
    assert_eq!(code, Some(1));
    assert!(said.contains("it may have ended"), "{said}");
}

#[test]
fn a_reload_of_a_broken_file_says_where_and_ends_with_78() {
    let (_backend, proxy) = start();
    told(&verb(&proxy, &["reload"]));
    let file = proxy.dir().join("ringway.toml");
    std::fs::write(&file, "nonsense = 1\n").unwrap();
    let (code, said) = complaint(&verb(&proxy, &["reload"]));
    assert_eq!(code, Some(78));
    assert!(said.contains("nonsense"), "{said}");
}

#[test]
fn who_finds_nobody_is_told_what_to_do() {
    let nobody = Backend::refusing().to_string();
    let unix = "unix:/nonexistent/admin.sock";
    for admin in [nobody.as_str(), unix] {
        let output = Command::new(RINGWAY)
            .args(["status", "--admin", admin])
            .output();
        let (code, said) = complaint(&output.unwrap());
        assert_eq!(code, Some(71));
        assert!(
            said.contains(admin) && said.contains("is ringway running"),
            "{said}"
        );
    }
}

#[test]
fn the_token_is_read_from_its_file_and_a_socket_is_as_good_as_an_address() {
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let admin = format!(
        "[admin]\nlisten = \"unix:{}\"\ntoken_file = \"{}\"\n",
        dir.path().join("admin.sock").display(),
        token.display()
    );
    let proxy = Setup::before(&backend).more(&admin).start();
    told(&verb(&proxy, &["status"]));
    let (code, said) = complaint(&verb(&proxy, &["drain"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("Authorization: Bearer"), "{said}");
    let file = token.to_str().unwrap();
    told(&verb(&proxy, &["drain", "--token-file", file]));
    wait::until("it drains", || proxy.admin().status()["draining"] == true);
}
