//! What is read of the answers: a part of `/status.json`, whose names are a contract.

use serde::{Deserialize, Serialize};

#[derive(Clone, Deserialize, Debug)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) uptime_seconds: f64,
    pub(super) phase: String,
    pub(super) connections: u64,
    pub(super) workers: Vec<Worker>,
    pub(super) listeners: Vec<Listener>,
    pub(super) upstreams: Vec<Upstream>,
}

#[derive(Clone, Deserialize, Debug)]
pub(super) struct Worker {
    pub(super) id: u64,
    pub(super) cpu: u64,
    pub(super) connections: u64,
    pub(super) accepted_total: u64,
    pub(super) busy_ratio: f64,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
}

#[derive(Clone, Deserialize, Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) connections: u64,
    pub(super) accepted_total: u64,
    pub(super) rejected_total: u64,
}

#[derive(Clone, Deserialize, Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    #[serde(default)]
    pub(super) removed_by_admin: Vec<String>,
    pub(super) backends: Vec<Backend>,
}

#[derive(Clone, Deserialize, Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) admin: String,
    /// Of a proxy that is older than this program: nothing.
    #[serde(default)]
    pub(super) changed_by_admin: Vec<String>,
    pub(super) health: String,
    pub(super) weight: u64,
    pub(super) connections: u64,
    #[serde(default)]
    pub(super) leaving: Option<Leaving>,
    pub(super) connections_total: u64,
    pub(super) connect_failures_total: u64,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    pub(super) probe: Option<Probe>,
}

/// Connections on their way out.
#[derive(Clone, Copy, Deserialize, Serialize, Debug)]
pub(super) struct Leaving {
    pub(super) connections_at_first: u64,
    pub(super) seconds_left: f64,
}

#[derive(Clone, Deserialize, Debug)]
pub(super) struct Probe {
    pub(super) last_result: Option<String>,
    pub(super) last_error: Option<String>,
}

/// What was done.
#[derive(Clone, Deserialize, Debug)]
pub(super) struct Done {
    pub(super) done: String,
}

/// What was wrong.
#[derive(Clone, Deserialize, Debug)]
pub(super) struct Mistake {
    pub(super) error: String,
}

impl Status {
    /// Every backend with its upstream's name.
    pub(super) fn backends(&self) -> impl Iterator<Item = (&str, &Backend)> {
        self.upstreams.iter().flat_map(|upstream| {
            let backends = upstream.backends.iter();
            backends.map(|backend| (upstream.name.as_str(), backend))
        })
    }
}

impl Probe {
    /// In one word or sentence.
    pub(super) fn summary(&self) -> &str {
        let result = self.last_result.as_deref().unwrap_or("none yet");
        self.last_error.as_deref().unwrap_or(result)
    }
}
