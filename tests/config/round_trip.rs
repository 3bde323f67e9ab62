//! The effective configuration reads back as itself, whatever it says; and no text makes the reader panic.

use crate::wrong::MINIMAL;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use ringway::config::{
    Access, Backend, Config, Format, HashPrefix, Listener, Log, Process, Relay, Upstream, Workers,
};
use ringway::ring::Keepalive;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

const DAYS_24: u64 = 24 * 86_400;

fn names() -> impl Strategy<Value = String> {
    "[a-z0-9!#$%&'()*+.:;<=>?@^_`{|}~-]{1,64}"
}

fn timeouts() -> impl Strategy<Value = Duration> {
    (1_000..=DAYS_24 * 1_000_000).prop_map(Duration::from_micros)
}

fn user_timeouts() -> impl Strategy<Value = Duration> {
    (0..=DAYS_24 * 1_000).prop_map(Duration::from_millis)
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
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
    (workers, 0_usize..=1_000_000_000, spins, drains).prop_map(
        |(workers, max_connections, spin, (drain_delay, drain_over, drain_deadline))| Process {
            workers,
            max_connections,
            spin,
            drain_delay,
            drain_over,
            drain_deadline,
        },
    )
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
    (level, format, access).prop_map(|(level, format, access)| Log {
        level,
        format,
        access,
    })
}

fn listeners() -> impl Strategy<Value = Listener> {
    let identity = (names(), vec(addresses(), 1..4), any::<usize>());
    let times = (timeouts(), timeouts(), user_timeouts());
    let keepalive = (1_u64..=32_767, 1_u64..=32_767, 1_u32..=127);
    let numbers = (1_u32..=1 << 20, 0_u32..=1 << 30, 0_usize..=1_000_000_000);
    (identity, times, keepalive, numbers, any::<[bool; 3]>()).prop_map(
        |((name, listen, upstream), times, keepalive, numbers, [nodelay, copy, incoming_cpu])| {
            Listener {
                relay: if copy { Relay::Copy } else { Relay::Auto },
                backlog: numbers.0,
                incoming_cpu,
                nodelay,
                idle_timeout: times.0,
                half_close_timeout: times.1,
                user_timeout: times.2,
                keepalive: Keepalive {
                    idle: Duration::from_secs(keepalive.0),
                    interval: Duration::from_secs(keepalive.1),
                    count: keepalive.2,
                },
                notsent_lowat: numbers.1,
                max_connections: numbers.2,
                ..Listener::new(name, listen, upstream)
            }
        },
    )
}

fn backends() -> impl Strategy<Value = Backend> {
    (option::of(names()), addresses(), 1_u16..=256).prop_map(|(name, address, weight)| {
        let default = Backend::new(address);
        Backend {
            name: name.unwrap_or(default.name),
            address,
            weight,
        }
    })
}

fn upstreams() -> impl Strategy<Value = Upstream> {
    let prefix = (1_u8..=32, 1_u8..=128).prop_map(|(v4, v6)| HashPrefix { v4, v6 });
    let connect = (timeouts(), 1_u8..=8, user_timeouts());
    (names(), prefix, connect, vec(backends(), 1..5)).prop_map(
        |(name, hash_prefix, (connect_timeout, connect_tries, user_timeout), backends)| Upstream {
            hash_prefix,
            connect_timeout,
            connect_tries,
            user_timeout,
            ..Upstream::new(name, backends)
        },
    )
}

/// Configurations that the file format can say: names and addresses made unique, references made to exist.
fn configurations() -> impl Strategy<Value = Config> {
    (
        processes(),
        logs(),
        vec(listeners(), 1..4),
        vec(upstreams(), 1..4),
    )
        .prop_map(|(process, log, mut listeners, mut upstreams)| {
            let mut addresses = BTreeSet::new();
            let (mut names, mut upstream_names) = (BTreeSet::new(), BTreeSet::new());
            upstreams.retain(|upstream| upstream_names.insert(upstream.name.clone()));
            for upstream in &mut upstreams {
                let mut names = BTreeSet::new();
                upstream
                    .backends
                    .retain(|backend| names.insert(backend.name.clone()));
            }
            listeners.retain(|listener| names.insert(listener.name.clone()));
            for listener in &mut listeners {
                listener.listen.retain(|address| addresses.insert(*address));
                listener.upstream %= upstreams.len();
            }
            listeners.retain(|listener| !listener.listen.is_empty());
            Config {
                process,
                log,
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
