//! What is known of each backend that is probed, and how many of its probes there were: their number outlives a change of
//! how it is probed, and the process.

use super::probe::{ProbeView, Watch};
use super::state::State;
use crate::base::Totals;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

const PASSED: &str = "passed";
const FAILED: &str = "failed";

/// By the names of the upstream and the backend.
type Names = (String, String);

/// All of them.
#[derive(Default, Debug)]
pub(super) struct Watches {
    now: RefCell<HashMap<Names, Arc<Watch>>>,
    /// Probes that others made before those.
    before: RefCell<HashMap<Names, Totals>>,
}

impl Watches {
    /// What is known of a backend; `None` if it is not probed.
    pub(super) fn view(&self, upstream: &str, backend: &str) -> Option<ProbeView> {
        let names = (upstream.to_owned(), backend.to_owned());
        let mut view = self.now.borrow().get(&names)?.view();
        if let Some(before) = self.before.borrow().get(&names) {
            view.passed_total += before.get(PASSED);
            view.failed_total += before.get(FAILED);
        }
        Some(view)
    }

    /// How many probes of a backend there were, and whether it is probed now.
    pub(super) fn counted(&self, upstream: &str, backend: &str) -> (Totals, bool) {
        if let Some(view) = self.view(upstream, backend) {
            return (totals(&view), true);
        }
        let names = (upstream.to_owned(), backend.to_owned());
        let before = self.before.borrow().get(&names).cloned();
        (before.unwrap_or_default(), false)
    }

    /// Counts probes that others made.
    pub(super) fn count(&self, upstream: &str, backend: &str, more: Totals) {
        let names = (upstream.to_owned(), backend.to_owned());
        *self.before.borrow_mut().entry(names).or_default() += more;
    }

    /// What is known of this one from now on, if anything.
    pub(super) fn set(&self, names: &Names, watch: Option<Arc<Watch>>) {
        let mut now = self.now.borrow_mut();
        let gone = match watch {
            Some(watch) => now.insert(names.clone(), watch),
            None => now.remove(names),
        };
        if let Some(gone) = gone {
            self.count(&names.0, &names.1, totals(&gone.view()));
        }
    }

    /// Keeps no number of backends that are not there any more.
    pub(super) fn forget_others(&self, state: &State) {
        let is_there = |upstream: &str, backend: &str| {
            let upstream = state.upstream(upstream);
            let mut members = upstream.iter().flat_map(|it| it.live().members());
            members.any(|member| member.name() == backend)
        };
        let mut before = self.before.borrow_mut();
        before.retain(|(upstream, backend), _| is_there(upstream, backend));
    }
}

fn totals(view: &ProbeView) -> Totals {
    let mut totals = Totals::default();
    totals.add(PASSED, view.passed_total);
    totals.add(FAILED, view.failed_total);
    totals
}
