//! The prober against scripted backends on loopback: what it sends, what convinces it, how it leaves, when it asks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod garbage;
mod leaving;
mod scripts;
mod timing;
