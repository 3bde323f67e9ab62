//! Questions about connections, answered between turns and in slices, so that nobody's bytes wait for an answer. Who asked
//! may be gone by then, which is nobody's fault.

use super::Worker;
use crate::base::Key;
use crate::config::Listener;
use crate::conn::{Cause, Connection, Glance};
use crate::ring::{Ring, Time};
use crate::upstream::Member;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Slots looked at in one turn: about as much time as a turn of a hundred messages takes.
const SLICE: u32 = 512;

/// Listings that wait for each other. Each asker has a deadline of its own: more would be answered to nobody.
const LISTINGS_MAX: usize = 8;

/// What somebody wants to know, and where the answer goes.
#[derive(Debug)]
pub enum Question {
    /// Which connections do you have? No answer when too many ask at once.
    List(Wanted, oneshot::Sender<Vec<Listed>>),
    /// Close the connection with this id. Was there one?
    Kill(u64, oneshot::Sender<bool>),
}

/// Which connections somebody wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// At most so many.
    pub limit: usize,
    /// Only those that go to the upstream of this name.
    pub upstream: Option<String>,
    /// Only those that go to a backend of this name.
    pub backend: Option<String>,
}

/// One open connection.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Unique in this process.
    pub id: u64,
    /// Where the client is.
    pub client: SocketAddr,
    /// The rules of its listener.
    pub listener: Arc<Listener>,
    /// The upstream that it goes to, once that is known.
    pub upstream: Option<Arc<str>>,
    /// The backend that it is dialed to or relayed to.
    pub backend: Option<Arc<Member>>,
    /// For how long it has been open.
    pub age: Duration,
    /// What else can be seen from outside.
    pub glance: Glance,
}

/// A list in the making.
#[derive(Debug)]
pub(super) struct Listing {
    wanted: Wanted,
    answer: oneshot::Sender<Vec<Listed>>,
    found: Vec<Listed>,
    /// The next slot to look at.
    slot: u32,
}

impl<R: Ring> Worker<R> {
    pub(super) fn on_question(&mut self, question: Question, now: Time) {
        // An answer that nobody waits for any more is dropped.
        match question {
            Question::List(wanted, answer) => self.begin_listing(wanted, answer),
            Question::Kill(id, answer) => drop(answer.send(self.kill(id, now))),
        }
    }

    fn begin_listing(&mut self, wanted: Wanted, answer: oneshot::Sender<Vec<Listed>>) {
        self.listings.retain(|listing| !listing.answer.is_closed());
        if self.listings.len() < LISTINGS_MAX {
            self.listings.push_back(Listing {
                wanted,
                answer,
                found: Vec::new(),
                slot: 0,
            });
        }
    }

    /// Looks at a slice of the slots for whoever asked first.
    pub(super) fn list_some(&mut self, now: Time) {
        let Some(mut listing) = self.listings.pop_front() else {
            return;
        };
        let reach = self.connections.reach();
        let end = reach.min(listing.slot.saturating_add(SLICE));
        for slot in listing.slot..end {
            if listing.is_full() {
                break;
            }
            let key = self.connections.key(slot);
            if let Some(connection) = key.and_then(|key| self.connections.get(key)) {
                listing.look(connection, now);
            }
        }
        listing.slot = end;
        if listing.is_full() || end == reach {
            let _ = listing.answer.send(listing.found);
        } else if !listing.answer.is_closed() {
            self.listings.push_front(listing);
        }
    }

    /// What is queued is lost: whoever kills a connection does not want it to be heard out.
    fn kill(&mut self, id: u64, now: Time) -> bool {
        let named = |(_, connection): &(Key, &Connection)| connection.id == id;
        let Some((key, _)) = self.connections.iter().find(named) else {
            return false;
        };
        self.with(key, now, |connection, cx| {
            connection.kill(Cause::Killed, cx);
        });
        true
    }
}

impl Listing {
    fn is_full(&self) -> bool {
        self.found.len() >= self.wanted.limit
    }

    fn look(&mut self, connection: &Connection, now: Time) {
        let listed = Listed::of(connection, now);
        if listed.is_wanted(&self.wanted) {
            self.found.push(listed);
        }
    }
}

impl Listed {
    fn of(connection: &Connection, now: Time) -> Self {
        Self {
            id: connection.id,
            client: connection.client,
            listener: Arc::clone(&connection.site.rules),
            upstream: connection.upstream().cloned(),
            backend: connection.backend().cloned(),
            age: now - connection.started,
            glance: connection.glance(now),
        }
    }

    fn is_wanted(&self, wanted: &Wanted) -> bool {
        let is = |name: Option<&str>, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| name == Some(wanted))
        };
        let backend = self.backend.as_deref().map(Member::name);
        is(self.upstream.as_deref(), &wanted.upstream) && is(backend, &wanted.backend)
    }
}
