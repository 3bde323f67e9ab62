//! The built program against real sockets: each test is a sentence that a user may rely on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bytes;
