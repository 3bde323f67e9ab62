//! New connections on their way from the worker that accepted them to the one that relays them. What a turn gives to
//! one worker goes out together, at the turn's end: one lock and one ring of the bell.

use super::board::{Board, Chooser};
use super::mailbox::{Message, Post};
use crate::ring::{Sock, Time};
use std::net::SocketAddr;
use std::sync::Arc;

/// A client that has been accepted and has a place among the limits, but no connection yet.
#[derive(Debug)]
pub struct Arrival {
    /// What the worker that accepted it went by.
    pub version: u64,
    /// Its listener's number.
    pub listener: u16,
    /// The socket.
    pub sock: Sock,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub at: Time,
    /// Whether it is counted among its household.
    pub counted: bool,
}

/// One worker's way to the others.
#[derive(Debug)]
pub struct Handover {
    me: usize,
    board: Arc<Board>,
    posts: Vec<Post>,
    chooser: Chooser,
    /// What this turn gives to each worker.
    parcels: Vec<Vec<Message>>,
    /// Workers whose parcels are not empty.
    pending: Vec<usize>,
}

impl Handover {
    /// For the worker number `me` of those on the board; `posts` reach each of them, in their order.
    ///
    /// # Panics
    /// When the numbers do not match.
    pub fn new(me: usize, board: Arc<Board>, posts: Vec<Post>) -> Self {
        assert!(me < posts.len() && posts.len() == board.workers());
        Self {
            me,
            chooser: Chooser::new(me),
            parcels: posts.iter().map(|_| Vec::new()).collect(),
            pending: Vec::new(),
            board,
            posts,
        }
    }

    /// Counts a new client here or, when another worker is clearly less loaded, there and takes it. What comes back is
    /// to be kept.
    pub(super) fn place(&mut self, arrival: Arrival) -> Option<Arrival> {
        let to = self.chooser.choose(&self.board);
        self.board.enter(to);
        if to == self.me {
            return Some(arrival);
        }
        if self.parcels[to].is_empty() {
            self.pending.push(to);
        }
        self.parcels[to].push(Message::Adopt(arrival));
        None
    }

    /// Counts a new client here, whoever else is less loaded.
    pub(super) fn keep(&self) {
        self.board.enter(self.me);
    }

    /// A connection, or a client that has become none, is over.
    pub(super) fn leave(&self) {
        self.board.leave(self.me);
    }

    /// Whether there is something to [`send`](Self::send).
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Hands over what this turn placed elsewhere: how many went, and which did not because their worker has ended.
    /// These are counted here now and to be kept.
    pub(super) fn send(&mut self) -> (u64, Vec<Arrival>) {
        let (mut sent, mut kept) = (0, Vec::new());
        for to in self.pending.drain(..) {
            let parcel = &mut self.parcels[to];
            let count = parcel.len() as u64;
            if self.posts[to].post_all(parcel) {
                sent += count;
                continue;
            }
            for message in parcel.drain(..) {
                let Message::Adopt(arrival) = message else {
                    unreachable!("a parcel holds clients alone")
                };
                self.board.leave(to);
                self.board.enter(self.me);
                kept.push(arrival);
            }
        }
        (sent, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::Mailbox;
    use super::*;
    use crate::ring::SockRef;
    use std::net::Ipv4Addr;

    /// Two workers, seen from the first, which has `open` connections more than the other.
    fn two(open: usize) -> (Handover, Vec<Mailbox>, Vec<Post>, Arc<Board>) {
        let board = Arc::new(Board::new(2));
        (0..open).for_each(|_| board.enter(0));
        let ends = [3, 4].map(|bell| Mailbox::simulated(SockRef::simulated(bell)));
        let (posts, mailboxes): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let handover = Handover::new(0, Arc::clone(&board), posts.clone());
        (handover, mailboxes, posts, board)
    }

    fn arrival(number: i32) -> Arrival {
        Arrival {
            version: 0,
            listener: 0,
            sock: Sock::simulated(number),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            at: Time::default(),
            counted: false,
        }
    }

    fn counts(board: &Board) -> [u64; 2] {
        [board.connections(0), board.connections(1)]
    }

    #[test]
    fn a_burst_in_one_turn_fills_the_other_worker_no_further_than_even() {
        let (mut handover, mailboxes, posts, board) = two(24);
        let mine: Vec<_> = (0..100)
            .filter_map(|n| handover.place(arrival(n)))
            .collect();
        assert_eq!(counts(&board), [63, 61]);
        assert!(!posts[1].take_ring(), "not before the turn's end");
        let (sent, kept) = handover.send();
        assert_eq!((sent, kept.len(), mine.len()), (61, 0, 39));
        assert!(posts[1].take_ring() && !posts[1].take_ring(), "one ring");
        let mut mail = Vec::new();
        mailboxes[1].take(&mut mail);
        assert_eq!(mail.len(), 61);
        for message in mail {
            let Message::Adopt(arrival) = message else {
                panic!("{message:?}")
            };
            arrival.sock.into_simulated();
        }
        mine.into_iter().for_each(|mine| {
            mine.sock.into_simulated();
        });
    }

    #[test]
    fn clients_of_a_worker_that_has_ended_are_kept_and_counted_here() {
        let (mut handover, mailboxes, _, board) = two(10);
        mailboxes[1].close();
        assert!(handover.place(arrival(1)).is_none());
        assert_eq!(counts(&board), [10, 1]);
        let (sent, kept) = handover.send();
        assert_eq!((sent, kept.len()), (0, 1));
        assert_eq!(counts(&board), [11, 0]);
        assert!(!handover.is_pending());
        kept.into_iter().for_each(|kept| {
            kept.sock.into_simulated();
        });
    }
}
