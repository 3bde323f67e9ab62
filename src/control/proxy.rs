//! A running proxy: its threads, where it listens, and how to tell it to stop.

mod apply;
mod change;
mod inherit;
mod look;

use super::access_log::AccessLog;
use super::backends::{self, Shared};
use super::leaving::Leaving;
use super::load::{Meter, Thread};
use super::passed::Passed;
use super::pulse::{self, Pulse};
use super::reload::Reloads;
use super::resolve::Names;
use super::state::{self, Door, Share, State};
use super::store::Store;
use super::systemd::Systemd;
use super::view::Phase;
use super::{certificates, cpus, limits};
use crate::config::{Config, Listener};
use crate::ring::{RecvMode, SetupError, Time, Uring, UringConfig, recv_mode};
use crate::tls::{Material, Mistakes};
use crate::upstream::Snapshot;
use crate::worker::{self, Board, Handover, Life, Limits, Mailbox, Post, Setup, Stats, Worker};
use inherit::Inheritance;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

/// Why a proxy did not start: what the operating system refused, with the fix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartError(pub(super) String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl From<SetupError> for StartError {
    fn from(error: SetupError) -> Self {
        Self(error.to_string())
    }
}

/// A proxy whose workers run. Dropping it does not stop them: [`drain`](Self::drain), then [`join`](Self::join).
pub struct Proxy {
    recv: RecvMode,
    cpus: Vec<usize>,
    stats: Vec<Arc<Stats>>,
    pulse: Pulse,
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
    /// The same, as the kernel knows them, once all have started.
    started: Vec<Thread>,
    finished: watch::Receiver<usize>,
    limits: Arc<Limits>,
    shared: Shared,
    names: Names,
    /// What the file said last, whatever an admin has changed since.
    pub(super) file: RefCell<Arc<Config>>,
    pub(super) log: AccessLog,
    phase: Cell<Phase>,
    /// Held while what it goes by is changed.
    changing: tokio::sync::Mutex<()>,
    pub(super) reloads: Cell<Reloads>,
    /// Backends whose connections were asked to leave.
    leaving: Leaving,
    inherited: Inheritance,
    store: Store,
    began: Time,
}

impl Proxy {
    /// Binds every listener, starts a worker per CPU and waits until all of them accept. Asks for the names of backends
    /// first, if there are any, and then must not be called inside a runtime.
    ///
    /// # Errors
    /// What was refused, or which of its files cannot be used, the likely cause and the fix. Nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let tls = Material::load(&config).map_err(|mistakes| unusable(&mistakes))?;
        Self::start_on(config, tls, Passed::default())
    }

    /// The same with files that were read already, on sockets that are bound already where there are such.
    pub(super) fn start_on(
        config: Config,
        tls: Material,
        mut passed: Passed,
    ) -> Result<Self, StartError> {
        let began = Time::read_clock();
        let inherited = Inheritance::of(passed.take_predecessor());
        let store = Store::with(passed.addresses());
        let recv = recv_mode()?;
        let file = RefCell::new(Arc::new(config.clone()));
        let (names, config) = Names::start(config)?;
        let config = Arc::new(config);
        let cpus = cpus::choose(&config.process.workers).map_err(StartError)?;
        if let Some(warning) = cpus::incoming_cpu_warning(&config.listeners, &cpus::release()) {
            tracing::warn!("{warning}");
        }
        let (shares, doors) = bind(&config, &cpus, passed)?;
        let (posts, mailboxes) = mailboxes(cpus.len())?;
        let limits = limits_of(&config, cpus.len());
        let log = AccessLog::start(&config.log).map_err(StartError)?;
        let (done, finished) = watch::channel(0);
        let stats: Vec<_> = cpus.iter().map(|_| Arc::default()).collect();
        let pulse = Pulse::new(&posts, &stats);
        let snapshot = Snapshot::with_tls(config, tls);
        let shared = Shared {
            state: Rc::new(RefCell::new(State::new(snapshot, doors, began))),
            changed: Rc::default(),
            watches: Rc::default(),
            posts,
        };
        let mut proxy = Self {
            recv,
            pulse,
            board: Arc::new(Board::new(cpus.len())),
            cpus,
            stats,
            threads: Vec::new(),
            started: Vec::new(),
            finished,
            limits: limits.0,
            shared,
            names,
            file,
            log,
            phase: Cell::new(Phase::Serving),
            changing: tokio::sync::Mutex::default(),
            reloads: Cell::default(),
            leaving: Leaving::default(),
            inherited,
            store,
            began,
        };
        proxy.begin_with_inheritance();
        let (ready, started) = mpsc::channel();
        for ((share, mailbox), number) in shares.into_iter().zip(mailboxes).zip(0..) {
            let (board, posts) = (Arc::clone(&proxy.board), proxy.shared.posts.clone());
            let setup = Setup {
                worker: number,
                snapshot: proxy.shared.state.borrow().snapshot.for_worker(number),
                listeners: Vec::new(),
                limits: Arc::clone(&proxy.limits),
                connections_max: limits.1,
                mailbox,
                handover: Handover::new(usize::from(number), board, posts),
                stats: Arc::clone(&proxy.stats[usize::from(number)]),
                journal: proxy.log.journal.clone(),
            };
            let cpu = proxy.cpus[usize::from(number)];
            proxy.spawn(cpu, share, setup, ready.clone(), done.clone())?;
        }
        drop(ready);
        proxy.when_all_have(&started)
    }

    /// Waits until all workers have started, or ends those that have.
    fn when_all_have(
        mut self,
        started: &mpsc::Receiver<Result<Thread, StartError>>,
    ) -> Result<Self, StartError> {
        match started.iter().collect::<Result<_, _>>() {
            Ok(started) => {
                self.started = started;
                Ok(self)
            }
            Err(error) => {
                self.drain(Duration::ZERO, Duration::ZERO);
                self.join();
                Err(error)
            }
        }
    }

    fn spawn(
        &mut self,
        cpu: usize,
        share: Share,
        setup: Setup,
        ready: mpsc::Sender<Result<Thread, StartError>>,
        done: watch::Sender<usize>,
    ) -> Result<(), StartError> {
        let recv = self.recv;
        let number = usize::from(setup.worker);
        let thread = thread::Builder::new()
            .name(format!("worker-{}", setup.worker))
            .spawn(move || {
                match prepare(cpu, share, setup, recv) {
                    Ok(worker) => {
                        // Gone when another worker failed to start: then a drain is already posted.
                        let _ = ready.send(Ok(Thread::this(number)));
                        drop(ready);
                        turn(worker);
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
                done.send_modify(|count| *count += 1);
            });
        let thread = thread.map_err(|e| {
            StartError(format!(
                "cannot start a worker's thread: {e}; raise LimitNPROC or TasksMax"
            ))
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Says in the log that it is ready, and where; and where it is asked.
    pub fn announce(&self, admin: Option<&str>) {
        tracing::info!(
            listeners = self.listening(),
            admin,
            workers = self.cpus.len(),
            cpus = ?self.cpus,
            recv = %self.recv,
            pid = std::process::id(),
            "ready"
        );
    }

    /// Has the service manager keep a copy of what listens now, for after a crash.
    pub(super) fn store_sockets(&self, systemd: &Systemd) {
        self.store.follow(&self.shared.state.borrow(), systemd);
    }

    /// Has it keep none any more.
    pub(super) fn unstore_sockets(&self, systemd: &Systemd) {
        self.store.clear(systemd);
    }

    /// Every listener's name and addresses in one line.
    pub(super) fn listening(&self) -> String {
        let listeners: Vec<_> = self
            .addresses()
            .into_iter()
            .map(|(name, at)| format!("{name}={at}"))
            .collect();
        listeners.join(" ")
    }

    /// Every bound address, with its listener's name.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.shared.state.borrow().addresses()
    }

    /// The configuration it runs: with addresses in the place of the names that were written.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.shared.state.borrow().snapshot.config)
    }

    /// What it speaks TLS with.
    pub(super) fn tls(&self) -> Material {
        self.shared.state.borrow().snapshot.tls.clone()
    }

    /// Each worker's counters.
    pub fn stats(&self) -> &[Arc<Stats>] {
        &self.stats
    }

    /// Connections open on all workers.
    pub fn open(&self) -> u64 {
        self.limits.open()
    }

    /// Connections of each worker.
    pub fn connections(&self) -> Vec<u64> {
        (0..self.board.workers())
            .map(|worker| self.board.connections(worker))
            .collect()
    }

    /// Clients that were accepted by one worker and taken by another.
    pub fn handed_over(&self) -> u64 {
        self.stats.iter().map(|stats| stats.handed_over.get()).sum()
    }

    /// Tells the workers, once a second and for ever, how busy each of them is. Where nobody does, new connections are
    /// spread by the numbers of open ones alone.
    pub async fn watch_load(&self) -> Infallible {
        let mut meter = Meter::new(&self.started);
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            meter.read(&self.board);
        }
    }

    /// Probes backends, and says in the log what dials find out about them, for ever. Where nobody does, probed backends stay
    /// as they began.
    ///
    /// # Panics
    /// Outside of a tokio-uring runtime.
    pub async fn watch_backends(&self) -> Infallible {
        let seed = u128::from(std::process::id()) << 64 | u128::from(Time::read_clock().as_nanos());
        backends::watch(&self.shared, seed).await
    }

    /// Watches the files of certificates, for ever. Where nobody does, only a reload reads them again.
    ///
    /// # Panics
    /// Outside of a tokio-uring runtime.
    pub async fn watch_certificates(&self) -> Infallible {
        certificates::watch(|| self.tls()).await
    }

    /// Whether every worker has shown within the last three seconds that it turns. Where nobody
    /// [asks](Self::watch_workers), nothing else was found.
    pub fn alive(&self) -> bool {
        self.pulse.stuck(Time::read_clock()).is_empty()
    }

    /// Asks the workers whether they turn, says so in the log, and feeds systemd's watchdog while they do, for ever.
    pub async fn watch_workers(&self, systemd: &Systemd) -> Infallible {
        pulse::watch(&self.pulse, systemd).await
    }

    /// Waits until every worker has ended, without blocking the runtime.
    pub async fn finished(&self) {
        let (mut finished, all) = (self.finished.clone(), self.threads.len());
        // Fails when every sender is gone, which is when every worker has ended.
        let _ = finished.wait_for(|count| *count == all).await;
    }

    /// Waits for the workers' threads and the log's last line.
    ///
    /// # Panics
    /// When a worker did.
    pub fn join(self) {
        for thread in self.threads {
            thread.join().expect("a worker panicked");
        }
        self.log.finish();
    }
}

/// Binds everything: for each worker its sockets, and what was bound.
fn bind(
    config: &Config,
    cpus: &[usize],
    mut passed: Passed,
) -> Result<(Vec<Share>, Vec<Door>), StartError> {
    let mut shares: Vec<_> = cpus.iter().map(|_| Share::new()).collect();
    let mut doors = Vec::new();
    for (rules, number) in config.listeners.iter().zip(0..) {
        for &wanted in &rules.listen {
            let door = open(
                rules,
                (number, wanted),
                cpus,
                passed.take(&rules.name, wanted),
                false,
            )?;
            door.share_out(doors.len(), &mut shares)
                .map_err(|e| refused(&rules.name, wanted, &e))?;
            doors.push(door);
        }
    }
    passed.warn_of_the_rest();
    Ok((shares, doors))
}

/// Listens at an address. `beside_us`: another listening socket of this process may have the same port.
fn open(
    rules: &Listener,
    (listener, wanted): (u16, SocketAddr),
    cpus: &[usize],
    passed: Vec<OwnedFd>,
    beside_us: bool,
) -> Result<Door, StartError> {
    let made = if passed.is_empty() {
        let bound = worker::bind(rules, wanted, cpus, beside_us);
        bound.map(|(sockets, at)| (sockets.into_iter().enumerate().collect(), at))
    } else {
        worker::share(rules, passed, cpus.len()).map(|shares| {
            let first = shares.first().map(|(_, socket)| SockRef::from(socket));
            let bound = first.and_then(|socket| socket.local_addr().ok()?.as_socket());
            (shares, bound.unwrap_or(wanted))
        })
    };
    let (sockets, bound) = made.map_err(|e| refused(&rules.name, wanted, &e))?;
    Ok(Door {
        listener,
        wanted,
        bound,
        sockets,
    })
}

/// A mailbox for each worker, and the way into each.
fn mailboxes(workers: usize) -> Result<(Vec<Post>, Vec<Mailbox>), StartError> {
    let made = (0..workers).map(|_| Mailbox::new());
    made.collect::<io::Result<Vec<_>>>()
        .map(|ends| ends.into_iter().unzip())
        .map_err(|e| StartError(format!("cannot make a mailbox: {e}; raise LimitNOFILE")))
}

fn unusable(mistakes: &Mistakes) -> StartError {
    let lines = mistakes
        .iter()
        .map(|(key, message)| format!("{key}: {message}"));
    StartError(lines.collect::<Vec<_>>().join("\n"))
}

fn refused(listener: &str, address: SocketAddr, error: &io::Error) -> StartError {
    const FIXES: [(io::ErrorKind, &str); 3] = [
        (
            io::ErrorKind::AddrInUse,
            "another program listens there; `ss -ltnp` names it",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "a port below 1024 needs CAP_NET_BIND_SERVICE (AmbientCapabilities= in the unit), or a lower \
             net.ipv4.ip_unprivileged_port_start",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "no interface has this address; check `ip address`, or set net.ipv4.ip_nonlocal_bind",
        ),
    ];
    let known = FIXES.iter().find(|(kind, _)| *kind == error.kind());
    let fix = known.map_or("see bind(2) and listen(2)", |(_, fix)| fix);
    StartError(format!(
        "listener \"{listener}\": cannot listen on {address}: {error}; fix: {fix}"
    ))
}

/// The box-wide limits, and the most connections that one worker may hold.
fn limits_of(config: &Config, workers: usize) -> (Arc<Limits>, u32) {
    /// Slots of a tag: 24 bits.
    const SLOTS_MAX: u64 = 1 << 24;
    let limits = Arc::new(Limits::new(most(config, workers)));
    // Room for what a reload may allow.
    let (descriptors, sockets) = descriptors(config, workers);
    let possible = limits::connections_max(0, descriptors, sockets);
    let slots = possible.max(limits.open_max()).min(SLOTS_MAX - 1);
    (limits, u32::try_from(slots).expect("24 bits"))
}

/// The most connections, with a warning where there are not descriptors for all that are wanted.
fn most(config: &Config, workers: usize) -> u64 {
    let configured = config.process.max_connections as u64;
    let (descriptors, sockets) = descriptors(config, workers);
    if let Some(warning) = limits::shortage(configured, descriptors, sockets) {
        tracing::warn!("{warning}");
    }
    limits::connections_max(configured, descriptors, sockets)
}

/// Descriptors that there may be, and those that are no connections'.
fn descriptors(config: &Config, workers: usize) -> (u64, u64) {
    (
        limits::raise_descriptors(),
        limits::sockets(config, workers),
    )
}

/// Makes a worker on its own thread. It owns the listening sockets only when nothing can be refused any more.
fn prepare(
    cpu: usize,
    share: Share,
    mut setup: Setup,
    recv: RecvMode,
) -> Result<Worker<Uring>, StartError> {
    cpus::pin(cpu).map_err(|e| {
        StartError(format!(
            "cannot pin a worker to CPU {cpu}: {e}; SystemCallFilter= must allow sched_setaffinity"
        ))
    })?;
    let ring = Uring::new(UringConfig {
        recv: Some(recv),
        spin: setup.snapshot.config.process.spin,
        ..UringConfig::default()
    })?;
    setup.listeners = state::ears(share);
    Ok(Worker::new(ring, setup))
}

fn turn(mut worker: Worker<Uring>) {
    loop {
        match worker.turn() {
            Ok(Life::Turning) => {}
            Ok(Life::Finished) => return,
            Err(e) => panic!("the kernel no longer takes this worker's ring: {e}"),
        }
    }
}
