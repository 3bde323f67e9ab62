//! `ringway map`: which backend each key goes to.

use crate::config::Config;
use crate::upstream::Snapshot;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// A line for each key, `KEY BACKEND`, and the table's fingerprint.
///
/// # Errors
/// An upstream that the configuration does not have.
pub fn map(config: Config, upstream: &str, keys: &[IpAddr]) -> Result<String, String> {
    let snapshot = Snapshot::new(Arc::new(config));
    let named = |u: &&crate::upstream::Upstream| u.settings().name == upstream;
    let Some(chosen) = snapshot.upstreams.iter().find(named) else {
        let known: Vec<_> = snapshot
            .upstreams
            .iter()
            .map(|u| u.settings().name.as_str())
            .collect();
        return Err(format!(
            "no upstream \"{upstream}\"; the file has: {}",
            known.join(", ")
        ));
    };
    let mut lines = String::new();
    for key in keys {
        let at = chosen.pick(chosen.key(*key), &[]);
        let backend = at.map_or("-", |at| chosen.backend(at).name.as_str());
        writeln!(lines, "{key} {backend}").expect("a String takes every line");
    }
    writeln!(lines, "fingerprint {:016x}", chosen.fingerprint())
        .expect("a String takes every line");
    Ok(lines)
}
