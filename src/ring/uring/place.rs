//! From ops to submission entries. What the kernel has no quick entry for is done here and now: each such call is short
//! and none waits.

use super::name::{CANCEL, user_data};
use super::{Uring, errno_of};
use crate::buf_ring::GROUP;
use crate::features::{self, RecvMode};
use crate::socket::{self, close, open, shutdown};
use crate::splice::Cancelled;
use crate::{Completion, DialOptions, Errno, Event, Op, OpKind, SockRef, Tag, Until};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use std::io;
use std::net::SocketAddr;

/// IORING_RECVSEND_POLL_FIRST (io_uring_prep_recv(3)).
const POLL_FIRST: u16 = 1;

impl Uring {
    pub(super) fn place(&mut self, op: Op, done: &mut Vec<Completion>) -> io::Result<()> {
        match op {
            Op::Accept { tag, listener } => {
                let entry = opcode::AcceptMulti::new(Fd(listener.number()))
                    .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
                return self.submit(entry.build(), OpKind::Accept, tag);
            }
            Op::TurnAway { listener } => self.spare.turn_away(listener),
            Op::Dial {
                tag,
                peer,
                options,
                asking,
            } => return self.dial(tag, peer, &options, asking, done),
            Op::Recv {
                tag,
                sock,
                budget,
                poll_first,
            } => {
                let entry = self.recv_entry(sock, budget, poll_first);
                return self.submit(entry, OpKind::Recv, tag);
            }
            Op::Send {
                tag,
                sock,
                lease,
                poll_first,
            } => return self.send(tag, sock, lease, poll_first),
            Op::Poll { tag, sock } => {
                let events = u32::from(libc::POLLIN.cast_unsigned());
                let entry = opcode::PollAdd::new(Fd(sock.number()), events).multi(true);
                return self.submit(entry.build(), OpKind::Poll, tag);
            }
            Op::Cancel { tag, what } => return self.cancel(tag, what, done),
            Op::Splice {
                tag,
                from,
                to,
                budget,
                wait,
            } => {
                let at = self.splices.begin(tag, (from, to), budget, wait);
                if let Some((wait, at)) = wait.zip(at) {
                    return self.await_splice(tag, wait, at);
                }
            }
            Op::Discard { tag } => self.splices.discard(tag),
            Op::Shed { tag } => self.shed(tag),
            Op::NotsentLowat { sock, bytes } => socket::set_notsent_lowat(sock, bytes),
            Op::Shutdown { sock, both } => shutdown(sock, both),
            Op::Unsent { tag, sock } => {
                let bytes = socket::unsent(sock);
                let event = Event::Unsent { bytes };
                done.push(Completion { tag, event });
            }
            Op::Close { sock, reset } => close(sock, reset),
        }
        Ok(())
    }

    pub(super) fn submit(
        &mut self,
        entry: squeue::Entry,
        kind: OpKind,
        tag: Tag,
    ) -> io::Result<()> {
        self.push(&entry.user_data(user_data(kind, tag)))
    }

    pub(super) fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: what the entry points to is a leased buffer, held in `inflight` until the completion, or a row of
        // `addresses` or `gathers`, which stay until the entry is submitted.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.enter(Until::Now)?;
        }
        Ok(())
    }

    pub(super) fn recv_entry(&self, sock: SockRef, budget: u32, poll_first: bool) -> squeue::Entry {
        match self.recv {
            // Never waiting first: what is there when such an entry is armed wakes it once, and if that is bytes and a
            // reset behind them, it takes the bytes and is never told of the reset (seen on Linux 6.18).
            RecvMode::Multishot => features::with_budget(
                opcode::RecvMulti::new(Fd(sock.number()), GROUP).build(),
                budget,
            ),
            RecvMode::SingleShot => opcode::Recv::new(Fd(sock.number()), std::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .ioprio(if poll_first { POLL_FIRST } else { 0 })
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        }
    }

    pub(super) fn dial(
        &mut self,
        tag: Tag,
        peer: SocketAddr,
        options: &DialOptions,
        asking: Option<SockRef>,
        done: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let sock = match open(peer, options) {
            Ok(sock) => sock,
            Err(e) => {
                done.push(Completion {
                    tag,
                    event: Event::Dialed {
                        result: Err(errno_of(&e)),
                        local: None,
                    },
                });
                return Ok(());
            }
        };
        if self.addresses.len() == self.addresses.capacity() {
            self.enter(Until::Now)?;
        }
        self.addresses.push(peer.into());
        let address = self.addresses.last().expect("pushed above");
        let entry = opcode::Connect::new(
            Fd(sock.as_ref().number()),
            address.as_ptr().cast(),
            address.len(),
        );
        let entry = entry.build();
        self.inflight.hold_dial(tag, sock, asking);
        self.submit(entry, OpKind::Dial, tag)
    }

    /// Asks an op to end: the kernel, unless the op is not in its hands.
    pub(super) fn cancel(
        &mut self,
        tag: Tag,
        what: OpKind,
        done: &mut Vec<Completion>,
    ) -> io::Result<()> {
        if what == OpKind::Send && self.inflight.park(tag, false).is_some() {
            let rest = self.inflight.take_lease(tag).expect("it was parked");
            let event = Event::Sent {
                result: Err(Errno::ECANCELED),
                rest,
            };
            done.push(Completion { tag, event });
            return Ok(());
        }
        if what == OpKind::Splice {
            match self.splices.cancel(tag) {
                Cancelled::Answered(event) => {
                    done.push(Completion { tag, event });
                    return Ok(());
                }
                Cancelled::Nothing => return Ok(()),
                Cancelled::Polling => {}
            }
        }
        let entry = opcode::AsyncCancel::new(user_data(what, tag)).build();
        self.push(&entry.user_data(CANCEL))
    }
}
