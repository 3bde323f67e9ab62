//! `[[upstream]]` and `[[upstream.backend]]`: their keys, and what must hold between them.

use super::address::{self, Address};
use super::check::unique_name;
use super::document::{Once, Table};
use super::error::Errors;
use super::hash_key::{self, HashKey};
use super::model::{Backend, Upstream};
use super::probe::probe;
use super::ratio::ratio_or_off;
use super::tls::upstream_tls;
use super::value::Parsed;
use super::{document, quantity, value, words};
use crate::balance::ip_hash::HashPrefix;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use toml::de::DeValue;

// Bounds far above any use that is meant, so that a generated file gone wrong says so.
/// The most backends of one upstream, those that names stand for included.
pub const BACKENDS_MAX: usize = 4096;
const HASH_KEYS_MAX: usize = 16;
const SOURCE_ADDRESSES_MAX: usize = 256;
const FAILS_MAX: u32 = 1_000_000;

const CONNECT_TRIES_MAX: u8 = 8;
/// Below 1 there would not be room for all; nobody balances load with a bound above 100.
const LOAD_FACTORS: RangeInclusive<f64> = 1.0..=100.0;

/// Reads one upstream; `names` are those before it.
pub(super) fn upstream(mut table: Table<'_>, names: &mut Once<String>) -> Upstream {
    let name = unique_name(&mut table, names);
    let mut backend_names = Once::new();
    let backends = table
        .tables("backend", BACKENDS_MAX)
        .into_iter()
        .filter_map(|inner| backend(inner, &mut backend_names))
        .collect();
    let mut upstream = Upstream::new(name, backends);
    policy(&mut table, &mut upstream);
    connecting(&mut table, &mut upstream);
    failing(&mut table, &mut upstream);
    upstream.probe = table.table("probe").map(probe);
    upstream.tls = upstream_tls(&mut table, &upstream.backends);
    table.finish();
    upstream
}

/// Who gets the next connection.
fn policy(table: &mut Table<'_>, upstream: &mut Upstream) {
    table.set("balance", &mut upstream.balance, |v| words::BALANCES.of(v));
    upstream.hash_key = hash_keys(table);
    if let Some(inner) = table.table("hash_prefix") {
        hash_prefix(inner, &mut upstream.hash_prefix);
    }
    table.set("hash_load_factor", &mut upstream.hash_load_factor, |v| {
        ratio_or_off(v, LOAD_FACTORS)
    });
}

/// How a backend is connected to.
fn connecting(table: &mut Table<'_>, upstream: &mut Upstream) {
    table.set(
        "connect_timeout",
        &mut upstream.connect_timeout,
        quantity::timeout,
    );
    let tries = &mut upstream.connect_tries;
    table.set("connect_tries", tries, |v| {
        value::integer(v, 1..=CONNECT_TRIES_MAX)
    });
    table.set("proxy_protocol", &mut upstream.proxy_protocol, |v| {
        words::SEND_PROXY.of(v)
    });
    table.set(
        "user_timeout",
        &mut upstream.user_timeout,
        quantity::user_timeout,
    );
    upstream.source_addresses = source_addresses(table, &upstream.backends);
    table.set(
        "resolve_interval",
        &mut upstream.resolve_interval,
        quantity::timeout,
    );
}

/// What failures lead to, and how they are got over.
fn failing(table: &mut Table<'_>, upstream: &mut Upstream) {
    table.set("max_fails", &mut upstream.max_fails, |v| {
        value::integer(v, 0..=FAILS_MAX)
    });
    table.set(
        "fail_timeout",
        &mut upstream.fail_timeout,
        quantity::timeout,
    );
    table.set("all_down", &mut upstream.all_down, |v| {
        words::ALL_DOWN.of(v)
    });
    table.set("on_down", &mut upstream.on_down, |v| words::ON_DOWN.of(v));
    table.set(
        "slow_start",
        &mut upstream.slow_start,
        quantity::duration_or_zero,
    );
}

/// The client's address ends the list, whether it is written there or not.
fn hash_keys(table: &mut Table<'_>) -> Vec<HashKey> {
    let mut seen = Once::new();
    let mut keys = Vec::new();
    for (spot, key) in table.list("hash_key", HASH_KEYS_MAX, |v| {
        hash_key::parse(value::text(v)?)
    }) {
        if let Some(first) = seen.repeats(key.clone(), spot.path()) {
            table.fault_at(
                &spot,
                format!("\"{key}\" is also {first}; remove one of them"),
            );
        } else if keys.last() == Some(&HashKey::ClientIp) {
            let message = "never counts: client_ip, which is always there, comes before it; write client_ip last";
            table.fault_at(&spot, message.to_owned());
        } else {
            keys.push(key);
        }
    }
    if keys.last() != Some(&HashKey::ClientIp) {
        keys.push(HashKey::ClientIp);
    }
    keys
}

fn hash_prefix(mut table: Table<'_>, prefix: &mut HashPrefix) {
    table.set("v4", &mut prefix.v4, |v| value::integer(v, 1..=32));
    table.set("v6", &mut prefix.v6, |v| value::integer(v, 1..=128));
    table.finish();
}

/// Addresses of our own, each of a family that some backend has: one of another would never be used.
fn source_addresses(table: &mut Table<'_>, backends: &[Backend]) -> Vec<IpAddr> {
    let mut seen = Once::new();
    let mut addresses = Vec::new();
    for (spot, ip) in table.list("source_addresses", SOURCE_ADDRESSES_MAX, source_address) {
        // A name may stand for addresses of any family.
        let is_of_use = |backend: &Backend| {
            let socket = backend.address.socket();
            socket.is_none_or(|socket| socket.is_ipv4() == ip.is_ipv4())
        };
        if let Some(first) = seen.repeats(ip, spot.path()) {
            let message = format!("\"{ip}\" is also {first}; remove one of them");
            table.fault_at(&spot, message);
        } else if !backends.is_empty() && !backends.iter().any(is_of_use) {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!(
                "\"{ip}\" is of use to no backend: none has an {family} address; remove it, or add such a backend"
            );
            table.fault_at(&spot, message);
        } else {
            addresses.push(ip);
        }
    }
    addresses
}

fn source_address(value: &DeValue) -> Parsed<IpAddr> {
    let text = value::text(value)?;
    let found = text.parse().ok();
    found
        .filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast())
        .ok_or_else(|| {
            format!(
                "{} is no address to connect from; write one of this machine's, such as \"10.0.0.5\", without a port",
                value::quoted(text)
            )
        })
}

impl Backend {
    /// What a weight may be.
    pub const WEIGHTS: RangeInclusive<u16> = value::WEIGHTS;

    /// Checks one backend's table on its own; `name` is what errors call the text.
    ///
    /// # Errors
    /// Every mistake in the text, each with line, column and key.
    pub fn parse(text: &str, name: &str) -> Result<Self, Errors> {
        let read = |table: Table<'_>| backend(table, &mut Once::new());
        let found = document::read(text, name, read)?;
        Ok(found.expect("what has no mistake has an address"))
    }
}

fn backend(mut table: Table<'_>, names: &mut Once<String>) -> Option<Backend> {
    let example = "IP:PORT, host:PORT or srv:NAME, such as \"10.0.0.1:8080\"";
    let address = table.required("address", example, address::backend_address);
    let name = table.optional("name", value::backend_name);
    let weight = table.optional("weight", |v| value::integer(v, value::WEIGHTS));
    let backup = table.optional("backup", value::flag);
    let max_connections = table.optional("max_connections", value::connections);
    let state = table.optional("state", |v| words::ADMIN_STATES.of(v));
    let backend = address.map(|address| {
        let default = Backend::at(address);
        Backend {
            // The contract's own default of `name` is the empty string: the address.
            name: name.flatten().unwrap_or(default.name),
            address: default.address,
            host: default.host,
            weight: weight.unwrap_or(default.weight),
            backup: backup.unwrap_or(default.backup),
            max_connections: max_connections.unwrap_or(default.max_connections),
            state: state.unwrap_or(default.state),
        }
    });
    if let Some(backend) = &backend {
        check_backend_name(&table, &backend.name, names);
        check_srv_weight(&table, backend);
    }
    table.finish();
    backend
}

fn check_backend_name(table: &Table<'_>, name: &str, names: &mut Once<String>) {
    let key = if table.has("name") { "name" } else { "address" };
    if name.len() > value::NAME_CHARS_MAX {
        let message =
            "is too long to be the backend's name as well; write a name for it that is shorter";
        table.fault(key, message.to_owned());
    }
    if let Some(first) = names.repeats(name.to_owned(), &table.path_of(key)) {
        table.fault(
            key,
            format!("\"{name}\" is also {first}; give one of them another name"),
        );
    }
}

fn check_srv_weight(table: &Table<'_>, backend: &Backend) {
    if matches!(backend.address, Address::Srv(_)) && backend.weight != 1 {
        let message = "does not count, because SRV records have weights of their own; remove it";
        table.fault("weight", message.to_owned());
    }
}
