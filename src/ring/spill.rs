//! Where the bytes of stalled readers wait when buffers run short: segments of ordinary memory.
//!
//! A segment is a link of a lease's chain like a buffer, by an id above those of the buffers. Owns the memory, its ids
//! and its bound; knows nothing of chains. The kernel never writes to a segment, and reads it only as part of a send.

use crate::{Buffers, Lease};

/// Most bytes that one ring keeps outside of its buffers: what 1,024 stalled readers leave behind at a high-water mark
/// of 64 KiB each. More would be a promise of memory that a box of many cores may not have.
pub const SPILL_MAX: usize = 64 << 20;

/// With so much spilled, buffers count as scarce however many are free. 256 stalled readers may have left 64 KiB each
/// behind; the rest of [`SPILL_MAX`] is for 12,288 more that leave one buffer each. Otherwise the first thousand would
/// take all of it, a few thousand more each of the buffers, and nobody else would be read (`tests/real/slow.rs`).
pub(crate) const SPARING: usize = 16 << 20;

/// Most bytes in one segment: its bounds are kept in 16 bits.
const SEGMENT_MAX: usize = u16::MAX as usize;

/// Ids end here: the last one stands for none.
const IDS_END: usize = u16::MAX as usize;

/// The segments of one ring.
pub(crate) struct Spill {
    /// The id of the first segment, which is how many buffers there are.
    first: u16,
    /// By id from `first`; a vacant one is empty.
    segments: Vec<Box<[u8]>>,
    vacant: Vec<u16>,
    bytes: usize,
    max: usize,
    /// Something did not fit, and nothing has been freed since.
    full: bool,
}

impl Spill {
    pub(crate) fn new(first: u16, max: usize) -> Self {
        Self {
            first,
            segments: Vec::new(),
            vacant: Vec::new(),
            bytes: 0,
            max,
            full: false,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn segment(&self, id: u16) -> &[u8] {
        &self.segments[usize::from(id - self.first)]
    }

    /// Takes memory over; its id. The lowest that was never used, unless one is vacant.
    pub(crate) fn put(&mut self, bytes: Box<[u8]>) -> u16 {
        self.bytes += bytes.len();
        if let Some(id) = self.vacant.pop() {
            self.segments[usize::from(id - self.first)] = bytes;
            return id;
        }
        let id = usize::from(self.first) + self.segments.len();
        assert!(id < IDS_END, "no id for a segment: asked `admits` before?");
        self.segments.push(bytes);
        u16::try_from(id).expect("below the end of ids")
    }

    pub(crate) fn free(&mut self, id: u16) {
        let segment = std::mem::take(&mut self.segments[usize::from(id - self.first)]);
        self.bytes -= segment.len();
        self.vacant.push(id);
        self.full = false;
    }

    /// Whether so many bytes more, in so many segments, are within the bounds. Remembers a refusal.
    fn admits(&mut self, bytes: usize, segments: usize) -> bool {
        self.full = self.bytes + bytes > self.max || segments > self.ids();
        !self.full
    }

    /// Segments that there are ids for.
    fn ids(&self) -> usize {
        self.vacant.len() + IDS_END - usize::from(self.first) - self.segments.len()
    }
}

impl Buffers {
    /// Spills at most `bytes` in all from now on, instead of [`SPILL_MAX`].
    pub fn limit_spill(&mut self, bytes: usize) {
        self.spill.max = bytes;
    }

    /// Bytes of memory that leases hold outside of the buffers.
    pub fn spilled(&self) -> usize {
        self.spill.bytes
    }

    /// Whether it is worth trying to [`spill`](Self::spill): since the last refusal, something was freed.
    pub fn can_spill(&self) -> bool {
        !self.spill.full
    }

    /// Moves the bytes of a lease out of the buffers, which are free for others from here on. Whether that is so now:
    /// `false`, and nothing changed, when the bound would be passed.
    ///
    /// The whole chain is copied again, segments of earlier spills included: so a queue that grows by a byte at a time
    /// stays a few segments, and cannot use up the ids.
    pub fn spill(&mut self, lease: &mut Lease) -> bool {
        let bytes = self.in_buffers(lease);
        if bytes == 0 {
            return true;
        }
        if !self.spill.admits(bytes, 1) {
            return false;
        }
        let copies = self.copies(lease);
        if !self.spill.admits(bytes, copies.len()) {
            return false;
        }
        self.release(lease.take());
        for copy in copies {
            let link = self.adopt(copy);
            self.append(lease, link);
        }
        true
    }

    /// Copies `bytes`, which no buffer is free for, into segments. `None`, and nothing changed, at twice the bound: what is
    /// spilled can wait where it is when that is passed, and these bytes cannot. Since halves take little when so much is spilled, few
    /// come.
    pub(crate) fn set_aside(&mut self, bytes: &[u8]) -> Option<Lease> {
        let pieces = bytes.chunks(SEGMENT_MAX);
        if self.spill.bytes + bytes.len() > 2 * self.spill.max || pieces.len() > self.spill.ids() {
            return None;
        }
        let mut lease = Lease::EMPTY;
        for piece in pieces {
            let link = self.adopt(piece.into());
            self.append(&mut lease, link);
        }
        Some(lease)
    }

    /// The bytes of a lease in as few segments as whole links go into.
    fn copies(&self, lease: &Lease) -> Vec<Box<[u8]>> {
        let pieces: Vec<&[u8]> = self.segments(lease).collect();
        let mut rest = pieces.as_slice();
        let mut copies = Vec::new();
        while !rest.is_empty() {
            let (fit, more) = rest.split_at(fitting(rest));
            copies.push(fit.concat().into());
            rest = more;
        }
        copies
    }
}

/// How many of these go into one segment: at least one, as none is longer.
fn fitting(pieces: &[&[u8]]) -> usize {
    let mut bytes = 0;
    let fits = |piece: &&&[u8]| {
        bytes += piece.len();
        bytes <= SEGMENT_MAX
    };
    pieces.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(buffers: &Buffers, lease: &Lease) -> Vec<u8> {
        buffers.segments(lease).flatten().copied().collect()
    }

    #[test]
    fn a_spilled_lease_keeps_its_bytes_and_gives_its_buffers_to_others() {
        let mut buffers = Buffers::new(4, 4);
        let mut lease = buffers.write(b"abcdefghijklm").unwrap();
        buffers.consume(&mut lease, 1);
        assert_eq!(buffers.in_reserve(), 0);
        assert!(buffers.spill(&mut lease));
        assert_eq!((buffers.in_reserve(), buffers.spilled()), (4, 12));
        assert_eq!((lease.len(), lease.buffers()), (12, 1));
        assert_eq!(text(&buffers, &lease), b"bcdefghijklm");
        buffers.release(lease);
        assert_eq!((buffers.free(), buffers.spilled()), (4, 0));
    }

    #[test]
    fn consuming_crosses_from_a_segment_into_buffers() {
        let mut buffers = Buffers::new(4, 4);
        let mut queue = buffers.write(b"abcde").unwrap();
        assert!(buffers.spill(&mut queue));
        let more = buffers.write(b"fghij").unwrap();
        buffers.append(&mut queue, more);
        assert_eq!((queue.len(), queue.buffers()), (10, 3));
        buffers.consume(&mut queue, 7);
        assert_eq!(buffers.spilled(), 0, "the segment was used up");
        assert_eq!(text(&buffers, &queue), b"hij");
        buffers.release(queue);
        assert_eq!(buffers.free(), 4);
    }

    #[test]
    fn a_piece_behind_a_segment_gets_a_buffer_and_the_next_shares_it() {
        let mut buffers = Buffers::new(4, 16);
        let mut queue = buffers.write(b"spilled, ").unwrap();
        assert!(buffers.spill(&mut queue));
        for piece in [b"one, ", b"two. "] {
            let more = buffers.write(piece).unwrap();
            buffers.append(&mut queue, more);
        }
        assert_eq!((queue.buffers(), buffers.in_reserve()), (2, 3));
        assert_eq!(text(&buffers, &queue), b"spilled, one, two. ");
        buffers.release(queue);
    }

    #[test]
    fn at_the_bound_nothing_changes_until_something_is_freed() {
        let mut buffers = Buffers::new(4, 4);
        buffers.limit_spill(6);
        let mut first = buffers.write(b"abcd").unwrap();
        let mut second = buffers.write(b"efg").unwrap();
        assert!(buffers.spill(&mut first));
        assert!(!buffers.spill(&mut second));
        assert!(!buffers.can_spill());
        assert_eq!((buffers.in_reserve(), buffers.spilled()), (3, 4));
        assert_eq!(text(&buffers, &second), b"efg");
        buffers.release(first);
        assert!(buffers.can_spill() && buffers.spill(&mut second));
        assert_eq!((buffers.in_reserve(), buffers.spilled()), (4, 3));
        buffers.release(second);
    }

    #[test]
    fn with_much_spilled_buffers_are_scarce_however_many_are_free() {
        let mut buffers = Buffers::new(1024, 32_768);
        let mut lease = buffers.write(&vec![1; SPARING]).unwrap();
        assert!(buffers.spill(&mut lease));
        assert!(!buffers.is_scarce());
        let mut more = buffers.write(b"x").unwrap();
        assert!(buffers.spill(&mut more));
        assert_eq!(buffers.free(), 1024);
        assert!(buffers.is_scarce());
        buffers.release(lease);
        assert!(!buffers.is_scarce());
        buffers.release(more);
    }

    #[test]
    fn a_queue_that_grows_a_byte_at_a_time_stays_one_segment() {
        let mut buffers = Buffers::new(2, 64);
        let mut queue = Lease::EMPTY;
        for n in 1..=100 {
            let more = buffers.write(b"x").unwrap();
            buffers.append(&mut queue, more);
            assert!(buffers.spill(&mut queue));
            assert_eq!((queue.buffers(), buffers.spilled()), (1, n));
        }
        buffers.release(queue);
    }

    #[test]
    fn a_long_lease_becomes_segments_whose_bounds_fit() {
        let mut buffers = Buffers::new(64, 4096);
        let whole: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut lease = buffers.write(&whole).unwrap();
        assert!(buffers.spill(&mut lease));
        assert_eq!(lease.buffers(), 4, "60 KiB each, and the rest");
        assert_eq!(text(&buffers, &lease), whole);
        buffers.release(lease);
    }

    #[test]
    fn ids_run_out_before_the_table_does() {
        let mut buffers = Buffers::new(32_768, 1);
        let mut leases = Vec::new();
        for n in 0..40_000 {
            let mut lease = buffers.write(b"x").unwrap();
            assert_eq!(buffers.spill(&mut lease), n < IDS_END - 32_768, "at {n}");
            leases.push(lease);
        }
        leases.into_iter().for_each(|lease| buffers.release(lease));
        assert_eq!((buffers.free(), buffers.spilled()), (32_768, 0));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Append(Vec<u8>),
        Consume(prop::sample::Index),
        Spill,
        /// Puts the next queue behind this one.
        Join,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..40).prop_map(Act::Append),
            any::<prop::sample::Index>().prop_map(Act::Consume),
            Just(Act::Spill),
            Just(Act::Join),
        ]
    }

    proptest! {
        #[test]
        fn queues_agree_with_vectors_whatever_is_spilled(
            acts in prop::collection::vec((0..3usize, act()), 1..150),
        ) {
            const COUNT: u16 = 12;
            const BOUND: usize = 96;
            let mut buffers = Buffers::new(COUNT, 8);
            buffers.limit_spill(BOUND);
            let mut queues: [(Lease, Vec<u8>); 3] = Default::default();
            for (at, act) in acts {
                let (lease, model) = &mut queues[at];
                match act {
                    Act::Append(bytes) => {
                        if let Some(more) = buffers.write(&bytes) {
                            buffers.append(lease, more);
                            model.extend(bytes);
                        }
                    }
                    Act::Consume(index) => {
                        let count = index.index(model.len() + 1);
                        buffers.consume(lease, u32::try_from(count).unwrap());
                        model.drain(..count);
                    }
                    Act::Spill => {
                        let before = (buffers.in_reserve(), buffers.spilled());
                        if buffers.spill(lease) {
                            prop_assert_eq!(buffers.in_buffers(lease), 0);
                        } else {
                            prop_assert_eq!((buffers.in_reserve(), buffers.spilled()), before);
                        }
                    }
                    Act::Join => {
                        let (mut more, behind) = std::mem::take(&mut queues[(at + 1) % 3]);
                        let (lease, model) = &mut queues[at];
                        buffers.append(lease, more.take());
                        model.extend(behind);
                    }
                }
                for (lease, model) in &queues {
                    prop_assert_eq!(&text(&buffers, lease), model);
                    prop_assert_eq!(lease.len() as usize, model.len());
                }
                prop_assert!(buffers.spilled() <= BOUND);
            }
            for (lease, _) in queues {
                buffers.release(lease);
            }
            prop_assert_eq!((buffers.free(), buffers.spilled()), (usize::from(COUNT), 0));
        }
    }
}
