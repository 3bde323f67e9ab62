//! The kernel's ring. Places ops as submission entries, enters once per turn, decodes what came back.
//!
//! Made on the thread that uses it (IORING_SETUP_SINGLE_ISSUER). Completions run only inside
//! `io_uring_enter` with GETEVENTS (DEFER_TASKRUN), so every turn enters, even one that waits for nothing.

use crate::buf_ring::{BufRing, GROUP};
use crate::features::{self, RecvMode, SetupError};
use crate::inflight::Inflight;
use crate::room::Room;
use crate::socket::{self, Spare, close, open, shutdown};
use crate::spin::{Found, Spin};
use crate::splice::{Cancelled, Splices, Tried};
use crate::{
    Buffers, Completion, DialOptions, Errno, Event, Lane, Lease, Op, OpKind, Ops, Readiness, Ring,
    Sock, SockRef, Tag, Time, Until,
};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use socket2::{SockAddr, SockRef as SocketRef};
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Sizes of a ring. The defaults cost 320 KiB of memlock and, untouched, no memory for the buffers.
#[derive(Clone, Copy, Debug)]
pub struct UringConfig {
    /// Submission entries, a power of two.
    pub submissions: u32,
    /// Completion entries: an overflow ends every multishot behind it, so many times the submissions.
    pub completions: u32,
    /// Receive buffers, a power of two up to 32,768.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_size: u16,
    /// How to receive; `None` asks the self-test.
    pub recv: Option<RecvMode>,
    /// How long a turn looks for completions before it sleeps; zero sleeps at once.
    pub spin: Duration,
}

impl Default for UringConfig {
    fn default() -> Self {
        Self {
            submissions: 1024,
            completions: 16_384,
            buffers: 8192,
            buffer_size: 4096,
            recv: None,
            spin: Duration::ZERO,
        }
    }
}

/// Most segments of one gathered send; a longer chain goes out in several.
const GATHER_MAX: usize = 16;

/// Bytes that splices move in one turn, about; the others wait for the next one, behind what came meanwhile. As much
/// as takes a tenth of a millisecond (docs/benchmarks.md, "Splice").
const SPLICED_PER_TURN: u32 = 512 << 10;

/// IORING_RECVSEND_POLL_FIRST (io_uring_prep_recv(3)).
const POLL_FIRST: u16 = 1;

/// An io_uring of this thread.
pub struct Uring {
    // Dropped first: closing the ring ends the kernel's use of everything below.
    ring: ManuallyDrop<IoUring>,
    buf_ring: ManuallyDrop<BufRing>,
    buffers: ManuallyDrop<Buffers>,
    inflight: Inflight,
    /// Addresses and vectors of entries not yet submitted: the kernel copies them at submission
    /// (IORING_FEAT_SUBMIT_STABLE). Never grown past their first capacity, so they do not move.
    addresses: Vec<SockAddr>,
    gathers: Vec<Gather>,
    /// Held so that one client can be turned away when no descriptor is left.
    spare: Spare,
    recv: RecvMode,
    no_iowait: bool,
    spin: Duration,
    room: Room,
    room_watched: bool,
    rooms_changed: bool,
    /// Sends that found no room in this turn.
    full: Vec<Tag>,
    /// Sends whose sockets have room, by user data.
    roomy: Vec<u64>,
    splices: Splices,
    now: Time,
    overflows: u64,
}

/// The vector of one gathered send, until it is submitted.
struct Gather {
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
    /// Makes a ring bound to this thread, with its buffers registered.
    ///
    /// # Errors
    /// What the kernel refused, with the likely cause and the fix.
    pub fn new(config: UringConfig) -> Result<Self, SetupError> {
        let recv = match config.recv {
            Some(mode) => mode,
            None => features::recv_mode()?,
        };
        let ring = features::setup(
            config.submissions,
            config.completions,
            !config.spin.is_zero(),
        )?;
        let buffers = Buffers::new(config.buffers, config.buffer_size);
        let buf_ring = BufRing::register(&ring, &buffers)
            .map_err(|e| SetupError::new("register the buffer ring", &e))?;
        // Nothing we submit is meant to need a kernel thread; one of each kind bounds what a mistake can cost.
        ring.submitter()
            .register_iowq_max_workers(&mut [1, 1])
            .map_err(|e| SetupError::new("bound the kernel's worker threads", &e))?;
        let room = Room::new().map_err(|e| SetupError::new("make an epoll instance", &e.into()))?;
        let entries = config.submissions as usize;
        Ok(Self {
            room,
            room_watched: false,
            rooms_changed: false,
            full: Vec::new(),
            roomy: Vec::new(),
            splices: Splices::default(),
            no_iowait: ring.params().is_feature_no_iowait(),
            spin: config.spin,
            ring: ManuallyDrop::new(ring),
            buf_ring: ManuallyDrop::new(buf_ring),
            buffers: ManuallyDrop::new(buffers),
            inflight: Inflight::default(),
            addresses: Vec::with_capacity(entries),
            gathers: Vec::with_capacity(entries),
            spare: Spare::new(),
            recv,
            now: Time::read_clock(),
            overflows: 0,
        })
    }

    /// How this ring receives.
    pub fn recv_mode(&self) -> RecvMode {
        self.recv
    }

    fn place(&mut self, op: Op, done: &mut Vec<Completion>) -> io::Result<()> {
        match op {
            Op::Accept { tag, listener } => {
                let entry = opcode::AcceptMulti::new(Fd(listener.number()))
                    .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
                self.submit(entry.build(), OpKind::Accept, tag)
            }
            Op::TurnAway { listener } => {
                self.spare.turn_away(listener);
                Ok(())
            }
            Op::Dial { tag, peer, options } => self.dial(tag, peer, &options, done),
            Op::Recv {
                tag,
                sock,
                budget,
                poll_first,
            } => {
                let entry = self.recv_entry(sock, budget, poll_first);
                self.submit(entry, OpKind::Recv, tag)
            }
            Op::Send {
                tag,
                sock,
                lease,
                poll_first,
            } => self.send(tag, sock, lease, poll_first),
            Op::Poll { tag, sock } => {
                let events = u32::from(libc::POLLIN.cast_unsigned());
                let entry = opcode::PollAdd::new(Fd(sock.number()), events).multi(true);
                self.submit(entry.build(), OpKind::Poll, tag)
            }
            Op::Cancel { tag, what } => self.cancel(tag, what, done),
            Op::Splice {
                tag,
                from,
                to,
                budget,
                wait,
            } => {
                let at = self.splices.begin(tag, (from, to), budget, wait);
                wait.zip(at)
                    .map_or(Ok(()), |(wait, at)| self.await_splice(tag, wait, at))
            }
            Op::Discard { tag } => {
                self.splices.discard(tag);
                Ok(())
            }
            Op::Shed { tag } => {
                self.shed(tag);
                Ok(())
            }
            Op::Shutdown { sock, both } => {
                shutdown(sock, both);
                Ok(())
            }
            Op::Unsent { tag, sock } => {
                let bytes = socket::unsent(sock);
                done.push(Completion {
                    tag,
                    event: Event::Unsent { bytes },
                });
                Ok(())
            }
            Op::Close { sock, reset } => {
                close(sock, reset);
                Ok(())
            }
        }
    }

    fn submit(&mut self, entry: squeue::Entry, kind: OpKind, tag: Tag) -> io::Result<()> {
        self.push(&entry.user_data(user_data(kind, tag)))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: what the entry points to is a leased buffer, held in `inflight` until the completion, or a row of
        // `addresses` or `gathers`, which stay until the entry is submitted.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.enter(Until::Now)?;
        }
        Ok(())
    }

    fn recv_entry(&self, sock: SockRef, budget: u32, poll_first: bool) -> squeue::Entry {
        let flags = if poll_first { POLL_FIRST } else { 0 };
        match self.recv {
            RecvMode::Multishot => features::with_budget(
                opcode::RecvMulti::new(Fd(sock.number()), GROUP).build(),
                flags,
                budget,
            ),
            RecvMode::SingleShot => opcode::Recv::new(Fd(sock.number()), std::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .ioprio(flags)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        }
    }

    fn dial(
        &mut self,
        tag: Tag,
        peer: SocketAddr,
        options: &DialOptions,
        done: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let sock = match open(peer, options) {
            Ok(sock) => sock,
            Err(e) => {
                done.push(Completion {
                    tag,
                    event: Event::Dialed {
                        result: Err(errno_of(&e)),
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
        self.inflight.hold_dial(tag, sock);
        self.submit(entry, OpKind::Dial, tag)
    }

    fn send(&mut self, tag: Tag, sock: SockRef, lease: Lease, full: bool) -> io::Result<()> {
        self.inflight.hold_lease(tag, sock, lease);
        if full {
            self.park(tag);
            Ok(())
        } else {
            self.try_send(tag, sock)
        }
    }

    /// Submits a send that is in the table. Without waiting: see [`crate::room`].
    fn try_send(&mut self, tag: Tag, sock: SockRef) -> io::Result<()> {
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
    fn park(&mut self, tag: Tag) {
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
    fn shed(&mut self, tag: Tag) {
        if let Some(lease) = self.inflight.parked(tag) {
            self.buffers.spill(lease);
        }
    }

    /// Tries the parked sends, and splices, whose sockets have room.
    fn unpark(&mut self) -> io::Result<()> {
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

    /// Asks an op to end: the kernel, unless the op is not in its hands.
    fn cancel(&mut self, tag: Tag, what: OpKind, done: &mut Vec<Completion>) -> io::Result<()> {
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

    /// Lets a splice wait. Its source is polled by the ring: what io_uring adds to that poll, EPOLLRDHUP, is an end to be
    /// read. Its sink is not: see [`crate::room`].
    fn await_splice(&mut self, tag: Tag, wait: Readiness, at: SockRef) -> io::Result<()> {
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
    fn run_splices(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
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

    /// Keeps a vector until it is submitted.
    fn gather(&mut self, gather: Gather) -> io::Result<*const libc::msghdr> {
        if self.gathers.len() == self.gathers.capacity() {
            self.enter(Until::Now)?;
        }
        self.gathers.push(gather);
        let gather = self.gathers.last_mut().expect("pushed above");
        gather.header.msg_iov = gather.vectors.as_mut_ptr();
        Ok(&raw const gather.header)
    }

    /// Submits what is placed and waits as told. Interruptions and time-outs are not errors.
    fn enter(&mut self, until: Until) -> io::Result<()> {
        let queue = self.ring.submission();
        let (placed, overflowed) = (queue.len(), queue.cq_overflow());
        drop(queue);
        self.overflows += u64::from(overflowed);
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if self.no_iowait {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let (want, wait) = match until {
            Until::Now => (0, None),
            Until::Forever => (1, None),
            // Since the last turn's end, not since now: late by what a turn takes, and no clock is read for it.
            Until::Time(at) => (1, Some(Timespec::from(at.since(self.now)))),
        };
        let args = SubmitArgs::new();
        let args = match &wait {
            Some(wait) => args.timespec(wait),
            None => args,
        };
        let placed = u32::try_from(placed).expect("the queue has at most 32,768 entries");
        // SAFETY: `args` is what EXT_ARG announces and outlives the call; entries were vetted when pushed.
        let entered = unsafe {
            self.ring
                .submitter()
                .enter(placed, want, flags.bits(), Some(&args))
        };
        match entered.map_err(|e| errno_of(&e)) {
            // EBUSY, EAGAIN: completions must be taken first; what was not submitted stays in the queue.
            Ok(_) | Err(Errno::EINTR | Errno::ETIME | Errno::EBUSY | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        if self.ring.submission().is_empty() {
            self.addresses.clear();
            self.gathers.clear();
        }
        Ok(())
    }

    /// Submits, and looks for completions for a while before it waits as told.
    fn spin(&mut self, until: Until) -> io::Result<()> {
        self.enter(Until::Now)?;
        if !self.ring.completion().is_empty() {
            return Ok(());
        }
        let spin = Spin::new(self.spin, until, Time::read_clock());
        loop {
            let queue = self.ring.submission();
            let found = spin.look(|| queue.taskrun(), Time::read_clock);
            drop(queue);
            match found {
                Found::Work => self.enter(Until::Now)?,
                Found::Nothing(now) => {
                    // What is left of the wait counts from here.
                    self.now = now;
                    return self.enter(until);
                }
            }
            if !self.ring.completion().is_empty() {
                return Ok(());
            }
        }
    }

    fn reap(&mut self, done: &mut Vec<Completion>) {
        let mut starved = false;
        for entry in self.ring.completion() {
            let answer = Answer::of(&entry);
            let Some((kind, tag)) = owner(entry.user_data()) else {
                self.rooms_changed |= entry.user_data() == ROOM;
                self.room_watched &= entry.user_data() != ROOM || answer.more;
                continue;
            };
            let event = match kind {
                OpKind::Accept => accepted(&answer),
                OpKind::Dial => dialed(&answer, self.inflight.take_dial(tag)),
                OpKind::Recv => received(&answer, &mut self.buffers),
                OpKind::Send if answer.result == Err(Errno::EAGAIN) => {
                    self.full.push(tag);
                    None
                }
                OpKind::Send => sent(&answer, self.inflight.take_lease(tag), &mut self.buffers),
                OpKind::Poll => Some(Event::Polled {
                    result: answer.result.map(drop),
                    more: answer.more,
                }),
                OpKind::Splice if answer.result.is_err() => self.splices.end(tag),
                OpKind::Splice => {
                    self.splices.on_ready(tag, Readiness::Readable);
                    None
                }
            };
            starved |= matches!(answer.result, Err(Errno::ENOBUFS)) && kind == OpKind::Recv;
            done.extend(event.map(|event| Completion { tag, event }));
        }
        if starved && self.buffers.in_reserve() > 0 {
            self.buf_ring.deepen();
        }
    }

    /// Parks the sends that found no room, and tries those again whose sockets have some.
    fn make_room(&mut self) -> io::Result<()> {
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

impl Ring for Uring {
    fn now(&self) -> Time {
        self.now
    }

    fn turn(&mut self, ops: &mut Ops, until: Until, done: &mut Vec<Completion>) -> io::Result<()> {
        self.buf_ring.publish(&mut self.buffers);
        for op in ops.drain() {
            self.place(op, done)?;
        }
        if !self.splices.is_empty() {
            // Small messages first: what was placed goes out before bulk takes its share of the time.
            if !self.ring.submission().is_empty() {
                self.enter(Until::Now)?;
            }
            // And is told first: a socket says once that it failed, and whoever asks next sees an orderly end.
            self.reap(done);
            self.run_splices(done)?;
        }
        let busy = !done.is_empty() || !self.splices.is_empty();
        let until = if busy { Until::Now } else { until };
        if self.spin.is_zero() || until == Until::Now {
            self.enter(until)?;
        } else {
            self.spin(until)?;
        }
        self.now = Time::read_clock();
        self.reap(done);
        self.make_room()
    }

    fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    fn overflows(&self) -> u64 {
        self.overflows
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // One second is far more than a cancel takes; a kernel that needs longer keeps the memory, which we then leak.
        let second = Some(Timespec::new().sec(1));
        let ended = match self
            .ring
            .submitter()
            .register_sync_cancel(second, CancelBuilder::any())
        {
            Ok(()) => true,
            Err(e) => errno_of(&e) == Errno::ENOENT,
        };
        let (leases, socks) = self.inflight.drain();
        leases
            .into_iter()
            .for_each(|lease| self.buffers.release(lease));
        socks.into_iter().for_each(|sock| drop(sock.into_fd()));
        // SAFETY: each is dropped once, here, and not used again: `self` is going away. The ring goes first, and the
        // memory that requests may still name goes only when none is left.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            if ended {
                ManuallyDrop::drop(&mut self.buf_ring);
                ManuallyDrop::drop(&mut self.buffers);
            }
        }
    }
}

/// A completion entry's numbers, decoded once.
struct Answer {
    result: Result<u32, Errno>,
    buffer: Option<u16>,
    more: bool,
    nonempty: bool,
}

impl Answer {
    fn of(entry: &cqueue::Entry) -> Self {
        let flags = entry.flags();
        Self {
            result: u32::try_from(entry.result()).map_err(|_| Errno::from_raw(-entry.result())),
            buffer: cqueue::buffer_select(flags),
            more: cqueue::more(flags),
            nonempty: cqueue::sock_nonempty(flags),
        }
    }
}

fn accepted(answer: &Answer) -> Option<Event> {
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

fn dialed(answer: &Answer, sock: Option<Sock>) -> Option<Event> {
    let sock = sock?;
    let result = match answer.result {
        Ok(_) => Ok(sock),
        Err(errno) => {
            close(sock, false);
            Err(errno)
        }
    };
    Some(Event::Dialed { result })
}

fn received(answer: &Answer, buffers: &mut Buffers) -> Option<Event> {
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

fn sent(answer: &Answer, lease: Option<Lease>, buffers: &mut Buffers) -> Option<Event> {
    let mut rest = lease?;
    if let Ok(count) = answer.result {
        buffers.consume(&mut rest, count);
    }
    Some(Event::Sent {
        result: answer.result,
        rest,
    })
}

/// A cancel's own completion says nothing that its target's does not.
const CANCEL: u64 = 0;

/// The watch of [`Room`]: a kind that no op has.
const ROOM: u64 = 15 << 60;

/// `kind(4) | lane(1) | 0(3) | slot(24) | generation(32)`; kinds start at 1, so 0 is nobody.
fn user_data(kind: OpKind, tag: Tag) -> u64 {
    assert!(tag.slot < 1 << 24, "slot {} does not fit 24 bits", tag.slot);
    let kind: u64 = match kind {
        OpKind::Accept => 1,
        OpKind::Dial => 2,
        OpKind::Recv => 3,
        OpKind::Send => 4,
        OpKind::Poll => 5,
        OpKind::Splice => 6,
    };
    let lane: u64 = match tag.lane {
        Lane::A => 0,
        Lane::B => 1,
    };
    kind << 60 | lane << 59 | u64::from(tag.slot) << 32 | u64::from(tag.generation)
}

fn owner(user_data: u64) -> Option<(OpKind, Tag)> {
    let kind = match user_data >> 60 {
        0 | 15 => return None,
        1 => OpKind::Accept,
        2 => OpKind::Dial,
        3 => OpKind::Recv,
        4 => OpKind::Send,
        5 => OpKind::Poll,
        6 => OpKind::Splice,
        other => unreachable!("we never submit kind {other}"),
    };
    let lane = if user_data >> 59 & 1 == 0 {
        Lane::A
    } else {
        Lane::B
    };
    let slot = (user_data >> 32 & 0xff_ffff) as u32;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is the generation"
    )]
    let generation = user_data as u32;
    Some((
        kind,
        Tag {
            lane,
            slot,
            generation,
        },
    ))
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a buffer or segment is under 64 KiB")
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
