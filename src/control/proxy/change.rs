//! What can be changed of a proxy that runs, and what its workers can be asked.

use super::{Proxy, open};
use crate::config::{Address, AdminState, Backend, Config};
use crate::conn::Cause;
use crate::control::Loaded;
use crate::control::command::{BackendName, Kind, Refusal};
use crate::control::state::{Door, ears};
use crate::control::view::Phase;
use crate::ring::Time;
use crate::upstream::Member;
use crate::worker::{self, Listed, Message, Question, Wanted};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long workers get for an answer: far more than a turn takes, and short enough for the one who asks.
const ANSWER: Duration = Duration::from_millis(900);

/// How long listening sockets that were just told to close may take.
const CLOSING: Duration = Duration::from_secs(1);

/// How often to try again meanwhile.
const RETRY: Duration = Duration::from_millis(20);

impl Proxy {
    /// Says that it is about to stop taking clients, while it still takes them.
    pub fn leave(&self) {
        self.phase.set(Phase::Leaving);
    }

    /// Stops accepting; ends the open connections evenly `over` this long, what is left at the `deadline`; then the workers
    /// end.
    pub fn drain(&self, over: Duration, deadline: Duration) {
        self.stop_listening();
        self.tell(|| Message::Drain { over, deadline });
    }

    /// The same, but the workers stay: [`resume`](Self::resume) has them take clients again.
    pub fn pause(&self, over: Duration, deadline: Duration) {
        self.stop_listening();
        self.tell(|| Message::Pause { over, deadline });
    }

    fn stop_listening(&self) {
        self.phase.set(Phase::Draining);
        // From here on they leave with all the others.
        self.leaving.forget_all();
        self.shared.state.borrow_mut().let_go();
    }

    /// Takes clients again. After a [`pause`](Self::pause) the addresses are bound anew.
    ///
    /// # Errors
    /// When an address is not to be had any more: then nothing has changed.
    pub async fn resume(&self) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        match self.phase.get() {
            Phase::Serving => return Ok(()),
            Phase::Leaving => {}
            Phase::Draining => self.listen_again().await?,
        }
        self.phase.set(Phase::Serving);
        Ok(())
    }

    /// At every address that there was, whatever port the system chose for it.
    async fn listen_again(&self) -> Result<(), Refusal> {
        let wanted: Vec<_> = self.shared.state.borrow().bound().collect();
        let mut opened = Vec::new();
        for (number, address) in wanted {
            opened.push(self.open_when_free(number, address).await?);
        }
        let shares = self.shared.state.borrow_mut().reopen(opened, &self.cpus);
        let shares = shares.map_err(|e| Refusal::new(Kind::Failed, e.to_string()))?;
        for (post, share) in self.shared.posts.iter().zip(shares) {
            post.post(Message::Resume { ears: ears(share) });
        }
        Ok(())
    }

    async fn open_when_free(&self, number: u16, address: SocketAddr) -> Result<Door, Refusal> {
        let rules = self.shared.state.borrow().rules(number);
        let gives_up = Time::read_clock() + CLOSING;
        loop {
            match open(&rules, (number, address), &self.cpus, Vec::new(), false) {
                Ok(door) => return Ok(door),
                Err(e) if Time::read_clock() > gives_up => {
                    return Err(Refusal::new(Kind::Failed, e.to_string()));
                }
                // The workers' own sockets may not be closed yet.
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Says what is wanted of a backend. Holds at once, in all workers. Its connections stay, or leave evenly `over` so long,
    /// whatever was wanted of them before.
    ///
    /// # Errors
    /// When there is no such backend.
    pub fn set_admin(
        &self,
        name: &BackendName,
        wanted: AdminState,
        over: Option<Duration>,
    ) -> Result<(), Refusal> {
        let member = self.member(name)?;
        member.set_admin(wanted);
        match over {
            Some(over) => self.have_leave(member, over),
            None => self.spare(&member),
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    fn member(&self, name: &BackendName) -> Result<Arc<Member>, Refusal> {
        let state = self.shared.state.borrow();
        let (upstream, at) = place_of(&state.snapshot.config, name)?;
        let members = state.snapshot.upstreams[upstream].live().members();
        Ok(Arc::clone(&members[at]))
    }

    fn have_leave(&self, member: Arc<Member>, over: Duration) {
        let backend = &member;
        self.tell(|| Message::Evict {
            backend: Arc::clone(backend),
            over,
            cause: Cause::BackendDrain,
        });
        self.leaving.begin(member, over, Time::read_clock());
    }

    fn spare(&self, member: &Arc<Member>) {
        if self.leaving.forget(member) {
            let backend = || Arc::clone(member);
            self.tell(|| Message::Spare { backend: backend() });
        }
    }

    /// Who was drained with a time in which its connections were to leave, and is ready again by the configuration, keeps them.
    pub(super) fn spare_the_ready(&self) {
        for member in self.leaving.members() {
            if member.admin() == AdminState::Ready {
                self.spare(&member);
            }
        }
    }

    /// Gives a backend another share of new connections.
    ///
    /// # Errors
    /// When there is no such backend, its weight is not ours to say, or the workers cannot be told.
    pub async fn set_weight(&self, name: &BackendName, weight: u16) -> Result<(), Refusal> {
        let mut config = Config::clone(&self.names.configured());
        let (upstream, at) = place_of(&config, name)?;
        let backend = &mut config.upstreams[upstream].backends[at];
        if matches!(backend.address, Address::Srv(_)) {
            let message = format!("{name} has the weights of its SRV records; change them in DNS");
            return Err(Refusal::new(Kind::Conflict, message));
        }
        backend.weight = weight;
        self.go_by(config).await
    }

    /// Adds a backend to an upstream.
    ///
    /// # Errors
    /// When there is no such upstream, it has one of this name, or the workers cannot be told.
    pub async fn add_backend(&self, upstream: &str, backend: Backend) -> Result<(), Refusal> {
        let mut config = Config::clone(&self.names.configured());
        let at = upstream_of(&config, upstream)?;
        let backends = &mut config.upstreams[at].backends;
        if backends.iter().any(|it| it.name == backend.name) {
            let message = format!(
                "upstream {upstream} has a backend {:?} already",
                backend.name
            );
            return Err(Refusal::new(Kind::Conflict, message));
        }
        backends.push(backend);
        self.go_by(config).await
    }

    /// Takes a backend out of its upstream. Connections that it has go on, or leave evenly `over` so long.
    ///
    /// # Errors
    /// When there is no such backend, it is the last one, or the workers cannot be told.
    pub async fn remove_backend(
        &self,
        name: &BackendName,
        over: Option<Duration>,
    ) -> Result<(), Refusal> {
        let mut config = Config::clone(&self.names.configured());
        let (upstream, at) = place_of(&config, name)?;
        let backends = &mut config.upstreams[upstream].backends;
        if backends.len() == 1 {
            let message = format!(
                "{name} is the only backend of its upstream; set its state to maint instead"
            );
            return Err(Refusal::new(Kind::Conflict, message));
        }
        backends.remove(at);
        // What stands for many is none of them.
        let member = self.member(name);
        if over.is_some() && member.is_err() {
            let message = format!(
                "{name} stands for backends of other names; drain these with a time to leave, then remove it"
            );
            return Err(Refusal::new(Kind::Conflict, message));
        }
        self.go_by(config).await?;
        if let (Ok(member), Some(over)) = (member, over) {
            member.set_admin(AdminState::Drain);
            self.have_leave(member, over);
        }
        Ok(())
    }

    async fn go_by(&self, config: Config) -> Result<(), Refusal> {
        let tls = self.tls();
        let applied = self.apply(Loaded { config, tls }).await;
        applied.map_err(|e| Refusal::new(Kind::Conflict, e.to_string()))?;
        Ok(())
    }

    /// Open connections of all workers, those that are found first, the oldest of these first. The second value tells how
    /// many workers did not answer in time.
    pub async fn list(&self, wanted: &Wanted) -> (Vec<Listed>, usize) {
        let answers = self.ask(|answer| Question::List(wanted.clone(), answer));
        let answers = answers.await;
        let silent = answers.iter().filter(|answer| answer.is_none()).count();
        let mut listed: Vec<_> = answers.into_iter().flatten().flatten().collect();
        listed.sort_by_key(|it| std::cmp::Reverse(it.age));
        listed.truncate(wanted.limit);
        (listed, silent)
    }

    /// Closes a connection. Whether there was one of this id.
    pub async fn kill(&self, id: u64) -> bool {
        let answers = self.ask(|answer| Question::Kill(id, answer)).await;
        answers.into_iter().flatten().any(|found| found)
    }

    /// Asks every worker. `None` for one that did not answer in time.
    async fn ask<T>(&self, question: impl Fn(oneshot::Sender<T>) -> Question) -> Vec<Option<T>> {
        let ask = |post: &worker::Post| {
            let (answer, answered) = oneshot::channel();
            post.post(Message::Ask(question(answer)));
            answered
        };
        let asked: Vec<_> = self.shared.posts.iter().map(ask).collect();
        let patience = tokio::time::sleep(ANSWER);
        tokio::pin!(patience);
        let mut answers = Vec::new();
        for mut answered in asked {
            let answer = tokio::select! {
                biased;
                answer = &mut answered => answer.ok(),
                () = &mut patience => None,
            };
            answers.push(answer);
        }
        answers
    }

    fn tell(&self, message: impl Fn() -> Message) {
        self.shared
            .posts
            .iter()
            .for_each(|post| post.post(message()));
    }
}

fn upstream_of(config: &Config, name: &str) -> Result<usize, Refusal> {
    let found = config.upstreams.iter().position(|it| it.name == name);
    let known = config.upstreams.iter().map(|it| it.name.as_str());
    found.ok_or_else(|| unknown("upstream", name, known))
}

/// The places of a backend's upstream and its own.
fn place_of(config: &Config, name: &BackendName) -> Result<(usize, usize), Refusal> {
    let upstream = upstream_of(config, &name.upstream)?;
    let backends = &config.upstreams[upstream].backends;
    let found = backends.iter().position(|it| it.name == name.backend);
    let known = backends.iter().map(|it| it.name.as_str());
    let at = found.ok_or_else(|| unknown("backend", &name.backend, known))?;
    Ok((upstream, at))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Refusal {
    /// More would not be read.
    const SHOWN_MAX: usize = 20;
    let known: Vec<_> = known.take(SHOWN_MAX + 1).collect();
    let more = if known.len() > SHOWN_MAX { ", …" } else { "" };
    let known = known[..known.len().min(SHOWN_MAX)].join(", ");
    let message = format!("no {what} {name:?}; there are: {known}{more}");
    Refusal::new(Kind::Unknown, message)
}
