//! The admin address of a running proxy: what it answers, whom it lets change something, and that nobody keeps it from
//! answering.

mod changes; // drain, undrain, backends, connections
mod hostile; // who may not, who is slow, who is too much
mod leaving; // connections of one backend
mod verbs; //   ringway status, top, drain and the others

use crate::support::{Backend, Setup, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[test]
fn status_has_every_name_of_the_contract_and_counts_what_happened() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let client = proxy.connect();
    client.send(b"hello");
    client.expect(b"hello");
    let status = proxy.admin().status();
    let listener = &status["listeners"][0];
    assert_eq!(listener["addresses"], json!([proxy.address().to_string()]));
    assert_eq!(listener["name"], "feed");
    for (key, count) in [
        ("connections", 1),
        ("accepted_total", 1),
        ("rejected_total", 0),
    ] {
        assert_eq!(listener[key], count, "{key}");
    }
    let worker = &status["workers"][0];
    for (key, count) in [("id", 0), ("connections", 1), ("accepted_total", 1)] {
        assert_eq!(worker[key], count, "{key}");
    }
    assert_eq!(worker["relay"], json!({ "copy": 10, "splice": 0 }));
    let upstream = &status["upstreams"][0];
    assert_eq!(
        (&upstream["name"], &upstream["balance"]),
        (&json!("feed"), &json!("ip_hash"))
    );
    assert_eq!(upstream["fingerprint"].as_str().unwrap().len(), 16);
    let expected = json!({
        "name": backend.address().to_string(), "address": backend.address().to_string(),
        "admin": "ready", "health": "up", "weight": 1, "backup": false, "connections": 1,
        "connections_total": 1, "connect_failures_total": 0, "bytes_up": 5, "bytes_down": 5,
        "probe": null,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&upstream["backends"][0][key], value, "{key}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["draining"], false);
    assert!(status["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert!(worker["cpu"].is_u64());
}

#[test]
fn what_ended_is_counted_by_reason() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let client = proxy.connect();
    client.fin();
    client.expect_fin();
    proxy.await_access(1);
    let status = proxy.admin().status();
    assert_eq!(status["closed"], json!({ "client-fin": 1 }));
    assert_eq!(status["connections"], 0);
}

#[test]
fn probes_are_shown_with_their_streaks_and_their_last_result() {
    let backend = Backend::serve(drop);
    let proxy = Setup::new(&[backend.address(), Backend::refusing()])
        .more("[upstream.probe]\ninterval = \"50ms\"\nrise = 1\nfall = 2\n")
        .admin()
        .start();
    let admin = proxy.admin();
    let probe = |status: &Value, at: usize| status["upstreams"][0]["backends"][at].clone();
    let status = wait::until_some("both backends are judged", || {
        let status = admin.status();
        let down = probe(&status, 1)["health"] == "down";
        let passed = probe(&status, 0)["probe"]["passed_total"].as_u64() > Some(1);
        (down && passed).then_some(status)
    });
    let (up, down) = (&probe(&status, 0)["probe"], &probe(&status, 1)["probe"]);
    assert_eq!(
        (&up["type"], &up["last_result"]),
        (&json!("tcp"), &json!("passed"))
    );
    assert_eq!((&up["last_error"], &up["fall"]), (&Value::Null, &json!(0)));
    assert!(up["rise"].as_u64() > Some(1) && up["last_duration_us"].is_u64());
    assert_eq!(
        (&down["last_result"], &down["rise"]),
        (&json!("failed"), &json!(0))
    );
    assert!(down["fall"].as_u64() > Some(1) && down["since_seconds"].is_f64());
    assert!(
        down["last_error"].as_str().unwrap().contains("refused"),
        "{down}"
    );
}

#[test]
fn upstreams_come_in_the_shapes_that_scrapers_of_the_nginx_module_know() {
    let backend = Backend::serve(drop);
    let down = Backend::refusing();
    let proxy = Setup::new(&[backend.address(), down])
        .more("[upstream.probe]\ninterval = \"50ms\"\nfall = 1\n")
        .admin()
        .start();
    let admin = proxy.admin();
    let port = down.port();
    let rows = |answer: &str| answer.lines().count();
    wait::until("one backend is down", || {
        rows(&admin.get("/upstreams?format=csv&status=down").body) == 1
    });
    let csv = admin.get("/upstreams?format=csv&status=down");
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert!(
        csv.body.starts_with(&format!("1,feed,{down},down,0,")),
        "{csv:?}"
    );
    assert!(csv.body.ends_with(&format!(",tcp,{port}\n")), "{csv:?}");
    assert_eq!(rows(&admin.get("/upstreams?format=csv").body), 2);
    let servers = admin.get("/upstreams?format=json&status=up").json()["servers"].clone();
    assert_eq!(
        (&servers["total"], &servers["generation"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(servers["server"][0]["name"], backend.address().to_string());
    let html = admin.get("/upstreams");
    assert!(html.header("content-type").starts_with("text/html"));
    assert!(html.body.contains("<th>Rise counts</th>"));
    assert!(html.body.contains("generation: 1<"));
    proxy.signal(Signal::SIGHUP);
    proxy.await_line("reloaded");
    assert!(admin.get("/upstreams").body.contains("generation: 2<"));
    for wrong in ["/upstreams?format=xml", "/upstreams?status=maybe"] {
        assert_eq!(admin.get(wrong).status, 400, "{wrong}");
    }
}

#[test]
fn the_effective_configuration_can_be_read_back() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let config = proxy.admin().get("/config");
    assert_eq!(config.status, 200);
    let parsed = ringway::config::Config::parse(&config.body, "config").unwrap();
    assert_eq!(parsed.upstreams[0].name, "feed");
}

#[test]
fn health_readiness_metrics_and_history_answer() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let admin = proxy.admin();
    for path in ["/healthz", "/readyz"] {
        let answer = admin.get(path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "ok\n"),
            "{path}"
        );
    }
    let metrics = admin.get("/metrics");
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(metrics.body.contains("\nringway_build_info{"));
    for path in ["/", "/status"] {
        let page = admin.get(path);
        assert!(
            page.header("content-type").starts_with("text/html"),
            "{path}"
        );
        assert!(
            page.header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert!(
            page.body.starts_with("<!doctype html>") || page.body.starts_with("<!DOCTYPE html>")
        );
    }
    let history = admin.get("/history.json").json();
    assert_eq!(history["interval_seconds"], 5);
    assert!(history["samples"].is_array());
    let head = admin.ask("HEAD", "/status.json", "", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn readiness_fails_while_an_upstream_has_no_backend_that_may_be_used() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let admin = proxy.admin();
    let path = format!("/upstreams/feed/backends/{}", backend.address());
    assert_eq!(admin.post(&path, "{\"state\": \"drain\"}").status, 200);
    let answer = admin.get("/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "upstream feed has no usable backend\n");
    assert_eq!(
        admin.get("/healthz").status,
        200,
        "the process itself is well"
    );
    admin.post(&path, "{\"state\": \"ready\"}");
    assert_eq!(admin.get("/readyz").status, 200);
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let admin = proxy.admin();
    let unknown = admin.get("/statistics");
    assert_eq!(unknown.status, 404);
    let routes = unknown.json()["routes"].clone();
    assert!(
        routes
            .as_array()
            .unwrap()
            .contains(&json!("GET /status.json")),
        "{routes}"
    );
    let wrong = admin.ask("PUT", "/drain", "", "");
    assert_eq!((wrong.status, wrong.header("allow")), (405, "POST"));
    assert!(wrong.error().contains("/drain has no PUT"));
    let wrong = admin.post("/status.json", "");
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET, HEAD"));
}

#[test]
fn a_unix_socket_answers_and_is_gone_with_the_process() {
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let admin = format!("[admin]\nlisten = \"unix:{}\"\n", path.display());
    let proxy = Setup::before(&backend).more(&admin).start();
    assert_eq!(proxy.admin().as_str(), format!("unix:{}", path.display()));
    assert_eq!(proxy.admin().status()["draining"], false);
    assert_eq!(proxy.admin().post("/undrain", "").status, 200);
    assert_eq!(proxy.terminate().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn two_hundred_backends_are_shown_at_once() {
    let backend = Backend::echo();
    let many: Vec<_> = (0..200)
        .map(|n| std::net::SocketAddr::from(([127, 9, 0, n], backend.address().port())))
        .collect();
    let proxy = Setup::new(&many).admin().start();
    let admin = proxy.admin();
    let (status, took) = wait::timed(|| admin.status());
    assert_eq!(
        status["upstreams"][0]["backends"].as_array().unwrap().len(),
        200
    );
    assert!(took.as_millis() < 1000, "{took:?}");
    assert_eq!(admin.get("/upstreams?format=csv").body.lines().count(), 200);
}

#[test]
fn the_flag_of_run_opens_the_address() {
    let backend = Backend::echo();
    let address = backend.address().to_string();
    let arguments = ["run", "--listen", "127.0.0.1:0", "--backend", &address];
    let proxy = crate::support::Proxy::with_arguments(
        &[
            &arguments[..],
            &["--admin", "127.0.0.1:0", "--workers", "1"],
        ]
        .concat(),
    );
    let line = proxy.await_line(" ready ");
    let admin = line
        .split("admin=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let admin = crate::support::Admin::at(admin.expect(&line));
    assert_eq!(admin.get("/readyz").status, 200);
}
