//! A load generator for feeds, echoes, bulk, churn, WebSocket sessions and idle fleets, in which every byte is verified.
//!
//! Two sides, each usable alone and inside another program: [`serve`] runs backends, [`drive`] runs clients. Both
//! return a [`Handle`] at once; their engines run on threads of their own, one ring and many connections each.
//!
//! The map, in layer order: `pattern`, [`message`], `websocket`, `schedule`, `sources`, `slots`, `stats` and `fault`
//! are pure;
//! `roles` decide what a connection does, `tls` seals and opens it, `link` does it, `engine` turns the ring, `acceptor` and `dialer` begin and
//! end connections, [`run`] owns the threads, [`report`] tells the results.

mod acceptor;
pub mod config;
mod dialer;
mod engine;
mod fault;
mod job;
mod link;
pub mod message;
mod pattern;
pub mod report;
mod roles;
pub mod run;
mod schedule;
mod slots;
mod sources;
mod stats;
mod tls;
mod websocket;

pub use config::{BackendConfig, BackendRole, ClientConfig, ClientRole, Direction};
pub use fault::{Fault, Faults};
pub use report::Report;
pub use run::{Error, Handle, drive, serve};
pub use schedule::Rate;
pub use sources::Sources;
pub use stats::{Connections, Counters, Durations, Stats};
pub use tls::{Comeback, Tls, Trust};
pub use websocket::{CookieName, PAYLOAD_MAX, RequestPath};
