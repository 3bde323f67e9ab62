//! A running proxy goes by another configuration. The difference is applied: what the new one still allows goes on, and
//! what cannot be had is refused before anything has changed.

use super::{Proxy, StartError, most, open};
use crate::config::{Config, Listener, Process};
use crate::control::Loaded;
use crate::control::access_log::Sink;
use crate::control::difference::Difference;
use crate::control::logging;
use crate::control::passed;
use crate::control::state::{Door, Share, State, ears};
use crate::ring::Time;
use crate::upstream::Snapshot;
use crate::worker::{self, Message, Order};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// How long a worker may take to follow. One that turns takes a millisecond.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(1);

/// What came of a change.
#[derive(Debug)]
pub(in crate::control) struct Applied {
    /// What is different now.
    pub(in crate::control) difference: Difference,
    /// Keys that the running process keeps as they were: they take another one.
    pub(in crate::control) kept: Vec<String>,
    /// Until every worker went by it.
    pub(in crate::control) took: Duration,
}

/// Where the next snapshot's listeners are, of the doors that there are and of new ones.
struct Doors {
    /// With their listeners' numbers.
    kept: BTreeMap<usize, u16>,
    added: BTreeMap<usize, Door>,
    shares: Vec<Share>,
}

impl Proxy {
    /// Goes by another configuration from now on, and waits until all workers do. One change after the other.
    ///
    /// # Errors
    /// What was refused, its likely cause and the fix. Nothing has changed.
    pub(in crate::control) async fn apply(&self, loaded: Loaded) -> Result<Applied, StartError> {
        let Loaded { mut config, tls } = loaded;
        let _one = self.changing.lock().await;
        let began = Time::read_clock();
        if self.phase.get().is_draining() {
            let message =
                "it is draining and takes no other configuration; start another process with it";
            return Err(StartError(message.to_owned()));
        }
        let old = self.names.configured();
        let kept = keep(&old, &mut config);
        let difference = Difference::between(&old, &config);
        let moved = old.log.access != config.log.access || old.log.format != config.log.format;
        let log = moved.then(|| Sink::open(&config.log)).transpose();
        let log = log.map_err(StartError)?;
        if *old != config || !tls.is_same(&self.tls()) {
            let answers = self.names.first_answers(&config).await;
            let effective = Loaded {
                config: self.names.effective_with(&config, &answers),
                tls,
            };
            self.post_all(effective, Time::read_clock())?;
            if let Some(log) = log {
                self.log.switch(log);
            }
            self.names.take(config, &answers);
            self.spare_the_ready();
            self.followed().await;
        }
        Ok(Applied {
            difference,
            kept,
            took: Time::read_clock() - began,
        })
    }

    /// Asks for the names of backends, and goes by other addresses when they stand for others, for ever.
    pub async fn watch_names(&self) -> Infallible {
        self.names.watch(async || self.follow_names().await).await
    }

    async fn follow_names(&self) {
        let _one = self.changing.lock().await;
        let config = self.names.effective();
        if self.phase.get().is_draining() || *self.config() == config {
            return;
        }
        match self.post_all(
            Loaded {
                config,
                tls: self.tls(),
            },
            Time::read_clock(),
        ) {
            Ok(()) => self.followed().await,
            Err(refusal) => tracing::error!("other addresses are not used: {refusal}"),
        }
    }

    fn post_all(&self, loaded: Loaded, now: Time) -> Result<(), StartError> {
        let mut state = self.shared.state.borrow_mut();
        let Loaded { config, tls } = loaded;
        let next = state.snapshot.next(Arc::new(config), tls, now);
        let Doors {
            kept,
            added,
            shares,
        } = self.doors(&state, &next)?;
        state.move_to(next, &kept, added, now);
        state.dress();
        self.post_order(&state, &kept, shares);
        let config = &state.snapshot.config;
        self.limits.set_most(most(config, self.cpus.len()));
        logging::follow(&config.log);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Has every worker go by the state there is, where these doors belong and with these sockets besides.
    fn post_order(&self, state: &State, doors: &BTreeMap<usize, u16>, shares: Vec<Share>) {
        for ((post, share), worker) in self.shared.posts.iter().zip(shares).zip(0..) {
            post.post(Message::Follow(Box::new(Order {
                version: state.version,
                snapshot: state.snapshot.for_worker(worker),
                doors: doors.clone(),
                added: ears(share),
            })));
        }
    }

    /// Has every worker close its listening sockets, and waits until all have. Who was accepted just before is served.
    pub(in crate::control) async fn stop_accepting(&self) {
        let _one = self.changing.lock().await;
        {
            let mut state = self.shared.state.borrow_mut();
            state.let_go();
            state.version += 1;
            let nothing = self.cpus.iter().map(|_| Share::new()).collect();
            self.post_order(&state, &BTreeMap::new(), nothing);
        }
        self.followed().await;
        let until = Time::read_clock() + FOLLOWED_WITHIN;
        let listens = || self.stats.iter().any(|stats| stats.listening.get() > 0);
        while listens() && Time::read_clock() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Copies of all listening sockets, each with what it is.
    pub(in crate::control) fn copy_sockets(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let state = self.shared.state.borrow();
        let mut copies = Vec::new();
        for door in state.doors.values() {
            let label = passed::label(&state.rules(door.listener).name, door.wanted);
            for (_, socket) in &door.sockets {
                copies.push((label.clone(), socket.try_clone()?));
            }
        }
        Ok(copies)
    }

    /// Listens wherever the next snapshot wants and nobody does yet.
    fn doors(&self, state: &State, next: &Snapshot) -> Result<Doors, StartError> {
        let mut kept = BTreeMap::new();
        let mut added = BTreeMap::new();
        let mut shares: Vec<_> = self.cpus.iter().map(|_| Share::new()).collect();
        for (rules, place) in next.config.listeners.iter().zip(0..) {
            let number = next.number_of(place);
            for &wanted in &rules.listen {
                let mut known = state.doors.iter();
                let same = |(at, door): &(&usize, &Door)| {
                    door.is_for(wanted, number) && !kept.contains_key(*at)
                };
                if let Some((at, _)) = known.find(same) {
                    kept.insert(*at, number);
                    continue;
                }
                let beside_us = state.has_port(wanted);
                let door = open(rules, (number, wanted), &self.cpus, Vec::new(), beside_us)?;
                let at = state.next_door + added.len();
                door.share_out(at, &mut shares)
                    .map_err(|e| super::refused(&rules.name, wanted, &e))?;
                added.insert(at, door);
            }
        }
        Ok(Doors {
            kept,
            added,
            shares,
        })
    }

    /// Waits until every worker goes by what was posted last.
    async fn followed(&self) {
        let version = self.shared.state.borrow().version;
        let until = Time::read_clock() + FOLLOWED_WITHIN;
        let behind = || {
            let mut workers = self.stats.iter();
            workers.position(|stats| stats.version.get() < version)
        };
        while let Some(worker) = behind() {
            if Time::read_clock() > until {
                tracing::error!(worker, "a worker does not take the new configuration");
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl State {
    fn move_to(
        &mut self,
        next: Snapshot,
        kept: &BTreeMap<usize, u16>,
        added: BTreeMap<usize, Door>,
        now: Time,
    ) {
        self.doors.retain(|at, _| kept.contains_key(at));
        for (at, listener) in kept {
            let door = self.doors.get_mut(at).expect("what is kept was there");
            door.listener = *listener;
        }
        self.next_door += added.len();
        self.doors.extend(added);
        self.snapshot = next;
        self.version += 1;
        self.since = now;
    }

    /// Gives every listening socket what its listener's rules say now: whoever is accepted from here on inherits it.
    fn dress(&self) {
        for door in self.doors.values() {
            let rules = &self.snapshot.sites[usize::from(door.listener)].rules;
            for (_, socket) in &door.sockets {
                if let Err(e) = worker::dress_again(rules, socket.as_fd()) {
                    tracing::warn!(listener = rules.name, address = %door.bound, "cannot change a listening socket: {e}");
                }
            }
        }
    }

    /// Whether this process listens at a port already, whatever the address.
    fn has_port(&self, wanted: SocketAddr) -> bool {
        let mut open = self.doors.values();
        open.any(|door| door.bound.port() == wanted.port())
    }
}

impl Door {
    /// Whether a listener that wants this address has it here. Port 0 is any: only its own listener's.
    fn is_for(&self, wanted: SocketAddr, number: u16) -> bool {
        self.wanted == wanted && (wanted.port() != 0 || self.listener == number)
    }
}

/// Takes back what a running process cannot change, and says what that was.
fn keep(old: &Config, new: &mut Config) -> Vec<String> {
    let mut kept = Vec::new();
    let Process { workers, spin, .. } = &old.process;
    keep_one(
        workers,
        &mut new.process.workers,
        "process.workers",
        &mut kept,
    );
    keep_one(spin, &mut new.process.spin, "process.spin", &mut kept);
    keep_one(&old.admin, &mut new.admin, "admin", &mut kept);
    for rules in &mut new.listeners {
        let same = |it: &&Listener| it.name == rules.name;
        if let Some(before) = old.listeners.iter().find(same) {
            let key = format!("listener \"{}\": incoming_cpu", rules.name);
            keep_one(
                &before.incoming_cpu,
                &mut rules.incoming_cpu,
                &key,
                &mut kept,
            );
        }
    }
    kept
}

fn keep_one<T: Clone + PartialEq>(old: &T, new: &mut T, key: &str, kept: &mut Vec<String>) {
    if old != new {
        new.clone_from(old);
        kept.push(key.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Backend, Log, Upstream};

    /// A listener at this port.
    fn snapshot(port: u16) -> Snapshot {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Snapshot::new(Arc::new(Config {
            process: Process::default(),
            log: Log::default(),
            admin: None,
            listeners: vec![Listener::new("feed".into(), vec![address], 0)],
            upstreams: vec![Upstream::new("feed".into(), vec![Backend::new(address)])],
        }))
    }

    fn door(port: u16) -> Door {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Door {
            listener: 0,
            wanted: address,
            bound: address,
            sockets: Vec::new(),
        }
    }

    #[test]
    fn a_listener_that_moves_a_thousand_times_has_one_door_with_a_number_of_its_own() {
        let mut state = State::new(snapshot(1), vec![door(1)], Time::default());
        for port in 2..1002 {
            let at = state.next_door;
            let added = BTreeMap::from([(at, door(port))]);
            state.move_to(snapshot(port), &BTreeMap::new(), added, Time::default());
            assert_eq!(state.doors.keys().collect::<Vec<_>>(), [&at]);
        }
        assert_eq!((state.next_door, state.version), (1001, 1000));
        let kept = BTreeMap::from([(1000, 7)]);
        state.move_to(snapshot(1), &kept, BTreeMap::new(), Time::default());
        assert_eq!(state.doors[&1000].listener, 7, "it is another listener's");
    }
}
