//! What each proxy is told in its own words.
//!
//! All get the same: one thread, TCP_NODELAY, a backlog and a connection limit that the work does not meet, timeouts that
//! it does not reach, and no logs. Where TLS ends in the proxy, it is 1.3 with the same certificate, and tickets as each gives them by
//! default.

use crate::certificate::Certificate;
use crate::process::Scratch;
use nix::sys::resource::{Resource, getrlimit};
use std::net::SocketAddr;

/// Connections that a proxy is told to allow, if descriptors allow it.
const CONNECTIONS_MAX: u64 = 50_000;

/// Descriptors that are not connections: listeners, pipes, epoll, logs.
const SPARE_DESCRIPTORS: u64 = 1_000;

/// The cookie by which proxies that read requests choose a backend: another one in each of loadgen's sessions.
const COOKIE: &str = "session_id";

/// One listener of a proxy and where it leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) backends: &'a [SocketAddr],
    /// What the listener speaks TLS with, if it does.
    pub(crate) certificate: Option<&'a Certificate>,
}

/// What a proxy looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Nothing.
    Tcp,
    /// The request's head, in which [`COOKIE`] says which backend it is for.
    Http,
}

/// nginx.conf for streams; `load` is the line that brings the module.
pub(crate) fn nginx_stream(routes: &[Route<'_>], load: &str, scratch: &Scratch) -> String {
    let server = |(number, route): (usize, &Route<'_>)| {
        let (tls, certificate) = route.certificate.map_or_else(Default::default, nginx_tls);
        format!(
            "    upstream peers-{number} {{ {} }}\n    \
             server {{\n        \
                 listen {}{tls} backlog=4096;\n        \
                 {certificate}\n        \
                 proxy_pass peers-{number};\n        \
                 proxy_timeout 1h;\n        \
                 proxy_half_close on;\n        \
                 tcp_nodelay on;\n    \
             }}\n",
            nginx_servers(route),
            route.listen
        )
    };
    let servers: String = routes.iter().enumerate().map(server).collect();
    let process = nginx_process(scratch);
    format!("{load}\n{process}stream {{\n{servers}}}\n")
}

/// nginx.conf for HTTP. The fields of the upgrade are what nginx's own page on WebSocket proxying says; a client's Host is
/// passed on, as the other proxies do.
pub(crate) fn nginx_http(routes: &[Route<'_>], scratch: &Scratch) -> String {
    let server = |(number, route): (usize, &Route<'_>)| {
        format!(
            "    upstream peers-{number} {{ hash $cookie_{COOKIE} consistent; {} }}\n    \
             server {{\n        \
                 listen {} backlog=4096;\n        \
                 location / {{\n            \
                     proxy_pass http://peers-{number};\n            \
                     proxy_http_version 1.1;\n            \
                     proxy_set_header Host $http_host;\n            \
                     proxy_set_header Upgrade $http_upgrade;\n            \
                     proxy_set_header Connection upgrade;\n            \
                     proxy_read_timeout 1h;\n            \
                     proxy_send_timeout 1h;\n        \
                 }}\n    \
             }}\n",
            nginx_servers(route),
            route.listen
        )
    };
    let servers: String = routes.iter().enumerate().map(server).collect();
    // nginx makes these folders when it starts, used or not, by default where only root may.
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {};\n", scratch.file(name).display()))
        .concat();
    let process = nginx_process(scratch);
    format!(
        "{process}\
         http {{\n    \
             access_log off;\n    \
             tcp_nodelay on;\n\
             {folders}{servers}\
         }}\n"
    )
}

/// A word for `listen`, and lines.
fn nginx_tls(certificate: &Certificate) -> (&'static str, String) {
    let lines = format!(
        "ssl_certificate {};\n        \
         ssl_certificate_key {};\n        \
         ssl_protocols TLSv1.3;",
        certificate.cert.display(),
        certificate.key.display()
    );
    (" ssl", lines)
}

fn nginx_servers(route: &Route<'_>) -> String {
    let server = |backend| format!("server {backend};");
    route.backends.iter().map(server).collect()
}

fn nginx_process(scratch: &Scratch) -> String {
    // nginx counts both sides of a proxied connection.
    let connections = 2 * connections_max();
    format!(
        "daemon off;\n\
         worker_processes 1;\n\
         pid {pid};\n\
         events {{ use epoll; worker_connections {connections}; }}\n",
        pid = scratch.file("nginx.pid").display()
    )
}

/// haproxy.cfg.
pub(crate) fn haproxy(routes: &[Route<'_>], mode: Mode, global: &str, option: &str) -> String {
    let connections = connections_max();
    // A quarter of the spare descriptors: each pipe has two.
    let pipes = SPARE_DESCRIPTORS / 4;
    let (mode, balance) = match mode {
        Mode::Tcp => ("tcp", String::new()),
        Mode::Http => (
            "http",
            format!("balance hash req.cook({COOKIE})\n    hash-type consistent"),
        ),
    };
    let section = |(number, route): (usize, &Route<'_>)| {
        let server = |(n, backend)| format!("    server backend-{n} {backend}\n");
        let servers: String = route.backends.iter().enumerate().map(server).collect();
        let tls = |files: &Certificate| {
            let file = files.both.display();
            format!(" ssl crt {file} ssl-min-ver TLSv1.3")
        };
        let tls = route.certificate.map(tls).unwrap_or_default();
        format!(
            "listen peers-{number}\n    \
                 bind {}{tls} backlog 4096\n    \
                 {balance}\n    \
                 {option}\n\
             {servers}",
            route.listen
        )
    };
    let sections: String = routes.iter().enumerate().map(section).collect();
    format!(
        "global\n    \
             nbthread 1\n    \
             maxconn {connections}\n    \
             maxpipes {pipes}\n    \
             no strict-limits\n    \
             {global}\n\
         defaults\n    \
             mode {mode}\n    \
             timeout connect 10s\n    \
             timeout client 1h\n    \
             timeout server 1h\n    \
             timeout tunnel 1h\n\
         {sections}"
    )
}

/// ringway.toml.
pub(crate) fn ringway(routes: &[Route<'_>], mode: Mode, spin: &str, relay: &str) -> String {
    let (mode, balance) = match mode {
        Mode::Tcp => ("tcp", "balance = \"ip_hash\"".to_owned()),
        Mode::Http => (
            "http",
            format!("balance = \"hash\"\nhash_key = [\"cookie:{COOKIE}\"]"),
        ),
    };
    let tables = |(number, route): (usize, &Route<'_>)| {
        let backend = |backend| format!("[[upstream.backend]]\naddress = \"{backend}\"\n");
        let backends: String = route.backends.iter().map(backend).collect();
        let tls = |Certificate { cert, key, .. }: &Certificate| {
            let (cert, key) = (cert.display(), key.display());
            format!(
                "[listener.tls]\n\
                 certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n\
                 min_version = \"1.3\"\n"
            )
        };
        let tls = route.certificate.map(tls).unwrap_or_default();
        format!(
            "[[listener]]\n\
             name = \"peers-{number}\"\n\
             listen = \"{}\"\n\
             upstream = \"peers-{number}\"\n\
             mode = \"{mode}\"\n\
             relay = \"{relay}\"\n\
             idle_timeout = \"1h\"\n\
             {tls}\
             [[upstream]]\n\
             name = \"peers-{number}\"\n\
             {balance}\n\
             {backends}",
            route.listen
        )
    };
    let tables: String = routes.iter().enumerate().map(tables).collect();
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
