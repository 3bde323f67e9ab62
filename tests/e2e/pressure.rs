//! Fast senders, readers that stand still, and many connections that come and go: memory stays where it is.

use super::before;
use crate::support::{Backend, End, Peer, wait};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MB: usize = 1_000_000;
const MIB: u64 = 1 << 20;

/// Sends the pattern in a thread of its own; how far it came is there to be read.
fn send_counted(peer: Peer, bytes: usize) -> Arc<AtomicUsize> {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    std::thread::spawn(move || {
        for at in (0..bytes).step_by(100_000) {
            let piece = at..(at + 100_000).min(bytes);
            peer.stream().set_write_timeout(None).unwrap();
            // The reader may be gone for good: the test is over then.
            if peer
                .try_send(crate::support::pattern(piece.start, piece.len()))
                .is_err()
            {
                return;
            }
            count.store(piece.end, Ordering::Relaxed);
        }
        peer.fin();
        peer.drain();
    });
    sent
}

/// Waits until the number stands still for half a second.
fn settled(number: impl Fn() -> usize) -> usize {
    let mut last = (number(), wait::now());
    wait::until_some("the sender is stopped", || {
        let now = number();
        if now != last.0 {
            last = (now, wait::now());
        }
        (last.0 > 0 && last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

#[test]
fn a_stalled_reader_stops_a_fast_backend_and_later_gets_every_byte() {
    let backend = Backend::new();
    let proxy = before(&backend).start();
    let client = Peer::connect_narrow(proxy.address(), 64 << 10);
    let before = proxy.resident();
    let sent = send_counted(backend.accept(), 200 * MB);
    let stopped_at = settled(|| sent.load(Ordering::Relaxed));
    assert!(
        stopped_at < 40 * MB,
        "{stopped_at} bytes went into a stalled relay"
    );
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 8 * MIB, "the proxy grew by {grown} bytes");
    assert_eq!(client.drain_pattern(0), (200 * MB, End::Fin));
    let grown = proxy.resident().saturating_sub(before);
    assert!(
        grown < 8 * MIB,
        "the proxy grew by {grown} bytes in the end"
    );
}

#[test]
fn a_stalled_backend_stops_a_fast_client_and_later_gets_every_byte() {
    let backend = Backend::new();
    let proxy = before(&backend).start();
    let client = proxy.connect();
    let served = backend.accept();
    let before = proxy.resident();
    let sent = send_counted(client, 200 * MB);
    let stopped_at = settled(|| sent.load(Ordering::Relaxed));
    assert!(
        stopped_at < 40 * MB,
        "{stopped_at} bytes went into a stalled relay"
    );
    assert_eq!(served.drain_pattern(0), (200 * MB, End::Fin));
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 8 * MIB, "the proxy grew by {grown} bytes");
}

/// What goes on beside clients that stand still.
struct Beside<'a> {
    /// An echo listener on the same worker.
    echo: SocketAddr,
    /// One of its clients.
    client: &'a Peer,
    /// Those that stand still, before backends that would send each 200 MB of the pattern.
    stalled: &'a [Peer],
}

/// Has that many clients stand still, and `act` beside them; by how much the proxy grew.
fn beside_stalled_readers(readers: usize, act: impl FnOnce(Beside<'_>)) -> u64 {
    // What becomes of them when their readers are gone is not looked at.
    let flood = Backend::serve(|peer| {
        peer.stream().set_write_timeout(None).unwrap();
        // Left to itself each would queue 4 MiB (net.ipv4.tcp_wmem), and a thousand exhaust what all TCP may have
        // (net.ipv4.tcp_mem): then segments are dropped, and everybody waits for retransmissions.
        let socket = socket2::SockRef::from(peer.stream());
        socket.set_send_buffer_size(64 << 10).unwrap();
        let pieces = (0..200 * MB).step_by(100_000);
        let piece = |at| peer.try_send(crate::support::pattern(at, 100_000));
        let _ = pieces.map(piece).find(Result::is_err);
    });
    let echo = Backend::echo();
    let more = format!(
        "[[listener]]\nname = \"echo\"\nlisten = \"127.0.0.1:0\"\nupstream = \"echo\"\n\
         [[upstream]]\nname = \"echo\"\n[[upstream.backend]]\naddress = \"{}\"\n",
        echo.address()
    );
    // What they exhaust is buffers where they are copied, and pipes where they are spliced.
    let proxy = before(&flood).more(&more).start();
    let client = Peer::connect(proxy.address_of("echo"));
    client.send(b"warm");
    client.expect(b"warm");
    let before = proxy.resident();
    // One after the other, so that no queue of connections overflows; each gets bytes, whoever stands still before it.
    let stalled: Vec<_> = (0..readers)
        .map(|_| {
            let reader = Peer::connect_narrow(proxy.address(), 16 << 10);
            reader.stream().peek(&mut [0]).expect("its first bytes");
            reader
        })
        .collect();
    settled(|| usize::try_from(proxy.resident()).unwrap());
    let grown = proxy.resident().saturating_sub(before);
    act(Beside {
        echo: proxy.address_of("echo"),
        client: &client,
        stalled: &stalled,
    });
    let in_the_end = proxy.resident().saturating_sub(before);
    // The buffers, 64 KiB and one receive spilled of each reader, and what a connection costs.
    let most = 32 * MIB + readers as u64 * (84 << 10);
    assert!(
        grown.max(in_the_end) < most,
        "the proxy grew by {grown} bytes, and by {in_the_end} in the end"
    );
    grown
}

#[test]
fn fifty_stalled_readers_cost_little_memory_and_hold_up_nobody() {
    beside_stalled_readers(50, |it| exchange(it.client, 2_000));
}

#[test]
fn more_stalled_readers_than_there_are_buffers_hold_up_no_small_exchange() {
    beside_stalled_readers(700, |it| exchange(it.client, 500));
}

#[test]
fn more_stalled_readers_than_there_are_buffers_hold_up_no_new_bulk() {
    beside_stalled_readers(700, |it| {
        let client = Peer::connect(it.echo);
        let sender = client.share();
        let sending = std::thread::spawn(move || sender.send_pattern(4 << 20));
        client.expect_pattern(4 << 20);
        sending.join().unwrap();
    });
}

#[test]
fn what_waits_for_many_stalled_readers_is_spilled_and_arrives_whole() {
    let grown = beside_stalled_readers(1_200, |it| {
        exchange(it.client, 500);
        for reader in it.stalled.iter().step_by(20) {
            reader.expect_pattern(1 << 20);
        }
    });
    // The buffers are 32 MiB.
    assert!(grown > 36 * MIB, "only {grown} bytes are held");
}

fn exchange(client: &Peer, rounds: usize) {
    for _ in 0..rounds {
        client.send(b"not held up");
        client.expect(b"not held up");
    }
}

/// A connection with an end drawn from `chance`.
fn come_and_go(proxy: SocketAddr, chance: u64) {
    let client = Peer::connect(proxy);
    match chance % 7 {
        0 => client.close(),
        1 => client.reset(),
        2 => {
            client.send(b"and away");
            client.reset();
        }
        3 => {
            client.send(b"echo");
            client.expect(b"echo");
            client.fin();
            client.expect_fin();
        }
        4 => {
            client.send_pattern(50_000);
            client.close();
        }
        5 => {
            client.send(b"echo");
            client.expect(b"echo");
            client.reset();
        }
        _ => {
            client.send_pattern(200_000);
            client.reset();
        }
    }
}

fn churn(proxy: SocketAddr, connections: u64) {
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            std::thread::spawn(move || {
                for n in 0..connections / 8 {
                    // Any spread of the endings will do, the same in each run.
                    let draw = (thread * 1_000_003 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                    come_and_go(proxy, draw);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn two_thousand_connections_with_random_endings_leave_nothing_behind() {
    let backend = Backend::echo();
    let proxy = before(&backend).process("workers = 2").start();
    let sockets = proxy.sockets();
    churn(proxy.address(), 400);
    wait::until("all are over", || proxy.sockets() == sockets);
    let resident = proxy.resident();
    churn(proxy.address(), 2_000);
    wait::until("every socket is back", || proxy.sockets() == sockets);
    let grown = proxy.resident().saturating_sub(resident);
    // The buffers' pages are touched one by one, 64 MiB of two workers; a leak of one page a connection is 8 MB.
    assert!(grown < 8 * MIB, "the proxy grew by {grown} bytes");
}
