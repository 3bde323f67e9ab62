//! Handshakes that are given up: at any byte, in every way that a client can go, ten thousand times. Nothing may be left of
//! them, and each is counted for what it was.

use crate::support::{Authority, Backend, Peer, Proxy, Setup, wait};
use ringway::base::Dice;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, version};
use std::io;
use std::sync::Arc;
use std::thread;

/// Clients in all.
const CLIENTS: usize = 10_000;

/// Clients before anything is measured: what the first of them bring about stays for the others.
const FIRST: usize = 2_000;

/// Clients that are there at the same time, of one thread.
const TOGETHER: usize = 50;

const THREADS: usize = 4;

/// Fills the longest record that may have begun (RFC 5246, section 6.2.3), and begins one of a type that there is not.
const NOISE: usize = (16 << 10) + 2048 + 5;

/// Resident memory that may come and go by itself while the rest shake hands: a tenth of what their keys and state take
/// if they are kept (8 KiB each).
const MEMORY_MAX: u64 = 8_000 * 8192 / 10;

/// How a client goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// RST.
    Reset,
    /// FIN, and nobody is there any more.
    Close,
    /// FIN, and it waits for what is said to that.
    HalfClose,
    /// Bytes that are no TLS.
    Garbage,
    /// It stays and says nothing.
    Silence,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Reset,
        Self::Close,
        Self::HalfClose,
        Self::Garbage,
        Self::Silence,
    ];

    /// Where such clients go, lest patience decides what becomes of the others.
    const fn listener(self) -> &'static str {
        match self {
            Self::Reset | Self::Close | Self::HalfClose | Self::Garbage => "feed",
            Self::Silence => "hasty",
        }
    }
}

/// Reads until it has ended, in whichever way.
fn read_on(peer: &Peer) {
    while !peer.drain_some().is_empty() {}
}

/// One that has said part of what a handshake takes.
struct Client {
    peer: Peer,
    way: Way,
}

impl Client {
    /// Goes. The proxy may have let go of it before.
    fn go(self) {
        match self.way {
            Way::Reset => self.peer.reset(),
            Way::Close => self.peer.close(),
            Way::HalfClose => {
                self.peer.fin();
                read_on(&self.peer);
            }
            Way::Garbage => {
                let _ = self.peer.try_send(&[0xff; NOISE]);
                read_on(&self.peer);
            }
            Way::Silence => read_on(&self.peer),
        }
    }
}

/// What all clients share.
struct Scene {
    proxy: Proxy,
    configs: [Arc<ClientConfig>; 2],
    _authority: Authority,
}

impl Scene {
    fn new(backend: &Backend) -> Self {
        let authority = Authority::new();
        let pair = authority.issue("feed", &["feed.test"]);
        let hasty = format!(
            "[[listener]]\nname = \"hasty\"\nlisten = \"127.0.0.1:0\"\nupstream = \"feed\"\n\
             tls = {{ certificates = [{{ cert = {:?}, key = {:?} }}], handshake_timeout = \"300ms\" }}\n",
            pair.cert, pair.key
        );
        let proxy = Setup::before(backend)
            .process("workers = 2")
            .log("access = \"off\"")
            .terminating_with(&pair, ", handshake_timeout = \"10m\"")
            .more(&hasty)
            .admin()
            .start();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(authority.ca()).unwrap();
        roots.add(ca).unwrap();
        let configs = [&version::TLS13, &version::TLS12].map(|version| {
            let config = ClientConfig::builder_with_protocol_versions(&[version]);
            let config = config.with_root_certificates(roots.clone());
            Arc::new(config.with_no_client_auth())
        });
        Self {
            proxy,
            configs,
            _authority: authority,
        }
    }

    /// Clients `from..to`, on several threads, each with its own share of them.
    fn play(&self, from: usize, to: usize) {
        thread::scope(|scope| {
            for first in from..from + THREADS {
                let mine = (first..to).step_by(THREADS).collect::<Vec<_>>();
                scope.spawn(move || {
                    for together in mine.chunks(TOGETHER) {
                        let clients: Vec<_> = together.iter().map(|at| self.begin(*at)).collect();
                        clients.into_iter().for_each(Client::go);
                    }
                });
            }
        });
    }

    /// Every way in both versions, in both flights of a client, at points of chance.
    fn begin(&self, at: usize) -> Client {
        let mut dice = Dice::new(at as u64);
        let way = Way::ALL[at % 5];
        let config = &self.configs[at / 5 % 2];
        let is_second = at / 10 % 2 == 1;
        let name = ServerName::try_from("feed.test").unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        let peer = Peer::connect(self.proxy.address_of(way.listener()));
        let mut flight = written(&mut tls);
        if is_second {
            let heard = peer.try_send(&flight).and_then(|()| hear(&mut tls, &peer));
            assert!(heard.is_ok() || way == Way::Silence, "{heard:?}");
            flight = written(&mut tls);
        }
        // Never the whole: that would be no handshake that was given up.
        let said = dice.below(u32::try_from(flight.len()).unwrap()) as usize;
        let sent = peer.try_send(&flight[..said]);
        assert!(sent.is_ok() || way == Way::Silence, "{sent:?}");
        Client { peer, way }
    }

    /// How many clients have ended for this reason.
    fn closed(&self, listener: &str, reason: &str) -> usize {
        let label = format!("listener=\"{listener}\",reason=\"{reason}\"");
        self.metric(&format!("ringway_connections_closed_total{{{label}}}"))
    }

    /// The sum of all series that begin so.
    fn metric(&self, series: &str) -> usize {
        let text = self.proxy.admin().get("/metrics").body;
        let lines = text.lines().filter_map(|line| line.strip_prefix(series));
        let values = lines.map(|line| line.rsplit_once(' ').unwrap().1);
        values.map(|value| value.parse::<usize>().unwrap()).sum()
    }

    /// Waits until this many clients have ended, each for the reason that is its way's.
    #[track_caller]
    fn await_ends(&self, clients: usize) {
        let total = "ringway_connections_closed_total";
        wait::until("all have ended", || self.metric(total) >= clients);
        let each = clients / Way::ALL.len();
        for (listener, reason, ways) in [
            ("feed", "client-reset", 1),
            ("feed", "client-fin", 2),
            ("feed", "client-tls", 1),
            ("hasty", "handshake-timeout", 1),
        ] {
            assert_eq!(self.closed(listener, reason), ways * each, "{reason}");
        }
        assert_eq!(self.metric(total), clients);
    }
}

/// All that it has to say now.
fn written(tls: &mut ClientConnection) -> Vec<u8> {
    let mut flight = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut flight).unwrap();
    }
    flight
}

/// Reads the server's flight to its last byte, so that FIN can be FIN and does not become a reset.
fn hear(tls: &mut ClientConnection, peer: &Peer) -> io::Result<()> {
    while !has_heard(tls) {
        if tls.read_tls(&mut peer.stream())? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(())
}

/// The flight ends with Finished in TLS 1.3, and in TLS 1.2 with what has to be answered.
fn has_heard(tls: &ClientConnection) -> bool {
    match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => !tls.is_handshaking(),
        _ => tls.wants_write(),
    }
}

#[test]
fn ten_thousand_handshakes_given_up_at_any_point_in_any_way_leave_nothing_behind() {
    let backend = Backend::new();
    let scene = Scene::new(&backend);
    scene.play(0, FIRST);
    scene.await_ends(FIRST);
    // Not before: control opens a few of its own after the proxy is ready.
    let (sockets, memory) = (scene.proxy.sockets(), scene.proxy.resident());
    scene.play(FIRST, CLIENTS);
    scene.await_ends(CLIENTS);
    wait::until("its sockets are back", || scene.proxy.sockets() <= sockets);
    let buffers = scene.metric("ringway_ring_buffers{");
    wait::until("all buffers are free", || {
        scene.metric("ringway_ring_buffers_free{") == buffers
    });
    assert_eq!(scene.metric("ringway_connections_active"), 0);
    assert_eq!(scene.metric("ringway_accept_failures_total"), 0);
    let grown = scene.proxy.resident().saturating_sub(memory);
    assert!(grown <= MEMORY_MAX, "{grown} bytes more than before");
    backend.expect_nobody();
}
