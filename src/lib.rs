//! ringway: an L4 TCP proxy and load balancer on io_uring. This page is the map, in layer order: a module imports only
//! from those above it (`tests/tidy.rs` holds the table and fails with both names).
//!
//! Start reading at [`conn`] for the life of a connection and at [`worker`] for the loop that turns it;
//! `docs/ARCHITECTURE.md` tells the whole in words.

pub mod balance; // who gets the next connection, pure: ip_hash (Maglev)
pub mod base; //    what std lacks, knows nothing of proxies: slots, timer wheel, counters, stable hash
pub mod config;
pub mod wire; //    bytes ⇄ values, pure, fuzzed: http_head, client_hello, proxy_protocol //  text and flags become a checked, immutable Config
pub use ringway_ring as ring; // operations and completions; the only home of unsafe (package in src/ring)
pub mod conn; //    one proxied connection: decides, never acts
pub mod control; // the slow side: signals, access log, start and stop
pub mod demo;
pub mod relay; //   ways to move bytes between two sockets, one contract
pub mod sim; //     a Ring without a kernel: sockets, clock and faults from one seed
pub mod upstream; // a named set of backends and how one is chosen
pub mod worker; //  one thread, one ring, many connections //    `ringway demo`
