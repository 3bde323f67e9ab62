//! What a configuration may say and its author seldom means: `ringway validate` and a start print it.

use super::hash_key::HashKey;
use super::host_pattern::HostPattern;
use super::model::{
    AcceptProxy, AdminState, Balance, Config, Listener, Mode, Process, Relay, Route, Upstream,
};
use super::networks::Networks;
use super::words::MODES;
use std::time::Duration;

/// An idle timeout below this cuts feeds whose clients ping as rarely as clients usually do.
const PING_INTERVAL_USUAL: Duration = Duration::from_mins(1);

impl Config {
    /// What is allowed but seldom meant, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let process = self.process.warning();
        let listeners = self.listeners.iter().flat_map(Listener::warnings);
        let upstreams = (0..self.upstreams.len()).flat_map(|at| self.upstream_warnings(at));
        process
            .into_iter()
            .chain(listeners)
            .chain(upstreams)
            .collect()
    }

    fn upstream_warnings(&self, at: usize) -> Vec<String> {
        let upstream = &self.upstreams[at];
        let listeners: Vec<&Listener> = self
            .listeners
            .iter()
            .filter(|listener| listener.leads_to().any(|upstream| upstream == at))
            .collect();
        let hash = if listeners.is_empty() {
            vec!["is used by no listener".to_owned()]
        } else {
            upstream.hash_warnings(&listeners)
        };
        let found = hash
            .into_iter()
            .chain(upstream.load_factor_warning())
            .chain(upstream.tls_warning())
            .chain(upstream.backend_warning());
        let of = |warning| format!("upstream \"{}\" {warning}", upstream.name);
        found.map(of).collect()
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
    fn warnings(&self) -> Vec<String> {
        let idle = (self.idle_timeout < PING_INTERVAL_USUAL).then(|| {
            "idle_timeout is below 60s, the usual interval of pings: quiet clients will be cut off"
                .to_owned()
        });
        let found = idle
            .into_iter()
            .chain(self.proxy_warning())
            .chain(self.admission_warning())
            .chain(self.slow_client_warning())
            .chain(self.route_warnings());
        let of = |warning| format!("listener \"{}\": {warning}", self.name);
        found.map(of).collect()
    }

    fn proxy_warning(&self) -> Option<String> {
        let warning = match (self.proxy_protocol, self.proxy_protocol_from.is_empty()) {
            (AcceptProxy::Off, false) => {
                "proxy_protocol_from is set and proxy_protocol is off: no header is read"
            }
            (AcceptProxy::Optional, true) => {
                "proxy_protocol is optional and proxy_protocol_from is empty: any client can claim any address"
            }
            (AcceptProxy::Off | AcceptProxy::Required, true)
            | (AcceptProxy::Optional | AcceptProxy::Required, false) => return None,
        };
        Some(warning.to_owned())
    }

    fn slow_client_warning(&self) -> Option<String> {
        let is_bounded = self.notsent_lowat > 0 && self.relay != Relay::Splice;
        (is_bounded && self.slow_client.unsent > self.notsent_lowat).then(|| {
            "slow_client.unsent is above notsent_lowat: who stops to read messages may never leave so much unsent".to_owned()
        })
    }

    fn admission_warning(&self) -> Option<String> {
        self.admits_none_of(&Networks::everything())
            .then(|| "deny covers all of allow: no client is let in".to_owned())
    }

    /// Whether no client of `networks` is let in. Networks that `allow` and `deny` together shut out, each a part, are
    /// not found: no file has been seen that does it.
    fn admits_none_of(&self, networks: &Networks) -> bool {
        let is_apart = !self.allow.is_empty() && self.allow.is_apart_from(networks);
        let is_denied_whole = !self.allow.is_empty() && self.deny.covers(&self.allow);
        is_apart || is_denied_whole || self.deny.covers(networks)
    }

    fn route_warnings(&self) -> impl Iterator<Item = String> {
        let reasons = (0..self.routes.len()).map(|at| (at, self.never_matches(at)));
        reasons.filter_map(|(at, reason)| Some(format!("route[{at}] never matches: {}", reason?)))
    }

    /// Why a route never matches, if so. A route that several earlier ones only together take all from is not found.
    fn never_matches(&self, at: usize) -> Option<String> {
        let route = &self.routes[at];
        let earlier = self.routes[..at].iter();
        if let Some(first) = earlier.clone().position(|first| first.covers(route)) {
            return Some(format!("route[{first}] before it matches all that it does"));
        }
        (!route.client.is_empty() && self.admits_none_of(&route.client))
            .then(|| "its client networks are not let in, by allow or deny".to_owned())
    }
}

impl Route {
    /// Whether every connection that `later` matches is matched here too: each of our conditions follows from its own.
    fn covers(&self, later: &Self) -> bool {
        let begins = |ours: &str| {
            let theirs = later.path_prefix.as_deref();
            // Every path begins with a slash, but not every stream has one: HTTP/2 has no head to read.
            (ours == "/" && later.needs_head())
                || theirs.is_some_and(|theirs| theirs.starts_with(ours))
        };
        let is_inside = !later.client.is_empty() && self.client.covers(&later.client);
        covers_host(self.host.as_ref(), later.host.as_ref())
            && covers_host(self.sni.as_ref(), later.sni.as_ref())
            && self.path_prefix.as_deref().is_none_or(begins)
            && (self.upgrade.is_none() || self.upgrade == later.upgrade)
            && (self.client.is_empty() || is_inside)
    }

    fn needs_head(&self) -> bool {
        self.host.is_some() || self.path_prefix.is_some() || self.upgrade.is_some()
    }
}

fn covers_host(ours: Option<&HostPattern>, theirs: Option<&HostPattern>) -> bool {
    ours.is_none_or(|ours| theirs.is_some_and(|theirs| ours.covers(theirs)))
}

impl Upstream {
    /// `listeners`: those that lead here.
    fn hash_warnings(&self, listeners: &[&Listener]) -> Vec<String> {
        let is_seen = |mode: Mode| listeners.iter().any(|listener| listener.sees(mode));
        match self.balance {
            Balance::IpHash | Balance::RoundRobin | Balance::LeastConn | Balance::RandomTwo => {
                let warning = "has a hash_key, which counts with balance = \"hash\" only";
                let is_default = self.hash_key == [HashKey::ClientIp];
                (!is_default)
                    .then(|| warning.to_owned())
                    .into_iter()
                    .collect()
            }
            Balance::Hash => self
                .hash_key
                .iter()
                .filter_map(|key| Some((key, key.mode().filter(|mode| !is_seen(*mode))?)))
                .map(|(key, mode)| {
                    let word = MODES.name(mode);
                    format!("has the hash key \"{key}\", which is never there: no listener with mode = \"{word}\" leads to it")
                })
                .collect(),
        }
    }

    fn load_factor_warning(&self) -> Option<String> {
        let warning =
            "has a hash_load_factor, which counts with balance = \"ip_hash\" or \"hash\" only";
        match self.balance {
            Balance::IpHash | Balance::Hash => None,
            Balance::RoundRobin | Balance::LeastConn | Balance::RandomTwo => {
                self.hash_load_factor.map(|_| warning.to_owned())
            }
        }
    }

    fn tls_warning(&self) -> Option<String> {
        let is_blind = self.tls.as_ref().is_some_and(|tls| !tls.verify);
        let warning = "has tls.verify = false: whoever answers at a backend's address is believed";
        is_blind.then(|| warning.to_owned())
    }

    /// Of both mistakes the worse.
    fn backend_warning(&self) -> Option<String> {
        let backends = &self.backends;
        if backends.iter().all(|b| b.state != AdminState::Ready) {
            return Some("serves no client: each backend is in drain or maint".to_owned());
        }
        backends
            .iter()
            .all(|b| b.backup)
            .then(|| "has backups alone, which serve as if they were none".to_owned())
    }
}
