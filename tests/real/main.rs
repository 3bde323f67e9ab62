//! The built program between programs that other people wrote: what they say to each other through ringway must arrive
//! as if it were not there. A program that is missing on this machine skips its tests, and says what to install.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod admin_page;
mod browser;
mod certificate;
mod certificates;
mod chain;
mod client_name;
mod container;
mod content;
mod crowd;
mod curl;
mod failover;
mod forwarded;
mod haproxy;
mod identity;
mod nginx;
mod ocsp;
mod odd_client;
mod postgres;
mod probes;
mod probes_tls;
mod programs;
mod prometheus;
mod proxy_protocol;
mod redis;
mod requests;
mod scanners;
mod slow;
mod status_page;
mod sticky;
mod systemd;
mod terminate;
mod tls;
mod tls_backends;
mod tls_routes;
mod trouble;
mod websocket;

use std::net::SocketAddr;
use support::{Proxy, Setup};

/// A proxy in front of one server. Two workers, so that connections meet both ways of being handed out.
#[track_caller]
fn proxy_before(server: SocketAddr) -> Proxy {
    Setup::new(&[server]).process("workers = 2").start()
}
