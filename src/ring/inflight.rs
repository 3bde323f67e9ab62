//! What the ring owns on behalf of ops in flight: the lease of a send, the socket of a dial.
//!
//! One row per `(slot, lane)`, because at most one owning op may be in flight there; 24 bytes each. Generations
//! are compared on the way out, so a completion for an earlier owner of the slot cannot take a later one's.

use crate::{Lane, Lease, Sock, SockRef, Tag};

/// What one `(slot, lane)` has in the kernel's hands.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Lease {
        generation: u32,
        sock: SockRef,
        /// Not with the kernel: waits for room ([`crate::room`]).
        parked: bool,
        lease: Lease,
    },
    Dial {
        generation: u32,
        sock: Sock,
        asking: Option<SockRef>,
    },
}

/// The table of ops in flight that own something.
#[derive(Default)]
pub(crate) struct Inflight {
    rows: Vec<Held>,
}

impl Inflight {
    pub(crate) fn hold_lease(&mut self, tag: Tag, sock: SockRef, lease: Lease) {
        let row = self.row(tag);
        assert!(
            matches!(row, Held::Nothing),
            "a second owning op in flight for {tag:?}"
        );
        *row = Held::Lease {
            generation: tag.generation,
            sock,
            parked: false,
            lease,
        };
    }

    pub(crate) fn hold_dial(&mut self, tag: Tag, sock: Sock, asking: Option<SockRef>) {
        let row = self.row(tag);
        assert!(
            matches!(row, Held::Nothing),
            "a second owning op in flight for {tag:?}"
        );
        *row = Held::Dial {
            generation: tag.generation,
            sock,
            asking,
        };
    }

    /// The lease of the send that ended, unless the tag is of an earlier owner.
    pub(crate) fn take_lease(&mut self, tag: Tag) -> Option<Lease> {
        let row = self.row(tag);
        if !matches!(row, Held::Lease { generation, .. } if *generation == tag.generation) {
            return None;
        }
        let Held::Lease { lease, .. } = std::mem::take(row) else {
            unreachable!("matched above")
        };
        Some(lease)
    }

    /// The send's socket, if there is such a send; it counts as parked from now on, or no more.
    pub(crate) fn park(&mut self, tag: Tag, park: bool) -> Option<SockRef> {
        match self.row(tag) {
            Held::Lease {
                generation,
                sock,
                parked,
                ..
            } if *generation == tag.generation && *parked != park => {
                *parked = park;
                Some(*sock)
            }
            Held::Nothing | Held::Lease { .. } | Held::Dial { .. } => None,
        }
    }

    /// The bytes of a send in flight.
    pub(crate) fn lease(&mut self, tag: Tag) -> Option<&Lease> {
        match self.row(tag) {
            Held::Lease {
                generation, lease, ..
            } if *generation == tag.generation => Some(lease),
            Held::Nothing | Held::Lease { .. } | Held::Dial { .. } => None,
        }
    }

    /// The bytes of a send that waits for room, and that the kernel has not in hand.
    pub(crate) fn parked(&mut self, tag: Tag) -> Option<&mut Lease> {
        match self.row(tag) {
            Held::Lease {
                generation,
                parked: true,
                lease,
                ..
            } if *generation == tag.generation => Some(lease),
            Held::Nothing | Held::Lease { .. } | Held::Dial { .. } => None,
        }
    }

    /// The socket of the dial that ended, and the one whose name was asked for; unless the tag is of an earlier owner.
    pub(crate) fn take_dial(&mut self, tag: Tag) -> Option<(Sock, Option<SockRef>)> {
        let row = self.row(tag);
        if !matches!(row, Held::Dial { generation, .. } if *generation == tag.generation) {
            return None;
        }
        let Held::Dial { sock, asking, .. } = std::mem::take(row) else {
            unreachable!("matched above")
        };
        Some((sock, asking))
    }

    /// Everything still held, for a ring that is going away.
    pub(crate) fn drain(&mut self) -> (Vec<Lease>, Vec<Sock>) {
        let (mut leases, mut socks) = (Vec::new(), Vec::new());
        for held in self.rows.drain(..) {
            match held {
                Held::Nothing => {}
                Held::Lease { lease, .. } => leases.push(lease),
                Held::Dial { sock, .. } => socks.push(sock),
            }
        }
        (leases, socks)
    }

    fn row(&mut self, tag: Tag) -> &mut Held {
        let lane = match tag.lane {
            Lane::A => 0,
            Lane::B => 1,
        };
        let index = 2 * tag.slot as usize + lane;
        if index >= self.rows.len() {
            // Doubling from 64 keeps growth off the common path; a row is 24 bytes.
            let len = (index + 1).next_power_of_two().max(64);
            self.rows.resize_with(len, Held::default);
        }
        &mut self.rows[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Buffers;

    const SOCK: SockRef = SockRef::simulated(3);
    const TAG: Tag = Tag {
        lane: Lane::B,
        slot: 7,
        generation: 3,
    };

    #[test]
    fn a_row_costs_24_bytes() {
        assert_eq!(size_of::<Held>(), 24);
    }

    #[test]
    fn a_late_completion_does_not_take_the_next_owners_lease() {
        let mut buffers = Buffers::new(2, 16);
        let mut table = Inflight::default();
        table.hold_lease(TAG, SOCK, buffers.write(b"x").unwrap());
        assert!(
            table
                .take_lease(Tag {
                    generation: 2,
                    ..TAG
                })
                .is_none()
        );
        let lease = table.take_lease(TAG).unwrap();
        buffers.release(lease);
        assert!(table.take_lease(TAG).is_none());
    }

    #[test]
    #[should_panic(expected = "a second owning op")]
    fn two_sends_in_flight_on_one_socket_are_caught() {
        let mut buffers = Buffers::new(2, 16);
        let mut table = Inflight::default();
        table.hold_lease(TAG, SOCK, buffers.write(b"x").unwrap());
        table.hold_lease(TAG, SOCK, buffers.write(b"y").unwrap());
    }
}
