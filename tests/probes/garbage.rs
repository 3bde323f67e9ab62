//! Backends that are no good, each told apart from the others by its reason.

use crate::support::probing::{Probing, target};
use crate::support::{Backend, Peer};
use ringway::control::probe::client_hello;
use ringway::wire::banner::{BYTES_MAX, Script, http_request};

/// Every kind but tcp, which listens to nobody.
fn scripts() -> Vec<Script> {
    let request = http_request("/", "a.example");
    let hello = client_hello("").unwrap();
    vec![
        Script::Http {
            request,
            expect: vec!["2xx".parse().unwrap()],
        },
        Script::SslHello { hello },
        Script::Smtp,
        Script::Mysql,
        Script::Pop3,
        Script::Imap,
        Script::Pgsql,
        Script::Redis,
        Script::WebSocket {
            path: "/".into(),
            host: "a.example".into(),
            expect: Vec::new(),
        },
        Script::SendExpect {
            send: b"ping".to_vec(),
            expect: b"pong".to_vec(),
        },
    ]
}

/// What each kind says of a backend that serves like this.
#[track_caller]
fn all_down(
    serve: impl Fn(Peer) + Send + Sync + 'static,
    reason: impl Fn(&Script) -> &'static str,
) {
    let (backend, probing) = (Backend::serve(serve), Probing::start());
    let add = |script: &Script| probing.add(target(script.clone(), backend.address()));
    let scripts = scripts();
    let probed: Vec<_> = scripts.iter().map(add).collect();
    for (script, probed) in scripts.iter().zip(probed) {
        probed.await_down(reason(script));
    }
}

#[test]
fn garbage_is_not_the_protocol() {
    let garbage = |peer: Peer| {
        let _ = peer.try_send(b"\0\xff\x13garbage\r\n\r\n\xfe and more of it\r\n");
        let _ = peer.drain_some();
        let _ = peer.drain_some();
    };
    all_down(garbage, |script| match script {
        Script::Http { .. } | Script::WebSocket { .. } => "not http",
        Script::SslHello { .. } => "not tls",
        Script::Smtp => "not smtp",
        Script::Mysql => "not mysql",
        Script::Pop3 => "not pop3",
        Script::Imap => "not imap",
        Script::Pgsql => "not pgsql",
        Script::Redis => "not redis",
        Script::SendExpect { .. } => "reply timeout",
        Script::Tcp => unreachable!("not among them"),
    });
}

#[test]
fn who_accepts_and_closes_at_once_is_down_for_all_but_tcp() {
    let close = |peer: Peer| {
        peer.fin();
        let _ = peer.drain_some();
        let _ = peer.drain_some();
    };
    all_down(close, |script| {
        if *script == Script::Smtp {
            "closed without a greeting"
        } else {
            "closed without a reply"
        }
    });
    let (backend, probing) = (Backend::serve(Peer::close), Probing::start());
    probing
        .add(target(Script::Tcp, backend.address()))
        .await_up();
}

#[test]
fn who_accepts_and_says_nothing_times_out() {
    let silent = |peer: Peer| {
        while !peer.drain_some().is_empty() {}
    };
    all_down(silent, |_| "reply timeout");
}

#[test]
fn who_resets_is_down() {
    all_down(Peer::reset, |_| "reset");
}

#[test]
fn who_never_convinces_is_left_after_64_kib() {
    let (backend, probing) = (Backend::new(), Probing::start());
    let script = Script::SendExpect {
        send: Vec::new(),
        expect: b"never".to_vec(),
    };
    let probed = probing.add(target(script, backend.address()));
    let peer = backend.accept();
    // More than is read; what is too much may meet a reset.
    let _ = peer.try_send(&vec![b'x'; 2 * BYTES_MAX]);
    crate::support::wait::until("the probe gives up", || {
        let view = probed.watch.view();
        view.error()
            .is_some_and(|error| error.as_str() == "reply too large")
    });
}

#[test]
fn who_refuses_is_down_for_every_kind() {
    let (address, probing) = (Backend::refusing(), Probing::start());
    for script in scripts().into_iter().chain([Script::Tcp]) {
        probing
            .add(target(script, address))
            .await_down("connection refused");
    }
}

#[test]
fn who_neither_takes_nor_refuses_connections_times_out() {
    let ((backend, _fillers), probing) = (Backend::silent(), Probing::start());
    let probed = probing.add(target(Script::Tcp, backend.address()));
    probed.await_down("connect timeout");
}
