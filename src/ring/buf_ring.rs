//! The provided-buffer ring shared with the kernel (io_uring_register_buf_ring(3)): which free buffers it may fill next.

use crate::Buffers;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only buffer group of a ring.
pub(crate) const GROUP: u16 = 0;

/// The kernel takes buffers in the order we publish them, so a deep ring walks through all of memory while a shallow
/// one stays in the cache. It starts at this depth and doubles when the kernel runs out.
const DEPTH_MIN: u16 = 256;

/// Of so many buffers one is kept from the kernel, for bytes that are made here and not received.
const KEPT: usize = 16;

pub(crate) struct BufRing {
    entries: NonNull<BufRingEntry>,
    count: u16,
    tail: u16,
    depth: u16,
}

impl BufRing {
    /// Registers a ring with room for every buffer. Publishes none yet.
    pub(crate) fn register(ring: &IoUring, buffers: &Buffers) -> io::Result<Self> {
        let count = u16::try_from(buffers.count()).expect("Buffers holds at most 32,768");
        assert!(
            count.is_power_of_two(),
            "the kernel wants a power of two, not {count}"
        );
        let layout = Self::layout(count);
        // SAFETY: the layout is not of zero size, as `count` is at least 1.
        let area = NonNull::new(unsafe { alloc_zeroed(layout) });
        let entries = area
            .unwrap_or_else(|| handle_alloc_error(layout))
            .cast::<BufRingEntry>();
        let this = Self {
            entries,
            count,
            tail: 0,
            depth: DEPTH_MIN.min(count),
        };
        // SAFETY: `entries` is page aligned, zeroed and holds `count` entries; it lives until drop, and `Uring` closes
        // the ring before it drops this.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                count,
                GROUP,
                0,
            )?;
        }
        Ok(this)
    }

    fn layout(count: u16) -> Layout {
        Layout::from_size_align(usize::from(count) * size_of::<BufRingEntry>(), 4096)
            .expect("half a MiB at most")
    }

    /// Lends the kernel buffers from the reserve up to the present depth.
    pub(crate) fn publish(&mut self, buffers: &mut Buffers) {
        let before = self.tail;
        let kept = buffers.count() / KEPT;
        while buffers.lent() < usize::from(self.depth) && buffers.in_reserve() > kept {
            let Some(id) = buffers.lend() else { break };
            let index = usize::from(self.tail & (self.count - 1));
            // SAFETY: in bounds, as the index is masked by `count - 1`. The kernel reads only entries before the tail
            // it was shown; this one is at the tail. Only fields are written: entry 0's reserved one is the tail.
            unsafe {
                let entry = &mut *self.entries.as_ptr().add(index);
                entry.set_addr(buffers.address(id) as u64);
                entry.set_len(u32::from(buffers.size()));
                entry.set_bid(id);
            }
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            // SAFETY: the tail is the reserved field of entry 0, two-byte aligned, and shared with the kernel, hence
            // the atomic; release orders the entries above before it.
            unsafe {
                let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
                AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
            }
        }
    }

    /// The kernel ran out: lend it more from now on.
    pub(crate) fn deepen(&mut self) {
        self.depth = self.depth.saturating_mul(2).min(self.count);
    }
}

impl Drop for BufRing {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with this layout; the kernel's side is closed (see `register`).
        unsafe { dealloc(self.entries.as_ptr().cast(), Self::layout(self.count)) };
    }
}
