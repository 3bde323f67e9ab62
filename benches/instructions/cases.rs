//! What is counted: each case is a round of turns that leaves everything as it found it, played over and over.

use crate::scripted::{Arrival, Phase, Receive, Scripted, bell};
use crate::secure::{Client, Clients, Tickets, secured};
use clap::ValueEnum;
use ringway::config::{
    Backend, Balance, Config, HashKey, Listener, Log, Mode, Process, Relay, Upstream,
};
use ringway::ring::Lane;
use ringway::tls::Material;
use ringway::upstream::Snapshot;
use ringway::worker::{
    Board, Ear, Handover, Journal, Life, Limits, Mailbox, Record, Setup, Stats, Worker,
};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// A pattern of work. To add one (another relay engine's, say): a variant here, its row in each match below, and
/// `--write`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Case {
    /// 1,000 connections, in each turn one message from each, client and backend by turns
    Echo128,
    /// The same where each receive has to be armed again
    EchoSingle,
    /// One connection, one message in each turn: what a turn costs by itself
    Quiet,
    /// One connection, 16 messages in one turn: the first goes out alone, the others together
    Train,
    /// One message from the backend to each of 1,000 connections
    Fanout,
    /// Accept, dial, one message, FIN both ways, close; 64 connections at a time
    Churn,
    /// The same where the message is a browser's request for a WebSocket, and a cookie in it chooses the backend
    Upgrade,
    /// 64 KiB from the backend in full buffers, copied
    Bulk,
    /// 100 connections that speak TLS, in each turn one message from each, client and backend by turns
    TlsEcho,
    /// Accept, whole handshake of TLS 1.3, dial, one message, FIN both ways, close; 4 connections at a time
    TlsFull,
    /// The same with a ticket
    TlsResumed,
}

const MESSAGE: u16 = 128;
const BUFFER: u16 = 4096;
const MANY: u16 = 1000;
const TRAIN: u64 = 16;
const CHURN: u16 = 64;
const SECURE: u16 = 100;

/// As many as rustls's clients keep tickets for, at two each.
const SHAKEN: u16 = 4;

/// A handshake is as much work as so many messages: fewer of them tell as much.
const HANDSHAKE: u64 = 40;

/// Turns after which a handshake that is not over never will be.
const FLIGHTS_MAX: u32 = 1000;

/// What Chromium sends, 548 bytes, and the cookie in it that differs from browser to browser.
const REQUEST: &[u8] = include_bytes!("../../fuzz/corpus/http_head/chromium");
const COOKIE: &str = "session";

const WINDOW: usize = 16;

impl Case {
    pub(crate) const ALL: [Self; 11] = [
        Self::Echo128,
        Self::EchoSingle,
        Self::Quiet,
        Self::Train,
        Self::Fanout,
        Self::Churn,
        Self::Upgrade,
        Self::Bulk,
        Self::TlsEcho,
        Self::TlsFull,
        Self::TlsResumed,
    ];

    /// What the count is divided by.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Echo128
            | Self::EchoSingle
            | Self::Quiet
            | Self::Train
            | Self::Fanout
            | Self::TlsEcho => "message",
            Self::Churn | Self::Upgrade | Self::TlsFull | Self::TlsResumed => "connection",
            Self::Bulk => "64 KiB",
        }
    }

    /// Units in one round.
    fn units(self) -> u64 {
        match self {
            Self::Echo128 | Self::EchoSingle => 2 * u64::from(MANY),
            Self::Quiet => 2,
            Self::Train => TRAIN,
            Self::Fanout => MANY.into(),
            Self::Churn | Self::Upgrade => CHURN.into(),
            Self::Bulk => 1,
            Self::TlsEcho => 2 * u64::from(SECURE),
            Self::TlsFull | Self::TlsResumed => SHAKEN.into(),
        }
    }

    /// Rounds that bring about as many units.
    pub(crate) fn rounds_of(self, units: u64) -> u64 {
        let units = match self.tickets() {
            Some(_) if self != Self::TlsEcho => units.div_ceil(HANDSHAKE),
            Some(_) | None => units,
        };
        units.div_ceil(self.units())
    }

    /// Plays so many rounds, all of them counted, after a warm-up that is not. How many units that was.
    pub(crate) fn play(self, rounds: u64) -> io::Result<u64> {
        let mut stage = Stage::new(self.receive(), self.mode(), self.tickets())?;
        match self.tickets() {
            Some(_) => stage.shake(self.connections())?,
            None => stage.connect(self.connections())?,
        }
        for _ in 0..WARM_UP {
            self.round(&mut stage)?;
        }
        stage.worker.ring().phase = Phase::Counted;
        for _ in 0..rounds {
            self.round(&mut stage)?;
        }
        // Its connections are still open, which is a mistake everywhere but at the end of a process.
        std::mem::forget(stage);
        Ok(rounds * self.units())
    }

    fn receive(self) -> Receive {
        match self {
            Self::EchoSingle => Receive::Single,
            Self::Echo128
            | Self::Quiet
            | Self::Train
            | Self::Fanout
            | Self::Churn
            | Self::Upgrade
            | Self::Bulk
            | Self::TlsEcho
            | Self::TlsFull
            | Self::TlsResumed => Receive::Multishot,
        }
    }

    fn mode(self) -> Mode {
        match self {
            Self::Upgrade => Mode::Http,
            Self::Echo128
            | Self::EchoSingle
            | Self::Quiet
            | Self::Train
            | Self::Fanout
            | Self::Churn
            | Self::Bulk
            | Self::TlsEcho
            | Self::TlsFull
            | Self::TlsResumed => Mode::Tcp,
        }
    }

    /// Whether clients speak TLS, and what they come with.
    fn tickets(self) -> Option<Tickets> {
        match self {
            Self::TlsEcho | Self::TlsFull => Some(Tickets::Unused),
            Self::TlsResumed => Some(Tickets::Used),
            Self::Echo128
            | Self::EchoSingle
            | Self::Quiet
            | Self::Train
            | Self::Fanout
            | Self::Churn
            | Self::Upgrade
            | Self::Bulk => None,
        }
    }

    /// Open before the first round.
    fn connections(self) -> u16 {
        match self {
            Self::Echo128 | Self::EchoSingle | Self::Fanout => MANY,
            Self::Quiet | Self::Train | Self::Bulk => 1,
            Self::Churn | Self::Upgrade | Self::TlsFull | Self::TlsResumed => 0,
            Self::TlsEcho => SECURE,
        }
    }

    fn round(self, stage: &mut Stage) -> io::Result<()> {
        match self {
            Self::Echo128 | Self::EchoSingle | Self::Quiet => stage.echo(),
            Self::Train => stage.train(),
            Self::Fanout => stage.fanout(),
            Self::Churn => stage.churn(),
            Self::Upgrade => stage.upgrade(),
            Self::Bulk => stage.bulk(),
            Self::TlsEcho => stage.secure_echo(),
            Self::TlsFull | Self::TlsResumed => stage.secure_churn(self == Self::TlsResumed),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no case is hidden");
        f.pad(value.get_name())
    }
}

/// Rounds until no table grows any more.
const WARM_UP: u64 = 4;

/// A worker on its ring, and the ends of what it holds.
struct Stage {
    worker: Worker<Scripted>,
    /// Slots of the open connections.
    open: Vec<u32>,
    clients: u16,
    records: Receiver<Record>,
    /// Who speaks TLS.
    secure: Option<Clients>,
    /// Those of them that are open.
    shaken: Vec<Client>,
}

impl Stage {
    fn new(receive: Receive, mode: Mode, tickets: Option<Tickets>) -> io::Result<Self> {
        let mut ring = Scripted::new(receive);
        let mut config = config(mode);
        let (material, secure) = match tickets {
            Some(tickets) => secured(&mut config, tickets).map(|(tls, all)| (tls, Some(all)))?,
            None => (Material::default(), None),
        };
        ring.told = secure.as_ref().map(|_| Vec::new());
        let (post, mailbox) = Mailbox::simulated(bell());
        let (journal, records) = sync_channel(usize::from(CHURN));
        let setup = Setup {
            worker: 0,
            snapshot: Snapshot::with_tls(Arc::new(config), material),
            listeners: vec![Ear {
                door: 0,
                listener: 0,
                sock: ring.socket(),
            }],
            limits: Arc::new(Limits::new(0)),
            connections_max: 2 * u32::from(MANY),
            mailbox,
            handover: Handover::new(0, Arc::new(Board::new(1)), vec![post]),
            stats: Arc::new(Stats::default()),
            journal: Journal::into(journal),
        };
        Ok(Self {
            worker: Worker::new(ring, setup),
            open: Vec::new(),
            clients: 0,
            records,
            secure,
            shaken: Vec::new(),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        match self.worker.ring().phase {
            Phase::WarmUp => self.worker.turn()?,
            Phase::Counted => counted_worker_turn(&mut self.worker)?,
        };
        Ok(())
    }

    fn bring(&mut self, arrivals: impl Iterator<Item = Arrival>) -> io::Result<()> {
        self.worker.ring().arrivals.extend(arrivals);
        self.turn()
    }

    /// What the function makes of each open connection.
    fn bring_each(&mut self, arrival: impl Fn(u32) -> Arrival) -> io::Result<()> {
        let arrivals: Vec<_> = self.open.iter().map(|slot| arrival(*slot)).collect();
        self.bring(arrivals.into_iter())
    }

    /// So many more open connections: accepted, then dialed.
    fn connect(&mut self, count: u16) -> io::Result<()> {
        self.accept(count)?;
        self.turn()?;
        self.open.append(&mut self.worker.ring().dialed);
        Ok(())
    }

    fn accept(&mut self, count: u16) -> io::Result<()> {
        let first = self.clients;
        self.clients = first.wrapping_add(count);
        self.turn()?;
        self.bring((0..count).map(|n| Arrival::Client(client(first.wrapping_add(n)))))
    }

    fn echo(&mut self) -> io::Result<()> {
        self.bring_each(|slot| Arrival::Bytes(slot, Lane::A, MESSAGE))?;
        self.bring_each(|slot| Arrival::Bytes(slot, Lane::B, MESSAGE))
    }

    /// Two more turns: the first message is out, then all the others.
    fn train(&mut self) -> io::Result<()> {
        for _ in 1..TRAIN {
            let more = Arrival::Bytes(self.open[0], Lane::A, MESSAGE);
            self.worker.ring().arrivals.push(more);
        }
        self.bring_each(|slot| Arrival::Bytes(slot, Lane::A, MESSAGE))?;
        self.turn()?;
        self.turn()
    }

    fn fanout(&mut self) -> io::Result<()> {
        self.bring_each(|slot| Arrival::Bytes(slot, Lane::B, MESSAGE))?;
        self.turn()
    }

    fn churn(&mut self) -> io::Result<()> {
        self.connect(CHURN)?;
        self.bring_each(|slot| Arrival::Bytes(slot, Lane::A, MESSAGE))?;
        self.close()
    }

    /// Nothing is dialed before a head has said where to, and then the head is the message.
    fn upgrade(&mut self) -> io::Result<()> {
        self.accept(CHURN)?;
        self.turn()?;
        let first = self.clients.wrapping_sub(CHURN);
        let clients = (0..CHURN).zip(self.worker.ring().heard());
        let said = |(n, slot)| Arrival::Words(slot, Lane::A, request(first.wrapping_add(n)));
        let requests = clients.map(said);
        self.bring(requests)?;
        self.turn()?;
        self.open.append(&mut self.worker.ring().dialed);
        self.close()
    }

    /// FIN both ways on each, and nothing is left but what the log is told.
    fn close(&mut self) -> io::Result<()> {
        self.bring_each(|slot| Arrival::Fin(slot, Lane::A))?;
        self.bring_each(|slot| Arrival::Fin(slot, Lane::B))?;
        if self.secure.is_some() {
            // For close_notify to go out.
            self.turn()?;
        }
        let open = std::mem::take(&mut self.open).len();
        let told = self.records.try_iter().count();
        assert_eq!(told, open, "every connection ended and was told of");
        Ok(())
    }

    /// So many more open connections that have agreed on TLS, and whose clients have their tickets.
    fn shake(&mut self, count: u16) -> io::Result<()> {
        self.accept(count)?;
        self.turn()?;
        let all = self.secure.as_ref().expect("the case speaks TLS");
        let heard = self.worker.ring().heard();
        self.shaken = heard.into_iter().map(|slot| all.client(slot)).collect();
        for _ in 0..FLIGHTS_MAX {
            let mut said = Vec::new();
            for client in &mut self.shaken {
                let words = client.words()?;
                said.extend(words.map(|words| Arrival::Words(client.slot, Lane::A, words)));
            }
            self.bring(said.into_iter())?;
            self.hear()?;
            let is_agreed = self.shaken.iter().all(|client| !client.is_shaking());
            if is_agreed && self.worker.ring().dialed.len() == usize::from(count) {
                self.open.append(&mut self.worker.ring().dialed);
                // What was sent last is answered.
                self.turn()?;
                return self.hear();
            }
        }
        Err(io::Error::other("handshakes without end"))
    }

    fn hear(&mut self) -> io::Result<()> {
        let told = self.worker.ring().told.as_mut().map(std::mem::take);
        for (slot, bytes) in told.unwrap_or_default() {
            // Who is not there any more hears no close_notify.
            if let Some(client) = self.shaken.iter_mut().find(|client| client.slot == slot) {
                client.hear(&bytes)?;
            }
        }
        Ok(())
    }

    /// A message of each client, sealed.
    fn say(&mut self) -> io::Result<()> {
        let mut said = Vec::new();
        for client in &mut self.shaken {
            let sealed = client.say(&[0; MESSAGE as usize])?;
            said.push(Arrival::Words(client.slot, Lane::A, sealed));
        }
        self.bring(said.into_iter())
    }

    fn secure_echo(&mut self) -> io::Result<()> {
        self.say()?;
        self.bring_each(|slot| Arrival::Bytes(slot, Lane::B, MESSAGE))?;
        self.hear()
    }

    /// In the first round nobody has a ticket.
    fn secure_churn(&mut self, resumed: bool) -> io::Result<()> {
        self.shake(SHAKEN)?;
        let counted = self.worker.ring().phase == Phase::Counted;
        let as_wanted = self.shaken.iter().all(|client| client.is_back() == resumed);
        assert!(as_wanted || !counted, "a session of the wrong kind");
        self.say()?;
        self.shaken.clear();
        self.close()?;
        self.hear()
    }

    /// Two more turns, as in a train; then the queue is at low water and the half reads on.
    fn bulk(&mut self) -> io::Result<()> {
        let buffer = Arrival::Bytes(self.open[0], Lane::B, BUFFER);
        self.bring(std::iter::repeat_n(buffer, WINDOW))?;
        self.turn()?;
        self.turn()
    }
}

/// What callgrind counts: from here on, until this returns (`--toggle-collect`). Never inlined, for it must have a name.
#[inline(never)]
fn counted_worker_turn(worker: &mut Worker<Scripted>) -> io::Result<Life> {
    worker.turn()
}

fn config(mode: Mode) -> Config {
    let backend = |last| Backend::new(SocketAddr::from(([192, 0, 2, last], 80)));
    let mut upstream = Upstream::new("u".to_owned(), (1..=4).map(backend).collect());
    // An adaptive half would leave the copying engine in the middle of a count.
    let mut listener = Listener::new("l".to_owned(), Vec::new(), 0);
    listener.relay = Relay::Copy;
    listener.mode = mode;
    if mode == Mode::Http {
        upstream.balance = Balance::Hash;
        upstream
            .hash_key
            .insert(0, HashKey::Cookie(COOKIE.to_owned()));
    }
    Config {
        process: Process::default(),
        log: Log::default(),
        admin: None,
        listeners: vec![listener],
        upstreams: vec![upstream],
    }
}

/// The next client's address: another one each time, for `ip_hash`.
fn client(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 50_000))
}

/// Client `n`'s request: the first digits of its cookie are its own.
fn request(n: u16) -> Vec<u8> {
    let mut request = REQUEST.to_vec();
    let name = format!("Cookie: {COOKIE}=");
    let at = request
        .windows(name.len())
        .position(|bytes| bytes == name.as_bytes());
    let value = at.expect("the request has this cookie") + name.len();
    request[value..value + 4].copy_from_slice(format!("{n:04x}").as_bytes());
    request
}
