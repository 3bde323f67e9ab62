//! The control thread: one tokio-uring runtime in which signals and commands are answered one after the other, and beside
//! them everything that goes on by itself.

use super::Proxy;
use super::admin::Admin;
use super::bequest::Heir;
use super::command::{self, Answer, Asked, Command, Kind, Refusal};
use super::history::History;
use super::reload::Source;
use super::signals::{Signals, Wish};
use super::systemd::Systemd;
use super::upgrade::{self, Program, Successor};
use crate::config::duration_text;
use crate::ring::Time;
use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;

/// How often systemd is told how far a drain is.
const PROGRESS: Duration = Duration::from_secs(1);

/// How long visitors of the admin address may take at most when another process takes over.
const RELIEVED_WITHIN: Duration = Duration::from_millis(1500);

/// How serving ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Nobody is left.
    Drained,
    /// Somebody would not wait.
    AtOnce,
}

/// Says that it is ready, serves until SIGTERM or SIGINT, drains, and says how to exit. A second of these ends the process at once.
pub(super) fn serve(
    proxy: Proxy,
    source: &Source,
    admin: Option<Admin>,
    program: io::Result<Program>,
) -> ExitCode {
    let systemd = Systemd::from_env();
    let outcome = tokio_uring::start(attend(&proxy, source, admin.as_ref(), program, &systemd));
    // A Unix socket's file goes with it.
    drop(admin);
    match outcome {
        Ok(End::Drained) => {
            proxy.join();
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        // Workers are still at it: nobody waits for them.
        Ok(End::AtOnce) => std::process::exit(0),
        Err(e) => {
            tracing::error!("cannot listen for signals: {e}");
            ExitCode::from(super::EX_OSERR)
        }
    }
}

async fn attend(
    proxy: &Proxy,
    source: &Source,
    admin: Option<&Admin>,
    program: io::Result<Program>,
    systemd: &Systemd,
) -> io::Result<End> {
    let mut signals = Signals::listen()?;
    let history = History::default();
    let (orders, queue) = command::channel();
    let at = admin.map(Admin::address);
    // Not before: who sees `ready` may send a signal, which would kill a process that does not listen yet.
    proxy.announce(at.as_deref());
    upgrade::tell_predecessor();
    let relief = Relief::default();
    let answering = async {
        // Else somebody who asked the process before would see counters go back. And systemd hears the service's main
        // process alone, which this one is from then on.
        proxy.predecessor_retires().await;
        systemd.ready(&format!("serving {}", proxy.listening()));
        proxy.store_sockets(systemd);
        if let Some(admin) = admin {
            let relieved = &relief.wanted;
            admin.serve(proxy, &history, &orders, relieved).await;
        }
        relief.given.notify_one();
        std::future::pending::<Infallible>().await
    };
    let mut course = Course::new(proxy, source, systemd);
    course.upgrades = Some(Upgrades {
        program,
        admin,
        relief: &relief,
        history: &history,
        succession: Succession::None,
    });
    tokio::select! {
        end = course.run(&mut signals, queue) => Ok(end),
        never = proxy.watch_workers(systemd) => match never {},
        never = proxy.watch_load() => match never {},
        never = proxy.watch_backends() => match never {},
        never = proxy.watch_certificates() => match never {},
        never = proxy.watch_names() => match never {},
        never = proxy.watch_ports() => match never {},
        never = history.watch(proxy) => match never {},
        never = proxy.follow_predecessor(&history) => match never {},
        never = answering => match never {},
    }
}

/// Answers at an admin address, with what has to be watched for that, for a program that runs a proxy of its own and ends it
/// by itself; for ever.
///
/// # Errors
/// When signals cannot be listened for.
///
/// # Panics
/// Outside of a tokio-uring runtime.
pub async fn answer(proxy: &Proxy, admin: &Admin) -> io::Result<Infallible> {
    let (source, systemd) = (Source::Flags, Systemd::default());
    let mut signals = Signals::listen()?;
    let history = History::default();
    let (commands, queue) = command::channel();
    let mut course = Course::new(proxy, &source, &systemd);
    let relieved = Notify::new();
    let answering = async {
        admin.serve(proxy, &history, &commands, &relieved).await;
        std::future::pending::<Infallible>().await
    };
    let obeying = async {
        course.run(&mut signals, queue).await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        never = obeying => match never {},
        never = proxy.watch_workers(&systemd) => match never {},
        never = proxy.watch_load() => match never {},
        never = history.watch(proxy) => match never {},
        never = answering => match never {},
    }
}

/// Where the process stands, and who wanted it so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Serving,
    /// Listeners close then. Whether the process ends after it.
    Leaving {
        until: Time,
        ends: bool,
    },
    Draining {
        ends: bool,
    },
}

/// The one place where changes are made.
struct Course<'a> {
    proxy: &'a Proxy,
    source: &'a Source,
    systemd: &'a Systemd,
    /// Where another process may take over.
    upgrades: Option<Upgrades<'a>>,
    stage: Stage,
}

/// What it takes for another process to take over.
struct Upgrades<'a> {
    program: io::Result<Program>,
    admin: Option<&'a Admin>,
    relief: &'a Relief,
    history: &'a History,
    succession: Succession,
}

/// The next process answers at the admin address in place of this one.
#[derive(Default)]
struct Relief {
    wanted: Notify,
    /// Nobody is answered any more.
    given: Notify,
}

/// Whether another process takes over.
enum Succession {
    None,
    /// It starts.
    Coming(Successor),
    /// It has, and is told what this one still counts.
    Over {
        heir: Heir,
        /// This process waits no longer for the one before it, whose account it passes on.
        until: Time,
    },
}

impl<'a> Course<'a> {
    fn new(proxy: &'a Proxy, source: &'a Source, systemd: &'a Systemd) -> Self {
        Self {
            proxy,
            source,
            systemd,
            upgrades: None,
            stage: Stage::Serving,
        }
    }

    async fn run(&mut self, signals: &mut Signals, mut orders: Receiver<Asked>) -> End {
        loop {
            let leaves = self.leaves_in();
            let others = self.waits_for_others();
            let progress = sleep(self.is_draining().then_some(PROGRESS));
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::End if self.is_ending() => {
                        tracing::warn!(cut = self.proxy.open(), "second signal: ending at once");
                        return End::AtOnce;
                    }
                    Wish::End => self.drain(true),
                    // What comes of it, it says itself.
                    Wish::Reload => drop(self.reload().await),
                    Wish::Upgrade => self.begin_upgrade(),
                },
                Some(Asked { command, answer }) = orders.recv() => {
                    let done = self.carry_out(command.clone()).await;
                    log("admin", &command, &done);
                    // Who asked may be gone.
                    let _ = answer.send(done);
                }
                served = serves(&mut self.upgrades) => self.on_successor(served).await,
                () = sleep(leaves) => self.on_left(),
                () = finished(self.proxy, others) => {
                    self.leave_all();
                    return End::Drained;
                }
                () = progress => self.tell_progress(),
            }
        }
    }

    async fn carry_out(&mut self, command: Command) -> Answer {
        match command {
            Command::Drain => {
                self.drain(false);
                Ok("draining".to_owned())
            }
            Command::Undrain => self.undrain().await,
            Command::SetState {
                backend,
                state,
                over,
            } => {
                self.proxy.set_admin(&backend, state, over)?;
                let leaving = over.map(leaving_within).unwrap_or_default();
                Ok(format!("{backend} is {}{leaving}", state.word()))
            }
            Command::SetWeight { backend, weight } => {
                self.proxy.set_weight(&backend, weight).await?;
                Ok(format!("{backend} has weight {weight}"))
            }
            Command::AddBackend { upstream, backend } => {
                let name = backend.name.clone();
                self.proxy.add_backend(&upstream, backend).await?;
                Ok(format!("{upstream}/{name} is added"))
            }
            Command::RemoveBackend { backend, over } => {
                self.proxy.remove_backend(&backend, over).await?;
                let fate =
                    over.map_or_else(|| "; its connections go on".to_owned(), leaving_within);
                Ok(format!("{backend} is removed{fate}"))
            }
            Command::Reload => self.reload().await,
        }
    }

    async fn reload(&self) -> Answer {
        self.systemd.reloading(Time::read_clock());
        let outcome = self.proxy.reload(self.source).await;
        self.proxy.store_sockets(self.systemd);
        self.systemd
            .ready(&format!("serving {}", self.proxy.listening()));
        outcome.map_err(|mistakes| Refusal::new(Kind::Wrong, mistakes))
    }

    /// Tells the next process everything, for the last time.
    fn leave_all(&mut self) {
        let Some(upgrades) = &mut self.upgrades else {
            return;
        };
        let over = std::mem::replace(&mut upgrades.succession, Succession::None);
        if let Succession::Over { heir, .. } = over {
            heir.tell_last(&self.proxy.deed(upgrades.history, true));
        }
    }

    /// Has `systemctl status` show how far the drain is, or tells the next process.
    fn tell_progress(&self) {
        if let Some(upgrades) = &self.upgrades
            && let Succession::Over { heir, .. } = &upgrades.succession
        {
            return heir.tell(&self.proxy.deed(upgrades.history, true));
        }
        let open = self.proxy.open();
        self.systemd
            .status(&format!("draining, open connections: {open}"));
    }

    fn is_draining(&self) -> bool {
        match self.stage {
            Stage::Serving => false,
            Stage::Leaving { .. } | Stage::Draining { .. } => true,
        }
    }

    fn is_ending(&self) -> bool {
        match self.stage {
            Stage::Serving => false,
            Stage::Leaving { ends, .. } | Stage::Draining { ends } => ends,
        }
    }

    /// Begins to drain, or has a drain that was begun end the process.
    fn drain(&mut self, ends: bool) {
        let config = self.proxy.config();
        let process = &config.process;
        if ends {
            self.systemd
                .stopping(process.drain_delay + process.drain_deadline);
        }
        match &mut self.stage {
            Stage::Serving => {
                say_draining(self.proxy);
                self.proxy.leave();
                self.tell_progress();
                let until = Time::read_clock() + process.drain_delay;
                self.stage = Stage::Leaving { until, ends };
                if process.drain_delay.is_zero() {
                    self.on_left();
                }
            }
            Stage::Leaving { ends: after, .. } => *after |= ends,
            Stage::Draining { ends: after } => {
                *after |= ends;
                if ends {
                    self.close();
                }
            }
        }
    }

    /// The delay is over.
    fn on_left(&mut self) {
        if let Stage::Leaving { ends, .. } = self.stage {
            self.stage = Stage::Draining { ends };
            self.close();
        }
    }

    fn close(&self) {
        if self.is_last() {
            self.proxy.unstore_sockets(self.systemd);
        }
        let config = self.proxy.config();
        let process = &config.process;
        let (over, deadline) = (process.drain_over, process.drain_deadline);
        if self.is_ending() {
            self.proxy.drain(over, deadline);
        } else {
            self.proxy.pause(over, deadline);
        }
    }

    /// Whether nobody listens in place of this process when it does not.
    fn is_last(&self) -> bool {
        let succession = self.upgrades.as_ref().map(|it| &it.succession);
        !matches!(succession, Some(Succession::Over { .. }))
    }

    /// Starts this program anew, whatever is at its path now.
    fn begin_upgrade(&mut self) {
        let is_draining = self.is_draining();
        let Some(upgrades) = &mut self.upgrades else {
            return tracing::warn!("SIGUSR2 ignored: this is no `ringway run`");
        };
        if is_draining || !matches!(upgrades.succession, Succession::None) {
            return tracing::warn!("SIGUSR2 ignored: draining, or an upgrade is under way");
        }
        match upgrades.start(self.proxy) {
            Ok(successor) => {
                tracing::info!("upgrading: the next process starts");
                upgrades.succession = Succession::Coming(successor);
            }
            Err(e) => tracing::error!("cannot start the next process: {e}; this one goes on"),
        }
    }

    /// The next process serves, or never will.
    async fn on_successor(&mut self, served: Result<u32, String>) {
        let upgrades = self.upgrades.as_mut().expect("somebody was waited for");
        let coming = std::mem::replace(&mut upgrades.succession, Succession::None);
        let (pid, successor) = match (served, coming) {
            (Ok(pid), Succession::Coming(successor)) => (pid, successor),
            (Err(why), _) => {
                let message = "the next process does not take over";
                return tracing::error!("{message}: {why}; this one goes on");
            }
            (Ok(_), Succession::None | Succession::Over { .. }) => {
                unreachable!("only one that comes is waited for")
            }
        };
        // Before what is counted is told: whoever asks the next one sees no less.
        upgrades.relief.wanted.notify_one();
        let _ = tokio::time::timeout(RELIEVED_WITHIN, upgrades.relief.given.notified()).await;
        tracing::info!(pid, "upgraded: the next process serves, this one drains");
        self.systemd.succeeded_by(pid);
        let heir = successor.into_heir();
        heir.tell(&self.proxy.deed(upgrades.history, true));
        let until = Time::read_clock() + self.proxy.config().process.drain_deadline;
        upgrades.succession = Succession::Over { heir, until };
        self.proxy.stop_accepting().await;
        self.tell_progress();
        say_draining(self.proxy);
        self.proxy.leave();
        self.stage = Stage::Draining { ends: true };
        self.close();
    }

    async fn undrain(&mut self) -> Answer {
        if self.is_ending() {
            let message = "a signal asked the process to end, which is not taken back";
            return Err(Refusal::new(Kind::Conflict, message));
        }
        self.proxy.resume().await?;
        self.proxy.store_sockets(self.systemd);
        self.stage = Stage::Serving;
        self.systemd
            .status(&format!("serving {}", self.proxy.listening()));
        Ok("serving".to_owned())
    }

    /// How long this process, when its own connections are gone, waits for the one before it: it passes on what that one
    /// counts.
    fn waits_for_others(&self) -> Option<Time> {
        match &self.upgrades.as_ref()?.succession {
            Succession::Over { until, .. } => Some(*until),
            Succession::None | Succession::Coming(_) => None,
        }
    }

    fn leaves_in(&self) -> Option<Duration> {
        match self.stage {
            Stage::Leaving { until, .. } => Some(until - Time::read_clock()),
            Stage::Serving | Stage::Draining { .. } => None,
        }
    }
}

impl Upgrades<'_> {
    fn start(&self, proxy: &Proxy) -> io::Result<Successor> {
        let program = self.program.as_ref();
        let program = program.map_err(|e| io::Error::new(e.kind(), e.to_string()))?;
        let mut sockets = proxy.copy_sockets()?;
        let config = proxy.config();
        if let (Some(admin), Some(settings)) = (self.admin, &config.admin) {
            sockets.extend(admin.copy(settings)?);
        }
        program.start(sockets, &proxy.deed(self.history, false))
    }
}

/// Waits for what becomes of a successor, if there is one.
async fn serves(upgrades: &mut Option<Upgrades<'_>>) -> Result<u32, String> {
    match upgrades.as_mut().map(|it| &mut it.succession) {
        Some(Succession::Coming(successor)) => successor.serves().await,
        Some(Succession::None | Succession::Over { .. }) | None => std::future::pending().await,
    }
}

/// Waits until no connection is left, and the process before this one is gone or until then.
async fn finished(proxy: &Proxy, others: Option<Time>) {
    proxy.finished().await;
    if let Some(until) = others {
        proxy.predecessor_ends(until).await;
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// What becomes of a backend's connections, behind what was done.
fn leaving_within(over: Duration) -> String {
    format!("; its connections leave over {}", duration_text(over))
}

fn say_draining(proxy: &Proxy) {
    let config = proxy.config();
    let process = &config.process;
    tracing::info!(
        open = proxy.open(),
        per_worker = ?proxy.connections(),
        handed_over = proxy.handed_over(),
        delay = ?process.drain_delay,
        over = ?process.drain_over,
        deadline = ?process.drain_deadline,
        "draining"
    );
}

fn log(by: &str, command: &Command, answer: &Answer) {
    match answer {
        Ok(done) => tracing::info!(by, ?command, done, "command"),
        Err(refusal) => tracing::warn!(by, ?command, %refusal, "command refused"),
    }
}
