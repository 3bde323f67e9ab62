//! The built program against real sockets: each test is a sentence that a user may rely on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod aborting; //  handshakes that are given up
mod admin; //     status and orders over HTTP
mod admission; // who is let in
mod certificates; // files of TLS while the proxy runs
mod dialing; //   which backend, and what when it does not answer
mod even; //      which worker has which connection
mod greeting; //  the PROXY protocol, both ways
mod hostile; //   every shape of bad first bytes
mod inheriting; // what it has from the one before
mod limits; //    connections and descriptors
mod logs; //      the access log and who reads it
mod names; //     backends that DNS is asked for
mod peeking; //   request heads and ClientHellos
mod ports; //     how many connections one backend can have from here
mod reloading; // another file in the running process
mod spinning; //  staying awake between messages
mod starting; //  what is refused at start, and what a start makes
mod switching; // from copying to splicing and back
mod systemd; //   what the service manager hears
mod terminating; // TLS that ends here, or begins
mod upgrading; // another binary takes over
mod upstreams; // policies, health, limits of backends

// The contract that every way to relay keeps: the same tests for each. What `copy` leaves out is what `auto` copies, too.

#[path = "."]
mod auto {
    mod bytes; // what is sent arrives
    mod draining; // signals and the end of the process
    mod ends; // FIN and RST
    mod pressure; // slow readers, fast senders, many of them
    mod timeouts; // idle, half-closed

    use crate::support::{Backend, Setup};

    fn before(backend: &Backend) -> Setup {
        Setup::before(backend).listener("relay = \"auto\"")
    }
}

#[path = "."]
#[expect(clippy::duplicate_mod, reason = "the same tests for each way to relay")]
mod splice {
    mod bytes; // what is sent arrives
    mod draining; // signals and the end of the process
    mod ends; // FIN and RST
    mod pressure; // slow readers, fast senders, many of them
    mod timeouts; // idle, half-closed

    use crate::support::{Backend, Setup};

    fn before(backend: &Backend) -> Setup {
        Setup::before(backend).listener("relay = \"splice\"")
    }
}

#[path = "."]
#[expect(clippy::duplicate_mod, reason = "the same tests for each way to relay")]
mod tls {
    mod bytes; // what is sent arrives
    mod ends; // FIN and RST
    mod pressure; // slow readers, fast senders, many of them
    mod timeouts; // idle, half-closed

    use crate::support::{Backend, Setup};

    fn before(backend: &Backend) -> Setup {
        Setup::in_tls(backend)
    }
}

#[path = "."]
#[expect(clippy::duplicate_mod, reason = "the same tests for each way to relay")]
mod copy {
    mod bytes; // what is sent arrives
    mod ends; // FIN and RST
    mod pressure; // slow readers, fast senders, many of them

    use crate::support::{Backend, Setup};

    fn before(backend: &Backend) -> Setup {
        Setup::before(backend).listener("relay = \"copy\"")
    }
}
