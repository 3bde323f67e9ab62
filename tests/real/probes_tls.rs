//! Probes inside TLS, before servers that end it: who is believed, and what is said of who is not.

use crate::nginx::Nginx;
use crate::programs::{Program, free_address, installed, server};
use crate::support::probing::{Probed, Probing, target, with};
use crate::support::{Authority, Pair};
use nix::sys::signal::Signal;
use ringway::config::{Backend, UpstreamTls};
use ringway::control::probe::{ProxyHeader, Tls};
use ringway::tls::Client;
use ringway::wire::banner::{Script, http_request};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;

/// `openssl s_server` that shows a page.
struct Openssl {
    program: Program,
    address: SocketAddr,
    _folder: TempDir,
}

impl Openssl {
    fn start(pair: &Pair, options: &[&str]) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = server("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-www",
            "-accept",
            &address.to_string(),
        ]);
        command
            .arg("-cert")
            .arg(&pair.cert)
            .arg("-key")
            .arg(&pair.key);
        command.args(options).stdin(Stdio::null());
        let program = Program::listening(&mut command, folder.path(), address);
        Self {
            program,
            address,
            _folder: folder,
        }
    }
}

fn page() -> Script {
    Script::Http {
        request: http_request("/", "a.example"),
        expect: vec!["2xx".parse().unwrap()],
    }
}

/// An upstream that believes this authority and asks for `a.example`.
fn believing(authority: &Authority) -> UpstreamTls {
    UpstreamTls {
        server_name: Some("a.example".to_owned()),
        ca: Some(authority.ca()),
        verify: true,
    }
}

/// Probes that backend inside TLS.
fn probe(probing: &Probing, script: Script, at: SocketAddr, tls: &UpstreamTls) -> Probed {
    let client = Arc::new(Client::load(tls).unwrap());
    let name = client.current().server_name(&Backend::new(at));
    let target = with(target(script, at), |settings| {
        settings.tls = Some(Tls { client, name });
    });
    probing.add(target)
}

#[test]
fn openssl_is_up_until_it_hangs_and_until_it_is_gone_in_tls_1_2_and_1_3() {
    if !installed(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    for version in ["-tls1_2", "-tls1_3"] {
        let (openssl, probing) = (Openssl::start(&pair, &[version]), Probing::start());
        let add = |script| probe(&probing, script, openssl.address, &believing(&authority));
        let (tcp, http) = (add(Script::Tcp), add(page()));
        tcp.await_up();
        http.await_up();
        openssl.program.signal(Signal::SIGSTOP);
        // A connection alone is not enough: the handshake is the process's own.
        tcp.await_down("tls timeout");
        http.await_down("tls timeout");
        openssl.program.signal(Signal::SIGCONT);
        http.await_up();
        openssl.program.signal(Signal::SIGKILL);
        http.await_down("connection refused");
    }
}

#[test]
fn who_is_not_believed_is_down_with_the_reason() {
    if !installed(&["openssl"]) {
        return;
    }
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = authority.issue("a", &["a.example"]);
    let (openssl, probing) = (Openssl::start(&pair, &[]), Probing::start());
    let add = |tls: &UpstreamTls| probe(&probing, page(), openssl.address, tls);
    let believing = believing(&authority);
    let by_stranger = UpstreamTls {
        ca: Some(stranger.ca()),
        ..believing.clone()
    };
    let for_another = UpstreamTls {
        server_name: Some("b.example".to_owned()),
        ..believing.clone()
    };
    // Its address, which the certificate does not have.
    let for_address = UpstreamTls {
        server_name: None,
        ..believing
    };
    let unverified = UpstreamTls {
        ca: None,
        verify: false,
        ..for_address.clone()
    };
    let pinned = UpstreamTls {
        ca: Some(pair.cert.clone()),
        ..believing_of(&pair)
    };
    let (by_stranger, for_another) = (add(&by_stranger), add(&for_another));
    let (for_address, unverified, pinned) = (add(&for_address), add(&unverified), add(&pinned));
    by_stranger.await_down("tls certificate of an unknown authority");
    for_another.await_down("tls certificate for another name");
    for_address.await_down("tls certificate for another name");
    unverified.await_up();
    pinned.await_up();
}

/// An upstream that believes this very certificate, for `a.example`.
fn believing_of(pair: &Pair) -> UpstreamTls {
    UpstreamTls {
        server_name: Some("a.example".to_owned()),
        ca: Some(pair.cert.clone()),
        verify: true,
    }
}

#[test]
fn what_openssl_refuses_is_named() {
    if !installed(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    let cipher = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    let (openssl, probing) = (Openssl::start(&pair, &cipher), Probing::start());
    let probed = probe(&probing, page(), openssl.address, &believing(&authority));
    probed.await_down("tls alert handshake_failure");
}

/// An nginx that serves `ok` inside TLS. The words follow the address that it listens on.
fn nginx(pair: &Pair, words: &str) -> Nginx {
    let (cert, key) = (pair.cert.display(), pair.key.display());
    Nginx::serving(
        words,
        &format!(
            "ssl_certificate {cert}; ssl_certificate_key {key}; location / {{ return 200 ok; }}"
        ),
    )
}

#[test]
fn nginx_answers_inside_tls_and_behind_a_proxy_header() {
    if !installed(&["nginx"]) {
        return;
    }
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    let (direct, behind) = (nginx(&pair, "ssl"), nginx(&pair, "ssl proxy_protocol"));
    let probing = Probing::start();
    let tls = believing(&authority);
    let missing = Script::Http {
        request: http_request("/", "a.example"),
        expect: vec!["404".parse().unwrap()],
    };
    probe(&probing, page(), direct.address(), &tls).await_up();
    let unwanted = probe(&probing, missing, direct.address(), &tls);
    unwanted.await_down("status 200");
    let client = Arc::new(Client::load(&tls).unwrap());
    let headed = with(target(page(), behind.address()), |settings| {
        settings.proxy_header = ProxyHeader::V2;
        settings.tls = Some(Tls {
            name: client
                .current()
                .server_name(&Backend::new(behind.address())),
            client,
        });
    });
    probing.add(headed).await_up();
}

#[test]
fn who_speaks_no_tls_is_named() {
    if !installed(&["nginx"]) {
        return;
    }
    let (nginx, probing) = (Nginx::start("n1"), Probing::start());
    let probed = probe(
        &probing,
        page(),
        nginx.address(),
        &believing(&Authority::new()),
    );
    probed.await_down("not tls");
}

#[test]
fn an_authority_that_is_replaced_counts_for_the_next_probe() {
    if !installed(&["openssl"]) {
        return;
    }
    let (authority, stranger) = (Authority::new(), Authority::new());
    let openssl = Openssl::start(&stranger.issue("a", &["a.example"]), &[]);
    let client = Arc::new(Client::load(&believing(&authority)).unwrap());
    let probing = Probing::start();
    let probed = probing.add(with(target(page(), openssl.address), |settings| {
        let name = client.current().server_name(&Backend::new(openssl.address));
        let client = Arc::clone(&client);
        settings.tls = Some(Tls { client, name });
    }));
    probed.await_down("tls certificate of an unknown authority");
    authority.write("ca.pem", &stranger.pem());
    client.reload().unwrap();
    probed.await_up();
}
