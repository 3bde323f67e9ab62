//! What a process leaves to the one that takes over (SIGUSR2): what it has counted, what it knows of backends, what an
//! admin wanted of them, and the last quarter of an hour. So graphs show no reset, and nobody is sent to a backend that is known
//! to be down.
//!
//! The first copy goes with the start of the next process; another when it has taken over, and one each second while
//! the old process drains, because what it still does counts too; the last one when it ends. Each holds
//! everything from the beginning, and the reader adds what came since the one before.

mod carry;
mod deed;

pub(super) use carry::{Heir, Predecessor, pair};
pub(super) use deed::{BackendDeed, Deed};
