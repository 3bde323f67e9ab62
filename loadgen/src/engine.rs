//! What the two sides have in common: a ring, the connections on it, and the turn. One engine is one thread.

use crate::job::{Cx, Job};
use crate::link::{Fate, Link};
use crate::slots::Slots;
use crate::stats::Stats;
use ringway_ring::{Completion, Event, Ops, Ring, Tag, Time, Until};
use std::io;
use std::time::Duration;

/// The longest wait of a turn: how soon a stop is noticed. Twenty turns a second cost nothing that can be measured.
const TURN_MAX: Duration = Duration::from_millis(50);

/// Retry the starved when so many buffers are free, so that a full pool is not asked in circles.
const FREE_SHARE: usize = 16;

pub(crate) struct Engine<R: Ring> {
    ring: R,
    pub(crate) ops: Ops,
    links: Slots<Link>,
    pub(crate) stats: Stats,
    pub(crate) job: Job,
    done: Vec<Completion>,
    gone: Vec<Tag>,
}

impl<R: Ring> Engine<R> {
    pub(crate) fn new(ring: R, job: Job) -> Self {
        Self {
            ring,
            ops: Ops::default(),
            links: Slots::new(),
            stats: Stats::default(),
            job,
            done: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// The numbers, when the run is over.
    pub(crate) fn into_stats(self) -> Stats {
        self.stats
    }

    pub(crate) fn now(&self) -> Time {
        self.ring.now()
    }

    /// Connections in any state.
    pub(crate) fn count(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Submits, waits until `wake` (at most fifty milliseconds), and hands every answer to its connection;
    /// `on_other` gets those that belong to none (accepts).
    pub(crate) fn turn(
        &mut self,
        wake: Option<Time>,
        mut on_other: impl FnMut(&mut Self, Completion),
    ) -> io::Result<()> {
        let latest = self.now() + TURN_MAX;
        let until = Until::Time(wake.map_or(latest, |wake| wake.min(latest)));
        let mut done = std::mem::take(&mut self.done);
        self.ring.turn(&mut self.ops, until, &mut done)?;
        for completion in done.drain(..) {
            match completion.event {
                Event::Accepted { .. }
                | Event::Spliced { .. }
                | Event::Unsent { .. }
                | Event::Polled { .. } => {
                    on_other(self, completion);
                }
                Event::Dialed { .. } | Event::Received { .. } | Event::Sent { .. } => {
                    self.on_completion(completion);
                }
            }
        }
        self.done = done;
        self.feed_starved();
        Ok(())
    }

    /// Turns with nothing but the ops that are left.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.ring.turn(&mut self.ops, Until::Now, &mut self.done)
    }

    /// Gives a connection a place.
    pub(crate) fn add(&mut self, link: Link) -> Tag {
        self.links.insert(link)
    }

    /// Lets a connection, if it is still there, take an event.
    pub(crate) fn with(&mut self, tag: Tag, event: impl FnOnce(&mut Link, &mut Cx) -> Fate) {
        let Some(link) = self.links.get_mut(tag) else {
            return;
        };
        let mut cx = Cx {
            tag,
            now: self.ring.now(),
            ops: &mut self.ops,
            buffers: self.ring.buffers(),
            stats: &mut self.stats,
            job: &mut self.job,
        };
        if event(link, &mut cx) == Fate::Gone {
            self.links.remove(tag);
        }
    }

    /// Lets every connection take an event.
    pub(crate) fn with_all(&mut self, event: impl Fn(&mut Link, &mut Cx) -> Fate) {
        let now = self.ring.now();
        let mut gone = std::mem::take(&mut self.gone);
        for (tag, link) in self.links.iter_mut() {
            let mut cx = Cx {
                tag,
                now,
                ops: &mut self.ops,
                buffers: self.ring.buffers(),
                stats: &mut self.stats,
                job: &mut self.job,
            };
            if event(link, &mut cx) == Fate::Gone {
                gone.push(tag);
            }
        }
        for tag in gone.drain(..) {
            self.links.remove(tag);
        }
        self.gone = gone;
    }

    /// A connection that is idle and open, and the planned time of the exchange that it is to begin now.
    pub(crate) fn take_idle(&mut self, now: Time) -> Option<(Tag, Time)> {
        loop {
            let tag = self.job.pace.pop_idle(now)?;
            if self.links.get_mut(tag).is_some_and(|link| link.is_open()) {
                return Some((tag, self.job.pace.take(now, &mut self.stats)?));
            }
        }
    }

    /// Whether the connection is there and its dial without an answer.
    pub(crate) fn is_dialing(&mut self, tag: Tag) -> bool {
        self.links
            .get_mut(tag)
            .is_some_and(|link| link.is_dialing())
    }

    fn on_completion(&mut self, completion: Completion) {
        let Completion { tag, event } = completion;
        self.with(tag, |link, cx| match event {
            Event::Dialed { result, .. } => link.on_dialed(result, cx),
            Event::Received {
                result,
                more,
                nonempty,
            } => link.on_received(result, more, nonempty, cx),
            Event::Sent { result, rest } => link.on_sent(result, rest, cx),
            Event::Accepted { .. }
            | Event::Spliced { .. }
            | Event::Unsent { .. }
            | Event::Polled { .. } => {
                unreachable!("sorted out by `turn`")
            }
        });
    }

    fn feed_starved(&mut self) {
        let buffers = self.ring.buffers();
        if self.job.starved.is_empty() || buffers.free() * FREE_SHARE < buffers.count() {
            return;
        }
        for tag in std::mem::take(&mut self.job.starved) {
            self.with(tag, Link::on_buffers);
        }
    }
}
