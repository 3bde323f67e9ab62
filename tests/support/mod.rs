//! What the tests of the running program share: the proxy as a real process, TCP peers that do one thing a line,
//! waiting with a deadline, a look into /proc.
//!
//! A test mostly owns both ends: `let client = proxy.connect(); let backend = backend.accept();` and then says, line
//! by line, what one sends and the other must see. Nothing here sleeps for an event: [`wait`] polls it.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    reason = "the code around a test fails by panicking, as the test does"
)]

mod admin;
mod authority;
mod dns;
mod peer;
pub(crate) mod probing;
pub(crate) mod procfs;
mod proxy;
pub(crate) mod wait;

pub(crate) use admin::Admin;
pub(crate) use authority::{Authority, Pair};
pub(crate) use dns::{Dns, Mood};
pub(crate) use peer::{Backend, End, Peer, echo, pattern};
pub(crate) use proxy::{Access, Exit, Proxy, RINGWAY, Setup};

use std::io::Write;

/// Leaves a trace of a test that could not run here: a line `SKIP name: reason` on standard error and in the file
/// that `RINGWAY_SKIPS` names, so that a run that skipped is not taken for one that passed.
pub(crate) fn skip(name: &str, reason: &str) {
    eprintln!("SKIP {name}: {reason}");
    let Some(path) = std::env::var_os("RINGWAY_SKIPS") else {
        return;
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    writeln!(
        file.expect("RINGWAY_SKIPS is writable"),
        "SKIP {name}: {reason}"
    )
    .expect("RINGWAY_SKIPS takes a line");
}
