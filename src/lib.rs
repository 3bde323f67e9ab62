//! ringway: an L4 TCP proxy and load balancer on io_uring. This page is the map, in layer order: a module imports only
//! from those above it (`tests/tidy.rs` holds the table and fails with both names).
//!
//! Start reading at [`conn`] for the life of a connection and at [`worker`] for the loop that turns it;
//! `docs/ARCHITECTURE.md` tells the whole in words.

// What std lacks, knows nothing of proxies: slots, timer wheel, counters, stable hash, dice.
pub mod base;

// Bytes ⇄ values, pure, fuzzed: request heads, ClientHellos, PROXY protocol headers, what probes say and hear.
pub mod wire;

// Who gets the next connection, pure: ip_hash (Maglev), bounded load, round robin, fewest connections, random two, slow start.
pub mod balance;

// Text and flags become a checked, immutable Config.
pub mod config;

// Operations and completions; the only home of unsafe (a package of its own in src/ring).
pub use ringway_ring as ring;

// A Ring without a kernel: sockets, clock and faults from one seed.
pub mod sim;

// Certificates, keys and authorities become rustls's configurations; live, without touching connections.
pub mod tls;

// A named set of backends and how one is chosen.
pub mod upstream;

// Ways to move bytes between two sockets, one contract.
pub mod relay;

// One proxied connection: decides, never acts.
pub mod conn;

// One thread, one ring, many connections.
pub mod worker;

// The slow side: signals, probes, names of backends, access log, start and stop.
pub mod control;

// The verbs that talk to a running proxy over its admin address.
pub mod remote;

// `ringway demo`.
pub mod demo;

// `ringway import-nginx`.
pub mod import;

// `ringway doctor`: what stands between this machine and the wanted load.
pub mod doctor;
