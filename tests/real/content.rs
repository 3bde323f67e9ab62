//! What files and values hold, and how it is compared with what arrived.

/// `count` bytes of an endless stream that never repeats, from `at` on: a byte lost, doubled or swapped anywhere shows,
/// however long the file.
pub(crate) fn content(at: usize, count: usize) -> Vec<u8> {
    let word = |n: usize| {
        // The golden ratio, as in SplitMix64: neighbours have nothing in common.
        (n as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_le_bytes()
    };
    let words = at / 8..(at + count).div_ceil(8);
    let bytes: Vec<u8> = words.flat_map(word).collect();
    bytes[at % 8..at % 8 + count].to_vec()
}

/// Panics unless both are the same, without printing them.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], sent: &[u8]) {
    let differs = got.iter().zip(sent).position(|(a, b)| a != b);
    let (have, want) = (got.len(), sent.len());
    assert!(
        got == sent,
        "{have} bytes instead of {want}; first difference at {differs:?}"
    );
}
