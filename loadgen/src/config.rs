//! What to run, checked: values of these types can be run as they are.

use crate::schedule::Rate;
use crate::sources::Sources;
use crate::tls::Tls;
use crate::websocket::{CookieName, RequestPath};
use std::net::SocketAddr;
use std::time::Duration;

/// Which way bulk flows, seen from the client as everywhere in ringway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the backend to the client.
    Down,
    /// From the client to the backend.
    Up,
}

/// What a backend does with its connections.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum BackendRole {
    /// Sends back what it gets.
    Echo,
    /// Sends every tick of a feed to every connection.
    Publish {
        /// Ticks a second.
        rate: Rate,
        /// Bytes of a tick, [`HEADER`](crate::message::HEADER) to [`MESSAGE_MAX`](crate::message::MESSAGE_MAX).
        size: u32,
    },
    /// Sends, or receives and verifies, as fast as it can.
    Bulk {
        /// Which of the two.
        direction: Direction,
    },
    /// Answers one request, and waits for the client's close.
    Churn {
        /// Bytes of a request, at least 1.
        size: u32,
    },
    /// Opens WebSockets and sends back each frame.
    WebSocket,
    /// Accepts and never sends.
    Hold,
}

impl BackendRole {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Publish { .. } => "publish",
            Self::Bulk { .. } => "bulk",
            Self::Churn { .. } => "churn",
            Self::WebSocket => "websocket",
            Self::Hold => "hold",
        }
    }
}

/// A backend: what it does, and where.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// What it does.
    pub role: BackendRole,
    /// Where it listens. Port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// Engines, each a thread with its own listeners (SO_REUSEPORT); at least 1.
    pub threads: u16,
    /// CPUs to pin the threads to, in turn; empty leaves them free.
    pub cpus: Vec<usize>,
    /// How long an engine looks for work before it sleeps; zero sleeps at once.
    pub spin: Duration,
}

/// What clients do with their connections.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientRole {
    /// Sends, waits for the whole answer, verifies it, and again.
    Echo {
        /// Bytes of a request, at least 1.
        size: u32,
        /// Requests a second over all connections, at planned times; `None`: as soon as the last was answered.
        rate: Option<Rate>,
    },
    /// Receives and verifies a feed.
    Subscribe,
    /// Receives and verifies, or sends, as fast as it can.
    Bulk {
        /// Which of the two.
        direction: Direction,
        /// Bytes per connection; `None`: until the time is over.
        bytes: Option<u64>,
    },
    /// Connects, exchanges once, closes.
    Churn {
        /// Bytes of a request, at least 1.
        size: u32,
        /// Connections a second, at planned times; `None`: as soon as another has ended.
        rate: Option<Rate>,
    },
    /// Connects, opens a WebSocket, exchanges one message, closes.
    WebSocket {
        /// Where it asks for one.
        path: RequestPath,
        /// The cookie that has another value, a number, in each session.
        cookie: CookieName,
        /// Bytes of the message, 1 to [`PAYLOAD_MAX`](crate::PAYLOAD_MAX).
        size: u32,
        /// Sessions a second, at planned times; `None`: as soon as another has ended.
        rate: Option<Rate>,
    },
    /// Connects, and neither sends nor expects anything.
    Hold,
    /// Connects, and never reads what comes.
    Stall,
}

impl ClientRole {
    /// As on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo { .. } => "echo",
            Self::Subscribe => "subscribe",
            Self::Bulk { .. } => "bulk",
            Self::Churn { .. } => "churn",
            Self::WebSocket { .. } => "websocket",
            Self::Hold => "hold",
            Self::Stall => "stall",
        }
    }

    /// The open-loop rate, if there is one.
    pub fn rate(&self) -> Option<Rate> {
        match self {
            Self::Echo { rate, .. } | Self::Churn { rate, .. } | Self::WebSocket { rate, .. } => {
                *rate
            }
            Self::Subscribe | Self::Bulk { .. } | Self::Hold | Self::Stall => None,
        }
    }

    /// Whether its connections come and go, and `connections` says how many there are at most at once.
    pub(crate) fn is_churn(&self) -> bool {
        match self {
            Self::Churn { .. } | Self::WebSocket { .. } => true,
            Self::Echo { .. } | Self::Subscribe | Self::Bulk { .. } | Self::Hold | Self::Stall => {
                false
            }
        }
    }
}

/// A fleet of clients: what they do, how many, for how long.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What they do.
    pub role: ClientRole,
    /// Where they connect, in turn; at least one.
    pub targets: Vec<SocketAddr>,
    /// How many there are (with [`ClientRole::Churn`] and [`ClientRole::WebSocket`]: at most at once); at least one.
    pub connections: u32,
    /// How long to measure, after the connections are open and the warm-up is over.
    pub seconds: Duration,
    /// How long to run before measuring.
    pub warmup: Duration,
    /// Engines, each a thread with its share of the connections; at least 1.
    pub threads: u16,
    /// TLS on every connection; `None`: none.
    pub tls: Option<Tls>,
    /// Where the connections come from.
    pub sources: Sources,
    /// Connections opened a second; `None`: as fast as they go.
    pub ramp: Option<Rate>,
    /// CPUs to pin the threads to, in turn; empty leaves them free.
    pub cpus: Vec<usize>,
    /// How long an engine looks for work before it sleeps; zero sleeps at once.
    pub spin: Duration,
}
