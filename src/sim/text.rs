//! How much of a connection's stream has come where. Without TLS the network's bytes are the stream; with it they hold it.

use super::tcp::Side;
use super::world::Conn;

impl Conn {
    /// How much its partner is due, of so many bytes that its actor sent.
    pub(super) fn passed_on(&self, wire: u64) -> u64 {
        match &self.tunnel {
            Some(tunnel) => tunnel.sealed_at(wire),
            None => self.opening.passed_on(wire),
        }
    }

    /// How much of its actor's stream the program has received.
    pub(super) fn given(&self) -> u64 {
        let read = self.tcp.incoming(Side::Program).read;
        match &self.tunnel {
            Some(tunnel) => tunnel.sealed_at(read),
            None => read,
        }
    }

    /// How much of its partner's stream the program has sent it.
    pub(super) fn sent(&self) -> u64 {
        match &self.tunnel {
            Some(tunnel) => tunnel.opened(),
            None => self.tcp.outgoing(Side::Program).written,
        }
    }

    /// How much of its partner's stream its actor has read.
    pub(super) fn got(&self) -> u64 {
        let read = self.tcp.incoming(Side::Actor).read;
        match &self.tunnel {
            Some(tunnel) => tunnel.opened_at(read),
            None => read,
        }
    }

    /// Whether the program was told that its actor's stream has ended.
    pub(super) fn was_told_end(&self) -> bool {
        let read = self.tcp.incoming(Side::Program).read;
        let has_left = self.tunnel.as_ref().is_some_and(|it| it.has_left(read));
        has_left || self.tcp.was_told_end(Side::Program)
    }

    /// Whether the program knows that TLS has been agreed on, if there is any.
    pub(super) fn is_agreed(&self) -> bool {
        let read = self.tcp.incoming(Side::Program).read;
        self.tunnel.as_ref().is_none_or(|it| it.is_agreed(read))
    }

    /// Whether its actor speaks TLS, and the program has not been told by that of its end.
    pub(super) fn is_cut_off(&self) -> bool {
        let read = self.tcp.incoming(Side::Program).read;
        self.tunnel.as_ref().is_some_and(|it| !it.has_left(read))
    }

    /// Whether its stream is one that arrives whole, if nothing else fails.
    pub(super) fn is_sound(&self) -> bool {
        self.tunnel.as_ref().is_none_or(|it| it.is_sound())
    }

    /// Fills `bytes` with what its actor sends from `position` on.
    pub(super) fn fill(&self, stream: u64, position: u64, bytes: &mut [u8]) {
        match &self.tunnel {
            Some(tunnel) => tunnel.fill(position, bytes),
            None => self.opening.fill(stream, position, bytes),
        }
    }
}
