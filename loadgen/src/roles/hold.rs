//! Idle connections: nothing is sent, nothing may come. (A stalled reader is one whose receive is never armed.)

use super::Step;
use crate::fault::Fault;
use crate::job::Cx;
use ringway_ring::Lease;

/// Bytes on a connection that nobody writes to were invented on the way.
pub(super) fn on_surplus(lease: Lease, cx: &mut Cx) -> Step {
    cx.buffers.release(lease);
    cx.stats.faults.add(Fault::Surplus, 1);
    Step::Close
}
