//! Waiting for events: always with a deadline, never for a fixed time. The one home of the clock and of sleep in tests.

use std::time::{Duration, Instant};

/// What any single step may take on a machine that does other things besides. Reached only by a failing test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The clock.
#[expect(
    clippy::disallowed_methods,
    reason = "tests of a real process live in real time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Between two looks at something that cannot be waited for otherwise (/proc, another process).
#[expect(
    clippy::disallowed_methods,
    reason = "the step of a poll, bounded by its caller"
)]
pub(crate) fn tick() {
    std::thread::sleep(Duration::from_millis(2));
}

/// Polls until it is true. Panics with the sentence after [`PATIENCE`].
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}

/// Polls until there is a value. Panics with the sentence after [`PATIENCE`].
#[track_caller]
pub(crate) fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(now() < deadline, "not within {PATIENCE:?}: {what}");
        tick();
    }
}

/// Polls for this long and panics as soon as it no longer holds. For what must not happen.
#[track_caller]
pub(crate) fn holds_for(span: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = now() + span;
    loop {
        assert!(holds(), "no longer holds: {what}");
        if now() >= end {
            return;
        }
        tick();
    }
}

/// How long that took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = now();
    let value = act();
    (value, began.elapsed())
}
