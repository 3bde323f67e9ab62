//! What a connection is there for: one small state machine for each side of each kind of load. They decide; the
//! [`Link`](crate::link::Link) around them does.

pub(crate) mod bulk;
pub(crate) mod churn;
pub(crate) mod echo;
pub(crate) mod hold;
pub(crate) mod publish;
pub(crate) mod subscribe;
pub(crate) mod websocket;

use crate::fault::Fault;
use crate::job::Cx;
use ringway_ring::{Buffers, Lease, Time};

/// After how many bytes a receive usually ends by itself: enough that re-arming is rare, little enough that one connection cannot
/// hold the turn.
pub(crate) const BUDGET: u32 = 256 * 1024;

/// What becomes of the connection after an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Step {
    Continue,
    Close,
}

/// What a connection has to send.
#[derive(Debug)]
#[must_use]
pub(crate) enum Outgoing {
    /// Nothing for now.
    Nothing,
    /// These bytes.
    Bytes(Lease),
    /// Something, when a buffer is free.
    Starved,
    /// The end of its stream: a FIN.
    Fin,
    /// Nothing ever again: close.
    Done,
}

impl Outgoing {
    /// Copies `bytes` into a lease.
    fn copy(bytes: &[u8], buffers: &mut Buffers) -> Self {
        buffers.write(bytes).map_or(Self::Starved, Self::Bytes)
    }
}

/// The part that a connection plays.
pub(crate) enum Part {
    EchoBackend(echo::Backend),
    EchoClient(echo::Client),
    Publish(publish::Subscription),
    Subscribe(subscribe::Reader),
    BulkSend(bulk::Sender),
    BulkReceive(bulk::Receiver),
    ChurnBackend(churn::Backend),
    ChurnClient(churn::Client),
    WebSocketBackend(websocket::Backend),
    WebSocketClient(websocket::Client),
    HoldBackend,
    HoldClient,
    Stall,
}

impl Part {
    /// The connection is there.
    pub(crate) fn on_open(&mut self, cx: &mut Cx) -> Step {
        match self {
            Self::EchoClient(client) => client.on_open(cx),
            Self::Publish(subscription) => subscription.on_open(cx),
            Self::EchoBackend(_)
            | Self::Subscribe(_)
            | Self::BulkSend(_)
            | Self::BulkReceive(_)
            | Self::ChurnBackend(_)
            | Self::ChurnClient(_)
            | Self::WebSocketBackend(_)
            | Self::WebSocketClient(_)
            | Self::HoldBackend
            | Self::HoldClient
            | Self::Stall => Step::Continue,
        }
    }

    /// Bytes came. The lease is the part's to release.
    pub(crate) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        match self {
            Self::EchoBackend(backend) => backend.on_bytes(lease, cx),
            Self::EchoClient(client) => client.on_bytes(lease, cx),
            Self::Subscribe(reader) => reader.on_bytes(lease, cx),
            Self::BulkSend(sender) => sender.on_bytes(lease, cx),
            Self::BulkReceive(receiver) => receiver.on_bytes(lease, cx),
            Self::ChurnBackend(backend) => backend.on_bytes(lease, cx),
            Self::ChurnClient(client) => client.on_bytes(lease, cx),
            Self::WebSocketBackend(backend) => backend.on_bytes(lease, cx),
            Self::WebSocketClient(client) => client.on_bytes(lease, cx),
            Self::HoldClient => hold::on_surplus(lease, cx),
            // A proxy may announce the client in front of the stream (PROXY protocol): no business of a sender.
            Self::Publish(_) | Self::HoldBackend | Self::Stall => {
                cx.buffers.release(lease);
                Step::Continue
            }
        }
    }

    /// The peer sends no more.
    pub(crate) fn on_end(&mut self, cx: &mut Cx) -> Step {
        match self {
            Self::EchoBackend(backend) => backend.on_end(),
            Self::Subscribe(reader) => reader.on_end(cx),
            Self::BulkSend(sender) => sender.on_end(cx),
            Self::BulkReceive(receiver) => receiver.on_end(cx),
            Self::ChurnBackend(backend) => backend.on_end(cx),
            Self::WebSocketBackend(backend) => backend.on_end(cx),
            Self::EchoClient(_)
            | Self::ChurnClient(_)
            | Self::WebSocketClient(_)
            | Self::HoldClient
            | Self::Stall => {
                cut(cx);
                Step::Close
            }
            Self::Publish(_) | Self::HoldBackend => Step::Close,
        }
    }

    /// What to send next. Asked when no send is in flight; `full` tells that the socket took less than the last offer.
    pub(crate) fn outgoing(&mut self, full: bool, cx: &mut Cx) -> Outgoing {
        match self {
            Self::EchoBackend(backend) => backend.outgoing(),
            Self::EchoClient(client) => client.outgoing(cx),
            Self::Publish(subscription) => subscription.outgoing(cx),
            Self::BulkSend(sender) => sender.outgoing(full, cx),
            Self::BulkReceive(receiver) => receiver.outgoing(cx),
            Self::ChurnBackend(backend) => backend.outgoing(),
            Self::ChurnClient(client) => client.outgoing(cx),
            Self::WebSocketBackend(backend) => backend.outgoing(cx),
            Self::WebSocketClient(client) => client.outgoing(cx),
            Self::Subscribe(_) | Self::HoldBackend | Self::HoldClient | Self::Stall => {
                Outgoing::Nothing
            }
        }
    }

    /// What of a short send to offer again. Bulk can make its bytes anew, and so keeps few buffers from others while
    /// its peer reads slowly.
    pub(crate) fn on_short(&mut self, rest: Lease, cx: &mut Cx) -> Lease {
        match self {
            Self::BulkSend(sender) => sender.on_short(rest, cx),
            Self::EchoBackend(_)
            | Self::EchoClient(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::BulkReceive(_)
            | Self::ChurnBackend(_)
            | Self::ChurnClient(_)
            | Self::WebSocketBackend(_)
            | Self::WebSocketClient(_)
            | Self::HoldBackend
            | Self::HoldClient
            | Self::Stall => rest,
        }
    }

    /// Whether it wants to receive.
    pub(crate) fn reads(&self) -> bool {
        match self {
            Self::EchoBackend(backend) => backend.reads(),
            Self::ChurnBackend(backend) => backend.reads(),
            Self::WebSocketBackend(backend) => backend.reads(),
            Self::BulkReceive(receiver) => receiver.reads(),
            Self::Stall => false,
            Self::EchoClient(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::BulkSend(_)
            | Self::ChurnClient(_)
            | Self::WebSocketClient(_)
            | Self::HoldBackend
            | Self::HoldClient => true,
        }
    }

    /// After how many bytes a receive should end by itself.
    pub(crate) fn budget(&self) -> u32 {
        match self {
            Self::ChurnClient(client) => client.budget(),
            Self::EchoBackend(_)
            | Self::EchoClient(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::BulkSend(_)
            | Self::BulkReceive(_)
            | Self::ChurnBackend(_)
            | Self::WebSocketBackend(_)
            | Self::WebSocketClient(_)
            | Self::HoldBackend
            | Self::HoldClient
            | Self::Stall => BUDGET,
        }
    }

    /// The fleet's time is over (`job.ending` is set): finish what was begun, or close.
    pub(crate) fn wind_down(&mut self) -> Step {
        match self {
            Self::EchoClient(client) => client.wind_down(),
            Self::ChurnClient(_) | Self::WebSocketClient(_) => Step::Continue,
            Self::BulkSend(sender) => sender.wind_down(),
            Self::EchoBackend(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::BulkReceive(_)
            | Self::ChurnBackend(_)
            | Self::WebSocketBackend(_)
            | Self::HoldBackend
            | Self::HoldClient
            | Self::Stall => Step::Close,
        }
    }

    /// Begins an exchange on an idle connection.
    pub(crate) fn begin(&mut self, planned: Time) {
        if let Self::EchoClient(client) = self {
            client.begin(planned);
        }
    }

    /// Gives up what it holds: the connection ends.
    pub(crate) fn release(&mut self, buffers: &mut Buffers) {
        match self {
            Self::EchoBackend(backend) => backend.release(buffers),
            Self::ChurnBackend(backend) => backend.release(buffers),
            Self::EchoClient(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::BulkSend(_)
            | Self::BulkReceive(_)
            | Self::ChurnClient(_)
            | Self::WebSocketBackend(_)
            | Self::WebSocketClient(_)
            | Self::HoldBackend
            | Self::HoldClient
            | Self::Stall => {}
        }
    }

    /// Whether it dialed: for a client, a reset is an error; for a backend, a client's right.
    pub(crate) fn is_client(&self) -> bool {
        match self {
            Self::EchoClient(_)
            | Self::Subscribe(_)
            | Self::ChurnClient(_)
            | Self::WebSocketClient(_)
            | Self::HoldClient
            | Self::Stall => true,
            Self::BulkSend(sender) => sender.is_client(),
            Self::BulkReceive(receiver) => receiver.is_client(),
            Self::EchoBackend(_)
            | Self::Publish(_)
            | Self::ChurnBackend(_)
            | Self::WebSocketBackend(_)
            | Self::HoldBackend => false,
        }
    }
}

/// Notes that the peer ended a connection that should have lived on.
fn cut(cx: &mut Cx) {
    if !cx.job.ending {
        cx.stats.faults.add(Fault::Cut, 1);
    }
}
