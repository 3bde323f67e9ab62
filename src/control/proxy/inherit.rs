//! What a proxy leaves to the next process, and what it makes of what was left to it.

use super::Proxy;
use crate::base::{Counted, Totals};
use crate::config::AdminState;
use crate::control::bequest::{BackendDeed, Deed, Predecessor};
use crate::control::history::History;
use crate::control::reload::Reloads;
use crate::control::state::State;
use crate::ring::Time;
use crate::upstream::{Member, Upstream};
use crate::worker::{Message, Stats};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What came from the process before, and may still come.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// What it counted, as if one more worker had.
    pub(super) counted: Arc<Stats>,
    /// Connections that it, and those before it, still have.
    pub(super) open: Cell<u64>,
    /// What was taken into account last.
    taken: RefCell<Deed>,
    latest: Option<watch::Receiver<Deed>>,
    /// Told when it answers nobody any more, and what it counted until then is taken into account.
    retired: Notify,
    /// Whether it is gone, and the last that it said is taken into account.
    gone: watch::Sender<bool>,
}

impl Inheritance {
    /// What comes on this stream, if there is one.
    pub(super) fn of(stream: Option<UnixStream>) -> Self {
        let heard = stream.map(Predecessor::listen).transpose();
        let heard = heard.inspect_err(|e| {
            tracing::warn!(
                "what the process before has counted is not known: {e}; counters begin at 0"
            );
        });
        Self {
            latest: heard.ok().flatten().map(|Predecessor(latest)| latest),
            ..Self::default()
        }
    }

    /// The first thing that it said.
    pub(super) fn first(&self) -> Option<Deed> {
        Some(self.latest.as_ref()?.borrow().clone())
    }
}

impl Proxy {
    /// Connections that processes before this one still have: they drain.
    pub fn open_before(&self) -> u64 {
        self.inherited.open.get()
    }

    /// Everything that there is to leave.
    pub(in crate::control) fn deed(&self, history: &History, handed_over: bool) -> Deed {
        let (state, now) = (self.shared.state.borrow(), Time::read_clock());
        let stats = || self.stats.iter().chain([&self.inherited.counted]);
        let listeners = state.snapshot.config.listeners.iter().zip(0..);
        let listeners = listeners.map(|(rules, place)| {
            let number = state.snapshot.number_of(place);
            let each = stats().map(|stats| stats.listener(number).totals());
            (rules.name.clone(), each.sum())
        });
        let upstreams = state.snapshot.upstreams.iter();
        let backends = upstreams.flat_map(|upstream| self.backends_of(upstream, now));
        Deed {
            handed_over,
            closed: handed_over && self.stats.iter().all(|stats| stats.listening.get() == 0),
            open: self.open() + self.open_before(),
            workers: stats().map(|stats| stats.totals()).sum(),
            listeners: listeners.collect(),
            backends: backends.collect(),
            reloads: self.reloads.get().into(),
            history: history.samples(),
            ..Deed::default()
        }
    }

    fn backends_of(&self, upstream: &Upstream, now: Time) -> Vec<BackendDeed> {
        let settings = upstream.settings();
        let all = settings.backends.iter().zip(upstream.live().members());
        let left = all.map(|(backend, live)| {
            let (counted, is_probed) = self.shared.watches.counted(&settings.name, &backend.name);
            BackendDeed {
                upstream: settings.name.clone(),
                name: backend.name.clone(),
                address: backend.address.to_string(),
                totals: live.totals(),
                probes: counted,
                open: live.load(),
                probed: is_probed.then(|| live.probed().word().to_owned()),
                out_ms: live.out_for(now).as_millis().try_into().unwrap_or(u64::MAX),
                admin: live.admin().word().to_owned(),
                configured: backend.state.word().to_owned(),
            }
        });
        left.collect()
    }

    /// Takes what the process before has said first: also what it knows of backends, before anybody is sent to one.
    pub(super) fn begin_with_inheritance(&self) {
        let Some(first) = self.inherited.first() else {
            return;
        };
        let now = Time::read_clock();
        for left in &first.backends {
            self.with_backend(left, |upstream, live| {
                let verdict = left
                    .verdict()
                    .filter(|_| upstream.settings().probe.is_some());
                live.begin_with(verdict, left.out_for(), now);
                // What the file says otherwise than it did is newer than what an admin said.
                let is_same = left.configured == live.admin().word();
                if let (true, Ok(admin)) = (is_same, AdminState::parse(&left.admin)) {
                    live.set_admin(admin);
                }
            });
        }
        self.inherit(first);
    }

    /// Counts what the process before has counted since it was last heard of, and with the last of it its connections are
    /// gone; for ever.
    pub(in crate::control) async fn follow_predecessor(&self, history: &History) -> Infallible {
        if let Some(mut latest) = self.inherited.latest.clone() {
            latest.mark_changed();
            while latest.changed().await.is_ok() {
                let deed = latest.borrow_and_update().clone();
                let retires = deed.handed_over && !self.inherited.taken.borrow().handed_over;
                let closes = deed.closed && !self.inherited.taken.borrow().closed;
                if retires {
                    history.begin_with(deed.history.clone());
                }
                self.inherit(deed);
                if closes {
                    self.accept_again();
                }
                if retires {
                    self.inherited.retired.notify_one();
                }
            }
            // Also of one that was killed.
            self.accept_again();
            self.inherited.open.set(0);
            self.each_member(|live| live.set_elsewhere(0));
            self.inherited.retired.notify_one();
            self.inherited.gone.send_replace(true);
        }
        std::future::pending().await
    }

    /// Waits until the process before answers nobody any more and what it counted until then is known, but not for
    /// long.
    pub(in crate::control) async fn predecessor_retires(&self) {
        /// It needs a message there and one back.
        const PATIENCE: Duration = Duration::from_secs(2);
        if self.inherited.latest.is_some() {
            let retired = self.inherited.retired.notified();
            let _ = tokio::time::timeout(PATIENCE, retired).await;
        }
    }

    /// Waits until the process before is gone and its last word is part of what this one leaves, and until then at
    /// most.
    pub(in crate::control) async fn predecessor_ends(&self, until: Time) {
        if self.inherited.latest.is_none() {
            return;
        }
        let mut gone = self.inherited.gone.subscribe();
        let goes = gone.wait_for(|gone| *gone);
        let _ = tokio::time::timeout(until - Time::read_clock(), goes).await;
    }

    /// Has workers look who waits in sockets that another process has accepted from, too.
    fn accept_again(&self) {
        let posts = self.shared.posts.iter();
        posts.for_each(|post| post.post(Message::AcceptAgain));
    }

    fn inherit(&self, deed: Deed) {
        let mut taken = self.inherited.taken.borrow_mut();
        let counted = &self.inherited.counted;
        counted.add_totals(&deed.workers.since(&taken.workers));
        let nothing = Totals::default();
        for (name, totals) in &deed.listeners {
            let before = taken.listeners.get(name).unwrap_or(&nothing);
            if let Some(number) = self.shared.state.borrow().number_of(name) {
                let its = counted.listener(number);
                its.add_totals(&totals.since(before));
            }
        }
        for left in &deed.backends {
            let before = taken.backend(left).cloned().unwrap_or_default();
            self.with_backend(left, |_, live| {
                live.add_totals(&left.totals.since(&before.totals));
                live.set_elsewhere(left.open);
                let probes = left.probes.since(&before.probes);
                self.shared
                    .watches
                    .count(live.upstream(), live.name(), probes);
            });
        }
        let (now, before) = (Reloads::from(deed.reloads), Reloads::from(taken.reloads));
        let mut reloads = self.reloads.get();
        reloads.done += now.done.saturating_sub(before.done);
        reloads.refused += now.refused.saturating_sub(before.refused);
        self.reloads.set(reloads);
        self.inherited.open.set(deed.open);
        *taken = deed;
    }

    /// The backend of this name that has the same address, if there is still one.
    fn with_backend(&self, left: &BackendDeed, then: impl FnOnce(&Upstream, &Member)) {
        let state = self.shared.state.borrow();
        let Some(upstream) = state.upstream(&left.upstream) else {
            return;
        };
        let settings = upstream.settings().backends.iter();
        let mut all = settings.zip(upstream.live().members());
        let same =
            all.find(|(it, _)| it.name == left.name && it.address.to_string() == left.address);
        if let Some((_, live)) = same {
            then(upstream, live);
        }
    }

    fn each_member(&self, then: impl Fn(&Member)) {
        let state = self.shared.state.borrow();
        let upstreams = state.snapshot.upstreams.iter();
        upstreams
            .flat_map(|upstream| upstream.live().members())
            .for_each(|live| then(live));
    }
}

impl State {
    /// The number of the listener of this name.
    fn number_of(&self, name: &str) -> Option<u16> {
        let mut listeners = self.snapshot.config.listeners.iter();
        let place = listeners.position(|it| it.name == name)?;
        Some(self.snapshot.number_of(place))
    }
}
