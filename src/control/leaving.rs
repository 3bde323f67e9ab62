//! Which backends' connections were asked to leave, and how far they are: for whoever looks, and for who wants something else.
//! The workers do it.

use super::view::Leave;
use crate::ring::Time;
use crate::upstream::Member;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// Backends that are to have no connections.
#[derive(Default, Debug)]
pub(super) struct Leaving(RefCell<Vec<Departure>>);

/// One of them.
#[derive(Debug)]
struct Departure {
    member: Arc<Member>,
    /// How many connections it had.
    from: u64,
    began: Time,
    over: Duration,
}

impl Departure {
    fn is_going_on(&self, now: Time) -> bool {
        self.member.open() > 0 || now < self.began + self.over
    }

    fn is_of(&self, member: &Arc<Member>) -> bool {
        Arc::ptr_eq(&self.member, member)
    }
}

impl Leaving {
    /// From now on this backend's connections leave; those that are through are forgotten.
    pub(super) fn begin(&self, member: Arc<Member>, over: Duration, now: Time) {
        let mut all = self.0.borrow_mut();
        all.retain(|it| it.is_going_on(now) && !it.is_of(&member));
        all.push(Departure {
            from: member.open(),
            member,
            began: now,
            over,
        });
    }

    /// They do not any more. Whether they did.
    pub(super) fn forget(&self, member: &Arc<Member>) -> bool {
        let mut all = self.0.borrow_mut();
        let before = all.len();
        all.retain(|it| !it.is_of(member));
        all.len() < before
    }

    /// None does any more.
    pub(super) fn forget_all(&self) {
        self.0.borrow_mut().clear();
    }

    /// All that were asked, and are not forgotten.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        let all = self.0.borrow();
        all.iter().map(|it| Arc::clone(&it.member)).collect()
    }

    /// How far a backend is, if its connections leave.
    pub(super) fn view(&self, member: &Arc<Member>, now: Time) -> Option<Leave> {
        let all = self.0.borrow();
        let its = all.iter().find(|it| it.is_of(member))?;
        its.is_going_on(now).then(|| Leave {
            from: its.from,
            over: its.over,
            left: its.began + its.over - now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Backend, Config, Listener, Upstream};
    use crate::upstream::Snapshot;
    use std::net::SocketAddr;

    fn members() -> Vec<Arc<Member>> {
        let backends = [1, 2].map(|last| Backend::new(SocketAddr::from(([192, 0, 2, last], 80))));
        let config = Config {
            process: crate::config::Process::default(),
            log: crate::config::Log::default(),
            admin: None,
            listeners: vec![Listener::new("l".into(), Vec::new(), 0)],
            upstreams: vec![Upstream::new("u".into(), backends.into())],
        };
        let snapshot = Snapshot::new(Arc::new(config));
        snapshot.upstreams[0].live().members().to_vec()
    }

    fn at(seconds: u64) -> Time {
        Time::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_backend_is_seen_to_leave_until_its_time_is_over() {
        let (leaving, members) = (Leaving::default(), members());
        leaving.begin(Arc::clone(&members[0]), Duration::from_secs(60), at(100));
        let seen = leaving.view(&members[0], at(115)).expect("it leaves");
        assert_eq!((seen.from, seen.left), (0, Duration::from_secs(45)));
        assert!(leaving.view(&members[1], at(115)).is_none());
        assert!(leaving.view(&members[0], at(160)).is_none());
        leaving.begin(Arc::clone(&members[1]), Duration::from_secs(60), at(160));
        assert_eq!(leaving.members().len(), 1, "what is over is forgotten");
    }

    #[test]
    fn the_last_word_counts() {
        let (leaving, members) = (Leaving::default(), members());
        leaving.begin(Arc::clone(&members[0]), Duration::from_secs(60), at(100));
        leaving.begin(Arc::clone(&members[0]), Duration::from_secs(5), at(101));
        assert_eq!(leaving.members().len(), 1);
        let seen = leaving.view(&members[0], at(102)).expect("it leaves");
        assert_eq!(seen.left, Duration::from_secs(4));
        assert!(leaving.forget(&members[0]) && !leaving.forget(&members[0]));
        assert!(leaving.view(&members[0], at(102)).is_none());
    }
}
