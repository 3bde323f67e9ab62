//! The tuning scripts: on machines made of files, and on a kernel inside of a network namespace. What a script may do to
//! a machine that people run is worth the same care as the proxy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod connection_tracking;
mod machine;
mod namespace;
mod nic;
mod profiles;
mod settings;
mod shells;
