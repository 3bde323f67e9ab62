//! Which backend gets a connection: the tier, and in it the policy's choice among those that may get one.

use super::live::{Demand, Live};
use super::tier::{Facts, Moment, Tier};
use super::{Terms, Upstream};
use crate::config::AllDown;
use crate::ring::Time;
use arrayvec::ArrayVec;

/// Seats that other workers may take between a look and the taking of one, before this one gives up: each of them
/// got a connection meanwhile.
const RACES: usize = 8;

/// What one choice goes by.
struct Choice<'a> {
    live: &'a Live,
    terms: Terms,
    demand: Demand,
    tried: &'a [u16],
    /// Seats that were lost to others.
    lost: ArrayVec<u16, RACES>,
    now: Time,
}

impl Facts for Choice<'_> {
    fn open(&self, at: u16) -> u64 {
        self.live.member(at).load()
    }

    fn is_usable(&self, at: u16) -> bool {
        let meets = self
            .live
            .member(at)
            .meets(self.demand, self.terms, self.now);
        meets && !self.tried.contains(&at) && !self.lost.contains(&at)
    }

    fn moment(&self) -> Option<Moment> {
        let is_whole = self.tried.is_empty() && self.lost.is_empty();
        is_whole.then_some((self.now, self.demand))
    }
}

impl Upstream {
    /// The backend for one more connection, whose seat is [left](super::Member::leave) when the connection ends: by the key where a
    /// hash decides, never one of those already tried.
    ///
    /// Backups only get what no ordinary backend may have. When nobody at all is up, `all_down` decides.
    pub fn pick(&self, key: u64, tried: &[u16], now: Time) -> Option<u16> {
        let up = [Demand::Paced, Demand::Up];
        let in_order = self
            .tiers()
            .flat_map(|tier| up.map(|demand| (tier, demand)));
        let last = match self.settings().all_down {
            AllDown::TryAll => Some(Demand::Any),
            AllDown::Refuse => None,
        };
        let resort = last
            .into_iter()
            .flat_map(|demand| self.tiers().map(move |tier| (tier, demand)));
        in_order
            .chain(resort)
            .find_map(|(tier, demand)| self.pick_of(tier, demand, key, tried, now))
    }

    fn pick_of(
        &self,
        tier: &Tier,
        demand: Demand,
        key: u64,
        tried: &[u16],
        now: Time,
    ) -> Option<u16> {
        let mut choice = Choice {
            live: &self.live,
            terms: self.terms(),
            demand,
            tried,
            lost: ArrayVec::new(),
            now,
        };
        while !choice.lost.is_full() {
            let at = tier.pick(key, &choice)?;
            if self.live.member(at).take(demand, choice.terms, now) {
                return Some(at);
            }
            choice.lost.push(at);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        AdminState, Backend, Balance, Config, Listener, Log, Process, Upstream as Settings,
    };
    use crate::upstream::Snapshot;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    const ALL: [Balance; 5] = [
        Balance::IpHash,
        Balance::Hash,
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::RandomTwo,
    ];

    fn backend(last: u8) -> Backend {
        Backend::new(SocketAddr::from(([192, 0, 2, last], 80)))
    }

    fn upstream(balance: Balance, change: impl FnOnce(&mut Settings)) -> Upstream {
        let mut settings = Settings::new("u".to_owned(), (1..=4).map(backend).collect());
        settings.balance = balance;
        change(&mut settings);
        let config = Config {
            process: Process::default(),
            log: Log::default(),
            admin: None,
            listeners: vec![Listener::new("l".to_owned(), Vec::new(), 0)],
            upstreams: vec![settings],
        };
        Snapshot::new(Arc::new(config)).upstreams.remove(0)
    }

    fn now() -> Time {
        Time::default() + Duration::from_secs(1_000)
    }

    /// Who gets the next 400 connections, which all stay.
    fn picked(upstream: &Upstream) -> Vec<u16> {
        (0..400_u64)
            .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .filter_map(|key| upstream.pick(key, &[], now()))
            .collect()
    }

    #[test]
    fn nobody_goes_to_a_backend_that_is_down_drained_or_in_maintenance_and_all_go_somewhere() {
        for balance in ALL {
            let it = upstream(balance, |_| {});
            it.live().member(0).set_down(true, now());
            it.live().member(1).set_admin(AdminState::Drain);
            it.live().member(2).set_admin(AdminState::Maint);
            assert_eq!(picked(&it), [3; 400], "{balance:?}");
        }
    }

    #[test]
    fn backups_get_what_the_others_may_not_have() {
        for balance in ALL {
            let it = upstream(balance, |settings| {
                settings.backends[3].backup = true;
                settings
                    .backends
                    .iter_mut()
                    .for_each(|b| b.max_connections = 100);
            });
            let all = picked(&it);
            assert_eq!(all.len(), 400, "{balance:?}");
            assert!(!all[..300].contains(&3), "{balance:?}");
            assert_eq!(all[300..], [3; 100], "{balance:?}");
            assert_eq!(it.pick(7, &[], now()), None, "{balance:?}: all are full");
        }
    }

    #[test]
    fn when_all_are_down_all_are_tried_or_none() {
        for balance in ALL {
            for (all_down, found) in [(AllDown::TryAll, true), (AllDown::Refuse, false)] {
                let it = upstream(balance, |settings| settings.all_down = all_down);
                it.live().member(0).set_admin(AdminState::Maint);
                assert!((1..4).all(|at| it.live().member(at).set_down(true, now())));
                let all = picked(&it);
                assert_eq!(!all.is_empty(), found, "{balance:?}");
                assert!(!all.contains(&0), "{balance:?}: not even then");
            }
        }
    }

    #[test]
    fn a_backend_that_was_tried_is_not_tried_again() {
        for balance in ALL {
            let it = upstream(balance, |_| {});
            let mut tried = Vec::new();
            while let Some(at) = it.pick(7, &tried, now()) {
                tried.push(at);
            }
            tried.sort_unstable();
            assert_eq!(tried, [0, 1, 2, 3], "{balance:?}");
        }
    }

    #[test]
    fn one_that_has_just_come_back_is_not_flooded_and_nobody_is_refused_for_that() {
        for balance in ALL {
            let slow = |settings: &mut Settings| settings.slow_start = Duration::from_secs(10);
            let it = upstream(balance, slow);
            it.live().member(2).set_down(true, now());
            it.live().member(2).set_down(false, now());
            let all = picked(&it);
            assert_eq!(all.len(), 400, "{balance:?}");
            assert!(
                all.iter().filter(|at| **at == 2).count() <= 2,
                "{balance:?}"
            );
            [0, 1, 3]
                .into_iter()
                .for_each(|at| it.live().member(at).set_admin(AdminState::Maint));
            assert_eq!(picked(&it), [2; 400], "{balance:?}: it is all there is");
        }
    }

    #[test]
    fn no_backend_has_more_than_the_load_factor_allows() {
        for balance in [Balance::IpHash, Balance::Hash] {
            let factor = crate::config::Ratio::new(1.25);
            let it = upstream(balance, |settings| settings.hash_load_factor = Some(factor));
            assert!(
                (0..400).all(|_| it.pick(7, &[], now()).is_some()),
                "one key alone"
            );
            assert!(
                (0..4).all(|at| it.live().member(at).open() <= 125),
                "{balance:?}"
            );
        }
    }

    #[test]
    fn workers_share_what_is_open() {
        let it = upstream(Balance::LeastConn, |_| {});
        let mut other = it.clone();
        other.start(1);
        for key in 0..200 {
            assert!(it.pick(key, &[], now()).is_some() && other.pick(key, &[], now()).is_some());
        }
        assert_eq!([0, 1, 2, 3].map(|at| it.live().member(at).open()), [100; 4]);
    }
}
