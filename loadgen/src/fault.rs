//! What can go wrong, each kind with a name for machines and words for people.

use ringway_ring::Errno;

/// One kind of error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nobody listens at the target.
    Refused,
    /// No connection within ten seconds.
    ConnectTimeout,
    /// No descriptor was free (EMFILE, ENFILE).
    NoDescriptor,
    /// No local address and port was free, or the source is not ours (EADDRNOTAVAIL).
    NoAddress,
    /// Any other failure to connect.
    Connect,
    /// The peer reset a connection.
    Reset,
    /// The peer ended a connection that should have lived on.
    Cut,
    /// The peer ended a connection in the middle of a message, a request or a receipt.
    Truncated,
    /// The system failed a receive or a send in another way.
    Socket,
    /// Bytes other than those that belong there, or a wrong checksum.
    Corrupt,
    /// No message where one should begin.
    Garbled,
    /// No WebSocket was opened: another head than asked for.
    Handshake,
    /// The server's certificate is not to be believed, or another's.
    Certificate,
    /// TLS was not agreed on, or broke.
    Tls,
    /// Messages of more than one publisher on a connection.
    Mixed,
    /// Messages that never came.
    Gap,
    /// Messages that came twice.
    Duplicate,
    /// Messages that came behind younger ones.
    Reordered,
    /// Bytes that nobody asked for.
    Surplus,
    /// Exchanges whose answer had not come five seconds after the end.
    Unanswered,
}

impl Fault {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 20] = [
        Self::Refused,
        Self::ConnectTimeout,
        Self::NoDescriptor,
        Self::NoAddress,
        Self::Connect,
        Self::Reset,
        Self::Cut,
        Self::Truncated,
        Self::Socket,
        Self::Corrupt,
        Self::Garbled,
        Self::Handshake,
        Self::Certificate,
        Self::Tls,
        Self::Mixed,
        Self::Gap,
        Self::Duplicate,
        Self::Reordered,
        Self::Surplus,
        Self::Unanswered,
    ];

    /// Its key in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoDescriptor => "no_descriptor",
            Self::NoAddress => "no_address",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Cut => "cut",
            Self::Truncated => "truncated",
            Self::Socket => "socket",
            Self::Corrupt => "corrupt",
            Self::Garbled => "garbled",
            Self::Handshake => "handshake",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Mixed => "mixed",
            Self::Gap => "gap",
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered",
            Self::Surplus => "surplus",
            Self::Unanswered => "unanswered",
        }
    }

    /// What it means, and what to do when that is known.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Refused => "connection refused: nobody listens at the target",
            Self::ConnectTimeout => "no connection within 10 s: is the target's backlog full?",
            Self::NoDescriptor => {
                "out of file descriptors: raise the limit (`ulimit -n`, LimitNOFILE) or fs.file-max"
            }
            Self::NoAddress => {
                "out of local ports, or not our address: --sources 127.1.0.0/24 gives 254 times as many"
            }
            Self::Connect => "could not connect",
            Self::Reset => "reset by the peer",
            Self::Cut => "ended by the peer before its time",
            Self::Truncated => "ended by the peer in the middle of a message",
            Self::Socket => "receive or send failed",
            Self::Corrupt => "bytes that do not belong there, or a wrong checksum",
            Self::Garbled => "no message where one should begin",
            Self::Handshake => {
                "no WebSocket opened: another status, the answer to another key, or a field is missing"
            }
            Self::Certificate => {
                "the certificate is for another name, out of date, or of no authority in --tls-ca"
            }
            Self::Tls => "TLS refused or broken: an alert, no version 1.3, or no TLS at all",
            Self::Mixed => "messages of another publisher",
            Self::Gap => "messages that never came",
            Self::Duplicate => "messages that came twice",
            Self::Reordered => "messages behind younger ones",
            Self::Surplus => "bytes that nobody asked for",
            Self::Unanswered => "no answer within 5 s after the end",
        }
    }

    /// The kind of a failed dial.
    pub(crate) fn of_dial(errno: Errno) -> Self {
        const KNOWN: [(Errno, Fault); 5] = [
            (Errno::ECONNREFUSED, Fault::Refused),
            (Errno::ETIMEDOUT, Fault::ConnectTimeout),
            (Errno::EMFILE, Fault::NoDescriptor),
            (Errno::ENFILE, Fault::NoDescriptor),
            (Errno::EADDRNOTAVAIL, Fault::NoAddress),
        ];
        let known = KNOWN.into_iter().find(|(known, _)| *known == errno);
        known.map_or(Self::Connect, |(_, fault)| fault)
    }

    /// The kind of a failed receive or send.
    pub(crate) fn of_transfer(errno: Errno) -> Self {
        if matches!(errno, Errno::ECONNRESET | Errno::EPIPE) {
            Self::Reset
        } else {
            Self::Socket
        }
    }
}

/// How many of each kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Faults([u64; Fault::ALL.len()]);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault, count: u64) {
        self.0[fault as usize] += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, more)| *mine += more);
    }

    /// How many of this kind.
    pub fn count(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The kinds that happened, with how often.
    pub fn happened(&self) -> impl Iterator<Item = (Fault, u64)> {
        let rows = Fault::ALL
            .into_iter()
            .map(|fault| (fault, self.count(fault)));
        rows.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_kinds_is_in_the_order_of_the_enum() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index);
        }
    }

    #[test]
    fn errors_of_the_system_get_the_kind_that_has_the_remedy() {
        assert_eq!(Fault::of_dial(Errno::EADDRNOTAVAIL), Fault::NoAddress);
        assert!(Fault::NoAddress.meaning().contains("--sources"));
        assert_eq!(Fault::of_dial(Errno::EMFILE), Fault::NoDescriptor);
        assert!(Fault::NoDescriptor.meaning().contains("ulimit -n"));
        assert_eq!(Fault::of_transfer(Errno::EPIPE), Fault::Reset);
    }
}
