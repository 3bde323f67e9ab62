//! From completion entries to events.

use crate::socket::{close, local_address};
use crate::{Buffers, Errno, Event, Lease, Sock, SockRef};
use io_uring::cqueue;
use socket2::SockRef as SocketRef;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A completion entry's numbers, decoded once.
pub(super) struct Answer {
    pub(super) result: Result<u32, Errno>,
    pub(super) buffer: Option<u16>,
    pub(super) more: bool,
    pub(super) nonempty: bool,
}

impl Answer {
    pub(super) fn of(entry: &cqueue::Entry) -> Self {
        let flags = entry.flags();
        Self {
            result: u32::try_from(entry.result()).map_err(|_| Errno::from_raw(-entry.result())),
            buffer: cqueue::buffer_select(flags),
            more: cqueue::more(flags),
            nonempty: cqueue::sock_nonempty(flags),
        }
    }
}

pub(super) fn accepted(answer: &Answer) -> Option<Event> {
    let result = answer.result.and_then(|fd| {
        let fd = RawFd::try_from(fd).expect("descriptors are non-negative ints");
        // SAFETY: the kernel made this descriptor for this completion; nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // A peer that has already reset has no address: as if the kernel had said so.
        let peer = SocketRef::from(&fd)
            .peer_addr()
            .ok()
            .and_then(|peer| peer.as_socket());
        peer.map(|peer| (Sock::from(fd), peer))
            .ok_or(Errno::ECONNABORTED)
    });
    Some(Event::Accepted {
        result,
        more: answer.more,
    })
}

pub(super) fn dialed(answer: &Answer, dial: Option<(Sock, Option<SockRef>)>) -> Option<Event> {
    let (sock, asking) = dial?;
    let local = asking.and_then(local_address);
    let result = match answer.result {
        Ok(_) => Ok(sock),
        Err(errno) => {
            close(sock, false);
            Err(errno)
        }
    };
    Some(Event::Dialed { result, local })
}

pub(super) fn received(answer: &Answer, buffers: &mut Buffers) -> Option<Event> {
    let len = answer.result.unwrap_or(0);
    let lease = answer
        .buffer
        .map_or(Lease::EMPTY, |id| buffers.take_back(id, len));
    let result = answer.result.map(|_| lease);
    Some(Event::Received {
        result,
        more: answer.more,
        nonempty: answer.nonempty,
    })
}

pub(super) fn sent(answer: &Answer, lease: Option<Lease>, buffers: &mut Buffers) -> Option<Event> {
    let mut rest = lease?;
    if let Ok(count) = answer.result {
        buffers.consume(&mut rest, count);
    }
    Some(Event::Sent {
        result: answer.result,
        rest,
    })
}
