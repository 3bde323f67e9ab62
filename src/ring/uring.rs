//! The kernel's ring: places ops as submission entries (`place`, `send`, `splices`), enters once per turn, decodes what came
//! back (`answer`).
//!
//! Made on the thread that uses it (IORING_SETUP_SINGLE_ISSUER). Completions run only inside
//! `io_uring_enter` with GETEVENTS (DEFER_TASKRUN), so every turn enters, even one that waits for nothing.

mod answer;
mod name;
mod place;
mod send;
mod splices;

use crate::buf_ring::BufRing;
use crate::features::{self, RecvMode, SetupError};
use crate::inflight::Inflight;
use crate::restrict;
use crate::room::Room;
use crate::socket::Spare;
use crate::spin::{Found, Spin};
use crate::splice::Splices;
use crate::{Buffers, Completion, Errno, Event, OpKind, Ops, Readiness, Ring, Tag, Time, Until};
use answer::{Answer, accepted, dialed, received, sent};
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring};
use name::{ROOM, owner};
use send::Gather;
use socket2::SockAddr;
use std::io;
use std::mem::ManuallyDrop;
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

impl UringConfig {
    /// What RLIMIT_MEMLOCK is charged for a ring of this size, bytes: both queues, without the pages around them.
    #[must_use]
    pub fn locked_bytes(&self) -> u64 {
        // struct io_uring_sqe and io_uring_cqe of <linux/io_uring.h>.
        u64::from(self.submissions) * 64 + u64::from(self.completions) * 16
    }

    /// Memory of all its buffers, once they were used, bytes.
    #[must_use]
    pub fn buffer_bytes(&self) -> u64 {
        u64::from(self.buffers) * u64::from(self.buffer_size)
    }
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
        restrict::enable(&ring)?;
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
}

impl Ring for Uring {
    fn now(&self) -> Time {
        self.now
    }

    fn read_clock(&self) -> Time {
        Time::read_clock()
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

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
