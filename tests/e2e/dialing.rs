//! Which backend a client gets, and what happens when backends refuse or keep silent.

use crate::support::{Backend, End, Peer, RINGWAY, Setup, wait};
use std::collections::HashMap;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

/// Sources on loopback that `ringway map` sends to each backend: backend address to client addresses.
fn mapped(setup: &Setup, sources: &[String]) -> HashMap<String, Vec<IpAddr>> {
    let (_dir, file) = setup.write();
    let mut command = Command::new(RINGWAY);
    let output = command
        .args(["map", "--upstream", "feed", "-c"])
        .arg(&file)
        .args(sources)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut map: HashMap<_, Vec<_>> = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with("fingerprint")) {
        let (key, backend) = line.split_once(' ').unwrap();
        map.entry(backend.to_owned())
            .or_default()
            .push(key.parse().unwrap());
    }
    map
}

fn sources(count: u8) -> Vec<String> {
    (1..=count).map(|n| format!("127.7.3.{n}")).collect()
}

#[test]
fn a_client_gets_the_backend_that_map_says_and_keeps_it_while_others_fail() {
    let mut backends: Vec<_> = (0..3).map(|_| Backend::new()).collect();
    let names: Vec<_> = backends.iter().map(|b| b.address().to_string()).collect();
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    // Every client finds out for itself.
    let setup = Setup::new(&addresses).upstream("max_fails = 0");
    let map = mapped(&setup, &sources(30));
    let proxy = setup.start();
    let served_by = |from: IpAddr| {
        let client = Peer::connect_from(from, proxy.address());
        let (name, end) = client.drain();
        assert_eq!(end, End::Fin);
        client.fin();
        let line = proxy.await_access_of(client.local());
        (String::from_utf8(name).unwrap(), line.number("tries"))
    };
    let serve = |backend: Backend| {
        let name = backend.address().to_string();
        backend.serving(move |peer| drop(peer.try_send(name.as_bytes())))
    };
    let lost = backends.remove(0);
    let others: Vec<_> = backends.into_iter().map(serve).collect();
    let serving = serve(lost);
    for (backend, clients) in &map {
        for client in clients {
            assert_eq!(served_by(*client), (backend.clone(), 1), "{client}");
        }
    }
    drop(serving);
    for (backend, clients) in &map {
        for client in clients {
            let (name, tries) = served_by(*client);
            if *backend == names[0] {
                assert!(names[1..].contains(&name) && tries >= 2, "{client}");
            } else {
                assert_eq!((&name, tries), (backend, 1), "{client}");
            }
        }
    }
    drop(others);
}

#[test]
fn a_refused_connect_goes_to_the_next_backend_unseen() {
    let backend = Backend::echo();
    let setup = Setup::new(&[Backend::refusing(), backend.address()]);
    let map = mapped(&setup, &sources(40));
    let proxy = setup.start();
    let unlucky = map
        .iter()
        .find(|(name, _)| **name != backend.address().to_string());
    let from = unlucky.expect("one of forty hashes to each").1[0];
    let client = Peer::connect_from(from, proxy.address());
    client.send(b"sent before anybody answered");
    client.expect(b"sent before anybody answered");
    client.fin();
    client.expect_fin();
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("client-fin/done", "--"));
    assert_eq!(line.number("tries"), 2);
    assert_eq!(line.text("backend"), backend.address().to_string());
}

#[test]
fn a_client_is_closed_when_every_backend_refuses() {
    let backends: Vec<_> = (0..4).map(|_| Backend::refusing()).collect();
    let proxy = Setup::new(&backends).start();
    let client = proxy.connect();
    let (bytes, _) = client.drain();
    assert_eq!(bytes, b"");
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("connect-refused/dialing", "SC"));
    assert_eq!(line.text("errno"), "ECONNREFUSED");
    assert_eq!(line.number("tries"), 3, "connect_tries, not all four");
}

#[test]
fn a_silent_backend_costs_connect_timeout_and_is_named() {
    let (silent, _queue) = Backend::silent();
    let proxy = Setup::before(&silent)
        .upstream("connect_timeout = \"300ms\"")
        .start();
    let client = proxy.connect();
    let ((bytes, _), took) = wait::timed(|| client.drain());
    assert_eq!(bytes, b"");
    assert!(took >= Duration::from_millis(250), "{took:?}");
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("connect-timeout/dialing", "sC"));
    assert_eq!(line.text("backend"), silent.address().to_string());
}

#[test]
fn a_silent_backend_gives_way_to_the_next() {
    let (silent, _queue) = Backend::silent();
    let backend = Backend::echo();
    let setup =
        Setup::new(&[silent.address(), backend.address()]).upstream("connect_timeout = \"200ms\"");
    let map = mapped(&setup, &sources(40));
    let proxy = setup.start();
    let from = map[&silent.address().to_string()][0];
    let client = Peer::connect_from(from, proxy.address());
    client.send(b"patience");
    client.expect(b"patience");
    client.fin();
    client.expect_fin();
    let line = proxy.await_access_of(client.local());
    assert_eq!((line.end().0, line.number("tries")), ("client-fin/done", 2));
}

#[test]
fn a_client_that_left_while_its_backend_was_dialed_is_not_relayed_to_forever() {
    let (silent, _queue) = Backend::silent();
    let backend = Backend::new();
    let setup =
        Setup::new(&[silent.address(), backend.address()]).upstream("connect_timeout = \"300ms\"");
    let map = mapped(&setup, &sources(40));
    let proxy = setup.start();
    let from = map[&silent.address().to_string()][0];
    let before = proxy.descriptors();
    let client = Peer::connect_from(from, proxy.address());
    client.send(b"too late");
    // One that is reset in the listener's queue is never seen.
    wait::until("it is accepted", || proxy.descriptors() > before);
    client.reset();
    let reached = backend.accept();
    assert_eq!(reached.drain(), (b"too late".to_vec(), End::Reset));
}
