//! When targets are probed, and who is told what.

use crate::support::probing::{Probing, target, with};
use crate::support::{Backend, wait};
use ringway::upstream::health::{State, Streak};
use ringway::wire::banner::Script;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn a_backend_that_dies_is_down_within_fall_intervals_and_back_after_rise() {
    let (backend, probing) = (Backend::new(), Probing::start());
    let address = backend.address();
    let probed = probing.add(target(Script::Tcp, address));
    probed.await_up();
    backend.close();
    probed.await_down("connection refused");
    let _again = Backend::on(address);
    probed.await_up();
    let states = probing
        .told()
        .into_iter()
        .map(|(_, change, error)| (change.to, error));
    let refused = || Some("connection refused".to_owned());
    let wanted = [
        (State::Up, None),
        (State::Down, refused()),
        (State::Up, None),
    ];
    assert_eq!(states.collect::<Vec<_>>(), wanted);
}

#[test]
fn detection_takes_no_longer_than_fall_intervals_and_a_timeout() {
    let (backend, probing) = (Backend::new(), Probing::start());
    let interval = Duration::from_millis(400);
    let target = target(Script::Tcp, backend.address());
    let probed = probing.add(with(target, |settings| settings.interval = interval));
    probed.await_up();
    backend.close();
    let ((), took) = wait::timed(|| probed.await_down("connection refused"));
    // Two intervals, of which the second is the faster one; the slack is for a busy machine.
    assert!(took < interval * 2 + Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_target_that_is_slow_to_answer_is_probed_once_at_a_time() {
    let (backend, probing) = (Backend::new(), Probing::start());
    let probed = probing.add(target(Script::Pop3, backend.address()));
    let first = backend.accept();
    // Eight intervals, none of which may begin another probe.
    wait::until("it times out", || probed.watch.view().failed_total == 1);
    first.expect_reset();
    let _second = backend.accept();
    assert_eq!(probed.watch.view().failed_total, 1);
}

#[test]
fn a_removed_target_is_left_alone() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let backend = Backend::serve(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let probing = Probing::start();
    let probed = probing.add(target(Script::Tcp, backend.address()));
    probed.await_up();
    probing.remove(probed.id);
    // One may be under way, one accepted and not counted yet. Ten more would have been made.
    let most = served.load(Ordering::Relaxed) + 2;
    wait::holds_for(Duration::from_millis(500), "nothing is probed", || {
        served.load(Ordering::Relaxed) <= most
    });
}

#[test]
fn targets_come_while_others_are_probed() {
    let (backend, probing) = (Backend::new(), Probing::start());
    probing
        .add(target(Script::Tcp, backend.address()))
        .await_up();
    let late = Backend::new();
    let probed = probing.add(target(Script::Tcp, late.address()));
    probed.await_up();
    let view = probed.watch.view();
    assert!(matches!(view.streak, Streak::Passed(2..)), "{view:?}");
    let last = view.last.unwrap();
    assert!(last.duration < crate::support::probing::TIMEOUT, "{last:?}");
}

#[test]
fn backends_that_hang_by_the_hundred_do_not_keep_others_from_being_probed() {
    let ((silent, _fillers), probing) = (Backend::silent(), Probing::start());
    // More than may be under way at once.
    for n in 0..300 {
        let mut target = target(Script::Tcp, silent.address());
        target.backend = format!("b{n}");
        probing.add(target);
    }
    let backend = Backend::new();
    probing
        .add(target(Script::Tcp, backend.address()))
        .await_up();
}
