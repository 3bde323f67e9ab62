//! The work: what each case asks of a proxy, in which unit it is counted, and for how long and how widely it is done.

use crate::peers::Peer;
use clap::ValueEnum;
use std::fmt;
use std::time::Duration;

/// Idle connections that a proxy holds at once. Each takes two of its descriptors, and 20,000 is a usual hard limit.
const IDLE_CONNECTIONS: u32 = 9_000;

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Case {
    /// 1,000 connections, each sends 128 B, waits for the echo, sends again.
    Echo1000,
    /// The same over 64.
    Echo64,
    /// A feed: 128 B to each of 1,000 subscribers, 20 times a second.
    Fanout,
    /// Connect, one exchange, close, 64 at a time.
    Churn,
    /// Connections without a byte.
    Idle,
    /// 16 streams as fast as they go, backend to client.
    Bulk,
    /// 50 readers that never read, in front of backends that send as fast as anybody takes it.
    Stall,
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
    /// Memory and CPU time for connections that do nothing.
    Idle,
    /// Growth of memory while nobody reads.
    Stall,
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
    /// Per cent of one CPU with the idle connections open.
    IdleCpu,
    /// Proxy's user memory gained in front of stalled readers, KiB.
    StallGrowth,
}

impl Case {
    pub(crate) const ALL: [Self; 7] = [
        Self::Echo1000,
        Self::Echo64,
        Self::Fanout,
        Self::Churn,
        Self::Idle,
        Self::Bulk,
        Self::Stall,
    ];

    pub(crate) fn method(self) -> Method {
        match self {
            Self::Echo1000 | Self::Echo64 => Method::Work(Unit::RoundTrip),
            Self::Fanout => Method::Work(Unit::Message),
            Self::Churn => Method::Work(Unit::Connection),
            Self::Bulk => Method::Work(Unit::Gigabyte),
            Self::Idle => Method::Idle,
            Self::Stall => Method::Stall,
        }
    }

    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self.method() {
            Method::Work(Unit::Gigabyte) => &[Metric::Cost, Metric::Rate],
            Method::Work(_) => &[Metric::Cost, Metric::Rate, Metric::P50, Metric::P99],
            Method::Idle => &[Metric::IdleBytes, Metric::IdleCpu],
            Method::Stall => &[Metric::StallGrowth],
        }
    }

    /// Whether there is anything to measure: without a proxy, nothing idles and nothing grows.
    pub(crate) fn suits(self, peer: Peer) -> bool {
        peer != Peer::Direct || matches!(self.method(), Method::Work(_))
    }

    /// How many connections at once.
    pub(crate) fn connections(self, effort: Effort) -> u32 {
        let full = match self {
            Self::Echo1000 | Self::Fanout => 1_000,
            Self::Echo64 | Self::Churn => 64,
            Self::Bulk => 16,
            Self::Stall => 50,
            Self::Idle => IDLE_CONNECTIONS,
        };
        match effort {
            Effort::Smoke => full.min(4),
            Effort::Full { .. } => full,
        }
    }

    /// What the backend is told to be.
    pub(crate) fn serve(self) -> Vec<String> {
        words(match self {
            Self::Echo1000 | Self::Echo64 => "echo",
            Self::Fanout => "publish --rate 20 --size 128",
            Self::Churn => "churn",
            Self::Idle => "hold",
            Self::Bulk | Self::Stall => "bulk --direction down",
        })
    }

    /// What the clients are told to do.
    pub(crate) fn drive(self) -> Vec<String> {
        words(match self {
            Self::Echo1000 | Self::Echo64 => "echo --size 128",
            Self::Fanout => "subscribe",
            Self::Churn => "churn",
            Self::Idle => "hold",
            Self::Bulk => "bulk --direction down",
            Self::Stall => "stall",
        })
    }

    /// The heading of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Echo1000 => "Echo of 128 B, 1,000 connections",
            Self::Echo64 => "Echo of 128 B, 64 connections",
            Self::Fanout => "Fan-out: 128 B to 1,000 subscribers, 20 times a second",
            Self::Churn => "Connect, exchange, close: 64 at a time",
            Self::Idle => "9,000 idle connections",
            Self::Bulk => "Bulk: 16 streams from backend to client",
            Self::Stall => "50 readers that never read, from backends that never stop",
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

impl Effort {
    /// How long is measured.
    pub(crate) fn window(self) -> Duration {
        match self {
            Self::Smoke => Duration::from_millis(300),
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
            Self::Gigabyte => "GB",
        }
    }

    /// A cost is given in this part of a second.
    pub(crate) fn cost_scale(self) -> (f64, &'static str) {
        match self {
            Self::RoundTrip | Self::Message | Self::Connection => (1e6, "µs"),
            Self::Gigabyte => (1.0, "s"),
        }
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
