//! Headless Chromium as a client: pages, WebSockets and TLS as browsers do them.

use crate::identity::foretold_by;
use crate::programs::{PYTHON_WEBSOCKETS, client, installed, text};
use crate::sticky::Servers;
use crate::support::{Authority, Pair, wait};
use crate::tls_routes::{NAMES, Scene};
use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{KeyPair, PublicKeyData};
use sha2::{Digest, Sha256};
use std::fs;

/// What a page looks like once it has loaded, scripts run, as HTML. `more` are words of the command line.
#[track_caller]
fn page(url: &str, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = client("chromium");
    // In a container and as root there is no sandbox to be had; /dev/shm is often too small.
    command.args(["--headless", "--no-sandbox", "--disable-dev-shm-usage"]);
    command.args(["--disable-gpu", "--disable-breakpad", "--no-first-run"]);
    // Nothing but what the page asks for, on this machine alone.
    command.args(["--disable-background-networking", "--no-proxy-server"]);
    command.args(more).args(["--dump-dom", url]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    text(command.env("HOME", profile.path()))
}

#[test]
fn a_browsers_websocket_goes_to_the_backend_of_its_cookie() {
    if !installed(&["chromium", "python3", PYTHON_WEBSOCKETS]) {
        return;
    }
    let servers = Servers::start();
    let proxies = [servers.setup.start(), servers.setup.start()];
    let sessions = || ["first", "second"].map(ToOwned::to_owned).into_iter();
    let names = foretold_by("cookie:session_id", sessions(), &servers.setup);
    for (session, name) in sessions().zip(names.chars()) {
        for proxy in &proxies {
            let url = format!("http://{}/page?userId={session}", proxy.address());
            let page = page(&url, &[]);
            assert!(page.contains(&format!("{name} answers")), "{page}");
        }
    }
}

/// The hash by which a browser is told to believe this certificate, whoever signed it (RFC 7469, section 2.4).
fn pin(Pair { key, .. }: &Pair) -> String {
    let key = KeyPair::from_pem(&fs::read_to_string(key).unwrap()).unwrap();
    BASE64_STANDARD.encode(Sha256::digest(key.subject_public_key_info()))
}

#[test]
fn a_browsers_websocket_in_tls_goes_to_the_backend_of_its_cookie() {
    if !installed(&["chromium", "python3", PYTHON_WEBSOCKETS]) {
        return;
    }
    let servers = Servers::start();
    let authority = Authority::new();
    let pair = authority.issue("here", &["127.0.0.1"]);
    let setup = servers.setup.clone().terminating(&pair);
    let proxy = setup.start();
    let sessions = || ["first", "second"].map(ToOwned::to_owned).into_iter();
    let names = foretold_by("cookie:session_id", sessions(), &setup);
    let believe = format!("--ignore-certificate-errors-spki-list={}", pin(&pair));
    for (session, name) in sessions().zip(names.chars()) {
        let url = format!("https://{}/page?userId={session}", proxy.address());
        let page = page(&url, &[&believe]);
        assert!(page.contains(&format!("{name} answers")), "{page}");
    }
    // The pages and their WebSockets: nothing went past TLS. The browser also opens connections that it then has no use for.
    let relayed = || -> Vec<_> {
        let lines = proxy.access().into_iter();
        lines
            .filter(|line| !line.text("relay").is_empty())
            .collect()
    };
    let relayed = wait::until_some("four lines", || Some(relayed()).filter(|it| it.len() >= 4));
    assert!(relayed.iter().all(|line| line.text("relay") == "tls"));
}

#[test]
fn a_browsers_hello_with_a_post_quantum_key_is_routed_by_its_name() {
    if !installed(&["chromium", "nginx", "openssl"]) {
        return;
    }
    let scene = Scene::start();
    let at = scene.address();
    let resolve = format!("--host-resolver-rules=MAP * {}", at.ip());
    for (name, server) in NAMES {
        let url = format!("https://{name}:{}/", at.port());
        let page = page(&url, &[&resolve, "--ignore-certificate-errors"]);
        assert!(
            page.contains(&format!("{server} TLSv1.3 HTTP/2.0 ")),
            "{page}"
        );
        // IANA's number of X25519MLKEM768, whose share alone takes 1,216 bytes of the hello.
        assert!(page.contains("0x11ec"), "{page}");
    }
}
