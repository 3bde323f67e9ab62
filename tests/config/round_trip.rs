//! The effective configuration reads back as itself, whatever it says; and no text makes the reader panic.

use crate::tls::listener_tls;
use crate::upstreams::upstreams;
use crate::wrong::MINIMAL;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use ringway::config::{
    AcceptProxy, Access, Admin, AdminAddress, Config, Format, Forwarded, HashKey, HostPattern,
    Listener, Log, Mode, Networks, Process, Rate, Relay, Route, SlowClient, Workers,
};
use ringway::ring::Keepalive;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

const DAYS_24: u64 = 24 * 86_400;

pub(crate) fn names() -> impl Strategy<Value = String> {
    "[a-z0-9!#$%&'()*+.:;<=>?@^_`{|}~-]{1,64}"
}

pub(crate) fn timeouts() -> impl Strategy<Value = Duration> {
    (1_000..=DAYS_24 * 1_000_000).prop_map(Duration::from_micros)
}

pub(crate) fn user_timeouts() -> impl Strategy<Value = Duration> {
    (0..=DAYS_24 * 1_000).prop_map(Duration::from_millis)
}

pub(crate) fn addresses() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), 1_u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn processes() -> impl Strategy<Value = Process> {
    let workers = prop_oneof![
        Just(Workers::Auto),
        (1_usize..=1024).prop_map(|n| Workers::Count(NonZeroUsize::new(n).expect("from 1"))),
        proptest::collection::hash_set(0_usize..=8191, 1..20)
            .prop_map(|cpus| Workers::Cpus(cpus.into_iter().collect())),
    ];
    let spins = (0_u64..=10_000).prop_map(Duration::from_micros);
    let drains = (timeouts(), timeouts(), timeouts());
    let servers = addresses().prop_filter("asks somebody", |at| !at.ip().is_unspecified());
    let resolvers = vec(servers, 0..=8);
    (workers, 0_usize..=1_000_000_000, spins, drains, resolvers).prop_map(
        |(workers, max_connections, spin, drains, resolvers)| Process {
            workers,
            max_connections,
            spin,
            drain_delay: drains.0,
            drain_over: drains.1,
            drain_deadline: drains.2,
            resolvers,
        },
    )
}

fn admins() -> impl Strategy<Value = Admin> {
    let listen = prop_oneof![
        addresses().prop_map(AdminAddress::Tcp),
        "/[ -~]{1,100}".prop_map(|path| AdminAddress::Unix(path.into())),
    ];
    let token_file = option::of("/[ -~]{1,100}".prop_map(Into::into));
    (listen, token_file).prop_map(|(listen, token_file)| Admin { listen, token_file })
}

fn logs() -> impl Strategy<Value = Log> {
    let access = prop_oneof![
        Just(Access::Stderr),
        Just(Access::Stdout),
        Just(Access::Off),
        "/[^\\x00]{0,40}".prop_map(|path| Access::File(path.into())),
    ];
    let level = prop_oneof![Just(tracing::Level::ERROR), Just(tracing::Level::DEBUG)];
    let format = prop_oneof![Just(Format::Text), Just(Format::Json)];
    let still_open = prop_oneof![Just(0), 1_u64..100_000].prop_map(Duration::from_secs);
    (level, format, access, still_open).prop_map(|(level, format, access, still_open)| Log {
        level,
        format,
        access,
        still_open,
    })
}

/// As they are kept: nothing beyond the prefix, IPv4 as IPv4.
fn networks(count: std::ops::Range<usize>) -> impl Strategy<Value = Networks> {
    let network = (any::<IpAddr>(), 0_u8..=32).prop_map(|(ip, bits)| {
        let network = IpNet::new(ip, bits).expect("every address has 32 bits");
        network.trunc()
    });
    vec(network, count).prop_map(|networks| networks.into_iter().collect())
}

fn host_patterns() -> impl Strategy<Value = HostPattern> {
    let name = "[a-z0-9_-]{1,20}(\\.[a-z0-9_-]{1,20}){0,3}\\.[a-z]{2,6}";
    prop_oneof![
        name.prop_map(HostPattern::Exact),
        name.prop_map(HostPattern::Below),
    ]
}

/// Of a mode's own conditions, any; and a client, so that there is one.
fn routes(mode: Mode) -> impl Strategy<Value = Route> {
    let (is_http, is_tls) = (mode == Mode::Http, mode == Mode::Tls);
    let http = (
        option::of(host_patterns()),
        option::of("/[!-\"$->@-~]{0,40}"),
        option::of("[a-z0-9!#$%&'*+.^_`|~-]{1,30}"),
    );
    let tls = option::of(host_patterns());
    (http, tls, networks(1..4), any::<usize>()).prop_map(
        move |((host, path_prefix, upgrade), sni, client, upstream)| Route {
            host: host.filter(|_| is_http),
            path_prefix: path_prefix.filter(|_| is_http),
            upgrade: upgrade.filter(|_| is_http),
            sni: sni.filter(|_| is_tls),
            client,
            upstream,
        },
    )
}

/// What is read before a backend is chosen, and who is let in.
fn first_bytes() -> impl Strategy<Value = Listener> {
    let mode = prop_oneof![Just(Mode::Tcp), Just(Mode::Http), Just(Mode::Tls)];
    let proxy = prop_oneof![
        Just(AcceptProxy::Off),
        Just(AcceptProxy::Optional),
        Just(AcceptProxy::Required)
    ];
    let rate = (1_u32.., timeouts()).prop_map(|(count, per)| Rate {
        count: NonZeroU32::new(count).expect("from 1"),
        per,
    });
    let peek = (1024_u32..=65_536, timeouts());
    let limits = (0_usize..=1_000_000_000, option::of(rate));
    let lists = (networks(0..3), networks(0..3), networks(0..3));
    let tls =
        |mode| option::of(listener_tls()).prop_map(move |tls| tls.filter(|_| mode != Mode::Tls));
    let routed = mode.prop_flat_map(move |mode| {
        let routes = vec(routes(mode), 0..4);
        (Just(mode), routes, any::<bool>(), tls(mode))
    });
    (routed, peek, proxy, lists, limits).prop_map(
        |((mode, routes, append, tls), peek, proxy_protocol, lists, limits)| Listener {
            routes,
            mode,
            tls,
            peek_max_bytes: peek.0,
            peek_timeout: peek.1,
            proxy_protocol,
            proxy_protocol_from: lists.0,
            forwarded: if append && mode == Mode::Http {
                Forwarded::Append
            } else {
                Forwarded::Off
            },
            allow: lists.1,
            deny: lists.2,
            max_connections_per_ip: limits.0,
            connect_rate_per_ip: limits.1,
            ..Listener::new(String::new(), Vec::new(), 0)
        },
    )
}

pub(crate) fn hash_keys() -> impl Strategy<Value = Vec<HashKey>> {
    let key = prop_oneof![
        "[A-Za-z0-9_.-]{1,40}".prop_map(HashKey::Cookie),
        "[!\"$%'-<>-~]{1,40}".prop_map(HashKey::Query),
        "[a-z0-9-]{1,40}".prop_map(HashKey::Header),
        Just(HashKey::Path),
        Just(HashKey::Host),
        Just(HashKey::Sni),
    ];
    proptest::collection::hash_set(key, 0..5)
        .prop_map(|keys| keys.into_iter().chain([HashKey::ClientIp]).collect())
}

fn listeners() -> impl Strategy<Value = Listener> {
    let identity = (names(), vec(addresses(), 1..4), any::<usize>());
    let times = (timeouts(), timeouts(), user_timeouts(), timeouts());
    let keepalive = (1_u64..=32_767, 1_u64..=32_767, 1_u32..=127);
    let numbers = (1_u32..=1 << 20, 0_u32..=1 << 30, 0_usize..=1_000_000_000);
    let slow = (0_u32..=1 << 30, timeouts());
    let slow = slow.prop_map(|(unsent, patience)| SlowClient { unsent, patience });
    let times = (times, slow);
    let flags = any::<[bool; 3]>();
    (identity, times, keepalive, numbers, flags, first_bytes()).prop_map(
        |(
            (name, listen, upstream),
            (times, slow_client),
            keepalive,
            numbers,
            flags,
            first_bytes,
        )| {
            let [nodelay, copy, incoming_cpu] = flags;
            Listener {
                name,
                listen,
                upstream: Some(upstream),
                relay: if copy { Relay::Copy } else { Relay::Auto },
                backlog: numbers.0,
                incoming_cpu,
                nodelay,
                idle_timeout: times.0,
                half_close_timeout: times.1,
                user_timeout: times.2,
                max_age: times.3,
                keepalive: Keepalive {
                    idle: Duration::from_secs(keepalive.0),
                    interval: Duration::from_secs(keepalive.1),
                    count: keepalive.2,
                },
                notsent_lowat: numbers.1,
                slow_client,
                max_connections: numbers.2,
                ..first_bytes
            }
        },
    )
}

/// Configurations that the file format can say: names and addresses made unique, references made to exist.
fn configurations() -> impl Strategy<Value = Config> {
    (
        processes(),
        logs(),
        option::of(admins()),
        vec(listeners(), 1..4),
        vec(upstreams(), 1..4),
    )
        .prop_map(|(process, log, admin, mut listeners, mut upstreams)| {
            let mut addresses = BTreeSet::new();
            let (mut names, mut upstream_names) = (BTreeSet::new(), BTreeSet::new());
            upstreams.retain(|upstream| upstream_names.insert(upstream.name.clone()));
            listeners.retain(|listener| names.insert(listener.name.clone()));
            for listener in &mut listeners {
                listener.listen.retain(|address| addresses.insert(*address));
                listener.upstream = listener.upstream.map(|at| at % upstreams.len());
                for route in &mut listener.routes {
                    route.upstream %= upstreams.len();
                }
            }
            listeners.retain(|listener| !listener.listen.is_empty());
            Config {
                process,
                log,
                admin,
                listeners,
                upstreams,
            }
        })
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    for open in ["[", "{ a = "] {
        let text = format!("a = {}", open.repeat(100_000));
        assert!(Config::parse(&text, "deep").is_err());
    }
}

/// What the fuzz target `config` holds of any text, of its seeds.
#[test]
fn the_corpus_of_the_fuzzer_reads_back_as_itself() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let config = Config::parse(&text, "seed").unwrap();
        let printed = config.to_toml();
        assert_eq!(Config::parse(&printed, "printed"), Ok(config), "{printed}");
        seeds += 1;
    }
    assert!(seeds >= 4, "{seeds}");
}

proptest! {
    #[test]
    fn the_effective_configuration_reads_back_as_itself(config in configurations()) {
        let text = config.to_toml();
        prop_assert_eq!(Config::parse(&text, "effective").map_err(|e| format!("{e}\n{text}")), Ok(config));
    }

    #[test]
    fn no_text_makes_the_reader_panic(noise in "\\PC{0,200}", at in 0..MINIMAL.len()) {
        let text = format!("{}{noise}{}", &MINIMAL[..at], &MINIMAL[at..]);
        // Either way is fine; that it comes back is the point, and that an error names its place.
        if let Err(errors) = Config::parse(&text, "noise") {
            prop_assert!(errors.iter().all(|error| error.to_string().starts_with("noise:")));
        }
    }
}
