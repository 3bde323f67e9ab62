//! What the names of backends stand for. Asks for every name when its answer is no longer valid, keeps the last good answer
//! while there is no other, and makes of each change a configuration that has addresses only. Lives on the control
//! thread; workers know nothing of names.
//!
//! `lookup` asks, `expand` makes configurations of answers; here is when, and what is said of it in the log.

mod expand;
mod lookup;

use super::StartError;
use crate::config::{Address, Config};
use expand::{Answers, Member, expand};
use futures_util::future::join_all;
use lookup::{Found, Resolver};
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How long a start or a reload waits for the names that it has not met before. Then it goes on without their addresses.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// No name is asked for more often, however short its time to live is.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// A name without an answer is asked for again after so long, or after `resolve_interval` if that is shorter.
const RETRY: Duration = Duration::from_secs(5);

/// Names that are asked for at once: each asks for two kinds of record, and 32 questions fit one connection of the
/// resolver's.
const AT_ONCE: usize = 16;

/// Changes that come together, as they do when a server that was away is back, make one new configuration.
const GATHERED: Duration = Duration::from_millis(100);

/// The configuration as it was written, and what its names stand for.
#[derive(Debug)]
pub(super) struct Names {
    configured: watch::Sender<Arc<Config>>,
    answers: watch::Sender<Answers>,
}

impl Names {
    /// Asks for every name, waits a few seconds at most, and says what to run. A name without an answer is a
    /// backend that nobody gets to. If there are names it makes a runtime of its own: there must be none yet.
    ///
    /// # Errors
    /// When the system refuses what the runtime needs.
    pub(super) fn start(config: Config) -> Result<(Self, Config), StartError> {
        let names = Self {
            configured: watch::Sender::new(Arc::new(config.clone())),
            answers: watch::Sender::default(),
        };
        if asked(&config).is_empty() {
            return Ok((names, config));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| StartError(format!("cannot ask for names: {e}; raise LimitNOFILE")))?;
        let answers = runtime.block_on(names.first_answers(&config));
        names.take(config, &answers);
        let effective = names.effective();
        Ok((names, effective))
    }

    /// What was written.
    pub(super) fn configured(&self) -> Arc<Config> {
        Arc::clone(&self.configured.borrow())
    }

    /// What to run now.
    pub(super) fn effective(&self) -> Config {
        expand(&self.configured.borrow(), &self.answers.borrow())
    }

    /// What to run of another configuration, with these answers to the names that are new in it.
    pub(super) fn effective_with(&self, config: &Config, new: &Answers) -> Config {
        let mut answers = self.answers.borrow().clone();
        answers.extend(new);
        expand(config, &answers)
    }

    /// Takes another configuration, and these answers.
    pub(super) fn take(&self, config: Config, new: &Answers) {
        self.answers.send_modify(|known| {
            known.keep(&asked(&config));
            known.extend(new);
        });
        self.configured.send_replace(Arc::new(config));
    }

    /// Asks once for the names of another configuration that nothing is known of, and waits a few seconds at most.
    pub(super) async fn first_answers(&self, config: &Config) -> Answers {
        let new = {
            let known = self.answers.borrow();
            let names = asked(config).into_keys();
            names.filter(|name| !known.has(name)).collect()
        };
        first_answers(new, &Resolver::new(&config.process.resolvers)).await
    }

    /// Asks for all names again and again, for ever, and says so whenever there is something else to run.
    pub(super) async fn watch(&self, changed: impl AsyncFn()) -> Infallible {
        let (mut configured, mut answers) = (self.configured.subscribe(), self.answers.subscribe());
        loop {
            let config = Arc::clone(&configured.borrow_and_update());
            tokio::select! {
                // The sender is ours, so that it is always another configuration.
                _ = configured.changed() => {}
                never = ask_on(&config, &self.answers) => match never {},
                never = tell(&mut answers, &changed) => match never {},
            }
        }
    }
}

async fn tell(answers: &mut watch::Receiver<Answers>, changed: &impl AsyncFn()) -> Infallible {
    while answers.changed().await.is_ok() {
        tokio::time::sleep(GATHERED).await;
        answers.mark_unchanged();
        changed().await;
    }
    unreachable!("whoever watches has the sender")
}

/// The names that a configuration asks for, each with the shortest of its upstreams' intervals.
fn asked(config: &Config) -> HashMap<&Address, Duration> {
    let mut asked = HashMap::new();
    for upstream in &config.upstreams {
        for backend in &upstream.backends {
            if backend.address.socket().is_none() {
                asked
                    .entry(&backend.address)
                    .and_modify(|interval: &mut Duration| {
                        *interval = upstream.resolve_interval.min(*interval);
                    })
                    .or_insert(upstream.resolve_interval);
            }
        }
    }
    asked
}

/// Asks once for each.
async fn first_answers(names: Vec<&Address>, resolver: &Resolver) -> Answers {
    let (turns, found) = (turns(), RefCell::new(Answers::default()));
    let asking = names.into_iter().map(async |name| {
        let _turn = turns.acquire().await.expect("it is never closed");
        // Why there is none is said by whoever asks again.
        if let Ok(answer) = resolver.find(name).await {
            found.borrow_mut().put(name, answer.members);
        }
    });
    let all = tokio::time::timeout(FIRST_ANSWERS, join_all(asking)).await;
    if all.is_err() {
        tracing::warn!(waited = ?FIRST_ANSWERS, "some names have no answer yet: going on without their addresses");
    }
    found.into_inner()
}

/// Asks for all names of a configuration, for ever.
async fn ask_on(config: &Config, answers: &watch::Sender<Answers>) -> Infallible {
    let (resolver, turns) = (Resolver::new(&config.process.resolvers), turns());
    let asking = asked(config).into_iter().map(async |(name, interval)| {
        let mut asked = Asked {
            name,
            interval,
            answers,
            is_failing: false,
        };
        loop {
            let turn = turns.acquire().await.expect("it is never closed");
            let found = resolver.find(name).await;
            drop(turn);
            tokio::time::sleep(asked.on_found(found)).await;
        }
    });
    let _: Vec<Infallible> = join_all(asking).await;
    // Without names there is nothing to ask.
    std::future::pending().await
}

fn turns() -> Semaphore {
    Semaphore::new(AT_ONCE)
}

/// One name, and whether it has an answer at the moment.
struct Asked<'a> {
    name: &'a Address,
    interval: Duration,
    answers: &'a watch::Sender<Answers>,
    is_failing: bool,
}

impl Asked<'_> {
    /// Takes an answer, or goes on with the last one. For how long there is nothing to ask.
    fn on_found(&mut self, found: Result<Found, String>) -> Duration {
        match found {
            Ok(Found {
                members,
                ttl,
                lacks: None,
            }) => {
                self.succeeds();
                self.put(members);
                ttl.min(self.interval).max(PAUSE_MIN)
            }
            Ok(Found {
                members,
                lacks: Some(why),
                ..
            }) => {
                if !self.answers.borrow().has(self.name) {
                    self.put(members);
                }
                self.fails(&why)
            }
            Err(why) => self.fails(&why),
        }
    }

    fn put(&self, members: Vec<Member>) {
        self.answers.send_if_modified(|known| {
            let before = known.of(self.name).to_vec();
            let is_news = known.put(self.name, members);
            if is_news {
                let now = known.of(self.name);
                tracing::info!(
                    name = %self.name,
                    added = %listed(now, &before),
                    removed = %listed(&before, now),
                    addresses = now.len(),
                    "name stands for other addresses"
                );
            }
            is_news
        });
    }

    fn succeeds(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(name = %self.name, "name resolves again");
        }
    }

    fn fails(&mut self, why: &str) -> Duration {
        if !std::mem::replace(&mut self.is_failing, true) {
            let kept = self.answers.borrow().of(self.name).len();
            tracing::warn!(name = %self.name, why, kept, "name does not resolve: its last addresses are kept");
        }
        RETRY.min(self.interval).max(PAUSE_MIN)
    }
}

/// The addresses of those that the others do not have.
fn listed(members: &[Member], others: &[Member]) -> String {
    let has = |address| others.iter().any(|other| other.address == address);
    let only = members.iter().map(|member| member.address);
    let texts: Vec<String> = only
        .filter(|address| !has(*address))
        .map(|address| address.to_string())
        .collect();
    texts.join(" ")
}
