//! The built program against real sockets: each test is a sentence that a user may rely on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bytes; //     what is sent arrives
mod dialing; //   which backend, and what when it does not answer
mod draining; //  signals and the end of the process
mod ends; //      FIN and RST
mod even; //      which worker has which connection
mod limits; //    connections and descriptors
mod logs; //      the access log and who reads it
mod pressure; //  slow readers, fast senders, many of them
mod spinning; //  staying awake between messages
mod starting; //  what is refused at start, and what a start makes
mod timeouts; //  idle, half-closed
