//! What the bytes of a stream are: a function of the stream's number and their position, so that a byte that is
//! lost, doubled, moved or delivered to the wrong connection shows at once.

/// SplitMix64's last step: every bit of the input reaches every bit of the output.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The eight bytes of `stream` that begin at eight times `word`.
fn word(stream: u64, word: u64) -> [u8; 8] {
    mix(mix(stream + 1).wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes()
}

/// Fills `bytes` with what `stream` holds from `position` on.
pub(super) fn fill(stream: u64, position: u64, bytes: &mut [u8]) {
    each(stream, position, bytes.len(), |i, byte| bytes[i] = byte);
}

/// The first of `bytes` that is not what `stream` holds from `position` on.
pub(super) fn mismatch(stream: u64, position: u64, bytes: &[u8]) -> Option<usize> {
    let mut found = None;
    each(stream, position, bytes.len(), |i, byte| {
        if bytes[i] != byte && found.is_none() {
            found = Some(i);
        }
    });
    found
}

fn each(stream: u64, position: u64, count: usize, mut see: impl FnMut(usize, u8)) {
    let mut at = position;
    let mut index = 0;
    while index < count {
        let bytes = word(stream, at / 8);
        let skip = usize::try_from(at % 8).expect("under 8");
        for byte in bytes[skip..].iter().take(count - index) {
            see(index, *byte);
            index += 1;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_of_a_stream_is_the_same_however_it_is_cut() {
        let mut whole = [0; 64];
        fill(3, 0, &mut whole);
        for (from, to) in [(0, 64), (1, 9), (7, 8), (13, 50)] {
            let mut piece = vec![0; to - from];
            fill(3, from as u64, &mut piece);
            assert_eq!(piece, whole[from..to]);
            assert_eq!(mismatch(3, from as u64, &piece), None);
        }
    }

    #[test]
    fn a_moved_byte_or_another_stream_is_a_mismatch() {
        let mut bytes = [0; 32];
        fill(3, 0, &mut bytes);
        assert!(mismatch(3, 1, &bytes).is_some());
        assert!(mismatch(4, 0, &bytes).is_some());
        bytes[20] ^= 1;
        assert_eq!(mismatch(3, 0, &bytes), Some(20));
    }
}
