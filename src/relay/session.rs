//! TLS on one socket: opens what came, seals what goes. rustls holds the keys and judges the peer; this owns the
//! bytes around it: a record that has come in part, and what TLS itself has to say.
//!
//! Whole records alone are handed to rustls, gathered in the worker's [`Desk`] and never in memory of the session's own. So a session at
//! rest holds no byte of either text, and its `Lease`s are empty.

use super::{Desk, Fault};
use crate::ring::{Buffers, Lease};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};
use std::fmt;
use std::sync::Arc;

/// Plaintext in one record at most (RFC 8446, section 5.1).
const TEXT_MAX: usize = 16 << 10;

/// Bytes before the body of each record: type, version, length.
const HEADER: usize = 5;

/// A record's body at most: 256 bytes more than TLS 1.3 allows, and 2,048 more than its text as TLS 1.2 does (RFC 5246,
/// section 6.2.3). rustls refuses what is too long for the version.
const BODY_MAX: usize = TEXT_MAX + 2048;

/// More than sealing adds to one record in any version and suite: header, explicit nonce or type, tag.
const SEAL_MAX: usize = 64;

/// How a session stands with its peer's side of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hearing {
    /// More may come.
    Open,
    /// close_notify came: whatever follows is not part of the stream.
    Closed,
    /// The socket ended without close_notify.
    Truncated,
    /// TLS is broken.
    Broken,
}

/// What was found in received bytes.
#[derive(Debug)]
pub struct Opened {
    /// Plaintext; empty as long as no record of it is whole.
    pub text: Lease,
    /// TLS broke behind it.
    pub failure: Option<Broken>,
}

/// Why a session cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The peer's doing.
    Tls(Fault),
    /// There is no memory for the bytes.
    NoRoom,
}

/// TLS on one socket.
pub struct Session {
    core: Core,
    /// Records that are not whole yet, or that rustls wants to see again.
    partial: Lease,
    /// How many bytes of `partial` rustls has seen and not let go: pieces of a handshake message in several records.
    kept: usize,
    /// To go out before anything that is sealed from now on.
    pending: Lease,
    hearing: Hearing,
    established: bool,
    /// Nothing more can be sealed: close_notify or an alert went out.
    silent: bool,
}

enum Core {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl Session {
    /// With a client that connects to us.
    ///
    /// # Errors
    /// When the configuration cannot be used (no memory, no entropy).
    pub fn server(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        let core = UnbufferedServerConnection::new(Arc::clone(config))?;
        Ok(Self::new(Core::Server(Box::new(core))))
    }

    /// With a backend that we connected to. [`open`](Self::open) with nothing makes the first flight.
    ///
    /// # Errors
    /// When the configuration cannot be used for this name.
    pub fn client(config: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<Self, Error> {
        let core = UnbufferedClientConnection::new(Arc::clone(config), name.clone())?;
        Ok(Self::new(Core::Client(Box::new(core))))
    }

    fn new(core: Core) -> Self {
        Self {
            core,
            partial: Lease::EMPTY,
            kept: 0,
            pending: Lease::EMPTY,
            hearing: Hearing::Open,
            established: false,
            silent: false,
        }
    }

    /// What was agreed on.
    pub fn agreed(&self) -> &CommonState {
        match &self.core {
            Core::Server(core) => core,
            Core::Client(core) => core,
        }
    }

    /// Whether the handshake is over.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the peer's stream has ended, in order or not: nothing that comes from now on is part of it.
    pub fn has_ended(&self) -> bool {
        self.hearing != Hearing::Open
    }

    /// Whether the peer's stream was cut off: its socket ended, and close_notify had not come.
    pub fn is_truncated(&self) -> bool {
        self.hearing == Hearing::Truncated
    }

    /// The peer's socket ended.
    pub fn on_fin(&mut self) {
        if self.hearing == Hearing::Open {
            self.hearing = Hearing::Truncated;
        }
    }

    /// Whether TLS has something of its own to say.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What TLS itself has to say: a flight of the handshake, an alert.
    pub fn take_pending(&mut self) -> Lease {
        self.pending.take()
    }

    /// Opens what came. Records that are not whole are kept for the next time.
    pub fn open(&mut self, came: Lease, buffers: &mut Buffers, desk: &mut Desk) -> Opened {
        if self.has_ended() {
            buffers.release(came);
            return Opened::nothing();
        }
        buffers.append(&mut self.partial, came);
        let whole = self.whole(buffers);
        let first = self.is_first_flight();
        if whole == self.kept && !first {
            return Opened::nothing();
        }
        desk.text.clear();
        buffers.copy_front(&self.partial, whole, &mut desk.text);
        consume(&mut self.partial, whole, buffers);
        let mut drive = Drive {
            buffers,
            sealed: &mut desk.sealed,
            sealed_len: 0,
            text: Lease::EMPTY,
            room: true,
        };
        let (taken, end) = match &mut self.core {
            Core::Server(core) => drive.run(core.as_mut(), &mut desk.text),
            Core::Client(core) => drive.run(core.as_mut(), &mut desk.text),
        };
        let Drive {
            text,
            sealed_len,
            mut room,
            ..
        } = drive;
        room &= self.keep(&desk.text[taken..], buffers);
        room &= buffers.extend(&mut self.pending, &desk.sealed[..sealed_len]);
        let failure = self.on_end(&end, room);
        if self.has_ended() {
            buffers.release(self.partial.take());
            self.kept = 0;
        }
        Opened { text, failure }
    }

    /// Seals what is to go out: what TLS has to say itself, then `text` in as few records as it goes into.
    ///
    /// # Errors
    /// When the keys are used up (TLS 1.2, after 2^24 records: RFC 9325, section 4.4, has no other way), or there is no room.
    pub fn seal(
        &mut self,
        mut text: Lease,
        buffers: &mut Buffers,
        desk: &mut Desk,
    ) -> Result<Lease, Broken> {
        let mut out = self.pending.take();
        let mut kept = self.kept_bytes(buffers);
        let mut result = match self.silent && !text.is_empty() {
            true => Err(Broken::Tls(INTERNAL)),
            false => Ok(()),
        };
        while !text.is_empty() && result.is_ok() {
            let piece = next_piece(&text, buffers, &mut desk.text);
            let taken = piece.len();
            let sealed = match &mut self.core {
                Core::Server(core) => seal_piece(core.as_mut(), &mut kept, piece, &mut desk.sealed),
                Core::Client(core) => seal_piece(core.as_mut(), &mut kept, piece, &mut desk.sealed),
            };
            // Its buffers are free before the sealed bytes need some.
            consume(&mut text, taken, buffers);
            result = sealed.and_then(|len| {
                let room = buffers.extend(&mut out, &desk.sealed[..len]);
                room.then_some(()).ok_or(Broken::NoRoom)
            });
        }
        if let Err(broken) = result {
            buffers.release(text);
            buffers.release(out);
            self.silent = true;
            return Err(broken);
        }
        Ok(out)
    }

    /// The last that goes out: close_notify, once. Empty when it went out before, or TLS is broken.
    pub fn farewell(&mut self, buffers: &mut Buffers, desk: &mut Desk) -> Lease {
        let mut out = self.pending.take();
        if !self.established || self.silent {
            return out;
        }
        self.silent = true;
        let mut kept = self.kept_bytes(buffers);
        let len = match &mut self.core {
            Core::Server(core) => close(core.as_mut(), &mut kept, &mut desk.sealed),
            Core::Client(core) => close(core.as_mut(), &mut kept, &mut desk.sealed),
        };
        // Without room for it the peer sees a stream that was cut off, and takes it for what it may be.
        buffers.extend(&mut out, &desk.sealed[..len]);
        out
    }

    /// Others need buffers: moves what waits for the rest of its record out of them.
    pub fn shed(&mut self, buffers: &mut Buffers) {
        buffers.spill(&mut self.partial);
    }

    /// Gives back what it holds.
    pub fn release(&mut self, buffers: &mut Buffers) {
        buffers.release(self.partial.take());
        buffers.release(self.pending.take());
        self.kept = 0;
    }

    /// A client's hello goes out before anything came.
    fn is_first_flight(&self) -> bool {
        matches!(&self.core, Core::Client(_)) && !self.established && self.partial.is_empty()
    }

    /// How many bytes at the front of `partial` rustls can do something with.
    fn whole(&self, buffers: &Buffers) -> usize {
        let len = self.partial.len() as usize;
        let mut at = self.kept;
        while let Some(header) = header_at(buffers, &self.partial, at) {
            match record_len(header) {
                // It never will be a record: rustls says so, and with which alert.
                None => return len,
                Some(record) if at + record > len => break,
                Some(record) => at += record,
            }
        }
        at
    }

    /// Puts back what rustls wants to see again, in front of what it has not seen.
    fn keep(&mut self, again: &[u8], buffers: &mut Buffers) -> bool {
        self.kept = again.len();
        let mut front = Lease::EMPTY;
        let room = buffers.extend(&mut front, again);
        buffers.append(&mut front, self.partial.take());
        self.partial = front;
        room
    }

    /// What rustls has to see at the front of whatever it is shown, lest it panics: the pieces of a message that it knows by
    /// their place. Nearly always nothing.
    fn kept_bytes(&self, buffers: &Buffers) -> Vec<u8> {
        let mut kept = Vec::new();
        buffers.copy_front(&self.partial, self.kept, &mut kept);
        kept
    }

    fn on_end(&mut self, end: &End, room: bool) -> Option<Broken> {
        let broken = match end {
            End::Broken(fault) => Some(Broken::Tls(*fault)),
            _ if !room => Some(Broken::NoRoom),
            End::Blocked => None,
            End::Established { closed } => {
                self.established = true;
                if *closed {
                    self.hearing = Hearing::Closed;
                }
                None
            }
        };
        if broken.is_some() {
            self.hearing = Hearing::Broken;
            self.silent = true;
        }
        broken
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Session({:?}, {:?}, {:?})",
            self.agreed().protocol_version(),
            self.hearing,
            self.partial
        )
    }
}

impl Opened {
    fn nothing() -> Self {
        Self {
            text: Lease::EMPTY,
            failure: None,
        }
    }
}

/// The two kinds of connections, which rustls gives one method each and no trait.
trait Records {
    type Data;

    /// Whether it has something to say by itself, which is then the first that [`records`](Self::records) comes to.
    fn has_words(&self) -> bool;

    fn records<'c, 'i>(&'c mut self, came: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn has_words(&self) -> bool {
        self.wants_write()
    }

    fn records<'c, 'i>(&'c mut self, came: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(came)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn has_words(&self) -> bool {
        self.wants_write()
    }

    fn records<'c, 'i>(&'c mut self, came: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(came)
    }
}

/// How far rustls came with what it was given.
enum End {
    /// The handshake goes on.
    Blocked,
    /// The handshake is over; perhaps the peer's stream, too.
    Established { closed: bool },
    /// So is everything.
    Broken(Fault),
}

/// Takes rustls through its states until it needs more.
struct Drive<'a> {
    buffers: &'a mut Buffers,
    sealed: &'a mut Vec<u8>,
    sealed_len: usize,
    text: Lease,
    /// There was room for all text so far.
    room: bool,
}

impl Drive<'_> {
    /// How many bytes rustls is done with, and where it stands. Each step takes bytes, gives some, or is the last.
    fn run<C: Records>(&mut self, core: &mut C, came: &mut [u8]) -> (usize, End) {
        let mut at = 0;
        let mut closed = false;
        let end = loop {
            let UnbufferedStatus { mut discard, state } = core.records(&mut came[at..]);
            let end = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        // Nothing follows what was lost: a shorter record might find the room that a longer one did not.
                        self.room =
                            self.room && self.buffers.extend(&mut self.text, record.payload);
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    self.sealed_len = encode(data, self.sealed, self.sealed_len);
                    None
                }
                // Whoever asked us has it go out.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    closed = true;
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(End::Blocked),
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
                    Some(End::Established { closed })
                }
                // Early data is not offered and so never accepted; states of a later rustls are none of ours.
                Ok(_) => Some(End::Broken(INTERNAL)),
                Err(error) => Some(End::Broken(Fault::of(&error))),
            };
            at += discard;
            if let Some(end) = end {
                break end;
            }
        };
        if matches!(end, End::Broken(_)) {
            // The alert.
            self.sealed_len = drain(core, self.sealed, self.sealed_len);
        }
        (at, end)
    }
}

/// Takes out what TLS has to say by itself, behind the first `len` bytes; how many there are then. Does not look at
/// what was received.
fn drain<C: Records>(core: &mut C, sealed: &mut Vec<u8>, mut len: usize) -> usize {
    while core.has_words()
        && let Ok(ConnectionState::EncodeTlsData(data)) = core.records(&mut []).state
    {
        len = encode(data, sealed, len);
    }
    len
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, sealed: &mut Vec<u8>, len: usize) -> usize {
    // Without room it says how much it needs.
    let Err(EncodeError::InsufficientSize(missing)) = data.encode(&mut []) else {
        return len;
    };
    let out = room(sealed, len + missing.required_size);
    len + data
        .encode(&mut out[len..])
        .expect("room for what it needs")
}

/// What rustls says of our own misuse of it.
const INTERNAL: Fault = Fault::Broke("internal");

/// At least `len` bytes. What is in them does not matter.
fn room(bytes: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
    bytes
}

/// Seals one record; how many bytes it is. A new key may be told of before it.
fn seal_piece<C: Records>(
    core: &mut C,
    kept: &mut [u8],
    piece: &[u8],
    sealed: &mut Vec<u8>,
) -> Result<usize, Broken> {
    let at = drain(core, sealed, 0);
    let sealing = with_traffic(core, kept, |traffic| {
        let out = room(sealed, at + piece.len() + SEAL_MAX);
        let mut result = traffic.encrypt(piece, &mut out[at..]);
        if let Err(EncryptError::InsufficientSize(missing)) = &result {
            let out = room(sealed, at + missing.required_size);
            result = traffic.encrypt(piece, &mut out[at..]);
        }
        result.map_err(|_| Broken::Tls(Fault::Broke("keys-used-up")))
    });
    Ok(at + sealing.unwrap_or(Err(Broken::Tls(INTERNAL)))?)
}

/// Seals close_notify; how many bytes it is.
fn close<C: Records>(core: &mut C, kept: &mut [u8], sealed: &mut Vec<u8>) -> usize {
    let at = drain(core, sealed, 0);
    let closing = with_traffic(core, kept, |traffic| {
        let out = room(sealed, at + HEADER + SEAL_MAX);
        traffic.queue_close_notify(&mut out[at..]).unwrap_or(0)
    });
    at + closing.unwrap_or(0)
}

/// Lets something be sealed, once what was said before counts as sent. `None` if nothing can be.
fn with_traffic<C: Records, T>(
    core: &mut C,
    kept: &mut [u8],
    seal: impl FnOnce(&mut WriteTraffic<'_, C::Data>) -> T,
) -> Option<T> {
    match core.records(kept).state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => Some(seal(&mut traffic)),
        Ok(ConnectionState::TransmitTlsData(mut data)) => {
            let sealed = data
                .may_encrypt_app_data()
                .map(|mut traffic| seal(&mut traffic));
            data.done();
            sealed
        }
        Ok(_) | Err(_) => None,
    }
}

/// What goes into the next record: copied together where it is in several buffers.
fn next_piece<'a>(text: &'a Lease, buffers: &'a Buffers, gathered: &'a mut Vec<u8>) -> &'a [u8] {
    let first = buffers.bytes(text);
    let len = (text.len() as usize).min(TEXT_MAX);
    if first.len() >= len {
        return &first[..len];
    }
    gathered.clear();
    buffers.copy_front(text, len, gathered);
    gathered
}

fn consume(lease: &mut Lease, count: usize, buffers: &mut Buffers) {
    let count = u32::try_from(count).expect("less than a lease");
    buffers.consume(lease, count);
}

/// The header of the record that begins at `at`, if all of it has come.
fn header_at(buffers: &Buffers, lease: &Lease, at: usize) -> Option<[u8; HEADER]> {
    let mut skip = at;
    let mut header = [0; HEADER];
    let mut have = 0;
    for piece in buffers.segments(lease) {
        let rest = &piece[skip.min(piece.len())..];
        skip -= piece.len() - rest.len();
        let take = rest.len().min(HEADER - have);
        header[have..have + take].copy_from_slice(&rest[..take]);
        have += take;
        if have == HEADER {
            return Some(header);
        }
    }
    None
}

/// Bytes of a record with this header, which is none if no record has such a header.
fn record_len([kind, major, _, high, low]: [u8; HEADER]) -> Option<usize> {
    // change_cipher_spec, alert, handshake, application_data; version 3.x.
    let is_tls = (20..=23).contains(&kind) && major == 3;
    let body = usize::from(u16::from_be_bytes([high, low]));
    (is_tls && body <= BODY_MAX).then_some(HEADER + body)
}

#[cfg(test)]
mod tests;
