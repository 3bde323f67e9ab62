//! One tick of a feed on the wire, and what a reader checks about it: framing, checksum, order. Pure.
//!
//! All integers are little endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0–3 | magic `RWT1` |
//! | 4–7 | CRC-32 (IEEE) of everything from byte 8 on |
//! | 8–11 | length of the whole message |
//! | 12–15 | publisher |
//! | 16–23 | sequence number, one more than the last |
//! | 24–31 | when it was planned, nanoseconds of CLOCK_MONOTONIC |
//! | 32–39 | when it was sent |
//! | 40– | filler |

use ringway_ring::Time;

/// Bytes of a message without filler: the smallest size of a message.
pub const HEADER: u32 = 40;

/// The largest message: what a reader is willing to gather before it has seen the checksum.
pub const MESSAGE_MAX: u32 = 1 << 20;

const MAGIC: [u8; 4] = *b"RWT1";
const HEADER_BYTES: usize = HEADER as usize;
const CHECKED_FROM: usize = 8;

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who published it.
    pub publisher: u32,
    /// Its place in the publisher's sequence.
    pub sequence: u64,
    /// When the schedule wanted it sent.
    pub planned: Time,
    /// When it was sent.
    pub sent: Time,
}

/// Why bytes are not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadMessage {
    /// No magic, or a length that cannot be: the stream is out of step and nothing behind can be trusted.
    Framing,
    /// The frame is plausible, its checksum does not hold.
    Checksum,
}

impl Message {
    /// Appends the message, `size` bytes with filler, to `out`.
    ///
    /// # Panics
    /// When `size` is not within [`HEADER`]..=[`MESSAGE_MAX`].
    pub fn encode(&self, size: u32, out: &mut Vec<u8>) {
        assert!(
            (HEADER..=MESSAGE_MAX).contains(&size),
            "a message of {size} bytes"
        );
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&self.publisher.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.planned.as_nanos().to_le_bytes());
        out.extend_from_slice(&self.sent.as_nanos().to_le_bytes());
        out.resize(begin + size as usize, b'.');
        let sum = crc32fast::hash(&out[begin + CHECKED_FROM..]);
        out[begin + 4..begin + CHECKED_FROM].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// When `bytes` are not exactly one message.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        if frame_length(bytes)? != Some(bytes.len()) {
            return Err(BadMessage::Framing);
        }
        if crc32fast::hash(&bytes[CHECKED_FROM..]) != u32_at(bytes, 4) {
            return Err(BadMessage::Checksum);
        }
        Ok(Self {
            publisher: u32_at(bytes, 12),
            sequence: u64_at(bytes, 16),
            planned: Time::from_nanos(u64_at(bytes, 24)),
            sent: Time::from_nanos(u64_at(bytes, 32)),
        })
    }
}

/// How long the message that begins with `bytes` is; `None` when its header is not all there yet.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, BadMessage> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err(BadMessage::Framing);
    }
    if bytes.len() < HEADER_BYTES {
        return Ok(None);
    }
    let length = u32_at(bytes, 8);
    if !(HEADER..=MESSAGE_MAX).contains(&length) {
        return Err(BadMessage::Framing);
    }
    Ok(Some(length as usize))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Cuts a byte stream into messages. Keeps the beginning of one whose end has not come, at most [`MESSAGE_MAX`] bytes,
/// and owns no memory until the first message that arrives in pieces.
#[derive(Default, Debug)]
pub struct Framer {
    partial: Vec<u8>,
}

impl Framer {
    /// Takes the next bytes of the stream and calls `each` for every message that they complete. Nothing behind a
    /// [`BadMessage::Framing`] is looked at.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Result<Message, BadMessage>)) {
        while !bytes.is_empty() {
            let step = if self.partial.is_empty() {
                cut_whole(&mut bytes)
            } else {
                self.cut_pieced(&mut bytes)
            };
            match step {
                Ok(Some(message)) => each(message),
                Ok(None) => {
                    self.partial.extend_from_slice(bytes);
                    return;
                }
                Err(bad) => return each(Err(bad)),
            }
        }
    }

    /// Whether the stream stands between two messages.
    pub fn is_between(&self) -> bool {
        self.partial.is_empty()
    }

    /// Completes the kept beginning: first its header, then, when the length is known, the rest.
    fn cut_pieced(&mut self, bytes: &mut &[u8]) -> Cut {
        let kept = self.partial.len();
        let wanted = frame_length(&self.partial)?.unwrap_or(HEADER_BYTES);
        let taken = (wanted - kept).min(bytes.len());
        let (head, tail) = bytes.split_at(taken);
        self.partial.extend_from_slice(head);
        *bytes = tail;
        match frame_length(&self.partial)? {
            Some(length) if length == self.partial.len() => {
                let message = Message::decode(&self.partial);
                self.partial.clear();
                Ok(Some(message))
            }
            Some(_) if !bytes.is_empty() => self.cut_pieced(bytes),
            Some(_) | None => Ok(None),
        }
    }
}

/// A message cut off the front, or `None` when more bytes are needed; an error when there is no next message at all.
type Cut = Result<Option<Result<Message, BadMessage>>, BadMessage>;

fn cut_whole(bytes: &mut &[u8]) -> Cut {
    match frame_length(bytes)? {
        Some(length) if length <= bytes.len() => {
            let (frame, tail) = bytes.split_at(length);
            *bytes = tail;
            Ok(Some(Message::decode(frame)))
        }
        Some(_) | None => Ok(None),
    }
}

/// What a sequence number says about the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The first, or the one after the last.
    Next,
    /// So many are missing before it.
    Gap(u64),
    /// It came before.
    Duplicate,
    /// It is older than the last and had not come.
    Late,
}

/// Which sequence numbers came: the newest and a window of 64 behind it, enough to tell a repetition from a swap.
#[derive(Default, Debug)]
pub struct Sequence(Option<Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    newest: u64,
    /// Bit `n`: `newest - n` came.
    window: u64,
}

impl Sequence {
    /// Takes the next number.
    pub fn check(&mut self, number: u64) -> Order {
        let Some(seen) = &mut self.0 else {
            // What a late subscriber missed before its first message was never meant for it: counts as came.
            self.0 = Some(Seen {
                newest: number,
                window: u64::MAX,
            });
            return Order::Next;
        };
        if number > seen.newest {
            let ahead = number - seen.newest;
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            seen.window = seen.window.checked_shl(shift).unwrap_or(0) | 1;
            seen.newest = number;
            return if ahead == 1 {
                Order::Next
            } else {
                Order::Gap(ahead - 1)
            };
        }
        seen.check_old(number)
    }
}

impl Seen {
    fn check_old(&mut self, number: u64) -> Order {
        let behind = u32::try_from(self.newest - number).unwrap_or(u32::MAX);
        let Some(bit) = 1u64.checked_shl(behind) else {
            return Order::Late;
        };
        if self.window & bit != 0 {
            return Order::Duplicate;
        }
        self.window |= bit;
        Order::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(sequence: u64) -> Message {
        Message {
            publisher: 3,
            sequence,
            planned: Time::from_nanos(1_000 + sequence),
            sent: Time::from_nanos(2_000 + sequence),
        }
    }

    fn stream(count: u64, size: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        (0..count).for_each(|n| tick(n).encode(size, &mut bytes));
        bytes
    }

    fn read(framer: &mut Framer, bytes: &[u8]) -> Vec<Result<Message, BadMessage>> {
        let mut all = Vec::new();
        framer.feed(bytes, |message| all.push(message));
        all
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        for size in [HEADER, HEADER + 1, 128, MESSAGE_MAX] {
            let mut bytes = Vec::new();
            tick(9).encode(size, &mut bytes);
            assert_eq!(bytes.len(), size as usize);
            assert_eq!(Message::decode(&bytes), Ok(tick(9)));
        }
    }

    #[test]
    fn the_checksum_is_the_crc_32_of_ieee() {
        let bytes = stream(1, 64);
        // The check value of CRC-32/ISO-HDLC for "123456789" pins the polynomial.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(u32_at(&bytes, 4), crc32fast::hash(&bytes[8..]));
    }

    #[test]
    fn any_flipped_byte_is_found() {
        let whole = stream(1, 64);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            assert!(Message::decode(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_stream_cut_at_any_place_gives_the_same_messages() {
        let bytes = stream(3, 50);
        for cut in 0..=bytes.len() {
            let mut framer = Framer::default();
            let mut all = read(&mut framer, &bytes[..cut]);
            all.extend(read(&mut framer, &bytes[cut..]));
            assert_eq!(all, [Ok(tick(0)), Ok(tick(1)), Ok(tick(2))], "cut at {cut}");
            assert!(framer.is_between());
        }
    }

    #[test]
    fn a_stream_of_single_bytes_gives_the_same_messages() {
        let mut framer = Framer::default();
        let bytes = stream(2, 45);
        let all: Vec<_> = bytes
            .chunks(1)
            .flat_map(|byte| read(&mut framer, byte))
            .collect();
        assert_eq!(all, [Ok(tick(0)), Ok(tick(1))]);
    }

    #[test]
    fn a_broken_checksum_leaves_the_messages_behind_it_readable() {
        let mut bytes = stream(2, 50);
        bytes[49] ^= 1;
        let all = read(&mut Framer::default(), &bytes);
        assert_eq!(all, [Err(BadMessage::Checksum), Ok(tick(1))]);
    }

    #[test]
    fn a_lost_byte_ends_the_stream() {
        let mut bytes = stream(3, 50);
        bytes.remove(70);
        let all = read(&mut Framer::default(), &bytes);
        assert_eq!(
            all,
            [
                Ok(tick(0)),
                Err(BadMessage::Checksum),
                Err(BadMessage::Framing)
            ]
        );
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_it_is_gathered() {
        let mut bytes = stream(1, 50);
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut framer = Framer::default();
        assert_eq!(read(&mut framer, &bytes[..41]), [Err(BadMessage::Framing)]);
    }

    #[test]
    fn a_sequence_may_begin_anywhere_and_goes_up_by_one() {
        let mut sequence = Sequence::default();
        let orders = [77, 78, 79].map(|n| sequence.check(n));
        assert_eq!(orders, [Order::Next; 3]);
    }

    #[test]
    fn a_swapped_pair_is_a_gap_and_a_late_one() {
        let mut sequence = Sequence::default();
        let orders = [5, 7, 6, 8].map(|n| sequence.check(n));
        assert_eq!(
            orders,
            [Order::Next, Order::Gap(1), Order::Late, Order::Next]
        );
    }

    #[test]
    fn a_repeated_number_is_a_duplicate() {
        let mut sequence = Sequence::default();
        let orders = [5, 6, 6, 5, 7].map(|n| sequence.check(n));
        assert_eq!(
            orders,
            [
                Order::Next,
                Order::Next,
                Order::Duplicate,
                Order::Duplicate,
                Order::Next
            ]
        );
    }

    #[test]
    fn a_jump_wider_than_the_window_is_one_gap() {
        let mut sequence = Sequence::default();
        let orders = [0, 1_000_000, 999_999, 3].map(|n| sequence.check(n));
        assert_eq!(
            orders,
            [Order::Next, Order::Gap(999_999), Order::Late, Order::Late]
        );
    }
}
