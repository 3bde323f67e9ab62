//! `ringway map`: which backend each key goes to.

use super::resolve::Names;
use crate::config::{Config, HashKey};
use crate::ring::Time;
use crate::upstream::{Hashed, Snapshot, Upstream};
use std::fmt::{Display, Write};
use std::sync::Arc;

/// A line for each of `values`, `VALUE BACKEND`, and the table's fingerprint. `key` says where connections have such
/// values.
///
/// Names of backends are resolved, as the running proxy would.
///
/// # Errors
/// An upstream that the configuration does not have, a key that it does not hash, a value that cannot be one of the
/// key's.
pub fn map(
    config: Config,
    upstream: &str,
    key: &HashKey,
    values: &[String],
) -> Result<String, String> {
    let (_, config) = Names::start(config).map_err(|refusal| refusal.to_string())?;
    let snapshot = Snapshot::new(Arc::new(config));
    let chosen = find(&snapshot, upstream)?;
    let Some(fingerprint) = chosen.fingerprint() else {
        return Err(format!(
            "upstream \"{upstream}\" hashes nothing, so no key has a backend of its own; name one with balance = \
             \"ip_hash\" or \"hash\""
        ));
    };
    if !chosen.hash_keys().contains(key) {
        let known = listed(chosen.hash_keys());
        return Err(format!(
            "upstream \"{upstream}\" does not hash {key}; it hashes: {known}"
        ));
    }
    let mut lines = String::new();
    for value in values {
        let hashed = Hashed::parse(key, value).ok_or_else(|| refusal(chosen, key, value))?;
        let key = hashed.hash(chosen.settings().hash_prefix);
        let at = chosen.pick(key, &[], Time::default());
        let backend = at.map_or("-", |at| chosen.backend(at).name.as_str());
        // Nobody connects: each value is alone.
        at.inspect(|at| chosen.live().member(*at).leave());
        writeln!(lines, "{value} {backend}").expect("a String takes every line");
    }
    writeln!(lines, "fingerprint {fingerprint:016x}").expect("a String takes every line");
    Ok(lines)
}

fn find<'a>(snapshot: &'a Snapshot, upstream: &str) -> Result<&'a Upstream, String> {
    let named = |u: &&Upstream| u.settings().name == upstream;
    snapshot.upstreams.iter().find(named).ok_or_else(|| {
        let known = listed(snapshot.upstreams.iter().map(|u| &u.settings().name));
        format!("no upstream \"{upstream}\"; the file has: {known}")
    })
}

/// Why a value cannot be one of the key's.
fn refusal(upstream: &Upstream, key: &HashKey, value: &str) -> String {
    if *key != HashKey::ClientIp {
        return format!("{value:?} is empty: such a client is hashed by its next key");
    }
    let others: Vec<_> = upstream
        .hash_keys()
        .iter()
        .filter(|other| *other != key)
        .collect();
    if others.is_empty() {
        return format!("{value:?} is not an IP address");
    }
    format!(
        "{value:?} is not an IP address; if it is another key's, say which with --key: {}",
        listed(others)
    )
}

fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
