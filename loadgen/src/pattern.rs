//! Bytes that tell where in a stream they belong: the content of echoes, churn requests and bulk.
//!
//! One table of noise is repeated for ever; a stream starts reading it at its own origin. Writing is a copy and checking
//! a comparison of slices, so neither costs more than touching the memory. Pure.

/// A prime, so that no page, segment or pipe is a multiple of it: a piece lost, doubled or swapped shifts what follows
/// against the table and is found.
const PERIOD: usize = 65_521;

/// The longest slice that [`Pattern::at`] gives.
pub(crate) const SLICE_MAX: usize = 65_536;

/// The table, long enough that a slice can start anywhere in the period.
pub(crate) struct Pattern(Box<[u8]>);

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| next_byte(&mut state))
            .take(PERIOD)
            .collect();
        let whole = noise.iter().cycle().take(PERIOD + SLICE_MAX);
        Self(whole.copied().collect())
    }

    /// The `len` bytes (at most [`SLICE_MAX`]) of the stream `origin` from `position` on.
    pub(crate) fn at(&self, origin: Origin, position: u64, len: usize) -> &[u8] {
        let start = (origin.0 + position % PERIOD as u64) % PERIOD as u64;
        let start = usize::try_from(start).expect("below the period");
        &self.0[start..start + len]
    }

    /// Whether `bytes`, of any length, are what the stream `origin` has from `position` on.
    pub(crate) fn matches(&self, origin: Origin, mut position: u64, bytes: &[u8]) -> bool {
        bytes.chunks(SLICE_MAX).all(|piece| {
            let expected = self.at(origin, position, piece.len());
            position += piece.len() as u64;
            expected == piece
        })
    }
}

/// Where in the table a stream starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin(u64);

impl Origin {
    /// Streams with different ids start at different places (but for one pair in 65,521), so that bytes of one
    /// connection that turn up on another are found.
    pub(crate) fn of(id: u64) -> Self {
        Self(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % PERIOD as u64)
    }
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016): the top byte.
fn next_byte(state: &mut u64) -> u8 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = 9_999_999_999;

    #[test]
    fn a_stream_matches_itself_across_the_period() {
        let pattern = Pattern::new();
        let origin = Origin::of(7);
        let mut stream = pattern.at(origin, FAR, SLICE_MAX).to_vec();
        stream.extend_from_slice(pattern.at(origin, FAR + SLICE_MAX as u64, SLICE_MAX));
        assert!(pattern.matches(origin, FAR, &stream));
    }

    #[test]
    fn one_flipped_bit_is_found() {
        let pattern = Pattern::new();
        let mut stream = pattern.at(Origin::of(7), 0, 4096).to_vec();
        stream[4095] ^= 1;
        assert!(!pattern.matches(Origin::of(7), 0, &stream));
    }

    #[test]
    fn a_lost_page_is_found() {
        let pattern = Pattern::new();
        let stream = pattern.at(Origin::of(7), 4096, 4096);
        assert!(!pattern.matches(Origin::of(7), 0, stream));
    }

    #[test]
    fn the_bytes_of_another_stream_are_found() {
        let pattern = Pattern::new();
        let stream = pattern.at(Origin::of(7), 0, 64);
        assert!(!pattern.matches(Origin::of(8), 0, stream));
    }
}
