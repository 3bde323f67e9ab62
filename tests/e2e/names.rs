//! Backends that are names: what DNS says of them decides who gets the next connection.

use crate::support::{Backend, Dns, Mood, Peer, Proxy, RINGWAY, Setup, wait};
use hickory_resolver::proto::rr::RecordType;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// A backend that says its address to everyone who comes, and stays.
fn on(ip: &str, port: u16) -> Backend {
    let backend = Backend::on(SocketAddr::new(ip.parse().unwrap(), port));
    let name = backend.address().ip().to_string();
    backend.serving(move |peer| {
        let _ = peer.try_send(name.as_bytes());
        peer.drain_some();
    })
}

/// One at each address, all at one port.
fn at_one_port(ips: &[&str]) -> (Vec<Backend>, u16) {
    let first = on(ips[0], 0);
    let port = first.address().port();
    let others = ips[1..].iter().map(|ip| on(ip, port));
    (std::iter::once(first).chain(others).collect(), port)
}

/// In front of a backend with this address, which a server is asked for every second.
fn before(dns: &Dns, address: &str) -> Setup {
    before_asking(dns, address, "1s")
}

fn before_asking(dns: &Dns, address: &str, interval: &str) -> Setup {
    Setup::new(&[])
        .process(&dns.line())
        .upstream(&format!("resolve_interval = \"{interval}\""))
        .upstream("balance = \"round_robin\"")
        .more(&format!("[[upstream.backend]]\naddress = \"{address}\"\n"))
}

/// A client that stays, and where it got to; `None` when it was turned away.
fn client(proxy: &Proxy) -> Option<(Peer, String)> {
    let client = proxy.connect();
    let name = String::from_utf8(client.drain_some()).unwrap();
    (!name.is_empty()).then_some((client, name))
}

/// How many of so many clients get where.
fn spread(proxy: &Proxy, clients: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..clients {
        let (_, name) = client(proxy).expect("there is a backend");
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn counts(all: &[(&str, usize)]) -> BTreeMap<String, usize> {
    all.iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[test]
fn every_address_of_a_host_gets_its_share() {
    let (_backends, port) = at_one_port(&["127.0.0.1", "127.0.0.2", "::1"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.2", "::1", "127.0.0.1"], 60);
    let proxy = before(&dns, &format!("feed.test:{port}")).start();
    assert_eq!(spread(&proxy, 1), counts(&[("127.0.0.1", 1)]));
    let line = proxy.await_first_access();
    assert_eq!(
        line.text("backend"),
        format!("feed.test:{port}/127.0.0.1"),
        "named after both, in an order of our own"
    );
    let all = [("127.0.0.1", 4), ("127.0.0.2", 4), ("::1", 4)];
    assert_eq!(spread(&proxy, 12), counts(&all));
}

#[test]
fn srv_records_say_port_share_and_who_stands_by() {
    let [one, two, third] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|ip| on(ip, 0));
    let port = |backend: &Backend| backend.address().port();
    let dns = Dns::new();
    for (name, backend) in [
        ("one.test", &one),
        ("two.test", &two),
        ("third.test", &third),
    ] {
        dns.host(name, &[&backend.address().ip().to_string()], 60);
    }
    let targets = [
        (20, 1, port(&third), "third.test"),
        (10, 1, port(&one), "one.test"),
        (10, 3, port(&two), "two.test"),
        (30, 1, 9, "nobody.test"),
    ];
    dns.service("_feed._tcp.test", &targets, 60);
    let proxy = before(&dns, "srv:_feed._tcp.test").admin().start();
    let route = "/upstreams/feed/backends/srv:_feed._tcp.test";
    let answer = proxy.admin().post(route, "{\"weight\": 5}");
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.error().contains("SRV records"), "{answer:?}");
    assert_eq!(
        spread(&proxy, 12),
        counts(&[("127.0.0.1", 3), ("127.0.0.2", 9)])
    );
    one.close();
    two.close();
    assert_eq!(spread(&proxy, 6), counts(&[("127.0.0.3", 6)]), "the backup");
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_again_over_tcp() {
    let (_backends, port) = at_one_port(&["127.0.0.1"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.1"], 60);
    dns.truncate();
    let proxy = before(&dns, &format!("feed.test:{port}")).start();
    assert_eq!(spread(&proxy, 2), counts(&[("127.0.0.1", 2)]));
    assert!(dns.asked_by_tcp() > 0);
}

#[test]
fn a_name_that_is_none_at_start_is_a_backend_that_nobody_gets_to() {
    let (_backends, port) = at_one_port(&["127.0.0.1"]);
    let dns = Dns::new();
    let proxy = before(&dns, &format!("feed.test:{port}")).start();
    let line = proxy.await_line("name does not resolve");
    assert!(line.contains("NXDOMAIN"), "{line}");
    assert!(client(&proxy).is_none());
    let ended = proxy.await_first_access();
    assert_eq!(ended.end(), ("no-backend/dialing", "SC"));
}

#[test]
fn a_name_without_an_answer_does_not_keep_others_from_being_served() {
    let other = on("127.0.0.1", 0);
    let dns = Dns::new();
    dns.set(Mood::Silent);
    let proxy = before(&dns, "feed.test:80")
        .more(&format!(
            "[[upstream.backend]]\naddress = \"{}\"\n",
            other.address()
        ))
        .start();
    proxy.await_line("some names have no answer yet");
    assert_eq!(spread(&proxy, 3), counts(&[("127.0.0.1", 3)]));
}

#[test]
fn an_address_that_comes_gets_clients_and_one_that_goes_keeps_those_it_has() {
    let (_backends, port) = at_one_port(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.1", "127.0.0.2"], 60);
    let proxy = before(&dns, &format!("feed.test:{port}")).start();
    let staying: Vec<_> = (0..4).map(|_| client(&proxy).unwrap()).collect();
    dns.host("feed.test", &["127.0.0.2", "127.0.0.3"], 60);
    let line = proxy.await_line("name stands for other addresses");
    let change = format!("\"added\":\"127.0.0.3:{port}\",\"removed\":\"127.0.0.1:{port}\"");
    assert!(line.contains(&change), "{line}");
    wait::until("the one that came gets clients", || {
        client(&proxy).unwrap().1 == "127.0.0.3"
    });
    let all = [("127.0.0.2", 3), ("127.0.0.3", 3)];
    assert_eq!(spread(&proxy, 6), counts(&all), "the other one gets nobody");
    for (client, _) in &staying {
        client.expect_silence(Duration::from_millis(50));
    }
}

#[test]
fn an_answer_is_asked_for_again_when_it_no_longer_holds() {
    let (_backends, port) = at_one_port(&["127.0.0.1"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.1"], 1);
    let _proxy = before_asking(&dns, &format!("feed.test:{port}"), "1h").start();
    let asked = || dns.asked("feed.test", RecordType::A);
    let before = asked();
    wait::until("it is asked for again, twice", || asked() >= before + 2);
}

#[test]
fn the_last_good_answer_is_kept_through_every_kind_of_failure() {
    let (_backends, port) = at_one_port(&["127.0.0.1"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.1"], 60);
    let proxy = before(&dns, &format!("feed.test:{port}")).start();
    dns.set(Mood::Failing);
    let line = proxy.await_line("name does not resolve");
    assert!(line.contains("\"kept\":1"), "{line}");
    for mood in [Mood::Failing, Mood::Silent] {
        let asked = dns.asked("feed.test", RecordType::A);
        dns.set(mood);
        wait::until("it was asked in this mood", || {
            dns.asked("feed.test", RecordType::A) > asked
        });
        assert_eq!(spread(&proxy, 2), counts(&[("127.0.0.1", 2)]), "{mood:?}");
    }
    dns.set(Mood::Well);
    proxy.await_line("name resolves again");
    dns.forget("feed.test");
    wait::until("it failed twice", || {
        let lines = proxy.lines();
        let failed = lines
            .iter()
            .filter(|line| line.contains("does not resolve"));
        failed.count() == 2
    });
    assert_eq!(spread(&proxy, 2), counts(&[("127.0.0.1", 2)]), "NXDOMAIN");
}

#[test]
fn half_an_answer_takes_no_address_away() {
    let (_backends, port) = at_one_port(&["127.0.0.1", "::1"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.1", "::1"], 60);
    let proxy = before(&dns, &format!("feed.test:{port}")).start();
    dns.fail_for("feed.test", RecordType::AAAA);
    proxy.await_line("name does not resolve");
    let both = [("127.0.0.1", 2), ("::1", 2)];
    assert_eq!(spread(&proxy, 4), counts(&both));
}

#[test]
fn a_name_that_is_known_later_is_served_without_a_restart() {
    let (_backends, port) = at_one_port(&["127.0.0.1"]);
    let dns = Dns::new();
    let proxy = before(&dns, &format!("feed.test:{port}")).start();
    assert!(client(&proxy).is_none());
    dns.host("feed.test", &["127.0.0.1"], 60);
    wait::until("somebody is served", || client(&proxy).is_some());
}

#[test]
fn a_reload_brings_names_with_their_addresses_and_takes_them_away() {
    let other = on("127.0.0.4", 0);
    let (_backends, port) = at_one_port(&["127.0.0.1"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.1"], 60);
    let plain = Setup::new(&[other.address()])
        .process(&dns.line())
        .upstream("balance = \"round_robin\"");
    let named = plain.clone().more(&format!(
        "[[upstream.backend]]\naddress = \"feed.test:{port}\"\n"
    ));
    let proxy = plain.start();
    assert_eq!(spread(&proxy, 2), counts(&[("127.0.0.4", 2)]));
    proxy.reload(&named);
    let both = [("127.0.0.1", 2), ("127.0.0.4", 2)];
    assert_eq!(spread(&proxy, 4), counts(&both));
    proxy.reload(&plain);
    assert_eq!(spread(&proxy, 2), counts(&[("127.0.0.4", 2)]));
}

#[test]
fn each_address_is_probed_and_goes_down_on_its_own() {
    let (_backends, port) = at_one_port(&["127.0.0.1"]);
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.1", "127.0.0.2"], 60);
    let proxy = before(&dns, &format!("feed.test:{port}"))
        .upstream("probe = { interval = \"100ms\", timeout = \"100ms\", rise = 1, fall = 2 }")
        .start();
    let line = proxy.await_line("\"to\":\"down\"");
    assert!(
        line.contains(&format!("feed.test:{port}/127.0.0.2")),
        "{line}"
    );
    assert_eq!(spread(&proxy, 4), counts(&[("127.0.0.1", 4)]));
}

#[test]
fn map_asks_as_a_start_does() {
    let dns = Dns::new();
    dns.host("feed.test", &["127.0.0.9"], 60);
    let (_dir, file) = Setup::new(&[])
        .process(&dns.line())
        .more("[[upstream.backend]]\naddress = \"feed.test:80\"\n")
        .write();
    let mut map = Command::new(RINGWAY);
    map.arg("map").arg("-c").arg(file);
    let output = map
        .args(["--upstream", "feed", "10.0.0.1"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("10.0.0.1 feed.test:80/127.0.0.9\n"),
        "{text}"
    );
}
