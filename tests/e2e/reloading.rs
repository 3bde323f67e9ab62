//! Another configuration in the running process: what it still allows goes on, and a mistake changes nothing.

use crate::limits::expect_turned_away;
use crate::support::{Backend, Peer, Proxy, Setup, wait};
use nix::sys::signal::Signal;
use std::net::{SocketAddr, TcpListener};

fn listener(name: &str, listen: SocketAddr) -> String {
    format!("[[listener]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = \"feed\"\n")
}

/// An address that is free, though somebody may take it.
fn free() -> SocketAddr {
    let any = TcpListener::bind("127.0.0.1:0").unwrap();
    any.local_addr().unwrap()
}

/// A client of the listener `feed`, known to be relayed.
fn relayed(proxy: &Proxy) -> Peer {
    let client = proxy.connect();
    echoed(&client);
    client
}

fn echoed(client: &Peer) {
    client.send(b"tick");
    client.expect(b"tick");
}

/// Which backend answers a new client.
fn answer(proxy: &Proxy) -> Vec<u8> {
    proxy.connect().drain_some()
}

#[test]
fn new_clients_go_by_the_new_file_and_old_ones_are_left_alone() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let stays = Backend::echo();
    let proxy = Setup::before(&stays).process("workers = 2").start();
    let client = relayed(&proxy);
    let line = proxy.reload(&Setup::before(&a).process("workers = 2"));
    let both = [a.address(), stays.address()];
    assert!(line.contains(&format!("+feed/{}", both[0])), "{line}");
    assert!(line.contains(&format!("-feed/{}", both[1])), "{line}");
    assert_eq!(answer(&proxy), b"a");
    echoed(&client);
    proxy.reload(&Setup::before(&b).process("workers = 2"));
    assert_eq!(answer(&proxy), b"b");
    echoed(&client);
    client.fin();
    client.expect_fin();
    let access = proxy.await_access_of(client.local());
    assert_eq!(access.text("backend"), both[1].to_string());
    assert_eq!(access.end(), ("client-fin/done", "--"));
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_says_where_it_is() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).start();
    let client = relayed(&proxy);
    let line = proxy.reload(&Setup::before(&backend).listener("idle_timeout = \"a week\""));
    assert!(
        line.contains("reload refused, nothing has changed"),
        "{line}"
    );
    assert!(
        line.contains("ringway.toml:") && line.contains("idle_timeout"),
        "{line}"
    );
    echoed(&client);
    relayed(&proxy);
    let line = proxy.reload(&Setup::before(&backend));
    assert!(line.contains("reloaded: nothing"), "{line}");
}

#[test]
fn listeners_come_and_go_and_their_connections_stay() {
    let backend = Backend::echo();
    let (old, new) = (free(), free());
    let with = |name, at| {
        Setup::before(&backend)
            .process("workers = 2")
            .more(&listener(name, at))
    };
    let proxy = with("old", old).start();
    let client = Peer::connect(old);
    echoed(&client);
    let line = proxy.reload(&with("new", new));
    assert!(line.contains("listeners +new -old"), "{line}");
    echoed(&Peer::connect(new));
    wait::until("nobody listens there", || Peer::try_connect(old).is_err());
    echoed(&client);
    client.fin();
    client.expect_fin();
    assert_eq!(
        proxy.await_access_of(client.local()).text("listener"),
        "old"
    );
    // And back, on the address that the proxy itself let go of.
    proxy.reload(&with("old", old));
    echoed(&Peer::connect(old));
}

#[test]
fn an_address_that_another_program_has_refuses_the_reload() {
    let backend = Backend::echo();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let proxy = Setup::before(&backend).start();
    let other = Backend::named("other");
    let line = proxy.reload(&Setup::before(&other).more(&listener("two", at)));
    assert!(
        line.contains("reload refused") && line.contains("ss -ltnp"),
        "{line}"
    );
    relayed(&proxy);
}

#[test]
fn a_listener_may_change_its_name_and_its_breadth_without_closing_the_door() {
    let backend = Backend::echo();
    let at = free();
    let wide = SocketAddr::from(([0, 0, 0, 0], at.port()));
    let with = |name, at| Setup::before(&backend).more(&listener(name, at));
    let proxy = with("one", at).start();
    let client = Peer::connect(at);
    echoed(&client);
    let line = proxy.reload(&with("two", at));
    assert!(line.contains("listeners +two -one"), "{line}");
    let second = Peer::connect(at);
    echoed(&second);
    proxy.reload(&with("two", wide));
    echoed(&Peer::connect(at));
    proxy.reload(&with("two", at));
    echoed(&Peer::connect(at));
    [&client, &second].into_iter().for_each(echoed);
    second.fin();
    assert_eq!(
        proxy.await_access_of(second.local()).text("listener"),
        "two"
    );
}

#[test]
fn what_is_known_of_backends_survives() {
    let (a, b) = (Backend::echo(), Backend::echo());
    let setup = |line| {
        Setup::new(&[a.address(), b.address()])
            .upstream("balance = \"least_conn\"")
            .upstream(line)
    };
    let proxy = setup("connect_tries = 1").start();
    let clients: Vec<_> = (0..6).map(|_| relayed(&proxy)).collect();
    let (held, _) = clients.split_at(6);
    // Three at each. Of those who come, none may go by a count that begins anew.
    proxy.reload(&setup("connect_tries = 2"));
    let more: Vec<_> = (0..4).map(|_| relayed(&proxy)).collect();
    held.iter().chain(&more).for_each(echoed);
    for client in held.iter().chain(&more) {
        client.fin();
    }
    let lines = proxy.await_access(10);
    let to = |backend: &Backend| {
        let name = backend.address().to_string();
        lines
            .iter()
            .filter(|line| line.text("backend") == name)
            .count()
    };
    assert_eq!((to(&a), to(&b)), (5, 5));
}

#[test]
fn a_lower_limit_turns_new_clients_away_and_keeps_those_who_are_there() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).process("workers = 2").start();
    let clients: Vec<_> = (0..3).map(|_| relayed(&proxy)).collect();
    let two = Setup::before(&backend)
        .process("workers = 2")
        .process("max_connections = 2");
    proxy.reload(&two);
    expect_turned_away(proxy.address());
    clients.iter().for_each(echoed);
    let wide = Setup::before(&backend)
        .process("workers = 2")
        .listener("max_connections = 4");
    proxy.reload(&wide);
    let fourth = relayed(&proxy);
    expect_turned_away(proxy.address());
    echoed(&fourth);
}

#[test]
fn what_a_running_process_cannot_change_is_named_and_stays() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).process("workers = 1").start();
    let line = proxy.reload(&Setup::before(&backend).process("workers = 2"));
    assert!(
        line.contains("as before until the process is upgraded"),
        "{line}"
    );
    assert!(line.contains("process.workers"), "{line}");
    relayed(&proxy);
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let backend = Backend::echo();
    let address = backend.address().to_string();
    let arguments = ["run", "--listen", "127.0.0.1:0", "--backend", &address];
    let proxy = Proxy::with_arguments(&arguments);
    proxy.signal(Signal::SIGHUP);
    let line = proxy.await_line("reload refused");
    assert!(line.contains("started from the command line"), "{line}");
    relayed(&proxy);
}

/// Reloads of the test below: enough for memory that is kept of each to be seen.
const RELOADS: usize = 200;

#[test]
fn two_hundred_reloads_lose_no_byte_of_live_connections_and_keep_no_memory() {
    let (backend, other) = (Backend::echo(), Backend::echo());
    let setup = |at: usize| {
        let weight = 1 + at % 7;
        let table = format!(
            "[[upstream.backend]]\naddress = \"{}\"\nweight = {weight}\n",
            other.address()
        );
        Setup::before(&backend).process("workers = 2").more(&table)
    };
    let proxy = setup(0).start();
    let clients: Vec<_> = (0..50).map(|_| relayed(&proxy)).collect();
    let mut early = 0;
    for at in 1..=RELOADS {
        // Each has some that began under it.
        let begun = relayed(&proxy);
        clients.iter().for_each(|client| client.send(b"before"));
        let line = proxy.reload(&setup(at));
        assert!(line.contains("reloaded: backends ~feed/"), "{line}");
        clients.iter().for_each(|client| client.expect(b"before"));
        echoed(&begun);
        if at == RELOADS / 4 {
            early = proxy.resident();
        }
    }
    clients.iter().for_each(echoed);
    let grown = proxy.resident().saturating_sub(early);
    // Two tables of a worker are 256 KiB: kept of each reload they would be 37 MiB.
    assert!(grown < 4 << 20, "{grown} bytes after {RELOADS} reloads");
}
