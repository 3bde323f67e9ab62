//! `process.spin`: a worker stays awake between messages, and only then; nothing else changes.

use crate::support::{Backend, Peer, Proxy, Setup, procfs, wait};
use std::time::Duration;

/// What a hundred exchanges cost at most when the worker sleeps between them: a millisecond each, ten times what they do.
const AWAKE: Duration = Duration::from_millis(100);

fn spinning(spin: &str, backend: &Backend) -> Proxy {
    Setup::before(backend)
        .process(&format!("spin = \"{spin}\""))
        .start()
}

/// Asks, waits for the answer, pauses for two milliseconds.
fn exchange(client: &Peer) {
    client.send(b"hello");
    client.expect(b"hello");
    wait::tick();
}

#[test]
fn a_worker_that_may_spin_runs_between_two_messages_and_ends_as_usual() {
    let backend = Backend::echo();
    let proxy = spinning("10ms", &backend);
    let client = proxy.connect();
    let before = procfs::cpu_time(proxy.pid());
    // Two milliseconds awake each: fifty are enough, on a busy machine a few more.
    let enough = (0..1000).any(|_| {
        exchange(&client);
        procfs::cpu_time(proxy.pid()) - before >= AWAKE
    });
    assert!(enough, "it sleeps between messages");
    client.close();
    let (exit, took) = wait::timed(|| proxy.terminate());
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn without_spin_a_worker_sleeps_between_two_messages() {
    let backend = Backend::echo();
    let proxy = spinning("0us", &backend);
    let client = proxy.connect();
    let before = procfs::cpu_time(proxy.pid());
    (0..100).for_each(|_| exchange(&client));
    let spent = procfs::cpu_time(proxy.pid()) - before;
    assert!(spent < AWAKE, "{spent:?}");
}

#[test]
fn an_idle_proxy_sleeps_whether_it_may_spin_or_not() {
    for spin in ["0us", "10ms"] {
        let backend = Backend::echo();
        let proxy = spinning(spin, &backend);
        let client = proxy.connect();
        exchange(&client);
        let before = procfs::cpu_time(proxy.pid());
        wait::holds_for(Duration::from_secs(2), "it sleeps", || {
            procfs::cpu_time(proxy.pid()) - before < Duration::from_millis(200)
        });
    }
}

#[test]
fn a_spinning_worker_relays_every_byte_and_keeps_its_timeouts() {
    let backend = Backend::new();
    let proxy = Setup::before(&backend)
        .process("spin = \"10ms\"")
        .listener("idle_timeout = \"500ms\"")
        .start();
    let client = proxy.connect();
    let served = backend.accept();
    let sender = client.share();
    let sent = std::thread::spawn(move || sender.send_pattern(8 << 20));
    served.expect_pattern(8 << 20);
    sent.join().unwrap();
    let ((), took) = wait::timed(|| served.expect_fin());
    assert!(took > Duration::from_millis(300), "{took:?}");
    assert_eq!(proxy.await_first_access().text("end"), "idle/relaying");
}
