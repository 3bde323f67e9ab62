//! PROXY protocol headers: every shape that a proxy has to survive, each with what becomes of it; what senders of today
//! say; and what must hold of any bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod chance;
#[path = "../properties/proxy_protocol.rs"]
mod properties;
mod read;
mod refused;
mod senders;
mod written;

use ringway::wire::proxy_protocol::{Header, Origin, Progress, parse};

pub(crate) fn tcp(source: &str, destination: &str) -> Origin {
    Origin::Tcp {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

pub(crate) fn v4() -> Origin {
    tcp("192.0.2.7:56324", "192.0.2.1:443")
}

pub(crate) fn complete(bytes: &[u8]) -> Header<'_> {
    let Progress::Complete(header) = parse(bytes) else {
        panic!("{:?}: {}", parse(bytes), bytes.escape_ascii());
    };
    header
}
