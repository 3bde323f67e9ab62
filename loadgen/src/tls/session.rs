//! One connection's TLS: opens what came, seals what goes. Sealed bytes wait here until a buffer is free.

use crate::fault::Fault;
use ringway_ring::{Buffers, Lease};
use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, HandshakeKind};
use std::io::{BufRead, Write};
use std::sync::Arc;

/// TLS on one socket.
pub(crate) struct Session {
    tls: Box<ClientConnection>,
    /// Sealed and not in a lease yet.
    sealed: Vec<u8>,
    /// close_notify came.
    closed: bool,
}

/// What was found in received bytes.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) text: Lease,
    /// TLS broke behind it.
    pub(crate) fault: Option<Fault>,
}

impl Session {
    pub(super) fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        let tls = ClientConnection::new(config, name);
        let mut tls = Box::new(tls.expect("a configuration with suites, and random numbers"));
        // One lease at a time is sealed, and what is not sent yet is not asked for again.
        tls.set_buffer_limit(None);
        Self {
            tls,
            sealed: Vec::new(),
            closed: false,
        }
    }

    /// Once the handshake is over: whether it was of a session that had been before.
    pub(crate) fn agreed(&self) -> Option<HandshakeKind> {
        let is_over = !self.tls.is_handshaking();
        is_over.then(|| self.tls.handshake_kind()).flatten()
    }

    /// Whether the server's stream has had its orderly end.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Opens what came.
    pub(crate) fn open(&mut self, came: Lease, buffers: &mut Buffers) -> Opened {
        let mut text = Vec::new();
        let mut fault = None;
        for bytes in buffers.segments(&came) {
            if let Err(broken) = self.hear(bytes, &mut text) {
                fault = Some(broken);
                break;
            }
        }
        // Before the text needs buffers.
        buffers.release(came);
        let mut lease = Lease::EMPTY;
        if !buffers.extend(&mut lease, &text) {
            fault = fault.or(Some(Fault::Socket));
        }
        Opened { text: lease, fault }
    }

    fn hear(&mut self, mut bytes: &[u8], text: &mut Vec<u8>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            // Behind close_notify it takes none: what comes there is not part of the stream.
            let took = self.tls.read_tls(&mut bytes).map_err(|_| Fault::Tls)?;
            if took == 0 {
                return Ok(());
            }
            let state = self.tls.process_new_packets().map_err(|e| fault_of(&e))?;
            self.closed |= state.peer_has_closed();
            let mut reader = self.tls.reader();
            // An error is that there is no more now.
            while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
                text.extend_from_slice(chunk);
                let len = chunk.len();
                reader.consume(len);
            }
        }
        Ok(())
    }

    /// Seals `text`; it goes out with [`take`](Self::take).
    pub(crate) fn seal(&mut self, text: Lease, buffers: &mut Buffers) {
        for bytes in buffers.segments(&text) {
            let written = self.tls.writer().write_all(bytes);
            written.expect("no limit, and the handshake is over");
        }
        buffers.release(text);
    }

    /// Seals close_notify: nothing is sealed after it.
    pub(crate) fn say_farewell(&mut self) {
        self.tls.send_close_notify();
    }

    /// What is to go out: sealed text, and what TLS has to say itself. Empty if there is nothing; `None`, and it waits, while too few
    /// buffers are free.
    pub(crate) fn take(&mut self, buffers: &mut Buffers) -> Option<Lease> {
        while self.tls.wants_write() {
            let written = self.tls.write_tls(&mut self.sealed);
            written.expect("memory takes all");
        }
        let lease = buffers.write(&self.sealed)?;
        self.sealed.clear();
        Some(lease)
    }

    /// Whether sealed bytes wait for a buffer.
    pub(crate) fn is_backed_up(&self) -> bool {
        !self.sealed.is_empty()
    }
}

fn fault_of(error: &Error) -> Fault {
    if matches!(error, Error::InvalidCertificate(_)) {
        Fault::Certificate
    } else {
        Fault::Tls
    }
}
