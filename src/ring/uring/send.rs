//! Sends: straight from the leased buffers, several of them in one entry, never waiting in the ring ([`crate::room`]).

use super::Uring;
use super::name::{ROOM, owner, user_data};
use crate::{Buffers, Lease, OpKind, Readiness, SockRef, Tag, Until};
use io_uring::opcode;
use io_uring::types::Fd;
use std::io;

/// Most segments of one gathered send; a longer chain goes out in several.
const GATHER_MAX: usize = 16;

/// The vector of one gathered send, until it is submitted.
pub(super) struct Gather {
    header: libc::msghdr,
    vectors: [libc::iovec; GATHER_MAX],
}

impl Gather {
    /// The first buffers of a chain; the header's pointer to them is set where they stay.
    fn of(buffers: &Buffers, lease: &Lease) -> Self {
        let empty = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let mut vectors = [empty; GATHER_MAX];
        let mut count = 0;
        for (vector, bytes) in vectors.iter_mut().zip(buffers.segments(lease)) {
            *vector = libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            count += 1;
        }
        // SAFETY: msghdr is plain numbers and pointers; all zero is an empty one (recvmsg(2)).
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iovlen = count;
        Self { header, vectors }
    }
}

impl Uring {
    pub(super) fn send(
        &mut self,
        tag: Tag,
        sock: SockRef,
        lease: Lease,
        full: bool,
    ) -> io::Result<()> {
        self.inflight.hold_lease(tag, sock, lease);
        if full {
            self.park(tag);
            Ok(())
        } else {
            self.try_send(tag, sock)
        }
    }

    /// Submits a send that is in the table. Without waiting: see [`crate::room`].
    pub(super) fn try_send(&mut self, tag: Tag, sock: SockRef) -> io::Result<()> {
        let fd = Fd(sock.number());
        let lease = self.inflight.lease(tag).expect("held by the caller");
        let entry = if lease.buffers() == 1 {
            let bytes = self.buffers.bytes(lease);
            opcode::Send::new(fd, bytes.as_ptr(), length(bytes))
                .flags(libc::MSG_DONTWAIT)
                .build()
        } else {
            let gather = Gather::of(&self.buffers, lease);
            opcode::SendMsg::new(fd, self.gather(gather)?)
                .flags(libc::MSG_DONTWAIT.cast_unsigned())
                .build()
        };
        self.submit(entry, OpKind::Send, tag)
    }

    /// Lets a send wait for room. One whose socket cannot be watched is tried again, which tells what is wrong.
    pub(super) fn park(&mut self, tag: Tag) {
        let Some(sock) = self.inflight.park(tag, true) else {
            return;
        };
        if self.buffers.is_scarce() {
            self.shed(tag);
        }
        let number = user_data(OpKind::Send, tag);
        if self.room.await_room(sock, number).is_err() {
            self.roomy.push(number);
        }
    }

    /// Moves what a parked send holds out of the buffers. One that the kernel has in hand stays where it is.
    pub(super) fn shed(&mut self, tag: Tag) {
        if let Some(lease) = self.inflight.parked(tag) {
            self.buffers.spill(lease);
        }
    }

    /// Tries the parked sends, and splices, whose sockets have room.
    pub(super) fn unpark(&mut self) -> io::Result<()> {
        let mut roomy = std::mem::take(&mut self.roomy);
        for number in roomy.drain(..) {
            let Some((kind, tag)) = owner(number) else {
                continue;
            };
            if kind == OpKind::Splice {
                self.splices.on_ready(tag, Readiness::Room);
            } else if let Some(sock) = self.inflight.park(tag, false) {
                self.try_send(tag, sock)?;
            }
        }
        self.roomy = roomy;
        Ok(())
    }

    /// Keeps a vector until it is submitted.
    pub(super) fn gather(&mut self, gather: Gather) -> io::Result<*const libc::msghdr> {
        if self.gathers.len() == self.gathers.capacity() {
            self.enter(Until::Now)?;
        }
        self.gathers.push(gather);
        let gather = self.gathers.last_mut().expect("pushed above");
        gather.header.msg_iov = gather.vectors.as_mut_ptr();
        Ok(&raw const gather.header)
    }

    /// Parks the sends that found no room, and tries those again whose sockets have some.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        let mut full = std::mem::take(&mut self.full);
        full.drain(..).for_each(|tag| self.park(tag));
        self.full = full;
        if std::mem::take(&mut self.rooms_changed) {
            self.room.take_ready(&mut self.roomy);
        }
        self.unpark()?;
        if !self.room_watched {
            self.room_watched = true;
            let fd = Fd(self.room.as_sock().number());
            let events = u32::from(libc::POLLIN.cast_unsigned());
            let entry = opcode::PollAdd::new(fd, events).multi(true).build();
            self.push(&entry.user_data(ROOM))?;
        }
        Ok(())
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a buffer or segment is under 64 KiB")
}
