//! What must hold in every world. Looked at when bytes and FINs move, and at the end.

use super::tcp::{Fin, Side};
use super::world::World;
use crate::ring::Tag;
use std::time::Duration;

/// How soon after a reply and FIN a reset is too soon: the client may not have read them yet. Half of what a proxy that
/// lingers for a second promises; what is left pays for a slow kernel.
const LET_GO_MIN: Duration = Duration::from_millis(500);

impl World {
    /// The program sent `bytes` on a connection, now counted in: they must be what its partner is to pass on at this
    /// position, or a reply to one that has none.
    pub(super) fn check_sent(&mut self, conn: usize, position: u64, bytes: &[u8]) {
        if self.conns[conn].tunnel.is_some() {
            self.check_sealed(conn, bytes);
        } else if self.conns[conn].told.is_some() {
            self.check_told(conn, bytes);
        } else {
            self.check_text(conn, position, bytes);
        }
    }

    /// The same where it speaks TLS: what counts is what is in the records.
    fn check_sealed(&mut self, conn: usize, bytes: &[u8]) {
        let it = &mut self.conns[conn];
        let position = it.sent();
        let tunnel = it.tunnel.as_mut().expect("the caller looked");
        match tunnel.hear(bytes) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => self.check_text(conn, position, &text),
            Err(what) => self.fail(format_args!(
                "connection {conn} was sent what is no TLS: {what}"
            )),
        }
    }

    fn check_text(&self, conn: usize, position: u64, bytes: &[u8]) {
        let Some(partner) = self.conns[conn].partner else {
            self.fail(format_args!(
                "bytes for connection {conn} came from nowhere: it has no partner"
            ));
        };
        let source = &self.conns[partner];
        if let Some(at) = source.opening.mismatch(partner as u64, position, bytes) {
            self.fail(format_args!(
                "connection {conn} was sent a wrong byte at {}: not what connection {partner} sent there",
                position + at as u64
            ));
        }
        let read = source.tcp.incoming(Side::Program).read;
        if position + bytes.len() as u64 > source.passed_on(read) {
            self.fail(format_args!(
                "connection {conn} was sent bytes that connection {partner} has not delivered"
            ));
        }
    }

    /// Whoever has no backend is told one of the replies that it may get.
    fn check_told(&mut self, conn: usize, bytes: &[u8]) {
        let it = &mut self.conns[conn];
        let told = it.told.get_or_insert_default();
        told.extend_from_slice(bytes);
        let told = &*told;
        if !it.opening.replies.iter().any(|r| r.starts_with(told)) {
            let told = String::from_utf8_lossy(told).into_owned();
            self.fail(format_args!(
                "connection {conn} was told what is no reply: {told:?}"
            ));
        }
    }

    /// FIN, or the end of everything: a reply that was begun must be whole.
    fn check_reply(&self, conn: usize) {
        let it = &self.conns[conn];
        let is_excused = it.tcp.is_dead(Side::Program) || self.is_hasty(conn);
        let Some(told) = it.told.as_ref().filter(|_| !is_excused) else {
            return;
        };
        if !it.opening.replies.contains(&told.as_slice()) {
            self.fail(format_args!(
                "connection {conn} was told {} bytes of a reply, and no more",
                told.len()
            ));
        }
    }

    /// Whether the program had no time for whoever it told something.
    fn is_hasty(&self, conn: usize) -> bool {
        let closed = self.conns[conn].closed.unwrap_or_else(|| self.now());
        self.haste.is_some_and(|from| from <= closed)
    }

    /// Something arrived at an actor. If that is a reset, whoever was told something had time to read it.
    pub(super) fn check_let_go(&self, conn: usize) {
        let it = &self.conns[conn];
        let is_excused = !it.orderly || it.actor.has_ended() || self.is_hasty(conn);
        if is_excused || it.told.is_none() || !it.tcp.is_dead(Side::Actor) {
            return;
        }
        if it.let_go.is_none_or(|at| self.now().since(at) < LET_GO_MIN) {
            self.fail(format_args!(
                "connection {conn} was reset right after its reply"
            ));
        }
    }

    /// A backend is dialed.
    pub(super) fn check_dial(&self, ring: usize, tag: Tag) {
        if let Some(client) = self.client_of(ring, tag) {
            self.check_wanted(client);
        }
    }

    /// A client gets a backend.
    pub(super) fn check_wanted(&self, client: usize) {
        if self.conns[client].opening.unwanted {
            self.fail(format_args!(
                "connection {client} gets a backend and should be refused"
            ));
        }
    }

    /// `count` of the `held` bytes that a pipe had of connection `from` went into connection `to`, now counted in: the
    /// first of them must be the next that `to` is to get.
    pub(super) fn check_spliced(&self, (from, to): (usize, usize), held: u64, count: u64) {
        if self.conns[from].tunnel.is_some() || self.conns[to].tunnel.is_some() {
            self.fail(format_args!(
                "connection {to} was spliced bytes of connection {from}, past TLS"
            ));
        }
        let taken = self.conns[from].tcp.incoming(Side::Program).read;
        let written = self.conns[to].tcp.outgoing(Side::Program).written;
        let (came_from, went_to) = (taken - held, written - count);
        if self.conns[from].opening.passed_on(came_from) != went_to {
            self.fail(format_args!(
                "connection {to} was spliced the byte at {came_from} of connection {from} as its byte at {went_to}"
            ));
        }
    }

    /// The program received bytes of a connection: it may not hold more than so many of one direction.
    pub(super) fn check_held(&self, conn: usize) {
        if self.conns[conn].told.is_some() {
            return; // what it still says is thrown away
        }
        let read = self.conns[conn].tcp.incoming(Side::Program).read;
        let due = self.conns[conn].passed_on(read);
        let is_deaf = |at: usize| {
            let it = &self.conns[at];
            let has_fin = it.tcp.outgoing(Side::Program).fin != Fin::Unsent;
            it.tcp.is_dead(Side::Program) || has_fin || !it.is_sound()
        };
        let sent_on = match self.conns[conn].partner {
            // After FIN, or once TLS is broken, nothing goes on: what still comes is thrown away.
            Some(partner) if is_deaf(partner) => return,
            Some(partner) => self.conns[partner].sent(),
            None if is_deaf(conn) => return,
            None => 0,
        };
        let held = due.saturating_sub(sent_on); // an announcement needs no byte of the client's
        if held > self.demands.held_max {
            self.fail(format_args!(
                "the program holds {held} bytes of connection {conn}, {} are allowed",
                self.demands.held_max
            ));
        }
    }

    /// The program sends FIN, or closes without a reset: the partner must have ended, and every byte of its must have
    /// gone before. A program that ends connections for reasons of its own is not asked.
    pub(super) fn check_fin(&self, conn: usize) {
        if self.conns[conn].told.is_some() {
            return self.check_reply(conn);
        }
        if !self.demands.whole {
            return;
        }
        let it = &self.conns[conn].tcp;
        let Some(partner) = self.conns[conn].partner.filter(|_| !self.is_alone(conn)) else {
            return; // a client that never got a backend
        };
        let source = &self.conns[partner];
        let sent = it.outgoing(Side::Program);
        if it.is_dead(Side::Program) || sent.fin != Fin::Unsent {
            return;
        }
        if !source.is_sound() || !self.conns[conn].is_sound() {
            return; // its TLS breaks, and each side is told so
        }
        match (source.tcp.is_dead(Side::Program), source.was_told_end()) {
            (true, true) => return, // a send that has not completed yet knows more
            (true, false) => self.fail(format_args!(
                "FIN to connection {conn}, but connection {partner} was reset"
            )),
            (false, false) => self.fail(format_args!(
                "FIN to connection {conn}, but connection {partner} has not ended"
            )),
            (false, true) => {}
        }
        let due = source.passed_on(source.tcp.incoming(Side::Program).written);
        let sent = self.conns[conn].sent();
        if sent != due {
            self.fail(format_args!(
                "FIN to connection {conn} after {sent} bytes of the {due} that connection {partner} sent"
            ));
        }
        self.check_farewell(partner, conn);
    }

    /// FIN to whoever speaks TLS: close_notify is before it, unless the other side was cut off.
    fn check_farewell(&self, from: usize, to: usize) {
        let is_cut_off = self.conns[from].is_cut_off();
        let tunnel = self.conns[to].tunnel.as_ref();
        if tunnel.is_some_and(|it| it.is_closed() == is_cut_off) {
            let word = if is_cut_off { "after" } else { "without" };
            self.fail(format_args!("FIN to connection {to} {word} close_notify"));
        }
    }

    /// Whoever behaved and is over got everything.
    pub(super) fn check_deliveries(&self) {
        for (conn, it) in self.conns.iter().enumerate() {
            if it.told.is_some() {
                self.check_heard(conn);
                continue;
            }
            let Some(partner) = it.partner.filter(|_| self.demands.whole) else {
                continue;
            };
            if self.is_alone(conn) || self.is_alone(partner) {
                continue;
            }
            let other = &self.conns[partner];
            if it.orderly && other.orderly && it.is_over() && other.is_over() {
                self.check_whole(partner, conn);
            }
        }
    }

    fn check_whole(&self, from: usize, to: usize) {
        let sent = self.conns[from].tcp.incoming(Side::Program);
        let got = self.conns[to].tcp.incoming(Side::Actor);
        let due = self.conns[from].passed_on(sent.written);
        let read = self.conns[to].got();
        if read != due {
            self.fail(format_args!(
                "connection {to} got {read} of the {due} bytes that connection {from} sent, though neither failed"
            ));
        }
        if got.fin != Fin::Read {
            self.fail(format_args!(
                "connection {to} never saw the FIN of connection {from}"
            ));
        }
    }

    /// Whoever was told why it has no backend, and read all the time, has read that and FIN.
    fn check_heard(&self, conn: usize) {
        let it = &self.conns[conn];
        if !it.orderly || !it.eager || !it.is_over() || self.is_hasty(conn) {
            return;
        }
        self.check_reply(conn);
        let got = it.tcp.incoming(Side::Actor);
        let told = it.told.as_ref().map_or(0, Vec::len);
        if got.read != told as u64 || got.fin != Fin::Read {
            self.fail(format_args!(
                "connection {conn} read {} of the {told} bytes of its reply, and FIN is {:?}",
                got.read, got.fin
            ));
        }
    }
}
