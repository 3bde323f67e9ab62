//! The checked configuration: plain values that need no second look. Field names are the keys of the file, each
//! with its meaning, its unit and its default; the defaults themselves stand in the constructors below.

use super::address::Address;
use super::admin::Admin;
use super::hash_key::HashKey;
use super::host_pattern::HostPattern;
use super::networks::Networks;
use super::probe::Probe;
use super::ratio::Ratio;
use crate::balance::ip_hash::HashPrefix;
use crate::ring::Keepalive;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that a proxy is told. Immutable once made; a reload makes another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `[process]`
    pub process: Process,
    /// `[log]`
    pub log: Log,
    /// `[admin]`. Default none: nobody can ask.
    pub admin: Option<Admin>,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[[upstream]]`, at least one.
    pub upstreams: Vec<Upstream>,
}

/// `[process]`: the process as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// How many workers, or on which CPUs. Default `"auto"`.
    pub workers: Workers,
    /// Open connections of all listeners together. Default 0: what RLIMIT_NOFILE allows.
    pub max_connections: usize,
    /// How long a worker looks for completions before it sleeps, at most 10 ms. Default 0 s: it sleeps at once.
    pub spin: Duration,
    /// How long listeners stay open after a drain was asked for. Default 0 s.
    pub drain_delay: Duration,
    /// The closing of open connections is spread over this long. Default 10 s.
    pub drain_over: Duration,
    /// What is still open this long after the drain began to close is cut off. Default 30 s.
    pub drain_deadline: Duration,
    /// DNS servers that are asked for the names of backends. Default none: those of /etc/resolv.conf.
    pub resolvers: Vec<SocketAddr>,
}

/// `process.workers`: one pinned thread with one ring each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Workers {
    /// One for each CPU that this process may use (sched_getaffinity(2)).
    Auto,
    /// This many, on the first of those CPUs.
    Count(NonZeroUsize),
    /// One on each of these, in this order; no number twice. Whether the machine has them is not known here.
    Cpus(Vec<usize>),
}

/// `[log]`: what is written about the process and about each connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// The least important messages that are written. Default `"info"`.
    pub level: tracing::Level,
    /// How a line looks, of both logs. Default `"text"`.
    pub format: Format,
    /// Where the line about each ended connection goes. Default `"stderr"`.
    pub access: Access,
    /// How often a connection that stays open gets a line there too. Default zero: never.
    pub still_open: Duration,
}

/// `log.format`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `log.access`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// With the other messages.
    Stderr,
    /// To standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// Appended to this file.
    File(PathBuf),
}

/// `[[listener]]`: bound addresses and their rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Unique among listeners; in logs and metrics.
    pub name: String,
    /// Where it accepts clients, at least one, no address twice in the whole configuration. Port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Where connections go that no route matches: an index into [`Config::upstreams`]; the file has the upstream's name.
    /// None, which takes a route, turns them away.
    pub upstream: Option<usize>,
    /// `[[listener.route]]`: the first that matches wins. Default none.
    pub routes: Vec<Route>,
    /// What is read before a backend is chosen. Default `"tcp"`.
    pub mode: Mode,
    /// How bytes move. Default `"auto"`.
    pub relay: Relay,
    /// Connections that may wait to be accepted (listen(2); the system's somaxconn caps it). Default 65535.
    pub backlog: u32,
    /// SO_INCOMING_CPU (socket(7)) on each worker's listening socket: the worker on the CPU that took a client's first
    /// packet gets the connection, and keeps it. Default false.
    pub incoming_cpu: bool,
    /// TCP_NODELAY on client sockets: send small messages at once. Default true.
    pub nodelay: bool,
    /// Close when no byte moved either way for this long. Default 10 min.
    pub idle_timeout: Duration,
    /// After one side's FIN, close when no byte came from the other for this long. Default 30 s.
    pub half_close_timeout: Duration,
    /// Close at this age, more or less a tenth of it, so that those who came together do not leave together. Default
    /// 0 s: at none.
    pub max_age: Duration,
    /// TCP_USER_TIMEOUT of client sockets (tcp(7)): how long sent bytes may stay unacknowledged, whole
    /// milliseconds. Default 30 s; zero leaves the system's.
    pub user_timeout: Duration,
    /// Keepalive of client sockets. Default 60 s, every 15 s, 4 times.
    pub keepalive: Keepalive,
    /// TCP_NOTSENT_LOWAT of client sockets, bytes: how much the kernel takes ahead of what it could send. Default
    /// 128 KiB; zero leaves the system's.
    pub notsent_lowat: u32,
    /// When a client is closed that does not take what it gets. Default none is.
    pub slow_client: SlowClient,
    /// The longest request head or ClientHello that is waited for, bytes, 1 KiB to 64 KiB. Default 16 KiB.
    pub peek_max_bytes: u32,
    /// How long a client may take for what is read before a backend is chosen. Default 10 s.
    pub peek_timeout: Duration,
    /// Whether clients come with a PROXY protocol header. Default `"off"`.
    pub proxy_protocol: AcceptProxy,
    /// Whose header is believed. Default none listed: anyone's.
    pub proxy_protocol_from: Networks,
    /// Whether the client's address is written into the request head; mode `http` only. Default `"off"`.
    pub forwarded: Forwarded,
    /// Who is let in. Default none listed: everyone.
    pub allow: Networks,
    /// Who is not, even if `allow` has them. Default none.
    pub deny: Networks,
    /// Open connections of this listener, over all workers. Default 0: no limit of its own.
    pub max_connections: usize,
    /// Open connections of one client address (of one /64 in IPv6), over all workers. Default 0: no limit.
    pub max_connections_per_ip: usize,
    /// New connections of one client address, over all workers. Default none: no limit.
    pub connect_rate_per_ip: Option<Rate>,
    /// `[listener.tls]`. Default none: TLS, if clients speak it, is the backends'.
    pub tls: Option<ListenerTls>,
}

/// `listener.slow_client`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlowClient {
    /// It leaves so many bytes unsent: those that its host has not acknowledged, and those that wait here. Default 0: off.
    pub unsent: u32,
    /// For so long. Default 30 s.
    pub patience: Duration,
}

/// `listener.mode`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Relay from the first byte.
    Tcp,
    /// The head of the first request is read before a backend is chosen.
    Http,
    /// The ClientHello is read before a backend is chosen; TLS is the backend's.
    Tls,
}

/// `[listener.tls]`: clients speak TLS, which ends here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerTls {
    /// At least one. Chosen by the server name that a client asks for; the first is for all others.
    pub certificates: Vec<Certificate>,
    /// PEM file with who may sign the certificates that clients then have to show. Default none: nobody is asked.
    pub client_ca: Option<PathBuf>,
    /// The oldest version that is spoken. Default 1.2.
    pub min_version: TlsVersion,
    /// The protocols to agree on (ALPN, RFC 7301), best first. Default none: what clients offer is not looked at.
    pub alpn: Vec<String>,
    /// How long a handshake may take. Default 10 s.
    pub handshake_timeout: Duration,
}

/// `listener.tls.certificates`: files of one certificate.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Certificate {
    /// PEM: the certificate, then those that lead from it to a root.
    pub cert: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// DER: what its authority says of it (an OCSP response), which clients get with it. Default none.
    pub ocsp: Option<PathBuf>,
}

/// `listener.tls.min_version`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsVersion {
    /// RFC 5246, with forward secrecy and authenticated encryption only.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// `listener.proxy_protocol`, versions 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptProxy {
    /// A header is bytes like others.
    Off,
    /// A client may begin with a header.
    Optional,
    /// A client that begins with anything else is refused.
    Required,
}

/// `listener.forwarded`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarded {
    /// The head reaches the backend as it came.
    Off,
    /// X-Forwarded-For grows by the client's address; X-Real-IP and X-Forwarded-Proto are set.
    Append,
}

/// `COUNT/DURATION`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// At most this many …
    pub count: NonZeroU32,
    /// … in this long, at least 1 ms.
    pub per: Duration,
}

/// `[[listener.route]]`: matches when every condition of it holds. Has at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The host that is asked for; mode `http`.
    pub host: Option<HostPattern>,
    /// What the path begins with, as bytes; mode `http`.
    pub path_prefix: Option<String>,
    /// The protocol that the client wants to go on with, a token in lower case; mode `http`.
    pub upgrade: Option<String>,
    /// The server name of the ClientHello; mode `tls`.
    pub sni: Option<HostPattern>,
    /// Where the client is. None listed: anywhere.
    pub client: Networks,
    /// Where its connections go: an index into [`Config::upstreams`].
    pub upstream: usize,
}

/// `listener.relay`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relay {
    /// Each direction copied until it proves to be bulk, then spliced, and back.
    Auto,
    /// Through the worker's buffers.
    Copy,
    /// Inside the kernel, by splice(2).
    Splice,
}

/// `[[upstream]]`: a named set of backends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// Unique among upstreams; what listeners refer to.
    pub name: String,
    /// Who gets the next connection. Default `"ip_hash"`.
    pub balance: Balance,
    /// What `"hash"` hashes: the first of these that is there. The last is [`HashKey::ClientIp`], which always is, and
    /// which is nowhere else. Default that alone.
    pub hash_key: Vec<HashKey>,
    /// How much of a client's address is hashed, 1 to 32 bits of IPv4 and 1 to 128 of IPv6. Default 32 and 64.
    pub hash_prefix: HashPrefix,
    /// With a hash: no backend gets more than this many times its fair share of connections, 1 to 100. Default 0: none.
    pub hash_load_factor: Option<Ratio>,
    /// How long one connection attempt may take. Default 2 s.
    pub connect_timeout: Duration,
    /// How many different backends are tried for one client, 1 to 8. Default 3.
    pub connect_tries: u8,
    /// So many attempts in a row that fail take a backend out … Default 3; zero never does.
    pub max_fails: u32,
    /// … for this long. Default 10 s.
    pub fail_timeout: Duration,
    /// What becomes of clients while every backend is down. Default `"try_all"`.
    pub all_down: AllDown,
    /// What becomes of connections whose backend goes down. Default `"keep"`.
    pub on_down: OnDown,
    /// How long a backend that came back gets new connections at a rising rate. Default 0 s: at once.
    pub slow_start: Duration,
    /// The PROXY protocol header that a backend gets first. Default `"off"`.
    pub proxy_protocol: SendProxy,
    /// TCP_USER_TIMEOUT of backend sockets, whole milliseconds. Default 10 s; zero leaves the system's.
    pub user_timeout: Duration,
    /// Local addresses to connect from, used in turn; each of a family that a backend has, none twice. Default none: the
    /// system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// How often the backends' names are looked up again at least; sooner where an answer says that it holds for less,
    /// never sooner than after a second. Default 30 s.
    pub resolve_interval: Duration,
    /// `[upstream.probe]`. Default none: backends are not looked at unless clients come.
    pub probe: Option<Probe>,
    /// `[upstream.tls]`. Default none: backends get the bytes as they are.
    pub tls: Option<UpstreamTls>,
    /// `[[upstream.backend]]`, at least one, no name twice.
    pub backends: Vec<Backend>,
}

/// `upstream.balance`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Balance {
    /// By the client's address, the same on every machine with the same configuration.
    IpHash,
    /// The same by the first part of [`Upstream::hash_key`] that the client sent.
    Hash,
    /// Each in turn, as often as its weight says.
    RoundRobin,
    /// Who has the fewest open connections for its weight, over all workers.
    LeastConn,
    /// The less busy of two that chance names.
    RandomTwo,
}

/// `upstream.all_down`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllDown {
    /// They are tried as if all were up.
    TryAll,
    /// Clients are turned away.
    Refuse,
}

/// `upstream.on_down`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDown {
    /// They stay until they end.
    Keep,
    /// They are closed.
    Close,
}

/// `upstream.proxy_protocol`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendProxy {
    /// None.
    Off,
    /// A line of text.
    V1,
    /// Binary, with what else is known of the connection.
    V2,
}

/// `[upstream.tls]`: TLS is spoken to the backends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamTls {
    /// Whom to ask for and whose certificate to expect: a host name in lower case, or an address. Default none: the
    /// host or address of the backend.
    pub server_name: Option<String>,
    /// PEM file with who may sign the backends' certificates. Default none: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// Whether certificates are looked at. Default true; without, anybody can be the backend.
    pub verify: bool,
}

/// `[[upstream.backend]]`: one address that serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backend {
    /// Unique in its upstream. What is hashed, so that a backend can move to another address and keep its clients.
    /// Default: the address.
    pub name: String,
    /// Where to connect to.
    pub address: Address,
    /// The host that its address is one of, where a name was resolved. In no file.
    pub host: Option<String>,
    /// Its share relative to the others', 1 to 256. Default 1.
    pub weight: u16,
    /// Gets clients only while no backend that is none can. Default false.
    pub backup: bool,
    /// Open connections to it, over all workers. Default 0: no limit.
    pub max_connections: usize,
    /// What the operator wants of it. Default `"ready"`.
    pub state: AdminState,
}

/// `backend.state`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminState {
    /// It serves.
    Ready,
    /// It takes no new connections; those it has go on, and it is probed.
    Drain,
    /// It takes no new connections, and is not probed.
    Maint,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            workers: Workers::Auto,
            max_connections: 0,
            spin: Duration::ZERO,
            drain_delay: Duration::ZERO,
            drain_over: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(30),
            resolvers: Vec::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: tracing::Level::INFO,
            format: Format::Text,
            access: Access::Stderr,
            still_open: Duration::ZERO,
        }
    }
}

impl Listener {
    /// One that has the default of every optional key.
    pub fn new(name: String, listen: Vec<SocketAddr>, upstream: usize) -> Self {
        Self {
            name,
            listen,
            upstream: Some(upstream),
            routes: Vec::new(),
            mode: Mode::Tcp,
            relay: Relay::Auto,
            backlog: 65_535,
            incoming_cpu: false,
            nodelay: true,
            idle_timeout: Duration::from_mins(10),
            half_close_timeout: Duration::from_secs(30),
            max_age: Duration::ZERO,
            user_timeout: Duration::from_secs(30),
            keepalive: Keepalive {
                idle: Duration::from_mins(1),
                interval: Duration::from_secs(15),
                count: 4,
            },
            notsent_lowat: 128 << 10,
            slow_client: SlowClient {
                unsent: 0,
                patience: Duration::from_secs(30),
            },
            peek_max_bytes: 16 << 10,
            peek_timeout: Duration::from_secs(10),
            proxy_protocol: AcceptProxy::Off,
            proxy_protocol_from: Networks::default(),
            forwarded: Forwarded::Off,
            allow: Networks::default(),
            deny: Networks::default(),
            max_connections: 0,
            max_connections_per_ip: 0,
            connect_rate_per_ip: None,
            tls: None,
        }
    }
}

impl Listener {
    /// Whether a client is let in. Its address is the real one, after the PROXY protocol.
    pub fn admits(&self, client: IpAddr) -> bool {
        let is_allowed = self.allow.is_empty() || self.allow.contains(client);
        is_allowed && !self.deny.contains(client)
    }

    /// Whether `peer`, the other end of a client's socket, may say in a PROXY protocol header who the client is.
    pub fn believes(&self, peer: IpAddr) -> bool {
        self.proxy_protocol_from.is_empty() || self.proxy_protocol_from.contains(peer)
    }

    /// Whether it has what is known in `mode`: a server name is, too, where TLS ends here.
    pub fn sees(&self, mode: Mode) -> bool {
        self.mode == mode || (mode == Mode::Tls && self.tls.is_some())
    }

    /// Every upstream that its connections may go to, some perhaps several times.
    pub fn leads_to(&self) -> impl Iterator<Item = usize> {
        let routed = self.routes.iter().map(|route| route.upstream);
        routed.chain(self.upstream)
    }
}

impl Upstream {
    /// One that has the default of every optional key.
    pub fn new(name: String, backends: Vec<Backend>) -> Self {
        Self {
            name,
            balance: Balance::IpHash,
            hash_key: vec![HashKey::ClientIp],
            hash_prefix: HashPrefix::default(),
            hash_load_factor: None,
            connect_timeout: Duration::from_secs(2),
            connect_tries: 3,
            max_fails: 3,
            fail_timeout: Duration::from_secs(10),
            all_down: AllDown::TryAll,
            on_down: OnDown::Keep,
            slow_start: Duration::ZERO,
            proxy_protocol: SendProxy::Off,
            user_timeout: Duration::from_secs(10),
            source_addresses: Vec::new(),
            resolve_interval: Duration::from_secs(30),
            probe: None,
            tls: None,
            backends,
        }
    }
}

impl Backend {
    /// One that has the default of every optional key.
    pub fn new(address: SocketAddr) -> Self {
        Self::at(Address::Socket(address))
    }

    /// The same, wherever it is.
    pub fn at(address: Address) -> Self {
        Self {
            name: address.to_string(),
            address,
            host: None,
            weight: 1,
            backup: false,
            max_connections: 0,
            state: AdminState::Ready,
        }
    }
}
