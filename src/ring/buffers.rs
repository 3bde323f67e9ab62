//! The buffers of one ring and who holds each: the kernel, a [`Lease`], or the reserve.
//!
//! Owns the area and the chains. A lease is a chain of one or more buffers, linked through a table here, so that a
//! queue of any length is twelve bytes in its owner. Never hands the same buffer to two holders. When buffers run
//! short, what stalled readers have not taken may go on in segments of ordinary memory ([`crate::spill`]), links of the
//! same chains whose ids are above those of the buffers.

use crate::spill::{SPARING, SPILL_MAX, Spill};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;

const NONE: u16 = u16::MAX;

/// Bytes in leased buffers, in order. Must go back by [`Buffers::release`] or in an [`crate::Op::Send`].
/// The default is the empty lease, which holds nothing.
#[derive(PartialEq, Eq)]
pub struct Lease {
    head: u16,
    tail: u16,
    buffers: u16,
    bytes: u32,
}

impl Lease {
    /// Holds nothing.
    pub const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        buffers: 0,
        bytes: 0,
    };

    /// Bytes in it.
    pub fn len(&self) -> u32 {
        self.bytes
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.buffers == 0
    }

    /// How many links it has: buffers that it keeps from others, and spilled segments.
    pub fn buffers(&self) -> u16 {
        self.buffers
    }

    /// Takes the chain out, leaving the empty lease.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        debug_assert!(
            self.buffers == 0 || std::thread::panicking(),
            "lease of {} buffers dropped without release",
            self.buffers
        );
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} B in {} buffers)", self.bytes, self.buffers)
    }
}

/// Who may touch a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    /// Nobody: free for a lease or for the kernel.
    Reserve,
    /// The kernel, which may write to it at any time.
    Kernel,
    /// A lease.
    Lease,
}

/// The place of a buffer or spilled segment in a chain, and which of its bytes are data.
#[derive(Clone, Copy, Debug)]
struct Slot {
    next: u16,
    start: u16,
    end: u16,
    holder: Holder,
}

/// A fixed number of buffers of one size, and who holds each.
pub struct Buffers {
    area: NonNull<u8>,
    size: u16,
    count: u16,
    /// The buffers' rows, then those of the segments.
    slots: Vec<Slot>,
    /// Free buffers, last returned on top: the next one lent is the one most likely in the CPU's cache.
    reserve: Vec<u16>,
    lent: u16,
    pub(crate) spill: Spill,
}

// SAFETY: `area` is memory that this value alone owns; the raw pointer is what makes it `!Send` by default. A ring
// that lends buffers to a kernel is itself bound to its thread.
unsafe impl Send for Buffers {}

impl Buffers {
    /// Makes `count` buffers of `size` bytes, all in the reserve. Pages are touched only when used.
    ///
    /// # Panics
    /// When `count` is 0 or over 32,768 (io_uring_register_buf_ring(3)), or `size` is 0 or over 32,768.
    pub fn new(count: u16, size: u16) -> Self {
        assert!(
            (1..=32_768).contains(&count),
            "1 to 32,768 buffers, not {count}"
        );
        assert!(
            (1..=32_768).contains(&size),
            "buffers of 1 to 32,768 bytes, not {size}"
        );
        let layout = Self::layout(count, size);
        // SAFETY: the layout is not of zero size: both factors are at least 1, asserted above.
        let area = NonNull::new(unsafe { alloc_zeroed(layout) });
        let area = area.unwrap_or_else(|| handle_alloc_error(layout));
        let free = Slot {
            next: NONE,
            start: 0,
            end: 0,
            holder: Holder::Reserve,
        };
        Self {
            area,
            size,
            count,
            slots: vec![free; usize::from(count)],
            reserve: (0..count).rev().collect(),
            lent: 0,
            spill: Spill::new(count, SPILL_MAX),
        }
    }

    /// No more alignment than malloc gives anyway: asked for more, the allocator clears the memory by hand, and all of it
    /// is touched. Asked for this, it takes fresh pages, which cost nothing until used.
    fn layout(count: u16, size: u16) -> Layout {
        const ALIGN: usize = 16;
        Layout::from_size_align(usize::from(count) * usize::from(size), ALIGN)
            .expect("at most 1 GiB")
    }

    /// Bytes a buffer holds.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// How many buffers there are.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// How many are free: in the reserve or waiting in the kernel for bytes.
    pub fn free(&self) -> usize {
        self.reserve.len() + usize::from(self.lent)
    }

    /// How many no lease and no kernel holds.
    pub fn in_reserve(&self) -> usize {
        self.reserve.len()
    }

    /// How many the kernel holds.
    pub fn lent(&self) -> usize {
        usize::from(self.lent)
    }

    /// Whether fewer than a quarter are free, or so much is spilled that soon they will be.
    pub fn is_scarce(&self) -> bool {
        self.free() * 4 < self.count() || self.spilled() > SPARING
    }

    /// The bytes of the lease's first buffer; all of them when it has but one.
    pub fn bytes(&self, lease: &Lease) -> &[u8] {
        if lease.is_empty() {
            &[]
        } else {
            self.data(lease.head)
        }
    }

    /// The bytes of every buffer of the lease, in order.
    pub fn segments<'a>(&'a self, lease: &'a Lease) -> impl Iterator<Item = &'a [u8]> {
        self.links(lease).map(|id| self.data(id))
    }

    /// The ids of a chain, in order.
    fn links<'a>(&'a self, lease: &'a Lease) -> impl Iterator<Item = u16> + 'a {
        let mut next = lease.head;
        (0..lease.buffers).map(move |_| {
            let id = next;
            next = self.slots[usize::from(id)].next;
            id
        })
    }

    /// The bytes of a lease that are in buffers, and not in segments.
    pub(crate) fn in_buffers(&self, lease: &Lease) -> usize {
        let buffers = self.links(lease).filter(|id| *id < self.count);
        buffers.map(|id| self.data(id).len()).sum()
    }

    /// Copies `bytes` into free buffers. `None`, and nothing changed, when the reserve has too few.
    ///
    /// # Panics
    /// When `bytes` is over 4 GiB, which no reserve holds.
    pub fn write(&mut self, bytes: &[u8]) -> Option<Lease> {
        if bytes.len().div_ceil(usize::from(self.size)) > self.reserve.len() {
            return None;
        }
        let mut lease = Lease::EMPTY;
        for piece in bytes.chunks(usize::from(self.size)) {
            let id = self.reserve.pop()?;
            let len = u16::try_from(piece.len()).expect("a chunk is at most `size` bytes");
            self.slots[usize::from(id)] = Slot {
                next: NONE,
                start: 0,
                end: len,
                holder: Holder::Lease,
            };
            self.whole_mut(id)[..piece.len()].copy_from_slice(piece);
            self.link(
                &mut lease,
                Lease {
                    head: id,
                    tail: id,
                    buffers: 1,
                    bytes: u32::from(len),
                },
            );
        }
        Some(lease)
    }

    /// Copies `bytes` behind a lease: into the room of its last buffer, then into free ones, and where these are too few into
    /// a segment. `false`, and nothing changed, when there is no room for that either.
    pub fn extend(&mut self, to: &mut Lease, bytes: &[u8]) -> bool {
        let (fit, rest) = bytes.split_at(bytes.len().min(self.room_behind(to)));
        let Some(more) = self.write(rest).or_else(|| self.set_aside(rest)) else {
            return false;
        };
        if !fit.is_empty() {
            let slot = &mut self.slots[usize::from(to.tail)];
            let at = usize::from(slot.end);
            slot.end += u16::try_from(fit.len()).expect("fits the room");
            to.bytes += u32::try_from(fit.len()).expect("fits the room");
            self.whole_mut(to.tail)[at..at + fit.len()].copy_from_slice(fit);
        }
        if !more.is_empty() {
            self.link(to, more);
        }
        true
    }

    /// Bytes that the last buffer of a lease has room for.
    fn room_behind(&self, lease: &Lease) -> usize {
        // A segment is as long as its bytes.
        if lease.is_empty() || lease.tail >= self.count {
            return 0;
        }
        usize::from(self.size - self.slots[usize::from(lease.tail)].end)
    }

    /// Puts `more` behind `to`. Small pieces are copied into the room left in the last buffer, so that a queue of many
    /// short messages holds few buffers and goes out in one send.
    pub fn append(&mut self, to: &mut Lease, more: Lease) {
        // A quarter of a page: copying it costs less than keeping a buffer and a send for it.
        const COPY_MAX: u32 = 1024;
        if more.is_empty() {
            return;
        }
        if to.is_empty() {
            *to = more;
            return;
        }
        let is_small = more.buffers == 1 && more.bytes <= COPY_MAX;
        if !is_small || more.bytes as usize > self.room_behind(to) {
            self.link(to, more);
            return;
        }
        self.copy_into_tail(to, &more);
        self.release(more);
    }

    /// Copies the first `count` bytes of a lease behind `to`.
    ///
    /// # Panics
    /// When the lease holds fewer.
    pub fn copy_front(&self, lease: &Lease, count: usize, to: &mut Vec<u8>) {
        assert!(count <= lease.bytes as usize, "copy {count} of {lease:?}");
        let mut left = count;
        for piece in self.segments(lease) {
            let take = left.min(piece.len());
            to.extend_from_slice(&piece[..take]);
            left -= take;
        }
    }

    /// Gives buffers back.
    pub fn release(&mut self, mut lease: Lease) {
        while !lease.is_empty() {
            self.pop_front(&mut lease);
        }
    }

    /// Drops the first `count` bytes, giving back the buffers that they alone filled.
    ///
    /// # Panics
    /// When the lease holds fewer.
    pub fn consume(&mut self, lease: &mut Lease, count: u32) {
        assert!(count <= lease.bytes, "consume {count} of {lease:?}");
        let mut left = count;
        while !lease.is_empty() {
            let slot = &mut self.slots[usize::from(lease.head)];
            let held = u32::from(slot.end - slot.start);
            if held > left {
                slot.start += u16::try_from(left).expect("less than a buffer");
                lease.bytes -= left;
                return;
            }
            left -= held;
            self.pop_front(lease);
        }
    }

    /// Takes a free buffer for the kernel (a real one, or a simulated). For rings.
    pub fn lend(&mut self) -> Option<u16> {
        let id = self.reserve.pop()?;
        self.slots[usize::from(id)].holder = Holder::Kernel;
        self.lent += 1;
        Some(id)
    }

    /// Takes a lent buffer back, holding `len` bytes. Zero gives the empty lease and the buffer to the reserve. For rings.
    ///
    /// # Panics
    /// When the kernel does not hold this buffer or `len` exceeds it: the queues are corrupt.
    pub fn take_back(&mut self, id: u16, len: u32) -> Lease {
        let slot = &mut self.slots[usize::from(id)];
        assert_eq!(slot.holder, Holder::Kernel, "buffer {id} came back twice");
        assert!(
            len <= u32::from(self.size),
            "{len} bytes in a buffer of {}",
            self.size
        );
        self.lent -= 1;
        let end = u16::try_from(len).expect("at most `size`, asserted above");
        *slot = Slot {
            next: NONE,
            start: 0,
            end,
            holder: Holder::Lease,
        };
        let lease = Lease {
            head: id,
            tail: id,
            buffers: 1,
            bytes: len,
        };
        if len == 0 {
            self.release(lease);
            return Lease::EMPTY;
        }
        lease
    }

    /// The whole of a lent buffer, for a kernel that writes from Rust (the simulator).
    ///
    /// # Panics
    /// When the buffer is not lent.
    pub fn lent_mut(&mut self, id: u16) -> &mut [u8] {
        assert_eq!(
            self.slots[usize::from(id)].holder,
            Holder::Kernel,
            "buffer {id} is not lent"
        );
        self.whole_mut(id)
    }

    /// Makes a lease of a segment. For [`crate::spill`].
    pub(crate) fn adopt(&mut self, bytes: Box<[u8]>) -> Lease {
        let end = u16::try_from(bytes.len()).expect("a segment's bounds fit 16 bits");
        let id = self.spill.put(bytes);
        let row = Slot {
            next: NONE,
            start: 0,
            end,
            holder: Holder::Lease,
        };
        // Segments take the lowest ids that were never used, so a new one's row is the next.
        match self.slots.get_mut(usize::from(id)) {
            Some(slot) => *slot = row,
            None => self.slots.push(row),
        }
        Lease {
            head: id,
            tail: id,
            buffers: 1,
            bytes: u32::from(end),
        }
    }

    /// Where a buffer begins in memory. For rings.
    pub(crate) fn address(&self, id: u16) -> *mut u8 {
        assert!(id < self.count, "no buffer {id}");
        // SAFETY: in bounds of the one allocation: `id` is below the count (asserted), which the layout was made from.
        unsafe {
            self.area
                .as_ptr()
                .add(usize::from(id) * usize::from(self.size))
        }
    }

    fn data(&self, id: u16) -> &[u8] {
        let slot = self.slots[usize::from(id)];
        assert_eq!(slot.holder, Holder::Lease, "buffer {id} is not leased");
        if id >= self.count {
            return &self.spill.segment(id)[usize::from(slot.start)..usize::from(slot.end)];
        }
        // SAFETY: a leased buffer is not the kernel's to write (asserted), and `&self` keeps Rust from writing it. A
        // send in flight only reads it. `start <= end <= size` is kept by every write to a slot; the area is zeroed
        // at birth, so every byte is initialised.
        unsafe {
            std::slice::from_raw_parts(
                self.address(id).add(usize::from(slot.start)),
                usize::from(slot.end - slot.start),
            )
        }
    }

    fn whole_mut(&mut self, id: u16) -> &mut [u8] {
        // SAFETY: `&mut self` keeps every other Rust reference away. Callers hold the buffer out of the kernel's hands
        // (`write`, `copy_into_tail`: leased and not in flight, as leases in flight are owned by the ring) or are the
        // simulated kernel itself (`lent_mut`).
        unsafe { std::slice::from_raw_parts_mut(self.address(id), usize::from(self.size)) }
    }

    fn copy_into_tail(&mut self, to: &mut Lease, more: &Lease) {
        let end = usize::from(self.slots[usize::from(to.tail)].end);
        let len = usize::from(self.slots[usize::from(more.head)].end)
            - usize::from(self.slots[usize::from(more.head)].start);
        let source = self.data(more.head).as_ptr();
        // SAFETY: two different buffers (two leases never share one), so the ranges cannot overlap; the source is
        // `len` leased bytes (`data`), the target has room for them (checked by `append`) and is leased, not in flight.
        unsafe {
            std::ptr::copy_nonoverlapping(source, self.address(to.tail).add(end), len);
        }
        let slot = &mut self.slots[usize::from(to.tail)];
        slot.end += u16::try_from(len).expect("fits the room, checked by `append`");
        to.bytes += more.bytes;
    }

    fn link(&mut self, to: &mut Lease, mut more: Lease) {
        if to.is_empty() {
            *to = more;
            return;
        }
        self.slots[usize::from(to.tail)].next = more.head;
        to.tail = more.tail;
        to.buffers += more.buffers;
        to.bytes += more.bytes;
        more.buffers = 0; // moved, not dropped
    }

    fn pop_front(&mut self, lease: &mut Lease) {
        let id = lease.head;
        let slot = &mut self.slots[usize::from(id)];
        assert_eq!(slot.holder, Holder::Lease, "buffer {id} released twice");
        lease.bytes -= u32::from(slot.end - slot.start);
        lease.buffers -= 1;
        lease.head = slot.next;
        *slot = Slot {
            next: NONE,
            start: 0,
            end: 0,
            holder: Holder::Reserve,
        };
        if lease.buffers == 0 {
            lease.head = NONE;
            lease.tail = NONE;
        }
        if id < self.count {
            self.reserve.push(id);
        } else {
            self.spill.free(id);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout; a ring closes its kernel side before it drops this.
        unsafe { dealloc(self.area.as_ptr(), Self::layout(self.count, self.size)) };
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Buffers({} of {} B, {} in reserve, {} lent, {} B spilled)",
            self.count,
            self.size,
            self.reserve.len(),
            self.lent,
            self.spill.bytes()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buffers: &Buffers, lease: &Lease) -> Vec<u8> {
        buffers.segments(lease).flatten().copied().collect()
    }

    #[test]
    fn small_pieces_share_the_last_buffer() {
        let mut buffers = Buffers::new(8, 64);
        let mut queue = buffers.write(b"one ").unwrap();
        let more = buffers.write(b"two").unwrap();
        buffers.append(&mut queue, more);
        assert_eq!(
            (queue.buffers(), text(&buffers, &queue)),
            (1, b"one two".to_vec())
        );
        assert_eq!(buffers.in_reserve(), 7);
        buffers.release(queue);
        assert_eq!(buffers.free(), 8);
    }

    #[test]
    fn a_piece_without_room_is_linked_and_order_is_kept() {
        let mut buffers = Buffers::new(8, 4);
        let mut queue = buffers.write(b"abcdef").unwrap();
        let more = buffers.write(b"ghi").unwrap();
        buffers.append(&mut queue, more);
        assert_eq!((queue.len(), queue.buffers()), (9, 3));
        buffers.consume(&mut queue, 5);
        assert_eq!(text(&buffers, &queue), b"fghi");
        buffers.consume(&mut queue, 4);
        assert!(queue.is_empty());
        assert_eq!(buffers.free(), 8);
    }

    #[test]
    fn writing_more_than_the_reserve_changes_nothing() {
        let mut buffers = Buffers::new(2, 4);
        assert!(buffers.write(b"123456789").is_none());
        assert_eq!(buffers.in_reserve(), 2);
    }

    #[test]
    fn a_lease_is_extended_through_its_last_buffer_into_free_ones_and_then_a_segment() {
        let mut buffers = Buffers::new(2, 4);
        let mut lease = buffers.write(b"ab").unwrap();
        assert!(buffers.extend(&mut lease, b"cdef"));
        assert_eq!((lease.buffers(), buffers.in_reserve()), (2, 0));
        assert!(buffers.extend(&mut lease, b"ghijkl"));
        assert_eq!((lease.len(), buffers.spilled()), (12, 4));
        assert_eq!(text(&buffers, &lease), b"abcdefghijkl");
        let mut front = Vec::new();
        buffers.copy_front(&lease, 5, &mut front);
        assert_eq!(front, b"abcde");
        buffers.limit_spill(2);
        assert!(!buffers.extend(&mut lease, b"m"), "there is no room");
        assert_eq!(lease.len(), 12);
        buffers.release(lease);
        assert_eq!((buffers.free(), buffers.spilled()), (2, 0));
    }

    #[test]
    fn an_empty_receive_gives_its_buffer_back() {
        let mut buffers = Buffers::new(1, 16);
        let id = buffers.lend().unwrap();
        assert!(buffers.take_back(id, 0).is_empty());
        assert_eq!((buffers.lent(), buffers.in_reserve()), (0, 1));
    }

    #[test]
    #[should_panic(expected = "came back twice")]
    fn a_buffer_that_comes_back_twice_is_caught() {
        let mut buffers = Buffers::new(1, 16);
        let id = buffers.lend().unwrap();
        let lease = buffers.take_back(id, 3);
        buffers.release(lease);
        buffers.take_back(id, 3);
    }
}
