//! How far the limits of the machine are: descriptors, local ports, locked memory. Read when somebody looks.

pub use super::ports::Ports;

use nix::sys::resource::{Resource, getrlimit};
use std::fs;

/// What is used and what there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Room {
    /// Open descriptors of this process; 0 where the kernel does not tell (before Linux 6.2).
    pub descriptors_used: u64,
    /// RLIMIT_NOFILE.
    pub descriptors_limit: u64,
    /// RLIMIT_MEMLOCK, bytes; `u64::MAX` is none.
    pub memlock_limit: u64,
    /// Local ports, where they are closest to running out.
    pub ports: Ports,
}

impl Room {
    /// Asks the system.
    pub(super) fn read(ports: Ports) -> Self {
        let limit = |of| getrlimit(of).map_or(0, |(soft, _)| soft);
        Self {
            descriptors_used: descriptors(),
            descriptors_limit: limit(Resource::RLIMIT_NOFILE),
            memlock_limit: limit(Resource::RLIMIT_MEMLOCK),
            ports,
        }
    }
}

/// The kernel tells the number as the directory's size (since Linux 6.2): to list a million would take a second.
fn descriptors() -> u64 {
    fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_descriptors_and_knows_the_limit() {
        let before = Room::read(Ports::default());
        let files: Vec<_> = (0..10).map(|_| fs::File::open("/dev/null")).collect();
        let after = Room::read(Ports::default());
        assert!(files.iter().all(Result::is_ok));
        assert!(after.descriptors_limit >= after.descriptors_used);
        if before.descriptors_used == 0 {
            return eprintln!("SKIP: this kernel does not tell");
        }
        assert!(after.descriptors_used >= 10);
    }
}
