//! When splices run and where they wait; how they move bytes is [`crate::splice`]'s.

use super::Uring;
use super::name::user_data;
use crate::splice::Tried;
use crate::{Completion, Event, OpKind, Readiness, SockRef, Tag};
use io_uring::opcode;
use io_uring::types::Fd;
use std::io;

/// Bytes that splices move in one turn, about; the others wait for the next one, behind what came meanwhile. As much
/// as takes a tenth of a millisecond (docs/benchmarks.md, "Splice").
const SPLICED_PER_TURN: u32 = 512 << 10;

impl Uring {
    /// Lets a splice wait. Its source is polled by the ring: what io_uring adds to that poll, EPOLLRDHUP, is an end to be
    /// read. Its sink is not: see [`crate::room`].
    pub(super) fn await_splice(
        &mut self,
        tag: Tag,
        wait: Readiness,
        at: SockRef,
    ) -> io::Result<()> {
        let number = user_data(OpKind::Splice, tag);
        match wait {
            Readiness::Readable => {
                let events = u32::from(libc::POLLIN.cast_unsigned());
                let entry = opcode::PollAdd::new(Fd(at.number()), events).build();
                self.push(&entry.user_data(number))
            }
            Readiness::Room => {
                if self.room.await_room(at, number).is_err() {
                    self.roomy.push(number);
                }
                Ok(())
            }
        }
    }

    /// Moves the bytes of the splices that wait for nothing, until the turn's share is used up.
    pub(super) fn run_splices(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        let mut moved = 0;
        while moved < SPLICED_PER_TURN
            && let Some(tag) = self.splices.next()
        {
            match self.splices.attempt(tag) {
                Tried::Answered(event) => {
                    if let Event::Spliced { taken, given, .. } = event {
                        moved += taken.max(given);
                    }
                    done.push(Completion { tag, event });
                }
                Tried::Stuck(wait, at) => self.await_splice(tag, wait, at)?,
            }
        }
        Ok(())
    }
}
