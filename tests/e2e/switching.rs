//! From copying to splicing and back: no byte is lost, doubled or reordered at a switch, and pipes are not missed.

use crate::support::{Backend, End, Peer, Setup, wait};

/// Sends the pattern as bulk and messages by turns; how many bytes in all.
fn sway(peer: &Peer, cycles: usize) -> usize {
    let mut at = 0;
    for cycle in 0..cycles {
        let bulk = (320 << 10) + cycle * 4099 % (64 << 10);
        peer.send_pattern_from(at, at + bulk);
        at += bulk;
        for message in 0..6 {
            wait::tick();
            let bytes = 1 + message * 37;
            peer.send_pattern_from(at, at + bytes);
            at += bytes;
        }
    }
    peer.fin();
    at
}

#[test]
fn streams_that_switch_thousands_of_times_both_ways_at_once_arrive_whole() {
    const STREAMS: usize = 8;
    /// Two switches each way, nearly always: 3,200 in all.
    const CYCLES: usize = 100;
    let backend = Backend::serve(|peer| {
        let other = peer.share();
        let sending = std::thread::spawn(move || sway(&other, CYCLES));
        let (_, end) = peer.drain_pattern(0);
        assert_eq!(end, End::Fin);
        sending.join().unwrap();
    });
    let proxy = Setup::before(&backend).start();
    let clients: Vec<_> = (0..STREAMS)
        .map(|_| {
            let client = proxy.connect();
            std::thread::spawn(move || {
                let other = client.share();
                let sending = std::thread::spawn(move || sway(&other, CYCLES));
                let (down, end) = client.drain_pattern(0);
                assert_eq!(end, End::Fin);
                (sending.join().unwrap(), down, client.local())
            })
        })
        .collect();
    for client in clients {
        let (up, down, from) = client.join().unwrap();
        let line = proxy.await_access_of(from);
        let counted = (line.number("bytes_up"), line.number("bytes_down"));
        assert_eq!(counted, (up as u64, down as u64));
        assert_eq!(line.end().0.split('/').nth(1), Some("done"));
        assert_eq!(line.text("relay"), "copy+splice");
    }
}

#[test]
fn the_access_log_says_how_a_connection_was_relayed() {
    let backend = Backend::echo();
    for (relay, bytes, word) in [
        ("auto", 100_000, "copy"),
        ("auto", 20_000_000, "copy+splice"),
        ("copy", 20_000_000, "copy"),
        ("splice", 20_000_000, "splice"),
        ("splice", 100, "splice"),
    ] {
        let line = format!("relay = {relay:?}");
        let proxy = Setup::before(&backend).listener(&line).start();
        let client = proxy.connect();
        let sender = client.share();
        let sending = std::thread::spawn(move || sender.send_pattern(bytes));
        client.expect_pattern(bytes);
        sending.join().unwrap();
        client.fin();
        client.expect_fin();
        let line = proxy.await_access_of(client.local());
        assert_eq!(line.text("relay"), word, "{relay}, {bytes} bytes");
    }
}

#[test]
fn more_stalled_readers_than_there_are_pipes_hold_up_nobody() {
    const READERS: usize = 120;
    const BYTES: usize = 8 << 20;
    let flood = Backend::serve(|peer| {
        peer.stream().set_write_timeout(None).unwrap();
        // Its reader may be gone for good.
        let piece = |at| peer.try_send(crate::support::pattern(at, 1 << 20));
        let _ = (0..BYTES).step_by(1 << 20).map(piece).find(Result::is_err);
    });
    for relay in ["splice", "auto"] {
        let line = format!("relay = {relay:?}");
        let proxy = Setup::before(&flood).listener(&line).start();
        let (before, pipe_ends) = (proxy.descriptors(), proxy.pipe_ends());
        let stalled: Vec<_> = (0..READERS)
            .map(|_| Peer::connect_narrow(proxy.address(), 16 << 10))
            .collect();
        if relay == "splice" {
            wait::until("every pipe is full", || {
                proxy.pipe_ends() >= pipe_ends + 2 * 64 && proxy.sockets() >= 2 * READERS
            });
        }
        let client = proxy.connect();
        assert_eq!(client.drain_pattern(0), (BYTES, End::Fin));
        client.fin();
        let line = proxy.await_access_of(client.local());
        assert_ne!(line.text("relay"), "splice", "no pipe was left");
        // Those that stood still get all of it, too.
        for reader in stalled.iter().take(4).chain(stalled.last()) {
            assert_eq!(reader.drain_pattern(0), (BYTES, End::Fin));
        }
        drop(stalled);
        wait::until("its sockets are back, and pipes are kept", || {
            // A few of control's own come and go.
            proxy.descriptors() <= before + 2 * 64 + READERS / 10
        });
    }
}
