//! The threads: makes an engine on each, lets it run, and carries its numbers out.

use crate::acceptor::Acceptor;
use crate::config::{BackendConfig, BackendRole, ClientConfig, ClientRole, Direction};
use crate::dialer::{CLOSE_TIMEOUT, Dialer};
use crate::engine::Engine;
use crate::job::{Job, Pace};
use crate::roles::publish::Feed;
use crate::stats::Stats;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use ringway_ring::{Errno, Ring, SetupError, Sock, Time, Uring, UringConfig};
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often an engine copies its numbers out. A copy costs it some 20 µs per histogram in use.
const COPY_EVERY: Duration = Duration::from_secs(1);

/// Descriptors that are not connections: rings, listeners, standard streams, the host program's.
const OTHER_DESCRIPTORS: u64 = 64;

/// Why a run cannot begin or go on.
#[derive(Debug)]
pub enum Error {
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// More connections than descriptors.
    Descriptors {
        /// Those that the run needs.
        needed: u64,
        /// Those that the process may have.
        limit: u64,
    },
    /// No io_uring.
    Ring(SetupError),
    /// A thread cannot be pinned to this CPU.
    Pin(usize, Errno),
    /// No thread.
    Thread(io::Error),
    /// A ring failed in the middle of a run.
    Turn(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(addr, e) => write!(f, "cannot listen on {addr}: {e}"),
            Self::Descriptors { needed, limit } => write!(
                f,
                "{needed} file descriptors are needed and {limit} allowed: raise the hard limit \
                 (`ulimit -Hn {needed}` as root, or LimitNOFILE in a unit) or open fewer connections"
            ),
            Self::Ring(e) => e.fmt(f),
            Self::Pin(cpu, errno) => write!(f, "cannot pin a thread to CPU {cpu}: {errno}"),
            Self::Thread(e) => write!(f, "cannot start a thread: {e}"),
            Self::Turn(e) => write!(f, "io_uring failed in the middle of the run: {e}"),
        }
    }
}

impl std::error::Error for Error {}

/// Running engines. Dropping it lets them stop by themselves.
#[derive(Debug)]
pub struct Handle {
    addrs: Vec<SocketAddr>,
    engines: Vec<EngineThread>,
}

#[derive(Debug)]
struct EngineThread {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<Stats>>,
}

/// What an engine's thread and the handle both see.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    stats: Mutex<Stats>,
}

impl Handle {
    /// The addresses listened on, with their real ports; none for clients.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The numbers of all engines as of at most a second ago.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for engine in &self.engines {
            let stats = engine.shared.stats.lock();
            sum.merge(&stats.unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }

    /// Whether every engine has come to its end.
    pub fn is_finished(&self) -> bool {
        self.engines
            .iter()
            .all(|engine| engine.thread.is_finished())
    }

    /// Ends the run early (backends: at all); the final numbers.
    ///
    /// # Errors
    /// [`Error::Turn`] when an engine had failed.
    pub fn stop(self) -> Result<Stats, Error> {
        self.ask_to_stop();
        self.join()
    }

    /// Waits for the end of the run (backends end only when stopped); the final numbers.
    ///
    /// # Errors
    /// [`Error::Turn`] when an engine failed.
    ///
    /// # Panics
    /// When an engine panicked.
    pub fn join(mut self) -> Result<Stats, Error> {
        let mut sum = Stats::default();
        for engine in self.engines.drain(..) {
            let ended = engine
                .thread
                .join()
                .expect("an engine that panics has said why");
            sum.merge(&ended.map_err(Error::Turn)?);
        }
        Ok(sum)
    }

    fn ask_to_stop(&self) {
        for engine in &self.engines {
            engine.shared.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.ask_to_stop();
    }
}

/// Starts backends. They listen when this returns.
///
/// # Errors
/// When an address cannot be bound or the system has no io_uring, thread or CPU for us.
pub fn serve(config: &BackendConfig) -> Result<Handle, Error> {
    raise_descriptors()?;
    let mut handle = Handle {
        addrs: config.listen.clone(),
        engines: Vec::new(),
    };
    for index in 0..config.threads.max(1) {
        let mut listeners = Vec::new();
        for addr in &mut handle.addrs {
            listeners.push(listen(*addr).map_err(|e| Error::Listen(*addr, e))?);
            let bound = listeners.last().and_then(|socket| socket.local_addr().ok());
            // The first thread learns the port, the others share it.
            *addr = bound.and_then(|addr| addr.as_socket()).unwrap_or(*addr);
        }
        let role = config.role;
        let spawned = spawn(
            index,
            &config.cpus,
            UringConfig {
                spin: config.spin,
                ..ring_of_backend(role)
            },
            move |ring, shared| {
                // The ring's own type, so that nothing drops as a `Sock` if the thread never starts.
                let socks = listeners
                    .into_iter()
                    .map(|socket| OwnedFd::from(socket).into());
                run_acceptor(ring, role, socks.collect(), index, shared)
            },
        );
        handle.engines.push(spawned?);
    }
    Ok(handle)
}

/// Starts clients.
///
/// # Errors
/// When there are more connections than descriptors, or the system has no io_uring, thread or CPU for us.
///
/// # Panics
/// When there is no target.
pub fn drive(config: &ClientConfig) -> Result<Handle, Error> {
    assert!(!config.targets.is_empty(), "clients need a target");
    let limit = raise_descriptors()?;
    let needed = u64::from(config.connections) + OTHER_DESCRIPTORS;
    if needed > limit {
        return Err(Error::Descriptors { needed, limit });
    }
    let threads = config.threads.max(1);
    let mut handle = Handle {
        addrs: Vec::new(),
        engines: Vec::new(),
    };
    for index in 0..threads {
        let mine = config.clone();
        let ring = UringConfig {
            spin: config.spin,
            ..ring_of_client(&config.role)
        };
        let spawned = spawn(index, &config.cpus, ring, move |ring, shared| {
            run_dialer(ring, mine, index, threads, shared)
        });
        handle.engines.push(spawned?);
    }
    Ok(handle)
}

/// Makes a thread and a ring on it, and waits until both are there.
fn spawn(
    index: u16,
    cpus: &[usize],
    config: UringConfig,
    engine: impl FnOnce(Uring, &Shared) -> io::Result<Stats> + Send + 'static,
) -> Result<EngineThread, Error> {
    let shared = Arc::new(Shared::default());
    let cpu = cpus.iter().cycle().nth(usize::from(index)).copied();
    let (ready, is_ready) = mpsc::channel();
    let theirs = Arc::clone(&shared);
    let thread = thread::Builder::new()
        .name(format!("loadgen-{index}"))
        .spawn(move || match settle(cpu, config, &ready) {
            Some(ring) => engine(ring, &theirs),
            None => Ok(Stats::default()),
        })
        .map_err(Error::Thread)?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(EngineThread { shared, thread }),
        Ok(Err(error)) => Err(error),
        Err(mpsc::RecvError) => unreachable!("the thread answers before it goes"),
    }
}

/// On the new thread: pins it, makes its ring, and says how that went.
fn settle(
    cpu: Option<usize>,
    config: UringConfig,
    ready: &Sender<Result<(), Error>>,
) -> Option<Uring> {
    let pinned = cpu.map_or(Ok(()), pin);
    let (ring, answer) = match pinned.and_then(|()| Uring::new(config).map_err(Error::Ring)) {
        Ok(ring) => (Some(ring), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody listens only when the spawner itself has died.
    let _ = ready.send(answer);
    ring
}

fn pin(cpu: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| Error::Pin(cpu, errno))
}

/// Raises the soft limit of descriptors to the hard one; that limit.
fn raise_descriptors() -> Result<u64, Error> {
    let refused = |errno: Errno| Error::Thread(errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(refused)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(refused)?;
    }
    Ok(hard)
}

fn listen(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.nonblocking().cloexec(),
        None,
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it: a tick must not wait for the acknowledgement of the last.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(65_535)?; // net.core.somaxconn cuts it
    Ok(socket)
}

/// Small buffers for a feed: each connection's send of a tick holds one, side by side in the cache.
fn ring_of_backend(role: BackendRole) -> UringConfig {
    match role {
        BackendRole::Publish { size, .. } => {
            let eight = u64::from(size)
                .saturating_mul(8)
                .next_power_of_two()
                .clamp(512, 16_384);
            let buffer_size = u16::try_from(eight).expect("clamped");
            UringConfig {
                buffers: 16_384,
                buffer_size,
                ..UringConfig::default()
            }
        }
        BackendRole::Bulk { .. } => ring_of_bulk(),
        BackendRole::Echo
        | BackendRole::Churn { .. }
        | BackendRole::WebSocket
        | BackendRole::Hold => UringConfig::default(),
    }
}

fn ring_of_client(role: &ClientRole) -> UringConfig {
    match role {
        ClientRole::Bulk {
            direction: Direction::Down | Direction::Up,
            ..
        } => ring_of_bulk(),
        ClientRole::Echo { .. }
        | ClientRole::Subscribe
        | ClientRole::Churn { .. }
        | ClientRole::WebSocket { .. }
        | ClientRole::Hold
        | ClientRole::Stall => UringConfig::default(),
    }
}

/// Large buffers: fewer completions per megabyte.
fn ring_of_bulk() -> UringConfig {
    UringConfig {
        buffers: 4096,
        buffer_size: 16_384,
        ..UringConfig::default()
    }
}

fn run_acceptor(
    ring: impl Ring,
    role: BackendRole,
    listeners: Vec<Sock>,
    index: u16,
    shared: &Shared,
) -> io::Result<Stats> {
    let now = ring.now();
    let feed = match role {
        BackendRole::Publish { rate, size } => Some(Feed::new(u32::from(index), size, rate, now)),
        BackendRole::Echo
        | BackendRole::Bulk { .. }
        | BackendRole::Churn { .. }
        | BackendRole::WebSocket
        | BackendRole::Hold => None,
    };
    let mut engine = Engine::new(ring, Job::new(Pace::of(None), feed));
    let mut acceptor = Acceptor::new(role, listeners, u64::from(index) << 40);
    let mut copier = Copier::new(shared);
    engine.stats.begin(now);
    while !shared.stop.load(Ordering::Relaxed) {
        acceptor.on_turn(&mut engine);
        engine.turn(acceptor.wake(&engine), |engine, done| {
            acceptor.on_accepted(engine, done);
        })?;
        copier.on_turn(&mut engine);
    }
    engine.stats.finish(engine.now());
    acceptor.close(&mut engine);
    let deadline = engine.now() + CLOSE_TIMEOUT;
    while !(engine.is_empty() && acceptor.is_quiet()) {
        assert!(
            engine.now() < deadline,
            "{} connections outlive their shutdown",
            engine.count()
        );
        engine.turn(None, |engine, done| acceptor.on_accepted(engine, done))?;
    }
    acceptor.release(&mut engine);
    engine.flush()?;
    Ok(copier.last(engine))
}

fn run_dialer(
    ring: impl Ring,
    config: ClientConfig,
    index: u16,
    threads: u16,
    shared: &Shared,
) -> io::Result<Stats> {
    let now = ring.now();
    let rate = config.role.rate().map(|rate| rate.shared_by(threads));
    let mut engine = Engine::new(ring, Job::new(Pace::of(rate), None));
    let mut dialer = Dialer::new(config, index, threads, now);
    let mut copier = Copier::new(shared);
    if dialer.counts_from_start() {
        engine.stats.begin(now);
    }
    while dialer.on_turn(&mut engine, shared.stop.load(Ordering::Relaxed)) {
        engine.turn(dialer.wake(&engine), |_, done| {
            unreachable!("a fleet accepts nothing, yet {done:?}")
        })?;
        copier.on_turn(&mut engine);
    }
    engine.flush()?;
    Ok(copier.last(engine))
}

/// Copies an engine's numbers out, once a second.
struct Copier<'a> {
    shared: &'a Shared,
    next: Time,
}

impl<'a> Copier<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            next: Time::default(),
        }
    }

    fn on_turn<R: Ring>(&mut self, engine: &mut Engine<R>) {
        let now = engine.now();
        if now >= self.next {
            self.next = now + COPY_EVERY;
            engine.stats.advance(now);
            self.copy(engine.stats.clone());
        }
    }

    fn last<R: Ring>(&self, engine: Engine<R>) -> Stats {
        let stats = engine.into_stats();
        self.copy(stats.clone());
        stats
    }

    fn copy(&self, stats: Stats) {
        *self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = stats;
    }
}
