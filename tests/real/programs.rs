//! Programs of other people as processes: found or skipped, running for no longer than their test.
//!
//! Servers run under setpriv(1), which has the kernel end them with the thread that started them; clients run under
//! timeout(1). So nothing is left behind, whatever becomes of the test.

use crate::support::{skip, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// What the tests run, and Debian's package of it.
const PACKAGES: &[(&str, &str)] = &[
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("dovecot", "dovecot-imapd dovecot-pop3d"),
    ("exim4", "exim4-daemon-light"),
    ("haproxy", "haproxy"),
    ("initdb", "postgresql"),
    ("mariadb-install-db", "mariadb-server"),
    ("mariadbd", "mariadb-server"),
    ("nginx", "nginx"),
    (NGINX_STREAM, "libnginx-mod-stream"),
    ("node", "nodejs"),
    (NODE_WS, "node-ws"),
    ("openssl", "openssl"),
    ("pgbench", "postgresql"),
    ("postgres", "postgresql"),
    ("promtool", "prometheus"),
    ("psql", "postgresql-client"),
    ("python3", "python3"),
    (PYTHON_SECCOMP, "python3-seccomp"),
    (PYTHON_WEBSOCKETS, "python3-websockets"),
    (PYTHON_TLSLITE, "python3-pip; pip install tlslite-ng==0.8.2"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("setpriv", "util-linux"),
    ("slowhttptest", "slowhttptest"),
    ("sslscan", "sslscan"),
    ("systemd-analyze", "systemd"),
    ("systemd-socket-activate", "systemd"),
    ("systemd-sysusers", "systemd"),
    ("systemd-tmpfiles", "systemd"),
    ("timeout", "coreutils"),
];

/// A module of python3's, asked for like a program.
pub(crate) const PYTHON_WEBSOCKETS: &str = "websockets for python3";

/// Another one.
pub(crate) const PYTHON_SECCOMP: &str = "seccomp for python3";
/// Another. Debian has no package of it: `.ci/run` gets it from PyPI.
pub(crate) const PYTHON_TLSLITE: &str = "tlslite-ng for python3";

/// A module of node's, likewise.
pub(crate) const NODE_WS: &str = "ws for node";

/// A module of nginx's, likewise: where Debian puts it.
pub(crate) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Where Debian puts node's modules. Its own node looks there unasked.
const NODE_PATH: &str = "/usr/share/nodejs";

/// What a client may take, in seconds. Reached only by a failing test.
const CLIENT_SECONDS: &str = "60";

/// The user and group `nobody`, for servers that refuse to be root.
const NOBODY: u32 = 65_534;

/// Whether all of these are installed. If not, it says so, and the test must return.
pub(crate) fn installed(names: &[&str]) -> bool {
    let wrappers = ["setpriv", "timeout"];
    let wanted = names.iter().chain(&wrappers);
    let mut missing: Vec<_> = wanted
        .filter(|name| !is_installed(name))
        .map(|name| package(name))
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("real");
        skip(
            test,
            &format!("needs: apt-get install {}", missing.join(" ")),
        );
    }
    missing.is_empty()
}

/// A command that serves until its [`Program`] is dropped.
pub(crate) fn server(name: &str) -> Command {
    let mut command = Command::new(path("setpriv"));
    command.args(["--pdeathsig", "KILL"]).arg(path(name));
    command
}

/// The same, not as root. Ended by SIGQUIT, on which PostgreSQL leaves no shared memory behind.
pub(crate) fn unprivileged_server(name: &str) -> Command {
    let mut command = Command::new(path("setpriv"));
    if is_root() {
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
        command.arg("--clear-groups");
    }
    command.args(["--pdeathsig", "QUIT"]).arg(path(name));
    command
}

/// Lets an unprivileged server write there.
pub(crate) fn give_to_unprivileged(folder: &Path) {
    if is_root() {
        std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A command that runs to its end.
pub(crate) fn client(name: &str) -> Command {
    let mut command = Command::new(path("timeout"));
    command.args(["--kill-after=1", CLIENT_SECONDS]);
    command.arg(path(name));
    command
}

/// The same for a script of node's.
pub(crate) fn node() -> Command {
    let mut command = client("node");
    command.env("NODE_PATH", NODE_PATH);
    command
}

/// Runs a client to its end: what it wrote to standard output. Panics with all it said unless it succeeded.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        described(&output)
    );
    output.stdout
}

/// The same as text.
#[track_caller]
pub(crate) fn text(command: &mut Command) -> String {
    String::from_utf8(output(command)).unwrap()
}

/// Status and both outputs of a client, for panics.
pub(crate) fn described(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let shown = out.get(..4096).unwrap_or(&out);
    format!("{}\n{err}\n{shown}", output.status)
}

/// A loopback address and port of a server's own. No client's port can be in its way: those are on 127.0.0.1.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = [
        127,
        64 | high & 63,
        low,
        NEXT.fetch_add(1, Ordering::Relaxed),
    ];
    let listener = TcpListener::bind(SocketAddr::from((host, 0))).unwrap();
    listener.local_addr().unwrap()
}

/// The same on ::1, which has no neighbours: a port below those that clients are given (32768 on, ip(7)).
pub(crate) fn free_address_v6() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Far enough from where another process of these tests begins.
    let first = 10_000 + std::process::id() % 400 * 50;
    let mut ports = (0..50).map(|_| {
        let port = first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed) % 50);
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), u16::try_from(port).unwrap())
    });
    let free = ports.find(|address| TcpListener::bind(address).is_ok());
    free.expect("one port of fifty")
}

/// A running server. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    farewell: Signal,
}

impl Program {
    /// Runs it. What it says goes into a file of that folder.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join("said.log");
        let said = File::create(&log).unwrap();
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().unwrap();
        let farewell = Signal::SIGKILL;
        Self {
            child,
            log,
            farewell,
        }
    }

    /// Ends it by another signal than SIGKILL, which still follows if that is not enough.
    pub(crate) fn with_farewell(mut self, farewell: Signal) -> Self {
        self.farewell = farewell;
        self
    }

    /// The same, once it listens.
    #[track_caller]
    pub(crate) fn listening(command: &mut Command, folder: &Path, on: SocketAddr) -> Self {
        let mut this = Self::start(command, folder);
        this.await_listening(on);
        this
    }

    /// Waits until it listens.
    #[track_caller]
    pub(crate) fn await_listening(&mut self, on: SocketAddr) {
        wait::until(&format!("a server listens on {on}"), || {
            self.assert_alive();
            TcpStream::connect(on).is_ok()
        });
    }

    /// Panics with what it said when it has ended.
    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("ended with {status}: {}", self.said());
        }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends a signal, and waits until a stop has stopped it.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
        if signal == Signal::SIGSTOP {
            await_stopped(self.pid());
        }
    }

    /// SIGKILL. Returns when it is gone.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Never panics: it is called while a test does.
    fn say_farewell(&mut self) {
        let deadline = wait::now() + wait::PATIENCE;
        let pid = self.pid();
        let mut lives = || matches!(self.child.try_wait(), Ok(None));
        if lives() {
            let _ = kill(pid, self.farewell);
        }
        while lives() && wait::now() < deadline {
            wait::tick();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.said());
        }
        self.say_farewell();
        // Gone already, or gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the process has been stopped (proc_pid_stat(5): state `T`).
#[track_caller]
pub(crate) fn await_stopped(pid: Pid) {
    wait::until("the process is stopped", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| state.starts_with('T'))
    });
}

/// Whether bytes wait that the server on this address has not read (proc_net_tcp(5)).
pub(crate) fn has_unread(server: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let IpAddr::V4(host) = server.ip() else {
        panic!("{server} is in another file")
    };
    let local = format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(host.octets()),
        server.port()
    );
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    // sl local_address rem_address st tx_queue:rx_queue
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1] == local && fields[3] == ESTABLISHED && !fields[4].ends_with(":00000000")
    })
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn package(name: &str) -> &'static str {
    let found = PACKAGES.iter().find(|(program, _)| *program == name);
    found.unwrap_or_else(|| panic!("{name} has no row")).1
}

fn is_installed(name: &str) -> bool {
    match name {
        PYTHON_SECCOMP => succeeds("python3", &["-c", "import seccomp"]),
        PYTHON_WEBSOCKETS => succeeds("python3", &["-c", "import websockets"]),
        PYTHON_TLSLITE => succeeds("python3", &["-c", "import tlslite"]),
        NODE_WS => succeeds("node", &["-e", "require('ws')"]),
        NGINX_STREAM => Path::new(NGINX_STREAM).is_file(),
        program => find(program).is_some(),
    }
}

/// Whether that interpreter is there and can do this.
fn succeeds(interpreter: &str, arguments: &[&str]) -> bool {
    let run = |program| {
        let mut command = Command::new(program);
        command.args(arguments).env("NODE_PATH", NODE_PATH);
        command.output().unwrap().status.success()
    };
    find(interpreter).is_some_and(run)
}

fn path(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} was asked for in installed()"))
}

/// The system's own program first: only its python3 has the modules that the system's packages install.
fn find(name: &str) -> Option<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/bin"), PathBuf::from("/usr/sbin")];
    // Where Debian keeps PostgreSQL's servers, a folder each version.
    for version in fs::read_dir("/usr/lib/postgresql").into_iter().flatten() {
        folders.push(version.unwrap().path().join("bin"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
