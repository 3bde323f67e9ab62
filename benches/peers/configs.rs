//! What each proxy is told in its own words.
//!
//! All get the same: one thread, TCP_NODELAY, a backlog and a connection limit that the work does not meet, timeouts that
//! it does not reach, and no logs.

use crate::process::Scratch;
use nix::sys::resource::{Resource, getrlimit};
use std::net::SocketAddr;

/// Connections that a proxy is told to allow, if descriptors allow it.
const CONNECTIONS_MAX: u64 = 50_000;

/// Descriptors that are not connections: listeners, pipes, epoll, logs.
const SPARE_DESCRIPTORS: u64 = 1_000;

/// One listener of a proxy and where it leads.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) listen: SocketAddr,
    pub(crate) backend: SocketAddr,
}

/// nginx.conf; `load` is the line that brings the stream module.
pub(crate) fn nginx(pairs: &[Pair], load: &str, scratch: &Scratch) -> String {
    let pid = scratch.path().join("nginx.pid");
    // nginx counts both sides of a proxied connection.
    let connections = 2 * connections_max();
    let server = |pair: &Pair| {
        format!(
            "    server {{\n        \
                 listen {} backlog=4096;\n        \
                 proxy_pass {};\n        \
                 proxy_timeout 1h;\n        \
                 proxy_half_close on;\n        \
                 tcp_nodelay on;\n    \
             }}\n",
            pair.listen, pair.backend
        )
    };
    let servers: String = pairs.iter().map(server).collect();
    format!(
        "{load}\n\
         daemon off;\n\
         worker_processes 1;\n\
         pid {pid};\n\
         events {{ use epoll; worker_connections {connections}; }}\n\
         stream {{\n{servers}}}\n",
        pid = pid.display()
    )
}

/// haproxy.cfg.
pub(crate) fn haproxy(pairs: &[Pair], global: &str, option: &str) -> String {
    let connections = connections_max();
    // A quarter of the spare descriptors: each pipe has two.
    let pipes = SPARE_DESCRIPTORS / 4;
    let section = |(number, pair): (usize, &Pair)| {
        format!(
            "listen peers-{number}\n    \
                 bind {} backlog 4096\n    \
                 server backend {}\n    \
                 {option}\n",
            pair.listen, pair.backend
        )
    };
    let sections: String = pairs.iter().enumerate().map(section).collect();
    format!(
        "global\n    \
             nbthread 1\n    \
             maxconn {connections}\n    \
             maxpipes {pipes}\n    \
             no strict-limits\n    \
             {global}\n\
         defaults\n    \
             mode tcp\n    \
             timeout connect 10s\n    \
             timeout client 1h\n    \
             timeout server 1h\n\
         {sections}"
    )
}

/// ringway.toml.
pub(crate) fn ringway(pairs: &[Pair], spin: &str, relay: &str) -> String {
    let tables = |(number, pair): (usize, &Pair)| {
        format!(
            "[[listener]]\n\
             name = \"peers-{number}\"\n\
             listen = \"{}\"\n\
             upstream = \"peers-{number}\"\n\
             relay = \"{relay}\"\n\
             idle_timeout = \"1h\"\n\
             [[upstream]]\n\
             name = \"peers-{number}\"\n\
             [[upstream.backend]]\n\
             address = \"{}\"\n",
            pair.listen, pair.backend
        )
    };
    let tables: String = pairs.iter().enumerate().map(tables).collect();
    format!(
        "[process]\n\
         workers = 1\n\
         spin = \"{spin}\"\n\
         [log]\n\
         access = \"off\"\n\
         {tables}"
    )
}

/// What every proxy is told to allow: each connection takes two descriptors.
fn connections_max() -> u64 {
    let (soft, _) =
        getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit of a resource that exists");
    CONNECTIONS_MAX.min(soft.saturating_sub(SPARE_DESCRIPTORS) / 2)
}
