//! Roles over TLS, before a relay that ends it and backends of our own, and before servers that nobody should believe.

use crate::support::{backend, clients, feed};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ringway_loadgen::{
    BackendRole, ClientConfig, ClientRole, Comeback, CookieName, Direction, Fault, RequestPath,
    Stats, Tls, Trust, drive,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use tempfile::NamedTempFile;

const NAME: &str = "feed.test";

/// A relay that ends TLS, and the file of the authority that has signed its certificate.
struct Scene {
    addr: SocketAddr,
    ca: NamedTempFile,
}

/// How the relay takes its leave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    CloseNotify,
    /// FIN alone, as an attacker could send it.
    Fin,
}

impl Scene {
    fn new(backend: SocketAddr) -> Self {
        Self::with(backend, Farewell::CloseNotify)
    }

    fn with(backend: SocketAddr, farewell: Farewell) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([NAME.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        let mut ca = NamedTempFile::new().unwrap();
        ca.write_all(issuer.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config(cert.der().clone(), key);
        Self {
            addr: terminate(backend, config, farewell),
            ca,
        }
    }

    fn believed(&self, comeback: Comeback) -> Tls {
        let trust = Trust::Authorities(self.ca.path().to_owned());
        Tls::new(&trust, Some(NAME), comeback).unwrap()
    }

    fn clients(&self, role: ClientRole) -> ClientConfig {
        ClientConfig {
            tls: Some(self.believed(Comeback::Never)),
            ..clients(role, self.addr)
        }
    }

    #[track_caller]
    fn drive(&self, role: ClientRole) -> Stats {
        let seen = drive(&self.clients(role)).unwrap().join().unwrap();
        assert_eq!(seen.faults.happened().collect::<Vec<_>>(), []);
        seen
    }

    /// What clients that believe so find wrong.
    fn faults(&self, tls: Tls) -> Vec<(Fault, u64)> {
        let config = ClientConfig {
            tls: Some(tls),
            ..clients(ClientRole::Hold, self.addr)
        };
        let seen = drive(&config).unwrap().join().unwrap();
        assert_eq!(seen.connections.opened, 0);
        seen.faults.happened().collect()
    }
}

fn config(cert: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Arc<ServerConfig> {
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![cert], key).unwrap();
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    Arc::new(config)
}

fn terminate(backend: SocketAddr, config: Arc<ServerConfig>, farewell: Farewell) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that gives up ends its relay, and nothing else.
            thread::spawn(move || relay(tls, &client?, backend, farewell));
        }
    });
    addr
}

/// Carries bytes both ways until both have ended.
fn relay(
    mut tls: ServerConnection,
    mut client: &TcpStream,
    backend: SocketAddr,
    farewell: Farewell,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(backend)?;
    client.set_nonblocking(true)?;
    let (mut heard, mut said) = (false, false);
    let mut text = vec![0; 64 * 1024];
    while !(heard && said && !tls.wants_write()) {
        wait(&tls, client, &server, heard, said)?;
        if tls.wants_write() {
            unless_blocked(tls.write_tls(&mut client))?;
            if said && !tls.wants_write() {
                client.shutdown(Shutdown::Write)?;
            }
        } else if !said && !tls.is_handshaking() && is_readable(&server)? {
            let len = server.read(&mut text)?;
            said = len == 0;
            match (said, farewell) {
                (false, _) => tls.writer().write_all(&text[..len])?,
                (true, Farewell::CloseNotify) => tls.send_close_notify(),
                (true, Farewell::Fin) => client.shutdown(Shutdown::Write)?,
            }
        }
        if !heard && is_readable(client)? {
            let ended = unless_blocked(tls.read_tls(&mut client))? == Some(0);
            let state = tls.process_new_packets();
            let state = state.map_err(std::io::Error::other)?;
            let len = state.plaintext_bytes_to_read();
            tls.reader().read_exact(&mut text[..len])?;
            server.write_all(&text[..len])?;
            if ended || state.peer_has_closed() {
                heard = true;
                server.shutdown(Shutdown::Write)?;
            }
        }
    }
    Ok(())
}

/// Until something can be carried. No test lasts half a minute.
fn wait(
    tls: &ServerConnection,
    client: &TcpStream,
    server: &TcpStream,
    heard: bool,
    said: bool,
) -> std::io::Result<()> {
    let mut client_flags = PollFlags::empty();
    client_flags.set(PollFlags::POLLIN, !heard);
    client_flags.set(PollFlags::POLLOUT, tls.wants_write());
    let mut server_flags = PollFlags::empty();
    let may_say = !said && !tls.is_handshaking() && !tls.wants_write();
    server_flags.set(PollFlags::POLLIN, may_say);
    let mut fds = [
        PollFd::new(client.as_fd(), client_flags),
        PollFd::new(server.as_fd(), server_flags),
    ];
    match poll(&mut fds, PollTimeout::from(30_000_u16))? {
        0 => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn is_readable(socket: &TcpStream) -> std::io::Result<bool> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}

fn unless_blocked(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match result {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

#[test]
fn every_echo_over_tls_is_counted_without_what_tls_adds() {
    for size in [1, 128, 100_000] {
        let server = backend(BackendRole::Echo);
        let scene = Scene::new(server.addrs()[0]);
        let seen = scene.drive(ClientRole::Echo { size, rate: None });
        let counters = seen.counters;
        assert!(counters.exchanges > 0);
        let text = counters.exchanges * u64::from(size);
        // What each connection has under way when measuring begins or ends.
        let edge = 4 * u64::from(size);
        for bytes in [counters.bytes_received, counters.bytes_sent] {
            assert!(bytes.abs_diff(text) <= edge, "{counters:?}");
        }
        assert_eq!(seen.handshake.count(), 4);
    }
}

#[test]
fn a_feed_over_tls_has_no_gap() {
    let server = feed();
    let seen = Scene::new(server.addrs()[0]).drive(ClientRole::Subscribe);
    assert!(seen.counters.messages > 0);
}

#[test]
fn bulk_over_tls_is_verified_both_ways_and_ends_with_a_receipt() {
    for direction in [Direction::Down, Direction::Up] {
        let server = backend(BackendRole::Bulk { direction });
        let scene = Scene::new(server.addrs()[0]);
        let bytes = Some(3_000_000);
        let seen = scene.drive(ClientRole::Bulk { direction, bytes });
        assert_eq!(seen.counters.exchanges, 4, "{direction:?}");
        match direction {
            // The backend sends until it sees the close.
            Direction::Down => assert!(seen.counters.bytes_received >= 12_000_000),
            Direction::Up => assert_eq!(seen.counters.bytes_sent, 12_000_000),
        }
    }
}

#[test]
fn websockets_are_opened_over_tls() {
    let server = backend(BackendRole::WebSocket);
    let seen = Scene::new(server.addrs()[0]).drive(ClientRole::WebSocket {
        path: RequestPath::default(),
        cookie: CookieName::default(),
        size: 128,
        rate: None,
    });
    assert!(seen.counters.exchanges > 0);
}

#[test]
fn idle_connections_over_tls_stay() {
    let server = backend(BackendRole::Hold);
    let seen = Scene::new(server.addrs()[0]).drive(ClientRole::Hold);
    assert_eq!((seen.open_at_end, seen.handshake.count()), (4, 4));
}

#[test]
fn each_churned_connection_shakes_hands_anew_unless_it_may_come_back() {
    let server = backend(BackendRole::Churn { size: 128 });
    let scene = Scene::new(server.addrs()[0]);
    let role = || ClientRole::Churn {
        size: 128,
        rate: None,
    };
    let whole = scene.drive(role());
    assert!(whole.counters.handshakes > 4, "{:?}", whole.counters);
    assert_eq!(whole.counters.resumed, 0);
    assert_eq!(whole.connections.opened, whole.counters.exchanges);

    let tls = Some(scene.believed(Comeback::Resumed));
    let config = ClientConfig {
        tls,
        ..scene.clients(role())
    };
    let back = drive(&config).unwrap().join().unwrap();
    let counters = back.counters;
    assert_eq!(back.faults.total(), 0);
    assert!(counters.resumed > 0, "{counters:?}");
    // The first four have nothing to come back with.
    assert!(counters.handshakes - counters.resumed <= 4, "{counters:?}");
}

#[test]
fn who_cannot_be_believed_is_told_of() {
    let server = backend(BackendRole::Hold);
    let scene = Scene::new(server.addrs()[0]);
    let other = Scene::new(server.addrs()[0]);
    assert_eq!(
        scene.faults(other.believed(Comeback::Never)),
        [(Fault::Certificate, 4)]
    );
    let trust = Trust::Authorities(scene.ca.path().to_owned());
    let misnamed = Tls::new(&trust, Some("other.test"), Comeback::Never).unwrap();
    assert_eq!(scene.faults(misnamed), [(Fault::Certificate, 4)]);

    let by_address = Tls::new(&trust, None, Comeback::Never).unwrap();
    let anybody = Tls::new(&Trust::Anybody, Some("other.test"), Comeback::Never).unwrap();
    for tls in [by_address, anybody] {
        let config = ClientConfig {
            tls: Some(tls),
            ..clients(ClientRole::Hold, scene.addr)
        };
        let seen = drive(&config).unwrap().join().unwrap();
        assert_eq!((seen.open_at_end, seen.faults.total()), (4, 0));
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_told_of() {
    let server = backend(BackendRole::Echo);
    let scene = Scene::new(server.addrs()[0]);
    let plain = ClientConfig {
        targets: vec![server.addrs()[0]],
        ..scene.clients(ClientRole::Hold)
    };
    let seen = drive(&plain).unwrap().join().unwrap();
    let faults: Vec<_> = seen.faults.happened().collect();
    assert_eq!(faults, [(Fault::Tls, 4)]);
}

#[test]
fn an_end_without_close_notify_is_a_truncation() {
    // It ends with a FIN as soon as somebody connects.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scene = Scene::with(listener.local_addr().unwrap(), Farewell::Fin);
    let ender = thread::spawn(move || {
        for _ in 0..4 {
            let (server, _) = listener.accept().unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        }
        listener
    });
    let seen = drive(&scene.clients(ClientRole::Hold))
        .unwrap()
        .join()
        .unwrap();
    ender.join().unwrap();
    let faults: Vec<_> = seen.faults.happened().collect();
    assert_eq!(faults, [(Fault::Truncated, 4)]);
}
