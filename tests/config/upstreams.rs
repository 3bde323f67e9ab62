//! Upstreams that the file format can say, for what must read back as itself.

use crate::round_trip::{addresses, hash_keys, names, timeouts, user_timeouts};
use crate::tls::upstream_tls;
use proptest::collection::{hash_set, vec};
use proptest::option;
use proptest::prelude::*;
use ringway::config::{
    Address, AdminState, AllDown, Backend, Balance, Exchange, HashPrefix, HttpRequest,
    InitialHealth, OnDown, Probe, Ratio, SendProxy, Status, Upstream, UpstreamTls,
};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;

pub(crate) fn upstreams() -> impl Strategy<Value = Upstream> {
    let extras = (option::of(probes()), option::of(upstream_tls()));
    (policies(), connecting(), failing(), extras).prop_map(
        |(policy, connecting, failing, (probe, tls))| Upstream {
            max_fails: failing.max_fails,
            fail_timeout: failing.fail_timeout,
            all_down: failing.all_down,
            on_down: failing.on_down,
            slow_start: failing.slow_start,
            balance: policy.balance,
            hash_key: policy.hash_key,
            hash_prefix: policy.hash_prefix,
            hash_load_factor: policy.hash_load_factor,
            probe,
            tls: tls.map(|tls| asking(tls, &connecting.backends)),
            ..connecting
        },
    )
}

/// SRV records do not say whose certificate to expect.
fn asking(mut tls: UpstreamTls, backends: &[Backend]) -> UpstreamTls {
    let is_service = |backend: &Backend| matches!(backend.address, Address::Srv(_));
    if backends.iter().any(is_service) {
        tls.server_name
            .get_or_insert_with(|| "feed.example.com".to_owned());
    }
    tls
}

/// One that has the defaults, to take parts of.
fn plain() -> Upstream {
    Upstream::new(String::new(), Vec::new())
}

fn policies() -> impl Strategy<Value = Upstream> {
    let balance = prop_oneof![
        Just(Balance::IpHash),
        Just(Balance::Hash),
        Just(Balance::RoundRobin),
        Just(Balance::LeastConn),
        Just(Balance::RandomTwo)
    ];
    let prefix = (1_u8..=32, 1_u8..=128).prop_map(|(v4, v6)| HashPrefix { v4, v6 });
    let load_factor = option::of((1.0..=100.0).prop_map(Ratio::new));
    (balance, hash_keys(), prefix, load_factor).prop_map(
        |(balance, hash_key, hash_prefix, hash_load_factor)| Upstream {
            balance,
            hash_key,
            hash_prefix,
            hash_load_factor,
            ..plain()
        },
    )
}

fn connecting() -> impl Strategy<Value = Upstream> {
    let sent = prop_oneof![
        Just(SendProxy::Off),
        Just(SendProxy::V1),
        Just(SendProxy::V2)
    ];
    let times = (timeouts(), user_timeouts(), timeouts());
    let sources = hash_set(sources(), 0..4);
    (
        names(),
        times,
        1_u8..=8,
        sent,
        vec(backends(), 1..5),
        sources,
    )
        .prop_map(
            |(name, times, connect_tries, proxy_protocol, mut backends, sources)| {
                let mut names = BTreeSet::new();
                backends.retain(|backend| names.insert(backend.name.clone()));
                let is_of_use = |ip: &IpAddr| {
                    let mut sockets = backends
                        .iter()
                        .filter_map(|backend| backend.address.socket());
                    sockets.any(|socket| socket.is_ipv4() == ip.is_ipv4())
                };
                Upstream {
                    connect_timeout: times.0,
                    connect_tries,
                    proxy_protocol,
                    user_timeout: times.1,
                    source_addresses: sources.into_iter().filter(is_of_use).collect(),
                    resolve_interval: times.2,
                    ..Upstream::new(name, backends)
                }
            },
        )
}

fn sources() -> impl Strategy<Value = IpAddr> {
    let is_of_one = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    any::<IpAddr>().prop_filter("an address of one machine", is_of_one)
}

fn failing() -> impl Strategy<Value = Upstream> {
    let all_down = prop_oneof![Just(AllDown::TryAll), Just(AllDown::Refuse)];
    let on_down = prop_oneof![Just(OnDown::Keep), Just(OnDown::Close)];
    (0_u32..=1_000_000, timeouts(), all_down, on_down, timeouts()).prop_map(
        |(max_fails, fail_timeout, all_down, on_down, slow_start)| Upstream {
            max_fails,
            fail_timeout,
            all_down,
            on_down,
            slow_start,
            ..plain()
        },
    )
}

fn places() -> impl Strategy<Value = Address> {
    let host = || "[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9]{0,15})?";
    prop_oneof![
        addresses().prop_map(Address::Socket),
        (host(), 1_u16..).prop_map(|(host, port)| Address::Name { host, port }),
        host().prop_map(|name| Address::Srv(format!("_feed._tcp.{name}"))),
    ]
}

fn backends() -> impl Strategy<Value = Backend> {
    let state = prop_oneof![
        Just(AdminState::Ready),
        Just(AdminState::Drain),
        Just(AdminState::Maint)
    ];
    let numbers = (1_u16..=256, 0_usize..=1_000_000_000);
    (option::of(names()), places(), numbers, any::<bool>(), state).prop_map(
        |(name, address, (weight, max_connections), backup, state)| {
            let default = Backend::at(address);
            let has_weight = !matches!(default.address, Address::Srv(_));
            Backend {
                name: name.unwrap_or(default.name),
                address: default.address,
                host: None,
                weight: if has_weight { weight } else { 1 },
                backup,
                max_connections,
                state,
            }
        },
    )
}

fn probes() -> impl Strategy<Value = Probe> {
    let streaks = (1_u32..=1_000_000, 1_u32..=1_000_000);
    let initial = prop_oneof![Just(InitialHealth::Up), Just(InitialHealth::Down)];
    let port = any::<u16>().prop_map(NonZeroU16::new);
    let jitter = (0.0..=0.5).prop_map(Ratio::new);
    let times = (timeouts(), timeouts());
    (exchanges(), times, streaks, port, initial, jitter).prop_map(
        |(exchange, times, streaks, port, initial, jitter)| Probe {
            exchange,
            interval: times.0,
            timeout: times.1,
            rise: streaks.0,
            fall: streaks.1,
            port,
            initial,
            jitter,
        },
    )
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let bytes = |least: usize| vec(any::<u8>(), least..100);
    prop_oneof![
        Just(Exchange::Tcp),
        Just(Exchange::Smtp),
        Just(Exchange::Mysql),
        Just(Exchange::Pop3),
        Just(Exchange::Imap),
        Just(Exchange::Pgsql),
        Just(Exchange::Redis),
        (http_requests(), hash_set(statuses(), 1..5)).prop_map(|(request, statuses)| {
            Exchange::Http {
                request,
                expect_status: statuses.into_iter().collect(),
            }
        }),
        option::of("[a-z]{1,9}(\\.[a-z]{1,9}){0,2}").prop_map(|host| Exchange::SslHello { host }),
        (paths(), hosts(), bytes(0)).prop_map(|(path, host, expect)| Exchange::Websocket {
            path,
            host,
            expect
        }),
        (bytes(0), bytes(1)).prop_map(|(send, expect)| Exchange::SendExpect { send, expect }),
    ]
}

fn http_requests() -> impl Strategy<Value = HttpRequest> {
    prop_oneof![
        (paths(), hosts()).prop_map(|(path, host)| HttpRequest::Get { path, host }),
        vec(any::<u8>(), 1..100).prop_map(HttpRequest::Raw),
    ]
}

fn paths() -> impl Strategy<Value = String> {
    "/[!-\"$-~]{0,40}"
}

fn hosts() -> impl Strategy<Value = Option<String>> {
    option::of("[A-Za-z0-9._:-]{1,40}")
}

fn statuses() -> impl Strategy<Value = Status> {
    prop_oneof![
        (1_u16..=5).prop_map(Status::Class),
        (100_u16..=599).prop_map(Status::Exact)
    ]
}
