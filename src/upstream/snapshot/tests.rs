use super::*;
use crate::config::{AdminState, Backend, Balance, Log, Process};
use crate::upstream::Standing;
use crate::upstream::health::State;
use std::net::SocketAddr;
use std::time::Duration;

fn at(seconds: u64) -> Time {
    Time::default() + Duration::from_secs(1_000 + seconds)
}

fn backend(last: u8) -> Backend {
    Backend::new(SocketAddr::from(([192, 0, 2, last], 80)))
}

fn settings(name: &str, lasts: impl IntoIterator<Item = u8>) -> Settings {
    Settings::new(name.to_owned(), lasts.into_iter().map(backend).collect())
}

fn config(listeners: &[&str], upstreams: Vec<Settings>) -> Arc<Config> {
    let listener = |name: &&str| Listener::new((*name).to_owned(), Vec::new(), 0);
    Arc::new(Config {
        process: Process::default(),
        log: Log::default(),
        admin: None,
        listeners: listeners.iter().map(listener).collect(),
        upstreams,
    })
}

/// What comes after a snapshot, without TLS.
fn next(snapshot: &Snapshot, config: Arc<Config>) -> Snapshot {
    snapshot.next(config, Material::default(), at(0))
}

fn names(snapshot: &Snapshot) -> Vec<(&str, bool)> {
    let sites = snapshot.sites.iter();
    sites
        .map(|site| (&*site.rules.name, site.is_open))
        .collect()
}

#[test]
fn a_listener_keeps_its_number_and_its_seats_while_others_come_and_go() {
    let first = Snapshot::new(config(&["a", "b"], vec![settings("u", [1])]));
    assert!(first.sites[1].seats.acquire());
    let second = next(&first, config(&["c", "b"], vec![settings("u", [1])]));
    assert_eq!(names(&second), [("a", false), ("b", true), ("c", true)]);
    assert_eq!([0, 1].map(|place| second.number_of(place)), [2, 1]);
    assert_eq!(second.sites[1].seats.taken(), 1);
    let third = next(&second, config(&["a"], vec![settings("u", [1])]));
    assert_eq!(names(&third), [("a", true), ("b", false), ("c", false)]);
    assert!(Arc::ptr_eq(&first.sites[0].seats, &third.sites[0].seats));
}

#[test]
fn a_lower_limit_of_a_listener_holds_for_those_who_are_there_already() {
    let limited = |most| {
        let mut config = Config::clone(&config(&["a"], vec![settings("u", [1])]));
        config.listeners[0].max_connections = most;
        Arc::new(config)
    };
    let first = Snapshot::new(limited(2));
    assert!(first.sites[0].seats.acquire() && first.sites[0].seats.acquire());
    let second = next(&first, limited(1));
    second.sites[0].seats.release();
    assert!(
        !first.sites[0].seats.acquire(),
        "also for those who began before"
    );
    second.sites[0].seats.release();
    assert!(second.sites[0].seats.acquire());
}

#[test]
fn what_is_known_of_a_backend_outlives_every_change_around_it() {
    let first = Snapshot::new(config(&["a"], vec![settings("u", [1, 2, 3])]));
    let known = Arc::clone(first.upstreams[0].live().member(1));
    assert_eq!(first.upstreams[0].pick(0, &[0, 2], at(0)), Some(1));
    assert!(known.set_down(true, at(0)));
    let mut changed = settings("u", [4, 2]);
    changed.balance = Balance::LeastConn;
    changed.backends[1].weight = 7;
    let second = next(&first, config(&["a"], vec![settings("v", [9]), changed]));
    let same = second.upstreams[1].live().member(1);
    assert!(Arc::ptr_eq(&known, same));
    assert_eq!((same.open(), same.probed()), (1, State::Down));
    assert_eq!(second.upstreams[1].live().member(0).open(), 0);
    assert_eq!(second.upstreams[1].pick(0, &[], at(0)), Some(0), "it is up");
}

#[test]
fn another_address_is_another_backend_whatever_its_name() {
    let named = |last| {
        let mut settings = settings("u", [last]);
        settings.backends[0].name = "db".to_owned();
        config(&["a"], vec![settings])
    };
    let first = Snapshot::new(named(1));
    let second = next(&first, named(2));
    let members = [&first, &second].map(|it| it.upstreams[0].live().member(0));
    assert!(!Arc::ptr_eq(members[0], members[1]));
}

#[test]
fn what_an_admin_said_stands_until_the_file_says_otherwise_than_it_did() {
    let with = |state, weight| {
        let mut settings = settings("u", [1, 2]);
        settings.backends[0].state = state;
        settings.backends[0].weight = weight;
        config(&["a"], vec![settings])
    };
    let first = Snapshot::new(with(AdminState::Ready, 1));
    let live = Arc::clone(first.upstreams[0].live().member(0));
    live.set_admin(AdminState::Maint);
    let second = next(&first, with(AdminState::Ready, 2));
    assert_eq!(
        live.standing(at(0)),
        Standing::Maint,
        "the file said ready before"
    );
    let third = next(&second, with(AdminState::Drain, 2));
    assert_eq!(live.standing(at(0)), Standing::Drain);
    let _ = next(&third, with(AdminState::Ready, 2));
    assert_eq!(live.standing(at(0)), Standing::Up);
}

#[test]
fn a_backend_that_is_new_in_an_upstream_gets_its_share_slowly_and_others_do_not_notice() {
    let slow = |lasts: &[u8]| {
        let mut settings = settings("u", lasts.iter().copied());
        settings.slow_start = Duration::from_secs(10);
        settings.balance = Balance::RoundRobin;
        config(&["a"], vec![settings])
    };
    let first = Snapshot::new(slow(&[1]));
    let second = next(&first, slow(&[1, 2]));
    let picked = (0..100).filter_map(|_| second.upstreams[0].pick(0, &[], at(0)));
    let to_new = picked.filter(|at| *at == 1).count();
    assert!(to_new <= 2, "{to_new} of 100 in its first moment");
}

#[test]
fn a_worker_keeps_what_is_the_same_and_goes_on_where_it_stood() {
    let round_robin = |name: &str, lasts: [u8; 3]| {
        let mut settings = settings(name, lasts);
        settings.balance = Balance::RoundRobin;
        settings
    };
    let (u, v) = (round_robin("u", [1, 2, 3]), round_robin("v", [4, 5, 6]));
    let first = Snapshot::new(config(&["a"], vec![u.clone(), v]));
    let worker = Current::new(first.for_worker(0));
    let begun = worker.upstreams[0].pick(0, &[], at(0));
    let second = next(&first, config(&["a"], vec![round_robin("v", [4, 5, 7]), u]));
    let next = worker.next(second.for_worker(0));
    assert!(Rc::ptr_eq(&worker.upstreams[0], &next.upstreams[1]));
    assert!(!Rc::ptr_eq(&worker.upstreams[1], &next.upstreams[0]));
    assert_ne!(
        next.upstreams[1].pick(0, &[], at(0)),
        begun,
        "not from the start again"
    );
}
