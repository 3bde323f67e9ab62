//! TLS of an actor. Its script speaks of a stream; what the network carries are records. Each has positions of its own, and
//! this knows which of the one belong to which of the other.
//!
//! TLS is rustls's and its bytes are stored. Keys are as random as ever, but nothing that a world sees depends on them: a record is as
//! long as what it holds makes it. What the program sends is opened as it is sent, so that a wrong byte is found where it was
//! made; what the actor answers waits until it has read so far.

use super::agenda::Agenda;
use super::chance::Chance;
use super::pattern;
use super::tcp::{Side, Tcp};
use crate::ring::Errno;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;
use std::task::Poll;

/// How an actor keeps to TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manners {
    /// Its stream ends with close_notify, then FIN.
    Polite,
    /// Its stream ends with close_notify, and its socket stays open for what it still reads.
    Lingering,
    /// Its stream ends with FIN alone.
    Rude,
    /// It says so many bytes of its first flight and no more, none if it does not speak first, and its script begins at once.
    Cut(usize),
    /// One bit is wrong of the byte at this position behind its first flight. (What is where in a hello is up to chance.)
    Garbled(u64),
}

/// What an actor speaks TLS with.
#[derive(Clone, Debug)]
pub enum Secret {
    /// A client, and the name that it asks for.
    Client(Arc<ClientConfig>, ServerName<'static>),
    /// A backend.
    Server(Arc<ServerConfig>),
}

/// Ends of records and how much of the stream there is before them, ascending.
#[derive(Debug, Default)]
struct Marks(Vec<(u64, u64)>);

impl Marks {
    fn put(&mut self, wire: u64, text: u64) {
        self.0.push((wire, text));
    }

    /// How much of the stream is whole in so many bytes.
    fn text_at(&self, wire: u64) -> u64 {
        let known = self.0.partition_point(|(end, _)| *end <= wire);
        known.checked_sub(1).map_or(0, |at| self.0[at].1)
    }

    fn text(&self) -> u64 {
        self.0.last().map_or(0, |(_, text)| *text)
    }
}

/// One actor's end of TLS.
#[derive(Debug)]
pub(super) struct Tunnel {
    tls: Connection,
    manners: Manners,
    /// For the lengths of records.
    chance: Chance,
    /// All that it has sent, and what follows.
    out: Vec<u8>,
    sealed: Marks,
    /// Bytes that the program has sent.
    heard: u64,
    opened: Marks,
    /// What it says to what was heard, each once it has read so far.
    answers: VecDeque<(u64, Vec<u8>)>,
    /// How far it has to have read for the handshake to be over.
    ready: Option<u64>,
    /// How long its first flight is, if it speaks first.
    first: u64,
    /// Where the last that it says of the handshake ends.
    shaken: Option<u64>,
    /// Where its close_notify ends.
    farewell: Option<u64>,
    /// close_notify was heard.
    closed: bool,
    /// It stopped by itself, or was told with an alert what it did.
    broken: bool,
}

impl Tunnel {
    pub(super) fn new(secret: &Secret, manners: Manners, chance: Chance) -> Self {
        let tls = match secret {
            Secret::Client(config, name) => {
                let tls = ClientConnection::new(Arc::clone(config), name.clone());
                tls.expect("a usable configuration").into()
            }
            Secret::Server(config) => {
                let tls = ServerConnection::new(Arc::clone(config));
                Connection::from(tls.expect("a usable configuration"))
            }
        };
        let mut this = Self {
            tls,
            manners,
            chance,
            out: Vec::new(),
            sealed: Marks::default(),
            heard: 0,
            opened: Marks::default(),
            answers: VecDeque::new(),
            ready: None,
            first: 0,
            shaken: None,
            farewell: None,
            closed: false,
            broken: matches!(manners, Manners::Cut(_)),
        };
        let first = this.written();
        this.out.extend_from_slice(&first);
        this.first = first.len() as u64;
        if let Manners::Cut(len) = manners {
            this.out.truncate(len);
        }
        this
    }

    /// Whether its stream is to arrive whole.
    pub(super) fn is_sound(&self) -> bool {
        match self.manners {
            Manners::Polite | Manners::Lingering | Manners::Rude => true,
            Manners::Cut(_) | Manners::Garbled(_) => false,
        }
    }

    /// Whether its stream ends without close_notify.
    pub(super) fn is_rude(&self) -> bool {
        self.manners == Manners::Rude
    }

    /// Whether its socket stays open when its stream has ended.
    pub(super) fn lingers(&self) -> bool {
        self.manners == Manners::Lingering
    }

    /// Whether its script goes on when it has read so many bytes.
    pub(super) fn is_ready(&self, read: u64) -> bool {
        let is_cut = matches!(self.manners, Manners::Cut(_));
        is_cut || self.ready.is_some_and(|at| at <= read)
    }

    /// Whether the handshake is over for whoever has read so many bytes of what it sends.
    pub(super) fn is_agreed(&self, wire: u64) -> bool {
        self.shaken.is_some_and(|end| end <= wire)
    }

    /// How much of its stream is whole in so many bytes of what it sends.
    pub(super) fn sealed_at(&self, wire: u64) -> u64 {
        self.sealed.text_at(wire)
    }

    /// How much of its stream it has sealed.
    pub(super) fn sealed(&self) -> u64 {
        self.sealed.text()
    }

    /// How much of the other side's stream is in so many bytes of what the program sends.
    pub(super) fn opened_at(&self, wire: u64) -> u64 {
        self.opened.text_at(wire)
    }

    /// How much of the other side's stream the program has sent.
    pub(super) fn opened(&self) -> u64 {
        self.opened.text()
    }

    /// Whether the program has sent close_notify.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether its close_notify is in so many bytes of what it sends.
    pub(super) fn has_left(&self, wire: u64) -> bool {
        self.farewell.is_some_and(|end| end <= wire)
    }

    /// Whether it has said the last that it will.
    pub(super) fn has_parted(&self) -> bool {
        self.farewell.is_some()
    }

    /// Fills `bytes` with what it sends from `position` on.
    pub(super) fn fill(&self, position: u64, bytes: &mut [u8]) {
        let from = usize::try_from(position).expect("all of it is in memory");
        bytes.copy_from_slice(&self.out[from..from + bytes.len()]);
    }

    /// The program sends these bytes: what of the other side's stream is in them.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.heard += bytes.len() as u64;
        let mut text = Vec::new();
        while !bytes.is_empty() && !self.broken {
            let taken = self.tls.read_tls(&mut bytes).map_err(|e| e.to_string())?;
            if taken == 0 {
                return Err("bytes behind close_notify".to_owned());
            }
            match self.tls.process_new_packets() {
                Ok(state) => self.closed = state.peer_has_closed(),
                Err(_) if !self.is_sound() => self.broken = true,
                Err(error) => return Err(error.to_string()),
            }
            // Ends with WouldBlock where there is no more for now.
            let _ = self.tls.reader().read_to_end(&mut text);
        }
        self.opened
            .put(self.heard, self.opened() + text.len() as u64);
        let answer = self.written();
        if !answer.is_empty() {
            self.answers.push_back((self.heard, answer));
        }
        if self.ready.is_none() && !self.tls.is_handshaking() {
            self.ready = Some(self.heard);
        }
        Ok(text)
    }

    /// The actor has read so far.
    pub(super) fn on_read(&mut self, read: u64) {
        while let Some((_, answer)) = self.answers.pop_front_if(|(at, _)| *at <= read) {
            self.put(&answer);
        }
        if self.shaken.is_none() && self.ready.is_some_and(|at| at <= read) {
            self.shaken = Some(self.out.len() as u64);
        }
    }

    /// Seals the next record of its stream, of `most` bytes at most; how many they are. All of them when TLS is broken: nobody
    /// will ever hear them.
    pub(super) fn seal(&mut self, stream: u64, most: u64) -> u64 {
        if self.broken {
            return most;
        }
        assert!(
            self.answers.is_empty(),
            "records go in the order in which they were sealed"
        );
        let longest = 1 << self.chance.below(15);
        let count = self.chance.within(1, most.min(longest));
        let from = self.sealed();
        let mut text = vec![0; usize::try_from(count).expect("a record")];
        pattern::fill(stream, from, &mut text);
        let mut writer = self.tls.writer();
        writer.write_all(&text).expect("room for a record");
        let record = self.written();
        self.put(&record);
        self.sealed.put(self.out.len() as u64, from + count);
        count
    }

    /// Its stream ends.
    pub(super) fn part(&mut self) {
        if self.is_rude() || self.has_parted() || self.broken {
            return;
        }
        self.tls.send_close_notify();
        let record = self.written();
        self.put(&record);
        self.farewell = Some(self.out.len() as u64);
    }

    /// Sends what there is.
    pub(super) fn flush(&self, tcp: &mut Tcp, agenda: &mut Agenda) -> Poll<Result<(), Errno>> {
        loop {
            let left = self.out.len() as u64 - tcp.outgoing(Side::Actor).written;
            if left == 0 {
                return Poll::Ready(Ok(()));
            }
            match tcp.send(Side::Actor, left, agenda) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(errno)) => return Poll::Ready(Err(errno)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn written(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("memory takes all");
        }
        bytes
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        let Manners::Garbled(behind) = self.manners else {
            return;
        };
        let at = self.first + behind;
        let before = (self.out.len() - bytes.len()) as u64;
        if let Some(byte) = at.checked_sub(before).and_then(|at| {
            let at = usize::try_from(before + at).expect("all of it is in memory");
            self.out.get_mut(at)
        }) {
            *byte ^= 1;
        }
    }
}
