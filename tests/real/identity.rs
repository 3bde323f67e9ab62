//! Backends that can be told apart: which source address gets which.

use crate::curl::curl;
use crate::nginx::Nginx;
use crate::programs::{installed, text};
use crate::support::Setup;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::Command;

/// Source addresses, all of this machine.
const SOURCES: RangeInclusive<u8> = 1..=24;

/// Two backends named as they answer, so that the table is the same in every run. Every client finds out by its own dial
/// who is dead: nobody is out for all.
fn setup(a: SocketAddr, b: SocketAddr) -> Setup {
    Setup::new(&[])
        .process("workers = 2")
        .upstream("max_fails = 0")
        .more(&backend("a", a))
        .more(&backend("b", b))
}

/// A backend of that name, as a table.
pub(crate) fn backend(name: &str, address: SocketAddr) -> String {
    format!("[[upstream.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n")
}

/// Who answers each source, in order. Sources enough for each backend to have some.
#[track_caller]
pub(crate) fn answers(at: SocketAddr) -> String {
    let url = format!("http://{at}/who");
    let answer = |host| text(curl().args(["--interface", &source(host), &url]));
    SOURCES.map(answer).collect()
}

/// What `ringway map` says of the same.
pub(crate) fn foretold(setup: &Setup) -> String {
    foretold_by("client_ip", SOURCES.map(source), setup)
}

/// What it says of values of a hash key: the names of their backends, in order.
pub(crate) fn foretold_by(
    key: &str,
    values: impl Iterator<Item = String>,
    setup: &Setup,
) -> String {
    let (_folder, file) = setup.write();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["map", "--upstream", "feed", "--key", key, "-c"]);
    let lines = text(command.arg(file).args(values));
    let names = lines
        .lines()
        .filter(|line| !line.starts_with("fingerprint "))
        .map(|line| line.split_whitespace().nth(1).unwrap());
    names.collect()
}

fn source(host: u8) -> String {
    format!("127.0.1.{host}")
}

#[test]
fn a_source_address_keeps_its_backend_across_connections_and_a_restart() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let (a, b) = (Nginx::start("a"), Nginx::start("b"));
    let setup = setup(a.address(), b.address());
    let proxy = setup.start();
    let first = answers(proxy.address());
    assert!(first.contains('a') && first.contains('b'), "{first}");
    assert_eq!(first, foretold(&setup));
    assert_eq!(answers(proxy.address()), first);
    assert_eq!(proxy.terminate().code, Some(0));
    let proxy = setup.start();
    assert_eq!(answers(proxy.address()), first);
}

#[test]
fn only_the_sources_of_a_dead_backend_move_and_they_come_back_to_it() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let (a, b) = (Nginx::start("a"), Nginx::start("b"));
    let proxy = setup(a.address(), b.address()).start();
    let first = answers(proxy.address());
    assert!(first.contains('a') && first.contains('b'), "{first}");
    let (at, all) = (a.address(), SOURCES.count());
    a.kill();
    assert_eq!(answers(proxy.address()), "b".repeat(all));
    let moved = proxy
        .await_access(2 * all)
        .iter()
        .filter(|line| line.number("tries") == 2)
        .count();
    assert_eq!(moved, first.matches('a').count());
    let _a = Nginx::on("a", at);
    assert_eq!(answers(proxy.address()), first);
    b.kill();
    assert_eq!(answers(proxy.address()), "a".repeat(all));
}

#[test]
fn a_source_keeps_its_backend_when_others_that_it_never_had_fail() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let (a, b, c) = (Nginx::start("a"), Nginx::start("b"), Nginx::start("c"));
    let proxy = setup(a.address(), b.address())
        .more(&backend("c", c.address()))
        .start();
    let before = answers(proxy.address());
    assert!("abc".chars().all(|name| before.contains(name)), "{before}");
    c.kill();
    let after = answers(proxy.address());
    assert!(!after.contains('c'), "{after}");
    for (before, after) in before.chars().zip(after.chars()) {
        assert!(before == after || before == 'c', "{before} became {after}");
    }
}
