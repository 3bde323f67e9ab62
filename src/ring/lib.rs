//! The only home of `unsafe`: what we ask a kernel ([`Op`]), what came back ([`Completion`]), and the provided
//! buffers that bytes travel in ([`Lease`]). Knows nothing of proxies.
//!
//! The seam is data. A caller fills [`Ops`], calls [`Ring::turn`] once, and reads the completions; it never touches a
//! ring, a pointer or a raw descriptor. [`Uring`] is the kernel's ring; a simulator implements the same trait.
//!
//! Rules that every implementation keeps and every caller may rely on:
//!
//! - A [`Sock`] and a [`Lease`] are owned: whoever holds one must hand it back ([`Op::Close`],
//!   [`Buffers::release`]). Dropping one is a bug that debug builds catch.
//! - What an op owns stays the ring's until the op's last completion, which hands back what is left.
//! - At most one [`Op::Send`] and one [`Op::Recv`] or [`Op::Splice`] may be in flight per `(slot, lane)`, and no dial
//!   beside them.
//! - A slot may be reused once all its ops have completed. Generations are compared all the same.
//! - `more == true` on a completion is the only sign that its op is still armed.

mod buf_ring;
mod buffers;
mod features;
mod inflight;
mod op;
mod pipes;
mod restrict;
mod room;
mod self_test;
mod socket;
mod spill;
mod spin;
mod splice;
mod time;
mod uring;

pub use buffers::{Buffers, Lease};
pub use features::{RecvMode, SetupError, recv_mode};
pub use op::{
    Completion, DialOptions, Event, Keepalive, Lane, Op, OpKind, Ops, Readiness, Sock, SockRef,
    Stop, Tag, Until,
};
pub use pipes::PIPES_MAX;
pub use spill::SPILL_MAX;
pub use time::Time;
pub use uring::{Uring, UringConfig};

use std::io;

/// Errors as the kernel numbers them.
pub use nix::errno::Errno;

/// A kernel, or a model of one: takes operations, gives completions.
pub trait Ring {
    /// The time of the last [`turn`](Self::turn)'s end, read from the clock once per turn.
    fn now(&self) -> Time;

    /// The clock, read again: for what is measured within a turn, and seldom, because it costs a call. Where time passes
    /// between turns alone it is [`now`](Self::now).
    fn read_clock(&self) -> Time {
        self.now()
    }

    /// Submits every op in `ops` (leaving it empty), waits for at least one completion unless [`Until`] says
    /// otherwise, and appends what came back to `done`. One entry into the kernel in the common case.
    ///
    /// # Errors
    /// Only what no caller can mend (a ring that the kernel no longer accepts): the process should end.
    fn turn(&mut self, ops: &mut Ops, until: Until, done: &mut Vec<Completion>) -> io::Result<()>;

    /// The buffers that received bytes arrive in.
    fn buffers(&mut self) -> &mut Buffers;

    /// How often the completion queue overflowed (nothing is lost, but every multishot behind it ended).
    fn overflows(&self) -> u64;
}
