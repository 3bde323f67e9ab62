//! The built program as a process: its configuration, its log, its signals, its end. Killed when dropped.

use super::peer::Peer;
use super::wait::{self, PATIENCE};
use super::{Admin, Authority, Backend, Pair, procfs};
use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The program under test.
pub(crate) const RINGWAY: &str = env!("CARGO_BIN_EXE_ringway");

/// A configuration in the making: one listener `feed` on a free port in front of the upstream `feed`, with the logs
/// as JSON on standard error, unless told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    process: String,
    log: String,
    listener: String,
    upstream: String,
    more: String,
    descriptors: Option<u32>,
    environment: Vec<(&'static str, String)>,
    /// The program that runs it, with its arguments.
    through: Vec<String>,
    /// Descriptors that it is born with, from 3 on.
    passed: Arc<Vec<OwnedFd>>,
    /// Another proxy that this one needs, for as long as either lives.
    beyond: Option<Arc<Beyond>>,
}

/// A proxy that ends TLS, and whose certificate it has.
struct Beyond {
    proxy: Proxy,
    authority: Authority,
}

impl fmt::Debug for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proxy.fmt(f)
    }
}

impl Setup {
    /// In front of these backends.
    pub(crate) fn new(backends: &[SocketAddr]) -> Self {
        let mut upstream = String::new();
        for address in backends {
            write!(upstream, "[[upstream.backend]]\naddress = \"{address}\"\n").unwrap();
        }
        Self {
            process: "workers = 1\n".into(),
            log: "format = \"json\"\n".into(),
            listener: "name = \"feed\"\nlisten = \"127.0.0.1:0\"\nupstream = \"feed\"\n".into(),
            upstream,
            more: String::new(),
            descriptors: None,
            environment: Vec::new(),
            through: Vec::new(),
            passed: Arc::default(),
            beyond: None,
        }
    }

    /// In front of one backend, with TLS on the way: another proxy, between the two, ends what this one begins.
    pub(crate) fn in_tls(backend: &Backend) -> Self {
        let authority = Authority::new();
        let certificate = authority.issue("feed", &["feed.test"]);
        let proxy = Self::before(backend).terminating(&certificate).start();
        let ca = authority.ca();
        let line = format!("tls = {{ server_name = \"feed.test\", ca = {ca:?} }}");
        let mut this = Self::new(&[proxy.address()]).upstream(&line);
        this.beyond = Some(Arc::new(Beyond { proxy, authority }));
        this
    }

    /// The listener ends TLS, with this certificate.
    pub(crate) fn terminating(self, pair: &Pair) -> Self {
        self.terminating_with(pair, "")
    }

    /// The same, with more keys of its table.
    pub(crate) fn terminating_with(self, Pair { cert, key }: &Pair, more: &str) -> Self {
        self.listener(&format!(
            "tls = {{ certificates = [{{ cert = {cert:?}, key = {key:?} }}]{more} }}"
        ))
    }

    /// In front of one backend.
    pub(crate) fn before(backend: &Backend) -> Self {
        Self::new(&[backend.address()])
    }

    /// A line of `[process]`, which replaces an earlier one of its key.
    pub(crate) fn process(mut self, line: &str) -> Self {
        put(&mut self.process, line);
        self
    }

    /// A line of `[log]`.
    pub(crate) fn log(mut self, line: &str) -> Self {
        put(&mut self.log, line);
        self
    }

    /// A line of the listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        put(&mut self.listener, line);
        self
    }

    /// Without an upstream of the listener's own: only routes lead anywhere.
    pub(crate) fn routes_only(mut self) -> Self {
        self.listener = self.listener.replace("upstream = \"feed\"\n", "");
        self
    }

    /// A line of the upstream.
    pub(crate) fn upstream(mut self, line: &str) -> Self {
        self.upstream = format!("{line}\n{}", self.upstream);
        self
    }

    /// More tables, behind all others.
    pub(crate) fn more(mut self, toml: &str) -> Self {
        self.more.push_str(toml);
        self
    }

    /// With an admin address on a free port.
    pub(crate) fn admin(self) -> Self {
        self.more("[admin]\nlisten = \"127.0.0.1:0\"\n")
    }

    /// RLIMIT_NOFILE, soft and hard.
    pub(crate) fn descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Run by another program, which becomes it.
    pub(crate) fn through(mut self, command: &[&str]) -> Self {
        self.through = command.iter().map(ToString::to_string).collect();
        self
    }

    /// A variable of its environment.
    pub(crate) fn variable(mut self, key: &'static str, value: &str) -> Self {
        self.environment.push((key, value.into()));
        self
    }

    /// Born with these descriptors, as a service manager passes them (sd_listen_fds(3)), each with its name.
    pub(crate) fn born_with(mut self, named: Vec<(String, OwnedFd)>) -> Self {
        let (names, passed): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        self.passed = Arc::new(passed);
        self.variable("LISTEN_FDS", &names.len().to_string())
            .variable("LISTEN_FDNAMES", &names.join(":"))
    }

    /// The file.
    pub(crate) fn toml(&self) -> String {
        format!(
            "[process]\n{}[log]\n{}[[listener]]\n{}[[upstream]]\nname = \"feed\"\n{}{}",
            self.process, self.log, self.listener, self.upstream, self.more
        )
    }

    /// Runs it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Proxy {
        let mut proxy = self.launch();
        proxy.await_ready();
        proxy
    }

    /// Runs it. It may refuse to start.
    pub(crate) fn launch(&self) -> Proxy {
        let (dir, file) = self.write();
        let mut command = self.command();
        command.args(["run", "-c"]).arg(&file);
        let mut proxy = Proxy::spawn(command, dir);
        proxy.beyond = self.beyond.clone();
        proxy
    }

    /// Runs it with a standard error that nobody reads: the pipe's other end is the second value. It is ready once it
    /// answers on its (fixed) port.
    pub(crate) fn launch_unread(&self) -> (Proxy, ChildStderr) {
        let (dir, file) = self.write();
        let mut command = self.command();
        command.args(["run", "-c"]).arg(&file);
        command.stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let stderr = child.stderr.take().unwrap();
        (Proxy::new(child, dir), stderr)
    }

    /// Writes the file into a directory of its own.
    pub(crate) fn write(&self) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ringway.toml");
        std::fs::write(&file, self.toml()).unwrap();
        (dir, file)
    }

    fn command(&self) -> Command {
        let mut command = self.limited();
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        let copies = self.passed.iter().map(|it| it.try_clone().unwrap());
        let mappings = copies.zip(3..).map(|(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command.fd_mappings(mappings.collect()).unwrap();
        command
    }

    fn limited(&self) -> Command {
        if let Some((program, arguments)) = self.through.split_first() {
            let mut command = Command::new(program);
            command.args(arguments).arg(RINGWAY);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            return command;
        }
        let Some(limit) = self.descriptors else {
            return program();
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
        shell
            .arg(RINGWAY)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        shell
    }
}

/// The program, apart from the terminal and the pipes of the test itself.
fn program() -> Command {
    let mut command = Command::new(RINGWAY);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Adds a `key = value` line in the place of an earlier one.
fn put(table: &mut String, line: &str) {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let kept: String = table
        .lines()
        .filter(|old| key(old) != key(line))
        .map(|old| format!("{old}\n"))
        .collect();
    *table = format!("{kept}{line}\n");
}

/// A line of the access log.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Access(Value);

impl Access {
    /// A text value; "" when absent.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    /// A number.
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.0[key].as_u64().expect(key)
    }

    /// `end` and `code`: who ended it and where it stood.
    pub(crate) fn end(&self) -> (&str, &str) {
        (self.text("end"), self.text("code"))
    }
}

/// How the process ended, and all that it wrote.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    dir: TempDir,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    listeners: Vec<(String, SocketAddr)>,
    ended: Option<ExitStatus>,
    beyond: Option<Arc<Beyond>>,
}

impl Proxy {
    /// Runs it with these arguments, without a file, and waits until it is ready.
    #[track_caller]
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(arguments);
        let mut proxy = Self::spawn(command, tempfile::tempdir().unwrap());
        proxy.await_ready();
        proxy
    }

    fn spawn(mut command: Command, dir: TempDir) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut proxy = Self::new(child, dir);
        let lines = Arc::clone(&proxy.lines);
        proxy.reader = Some(std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        }));
        proxy
    }

    fn new(child: Child, dir: TempDir) -> Self {
        Self {
            child,
            dir,
            lines: Arc::default(),
            reader: None,
            listeners: Vec::new(),
            ended: None,
            beyond: None,
        }
    }

    #[track_caller]
    fn await_ready(&mut self) {
        self.listeners = wait::until_some("the proxy is ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status}: {}", self.stderr());
            }
            self.lines().iter().find_map(|line| ready(line))
        });
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its own directory, gone when it is dropped.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its first listener listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners[0].1
    }

    /// Every listener's name and address, in the order of the file.
    pub(crate) fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// Where the named listener listens first.
    #[track_caller]
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(name, _)| name == listener);
        found.expect("a listener of that name").1
    }

    /// Where it is asked, as its line `ready` says.
    #[track_caller]
    pub(crate) fn admin(&self) -> Admin {
        let line = self.await_line("\"ready\"");
        let event: Value = serde_json::from_str(&line).unwrap();
        Admin::at(event["admin"].as_str().expect("it has an admin address"))
    }

    /// A client of the first listener.
    #[track_caller]
    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// What it dials to get to this backend: that, or a proxy before it.
    pub(crate) fn dials(&self, backend: &Backend) -> SocketAddr {
        let beyond = self.beyond.as_ref();
        beyond.map_or_else(|| backend.address(), |beyond| beyond.proxy.address())
    }

    /// What it has written to standard error so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The same in one piece.
    pub(crate) fn stderr(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits for a line that contains this.
    #[track_caller]
    pub(crate) fn await_line(&self, part: &str) -> String {
        wait::until_some(&format!("a line with {part:?}"), || {
            self.lines().into_iter().find(|line| line.contains(part))
        })
    }

    /// The access log so far, oldest first.
    pub(crate) fn access(&self) -> Vec<Access> {
        self.lines()
            .iter()
            .filter_map(|line| access(line))
            .collect()
    }

    /// Waits until the access log has this many lines.
    #[track_caller]
    pub(crate) fn await_access(&self, count: usize) -> Vec<Access> {
        wait::until_some(&format!("{count} lines in the access log"), || {
            Some(self.access()).filter(|lines| lines.len() >= count)
        })
    }

    /// Waits for the access log's first line.
    #[track_caller]
    pub(crate) fn await_first_access(&self) -> Access {
        self.await_access(1).swap_remove(0)
    }

    /// Waits for the access log's line about this client, given by [`Peer::local`].
    #[track_caller]
    pub(crate) fn await_access_of(&self, client: SocketAddr) -> Access {
        let client = client.to_string();
        self.await_access_line(|line| line.text("client") == client)
    }

    /// Waits for a line of the access log.
    #[track_caller]
    pub(crate) fn await_access_line(&self, wanted: impl Fn(&Access) -> bool) -> Access {
        wait::until_some("a line in the access log", || {
            self.access().into_iter().find(&wanted)
        })
    }

    /// Has it read this file instead, and waits for what it says of that.
    #[track_caller]
    pub(crate) fn reload(&self, setup: &Setup) -> String {
        self.reload_text(&setup.toml())
    }

    /// The same with a file that no [`Setup`] writes.
    #[track_caller]
    pub(crate) fn reload_text(&self, toml: &str) -> String {
        let told = || {
            let mut lines = self.lines();
            lines.retain(|line| line.contains("\"reload"));
            lines
        };
        let before = told().len();
        std::fs::write(self.dir.path().join("ringway.toml"), toml).unwrap();
        self.signal(Signal::SIGHUP);
        wait::until_some("a line about the reload", || told().into_iter().nth(before))
    }

    /// Sends a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).expect("it is alive");
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end: exit code and everything it wrote.
    #[track_caller]
    pub(crate) fn await_exit(mut self) -> Exit {
        let status = wait::until_some("the process ends", || self.child.try_wait().unwrap());
        self.ended = Some(status);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Exit {
            code: status.code(),
            stderr: self.stderr(),
        }
    }

    /// Waits until it has ended in order because another process took over, which still writes to its log.
    #[track_caller]
    pub(crate) fn await_succeeded(mut self) {
        let status = wait::until_some("the process ends", || self.child.try_wait().unwrap());
        self.ended = Some(status);
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
    }

    /// SIGTERM, then [`await_exit`](Self::await_exit).
    #[track_caller]
    pub(crate) fn terminate(self) -> Exit {
        self.signal(Signal::SIGTERM);
        self.await_exit()
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        procfs::descriptors(self.pid())
    }

    /// Open sockets.
    pub(crate) fn sockets(&self) -> usize {
        procfs::sockets(self.pid())
    }

    /// Open ends of pipes.
    pub(crate) fn pipe_ends(&self) -> usize {
        procfs::pipe_ends(self.pid())
    }

    /// Resident memory, bytes.
    pub(crate) fn resident(&self) -> u64 {
        procfs::resident(self.pid())
    }

    /// What must hold of every proxy of every test at its end: it lives, and no op went to a thread of the kernel's.
    fn complaint(&mut self) -> Option<String> {
        if let Some(status) = self.child.try_wait().unwrap() {
            return Some(format!("ended unasked, {status}: {}", self.stderr()));
        }
        let mut threads = procfs::threads(self.pid()).into_iter();
        let punted = threads.find(|thread| thread.name.starts_with("iou-wrk"));
        punted.map(|thread| format!("an op was punted: {thread:?}"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let complaint = self.complaint();
        // Gone already, or gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.lines();
            let last = &lines[lines.len().saturating_sub(20)..];
            eprintln!("the proxy's last lines:\n{}", last.join("\n"));
        } else {
            assert_eq!(complaint, None);
        }
    }
}

/// The addresses in the line `ready`, of either format: `listeners="name=addr name=addr"`.
fn ready(line: &str) -> Option<Vec<(String, SocketAddr)>> {
    let listeners = match serde_json::from_str::<Value>(line) {
        Ok(event) if event["message"] == "ready" => event["listeners"].as_str()?.to_owned(),
        Ok(_) => return None,
        Err(_) => {
            let rest = line.split_once(" ready listeners=\"")?.1;
            rest.split_once('"')?.0.to_owned()
        }
    };
    let pairs = listeners.split(' ').map(|pair| {
        let (name, address) = pair.split_once('=')?;
        Some((name.to_owned(), address.parse().ok()?))
    });
    pairs.collect()
}

fn access(line: &str) -> Option<Access> {
    let value: Value = serde_json::from_str(line).ok()?;
    value["end"].is_string().then_some(Access(value))
}
