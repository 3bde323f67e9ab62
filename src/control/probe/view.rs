//! What is known of a target, for the log, the status page and metrics.

use crate::ring::Time;
use crate::upstream::health::{State, Streak};
use crate::wire::banner::Reason;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How a probe ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The backend is well.
    Passed,
    /// It is not.
    Failed(Reason),
    /// Nobody knows: this machine had no descriptor, port or memory left to ask with. Counts for nothing.
    NotMade(Reason),
}

impl Verdict {
    /// The word for status and metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::NotMade(_) => "not-made",
        }
    }
}

/// The last probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Last {
    /// How it ended.
    pub verdict: Verdict,
    /// From its begin to the verdict.
    pub duration: Duration,
    /// When that was.
    pub at: Time,
}

impl Last {
    /// Why it did not pass.
    pub fn error(&self) -> Option<&Reason> {
        match &self.verdict {
            Verdict::Passed => None,
            Verdict::Failed(reason) | Verdict::NotMade(reason) => Some(reason),
        }
    }
}

/// What is known of a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeView {
    /// Up or down.
    pub state: State,
    /// Since when it is in that state; of the first one, since it is probed.
    pub since: Time,
    /// The last probe, if there was one.
    pub last: Option<Last>,
    /// Probes in a row that said the same.
    pub streak: Streak,
    /// Probes that passed.
    pub passed_total: u64,
    /// Probes that failed.
    pub failed_total: u64,
}

impl ProbeView {
    pub(super) fn new(state: State, now: Time) -> Self {
        Self {
            state,
            since: now,
            last: None,
            streak: Streak::None,
            passed_total: 0,
            failed_total: 0,
        }
    }

    /// Why the last probe did not pass.
    pub fn error(&self) -> Option<&Reason> {
        self.last.as_ref().and_then(Last::error)
    }
}

/// A window on what is known of one target, for other threads too. Locked for a copy, never while anything waits.
#[derive(Debug)]
pub struct Watch(Mutex<ProbeView>);

impl Watch {
    pub(super) fn new(view: ProbeView) -> Self {
        Self(Mutex::new(view))
    }

    /// What is known now.
    pub fn view(&self) -> ProbeView {
        self.lock().clone()
    }

    pub(super) fn set(&self, view: ProbeView) {
        *self.lock() = view;
    }

    fn lock(&self) -> MutexGuard<'_, ProbeView> {
        self.0.lock().expect("nobody panics while copying")
    }
}
