//! Who may not change anything, and who cannot keep others from asking.

use crate::support::{Admin, Backend, Proxy, Setup, echo, wait};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn start() -> (Backend, Proxy) {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    (backend, proxy)
}

/// What changes something, all of it.
const CHANGES: [(&str, &str); 7] = [
    ("POST", "/drain"),
    ("POST", "/undrain"),
    ("POST", "/reload"),
    ("POST", "/upstreams/feed/backends"),
    ("POST", "/upstreams/feed/backends/x"),
    ("DELETE", "/upstreams/feed/backends/x"),
    ("DELETE", "/connections/1"),
];

#[test]
fn a_web_page_changes_nothing() {
    let (_backend, proxy) = start();
    for (method, path) in CHANGES {
        let answer = proxy
            .admin()
            .ask(method, path, "Origin: http://localhost\r\n", "");
        assert_eq!(answer.status, 403, "{method} {path}");
        assert!(answer.error().contains("token_file"));
    }
    let status = proxy
        .admin()
        .ask("GET", "/status.json", "Origin: http://a\r\n", "");
    assert_eq!(
        (status.status, &status.json()["draining"]),
        (200, &false.into())
    );
    assert_eq!(status.header("access-control-allow-origin"), "");
}

#[test]
fn with_a_token_every_change_needs_it_and_a_new_one_holds_at_once() {
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "first\n").unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o644)).unwrap();
    let more = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{}\"\n",
        token.display()
    );
    let proxy = Setup::before(&backend).more(&more).start();
    proxy.await_line("everybody on this machine can read");
    let admin = proxy.admin();
    for (method, path) in CHANGES {
        let answer = admin.ask(method, path, "", "");
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, "Bearer")
        );
        let answer = admin.ask(method, path, "Authorization: Bearer wrong\r\n", "");
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    assert_eq!(admin.get("/status.json").status, 200, "reading needs none");
    let undrain = |headers: &str| admin.ask("POST", "/undrain", headers, "").status;
    assert_eq!(undrain("Authorization: Bearer first\r\n"), 200);
    let from_page = "Authorization: Bearer first\r\nOrigin: http://a\r\n";
    assert_eq!(undrain(from_page), 200, "the page has asked for the token");
    fs::write(&token, "second\n").unwrap();
    assert_eq!(undrain("Authorization: Bearer first\r\n"), 401);
    assert_eq!(undrain("Authorization: Bearer second\r\n"), 200);
    fs::remove_file(&token).unwrap();
    assert_eq!(undrain("Authorization: Bearer second\r\n"), 500);
}

#[test]
fn a_token_that_cannot_be_read_is_a_mistake_of_the_configuration() {
    let backend = Backend::echo();
    let more = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"/nonexistent/token\"\n";
    let exit = Setup::before(&backend).more(more).launch().await_exit();
    assert_eq!(exit.code, Some(78));
    assert!(
        exit.stderr.contains("admin.token_file: /nonexistent/token"),
        "{}",
        exit.stderr
    );
}

#[test]
fn an_address_that_is_taken_is_refused_with_the_fix() {
    let backend = Backend::echo();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let more = format!("[admin]\nlisten = \"{address}\"\n");
    let exit = Setup::before(&backend).more(&more).launch().await_exit();
    assert_eq!(exit.code, Some(71));
    assert!(
        exit.stderr.contains("another program listens there"),
        "{}",
        exit.stderr
    );
}

/// A connection that has sent a part of a request.
fn half_asked(admin: &Admin, part: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(admin.address()).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    stream.write_all(part).unwrap();
    stream
}

#[test]
fn hundreds_who_never_finish_their_request_keep_nobody_from_asking() {
    let (_backend, proxy) = start();
    let admin = proxy.admin();
    let slow: Vec<_> = (0..300)
        .map(|_| half_asked(&admin, b"GET /status.json HTTP/1.1\r\nHost: a\r\nX-Slow: "))
        .collect();
    for _ in 0..20 {
        let (answer, took) = wait::timed(|| admin.get("/healthz"));
        assert_eq!(answer.status, 200);
        assert!(took < SECOND, "{took:?}");
    }
    let mut oldest = &slow[0];
    let gone = oldest.read(&mut [0]);
    assert!(matches!(gone, Ok(0) | Err(_)), "{gone:?}");
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let (_backend, proxy) = start();
    let mut slow = half_asked(&proxy.admin(), b"GET / HTTP/1.1\r\n");
    let (ended, took) = wait::timed(|| slow.read(&mut [0]));
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!((8..16).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_body_or_a_head_that_is_too_large_is_refused() {
    let (_backend, proxy) = start();
    let admin = proxy.admin();
    let body = format!("{{\"state\": \"{}\"}}", "x".repeat(64 << 10));
    let answer = admin.post("/upstreams/feed/backends/x", &body);
    assert_eq!(answer.status, 413, "{answer:?}");
    let head = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(128 << 10)
    );
    let mut stream = TcpStream::connect(admin.address()).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    // It may be refused before all of it is out.
    let _ = stream.write_all(head.as_bytes());
    let mut bytes = [0; 12];
    let read = stream.read(&mut bytes).unwrap_or(0);
    assert!(read == 0 || bytes.starts_with(b"HTTP/1.1 431"), "{bytes:?}");
    assert_eq!(admin.get("/healthz").status, 200);
}

#[test]
fn what_is_no_http_is_closed_and_harms_nobody() {
    let (_backend, proxy) = start();
    let admin = proxy.admin();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
    ] {
        let mut stream = half_asked(&admin, bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{answer:?}"
        );
    }
    assert_eq!(admin.get("/healthz").status, 200);
}

#[test]
fn the_admin_address_answers_within_a_second_while_clients_flood_the_proxy() {
    let backend = Backend::new().serving(echo);
    let proxy = Setup::before(&backend)
        .process("workers = \"auto\"")
        .admin()
        .start();
    let (admin, stop) = (proxy.admin(), AtomicBool::new(false));
    let block = vec![b'x'; 64 << 10];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let client = proxy.connect();
            let reader = client.share();
            let (stop, block) = (&stop, &block);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && client.try_send(block).is_ok() {}
                client.fin();
            });
            scope.spawn(move || while !reader.drain_some().is_empty() {});
        }
        wait::until("bytes flow", || {
            admin.status()["upstreams"][0]["backends"][0]["bytes_down"].as_u64() > Some(1 << 20)
        });
        for path in ["/healthz", "/status.json", "/metrics", "/connections"].repeat(5) {
            let (answer, took) = wait::timed(|| admin.get(path));
            assert_eq!(answer.status, 200);
            assert!(took < SECOND, "{path}: {took:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_admin_address_answers_while_no_client_can_be_accepted() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).descriptors(200).admin().start();
    let admin = proxy.admin();
    let clients: Vec<_> = (0..200)
        .filter_map(|_| crate::support::Peer::try_connect(proxy.address()).ok())
        .collect();
    wait::until("some are turned away", || {
        admin.status()["listeners"][0]["rejected_total"].as_u64() > Some(0)
    });
    assert_eq!(admin.get("/healthz").status, 200);
    assert!(clients.len() > 50);
}
