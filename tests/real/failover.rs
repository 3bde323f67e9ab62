//! A backend that dies or freezes under two thousand clients who all come back at once: Redis, because it is quick, holds
//! connections, and says what it is worth.

use crate::programs::installed;
use crate::redis::{PROGRAMS, Redis};
use crate::support::{Peer, Proxy, Setup, wait};
use nix::sys::signal::Signal;
use std::io::{ErrorKind, Read as _};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const THREADS: usize = 20;
const CLIENTS_OF_EACH: usize = 100;

/// Each new client is answered within so long: a dial that fails, others, and their turn among two thousand. Far below
/// `connect_timeout` where nothing waits for it, far above a scheduler's mood.
const AT_MOST: Duration = Duration::from_secs(2);

const PROBE: &str =
    "probe = { type = \"redis\", interval = \"200ms\", timeout = \"200ms\", fall = 2, rise = 1 }";

/// How often one client may meet the sockets of a process that is being killed.
const TRIES: usize = 5;

/// Two backends behind one proxy.
struct Scene {
    struck: Redis,
    _other: Redis,
    proxy: Proxy,
}

impl Scene {
    /// With these lines in the upstream.
    fn new(upstream: &str) -> Self {
        let (struck, other) = (Redis::start(), Redis::start());
        let proxy = Setup::new(&[struck.address, other.address])
            .process("workers = 2\ndrain_over = \"0s\"")
            .upstream("balance = \"least_conn\"")
            .upstream(upstream)
            .start();
        Self {
            struck,
            _other: other,
            proxy,
        }
    }

    /// One that is answered. A process that is killed loses its sockets one by one, and the listening one not first: for
    /// a moment its kernel takes connections that nobody will ever serve, and resets them. That is no failed dial, and
    /// bytes have been sent on, so that no proxy can make up for it. Who meets it comes again.
    fn client(&self) -> Peer {
        let answered = || {
            let client = self.proxy.connect();
            let is_answered = client.try_send(b"PING\r\n").is_ok() && is_pong(&client);
            is_answered.then_some(client)
        };
        let mut tries = std::iter::repeat_with(answered).take(TRIES);
        tries.find_map(|it| it).expect("an answer")
    }

    /// Opens two thousand clients, strikes, and has each that is closed come back at once: how long the slowest waited for
    /// its answer.
    fn strike(&self, strike: impl FnOnce()) -> Duration {
        let clients: Vec<Vec<Peer>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..THREADS)
                .map(|_| scope.spawn(|| (0..CLIENTS_OF_EACH).map(|_| self.client()).collect()))
                .collect();
            all.into_iter().map(|it| it.join().unwrap()).collect()
        });
        strike();
        let closed = AtomicUsize::new(0);
        let come_back = |mut clients: Vec<Peer>| {
            let mut slowest = Duration::ZERO;
            // The policy has given each backend half of them.
            wait::until("all clients of one backend are closed", || {
                clients.retain(|client| {
                    let stays = !is_closed(client);
                    if !stays {
                        closed.fetch_add(1, Relaxed);
                        slowest = slowest.max(wait::timed(|| self.client()).1);
                    }
                    stays
                });
                closed.load(Relaxed) >= THREADS * CLIENTS_OF_EACH / 2
            });
            slowest
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = clients
                .into_iter()
                .map(|clients| scope.spawn(|| come_back(clients)))
                .collect();
            let slowest = all.into_iter().map(|it| it.join().unwrap()).max();
            slowest.expect("there are threads")
        })
    }
}

fn is_pong(client: &Peer) -> bool {
    let mut reply = [0; 7];
    let mut stream = client.stream();
    stream.read_exact(&mut reply).is_ok() && reply == *b"+PONG\r\n"
}

/// Whether it has ended, as that of a backend that is gone does.
fn is_closed(client: &Peer) -> bool {
    let glance = Some(Duration::from_millis(1));
    client.stream().set_read_timeout(glance).unwrap();
    match client.stream().read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn clients_of_a_killed_backend_come_back_at_once_and_all_are_served_by_the_other() {
    if !installed(PROGRAMS) {
        return;
    }
    let scene = Scene::new("fail_timeout = \"1m\"");
    let slowest = scene.strike(|| scene.struck.program.signal(Signal::SIGKILL));
    println!("the slowest of those that came back waited {slowest:?}");
    assert!(slowest < AT_MOST, "{slowest:?}");
    scene.proxy.await_line("dials fail: out");
    let lines = scene.proxy.access();
    let unserved = lines
        .iter()
        .filter(|line| line.end().0.ends_with("/dialing"));
    assert_eq!(unserved.count(), 0, "another backend is up");
}

#[test]
fn clients_of_a_frozen_backend_are_closed_when_probes_find_out_and_come_back_to_the_other() {
    if !installed(PROGRAMS) {
        return;
    }
    let scene = Scene::new(&format!("{PROBE}\non_down = \"close\""));
    let slowest = scene.strike(|| {
        scene.struck.program.signal(Signal::SIGSTOP);
        let (_, took) = wait::timed(|| scene.proxy.await_line("\"to\":\"down\""));
        println!("found out after {took:?}");
    });
    println!("the slowest of those that came back waited {slowest:?}");
    assert!(slowest < AT_MOST, "{slowest:?}");
    scene.struck.program.signal(Signal::SIGCONT);
    scene.proxy.await_line("\"to\":\"up\"");
}
