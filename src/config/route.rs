//! `[[listener.route]]`: which keys go with which mode, and what their values look like.

use super::document::Table;
use super::host_pattern::{self, HostPattern};
use super::model::{Listener, Mode, Route, Upstream};
use super::value::{Parsed, quoted, text};
use super::words::MODES;
use super::{check, hash_key};
use toml::de::DeValue;

/// A longer path is no prefix that anybody wrote.
const PATH_BYTES_MAX: usize = 1024;
const PROTOCOL_BYTES_MAX: usize = 64;

/// Conditions, and the only mode of a listener in which there is something to compare. A listener that speaks TLS itself knows
/// the server name in every mode.
const CONDITIONS: [(&str, Option<Mode>); 5] = [
    ("host", Some(Mode::Http)),
    ("path_prefix", Some(Mode::Http)),
    ("upgrade", Some(Mode::Http)),
    ("sni", Some(Mode::Tls)),
    ("client", None),
];

/// Reads one route of a listener whose mode and TLS are known.
pub(super) fn route(mut table: Table<'_>, listener: &Listener, upstreams: &[Upstream]) -> Route {
    check_conditions(&table, listener);
    let route = Route {
        host: table.optional("host", host).flatten(),
        path_prefix: table.optional("path_prefix", path_prefix).flatten(),
        upgrade: table.optional("upgrade", upgrade).flatten(),
        sni: table.optional("sni", sni).flatten(),
        client: check::networks(&mut table, "client"),
        upstream: check::upstream_name(&mut table, upstreams),
    };
    table.finish();
    route
}

fn check_conditions(table: &Table<'_>, listener: &Listener) {
    let given = || CONDITIONS.iter().filter(|(key, _)| table.is_given(key));
    if given().next().is_none() {
        table.fault_here(
            "matches everything; write a host, path_prefix, upgrade, sni or client, or remove it and set the \
             listener's upstream"
                .to_owned(),
        );
    }
    for (key, needed) in given() {
        if let Some(needed) = needed.filter(|needed| !listener.sees(*needed)) {
            let word = MODES.name(needed);
            let message = format!(
                "is not known in this mode; write mode = \"{word}\" for the listener, or remove it"
            );
            table.fault(key, message);
        }
    }
}

/// What the text of a condition asks for; nothing if it is empty.
fn condition<T>(value: &DeValue, parse: impl FnOnce(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    let text = text(value)?;
    (!text.is_empty()).then(|| parse(text)).transpose()
}

fn host(value: &DeValue) -> Parsed<Option<HostPattern>> {
    condition(value, host_pattern::parse)
}

fn sni(value: &DeValue) -> Parsed<Option<HostPattern>> {
    condition(value, |text| {
        let pattern = host_pattern::parse(text)?;
        if pattern.is_address() {
            // RFC 6066, section 3.
            return Err(format!(
                "{} is an address, which no client sends as a server name; write a host name",
                quoted(text)
            ));
        }
        Ok(pattern)
    })
}

fn path_prefix(value: &DeValue) -> Parsed<Option<String>> {
    condition(value, |text| {
        let is_of_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        if text.starts_with('/') && text.len() <= PATH_BYTES_MAX && text.bytes().all(is_of_path) {
            return Ok(text.to_owned());
        }
        Err(format!(
            "{} does not begin a path; write one as it is sent, such as \"/chat/\", without its query, at most \
             {PATH_BYTES_MAX} bytes",
            quoted(text)
        ))
    })
}

fn upgrade(value: &DeValue) -> Parsed<Option<String>> {
    condition(value, |text| {
        if text.len() <= PROTOCOL_BYTES_MAX && text.bytes().all(hash_key::is_token) {
            return Ok(text.to_ascii_lowercase());
        }
        Err(format!(
            "{} is not a protocol's name; write one such as \"websocket\"",
            quoted(text)
        ))
    })
}
