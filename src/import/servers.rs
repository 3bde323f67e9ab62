//! `server` blocks of `stream {}` and `tcp {}`: one listener each, or several of them one listener with routes.

use super::access;
use super::draft::Item;
use super::listen::Listen;
use super::maps::{self, Way, Ways};
use super::remarks::{Kind, Remark};
use super::scope::Scope;
use super::syntax::Directive;
use super::tls;
use super::upstreams::{Upstreams, Wants};
use super::values::{duration, list, size, string};
use std::net::{IpAddr, SocketAddr};

/// A server in ringway's words.
pub(super) struct Site<'a> {
    pub(super) from: &'a Directive,
    pub(super) addresses: Vec<SocketAddr>,
    /// Host names that it is for; none is every one.
    pub(super) hosts: Vec<String>,
    pub(super) is_default: bool,
    pub(super) mode: &'static str,
    /// Where clients go: the upstream's name, and the conditions of the route.
    pub(super) ways: Vec<(Vec<String>, String, &'a Directive)>,
    pub(super) keys: Vec<Item<'a>>,
    pub(super) tls: Option<Vec<Item<'a>>>,
}

/// What a server becomes; none when nothing of it can be served.
pub(super) fn convert<'a>(
    server: &'a Directive,
    outer: &'a [Directive],
    upstreams: &mut Upstreams<'a>,
    remarks: &mut Vec<Remark>,
) -> Option<Site<'a>> {
    let server = server.take();
    let site = site(Scope { server, outer }, upstreams, remarks);
    if site.is_none() {
        server.inside().iter().for_each(|it| it.taken.set(true));
        remarks.push(Remark::new(
            server,
            Kind::Lost,
            "nothing of this server can be served",
        ));
    }
    site
}

fn site<'a>(
    scope: Scope<'a>,
    upstreams: &mut Upstreams<'a>,
    remarks: &mut Vec<Remark>,
) -> Option<Site<'a>> {
    let mut listen = Listen::read(&scope.all(&["listen"]), remarks);
    if listen.addresses.is_empty() {
        return None;
    }
    let ssl = listen.ssl.or_else(|| scope.is_on("ssl"));
    let tls = ssl.map(|_| tls::listener(scope, remarks));
    let (mode, ways) = ways(scope, remarks)?;
    let named = ways.into_iter().filter_map(|way| {
        let wants = wants(scope, &way.target, remarks);
        let name = upstreams.name_of(&way.target, &wants, way.from, remarks)?;
        Some((way.conditions, name, way.from))
    });
    let ways: Vec<_> = named.collect();
    if ways.is_empty() {
        return None;
    }
    let mut keys = std::mem::take(&mut listen.keys);
    keys.extend(proxy_protocol(scope, &listen, remarks));
    keys.extend(timeouts(scope, remarks));
    keys.extend(access::keys(&scope.all(&["allow", "deny"]), remarks));
    keys.extend(limits(scope, remarks));
    Some(Site {
        from: scope.server,
        addresses: listen.addresses,
        hosts: hosts(scope),
        is_default: listen.is_default,
        mode,
        ways,
        keys,
        tls,
    })
}

/// The mode, and where clients go.
fn ways<'a>(scope: Scope<'a>, remarks: &mut Vec<Remark>) -> Option<(&'static str, Vec<Way<'a>>)> {
    let sockets = scope.all(&["websocket_pass"]);
    if !sockets.is_empty() {
        return Some(("http", sockets.into_iter().map(by_path).collect()));
    }
    let preread = scope.is_on("ssl_preread");
    let Some(pass) = scope.one("proxy_pass") else {
        let text = "there is no proxy_pass in this server";
        remarks.push(Remark::new(scope.server, Kind::Lost, text));
        return None;
    };
    let target = pass.word();
    let found = target
        .starts_with('$')
        .then(|| maps::ways(target, scope.outer, remarks));
    if let Some(Some(Ways { by_sni, ways })) = found {
        return Some((if by_sni { "tls" } else { "tcp" }, ways));
    }
    let straight = Way {
        conditions: Vec::new(),
        target: target.to_owned(),
        from: pass,
    };
    Some((
        if preread.is_some() { "tls" } else { "tcp" },
        vec![straight],
    ))
}

/// `websocket_pass /path upstream`, or without a path.
fn by_path(pass: &Directive) -> Way<'_> {
    let (path, target) = match pass.words.as_slice() {
        [path, target, ..] => (Some(path), target.as_str()),
        _ => (None, pass.word()),
    };
    Way {
        conditions: path
            .iter()
            .map(|path| format!("path_prefix = {}", string(path)))
            .collect(),
        target: target.to_owned(),
        from: pass,
    }
}

fn hosts(scope: Scope<'_>) -> Vec<String> {
    let names = scope.all(&["server_name"]);
    let names = names.iter().flat_map(|it| &it.words);
    let meant = names.filter(|name| !name.is_empty() && *name != "_");
    meant.flat_map(|name| maps::hosts(name)).collect()
}

/// What belongs to the upstream in ringway.
fn wants<'a>(scope: Scope<'a>, target: &str, remarks: &mut Vec<Remark>) -> Wants<'a> {
    let mut keys = Vec::new();
    let connect = ["proxy_connect_timeout", "websocket_connect_timeout"];
    if let Some((time, from)) = scope.longest(&connect, remarks) {
        keys.push(Item::key("connect_timeout", duration(time), from));
    }
    keys.extend(tries(scope, remarks));
    if let Some(on) = scope.is_on("proxy_protocol") {
        keys.push(Item::key("proxy_protocol", "\"v1\"", on));
    }
    if let Some(bind) = scope.one("proxy_bind").filter(|it| it.word() != "off") {
        keys.push(Item::key(
            "source_addresses",
            list([source(bind.word())]),
            bind,
        ));
    }
    if let Some(drop) = scope.is_on("proxy_session_drop") {
        keys.push(Item::key("on_down", "\"close\"", drop));
    }
    Wants {
        keys,
        tls: tls::upstream(scope, target),
    }
}

/// The address of `proxy_bind` without its port; ringway says what is wrong with what is none.
fn source(text: &str) -> String {
    let socket = text.parse::<SocketAddr>().map(|it| it.ip());
    let address = socket.or_else(|_| text.trim_matches(['[', ']']).parse::<IpAddr>());
    address.map_or_else(|_| text.to_owned(), |it| it.to_string())
}

/// How many backends are tried. nginx's 0 is all of them.
fn tries<'a>(scope: Scope<'a>, remarks: &mut Vec<Remark>) -> Option<Item<'a>> {
    const TRIES_MAX: u32 = 8;
    if let Some(off) = scope
        .one("proxy_next_upstream")
        .filter(|it| it.word() == "off")
    {
        return Some(Item::key("connect_tries", 1, off));
    }
    let tries = scope.one("proxy_next_upstream_tries")?;
    let count = tries.word().parse().ok();
    let count = count.filter(|count| *count > 0).unwrap_or(TRIES_MAX);
    if count > TRIES_MAX {
        let text = format!("{TRIES_MAX} different backends are tried at most");
        remarks.push(Remark::new(tries, Kind::Note, text));
    }
    Some(Item::key("connect_tries", count.min(TRIES_MAX), tries))
}

fn proxy_protocol<'a>(
    scope: Scope<'a>,
    listen: &Listen<'a>,
    remarks: &mut Vec<Remark>,
) -> Vec<Item<'a>> {
    let trusted = scope.all(&["set_real_ip_from"]);
    let Some(on) = listen.proxy_protocol else {
        return Vec::new();
    };
    let mut keys = vec![Item::key("proxy_protocol", "\"required\"", on)];
    let (known, unknown): (Vec<_>, Vec<_>) = trusted
        .iter()
        .partition(|it| access::networks(it.word()).is_some());
    for it in unknown {
        remarks.push(Remark::new(
            it,
            Kind::Lost,
            "names no network of IP addresses",
        ));
    }
    if let Some(first) = known.first() {
        let networks = known
            .iter()
            .filter_map(|it| access::networks(it.word()))
            .flatten();
        keys.push(Item::key("proxy_protocol_from", list(networks), first));
        let text = "clients from elsewhere are turned away, where nginx only would not believe their header";
        remarks.push(Remark::new(first, Kind::Note, text));
    }
    keys
}

fn timeouts<'a>(scope: Scope<'a>, remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    const IDLE: [&str; 6] = [
        "proxy_timeout",
        "timeout",
        "proxy_read_timeout",
        "proxy_send_timeout",
        "websocket_read_timeout",
        "websocket_send_timeout",
    ];
    let mut keys = Vec::new();
    if let Some((time, from)) = scope.longest(&IDLE, remarks) {
        keys.push(Item::key("idle_timeout", duration(time), from));
    }
    if let Some((time, from)) =
        scope.longest(&["preread_timeout", "proxy_protocol_timeout"], remarks)
    {
        keys.push(Item::key("peek_timeout", duration(time), from));
    }
    if let Some(buffer) = scope.one("preread_buffer_size") {
        let bytes = size(buffer.word())
            .unwrap_or(16 << 10)
            .clamp(1 << 10, 64 << 10);
        keys.push(Item::key("peek_max_bytes", bytes, buffer));
    }
    if let Some(off) = scope
        .one("proxy_half_close")
        .filter(|it| it.word() == "off")
    {
        let text = "one side's FIN is always relayed; half_close_timeout bounds what follows";
        remarks.push(Remark::new(off, Kind::Note, text));
    }
    keys
}

/// `limit_conn` of a zone whose key is the client's address, or the server's own.
fn limits<'a>(scope: Scope<'a>, remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let limits = scope.all(&["limit_conn"]);
    let keys = limits.into_iter().filter_map(|limit| {
        let [zone, count] = limit.words.as_slice() else {
            return None;
        };
        let is_zone = |it: &&Directive| {
            let of_zone = |word: &String| {
                word.strip_prefix("zone=")
                    .is_some_and(|it| it.split(':').next() == Some(zone))
            };
            it.name == "limit_conn_zone" && it.words.iter().any(of_zone)
        };
        let key = scope.outer.iter().find(is_zone).map(|it| it.take().word());
        match key {
            Some("$binary_remote_addr" | "$remote_addr" | "$proxy_protocol_addr") => {
                Some(Item::key("max_connections_per_ip", count, limit))
            }
            Some("$server_port" | "$server_addr") => {
                Some(Item::key("max_connections", count, limit))
            }
            Some(_) | None => {
                let text = "connections are counted by client address and by listener";
                remarks.push(Remark::new(limit, Kind::Lost, text));
                None
            }
        }
    });
    keys.collect()
}
