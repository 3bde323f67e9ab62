//! Who gets the next connection. Pure: no clock, no socket; health, load, time and chance come in as arguments, and what
//! a policy remembers from one choice to the next is a value of its owner's.
//!
//! Every policy picks among the backends that a [`View`] calls usable, and finds one as long as there is one.

pub mod bounded;
pub mod ip_hash;
mod least_conn;
mod random_two;
mod round_robin;
mod slow_start;

pub use least_conn::LeastConn;
pub use random_two::RandomTwo;
pub use round_robin::RoundRobin;
pub use slow_start::SlowStart;

#[cfg(test)]
mod pool;

/// What a policy may know of the backends at the moment of a choice. A place is that of the configuration, from 0.
///
/// Answers may change while a policy asks, because other workers open and close connections: a choice is then as good
/// as what was seen, and never of a backend that was not usable when asked.
pub trait View {
    /// How many there are.
    fn backends(&self) -> u16;

    /// The share of one, relative to the others': 1 to [`WEIGHT_MAX`](ip_hash::WEIGHT_MAX).
    fn weight(&self, at: u16) -> u16;

    /// Connections that one has now, of all workers.
    fn open(&self, at: u16) -> u64;

    /// Whether one may get this connection: by its health, its admin state, its tier, its limits, and because it was not
    /// tried before.
    fn is_usable(&self, at: u16) -> bool;
}

/// More connections than anybody has, and few enough that they times a weight fit 64 bits.
const OPEN_MAX: u64 = 1 << 55;

/// How full a backend would be with one connection more. One more, so that of idle ones the heavier is the emptier.
#[derive(Clone, Copy, Debug)]
struct Fill {
    open: u64,
    weight: u64,
}

impl Fill {
    #[inline]
    fn of(view: &impl View, at: u16) -> Self {
        Self {
            open: view.open(at).min(OPEN_MAX - 1) + 1,
            weight: view.weight(at).into(),
        }
    }

    /// Whether `self` has fewer connections per weight. Multiplied crosswise: exact, and no division.
    #[inline]
    fn is_below(self, other: Self) -> bool {
        self.open * other.weight < other.open * self.weight
    }
}
