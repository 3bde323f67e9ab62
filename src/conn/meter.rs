//! What is counted of a listener's connections while they live. Connections point to it, so that a message costs an add
//! and no search.

use super::Side;
use crate::base::{Counter, Histogram};

/// One worker's numbers of one listener. On cache lines of its own: other workers write beside it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Meter {
    /// Bytes from clients.
    pub up: Ways,
    /// Bytes from backends.
    pub down: Ways,
    /// How long clients were listened to before it was known where they go.
    pub peeks: Histogram,
}

/// Bytes of one direction, by how they went on.
#[derive(Debug, Default)]
pub struct Ways {
    /// Through the worker's buffers.
    pub copied: Counter,
    /// Inside the kernel.
    pub spliced: Counter,
    /// Plaintext, on connections either side of which speaks TLS.
    pub sealed: Counter,
}

impl Meter {
    /// What a source gave.
    #[inline]
    pub(super) fn of(&self, source: Side) -> &Ways {
        match source {
            Side::Client => &self.up,
            Side::Backend => &self.down,
        }
    }
}

impl Ways {
    /// Whichever way they went.
    pub fn total(&self) -> u64 {
        self.copied.get() + self.spliced.get() + self.sealed.get()
    }
}
