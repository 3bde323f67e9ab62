//! What the process that takes over (SIGUSR2) has from the one before: counters, what is known of backends, what an admin
//! wanted.

use crate::support::{Admin, Backend, Peer, Setup, wait};
use crate::upgrading::upgrade;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;

/// What the page has of counters and histograms, but for those of the process and its threads.
fn counters(admin: &Admin) -> HashMap<String, f64> {
    let page = admin.get("/metrics").body;
    let (mut counters, mut counts) = (HashMap::new(), false);
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let is_own = name.starts_with("process_") || name.starts_with("ringway_worker_");
            counts = kind != "gauge" && !is_own;
        } else if counts && !line.starts_with('#') {
            let (sample, number) = line.rsplit_once(' ').unwrap();
            counters.insert(sample.to_owned(), number.parse().unwrap());
        }
    }
    counters
}

fn sample(admin: &Admin, name: &str) -> u64 {
    let page = admin.get("/metrics").body;
    let mut lines = page.lines();
    let number = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    number.expect(name).parse().unwrap()
}

fn backend(admin: &Admin, at: usize) -> Value {
    admin.status()["upstreams"][0]["backends"][at].clone()
}

#[track_caller]
fn say(client: &Peer, text: &[u8]) {
    client.send(text);
    client.expect(text);
}

const ACCEPTED: &str = "ringway_connections_total{listener=\"feed\"}";
const DRAINED: &str = "ringway_connections_closed_total{listener=\"feed\",reason=\"drain\"}";
const UP: &str = "ringway_bytes_total{listener=\"feed\",direction=\"up\",relay=\"copy\"}";
const BEFORE: &str = "ringway_connections_before";

#[test]
fn no_counter_goes_back_when_another_process_takes_over() {
    let echo = Backend::echo();
    let setup = Setup::before(&echo)
        .admin()
        .listener("mode = \"http\"")
        .process("drain_over = \"100ms\"")
        .upstream("probe = { interval = \"20ms\" }");
    let proxy = setup.start();
    let admin = proxy.admin();
    for _ in 0..5 {
        let client = proxy.connect();
        say(&client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let nonsense = proxy.connect();
    nonsense.send(b"nonsense\r\n\r\n");
    nonsense.drain();
    proxy.await_access(6);
    proxy.reload(&setup);
    wait::until("a probe has passed", || {
        backend(&admin, 0)["probe"]["passed_total"].as_u64() > Some(0)
    });
    let before = counters(&admin);
    let counted = before.values().filter(|count| **count > 0.0);
    assert!(counted.count() > 20, "{before:?}");
    let _heir = upgrade(&proxy, proxy.pid());
    let after = counters(&admin);
    for (name, count) in &before {
        assert!(
            after[name] >= *count,
            "{name}: {count}, then {}",
            after[name]
        );
    }
    proxy.await_succeeded();
}

#[test]
fn what_the_old_process_counts_while_it_drains_is_counted_too() {
    let echo = Backend::echo();
    let proxy = Setup::before(&echo)
        .admin()
        .process("drain_over = \"15s\"")
        .process("drain_deadline = \"19s\"")
        .start();
    let admin = proxy.admin();
    let clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    clients.iter().for_each(|client| say(client, b"before"));
    let _heir = upgrade(&proxy, proxy.pid());
    assert_eq!(sample(&admin, ACCEPTED), 4);
    wait::until("the connections of the old process are seen", || {
        sample(&admin, BEFORE) > 0
    });
    let last = clients.last().unwrap();
    let said = std::iter::repeat_with(|| last.try_send(b"after").is_ok());
    assert!(said.take(100).all(|sent| sent));
    wait::until("what it said is counted", || {
        sample(&admin, UP) == 4 * 6 + 100 * 5
    });
    drop(clients);
    wait::until("all have ended", || sample(&admin, BEFORE) == 0);
    assert_eq!(admin.status()["connections_before"], 0);
    assert_eq!(sample(&admin, ACCEPTED), 4);
    proxy.await_succeeded();
}

#[test]
fn counters_outlive_an_heir_that_is_gone_before_the_process_before_it() {
    let echo = Backend::echo();
    let proxy = Setup::before(&echo)
        .admin()
        .process("drain_over = \"2s\"")
        .start();
    let admin = proxy.admin();
    let clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    clients.iter().for_each(|client| say(client, b"before"));
    let second = upgrade(&proxy, proxy.pid());
    let third = upgrade(&proxy, second.pid());
    assert_eq!(sample(&admin, ACCEPTED), 4);
    clients.iter().for_each(Peer::expect_fin);
    drop(clients);
    wait::until("the first one's ends have come to the third", || {
        sample(&admin, DRAINED) == 4 && sample(&admin, BEFORE) == 0
    });
    wait::until("the second one has gone", || !second.is_alive());
    assert!(third.is_alive());
    assert_eq!(sample(&admin, ACCEPTED), 4);
    proxy.await_succeeded();
}

#[test]
fn a_backend_that_is_down_is_down_for_the_next_process_from_the_start() {
    let (well, gone) = (Backend::named("well"), Backend::refusing());
    let setup = |interval: &str| {
        Setup::new(&[well.address(), gone])
            .admin()
            .process("drain_over = \"0s\"")
            .upstream("balance = \"round_robin\"")
            .upstream(&format!(
                "probe = {{ interval = \"{interval}\", fall = 1 }}"
            ))
    };
    let proxy = setup("20ms").start();
    let admin = proxy.admin();
    let health = |at| backend(&admin, at)["health"].as_str().map(str::to_owned);
    wait::until("it is down", || health(1).as_deref() == Some("down"));
    // The next process knows what it is told: it makes no probe of its own before the test is over.
    let file = proxy.dir().join("ringway.toml");
    std::fs::write(file, setup("1h").toml()).unwrap();
    let _heir = upgrade(&proxy, proxy.pid());
    assert_eq!(health(0).as_deref(), Some("up"));
    assert_eq!(health(1).as_deref(), Some("down"));
    proxy.await_succeeded();
}

#[test]
fn a_backend_that_is_full_of_the_old_process_is_not_filled_again() {
    let (full, other) = (Backend::named("full"), Backend::named("other"));
    let addresses: [SocketAddr; 2] = [full.address(), other.address()];
    let proxy = Setup::new(&addresses)
        .admin()
        .process("drain_over = \"15s\"")
        .process("drain_deadline = \"19s\"")
        .upstream("balance = \"least_conn\"")
        .start();
    let admin = proxy.admin();
    let maint = format!("/upstreams/feed/backends/{}", addresses[1]);
    assert_eq!(admin.post(&maint, "{\"state\": \"maint\"}").status, 200);
    let greeted = |name: &[u8]| {
        let client = proxy.connect();
        client.expect(name);
        client
    };
    let old: Vec<_> = (0..6).map(|_| greeted(b"full")).collect();
    let _heir = upgrade(&proxy, proxy.pid());
    assert_eq!(
        backend(&admin, 1)["admin"],
        "maint",
        "the admin's word holds"
    );
    assert_eq!(admin.post(&maint, "{\"state\": \"ready\"}").status, 200);
    let new: Vec<_> = (0..3).map(|_| greeted(b"other")).collect();
    drop((old, new));
    proxy.await_succeeded();
}

#[test]
fn the_last_quarter_of_an_hour_is_remembered() {
    let echo = Backend::echo();
    let proxy = Setup::before(&echo)
        .admin()
        .process("drain_over = \"0s\"")
        .start();
    let admin = proxy.admin();
    let client = proxy.connect();
    say(&client, b"hello");
    let samples = || admin.get("/history.json").json()["samples"].clone();
    let seen = wait::until_some("a sample", || {
        Some(samples()).filter(|it| it[0]["connections"] == 1)
    });
    let _heir = upgrade(&proxy, proxy.pid());
    assert_eq!(samples()[0], seen[0]);
    proxy.await_succeeded();
}
