//! The peers: where each is found, what distinguishes it, and how it is started in front of its backends.

use crate::certificate::Certificate;
use crate::configs::{self, Mode, Route};
use crate::process::{Place, Process, Scratch, free_addresses};
use clap::ValueEnum;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts nginx's stream module, which its nginx does not carry built in.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The lines of haproxy.cfg that make it move both directions by splice(2).
const SPLICE_ALWAYS: &str = "option splice-request\n    option splice-response";

/// Let HAProxy choose when to.
const SPLICE_AUTO: &str = "option splice-auto";

/// The line of haproxy.cfg that makes it poll without ever sleeping.
const BUSY_POLLING: &str = "busy-polling";

/// How long the spinning ringway looks for work: more than the pause between two messages of one connection in turn,
/// some 15 µs to the backend and back, with room for a load that was interrupted; less than what any timer would notice.
const SPIN: &str = "200us";

/// The default: sleep at once.
const NO_SPIN: &str = "0us";

/// Ringway's default way to relay: copy until a stream proves to be bulk.
const RELAY_AUTO: &str = "auto";

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Peer {
    /// No proxy: what the load alone can do.
    Direct,
    /// nginx's stream module.
    Nginx,
    /// nginx's http module, which reads the request, writes one of its own, and then relays.
    NginxHttp,
    /// HAProxy in TCP mode, copying.
    Haproxy,
    /// HAProxy told to splice always: left to choose (`option splice-auto`), 2.6 splices nothing of what comes over
    /// loopback (TotalSplicdedBytesOut of its `show info` stays 0).
    HaproxySplice,
    /// HAProxy left to choose, as its users would.
    HaproxyAuto,
    /// HAProxy that polls instead of sleeping.
    HaproxyBusy,
    /// HAProxy in HTTP mode.
    HaproxyHttp,
    /// The relay in `tokio_uring_relay`.
    TokioUring,
    /// Ourselves.
    Ringway,
    /// Ourselves in HTTP mode: the request's head is read and passed on.
    RingwayHttp,
    /// Ourselves, awake between messages.
    RingwaySpin,
    /// Ourselves, told to copy always.
    RingwayCopy,
    /// Ourselves, told to splice always.
    RingwaySplice,
}

/// A proxy that takes connections, or the backend itself in place of one.
pub(crate) struct Proxy {
    /// Where clients connect, one address for each load.
    pub(crate) addresses: Vec<SocketAddr>,
    /// None: there is no proxy.
    pub(crate) process: Option<Process>,
}

impl Peer {
    pub(crate) const ALL: [Self; 14] = [
        Self::Direct,
        Self::Nginx,
        Self::NginxHttp,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::HaproxyAuto,
        Self::HaproxyBusy,
        Self::HaproxyHttp,
        Self::TokioUring,
        Self::Ringway,
        Self::RingwayHttp,
        Self::RingwaySpin,
        Self::RingwayCopy,
        Self::RingwaySplice,
    ];

    /// What has to be installed before it can run here, if anything.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::Direct
            | Self::TokioUring
            | Self::Ringway
            | Self::RingwayHttp
            | Self::RingwaySpin
            | Self::RingwayCopy
            | Self::RingwaySplice => None,
            Self::Haproxy
            | Self::HaproxySplice
            | Self::HaproxyAuto
            | Self::HaproxyBusy
            | Self::HaproxyHttp => match program("haproxy") {
                Some(_) => None,
                None => Some("HAProxy is missing: apt-get install haproxy".to_owned()),
            },
            Self::NginxHttp => match program("nginx") {
                Some(_) => None,
                None => Some("nginx is missing: apt-get install nginx".to_owned()),
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
            Self::Direct
            | Self::HaproxySplice
            | Self::HaproxyAuto
            | Self::HaproxyBusy
            | Self::RingwaySpin
            | Self::RingwayCopy
            | Self::RingwaySplice => None,
            Self::Nginx | Self::NginxHttp => version_line("nginx"),
            Self::Haproxy | Self::HaproxyHttp => version_line("haproxy"),
            Self::TokioUring => Some("tokio-uring 0.5, a plain relay".to_owned()),
            Self::Ringway | Self::RingwayHttp => {
                Some(format!("ringway {}", env!("CARGO_PKG_VERSION")))
            }
        }
    }

    /// Whether it is one of ours.
    pub(crate) fn is_ringway(self) -> bool {
        matches!(
            self,
            Self::Ringway
                | Self::RingwayHttp
                | Self::RingwaySpin
                | Self::RingwayCopy
                | Self::RingwaySplice
        )
    }

    /// Starts it in front of the backends of each load and waits until it listens.
    /// With a certificate, clients have to speak TLS.
    pub(crate) fn start(
        self,
        loads: &[Vec<SocketAddr>],
        certificate: Option<&Certificate>,
        scratch: &Scratch,
    ) -> io::Result<Proxy> {
        if self == Self::Direct {
            return Ok(Proxy {
                addresses: loads.iter().map(|backends| backends[0]).collect(),
                process: None,
            });
        }
        let addresses = free_addresses(loads.len())?;
        let routes: Vec<_> = addresses
            .iter()
            .zip(loads)
            .map(|(&listen, backends)| Route {
                listen,
                backends,
                certificate,
            })
            .collect();
        let (program, args) = self.command(&routes, scratch)?;
        let mut process = Process::start(&self.to_string(), Place::Proxy, &program, args, scratch)?;
        for &address in &addresses {
            process.await_listening(address)?;
        }
        Ok(Proxy {
            addresses,
            process: Some(process),
        })
    }

    fn command(
        self,
        routes: &[Route<'_>],
        scratch: &Scratch,
    ) -> io::Result<(PathBuf, Vec<String>)> {
        let file = scratch.file(&format!("{self}.conf"));
        let config = file.display().to_string();
        let command = match self {
            Self::Direct => unreachable!("direct has no process"),
            Self::Nginx => {
                let load = nginx_stream().unwrap_or_default();
                fs::write(&file, configs::nginx_stream(routes, &load, scratch))?;
                (installed("nginx")?, words(["-e", "stderr", "-c", &config]))
            }
            Self::NginxHttp => {
                fs::write(&file, configs::nginx_http(routes, scratch))?;
                (installed("nginx")?, words(["-e", "stderr", "-c", &config]))
            }
            Self::Haproxy
            | Self::HaproxySplice
            | Self::HaproxyAuto
            | Self::HaproxyBusy
            | Self::HaproxyHttp => {
                fs::write(&file, self.haproxy_config(routes))?;
                (installed("haproxy")?, words(["-q", "-db", "-f", &config]))
            }
            Self::TokioUring => {
                let [
                    Route {
                        listen,
                        backends: [backend],
                        certificate: None,
                    },
                ] = routes
                else {
                    return Err(io::Error::other("this relay has one way to go"));
                };
                let (listen, backend) = (listen.to_string(), backend.to_string());
                let args = words(["tokio-uring-relay", &listen, &backend]);
                (std::env::current_exe()?, args)
            }
            Self::Ringway
            | Self::RingwayHttp
            | Self::RingwaySpin
            | Self::RingwayCopy
            | Self::RingwaySplice => {
                fs::write(&file, self.ringway_config(routes))?;
                (
                    env!("CARGO_BIN_EXE_ringway").into(),
                    words(["run", "-c", &config]),
                )
            }
        };
        Ok(command)
    }

    fn haproxy_config(self, routes: &[Route<'_>]) -> String {
        let (global, option) = match self {
            Self::HaproxySplice => ("", SPLICE_ALWAYS),
            Self::HaproxyAuto => ("", SPLICE_AUTO),
            Self::HaproxyBusy => (BUSY_POLLING, ""),
            Self::Haproxy
            | Self::HaproxyHttp
            | Self::Direct
            | Self::Nginx
            | Self::NginxHttp
            | Self::TokioUring
            | Self::Ringway
            | Self::RingwayHttp
            | Self::RingwaySpin
            | Self::RingwayCopy
            | Self::RingwaySplice => ("", ""),
        };
        configs::haproxy(routes, self.mode(), global, option)
    }

    fn ringway_config(self, routes: &[Route<'_>]) -> String {
        let (spin, relay) = match self {
            Self::RingwaySpin => (SPIN, RELAY_AUTO),
            Self::RingwayCopy => (NO_SPIN, "copy"),
            Self::RingwaySplice => (NO_SPIN, "splice"),
            Self::Ringway
            | Self::RingwayHttp
            | Self::Direct
            | Self::Nginx
            | Self::NginxHttp
            | Self::Haproxy
            | Self::HaproxySplice
            | Self::HaproxyAuto
            | Self::HaproxyBusy
            | Self::HaproxyHttp
            | Self::TokioUring => (NO_SPIN, RELAY_AUTO),
        };
        configs::ringway(routes, self.mode(), spin, relay)
    }

    fn mode(self) -> Mode {
        match self {
            Self::NginxHttp | Self::HaproxyHttp | Self::RingwayHttp => Mode::Http,
            Self::Direct
            | Self::Nginx
            | Self::Haproxy
            | Self::HaproxySplice
            | Self::HaproxyAuto
            | Self::HaproxyBusy
            | Self::TokioUring
            | Self::Ringway
            | Self::RingwaySpin
            | Self::RingwayCopy
            | Self::RingwaySplice => Mode::Tcp,
        }
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
