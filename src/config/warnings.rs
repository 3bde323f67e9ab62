//! What a configuration may say and its author seldom means: `ringway validate` and a start print it.

use super::model::{Config, Listener, Process};
use std::time::Duration;

/// An idle timeout below this cuts feeds whose clients ping as rarely as clients usually do.
const PING_INTERVAL_USUAL: Duration = Duration::from_mins(1);

impl Config {
    /// What is allowed but seldom meant, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let process = self.process.warning();
        let listeners = self.listeners.iter().filter_map(Listener::warning);
        let unused = (0..self.upstreams.len())
            .filter(|&upstream| self.listeners.iter().all(|l| l.upstream != upstream))
            .map(|upstream| {
                let name = &self.upstreams[upstream].name;
                format!("upstream \"{name}\" is used by no listener")
            });
        process.into_iter().chain(listeners).chain(unused).collect()
    }
}

impl Process {
    fn warning(&self) -> Option<String> {
        (self.drain_deadline < self.drain_over).then(|| {
            "process.drain_deadline is below drain_over: connections will be cut off before their turn to close".to_owned()
        })
    }
}

impl Listener {
    fn warning(&self) -> Option<String> {
        (self.idle_timeout < PING_INTERVAL_USUAL).then(|| {
            format!(
                "listener \"{}\": idle_timeout is below 60s, the usual interval of pings: quiet clients will be cut off",
                self.name
            )
        })
    }
}
