//! Frames (RFC 6455, section 5): what a client sends is masked, what a server sends is not.

/// The longest payload of a WebSocket's frame here: what a length of two bytes can tell.
pub const PAYLOAD_MAX: u32 = 65_535;

/// The longest whose length fits the second byte, and the longest of a control frame.
const SHORT_MAX: usize = 125;

/// Says that two bytes of length follow.
const TWO_BYTES: u8 = 126;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// A client's mask.
pub(crate) type Mask = [u8; 4];

const MASK_BYTES: usize = size_of::<Mask>();

/// What a frame is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A client's frame, unmasked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    /// Whether its message ends with it.
    pub(crate) is_last: bool,
    pub(crate) payload: Vec<u8>,
}

/// Bytes that are no client's frame, or one with a payload over [`PAYLOAD_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadFrame;

impl Opcode {
    fn of(number: u8) -> Result<Self, BadFrame> {
        const ALL: [Opcode; 6] = [
            Opcode::Continuation,
            Opcode::Text,
            Opcode::Binary,
            Opcode::Close,
            Opcode::Ping,
            Opcode::Pong,
        ];
        let known = ALL.into_iter().find(|opcode| *opcode as u8 == number);
        known.ok_or(BadFrame)
    }

    fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

impl Frame {
    /// The client's frame that `bytes` begin with, and how many of them it is; `None` when it is not all there yet.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadFrame> {
        let Some((head, rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let [kind, length] = *head;
        let (opcode, is_last) = (Opcode::of(kind & 0x0f)?, kind & FIN != 0);
        let is_whole = is_last && usize::from(length & !MASKED) <= SHORT_MAX;
        if kind & RESERVED != 0 || length & MASKED == 0 || opcode.is_control() && !is_whole {
            return Err(BadFrame);
        }
        let Some((length, rest)) = payload_length(length & !MASKED, rest)? else {
            return Ok(None);
        };
        let Some((mask, rest)) = rest.split_first_chunk::<MASK_BYTES>() else {
            return Ok(None);
        };
        let Some(masked) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Self {
            opcode,
            is_last,
            payload: with_mask(masked, *mask).collect(),
        };
        Ok(Some((frame, bytes.len() - rest.len() + length)))
    }

    /// Appends it as a server sends it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        encode_head(self.opcode, self.is_last, self.payload.len(), 0, out);
        out.extend_from_slice(&self.payload);
    }
}

/// A text as a client sends it, in one frame.
pub(crate) fn masked_text(payload: &[u8], mask: Mask) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_head(Opcode::Text, true, payload.len(), MASKED, &mut frame);
    frame.extend_from_slice(&mask);
    frame.extend(with_mask(payload, mask));
    frame
}

/// The same as a server sends it.
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_head(Opcode::Text, true, payload.len(), 0, &mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// The length, which must be told as shortly as can be, and the bytes behind it.
fn payload_length(short: u8, rest: &[u8]) -> Result<Option<(usize, &[u8])>, BadFrame> {
    match short {
        ..TWO_BYTES => Ok(Some((usize::from(short), rest))),
        TWO_BYTES => match rest.split_first_chunk::<2>() {
            None => Ok(None),
            Some((bytes, rest)) => match usize::from(u16::from_be_bytes(*bytes)) {
                ..=SHORT_MAX => Err(BadFrame),
                length => Ok(Some((length, rest))),
            },
        },
        _ => Err(BadFrame),
    }
}

fn encode_head(opcode: Opcode, is_last: bool, length: usize, masked: u8, out: &mut Vec<u8>) {
    let fin = if is_last { FIN } else { 0 };
    out.push(fin | opcode as u8);
    match u8::try_from(length) {
        Ok(short) if usize::from(short) <= SHORT_MAX => out.push(masked | short),
        Ok(_) | Err(_) => {
            let length = u16::try_from(length).expect("payloads are at most PAYLOAD_MAX");
            out.push(masked | TWO_BYTES);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

fn with_mask(payload: &[u8], mask: Mask) -> impl Iterator<Item = u8> {
    payload
        .iter()
        .zip(mask.into_iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Hello" masked and unmasked, from RFC 6455, section 5.7.
    const MASKED_HELLO: &[u8] = &[
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    const HELLO: &[u8] = &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];

    #[test]
    fn the_examples_of_rfc_6455_are_read_and_written() {
        let (frame, len) = Frame::decode(MASKED_HELLO).unwrap().unwrap();
        assert_eq!((frame.opcode, frame.is_last), (Opcode::Text, true));
        assert_eq!(
            (&frame.payload[..], len),
            (&b"Hello"[..], MASKED_HELLO.len())
        );
        assert_eq!(
            masked_text(b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            MASKED_HELLO
        );
        assert_eq!(text(b"Hello"), HELLO);
        let mut echo = Vec::new();
        frame.encode(&mut echo);
        assert_eq!(echo, HELLO);
    }

    #[test]
    fn every_way_to_tell_a_length_is_read_back() {
        for length in [0, 1, 125, 126, 127, 255, 256, PAYLOAD_MAX as usize] {
            let payload = vec![b'x'; length];
            let mut bytes = masked_text(&payload, [1, 2, 3, 4]);
            let whole = bytes.len();
            bytes.extend_from_slice(b"more");
            let (frame, len) = Frame::decode(&bytes).unwrap().unwrap();
            assert_eq!((frame.payload, len), (payload, whole));
        }
    }

    #[test]
    fn a_frame_in_pieces_waits_for_its_end() {
        let bytes = masked_text(&[b'x'; 130], [1, 2, 3, 4]);
        for cut in 0..bytes.len() {
            assert_eq!(Frame::decode(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn a_part_of_a_message_is_sent_on_as_one() {
        let (frame, _) = Frame::decode(&[0x01, 0x81, 0, 0, 0, 0, b'a'])
            .unwrap()
            .unwrap();
        let mut echo = Vec::new();
        frame.encode(&mut echo);
        assert_eq!(echo, [0x01, 0x01, b'a']);
    }

    #[test]
    fn what_no_client_may_send_is_refused() {
        for (bytes, what) in [
            (&[0x81, 0x05][..], "no mask"),
            (&[0xc1, 0x85], "a reserved bit"),
            (&[0x83, 0x85], "a reserved opcode"),
            (&[0x09, 0x80], "a ping in parts"),
            (&[0x89, 0xfe], "a long ping"),
            (&[0x81, 0xff], "a length of eight bytes"),
            (&[0x81, 0xfe, 0, 125], "two bytes for a short length"),
        ] {
            assert_eq!(Frame::decode(bytes), Err(BadFrame), "{what}");
        }
    }
}
