//! Connections of one backend are ended evenly over a span, because it went down or because an operator wants it to have none.

use super::Worker;
use super::drain::Pace;
use crate::base::Key;
use crate::conn::{Cause, Connection};
use crate::ring::{Ring, Time};
use crate::upstream::Member;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// When a connection is asked again whose turn came while the backend was still dialed for it. It may end up with another
/// backend, and then stays.
const AGAIN: Duration = Duration::from_secs(1);

/// Connections of a backend that are asked to leave.
#[derive(Debug)]
pub(super) struct Eviction {
    backend: Arc<Member>,
    cause: Cause,
    pace: Pace,
    /// Those that the backend was dialed for when their turn came.
    dialing: Vec<Key>,
    /// Whether the pace is one of these, who have no turn of their own.
    again: bool,
}

impl Eviction {
    /// When something is to be done next; `None` when all were asked.
    pub(super) fn next(&self) -> Option<Time> {
        self.pace.next()
    }

    /// Whether an operator wanted it, who may want something else.
    fn is_wanted(&self) -> bool {
        self.cause == Cause::BackendDrain
    }
}

impl<R: Ring> Worker<R> {
    /// Whoever has a turn already because the backend went down keeps that one: else the connections of a backend that
    /// flaps would stay for ever, or leave several at a time.
    pub(super) fn begin_eviction(
        &mut self,
        backend: Arc<Member>,
        cause: Cause,
        over: Duration,
        now: Time,
    ) {
        self.spare(&backend);
        let keys =
            self.without_a_turn(|it| it.is_relayed_to(&backend) || it.is_dialed_to(&backend));
        self.evictions.push(Eviction {
            backend,
            cause,
            pace: Pace::new(keys, over, now),
            dialing: Vec::new(),
            again: false,
        });
    }

    /// Connections that are among those, and are in no eviction: one turn is enough, or too many leave at a time.
    pub(super) fn without_a_turn(&self, among: impl Fn(&Connection) -> bool) -> Vec<Key> {
        let with: HashSet<Key> = self
            .evictions
            .iter()
            .flat_map(|it| self.waiting(it))
            .collect();
        let all = self.connections.iter();
        let wanted = all.filter(|(key, connection)| among(connection) && !with.contains(key));
        wanted.map(|(key, _)| key).collect()
    }

    /// Those of an eviction that it will ask when their turn comes: one that is still dialed for may have found another
    /// backend by then.
    fn waiting(&self, eviction: &Eviction) -> impl Iterator<Item = Key> {
        let is_its = |key: &&Key| {
            let connection = self.connections.get(**key);
            connection.is_some_and(|it| it.is_relayed_to(&eviction.backend))
        };
        let waiting = eviction.pace.waiting().iter().filter(|_| !eviction.again);
        waiting.filter(is_its).copied()
    }

    /// Nobody asks the connections of a backend any more because an operator wants it.
    pub(super) fn spare(&mut self, backend: &Arc<Member>) {
        self.evictions
            .retain(|it| !it.is_wanted() || !Arc::ptr_eq(&it.backend, backend));
    }

    /// The same of all backends.
    pub(super) fn spare_all(&mut self) {
        self.evictions.retain(|it| !it.is_wanted());
    }

    /// Asks those whose turn has come.
    pub(super) fn evict(&mut self, now: Time) {
        if self.evictions.is_empty() {
            return;
        }
        let mut evictions = std::mem::take(&mut self.evictions);
        for eviction in &mut evictions {
            while let Some(key) = eviction.pace.due(now) {
                self.evict_one(key, eviction, now);
            }
            if eviction.next().is_none() && !eviction.dialing.is_empty() {
                let again = std::mem::take(&mut eviction.dialing);
                eviction.pace = Pace::new(again, Duration::ZERO, now + AGAIN);
                eviction.again = true;
            }
        }
        evictions.retain(|it| it.next().is_some());
        self.evictions = evictions;
    }

    fn evict_one(&mut self, key: Key, eviction: &mut Eviction, now: Time) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        if connection.is_relayed_to(&eviction.backend) {
            self.with(key, now, |connection, cx| {
                connection.stop(eviction.cause, cx);
            });
        } else if connection.is_dialed_to(&eviction.backend) {
            eviction.dialing.push(key);
        }
    }
}
