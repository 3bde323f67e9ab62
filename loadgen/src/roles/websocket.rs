//! WebSocket sessions: connect, ask for the upgrade, exchange one message, close. The client closes first, without a close
//! frame; the backend waits for that, and speaks with clients that say more as well.

use super::{Outgoing, Step};
use crate::fault::Fault;
use crate::job::Cx;
use crate::pattern::{Origin, Pattern};
use crate::websocket::frame::{self, Frame, Mask, Opcode};
use crate::websocket::handshake;
use ringway_ring::{Lease, Time};

/// Stop reading when so much waits to be sent: the client's window does the rest.
const QUEUE_MAX: usize = 64 * 1024;

/// Opens WebSockets and sends back each frame.
#[derive(Default)]
pub(crate) struct Backend {
    stage: Stage,
    /// The beginning of a head or frame whose end has not come.
    heard: Vec<u8>,
    /// What is to be sent.
    answer: Vec<u8>,
    ended: bool,
}

/// What a backend hears next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Request,
    Frames,
    /// Nothing: the client has taken its leave.
    Nothing,
}

impl Backend {
    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        for bytes in cx.buffers.segments(&lease) {
            self.heard.extend_from_slice(bytes);
        }
        cx.buffers.release(lease);
        match self.answer_all(cx) {
            Ok(()) => Step::Continue,
            Err(fault) => {
                cx.stats.faults.add(fault, 1);
                Step::Close
            }
        }
    }

    /// A connection without a byte is a health check's.
    pub(super) fn on_end(&mut self, cx: &mut Cx) -> Step {
        if !self.heard.is_empty() && !cx.job.ending {
            cx.stats.faults.add(Fault::Truncated, 1);
        }
        self.ended = true;
        Step::Continue
    }

    pub(super) fn outgoing(&mut self, cx: &mut Cx) -> Outgoing {
        if !self.answer.is_empty() {
            let out = Outgoing::copy(&self.answer, cx.buffers);
            if let Outgoing::Bytes(_) = out {
                self.answer.clear();
            }
            return out;
        }
        if self.ended || self.stage == Stage::Nothing {
            Outgoing::Done
        } else {
            Outgoing::Nothing
        }
    }

    pub(super) fn reads(&self) -> bool {
        !self.ended && self.answer.len() < QUEUE_MAX
    }

    fn answer_all(&mut self, cx: &mut Cx) -> Result<(), Fault> {
        let mut answered = 0;
        while let Some(len) = self.answer_next(answered, cx)? {
            answered += len;
        }
        self.heard.drain(..answered);
        Ok(())
    }

    /// Answers what stands at `from`. How long it is; `None` when it is not all there.
    fn answer_next(&mut self, from: usize, cx: &mut Cx) -> Result<Option<usize>, Fault> {
        let bytes = &self.heard[from..];
        match self.stage {
            Stage::Request => {
                let answer = handshake::answer(bytes).map_err(|_| Fault::Handshake)?;
                Ok(answer.map(|(len, reply)| {
                    self.answer.extend_from_slice(&reply);
                    self.stage = Stage::Frames;
                    len
                }))
            }
            Stage::Frames => {
                let decoded = Frame::decode(bytes).map_err(|_| Fault::Garbled)?;
                Ok(decoded.map(|(frame, len)| {
                    self.on_frame(frame, cx);
                    len
                }))
            }
            Stage::Nothing if bytes.is_empty() => Ok(None),
            Stage::Nothing => Err(Fault::Surplus),
        }
    }

    fn on_frame(&mut self, frame: Frame, cx: &mut Cx) {
        match frame.opcode {
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                cx.stats.counters.exchanges += u64::from(frame.is_last);
                frame.encode(&mut self.answer);
            }
            Opcode::Ping => {
                let opcode = Opcode::Pong;
                Frame { opcode, ..frame }.encode(&mut self.answer);
            }
            Opcode::Pong => {}
            Opcode::Close => {
                frame.encode(&mut self.answer);
                self.stage = Stage::Nothing;
            }
        }
    }
}

/// Opens one session.
pub(crate) struct Client {
    number: u64,
    size: u32,
    planned: Time,
    progress: Progress,
}

/// How far a session has come. What is about to be sent was not sent because no buffer was free or because the send before
/// it has not been reported.
enum Progress {
    /// This request is about to be sent.
    Asking(Vec<u8>),
    /// It is; the reply began like this.
    Waiting(Vec<u8>),
    /// The WebSocket is open; the message is about to be sent.
    Open,
    /// It is; so much of its echo came.
    Exchanging { echo: Vec<u8>, received: usize },
}

impl Client {
    /// Session `number`, which `request` asks for; `planned` is when the schedule wanted the connection dialed.
    pub(crate) fn new(number: u64, request: Vec<u8>, size: u32, planned: Time) -> Self {
        Self {
            number,
            size,
            planned,
            progress: Progress::Asking(request),
        }
    }

    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        let mut step = Ok(Step::Continue);
        for bytes in cx.buffers.segments(&lease) {
            step = step.and_then(|_| self.take(bytes));
        }
        cx.buffers.release(lease);
        match step {
            Ok(Step::Continue) => Step::Continue,
            Ok(Step::Close) => {
                cx.stats.exchanged(cx.now.since(self.planned));
                Step::Close
            }
            Err(fault) => {
                cx.stats.faults.add(fault, 1);
                Step::Close
            }
        }
    }

    pub(super) fn outgoing(&mut self, cx: &mut Cx) -> Outgoing {
        let (out, next) = match &self.progress {
            Progress::Asking(request) => {
                let out = Outgoing::copy(request, cx.buffers);
                (out, Progress::Waiting(Vec::new()))
            }
            Progress::Open => {
                let text = text(&cx.job.pattern, self.number, self.size);
                let message = frame::masked_text(&text, mask(self.number));
                let echo = frame::text(&text);
                let out = Outgoing::copy(&message, cx.buffers);
                (out, Progress::Exchanging { echo, received: 0 })
            }
            Progress::Waiting(_) | Progress::Exchanging { .. } => return Outgoing::Nothing,
        };
        if let Outgoing::Bytes(_) = out {
            self.progress = next;
        }
        out
    }

    /// The next bytes from the server. Nothing may come that was not asked for, and nothing is left over.
    fn take(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        match &mut self.progress {
            Progress::Asking(_) | Progress::Open => Err(Fault::Surplus),
            Progress::Waiting(reply) => {
                reply.extend_from_slice(bytes);
                match handshake::opened(reply, self.number) {
                    Ok(None) => {}
                    Ok(Some(len)) if len == reply.len() => self.progress = Progress::Open,
                    Ok(Some(_)) => return Err(Fault::Surplus),
                    Err(handshake::NoHandshake) => return Err(Fault::Handshake),
                }
                Ok(Step::Continue)
            }
            Progress::Exchanging { echo, received } => {
                let rest = &echo[*received..];
                let known = rest.len().min(bytes.len());
                *received += known;
                if bytes[..known] != rest[..known] {
                    return Err(Fault::Corrupt);
                }
                if bytes.len() > known {
                    return Err(Fault::Surplus);
                }
                Ok(if *received == echo.len() {
                    Step::Close
                } else {
                    Step::Continue
                })
            }
        }
    }
}

/// The message of a session: bytes of its own place in the pattern, as the printable ASCII from the space on that a text
/// may hold.
fn text(pattern: &Pattern, number: u64, size: u32) -> Vec<u8> {
    let bytes = pattern.at(Origin::of(number), 0, size as usize);
    bytes.iter().map(|byte| b' ' + (byte & 0x3f)).collect()
}

/// A browser's is random, so that no page can choose what caches on the way see (RFC 6455, section 10.3). Here is no page:
/// it has to differ, and to change what it masks.
fn mask(number: u64) -> Mask {
    let [a, b, c, d, ..] = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    [a | 1, b, c, d]
}
