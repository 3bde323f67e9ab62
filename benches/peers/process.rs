//! Children: started on one CPU with their output in a file, awaited with a deadline, gone when their owner is dropped
//! or dies.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringway::ring::Time;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Where backends, clients and this process run; the measured proxy has CPU 0 to itself.
const LOAD_CPU: usize = 1;

/// Where a child runs, and how eagerly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Alone on its CPU.
    Proxy,
    /// On the load's CPU.
    Load,
    /// There too, when nobody else wants to run (SCHED_IDLE, sched(7)): for clients that spin beside their backend. They
    /// keep the CPU awake, and give way to the backend at once.
    IdleLoad,
}

/// How long anything may take to start listening.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a child may take to end by itself once asked.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A folder for configurations and logs that goes when this does.
pub(crate) struct Scratch(PathBuf);

/// A running child.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("ringway-peers-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is litter in a temporary folder, and no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Place {
    /// What starts a program there.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Proxy => &["taskset", "-c", "0"],
            Self::Load => &["taskset", "-c", "1"],
            Self::IdleLoad => &["chrt", "--idle", "0", "taskset", "-c", "1"],
        }
    }
}

impl Process {
    /// Starts `program` at `place`. Its output goes to `NAME.out` and `NAME.log` in `scratch`.
    ///
    /// `setpriv --pdeathsig` ends it with this process however that ends, which needs no unsafe code here.
    pub(crate) fn start<S: AsRef<OsStr>>(
        name: &str,
        place: Place,
        program: &Path,
        args: impl IntoIterator<Item = S>,
        scratch: &Scratch,
    ) -> io::Result<Self> {
        let log = scratch.file(&format!("{name}.log"));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .args(place.command())
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(File::create(scratch.file(&format!("{name}.out")))?)
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| io::Error::other(format!("setpriv (package util-linux): {error}")))?;
        Ok(Self { child, log })
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("Linux pids fit an i32"));
        // An error means that it has ended already.
        let _ = kill(pid, Signal::SIGTERM);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until somebody accepts at `address`.
    pub(crate) fn await_listening(&mut self, address: SocketAddr) -> io::Result<()> {
        wait(START_LIMIT, &format!("a listener at {address}"), || {
            if let Some(status) = self.ended()? {
                return Err(self.failure(&format!("ended while starting, {status}")));
            }
            Ok(TcpStream::connect(address).is_ok())
        })
    }

    /// An error that carries the end of the child's log.
    pub(crate) fn failure(&self, what: &str) -> io::Error {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(2_000)..]).into_owned();
        io::Error::other(format!("{what}; {} says:\n{tail}", self.log.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
        let asked = wait(STOP_LIMIT, "the end of a child", || {
            Ok(self.ended()?.is_some())
        });
        if asked.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Keeps this process off the proxy's CPU.
pub(crate) fn pin_self_to_load_cpu() -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(LOAD_CPU)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
        .map_err(|error| io::Error::other(format!("two CPUs are needed, 0 and 1: {error}")))
}

/// Lets this process and its children have as many descriptors as they may: shells start with few.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Addresses of this machine that nobody listens on at the moment, no two the same.
pub(crate) fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are held until the last is found.
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = (0..count).map(bind).collect::<io::Result<Vec<_>>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// Looks again and again until `done`, for at most `limit`.
pub(crate) fn wait(
    limit: Duration,
    what: &str,
    mut done: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let deadline = Time::read_clock() + limit;
    while !done()? {
        if Time::read_clock() > deadline {
            return Err(io::Error::other(format!(
                "waited {limit:?} in vain for {what}"
            )));
        }
        pause(LOOK_AGAIN);
    }
    Ok(())
}

/// Lets `length` of measured or settling time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is a length of real time"
)]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
