//! Another binary takes over (SIGUSR2): nobody who connects is refused, and those who are connected are ended in their turn.

use crate::support::{Backend, Peer, Proxy, Setup, procfs, wait};
use crate::systemd::Manager;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// A process that took over. Killed when dropped, because nobody else will.
pub(crate) struct Heir(u32);

impl Heir {
    fn signal(&self, signal: Signal) {
        // Gone already is fine.
        let _ = kill(Pid::from_raw(self.0.try_into().unwrap()), signal);
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        wait::until("the heir is gone", || !procfs::is_alive(self.0));
    }
}

/// The processes that said this so far, in order.
fn who_said(proxy: &Proxy, message: &str) -> Vec<u32> {
    let part = format!("\"message\":\"{message}");
    let lines = proxy.lines();
    let said = lines.iter().filter(|line| line.contains(&part));
    said.map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        u32::try_from(event["pid"].as_u64().expect("its pid")).unwrap()
    })
    .collect()
}

/// Has the process upgrade, and waits until the next one has taken over.
#[track_caller]
pub(crate) fn upgrade(proxy: &Proxy, from: u32) -> Heir {
    let before = who_said(proxy, "upgraded").len();
    Heir(from).leave(Signal::SIGUSR2);
    let pid = wait::until_some("the next process takes over", || {
        who_said(proxy, "upgraded").get(before).copied()
    });
    Heir(pid)
}

impl Heir {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        procfs::is_alive(self.0)
    }

    /// Signals a process that somebody else cares for.
    fn leave(self, signal: Signal) {
        self.signal(signal);
        std::mem::forget(self);
    }
}

/// How a client fares that connects and says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Served,
    /// Its process was about to go and told it so in order, before it had heard it.
    Told,
    /// It was refused, or reset.
    Lost,
}

fn fate(at: SocketAddr) -> Fate {
    let Ok(client) = Peer::try_connect(at) else {
        return Fate::Lost;
    };
    if client.try_send(b"tick").is_err() {
        return Fate::Lost;
    }
    match client.stream().read(&mut [0; 4]) {
        Ok(0) => Fate::Told,
        Ok(_) => Fate::Served,
        Err(_) => Fate::Lost,
    }
}

/// Says to stop when it is dropped.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn echoed(at: SocketAddr) -> bool {
    fate(at) == Fate::Served
}

#[test]
fn ten_upgrades_in_a_row_refuse_and_reset_nobody_who_connects() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("workers = 2")
        .process("drain_over = \"100ms\"")
        .start();
    let at = proxy.address();
    let (stop, served, lost) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    // Killed only when the last client has been served.
    let mut heirs: Vec<Heir> = Vec::new();
    std::thread::scope(|scope| {
        // A failure below ends the clients, too: the scope waits for them.
        let _stop = StopAtEnd(&stop);
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    match fate(at) {
                        Fate::Served => served.fetch_add(1, Relaxed),
                        Fate::Told => 0,
                        Fate::Lost => lost.fetch_add(1, Relaxed),
                    };
                }
            });
        }
        for _ in 0..10 {
            let from = heirs.last().map_or_else(|| proxy.pid(), |heir| heir.0);
            heirs.push(upgrade(&proxy, from));
            let before = served.load(Relaxed);
            wait::until("clients are served", || served.load(Relaxed) > before + 20);
        }
    });
    let (served, lost) = (served.load(Relaxed), lost.load(Relaxed));
    assert!(served > 200, "{served}");
    assert_eq!(lost, 0, "of {}", served + lost);
    proxy.await_succeeded();
}

#[test]
fn who_connects_while_the_old_process_closes_waits_for_no_other_client() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("drain_over = \"0s\"")
        .start();
    let at = proxy.address();
    let mut heirs: Vec<Heir> = Vec::new();
    for times in 1..=20 {
        let from = heirs.last().map_or_else(|| proxy.pid(), |heir| heir.0);
        heirs.push(upgrade(&proxy, from));
        // Nobody else comes who would have it accepted.
        assert_ne!(fate(at), Fate::Lost);
        wait::until("the old process has ended", || {
            let lines = proxy.lines();
            let ends = lines.iter().filter(|line| line.contains("\"stopped\""));
            ends.count() == times
        });
    }
    proxy.await_succeeded();
}

#[test]
fn connections_of_the_old_process_go_on_until_their_turn_and_new_ones_are_the_new_ones() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("drain_over = \"3s\"")
        .start();
    let at = proxy.address();
    let clients = [Peer::connect(at), Peer::connect(at)];
    for client in &clients {
        client.send(b"before");
        client.expect(b"before");
    }
    let heir = upgrade(&proxy, proxy.pid());
    clients[0].expect_fin();
    clients[1].send(b"still here");
    clients[1].expect(b"still here");
    wait::until("a new client is served", || echoed(at));
    clients[1].expect_fin();
    proxy.await_line("\"stopped\"");
    assert!(echoed(at), "the old process is gone, and nobody notices");
    assert!(procfs::is_alive(heir.0));
    let ready = who_said(&proxy, "ready");
    assert_eq!(ready, [proxy.pid(), heir.0]);
    proxy.await_succeeded();
}

#[test]
fn the_service_manager_hears_of_the_next_process_and_is_fed_by_it() {
    let (manager, backend) = (Manager::new(), Backend::echo());
    // As if it were somebody else whom the manager watches: the first process feeds nobody.
    let proxy = manager
        .setup(&backend)
        .variable("WATCHDOG_USEC", "200000")
        .variable("WATCHDOG_PID", "1")
        .start();
    let heir = upgrade(&proxy, proxy.pid());
    manager.await_message(&format!("MAINPID={}", heir.0));
    manager.await_message("WATCHDOG=1");
    proxy.await_succeeded();
}

#[test]
fn a_successor_that_cannot_serve_changes_nothing() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).start();
    let client = proxy.connect();
    client.send(b"before");
    client.expect(b"before");
    let file = proxy.dir().join("ringway.toml");
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, "nonsense").unwrap();
    proxy.signal(Signal::SIGUSR2);
    let line = proxy.await_line("does not take over");
    assert!(line.contains("exit status: 78"), "{line}");
    client.send(b"after");
    client.expect(b"after");
    assert!(echoed(proxy.address()));
    std::fs::write(&file, good).unwrap();
    let _heir = upgrade(&proxy, proxy.pid());
    wait::until("a new client is served", || echoed(proxy.address()));
    proxy.await_succeeded();
}

#[test]
fn the_admin_address_is_handed_on_too() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let admin = proxy.admin();
    let pid = |body: String| {
        let line = body
            .lines()
            .find_map(|line| line.strip_prefix("ringway_start_time_seconds "));
        line.map(str::to_owned)
    };
    let first = pid(admin.get("/metrics").body);
    let heir = upgrade(&proxy, proxy.pid());
    let second = pid(admin.get("/metrics").body);
    wait::until("two sockets of port 0 keep apart", || {
        echoed(proxy.address())
    });
    assert!(first.is_some() && second.is_some());
    assert_ne!(first, second, "the new process answers");
    proxy.await_line("\"stopped\"");
    assert_eq!(admin.get("/healthz").status, 200);
    // An operator who asks the new one to stop is heard.
    heir.signal(Signal::SIGTERM);
    wait::until("it stops", || !procfs::is_alive(heir.0));
    proxy.await_succeeded();
}

#[test]
fn a_unix_socket_of_the_admin_address_belongs_to_the_process_that_took_over() {
    let backend = Backend::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let table = format!("[admin]\nlisten = \"unix:{}\"\n", path.display());
    let proxy = Setup::before(&backend).more(&table).start();
    let admin = proxy.admin();
    assert_eq!(admin.get("/healthz").status, 200);
    let file = proxy.dir().join("ringway.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let taken = backend.address();
    let more =
        format!("[[listener]]\nname = \"more\"\nlisten = \"{taken}\"\nupstream = \"feed\"\n");
    std::fs::write(&file, format!("{good}{more}")).unwrap();
    proxy.signal(Signal::SIGUSR2);
    proxy.await_line("does not take over");
    assert_eq!(admin.get("/healthz").status, 200, "this one still has it");
    std::fs::write(&file, good).unwrap();
    let _heir = upgrade(&proxy, proxy.pid());
    proxy.await_line("\"stopped\"");
    wait::holds_for(
        Duration::from_millis(200),
        "the next process answers",
        || admin.get("/healthz").status == 200,
    );
    proxy.await_succeeded();
}
