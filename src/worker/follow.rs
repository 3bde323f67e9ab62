//! A worker goes by something else from now on. Nothing is closed but listening sockets that nobody wants any more:
//! each connection goes on by what it began under.

use super::accept::Accepting;
use super::mailbox::{Ear, Order};
use super::{Worker, listener_tag};
use crate::ring::{Op, Ring, Time};
use crate::upstream::Current;
use std::cmp::Ordering;
use std::rc::Rc;

impl<R: Ring> Worker<R> {
    pub(super) fn follow(&mut self, order: Order, now: Time) {
        let Order {
            version,
            snapshot,
            doors,
            added,
        } = order;
        let next = Rc::new(self.current.next(snapshot));
        self.previous = std::mem::replace(&mut self.current, next);
        self.version = version;
        for (at, listener) in self.listeners.iter_mut().enumerate() {
            match doors.get(&listener.door) {
                Some(number) => listener.listener = *number,
                None => listener.stop(listener_tag(at), &mut self.ops),
            }
        }
        for ear in added {
            self.listen_too(ear);
        }
        self.stats.version.set(version);
        for arrival in std::mem::take(&mut self.early) {
            self.adopt(arrival, now);
        }
    }

    /// What a client goes by that somebody accepted under this version; `None` if that is still on its way here.
    ///
    /// Control gives out no version before all workers go by the one before: there are two of them at most.
    pub(super) fn rules_of(&self, version: u64) -> Option<&Rc<Current>> {
        match version.cmp(&self.version) {
            Ordering::Less => Some(&self.previous),
            Ordering::Equal => Some(&self.current),
            Ordering::Greater => None,
        }
    }

    /// Who waits in a listening socket is accepted as soon as the accept is armed again.
    pub(super) fn accept_again(&mut self) {
        for (at, listener) in self.listeners.iter().enumerate() {
            listener.disarm(listener_tag(at), &mut self.ops);
        }
    }

    /// In the place of one that is closed, if there is any: a listener that moves a thousand times does not take a thousand.
    /// One that drains takes no more clients, wherever they come.
    pub(super) fn listen_too(&mut self, ear: Ear) {
        if self.drain.is_some() {
            let sock = ear.sock;
            return self.ops.push(Op::Close { sock, reset: false });
        }
        let mut listener = Accepting::new(ear);
        let closed = self.listeners.iter().position(Accepting::is_closed);
        let place = closed.unwrap_or(self.listeners.len());
        listener.arm(listener_tag(place), &mut self.ops);
        match self.listeners.get_mut(place) {
            Some(closed) => *closed = listener,
            None => self.listeners.push(listener),
        }
    }
}
