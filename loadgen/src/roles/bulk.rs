//! Bulk: one side sends as fast as it can, the other compares every byte.
//!
//! A stream is its id (eight bytes, little endian), then the pattern of that id. Upwards, the client ends with a FIN
//! and the backend answers with a receipt (what it got and whether it was right), so that the client knows too.

use super::{Outgoing, Step, cut};
use crate::fault::Fault;
use crate::job::Cx;
use crate::pattern::{Origin, SLICE_MAX};
use ringway_ring::Lease;

const ID_BYTES: u64 = size_of::<Id>() as u64;

/// A stream's name as sent.
type Id = [u8; 8];

/// Sixteen buffers are what one gathered send of the ring takes.
const BUFFERS_MAX: usize = 16;

const RECEIPT_BYTES: usize = 16;
const RIGHT: &[u8; 8] = b"RWBULKOK";
const WRONG: &[u8; 8] = b"RWBULKNO";

/// Sends.
pub(crate) struct Sender {
    id: u64,
    position: u64,
    goal: Goal,
}

/// Whether and how a sender ends.
enum Goal {
    /// A backend sends until the client closes.
    Endless,
    /// A client sends so many bytes, then a FIN.
    Bytes(u64),
    /// The FIN is out: the receipt is awaited, of which these bytes came.
    Receipt(Vec<u8>),
}

impl Sender {
    /// A backend's: `id` names the stream.
    pub(crate) fn backend(id: u64) -> Self {
        Self {
            id,
            position: 0,
            goal: Goal::Endless,
        }
    }

    /// A client's, that ends after `bytes`, or when the fleet's time is over.
    pub(crate) fn client(id: u64, bytes: Option<u64>) -> Self {
        Self {
            id,
            position: 0,
            goal: Goal::Bytes(bytes.unwrap_or(u64::MAX)),
        }
    }

    pub(super) fn is_client(&self) -> bool {
        match self.goal {
            Goal::Endless => false,
            Goal::Bytes(_) | Goal::Receipt(_) => true,
        }
    }

    pub(super) fn outgoing(&mut self, full: bool, cx: &mut Cx) -> Outgoing {
        let left = match self.goal {
            Goal::Endless => u64::MAX,
            Goal::Bytes(goal) => goal.saturating_sub(self.position),
            Goal::Receipt(_) => return Outgoing::Nothing,
        };
        if left == 0 {
            self.goal = Goal::Receipt(Vec::new());
            return Outgoing::Fin;
        }
        let out = self.copy(left, full, cx);
        if let Outgoing::Bytes(lease) = &out {
            self.position += u64::from(lease.len());
        }
        out
    }

    fn copy(&self, left: u64, full: bool, cx: &mut Cx) -> Outgoing {
        if self.position < ID_BYTES {
            let id = self.id.to_le_bytes();
            let from = usize::try_from(self.position).expect("below eight");
            let to = usize::try_from(left).map_or(id.len(), |left| id.len().min(from + left));
            return Outgoing::copy(&id[from..to], cx.buffers);
        }
        // A full socket waits with one buffer, so that many slow readers leave some for the others.
        let buffers = if full { 1 } else { BUFFERS_MAX };
        let offer = SLICE_MAX.min(buffers * usize::from(cx.buffers.size()));
        let len = usize::try_from(left).map_or(offer, |left| offer.min(left));
        let position = self.position - ID_BYTES;
        let bytes = cx.job.pattern.at(Origin::of(self.id), position, len);
        Outgoing::copy(bytes, cx.buffers)
    }

    pub(super) fn on_short(&mut self, rest: Lease, cx: &mut Cx) -> Lease {
        self.position -= u64::from(rest.len());
        cx.buffers.release(rest);
        Lease::EMPTY
    }

    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        let mut fits = true;
        if let Goal::Receipt(receipt) = &mut self.goal {
            fits = receipt.len() + lease.len() as usize <= RECEIPT_BYTES;
            if fits {
                cx.buffers
                    .segments(&lease)
                    .for_each(|bytes| receipt.extend_from_slice(bytes));
            }
        } else if self.is_client() {
            fits = false;
        }
        cx.buffers.release(lease);
        if !fits {
            cx.stats.faults.add(Fault::Surplus, 1);
            return Step::Close;
        }
        Step::Continue
    }

    pub(super) fn on_end(&mut self, cx: &mut Cx) -> Step {
        match &self.goal {
            Goal::Endless => {}
            Goal::Bytes(_) => cx.stats.faults.add(Fault::Cut, 1),
            Goal::Receipt(got) if got.len() < RECEIPT_BYTES => {
                cx.stats.faults.add(Fault::Truncated, 1);
            }
            Goal::Receipt(got) if *got == receipt(RIGHT, self.position) => {
                cx.stats.counters.exchanges += 1;
            }
            Goal::Receipt(_) => cx.stats.faults.add(Fault::Corrupt, 1),
        }
        Step::Close
    }

    /// No more bytes than were offered already.
    pub(super) fn wind_down(&mut self) -> Step {
        if let Goal::Bytes(goal) = &mut self.goal {
            *goal = (*goal).min(self.position);
        }
        Step::Continue
    }
}

fn receipt(verdict: &[u8; 8], bytes: u64) -> Vec<u8> {
    [*verdict, bytes.to_le_bytes()].concat()
}

/// Receives and compares.
pub(crate) struct Receiver {
    id: Id,
    position: u64,
    sound: bool,
    goal: Goals,
}

/// Whether and how a receiver ends.
enum Goals {
    /// A client closes after so many bytes.
    Bytes(u64),
    /// A backend receives until the client's FIN.
    UntilEnd,
    /// The FIN came: the receipt is due.
    Receipt,
    /// The receipt is on its way.
    Done,
}

impl Receiver {
    pub(crate) fn backend() -> Self {
        Self::new(Goals::UntilEnd)
    }

    /// A client's, that closes after `bytes`, or when the fleet's time is over.
    pub(crate) fn client(bytes: Option<u64>) -> Self {
        Self::new(Goals::Bytes(bytes.unwrap_or(u64::MAX)))
    }

    fn new(goal: Goals) -> Self {
        Self {
            id: Id::default(),
            position: 0,
            sound: true,
            goal,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self.goal, Goals::Bytes(_))
    }

    pub(super) fn reads(&self) -> bool {
        matches!(self.goal, Goals::Bytes(_) | Goals::UntilEnd)
    }

    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        let was_sound = self.sound;
        for bytes in cx.buffers.segments(&lease) {
            let from = self.position;
            let bytes = self.take_id(bytes);
            if self.sound && !bytes.is_empty() {
                let origin = Origin::of(u64::from_le_bytes(self.id));
                let position = from.max(ID_BYTES) - ID_BYTES;
                self.sound = cx.job.pattern.matches(origin, position, bytes);
            }
            self.position += bytes.len() as u64;
        }
        cx.buffers.release(lease);
        if was_sound && !self.sound {
            cx.stats.faults.add(Fault::Corrupt, 1);
        }
        match self.goal {
            Goals::Bytes(goal) if self.position >= goal => {
                cx.stats.counters.exchanges += u64::from(self.sound);
                Step::Close
            }
            Goals::Bytes(_) if !self.sound => Step::Close,
            Goals::Bytes(_) | Goals::UntilEnd | Goals::Receipt | Goals::Done => Step::Continue,
        }
    }

    /// Keeps what belongs to the id; the rest.
    fn take_id<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.position >= ID_BYTES {
            return bytes;
        }
        let have = usize::try_from(self.position).expect("below eight");
        let (id, rest) = bytes.split_at(bytes.len().min(self.id.len() - have));
        self.id[have..have + id.len()].copy_from_slice(id);
        self.position += id.len() as u64;
        rest
    }

    pub(super) fn on_end(&mut self, cx: &mut Cx) -> Step {
        match self.goal {
            Goals::Bytes(_) => {
                cut(cx);
                Step::Close
            }
            Goals::UntilEnd => {
                self.goal = Goals::Receipt;
                Step::Continue
            }
            Goals::Receipt | Goals::Done => Step::Continue,
        }
    }

    pub(super) fn outgoing(&mut self, cx: &mut Cx) -> Outgoing {
        match self.goal {
            Goals::Bytes(_) | Goals::UntilEnd => Outgoing::Nothing,
            Goals::Done => Outgoing::Done,
            Goals::Receipt => {
                let verdict = if self.sound { RIGHT } else { WRONG };
                let out = Outgoing::copy(&receipt(verdict, self.position), cx.buffers);
                if let Outgoing::Bytes(_) = out {
                    self.goal = Goals::Done;
                }
                out
            }
        }
    }
}
