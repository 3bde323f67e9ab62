//! A kernel and a network without either: [`SimRing`] is a [`Ring`](crate::ring::Ring) whose sockets, peers, clock and
//! faults come from one seed, so that a failure can be seen again as often as it takes.
//!
//! [`World`] holds what is outside of the program (clients, backends, the bytes between, descriptors, the time);
//! [`SimRing`] holds what a kernel's ring would (ops in flight, completions that wait, buffers). The checkers are always
//! on: every byte that the program sends must be the byte that the other side of its connection sent at that position;
//! FIN comes after all of them; and [`SimRing::check_end`] finds whatever outlived its connection. A check that fails
//! panics with the seed and the command that replays it. `RINGWAY_SIM_TRACE=1` prints every op and completion.
//!
//! Bytes are counted, not stored: what they are follows from the connection's number and their position. Only what a
//! client says first may mean something ([`Opening`]), and what it is told when it gets no backend. Actors may speak TLS
//! ([`Secret`], [`Manners`]): then records are stored, and what counts is what is in them.

mod actor;
mod agenda;
mod chance;
mod checks;
mod execute;
mod faults;
mod happen;
mod inflight;
mod opening;
mod pattern;
mod pipes;
mod ring;
mod submit;
mod tcp;
mod text;
mod trace;
mod tunnel;
mod world;

pub use actor::{Appetite, Script, Step};
pub use chance::{Chance, Odds};
pub use faults::Faults;
pub use opening::Opening;
pub use ring::SimRing;
pub use tunnel::{Manners, Secret};
pub use world::{Demands, Dialed, Fate, World, replay_line};
