//! TLS that ends in the proxy: how it is agreed on, what backends see of it, and how it ends.

use crate::support::{Authority, Backend, End, Peer, Proxy, Setup, wait};
use ringway::wire::proxy_protocol::{Progress, Ssl, parse};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream, SupportedProtocolVersion, version,
};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// A proxy that ends TLS, and what its clients need.
struct Scene {
    proxy: Proxy,
    authority: Authority,
}

impl Scene {
    fn new(backend: &Backend) -> Self {
        Self::with(backend, "", |setup| setup)
    }

    /// With more keys in the listener's table of TLS, and more lines elsewhere.
    fn with(backend: &Backend, keys: &str, more: impl FnOnce(Setup) -> Setup) -> Self {
        let authority = Authority::new();
        let pair = authority.issue("feed", &["feed.test", "*.feed.test"]);
        let setup = Setup::before(backend).terminating_with(&pair, keys);
        Self {
            proxy: more(setup).start(),
            authority,
        }
    }

    fn config(&self) -> ClientConfig {
        self.config_of(rustls::ALL_VERSIONS)
    }

    fn config_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.authority.ca()).unwrap();
        roots.add(ca).unwrap();
        ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A client that has not said anything.
    fn client(&self) -> Client {
        self.client_with(self.config(), "feed.test")
    }

    fn client_with(&self, config: ClientConfig, name: &str) -> Client {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Client {
            tls: ClientConnection::new(Arc::new(config), name).unwrap(),
            peer: self.proxy.connect(),
        }
    }

    /// The hello of a client, as bytes.
    fn hello(&self) -> (Client, Vec<u8>) {
        let mut client = self.client();
        let mut hello = Vec::new();
        client.tls.write_tls(&mut hello).unwrap();
        (client, hello)
    }

    #[track_caller]
    fn await_end(&self, client: &Peer) -> String {
        let line = self.proxy.await_access_of(client.local());
        line.text("end").to_owned()
    }
}

/// How a client's TLS ended.
#[derive(PartialEq, Eq, Debug)]
enum Ending {
    /// close_notify.
    Closed,
    /// FIN or a reset without it.
    CutOff,
}

struct Client {
    tls: ClientConnection,
    peer: Peer,
}

impl Client {
    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        let mut socket = self.peer.stream();
        Stream::new(&mut self.tls, &mut socket)
            .write_all(bytes)
            .expect("sends");
    }

    #[track_caller]
    fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        let mut socket = self.peer.stream();
        Stream::new(&mut self.tls, &mut socket)
            .read_exact(&mut got)
            .expect("receives");
        assert_eq!(got, bytes);
    }

    /// Sends close_notify, and reads on.
    fn close(&mut self) {
        self.tls.send_close_notify();
        let mut socket = self.peer.stream();
        self.tls.write_tls(&mut socket).unwrap();
    }

    fn drain(&mut self) -> (Vec<u8>, Ending) {
        let mut bytes = Vec::new();
        let mut socket = self.peer.stream();
        let end = Stream::new(&mut self.tls, &mut socket).read_to_end(&mut bytes);
        match end.map_err(|e| e.kind()) {
            Ok(_) => (bytes, Ending::Closed),
            Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => (bytes, Ending::CutOff),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn both_versions_are_spoken_and_bytes_are_counted_without_what_tls_adds() {
    let backend = Backend::echo();
    let scene = Scene::new(&backend);
    for version in [&version::TLS12, &version::TLS13] {
        let config = scene.config_of(&[version]);
        let mut client = scene.client_with(config, "feed.test");
        client.send(b"tick");
        client.expect(b"tick");
        client.close();
        assert_eq!(client.drain(), (Vec::new(), Ending::Closed));
        let line = scene.proxy.await_access_of(client.peer.local());
        assert_eq!(line.end(), ("client-fin/done", "--"));
        assert_eq!((line.number("bytes_up"), line.number("bytes_down")), (4, 4));
        assert_eq!((line.text("relay"), line.text("sni")), ("tls", "feed.test"));
    }
}

#[test]
fn a_hello_in_segments_of_one_byte_is_a_hello() {
    let backend = Backend::echo();
    let scene = Scene::new(&backend);
    let (mut client, hello) = scene.hello();
    for byte in hello {
        client.peer.send(&[byte]);
    }
    client.send(b"tick");
    client.expect(b"tick");
}

#[test]
fn after_close_notify_of_the_client_the_backend_still_answers() {
    let backend = Backend::new();
    let scene = Scene::new(&backend);
    let mut client = scene.client();
    client.send(b"question");
    let at_backend = backend.accept();
    client.close();
    assert_eq!(at_backend.drain(), (b"question".to_vec(), End::Fin));
    at_backend.send(b"answer");
    client.expect(b"answer");
    at_backend.close();
    assert_eq!(client.drain(), (Vec::new(), Ending::Closed));
    assert_eq!(scene.await_end(&client.peer), "client-fin/done");
}

#[test]
fn a_client_that_ends_without_close_notify_is_truncated_in_the_log() {
    let backend = Backend::new();
    let scene = Scene::new(&backend);
    let mut client = scene.client();
    client.send(b"half a questi");
    let at_backend = backend.accept();
    client.peer.fin();
    assert_eq!(at_backend.drain(), (b"half a questi".to_vec(), End::Fin));
    at_backend.send(b"what?");
    client.expect(b"what?");
    at_backend.close();
    assert_eq!(client.drain(), (Vec::new(), Ending::Closed));
    assert_eq!(scene.await_end(&client.peer), "client-truncated/done");
}

#[test]
fn what_a_reset_backend_has_said_comes_and_is_cut_off() {
    let backend = Backend::new();
    let scene = Scene::new(&backend);
    let mut client = scene.client();
    client.send(b"question");
    let at_backend = backend.accept();
    at_backend.expect(b"question");
    at_backend.send(b"half an answ");
    client.expect(b"half an answ");
    at_backend.reset();
    assert_eq!(client.drain(), (Vec::new(), Ending::CutOff));
    assert_eq!(scene.await_end(&client.peer), "backend-reset/relaying");
}

#[test]
fn a_drain_and_an_idle_timeout_say_close_notify() {
    let backend = Backend::echo();
    let idle = |setup: Setup| setup.listener("idle_timeout = \"300ms\"");
    let scene = Scene::with(&backend, "", idle);
    let mut client = scene.client();
    client.send(b"tick");
    client.expect(b"tick");
    assert_eq!(client.drain(), (Vec::new(), Ending::Closed));
    assert_eq!(scene.await_end(&client.peer), "idle/relaying");
    let scene = Scene::new(&backend);
    let mut client = scene.client();
    client.send(b"tick");
    client.expect(b"tick");
    let draining = std::thread::spawn(move || scene.proxy.terminate());
    assert_eq!(client.drain(), (Vec::new(), Ending::Closed));
    drop(client);
    assert_eq!(draining.join().unwrap().code, Some(0));
}

#[test]
fn plain_http_is_told_so_in_plain_http() {
    let backend = Backend::echo();
    let scene = Scene::new(&backend);
    let client = scene.proxy.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: feed.test\r\n\r\n");
    let (reply, end) = client.drain();
    assert!(reply.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(end, End::Fin);
    client.fin();
    assert_eq!(scene.await_end(&client), "plain-http/handshaking");
}

#[test]
fn what_is_wrong_with_a_handshake_is_in_the_log_and_in_an_alert() {
    let backend = Backend::echo();
    let scene = Scene::with(&backend, ", min_version = \"1.3\"", |setup| setup);
    let mut client = scene.client_with(scene.config_of(&[&version::TLS12]), "feed.test");
    let mut socket = client.peer.stream();
    let error = client.tls.complete_io(&mut socket).unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    client.peer.fin();
    let end = scene.await_end(&client.peer);
    assert_eq!(end, "client-tls:nothing-in-common/handshaking");
    // And one that refuses what it is shown.
    let nobody = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = scene.client_with(nobody, "feed.test");
    let mut socket = client.peer.stream();
    client.tls.complete_io(&mut socket).unwrap_err();
    let end = scene.await_end(&client.peer);
    assert_eq!(end, "client-alert:unknown-ca/handshaking");
    // And what is no TLS at all.
    let client = scene.proxy.connect();
    client.send(b"SSH-2.0-OpenSSH_9.9\r\n");
    client.drain();
    client.fin();
    let end = scene.await_end(&client);
    assert_eq!(end, "client-tls:malformed/handshaking");
}

#[test]
fn a_handshake_that_takes_too_long_ends() {
    let backend = Backend::echo();
    let scene = Scene::with(&backend, ", handshake_timeout = \"200ms\"", |setup| setup);
    let (client, hello) = scene.hello();
    client.peer.send(&hello[..100]);
    assert_eq!(client.peer.drain().1, End::Fin);
    assert_eq!(
        scene.await_end(&client.peer),
        "handshake-timeout/handshaking"
    );
    let silent = scene.proxy.connect();
    assert_eq!(silent.drain().1, End::Fin);
    assert_eq!(scene.await_end(&silent), "handshake-timeout/handshaking");
}

#[test]
fn a_changed_record_ends_the_connection_and_the_client_is_told() {
    let backend = Backend::new();
    let scene = Scene::new(&backend);
    let mut client = scene.client();
    client.send(b"whole");
    let at_backend = backend.accept();
    at_backend.expect(b"whole");
    client.tls.writer().write_all(b"broken").unwrap();
    let mut record = Vec::new();
    client.tls.write_tls(&mut record).unwrap();
    *record.last_mut().unwrap() ^= 1;
    client.peer.send(&record);
    let mut socket = client.peer.stream();
    let said = Stream::new(&mut client.tls, &mut socket).read(&mut [0]);
    assert!(said.unwrap_err().to_string().contains("BadRecordMac"));
    assert_eq!(at_backend.drain(), (Vec::new(), End::Reset));
    let end = scene.await_end(&client.peer);
    assert_eq!(end, "client-tls:bad-record-mac/relaying");
}

#[test]
fn a_proxy_header_comes_before_tls_in_the_same_segment_or_in_many() {
    let backend = Backend::echo();
    let required = |setup: Setup| setup.listener("proxy_protocol = \"required\"");
    let scene = Scene::with(&backend, "", required);
    let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
    for piece in [1, 50, 10_000] {
        let (mut client, hello) = scene.hello();
        let bytes = [&header[..], &hello].concat();
        bytes
            .chunks(piece)
            .for_each(|piece| client.peer.send(piece));
        client.send(b"tick");
        client.expect(b"tick");
        client.close();
        client.drain();
    }
    let lines = scene.proxy.await_access(3);
    assert!(
        lines
            .iter()
            .all(|line| line.text("client") == "203.0.113.7:56324")
    );
}

#[test]
fn heads_are_read_after_tls_and_name_it_to_the_backend() {
    let backend = Backend::new();
    let scene = Scene::with(&backend, ", alpn = [\"http/1.1\"]", |setup| {
        setup
            .listener("mode = \"http\"")
            .listener("forwarded = \"append\"")
            .upstream("proxy_protocol = \"v2\"")
    });
    let mut config = scene.config();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut client = scene.client_with(config, "a.feed.test");
    client.send(b"GET /chat HTTP/1.1\r\nHost: ws.test\r\n\r\nbehind");
    client.close();
    let at_backend = backend.accept();
    let (bytes, _) = at_backend.drain();
    let Progress::Complete(header) = parse(&bytes) else {
        panic!("no header");
    };
    let ssl = header.tlvs.ssl.expect("TLS ended here");
    assert_eq!((ssl.client, ssl.version), (Ssl::TLS, Some("TLSv1.3")));
    assert!(ssl.cipher.is_some_and(|cipher| cipher.starts_with("TLS_")));
    assert_eq!(header.tlvs.alpn, Some(&b"http/1.1"[..]));
    assert_eq!(header.tlvs.authority, Some("a.feed.test"));
    let head = String::from_utf8_lossy(&bytes[header.len..]);
    assert!(head.contains("X-Forwarded-Proto: https\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\nbehind"), "{head}");
    at_backend.close();
    client.drain();
    let line = scene.proxy.await_access_of(client.peer.local());
    assert_eq!(
        (line.text("host"), line.text("sni")),
        ("ws.test", "a.feed.test")
    );
}

#[test]
fn a_head_that_goes_nowhere_is_answered_in_tls() {
    let backend = Backend::new();
    let scene = Scene::with(&backend, "", |setup| setup.listener("mode = \"http\""));
    let mut client = scene.client();
    client.send(b"NONSENSE\r\n\r\n");
    let (reply, end) = client.drain();
    assert!(reply.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(end, Ending::Closed);
    backend.expect_nobody();
}

#[test]
fn the_name_of_a_terminated_hello_routes_in_any_mode() {
    let (feed, other) = (Backend::named("feed"), Backend::named("other"));
    let upstream = format!(
        "[[upstream]]\nname = \"other\"\n[[upstream.backend]]\naddress = \"{}\"\n",
        other.address()
    );
    for mode in ["tcp", "http"] {
        let scene = Scene::with(&feed, "", |setup| {
            setup
                .listener(&format!("mode = \"{mode}\""))
                .listener("route = [{ sni = \"b.feed.test\", upstream = \"other\" }]")
                .more(&upstream)
        });
        for (name, upstream) in [("a.feed.test", "feed"), ("b.feed.test", "other")] {
            let mut client = scene.client_with(scene.config(), name);
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client.close();
            client.drain();
            let line = scene.proxy.await_access_of(client.peer.local());
            assert_eq!(line.text("upstream"), upstream, "{mode}, {name}");
        }
    }
}

#[test]
fn sessions_are_resumed_and_early_data_is_not_taken() {
    let backend = Backend::echo();
    let scene = Scene::new(&backend);
    let mut config = scene.config();
    config.enable_early_data = true;
    for round in 0..3 {
        let mut client = scene.client_with(config.clone(), "feed.test");
        assert!(client.tls.early_data().is_none(), "nothing is offered");
        client.send(b"tick");
        client.expect(b"tick");
        let kind = client.tls.handshake_kind().unwrap();
        let resumed = kind == rustls::HandshakeKind::Resumed;
        assert_eq!(resumed, round > 0, "{kind:?}");
        client.close();
        client.drain();
    }
}

#[test]
fn a_backend_whose_certificate_nobody_trusts_gets_nothing_and_the_next_is_tried() {
    let (good, bad) = (Authority::new(), Authority::new());
    let echo = Backend::echo();
    let inner = |authority: &Authority| {
        let pair = authority.issue("feed", &["feed.test"]);
        Setup::before(&echo).terminating(&pair).start()
    };
    let (trusted, stranger) = (inner(&good), inner(&bad));
    let tls = format!(
        "tls = {{ server_name = \"feed.test\", ca = {:?} }}",
        good.ca()
    );
    let proxy = Setup::new(&[stranger.address(), trusted.address()])
        .upstream(&tls)
        .upstream("balance = \"round_robin\"")
        .start();
    for _ in 0..4 {
        let client = proxy.connect();
        client.send(b"hello");
        client.expect(b"hello");
    }
    let said = stranger.await_first_access();
    assert!(said.text("end").starts_with("client-alert:"), "{said:?}");
    let proxy = Setup::new(&[stranger.address()]).upstream(&tls).start();
    let client = proxy.connect();
    client.drain();
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("backend-tls:bad-certificate/dialing", "SC"));
}

#[test]
fn a_backend_that_says_nothing_to_a_hello_has_timed_out() {
    let backend = Backend::new();
    let authority = Authority::new();
    let tls = format!(
        "tls = {{ server_name = \"feed.test\", ca = {:?} }}",
        authority.ca()
    );
    let proxy = Setup::before(&backend)
        .upstream(&tls)
        .upstream("connect_timeout = \"200ms\"")
        .start();
    let client = proxy.connect();
    let at_backend = backend.accept();
    client.drain();
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("connect-timeout/dialing", "sC"));
    let (hello, _) = at_backend.drain();
    assert_eq!(hello[0], 22, "a handshake record");
}

#[test]
fn a_proxy_header_goes_to_a_backend_ahead_of_tls() {
    let backend = Backend::new();
    let authority = Authority::new();
    let tls = format!(
        "tls = {{ server_name = \"feed.test\", ca = {:?} }}",
        authority.ca()
    );
    let proxy = Setup::before(&backend)
        .upstream(&tls)
        .upstream("proxy_protocol = \"v1\"")
        .upstream("connect_timeout = \"200ms\"")
        .start();
    let client = proxy.connect();
    let (bytes, _) = backend.accept().drain();
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} ", client.local().port());
    assert!(bytes.starts_with(header.as_bytes()));
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    assert_eq!(bytes[end..][..2], [22, 3], "a hello follows");
}

/// Longer than anything here takes on a machine that is otherwise quiet.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_storm_of_handshakes_is_served_to_its_last() {
    const CLIENTS: usize = 300;
    let backend = Backend::echo();
    let scene = Scene::new(&backend);
    let mut established = scene.client();
    established.send(b"before");
    established.expect(b"before");
    let (hellos, took) = wait::timed(|| {
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| scene.hello()).collect();
        for (client, hello) in &mut clients {
            client.peer.send(hello);
        }
        established.send(b"in the storm");
        established.expect(b"in the storm");
        for (client, _) in &mut clients {
            client.send(b"tick");
            client.expect(b"tick");
        }
        clients.len()
    });
    assert_eq!(hellos, CLIENTS);
    assert!(took < 6 * SOON, "{took:?}");
}
