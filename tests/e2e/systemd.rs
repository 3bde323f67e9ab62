//! The service manager's side of a proxy's life: a socket that NOTIFY_SOCKET names, and what arrives there (sd_notify(3)).

use crate::support::{Backend, Peer, Proxy, Setup, procfs, wait};
use crate::upgrading::upgrade;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::cell::RefCell;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tempfile::TempDir;

/// The manager's end.
pub(crate) struct Manager {
    socket: UnixDatagram,
    name: String,
    store: RefCell<Vec<(String, OwnedFd)>>,
    _dir: TempDir,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        Self {
            socket: listening(UnixDatagram::bind(&path).unwrap()),
            name: path.to_str().unwrap().into(),
            store: RefCell::default(),
            _dir: dir,
        }
    }

    fn with_abstract_name() -> Self {
        let name = format!("ringway-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            socket: listening(UnixDatagram::bind_addr(&address).unwrap()),
            name: format!("@{name}"),
            store: RefCell::default(),
            _dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn setup(&self, backend: &Backend) -> Setup {
        Setup::before(backend).variable("NOTIFY_SOCKET", &self.name)
    }

    /// The next message that is there. Descriptors that come with it are put into the store, as long as it is not full.
    fn hear(&self) -> Option<String> {
        let mut bytes = [0; 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let heard = recvmsg(
            &self.socket,
            &mut into,
            &mut rights,
            RecvFlags::CMSG_CLOEXEC,
        );
        let len = match heard {
            Ok(heard) => heard.bytes,
            Err(Errno::AGAIN) => return None,
            Err(e) => panic!("{e}"),
        };
        let message = String::from_utf8(bytes[..len].to_vec()).unwrap();
        let mut store = self.store.borrow_mut();
        if let Some(name) = message.strip_prefix("FDSTORE=1\nFDNAME=") {
            for came in rights.drain() {
                if let RecvAncillaryMessage::ScmRights(sockets) = came {
                    store.extend(sockets.map(|socket| (name.to_owned(), socket)));
                }
            }
        } else if let Some(name) = message.strip_prefix("FDSTOREREMOVE=1\nFDNAME=") {
            store.retain(|(stored, _)| stored != name);
        }
        Some(message)
    }

    /// The names of what is in its store.
    fn stored(&self) -> Vec<String> {
        while self.hear().is_some() {}
        let store = self.store.borrow();
        store.iter().map(|(name, _)| name.clone()).collect()
    }

    #[track_caller]
    fn await_stored(&self, names: &[String]) {
        wait::until(&format!("these are stored: {names:?}"), || {
            self.stored() == names
        });
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

/// An address with a port that is not the system's choice: this process's own, and the test's.
fn fixed(test: u8) -> String {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{high}.{low}:9000", 200 + test)
}

fn name_of(address: &str) -> String {
    format!("listen-{}", address.replace(':', "-"))
}

#[test]
fn who_comes_while_a_crashed_process_is_started_again_waits_and_is_served() {
    let (manager, backend, address) = (Manager::new(), Backend::echo(), fixed(0));
    let setup = manager
        .setup(&backend)
        .process("workers = 2")
        .listener(&format!("listen = \"{address}\""));
    let proxy = setup.start();
    manager.await_stored(&[name_of(&address), name_of(&address)]);
    proxy.signal(Signal::SIGKILL);
    proxy.await_exit();
    let waits = Peer::connect(address.parse().unwrap());
    waits.send(b"is anybody there?");
    let kept = manager.store.take();
    let proxy = setup.clone().born_with(kept).start();
    waits.expect(b"is anybody there?");
    assert_eq!(manager.stored(), [""; 0], "what is kept is not sent again");
    proxy.terminate();
}

#[test]
fn who_drains_leaves_nobody_waiting_in_a_socket_that_the_manager_keeps() {
    let (manager, backend, address) = (Manager::new(), Backend::echo(), fixed(1));
    let proxy = manager
        .setup(&backend)
        .admin()
        .listener(&format!("listen = \"{address}\""))
        .start();
    manager.await_stored(&[name_of(&address)]);
    let admin = proxy.admin();
    assert_eq!(admin.post("/drain", "").status, 200);
    manager.await_stored(&[]);
    assert_eq!(admin.post("/undrain", "").status, 200);
    manager.await_stored(&[name_of(&address)]);
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.await_exit().code, Some(0));
    assert_eq!(manager.stored(), [""; 0]);
}

/// The next message but those about the watchdog and the drain.
fn next(manager: &Manager) -> String {
    wait::until_some("a message", || {
        let message = manager.hear()?;
        let is_news = message != "WATCHDOG=1" && !message.starts_with("STATUS=");
        is_news.then_some(message)
    })
}

#[test]
fn the_store_follows_a_reload_and_the_next_process_adds_to_it() {
    let (manager, backend) = (Manager::new(), Backend::echo());
    let (first, second) = (fixed(2), fixed(3));
    let at = |address: &str| {
        let listen = format!("listen = \"{address}\"");
        manager.setup(&backend).listener(&listen)
    };
    let proxy = at(&first).start();
    manager.await_stored(&[name_of(&first)]);
    let told = proxy.reload(&at(&second));
    assert!(told.contains("reloaded"), "{told}");
    manager.await_stored(&[name_of(&second)]);
    let both =
        format!("[[listener]]\nname = \"more\"\nlisten = \"{first}\"\nupstream = \"feed\"\n");
    let file = proxy.dir().join("ringway.toml");
    std::fs::write(file, at(&second).more(&both).toml()).unwrap();
    while manager.hear().is_some() {}
    let heir = upgrade(&proxy, proxy.pid());
    // The manager hears the main process alone: what the next one says comes after it has been named.
    assert_eq!(next(&manager), format!("MAINPID={}", heir.pid()));
    assert!(next(&manager).starts_with("READY=1"));
    manager.await_stored(&[name_of(&second), name_of(&first)]);
    proxy.await_succeeded();
}

#[test]
fn a_kept_socket_whose_address_no_listener_has_any_more_is_given_up() {
    let (manager, backend, address) = (Manager::new(), Backend::echo(), fixed(4));
    let socket = std::net::TcpListener::bind(&address).unwrap();
    manager
        .store
        .borrow_mut()
        .push((name_of(&address), socket.try_clone().unwrap().into()));
    let proxy = manager
        .setup(&backend)
        .born_with(vec![(name_of(&address), socket.into())])
        .start();
    proxy.await_line("systemd has kept the socket");
    manager.await_stored(&[]);
    assert!(Peer::try_connect(address.parse().unwrap()).is_err());
}
