//! The service manager's side of a proxy's life: a socket that NOTIFY_SOCKET names, and what arrives there (sd_notify(3)).

use crate::support::{Backend, Proxy, Setup, procfs, wait};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tempfile::TempDir;

/// The manager's end.
pub(crate) struct Manager {
    socket: UnixDatagram,
    name: String,
    _dir: TempDir,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        Self {
            socket: listening(UnixDatagram::bind(&path).unwrap()),
            name: path.to_str().unwrap().into(),
            _dir: dir,
        }
    }

    fn with_abstract_name() -> Self {
        let name = format!("ringway-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            socket: listening(UnixDatagram::bind_addr(&address).unwrap()),
            name: format!("@{name}"),
            _dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn setup(&self, backend: &Backend) -> Setup {
        Setup::before(backend).variable("NOTIFY_SOCKET", &self.name)
    }

    /// The next message that is there.
    fn hear(&self) -> Option<String> {
        let mut bytes = [0; 1024];
        match self.socket.recv(&mut bytes) {
            Ok(len) => Some(String::from_utf8(bytes[..len].to_vec()).unwrap()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// Waits for a message that begins so.
    #[track_caller]
    pub(crate) fn await_message(&self, beginning: &str) -> String {
        wait::until_some(&format!("a message {beginning:?}"), || {
            self.hear().filter(|message| message.starts_with(beginning))
        })
    }

    fn is_fed(&self) -> bool {
        self.hear().is_some_and(|message| message == "WATCHDOG=1")
    }
}

fn listening(socket: UnixDatagram) -> UnixDatagram {
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A worker that stands still until this is dropped, as if it hung in the kernel. Belongs to the thread that made it.
struct Halted(Pid);

impl Halted {
    fn worker(proxy: &Proxy, name: &str) -> Self {
        let mut threads = procfs::threads(proxy.pid()).into_iter();
        let worker = threads.find(|thread| thread.name == name).unwrap();
        let worker = Pid::from_raw(worker.id);
        ptrace::seize(worker, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(worker).unwrap();
        waitpid(worker, Some(WaitPidFlag::__WALL)).unwrap();
        Self(worker)
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        // Fails when the process is gone, which is as good.
        let _ = ptrace::detach(self.0, None);
    }
}

#[test]
fn the_manager_hears_that_it_is_ready_and_how_its_drain_goes() {
    let (manager, backend) = (Manager::new(), Backend::echo());
    let proxy = manager
        .setup(&backend)
        .process("drain_over = \"0s\"")
        .process("drain_delay = \"2s\"")
        .process("drain_deadline = \"25s\"")
        .start();
    let ready = manager.await_message("READY=1");
    let address = proxy.address();
    assert_eq!(ready, format!("READY=1\nSTATUS=serving feed={address}"));
    let client = proxy.connect();
    client.send(b"hello");
    client.expect(b"hello");
    proxy.signal(Signal::SIGTERM);
    let stopping = manager.await_message("STOPPING=1");
    assert_eq!(stopping, "STOPPING=1\nEXTEND_TIMEOUT_USEC=37000000");
    let status = manager.await_message("STATUS=");
    assert_eq!(status, "STATUS=draining, open connections: 1");
    client.expect_fin();
    drop(client);
    assert_eq!(proxy.await_exit().code, Some(0));
}

#[test]
fn a_manager_with_an_abstract_name_hears_it_too() {
    let (manager, backend) = (Manager::with_abstract_name(), Backend::echo());
    let _proxy = manager.setup(&backend).start();
    manager.await_message("READY=1");
}

#[test]
fn a_manager_that_is_not_there_keeps_nobody_from_serving() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .variable("NOTIFY_SOCKET", "/nonexistent/notify")
        .start();
    let client = proxy.connect();
    client.send(b"hello");
    client.expect(b"hello");
}

#[test]
fn the_watchdog_is_fed_while_every_worker_turns_and_starves_while_one_does_not() {
    let (manager, backend) = (Manager::new(), Backend::echo());
    let proxy = manager
        .setup(&backend)
        .process("workers = 2")
        .variable("WATCHDOG_USEC", "200000")
        .start();
    manager.await_message("WATCHDOG=1");
    let halted = Halted::worker(&proxy, "worker-1");
    let line = proxy.await_line("workers do not turn");
    assert!(line.contains("[1]"), "{line}");
    // What was fed before.
    while manager.hear().is_some() {}
    wait::holds_for(Duration::from_millis(600), "nothing is fed", || {
        !manager.is_fed()
    });
    drop(halted);
    manager.await_message("WATCHDOG=1");
    proxy.await_line("every worker turns again");
}

#[test]
fn an_idle_worker_is_not_taken_for_one_that_hangs() {
    let (manager, backend) = (Manager::new(), Backend::echo());
    let proxy = manager
        .setup(&backend)
        .variable("WATCHDOG_USEC", "200000")
        .start();
    manager.await_message("READY=1");
    for _ in 0..40 {
        manager.await_message("WATCHDOG=1");
    }
    assert!(
        !proxy.stderr().contains("do not turn"),
        "{}",
        proxy.stderr()
    );
}
