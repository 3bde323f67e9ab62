//! What must hold in every world. Looked at when bytes and FINs move, and at the end.

use super::pattern;
use super::tcp::{Fin, Side};
use super::world::World;

impl World {
    /// The program sent `bytes` on a connection, now counted in: they must be what its partner's actor sent, at this
    /// position.
    pub(super) fn check_sent(&self, conn: usize, position: u64, bytes: &[u8]) {
        let Some(partner) = self.conns[conn].partner else {
            self.fail(format_args!(
                "bytes for connection {conn} came from nowhere: it has no partner"
            ));
        };
        if let Some(at) = pattern::mismatch(partner as u64, position, bytes) {
            self.fail(format_args!(
                "connection {conn} was sent a wrong byte at {}: not what connection {partner} sent there",
                position + at as u64
            ));
        }
        let read = self.conns[partner].tcp.incoming(Side::Program).read;
        if position + bytes.len() as u64 > read {
            self.fail(format_args!(
                "connection {conn} was sent bytes that connection {partner} has not delivered"
            ));
        }
    }

    /// `count` of the `held` bytes that a pipe had of connection `from` went into connection `to`, now counted in: the
    /// first of them must be the next that `to` is to get.
    pub(super) fn check_spliced(&self, (from, to): (usize, usize), held: u64, count: u64) {
        let taken = self.conns[from].tcp.incoming(Side::Program).read;
        let written = self.conns[to].tcp.outgoing(Side::Program).written;
        let (came_from, went_to) = (taken - held, written - count);
        if came_from != went_to {
            self.fail(format_args!(
                "connection {to} was spliced the byte at {came_from} of connection {from} as its byte at {went_to}"
            ));
        }
    }

    /// The program received bytes of a connection: it may not hold more than so many of one direction.
    pub(super) fn check_held(&self, conn: usize) {
        let read = self.conns[conn].tcp.incoming(Side::Program).read;
        let sent_on = match self.conns[conn].partner {
            Some(partner) if self.conns[partner].tcp.is_dead(Side::Program) => return,
            Some(partner) => self.conns[partner].tcp.outgoing(Side::Program).written,
            None => 0,
        };
        if read - sent_on > self.demands.held_max {
            self.fail(format_args!(
                "the program holds {} bytes of connection {conn}, {} are allowed",
                read - sent_on,
                self.demands.held_max
            ));
        }
    }

    /// The program sends FIN, or closes without a reset: the partner must have ended, and every byte of its must have
    /// gone before. A program that ends connections for reasons of its own is not asked.
    pub(super) fn check_fin(&self, conn: usize) {
        if !self.demands.whole {
            return;
        }
        let it = &self.conns[conn].tcp;
        let Some(partner) = self.conns[conn].partner else {
            return; // a client that never got a backend
        };
        let source = &self.conns[partner].tcp;
        let sent = it.outgoing(Side::Program);
        if it.is_dead(Side::Program) || sent.fin != Fin::Unsent {
            return;
        }
        let from = source.incoming(Side::Program);
        let told_end = source.was_told_end(Side::Program);
        match (source.is_dead(Side::Program), told_end) {
            (true, true) => return, // a send that has not completed yet knows more
            (true, false) => self.fail(format_args!(
                "FIN to connection {conn}, but connection {partner} was reset"
            )),
            (false, false) => self.fail(format_args!(
                "FIN to connection {conn}, but connection {partner} has not ended"
            )),
            (false, true) => {}
        }
        if sent.written != from.written {
            self.fail(format_args!(
                "FIN to connection {conn} after {} bytes of the {} that connection {partner} sent",
                sent.written, from.written
            ));
        }
    }

    /// Whoever behaved and is over got everything.
    pub(super) fn check_deliveries(&self) {
        if !self.demands.whole {
            return;
        }
        for (conn, it) in self.conns.iter().enumerate() {
            let Some(partner) = it.partner else {
                continue;
            };
            let other = &self.conns[partner];
            if it.orderly && other.orderly && it.is_over() && other.is_over() {
                self.check_whole(partner, conn);
            }
        }
    }

    fn check_whole(&self, from: usize, to: usize) {
        let sent = self.conns[from].tcp.incoming(Side::Program);
        let got = self.conns[to].tcp.incoming(Side::Actor);
        if got.read != sent.written {
            self.fail(format_args!(
                "connection {to} got {} of the {} bytes that connection {from} sent, though neither failed",
                got.read, sent.written
            ));
        }
        if got.fin != Fin::Read {
            self.fail(format_args!(
                "connection {to} never saw the FIN of connection {from}"
            ));
        }
    }
}
