//! What std lacks. Knows nothing of proxies, and owns no thread, no clock and no descriptor.

mod counter;
mod crowd;
mod dice;
mod histogram;
mod slots;
pub mod stable_hash;
mod tally;
mod wheel;

pub use counter::{Counter, Gauge, Shared};
pub use crowd::{Crowd, Excess, Terms};
pub use dice::Dice;
pub use histogram::{BOUNDS, BUCKETS, Distribution, Histogram, SharedHistogram};
pub use slots::{Key, Slots};
pub use tally::{Counted, Tally, Totals};
pub use wheel::{TICK, Wheel};
