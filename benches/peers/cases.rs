//! The work: what each case asks of a proxy, in which unit it is counted, and for how long and how widely it is done.

use crate::certificate::NAME;
use crate::peers::Peer;
use clap::ValueEnum;
use std::fmt;
use std::time::Duration;

/// Idle connections that a proxy holds at once. Each takes two of its descriptors, and 20,000 is a usual hard limit.
const IDLE_CONNECTIONS: u32 = 9_000;

/// Quiet connections beside a flood, and how often each of them asks.
const QUIET_CONNECTIONS: u32 = 5_000;
const QUIET_SECONDS: u32 = 2;

/// Idle connections over TLS: with 37 kB each, the most that a peer needs, 9,000 would take the memory of a small machine.
const IDLE_TLS_CONNECTIONS: u32 = 5_000;

/// Whole handshakes a second beside a feed. A proxy that makes fewer is told apart by how many it made.
const STORM: u32 = 2_000;

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Case {
    /// 1,000 connections, each sends 128 B, waits for the echo, sends again.
    Echo1000,
    /// The same over 64.
    Echo64,
    /// The same over one: what a proxy adds when it has nothing else to do.
    Rtt,
    /// A feed: 128 B to each of 1,000 subscribers, 20 times a second.
    Fanout,
    /// Connect, one exchange, close, 64 at a time.
    Churn,
    /// A new WebSocket for each connection: an upgrade that is balanced by a cookie, one exchange, close, 64 at a time.
    #[value(name = "websocket")]
    WebSocket,
    /// Connections without a byte.
    Idle,
    /// 4 streams as fast as they go, backend to client.
    BulkDown4,
    /// 64 of them.
    BulkDown64,
    /// 4 streams, client to backend.
    BulkUp4,
    /// 64 of them.
    BulkUp64,
    /// The feed and 8 bulk streams to clients through the same proxy.
    Mix,
    /// 5,000 connections that ask now and then, without and with one that sends as fast as it can.
    Flood,
    /// 50 readers that never read, in front of backends that send as fast as anybody takes it.
    Stall,
    /// 16 connections, 4 KiB there and back: what a turn costs that brings so much, copied and spliced.
    Turn4k,
    /// 16 KiB.
    Turn16k,
    /// 64 KiB.
    Turn64k,
    /// 256 KiB.
    Turn256k,
    /// TLS that ends in the proxy: connect, whole handshake, one exchange, close, 64 at a time.
    TlsFull,
    /// The same with a ticket of an earlier connection.
    TlsResumed,
    /// 128 B there and back over 1,000 connections that speak TLS.
    TlsEcho1000,
    /// 4 streams from backend to client, sealed by the proxy.
    TlsBulkDown4,
    /// 4 streams from client to backend, opened by the proxy.
    TlsBulkUp4,
    /// Connections that have agreed on TLS and say nothing.
    TlsIdle,
    /// The feed over TLS, without and with 2,000 whole handshakes a second beside it.
    TlsStorm,
}

/// How much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effort {
    /// Enough to see that it runs.
    Smoke,
    /// Enough to measure.
    Full {
        /// Length of each measured window.
        seconds: u32,
    },
}

/// How a case is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// CPU time per unit of work, and latency.
    Work(Unit),
    /// Latency, throughput and CPU time of two kinds of work at once.
    Mix,
    /// Latency of the first work alone, then with the second beside it, which is counted in this.
    Beside(Unit),
    /// Memory and CPU time for connections that do nothing.
    Idle,
    /// Growth of memory while nobody reads.
    Stall,
}

/// One kind of traffic: a backend of its own, and its clients.
pub(crate) struct Load {
    /// For its files.
    pub(crate) name: &'static str,
    /// What the backend is told to be.
    pub(crate) serve: &'static str,
    /// What the clients are told to do.
    pub(crate) drive: String,
    /// How many connections at once.
    pub(crate) connections: u32,
    /// To how many addresses the proxy may go.
    pub(crate) backends: usize,
    /// The clients spin instead of sleeping.
    pub(crate) spins: bool,
    /// It is there to be in the way, at the proxy: on the load's own CPU it gives way to what is measured.
    pub(crate) yields: bool,
}

impl Load {
    fn new(serve: &'static str, drive: impl Into<String>, connections: u32) -> Self {
        Self {
            name: "load",
            serve,
            drive: drive.into(),
            connections,
            backends: 1,
            spins: false,
            yields: false,
        }
    }

    fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// A proxy with nothing to choose from need not choose.
    fn balanced(self) -> Self {
        Self {
            backends: 2,
            ..self
        }
    }

    /// Clients that speak TLS, with whoever has a key.
    fn over_tls(self) -> Self {
        Self {
            drive: format!("{} --tls --tls-insecure --tls-name {NAME}", self.drive),
            ..self
        }
    }

    fn yielding(self) -> Self {
        Self {
            yields: true,
            ..self
        }
    }

    /// Longer than any proxy takes for a round trip, so that the clients' own wake-ups are in nobody's figure.
    fn spinning(self) -> Self {
        Self {
            drive: format!("{} --spin 10ms", self.drive),
            spins: true,
            ..self
        }
    }
}

/// What work is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// There and back.
    RoundTrip,
    /// One message to one subscriber.
    Message,
    /// Opened, used once, closed.
    Connection,
    /// The same, and TLS was agreed on.
    Handshake,
    /// 10^9 bytes.
    Gigabyte,
}

/// What a run counts or reads; the first of a case is the one that peers are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Metric {
    /// Proxy CPU per unit: microseconds, for gigabytes seconds.
    Cost,
    /// Units a second.
    Rate,
    /// Median latency, microseconds.
    P50,
    /// 99th percentile, microseconds.
    P99,
    /// Proxy's user memory per idle connection, bytes.
    IdleBytes,
    /// Proxy's CPU time, per cent of one CPU.
    Cpu,
    /// Units a second for each core that the proxy uses up.
    PerCore,
    /// What runs beside the measured work, units a second.
    Beside,
    /// 99th percentile of the measured work alone, microseconds.
    P99Alone,
    /// How many times that it is in company.
    Slowdown,
    /// Proxy's user memory gained in front of stalled readers, KiB.
    StallGrowth,
}

impl Case {
    pub(crate) const ALL: [Self; 25] = [
        Self::Echo1000,
        Self::Echo64,
        Self::Rtt,
        Self::Fanout,
        Self::Churn,
        Self::WebSocket,
        Self::Idle,
        Self::BulkDown4,
        Self::BulkDown64,
        Self::BulkUp4,
        Self::BulkUp64,
        Self::Mix,
        Self::Flood,
        Self::Stall,
        Self::Turn4k,
        Self::Turn16k,
        Self::Turn64k,
        Self::Turn256k,
        Self::TlsFull,
        Self::TlsResumed,
        Self::TlsEcho1000,
        Self::TlsBulkDown4,
        Self::TlsBulkUp4,
        Self::TlsIdle,
        Self::TlsStorm,
    ];

    pub(crate) fn method(self) -> Method {
        match self {
            Self::Echo1000
            | Self::Echo64
            | Self::Rtt
            | Self::Turn4k
            | Self::Turn16k
            | Self::Turn64k
            | Self::Turn256k
            | Self::TlsEcho1000 => Method::Work(Unit::RoundTrip),
            Self::TlsFull | Self::TlsResumed => Method::Work(Unit::Handshake),
            Self::Fanout => Method::Work(Unit::Message),
            Self::Churn | Self::WebSocket => Method::Work(Unit::Connection),
            Self::BulkDown4
            | Self::BulkDown64
            | Self::BulkUp4
            | Self::BulkUp64
            | Self::TlsBulkDown4
            | Self::TlsBulkUp4 => Method::Work(Unit::Gigabyte),
            Self::Mix => Method::Mix,
            Self::Flood => Method::Beside(Unit::Gigabyte),
            Self::TlsStorm => Method::Beside(Unit::Handshake),
            Self::Idle | Self::TlsIdle => Method::Idle,
            Self::Stall => Method::Stall,
        }
    }

    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self.method() {
            // A proxy that spins uses its CPU up, whatever the work: what counts here is the time.
            Method::Work(_) if self == Self::Rtt => &[Metric::P50, Metric::P99, Metric::Cost],
            Method::Work(Unit::Gigabyte) => &[Metric::Cost, Metric::Rate],
            Method::Work(Unit::Handshake) => &[
                Metric::Cost,
                Metric::PerCore,
                Metric::Rate,
                Metric::P50,
                Metric::P99,
            ],
            Method::Work(_) => &[Metric::Cost, Metric::Rate, Metric::P50, Metric::P99],
            Method::Mix => &[Metric::P99, Metric::P50, Metric::Beside, Metric::Cpu],
            Method::Beside(_) => &[
                Metric::Slowdown,
                Metric::P99Alone,
                Metric::P99,
                Metric::Beside,
            ],
            Method::Idle => &[Metric::IdleBytes, Metric::Cpu],
            Method::Stall => &[Metric::StallGrowth],
        }
    }

    /// Whether clients speak TLS with the proxy.
    pub(crate) fn is_tls(self) -> bool {
        matches!(
            self,
            Self::TlsFull
                | Self::TlsResumed
                | Self::TlsEcho1000
                | Self::TlsBulkDown4
                | Self::TlsBulkUp4
                | Self::TlsIdle
                | Self::TlsStorm
        )
    }

    /// Whether the figure would say something: without a proxy nothing idles, nothing grows and nobody ends TLS, and a peer's
    /// variants are for the cases that they make a difference in.
    pub(crate) fn suits(self, peer: Peer) -> bool {
        if self.is_tls() {
            return matches!(peer, Peer::Ringway | Peer::Nginx | Peer::Haproxy);
        }
        match peer {
            Peer::Ringway => true,
            Peer::RingwayHttp | Peer::NginxHttp | Peer::HaproxyHttp => self == Self::WebSocket,
            Peer::RingwayCopy | Peer::RingwaySplice => self.is_turn(),
            Peer::Direct => !matches!(self, Self::Idle | Self::Stall),
            Peer::Nginx => !self.is_turn() && self != Self::WebSocket,
            Peer::Haproxy => !matches!(self, Self::Mix | Self::WebSocket) && !self.is_turn(),
            Peer::HaproxySplice => !matches!(self, Self::Rtt | Self::WebSocket) && !self.is_turn(),
            Peer::HaproxyAuto => self == Self::Mix || self.method() == Method::Work(Unit::Gigabyte),
            Peer::HaproxyBusy | Peer::RingwaySpin => self == Self::Rtt,
            // It has one listener, for one kind of work.
            Peer::TokioUring => {
                !matches!(self, Self::Rtt | Self::Mix | Self::Flood | Self::WebSocket)
                    && !self.is_turn()
            }
        }
    }

    /// Whether it compares ringway's two ways to relay, which no other proxy tells anything about.
    fn is_turn(self) -> bool {
        matches!(
            self,
            Self::Turn4k | Self::Turn16k | Self::Turn64k | Self::Turn256k
        )
    }

    /// Whom the others are compared with.
    pub(crate) fn ours(self) -> Peer {
        match self {
            Self::Rtt => Peer::RingwaySpin,
            Self::WebSocket => Peer::RingwayHttp,
            Self::Echo1000
            | Self::Echo64
            | Self::Fanout
            | Self::Churn
            | Self::Idle
            | Self::BulkDown4
            | Self::BulkDown64
            | Self::BulkUp4
            | Self::BulkUp64
            | Self::Mix
            | Self::Flood
            | Self::Stall
            | Self::Turn4k
            | Self::Turn16k
            | Self::Turn64k
            | Self::Turn256k
            | Self::TlsFull
            | Self::TlsResumed
            | Self::TlsEcho1000
            | Self::TlsBulkDown4
            | Self::TlsBulkUp4
            | Self::TlsIdle
            | Self::TlsStorm => Peer::Ringway,
        }
    }

    /// What is done: the first is what the case measures, the others run beside it.
    pub(crate) fn loads(self, effort: Effort) -> Vec<Load> {
        let many = |full: u32| effort.connections(full);
        let down = "bulk --direction down";
        let up = "bulk --direction up";
        match self {
            Self::Echo1000 => vec![Load::new("echo", "echo --size 128", many(1_000))],
            Self::Echo64 => vec![Load::new("echo", "echo --size 128", many(64))],
            Self::Rtt => vec![Load::new("echo", "echo --size 128", 1).spinning()],
            Self::Fanout => vec![feed(effort)],
            Self::Churn => vec![Load::new("churn", "churn", many(64))],
            Self::WebSocket => vec![Load::new("websocket", "websocket", many(64)).balanced()],
            Self::Idle => vec![Load::new("hold", "hold", many(IDLE_CONNECTIONS))],
            Self::BulkDown4 => vec![Load::new(down, down, 4)],
            Self::BulkDown64 => vec![Load::new(down, down, many(64))],
            Self::BulkUp4 => vec![Load::new(up, up, 4)],
            Self::BulkUp64 => vec![Load::new(up, up, many(64))],
            Self::Mix => vec![
                feed(effort),
                Load::new(down, down, many(8)).named("bulk").yielding(),
            ],
            Self::Flood => vec![
                quiet(effort),
                Load::new(up, up, 1).named("flood").yielding(),
            ],
            Self::Stall => vec![Load::new(down, "stall", many(50))],
            Self::Turn4k => vec![turn(4, effort)],
            Self::Turn16k => vec![turn(16, effort)],
            Self::Turn64k => vec![turn(64, effort)],
            Self::Turn256k => vec![turn(256, effort)],
            Self::TlsFull => vec![Load::new("churn", "churn", many(64)).over_tls()],
            Self::TlsResumed => vec![Load::new("churn", "churn --resume", many(64)).over_tls()],
            Self::TlsEcho1000 => {
                vec![Load::new("echo", "echo --size 128", many(1_000)).over_tls()]
            }
            Self::TlsBulkDown4 => vec![Load::new(down, down, 4).over_tls()],
            Self::TlsBulkUp4 => vec![Load::new(up, up, 4).over_tls()],
            Self::TlsIdle => vec![Load::new("hold", "hold", many(IDLE_TLS_CONNECTIONS)).over_tls()],
            Self::TlsStorm => vec![feed(effort).over_tls(), storm(effort)],
        }
    }

    /// The heading of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Echo1000 => "Echo of 128 B, 1,000 connections",
            Self::Echo64 => "Echo of 128 B, 64 connections",
            Self::Fanout => "Fan-out: 128 B to 1,000 subscribers, 20 times a second",
            Self::Churn => "Connect, exchange, close: 64 at a time",
            Self::WebSocket => {
                "New WebSocket sessions: upgrade by cookie, one exchange, close; 64 at a time"
            }
            Self::Idle => "9,000 idle connections",
            Self::Rtt => "Round trip of 128 B on one connection",
            Self::BulkDown4 => "Bulk: 4 streams from backend to client",
            Self::BulkDown64 => "Bulk: 64 streams from backend to client",
            Self::BulkUp4 => "Bulk: 4 streams from client to backend",
            Self::BulkUp64 => "Bulk: 64 streams from client to backend",
            Self::Mix => "Mix: the fan-out beside 8 bulk streams to clients",
            Self::Flood => "Flood: 5,000 quiet connections beside one that never stops sending",
            Self::Stall => "50 readers that never read, from backends that never stop",
            Self::Turn4k => "Echo of 4 KiB, 16 connections",
            Self::Turn16k => "Echo of 16 KiB, 16 connections",
            Self::Turn64k => "Echo of 64 KiB, 16 connections",
            Self::Turn256k => "Echo of 256 KiB, 16 connections",
            Self::TlsFull => "TLS: connect, whole handshake, exchange, close; 64 at a time",
            Self::TlsResumed => "TLS: connect, resumed handshake, exchange, close; 64 at a time",
            Self::TlsEcho1000 => "TLS: echo of 128 B, 1,000 connections",
            Self::TlsBulkDown4 => "TLS: 4 streams from backend to client",
            Self::TlsBulkUp4 => "TLS: 4 streams from client to backend",
            Self::TlsIdle => "TLS: 5,000 idle connections",
            Self::TlsStorm => {
                "TLS: the fan-out to 1,000 subscribers beside a storm of whole handshakes"
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            self.to_possible_value()
                .expect("no case is hidden")
                .get_name()
        )
    }
}

/// 128 B to each subscriber, 20 times a second.
fn feed(effort: Effort) -> Load {
    let serve = "publish --rate 20 --size 128";
    Load::new(serve, "subscribe", effort.connections(1_000))
}

/// Connections that ask now and then, at planned times: a pause shows in every request that it delays.
fn quiet(effort: Effort) -> Load {
    let rate = match effort {
        Effort::Smoke => 100,
        Effort::Full { .. } => QUIET_CONNECTIONS / QUIET_SECONDS,
    };
    let connections = effort.connections(QUIET_CONNECTIONS);
    Load::new(
        "echo",
        format!("echo --size 128 --rate {rate}"),
        connections,
    )
}

/// New clients at planned times, whole handshakes all of them.
fn storm(effort: Effort) -> Load {
    let rate = match effort {
        Effort::Smoke => 100,
        Effort::Full { .. } => STORM,
    };
    let drive = format!("churn --rate {rate}");
    let connections = effort.connections(256);
    Load::new("churn", drive, connections)
        .over_tls()
        .named("storm")
        .yielding()
}

/// So many KiB at once, there and back.
fn turn(kib: u32, effort: Effort) -> Load {
    let drive = format!("echo --size {}", kib << 10);
    Load::new("echo", drive, effort.connections(16))
}

impl Effort {
    /// As many as a measurement has, or a few.
    fn connections(self, full: u32) -> u32 {
        match self {
            Self::Smoke => full.min(4),
            Self::Full { .. } => full,
        }
    }

    /// How long is measured.
    pub(crate) fn window(self) -> Duration {
        match self {
            // Once, beside builds, an upload through HAProxy moved no byte within 300 ms.
            Self::Smoke => Duration::from_millis(500),
            Self::Full { seconds } => Duration::from_secs(seconds.into()),
        }
    }

    /// How long the load runs before that: slow start, caches, allocators.
    pub(crate) fn warmup(self) -> Duration {
        match self {
            Self::Smoke => Duration::from_millis(100),
            Self::Full { .. } => Duration::from_secs(1),
        }
    }
}

impl Unit {
    /// Its name in a column's head.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "round trip",
            Self::Message => "message",
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::Gigabyte => "GB",
        }
    }

    /// A cost is given in this part of a second.
    pub(crate) fn cost_scale(self) -> (f64, &'static str) {
        match self {
            Self::RoundTrip | Self::Message | Self::Connection | Self::Handshake => (1e6, "µs"),
            Self::Gigabyte => (1.0, "s"),
        }
    }
}
