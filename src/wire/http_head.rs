//! The head of an HTTP/1 request: where it ends, what it says, and whether every reader will say the same.
//!
//! The head is read to choose a backend and then passed on byte for byte. Nothing can be repaired on the way, so a head
//! that two readers could take in two ways is refused, each kind by its own word ([`Refusal`]). What may be read
//! leniently but need not be (RFC 9112 allows a bare LF, folded lines, spaces before the colon) is refused too: that
//! leniency is what request smuggling is made of. [httparse](https://docs.rs/httparse) holds the grammar; whatever
//! passes here, it accepts with the same fields.
//!
//! Two steps. [`Reader`] looks for the end of the head in bytes that arrive bit by bit, judging each byte once, and
//! refuses control characters as soon as they are there. [`Head`] is then made of the whole. A second request behind
//! the first is none of this module's business.
//!
//! It happens once a connection and is made to be read: 1.4 µs for a browser's 548 bytes, of which 0.3 µs are httparse's;
//! 5 µs when they come one at a time; 0.15 µs a question (`cargo bench --bench wire`, two cores shared with others).

mod fields;
mod forward;
mod framing;
mod head;
mod host;
mod refusal;
mod reply;
mod target;

pub use fields::{Field, Fields};
pub use forward::append;
pub use head::{FIELDS_MAX, Head, Version};
pub use host::Host;
pub use refusal::Refusal;
pub use reply::Status;
pub use target::Scheme;

/// What an HTTP/2 client that knows its server sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes so far amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress<'a> {
    /// More bytes are needed; nothing is wrong yet.
    Partial,
    /// A head, and possibly bytes of the stream behind it.
    Complete(Head<'a>),
    /// HTTP/2 without an upgrade: frames follow, which only the backend understands. Nothing to route by.
    Preface,
    /// No number of further bytes makes a head of this.
    Refused(Refusal),
}

/// Reads `bytes`, all that has come so far, as the head of a request of at most `max` bytes, its empty line included.
///
/// Linear in the bytes. Whoever calls again as more arrive keeps a [`Reader`] instead.
///
/// ```
/// use ringway::wire::http_head::{Progress, parse};
/// let bytes = b"GET /chat?room=7 HTTP/1.1\r\nHost: a.example:9000\r\n\r\nand more";
/// let Progress::Complete(head) = parse(bytes, 16384) else { panic!("that is a head") };
/// assert_eq!((head.path, head.query_argument("room")), ("/chat", Some("7")));
/// assert_eq!(head.host.unwrap().name, "a.example");
/// assert_eq!(&bytes[head.bytes.len()..], b"and more");
/// ```
pub fn parse(bytes: &[u8], max: usize) -> Progress<'_> {
    Reader::default().parse(bytes, max)
}

/// Finds the end of one head as its bytes arrive, however they are cut: each is judged once, so that a head sent a byte
/// at a time costs what it costs in one piece, plus a few instructions a call.
#[derive(Clone, Copy, Default, Debug)]
pub struct Reader {
    /// Bytes that are in order and in which no head ends. A carriage return waits for its line feed outside.
    judged: usize,
}

impl Reader {
    /// As [`parse`]. `bytes` begins with those of the call before, and `max` is the same.
    ///
    /// # Panics
    /// When there are fewer bytes than before, which is the caller's mistake.
    pub fn parse<'a>(&mut self, bytes: &'a [u8], max: usize) -> Progress<'a> {
        let within = &bytes[..bytes.len().min(max)];
        if within.starts_with(PREFACE) {
            return Progress::Preface;
        }
        match self.head(within) {
            Ok(Some(head)) => Progress::Complete(head),
            Ok(None) if within.len() < max => Progress::Partial,
            Ok(None) => Progress::Refused(Refusal::TooLarge),
            Err(refusal) => Progress::Refused(refusal),
        }
    }

    /// The head, if it ends within `bytes`.
    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Head<'a>>, Refusal> {
        // The preface holds an empty line: until it is told apart, that is not the end of a head.
        if PREFACE.starts_with(bytes) {
            return Ok(None);
        }
        self.end(bytes)?
            .map(|end| Head::new(&bytes[..end]))
            .transpose()
    }

    /// Where the first empty line ends, not counting one before the request line.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        assert!(self.judged <= bytes.len(), "bytes that were read are gone");
        while let Some(ahead) = first_control(&bytes[self.judged..]) {
            let at = self.judged + ahead;
            self.judged = at;
            match (bytes[at], bytes.get(at + 1)) {
                (b'\r', None) => return Ok(None),
                (b'\r', Some(b'\n')) if bytes[..at].ends_with(b"\r\n") => return Ok(Some(at + 2)),
                (b'\r', Some(b'\n')) => self.judged = at + 2,
                (b'\r', Some(_)) => return Err(Refusal::BareCr),
                (b'\n', _) => return Err(Refusal::BareLf),
                (0, _) => return Err(Refusal::Nul),
                (_, _) => return Err(Refusal::Control),
            }
        }
        self.judged = bytes.len();
        Ok(None)
    }
}

/// Where the first control character is. Sixteen bytes are judged at once and without a branch, which compilers make a few
/// vector instructions of: lines are some 40 bytes long.
fn first_control(bytes: &[u8]) -> Option<usize> {
    const AT_ONCE: usize = 16;
    let has_control = |chunk: &[u8]| {
        let found = chunk.iter().map(|&byte| is_control(byte));
        found.fold(false, |any, one| any | one)
    };
    let chunks = bytes.chunks_exact(AT_ONCE);
    let clean = chunks.take_while(|chunk| !has_control(chunk)).count() * AT_ONCE;
    let ahead = bytes[clean..].iter().position(|&byte| is_control(byte))?;
    Some(clean + ahead)
}

/// A byte that stands nowhere in a head but as part of a line's end: a control character other than the tab, which
/// is white space within a value (RFC 9110, section 5.5).
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() & (byte != b'\t')
}

#[cfg(test)]
mod tests;
