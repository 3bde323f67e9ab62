//! Client hellos: every shape that a peeking proxy has to survive, each with what becomes of it; what clients of today
//! send; and what must hold of any bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod chance;
mod clients;
#[path = "../properties/client_hello.rs"]
mod properties;
mod read;
mod refused;

use properties::MAX;
use ringway::wire::client_hello::{Hello, Progress, parse};

pub(crate) fn complete(bytes: &[u8]) -> Hello<'_> {
    let Progress::Complete(hello) = parse(bytes, MAX) else {
        panic!("{:?}: {bytes:02x?}", parse(bytes, MAX));
    };
    hello
}
