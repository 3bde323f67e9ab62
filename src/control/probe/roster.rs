//! The targets, and whose turn it is. Decides and counts; sends nothing and waits for nothing.

use super::view::{Last, ProbeView, Verdict, Watch};
use super::{IN_FLIGHT_MAX, Target, pace};
use crate::base::stable_hash;
use crate::ring::Time;
use crate::upstream::health::{Change, Health};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Names a target. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(u64);

#[derive(Default, Debug)]
pub(super) struct Roster {
    targets: HashMap<Id, Probed>,
    last_id: u64,
    /// Every target that is neither due nor being probed, and some that were removed since.
    due: BinaryHeap<Reverse<(Time, Id)>>,
    /// Due, while as many as may be are under way.
    waiting: VecDeque<Id>,
    in_flight: usize,
}

#[derive(Debug)]
struct Probed {
    target: Rc<Target>,
    health: Health,
    view: ProbeView,
    watch: Arc<Watch>,
}

impl Roster {
    /// Adds a target; tells when its first probe is due.
    pub(super) fn add(&mut self, target: Target, now: Time) -> (Id, Arc<Watch>, Time) {
        self.last_id += 1;
        let id = Id(self.last_id);
        let hash = hash(&target);
        let due = pace::first(target.settings.interval, target.initial, hash, now);
        let view = ProbeView::new(target.initial, now);
        let watch = Arc::new(Watch::new(view.clone()));
        let probed = Probed {
            health: Health::new(target.settings.terms, target.initial),
            target: Rc::new(target),
            view,
            watch: Arc::clone(&watch),
        };
        self.targets.insert(id, probed);
        self.due.push(Reverse((due, id)));
        (id, watch, due)
    }

    pub(super) fn remove(&mut self, id: Id) {
        self.targets.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    /// When to call [`begin`](Self::begin) next. `None` as long as nothing is due before some probe ends.
    pub(super) fn next_due(&self) -> Option<Time> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The next target to probe now, if any; it counts as under way from here on.
    pub(super) fn begin(&mut self, now: Time) -> Option<(Id, Rc<Target>)> {
        while let Some(&Reverse((due, id))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            self.waiting.push_back(id);
        }
        while self.in_flight < IN_FLIGHT_MAX {
            let id = self.waiting.pop_front()?;
            if let Some(probed) = self.targets.get(&id) {
                self.in_flight += 1;
                return Some((id, Rc::clone(&probed.target)));
            }
        }
        None
    }

    /// Counts a probe. Says so when that changes the target's state.
    pub(super) fn on_probed(&mut self, id: Id, last: Last) -> Option<(Change, ProbeView)> {
        let probed = self.targets.get_mut(&id)?;
        let change = probed.count(last);
        probed.watch.set(probed.view.clone());
        change.map(|change| (change, probed.view.clone()))
    }

    /// The connection of a probe is gone. Tells when to look for the next one to begin.
    pub(super) fn on_left(&mut self, id: Id, began: Time, now: Time, chance: f64) -> Option<Time> {
        assert!(self.in_flight > 0, "a probe ended that never began");
        self.in_flight -= 1;
        let next = self.targets.get(&id).map(|probed| {
            let (gap, jitter) = (probed.gap(), probed.target.settings.jitter);
            pace::next(gap, jitter, chance, began, now)
        });
        if let Some(due) = next {
            self.due.push(Reverse((due, id)));
        }
        if self.waiting.is_empty() {
            self.next_due()
        } else {
            Some(now)
        }
    }
}

impl Probed {
    fn count(&mut self, last: Last) -> Option<Change> {
        let (passed, at) = match last.verdict {
            Verdict::Passed => (true, last.at),
            Verdict::Failed(_) => (false, last.at),
            Verdict::NotMade(_) => {
                self.view.last = Some(last);
                return None;
            }
        };
        let total = if passed {
            &mut self.view.passed_total
        } else {
            &mut self.view.failed_total
        };
        *total += 1;
        let change = self.health.on_probe(passed);
        if let Some(change) = change {
            (self.view.state, self.view.since) = (change.to, at);
        }
        self.view.streak = self.health.streak();
        self.view.last = Some(last);
        change
    }

    /// From this probe's begin to the next one's.
    fn gap(&self) -> Duration {
        let interval = self.target.settings.interval;
        if self.health.in_transition() {
            pace::fast(interval)
        } else {
            interval
        }
    }
}

/// The same in every run.
fn hash(target: &Target) -> u64 {
    let (upstream, backend) = (&target.upstream, &target.backend);
    stable_hash::of_name(&format!("{upstream}/{backend}/{}", target.address))
}

#[cfg(test)]
mod tests {
    use super::super::{ProxyHeader, Settings};
    use super::*;
    use crate::upstream::health::{State, Streak, Terms};
    use crate::wire::banner::Script;
    use std::num::NonZeroU32;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> Time {
        Time::default() + seconds * SECOND
    }

    fn target(n: usize) -> Target {
        let two = NonZeroU32::new(2).unwrap();
        let settings = Settings {
            script: Script::Tcp,
            interval: SECOND,
            timeout: SECOND,
            terms: Terms {
                rise: two,
                fall: two,
            },
            jitter: 0.0,
            proxy_header: ProxyHeader::Off,
            tls: None,
        };
        Target {
            upstream: "u".into(),
            backend: format!("b{n}"),
            address: "127.0.0.1:1".parse().unwrap(),
            settings: Arc::new(settings),
            initial: State::Up,
        }
    }

    /// A roster of so many, all of which are due a second later.
    fn roster(targets: usize) -> Roster {
        let mut roster = Roster::default();
        (0..targets).for_each(|n| drop(roster.add(target(n), at(0))));
        roster
    }

    fn begin_all(roster: &mut Roster, now: Time) -> Vec<Id> {
        std::iter::from_fn(|| roster.begin(now))
            .map(|(id, _)| id)
            .collect()
    }

    fn last(verdict: Verdict) -> Last {
        let (duration, at) = (Duration::ZERO, at(9));
        Last {
            verdict,
            duration,
            at,
        }
    }

    #[test]
    fn a_target_is_never_probed_twice_at_once() {
        let mut roster = roster(1);
        let ids = begin_all(&mut roster, at(1));
        assert_eq!(ids.len(), 1);
        assert_eq!(begin_all(&mut roster, at(100)), []);
        roster.on_left(ids[0], at(1), at(100), 0.5);
        assert_eq!(begin_all(&mut roster, at(101)), ids);
    }

    #[test]
    fn no_more_than_the_bound_are_under_way_and_the_rest_follow_in_order() {
        let mut roster = roster(IN_FLIGHT_MAX + 2);
        let ids = begin_all(&mut roster, at(1));
        assert_eq!((ids.len(), roster.next_due()), (IN_FLIGHT_MAX, None));
        assert_eq!(roster.on_left(ids[0], at(1), at(1), 0.5), Some(at(1)));
        let next = begin_all(&mut roster, at(1));
        assert_eq!(next.len(), 1);
        assert!(!ids.contains(&next[0]));
    }

    #[test]
    fn a_removed_target_is_not_begun_and_what_was_begun_leaves_its_place() {
        let mut roster = roster(2);
        let (first, _) = roster.begin(at(1)).unwrap();
        roster.remove(first);
        assert_eq!(roster.on_probed(first, last(Verdict::Passed)), None);
        roster.on_left(first, at(1), at(1), 0.5);
        let (second, _) = roster.begin(at(1)).unwrap();
        roster.remove(second);
        roster.on_left(second, at(1), at(1), 0.5);
        assert_eq!((roster.len(), roster.in_flight), (0, 0));
        assert_eq!(begin_all(&mut roster, at(100)), []);
    }

    #[test]
    fn the_next_probe_comes_sooner_while_the_state_may_change() {
        let mut roster = roster(1);
        let (id, _) = roster.begin(at(1)).unwrap();
        roster.on_probed(id, last(Verdict::Failed("reset".into())));
        let sooner = roster.on_left(id, at(1), at(1), 0.5);
        assert_eq!(sooner, Some(at(1) + SECOND / 2));
        let (id, _) = roster.begin(at(2)).unwrap();
        roster.on_probed(id, last(Verdict::Failed("reset".into())));
        assert_eq!(roster.on_left(id, at(2), at(2), 0.5), Some(at(3)));
    }

    #[test]
    fn what_is_known_follows_every_probe_and_changes_are_told_once() {
        let mut roster = roster(1);
        let watch = Arc::clone(&roster.targets.values().next().unwrap().watch);
        let (id, _) = roster.begin(at(1)).unwrap();
        let failed = || last(Verdict::Failed("status 503".into()));
        assert_eq!(roster.on_probed(id, failed()), None);
        let (change, view) = roster.on_probed(id, failed()).unwrap();
        assert_eq!(
            (change.to, view.state, view.since),
            (State::Down, State::Down, at(9))
        );
        assert_eq!(view.error().unwrap().as_str(), "status 503");
        assert_eq!((view.failed_total, view.streak), (2, Streak::Failed(2)));
        assert_eq!(watch.view(), view);
    }

    #[test]
    fn a_probe_that_was_not_made_counts_for_nothing() {
        let mut roster = roster(1);
        let watch = Arc::clone(&roster.targets.values().next().unwrap().watch);
        let (id, _) = roster.begin(at(1)).unwrap();
        let not_made = || last(Verdict::NotMade("no descriptor left".into()));
        for _ in 0..5 {
            assert_eq!(roster.on_probed(id, not_made()), None);
        }
        let view = watch.view();
        assert_eq!(
            (view.state, view.streak, view.failed_total),
            (State::Up, Streak::None, 0)
        );
        assert_eq!(view.error().unwrap().as_str(), "no descriptor left");
    }
}
