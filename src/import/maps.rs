//! `map` and `geo` blocks, where a `proxy_pass` names the variable that they set: they become routes.

use super::access::networks;
use super::remarks::{Kind, Remark};
use super::syntax::Directive;
use super::values::{list, string};
use ipnet::IpNet;
use std::cmp::Reverse;

/// One way out of a listener.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    /// The conditions of its route; empty for the listener's own upstream.
    pub(super) conditions: Vec<String>,
    /// nginx's upstream or an address.
    pub(super) target: String,
    pub(super) from: &'a Directive,
}

/// What a variable may stand for.
#[derive(Clone, Debug)]
pub(super) struct Ways<'a> {
    /// Whether the ClientHello has to be read.
    pub(super) by_sni: bool,
    pub(super) ways: Vec<Way<'a>>,
}

/// The ways that a variable leads to, first match first; none when no block of these sets it, or none that can be a route.
pub(super) fn ways<'a>(
    variable: &str,
    directives: &'a [Directive],
    remarks: &mut Vec<Remark>,
) -> Option<Ways<'a>> {
    let variable = variable
        .trim_start_matches("${")
        .trim_start_matches('$')
        .trim_end_matches('}');
    let sets = |it: &&Directive| {
        let is_block = matches!(it.name.as_str(), "geo" | "map");
        is_block
            && it
                .words
                .last()
                .is_some_and(|name| name.trim_start_matches('$') == variable)
    };
    let block = directives.iter().find(sets)?.take();
    block
        .inside()
        .iter()
        .for_each(|entry| entry.taken.set(true));
    match (block.name.as_str(), block.word()) {
        ("geo", source) if block.words.len() == 1 || source == "$remote_addr" => {
            Some(by_client(block, remarks))
        }
        ("map", "$ssl_preread_server_name" | "$ssl_server_name") => Some(by_sni(block, remarks)),
        _ => {
            let text = "routes know the server name ($ssl_preread_server_name) and the client's network (geo)";
            remarks.push(Remark::new(block, Kind::Lost, text));
            None
        }
    }
}

fn target(entry: &Directive) -> String {
    entry.word().to_owned()
}

/// Exact names first, then the longest of the others, as nginx's map does.
fn by_sni<'a>(block: &'a Directive, remarks: &mut Vec<Remark>) -> Ways<'a> {
    let mut ways = Vec::new();
    let mut rest = None;
    for entry in block.inside() {
        let hosts = match entry.name.as_str() {
            "hostnames" | "volatile" => continue,
            "default" => {
                rest = Some(entry);
                continue;
            }
            name if name.starts_with('~') || name.ends_with(".*") => {
                let text = "routes take a whole name, or all names below one (\"*.example.com\")";
                remarks.push(Remark::new(entry, Kind::Lost, text));
                continue;
            }
            name => hosts(name),
        };
        ways.extend(hosts.into_iter().map(|host| (host, entry)));
    }
    ways.sort_by_key(|(host, _)| (host.starts_with('*'), Reverse(host.len())));
    let ways = ways.into_iter().map(|(host, from)| Way {
        conditions: vec![format!("sni = {}", string(&host))],
        target: target(from),
        from,
    });
    Ways {
        by_sni: true,
        ways: ways.chain(otherwise(rest)).collect(),
    }
}

/// `.example.com` is the name and everything below it.
pub(super) fn hosts(name: &str) -> Vec<String> {
    match name.strip_prefix('.') {
        Some(parent) => vec![parent.to_owned(), format!("*.{parent}")],
        None => vec![name.trim_start_matches('\\').to_owned()],
    }
}

/// The smallest network first, as nginx's geo does.
fn by_client<'a>(block: &'a Directive, remarks: &mut Vec<Remark>) -> Ways<'a> {
    let mut ways: Vec<(IpNet, &Directive)> = Vec::new();
    let mut rest = None;
    for entry in block.inside() {
        match (entry.name.as_str(), networks(&entry.name)) {
            ("default", _) => rest = Some(entry),
            (_, Some(networks)) => {
                ways.extend(networks.into_iter().map(|network| (network, entry)));
            }
            (_, None) => {
                let text = "routes take networks of clients";
                remarks.push(Remark::new(entry, Kind::Lost, text));
            }
        }
    }
    ways.sort_by_key(|(network, _)| Reverse(network.prefix_len()));
    let ways = ways.into_iter().map(|(network, from)| Way {
        conditions: vec![format!("client = {}", list([network]))],
        target: target(from),
        from,
    });
    Ways {
        by_sni: false,
        ways: ways.chain(otherwise(rest)).collect(),
    }
}

fn otherwise(entry: Option<&Directive>) -> Option<Way<'_>> {
    entry.map(|from| Way {
        conditions: Vec::new(),
        target: target(from),
        from,
    })
}
