//! The peers: where each is found, how it is set up, and how it is started in front of one backend.
//!
//! All get the same: one thread, TCP_NODELAY, a backlog and a connection limit that the work does not meet, timeouts that
//! it does not reach, and no logs.

use crate::process::{PROXY_CPU, Process, Scratch, free_address};
use clap::ValueEnum;
use nix::sys::resource::{Resource, getrlimit};
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts nginx's stream module, which its nginx does not carry built in.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Connections that a proxy is told to allow, if descriptors allow it.
const CONNECTIONS_MAX: u64 = 50_000;

/// Descriptors that are not connections: listeners, pipes, epoll, logs.
const SPARE_DESCRIPTORS: u64 = 1_000;

/// The lines of haproxy.cfg that make it move both directions by splice(2).
const SPLICE_ALWAYS: &str = "option splice-request\n    option splice-response";

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Peer {
    /// No proxy: what the load alone can do.
    Direct,
    /// nginx's stream module.
    Nginx,
    /// HAProxy in TCP mode, copying.
    Haproxy,
    /// HAProxy told to splice always: left to choose (`option splice-auto`), 2.6 splices nothing of what comes over
    /// loopback (TotalSplicdedBytesOut of its `show info` stays 0).
    HaproxySplice,
    /// The relay in `tokio_uring_relay`.
    TokioUring,
    /// Ourselves.
    Ringway,
}

/// A proxy that takes connections, or the backend itself in place of one.
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// None: there is no proxy.
    pub(crate) process: Option<Process>,
}

impl Peer {
    pub(crate) const ALL: [Self; 6] = [
        Self::Direct,
        Self::Nginx,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::TokioUring,
        Self::Ringway,
    ];

    /// What has to be installed before it can run here, if anything.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::Direct | Self::TokioUring | Self::Ringway => None,
            Self::Haproxy | Self::HaproxySplice => match program("haproxy") {
                Some(_) => None,
                None => Some("HAProxy is missing: apt-get install haproxy".to_owned()),
            },
            Self::Nginx => match (program("nginx"), nginx_stream()) {
                (Some(_), Some(_)) => None,
                (None, _) | (_, None) => Some(
                    "nginx with its stream module is missing: \
                     apt-get install nginx libnginx-mod-stream"
                        .to_owned(),
                ),
            },
        }
    }

    /// What it calls itself.
    pub(crate) fn version(self) -> Option<String> {
        match self {
            Self::Direct | Self::HaproxySplice => None,
            Self::Nginx => version_line("nginx"),
            Self::Haproxy => version_line("haproxy"),
            Self::TokioUring => Some("tokio-uring 0.5, a plain relay".to_owned()),
            Self::Ringway => Some(format!("ringway {}", env!("CARGO_PKG_VERSION"))),
        }
    }

    /// Starts it in front of `backend` and waits until it listens.
    pub(crate) fn start(self, backend: SocketAddr, scratch: &Scratch) -> io::Result<Proxy> {
        if self == Self::Direct {
            return Ok(Proxy {
                address: backend,
                process: None,
            });
        }
        let address = free_address()?;
        let (program, args) = self.command(address, backend, scratch)?;
        let mut process = Process::start(&self.to_string(), PROXY_CPU, &program, args, scratch)?;
        process.await_listening(address)?;
        Ok(Proxy {
            address,
            process: Some(process),
        })
    }

    fn command(
        self,
        address: SocketAddr,
        backend: SocketAddr,
        scratch: &Scratch,
    ) -> io::Result<(PathBuf, Vec<String>)> {
        let file = scratch.file(&format!("{self}.conf"));
        let config = file.display().to_string();
        let command = match self {
            Self::Direct => unreachable!("direct has no process"),
            Self::Nginx => {
                fs::write(&file, nginx_config(address, backend, scratch))?;
                (installed("nginx")?, words(["-e", "stderr", "-c", &config]))
            }
            Self::Haproxy => {
                fs::write(&file, haproxy_config(address, backend, ""))?;
                (installed("haproxy")?, words(["-q", "-db", "-f", &config]))
            }
            Self::HaproxySplice => {
                fs::write(&config, haproxy_config(address, backend, SPLICE_ALWAYS))?;
                (installed("haproxy")?, words(["-q", "-db", "-f", &config]))
            }
            Self::TokioUring => {
                let (listen, backend) = (address.to_string(), backend.to_string());
                let args = words(["tokio-uring-relay", &listen, &backend]);
                (std::env::current_exe()?, args)
            }
            Self::Ringway => {
                fs::write(&file, ringway_config(address, backend))?;
                (
                    env!("CARGO_BIN_EXE_ringway").into(),
                    words(["run", "-c", &config]),
                )
            }
        };
        Ok(command)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            self.to_possible_value()
                .expect("no peer is hidden")
                .get_name()
        )
    }
}

/// Where `name` is, of which [`Peer::missing`] has said that it is there.
fn installed(name: &str) -> io::Result<PathBuf> {
    program(name).ok_or_else(|| io::Error::other(format!("{name} has gone")))
}

fn nginx_config(address: SocketAddr, backend: SocketAddr, scratch: &Scratch) -> String {
    let load = nginx_stream().unwrap_or_default();
    let pid = scratch.path().join("nginx.pid");
    // nginx counts both sides of a proxied connection.
    let connections = 2 * connections_max();
    format!(
        "{load}\n\
         daemon off;\n\
         worker_processes 1;\n\
         pid {pid};\n\
         events {{ use epoll; worker_connections {connections}; }}\n\
         stream {{\n    \
             server {{\n        \
                 listen {address} backlog=4096;\n        \
                 proxy_pass {backend};\n        \
                 proxy_timeout 1h;\n        \
                 tcp_nodelay on;\n    \
             }}\n\
         }}\n",
        pid = pid.display()
    )
}

fn haproxy_config(address: SocketAddr, backend: SocketAddr, option: &str) -> String {
    let connections = connections_max();
    // A quarter of the spare descriptors: each pipe has two.
    let pipes = SPARE_DESCRIPTORS / 4;
    format!(
        "global\n    \
             nbthread 1\n    \
             maxconn {connections}\n    \
             maxpipes {pipes}\n    \
             no strict-limits\n\
         defaults\n    \
             mode tcp\n    \
             timeout connect 10s\n    \
             timeout client 1h\n    \
             timeout server 1h\n\
         listen peers\n    \
             bind {address} backlog 4096\n    \
             server backend {backend}\n    \
             {option}\n"
    )
}

fn ringway_config(address: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "[process]\n\
         workers = 1\n\
         [log]\n\
         access = \"off\"\n\
         [[listener]]\n\
         name = \"peers\"\n\
         listen = \"{address}\"\n\
         upstream = \"peers\"\n\
         idle_timeout = \"1h\"\n\
         [[upstream]]\n\
         name = \"peers\"\n\
         [[upstream.backend]]\n\
         address = \"{backend}\"\n"
    )
}

/// What every proxy is told to allow: each connection takes two descriptors.
fn connections_max() -> u64 {
    let (soft, _) =
        getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit of a resource that exists");
    CONNECTIONS_MAX.min(soft.saturating_sub(SPARE_DESCRIPTORS) / 2)
}

/// The line of nginx.conf that brings the stream module; empty where it is built in; none where there is none.
fn nginx_stream() -> Option<String> {
    if Path::new(NGINX_STREAM).exists() {
        return Some(format!("load_module {NGINX_STREAM};"));
    }
    let told = Command::new(program("nginx")?).arg("-V").output().ok()?;
    let built_in = String::from_utf8_lossy(&told.stderr)
        .split_whitespace()
        .any(|word| word == "--with-stream");
    built_in.then(String::new)
}

/// Where `name` is installed. Daemons are in /usr/sbin, which not everybody's PATH has.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn version_line(name: &str) -> Option<String> {
    let told = Command::new(program(name)?).arg("-v").output().ok()?;
    // nginx tells its version on stderr, HAProxy on stdout.
    let text = [told.stdout, told.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // HAProxy adds its address after a dash.
    let line = text.lines().next()?;
    Some(line.split(" - ").next().unwrap_or(line).to_owned())
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
