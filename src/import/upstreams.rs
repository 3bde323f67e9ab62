//! `upstream` blocks. In ringway some of what nginx says in a server belongs to the upstream (how to connect, TLS, the
//! PROXY protocol): an upstream that two servers want differently becomes two.

use super::draft::{Item, around_upstream, refusal, settle};
use super::probe;
use super::remarks::{Kind, Remark};
use super::syntax::Directive;
use super::values::{duration, name, string, time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The largest weight that ringway knows.
const WEIGHT_MAX: u32 = 256;

/// What a server wants of the upstream that it passes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants<'a> {
    pub(super) keys: Vec<Item<'a>>,
    /// Lines of `[upstream.tls]`: without them nothing may be sent.
    pub(super) tls: Vec<Item<'a>>,
}

impl Wants<'_> {
    fn text(&self) -> String {
        let items = self.keys.iter().chain(&self.tls);
        items.map(|item| format!("{}\n", item.text)).collect()
    }
}

/// Every upstream: as nginx has them, and what they became.
#[derive(Debug, Default)]
pub(super) struct Upstreams<'a> {
    blocks: BTreeMap<&'a str, &'a Directive>,
    /// By nginx's name and by what was wanted: ringway's name, or none where nothing is left of it.
    made: BTreeMap<(String, String), Option<String>>,
    /// In the order in which they are needed: name and text.
    written: Vec<(String, String)>,
}

impl<'a> Upstreams<'a> {
    /// The `upstream` blocks among these are meant from here on: each `stream {}` and `tcp {}` has its own.
    pub(super) fn open(&mut self, directives: &'a [Directive]) {
        let blocks = directives.iter().filter(|it| it.name == "upstream");
        self.blocks = blocks.map(|it| (it.word(), it)).collect();
        self.made.clear();
    }

    /// ringway's names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(|(name, _)| name.as_str())
    }

    /// The tables of those that something leads to.
    pub(super) fn toml(&self, used: &BTreeSet<String>) -> String {
        let written = self.written.iter().filter(|(name, _)| used.contains(name));
        written.map(|(_, text)| format!("\n{text}")).collect()
    }

    /// The name of the upstream that `target` of a `proxy_pass` means, be it a block or an address.
    pub(super) fn name_of(
        &mut self,
        target: &str,
        wants: &Wants<'a>,
        from: &'a Directive,
        remarks: &mut Vec<Remark>,
    ) -> Option<String> {
        let key = (target.to_owned(), wants.text());
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let backends = self.backends(target, from, remarks);
        let name = backends.and_then(|draft| {
            let text = draft.settle(wants, remarks)?;
            let name = self.free_name(target);
            let comment = format!("# {}: {}", draft.from.at, draft.from);
            let whole = format!("{comment}\n[[upstream]]\nname = {}\n{text}", string(&name));
            self.written.push((name.clone(), whole));
            Some(name)
        });
        self.made.insert(key, name.clone());
        name
    }

    fn backends(
        &self,
        target: &str,
        from: &'a Directive,
        remarks: &mut Vec<Remark>,
    ) -> Option<Draft<'a>> {
        if let Some(block) = self.blocks.get(target) {
            return Some(Draft::of_block(block.take(), remarks));
        }
        if target.contains('$') {
            let text = "the address is a variable that no map or geo block gives from the client's network or server name";
            remarks.push(Remark::new(from, Kind::Lost, text));
            return None;
        }
        Some(Draft {
            from,
            keys: Vec::new(),
            probe: None,
            backends: vec![Server::at(target, from).item(WEIGHT_MAX, 0)],
        })
    }

    fn free_name(&self, target: &str) -> String {
        let plain = name(target);
        let is_free = |name: &String| !self.written.iter().any(|(taken, _)| taken == name);
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let mut names = [plain.clone()].into_iter().chain(numbered);
        names.find(is_free).expect("numbers do not end")
    }
}

/// An upstream in the making.
struct Draft<'a> {
    from: &'a Directive,
    keys: Vec<Item<'a>>,
    /// The lines of its table, if there is one.
    probe: Option<Vec<Item<'a>>>,
    backends: Vec<Item<'a>>,
}

impl<'a> Draft<'a> {
    fn of_block(block: &'a Directive, remarks: &mut Vec<Remark>) -> Self {
        let servers: Vec<_> = block
            .inside()
            .iter()
            .filter(|it| it.name == "server")
            .collect();
        let servers: Vec<_> = servers
            .into_iter()
            .map(|it| Server::read(it, remarks))
            .collect();
        let heaviest = servers.iter().map(|it| it.weight).max().unwrap_or(1);
        if heaviest > WEIGHT_MAX {
            let text =
                format!("weights end at {WEIGHT_MAX}; all of them are made smaller in proportion");
            remarks.push(Remark::new(block, Kind::Note, text));
        }
        let mut keys = vec![balance(block, remarks)];
        keys.extend(common(&servers, remarks));
        let mut backends = Vec::new();
        for (at, server) in servers.iter().enumerate() {
            let twins = servers[..at]
                .iter()
                .filter(|it| it.address == server.address);
            backends.push(server.item(heaviest.max(WEIGHT_MAX), twins.count()));
        }
        Self {
            from: block,
            keys,
            probe: probe::lines(block, remarks),
            backends,
        }
    }

    /// The lines of it that ringway takes, unless no backend is left or TLS is asked for and not to be had.
    fn settle(&self, wants: &Wants<'_>, remarks: &mut Vec<Remark>) -> Option<String> {
        let mut backends = String::new();
        for item in &self.backends {
            match refusal(&around_upstream(&item.text)) {
                None => backends.push_str(&format!("\n{}", item.text)),
                Some(reason) => remarks.push(Remark::new(item.from, Kind::Lost, reason)),
            }
        }
        if backends.is_empty() {
            let text = "no backend of it can be carried over, and so nothing that passes to it";
            remarks.push(Remark::new(self.from, Kind::Lost, text));
            return None;
        }
        let keys: Vec<_> = self.keys.iter().chain(&wants.keys).cloned().collect();
        let keys = settle(&keys, remarks, |keys| {
            around_upstream(&format!("{keys}{backends}"))
        });
        let probe = self.probe.as_ref().map_or_else(String::new, |lines| {
            let table = |lines: &str| format!("\n[upstream.probe]\n{lines}");
            let whole = |lines: &str| around_upstream(&format!("{keys}{}{backends}", table(lines)));
            table(&settle(lines, remarks, whole))
        });
        let tls = self.tls(&wants.tls, remarks)?;
        Some(format!("{keys}{probe}{tls}{backends}"))
    }

    fn tls(&self, items: &[Item<'_>], remarks: &mut Vec<Remark>) -> Option<String> {
        let Some(first) = items.first() else {
            return Some(String::new());
        };
        let lines: String = items
            .iter()
            .map(|item| format!("{}\n", item.text))
            .collect();
        let table = format!("\n[upstream.tls]\n{lines}");
        let backend = "[[upstream.backend]]\naddress = \"127.0.0.1:1\"\n";
        let Some(reason) = refusal(&around_upstream(&format!("{table}{backend}"))) else {
            return Some(table);
        };
        let text = format!("{reason}; nothing is passed to these backends without TLS");
        remarks.push(Remark::new(first.from, Kind::Lost, text));
        None
    }
}

/// How nginx chooses among the servers.
fn balance<'a>(block: &'a Directive, remarks: &mut Vec<Remark>) -> Item<'a> {
    const METHODS: [&str; 6] = [
        "busyness",
        "hash",
        "ip_hash",
        "least_conn",
        "least_time",
        "random",
    ];
    let method = block
        .inside()
        .iter()
        .find(|it| METHODS.contains(&it.name.as_str()));
    let Some(method) = method else {
        return Item::key("balance", "\"round_robin\"", block);
    };
    let moves = "clients are spread anew once: the tables are not the same";
    let (line, note) = match (method.take().name.as_str(), method.word()) {
        ("ip_hash", _) => ("\"ip_hash\"\nhash_prefix = { v4 = 24 }", moves),
        ("hash", "$remote_addr" | "$binary_remote_addr" | "$proxy_protocol_addr") => {
            ("\"ip_hash\"", moves)
        }
        ("hash", "$ssl_preread_server_name") => ("\"hash\"\nhash_key = [\"sni\"]", moves),
        ("hash", _) => {
            let text = "ringway hashes the client's address, the server name, or a part of a request head; \
                        round_robin is written instead";
            remarks.push(Remark::new(method, Kind::Lost, text));
            ("\"round_robin\"", "")
        }
        ("random", _) => ("\"random_two\"", ""),
        ("least_time", _) => ("\"least_conn\"", "connections are counted, times are not"),
        _ => ("\"least_conn\"", ""),
    };
    if !note.is_empty() {
        remarks.push(Remark::new(method, Kind::Note, note));
    }
    Item::key("balance", line, method)
}

/// What nginx says of each server and ringway of the upstream.
fn common<'a>(servers: &[Server<'a>], remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let fails = largest("max_fails", servers, |it| it.max_fails, remarks);
    let timeout = largest("fail_timeout", servers, |it| it.fail_timeout, remarks);
    let start = largest("slow_start", servers, |it| it.slow_start, remarks);
    let items = [
        fails.map(|(count, from)| Item::key("max_fails", count, from)),
        timeout.map(|(time, from)| Item::key("fail_timeout", duration(time), from)),
        start.map(|(time, from)| Item::key("slow_start", duration(time), from)),
    ];
    items.into_iter().flatten().collect()
}

/// The largest of what the servers say, with a remark when they do not say the same.
fn largest<'a, T: Ord + Copy>(
    name: &str,
    servers: &[Server<'a>],
    of: impl Fn(&Server<'a>) -> Option<T>,
    remarks: &mut Vec<Remark>,
) -> Option<(T, &'a Directive)> {
    let said = servers.iter().filter_map(|it| Some((of(it)?, it.from)));
    let (most, from) = said.max_by_key(|(value, _)| *value)?;
    if servers.iter().any(|it| of(it) != Some(most)) {
        let text = format!("{name} is one for the whole upstream; the largest is taken");
        remarks.push(Remark::new(from, Kind::Note, text));
    }
    Some((most, from))
}

/// A `server` of an upstream.
struct Server<'a> {
    from: &'a Directive,
    address: String,
    weight: u32,
    max_connections: Option<String>,
    max_fails: Option<u32>,
    fail_timeout: Option<Duration>,
    slow_start: Option<Duration>,
    backup: bool,
    state: Option<&'static str>,
}

impl<'a> Server<'a> {
    fn at(address: &str, from: &'a Directive) -> Self {
        Self {
            from,
            address: address.to_owned(),
            weight: 1,
            max_connections: None,
            max_fails: None,
            fail_timeout: None,
            slow_start: None,
            backup: false,
            state: None,
        }
    }

    fn read(directive: &'a Directive, remarks: &mut Vec<Remark>) -> Self {
        let mut server = Self::at(directive.take().word(), directive);
        for parameter in directive.words.iter().skip(1) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !server.set(key, value) {
                let text = format!("the parameter {parameter} has no counterpart");
                remarks.push(Remark::new(directive, Kind::Lost, text));
            }
        }
        server
    }

    /// Takes a parameter. `false` when it is none that ringway has.
    fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "weight" => match value.parse() {
                Ok(weight) => self.weight = weight,
                Err(_) => return false,
            },
            "max_conns" | "max_busy" => self.max_connections = Some(value.to_owned()),
            "max_fails" => self.max_fails = value.parse().ok(),
            "fail_timeout" => self.fail_timeout = time(value),
            "slow_start" => self.slow_start = time(value),
            "backup" => self.backup = true,
            "down" => self.state = Some("maint"),
            "drain" => self.state = Some("drain"),
            "service" => self.address = srv(&self.address, value),
            // Names are looked up again anyhow.
            "resolve" => {}
            _ => return false,
        }
        true
    }

    /// The table, with weights out of `heaviest`; the name of a twin, the `twins`-th of its address, has a number.
    fn item(&self, heaviest: u32, twins: usize) -> Item<'a> {
        let scaled =
            u64::from(self.weight) * u64::from(WEIGHT_MAX) / u64::from(heaviest.max(WEIGHT_MAX));
        let mut lines = vec![format!("address = {}", string(&self.address))];
        if twins > 0 || self.address.len() > 64 {
            lines.push(format!(
                "name = {}",
                string(&format!("{}#{}", name(&self.address), twins + 1))
            ));
        }
        if self.weight != 1 {
            lines.push(format!("weight = {}", scaled.max(1)));
        }
        if self.backup {
            lines.push("backup = true".into());
        }
        lines.extend(
            self.max_connections
                .iter()
                .map(|max| format!("max_connections = {max}")),
        );
        lines.extend(
            self.state
                .iter()
                .map(|state| format!("state = \"{state}\"")),
        );
        Item {
            text: format!("[[upstream.backend]]\n{}\n", lines.join("\n")),
            from: self.from,
        }
    }
}

/// `server HOST service=http` asks for `_http._tcp.HOST`; a service with dots is taken as it is.
fn srv(host: &str, service: &str) -> String {
    if service.contains('.') {
        format!("srv:{service}.{host}")
    } else {
        format!("srv:_{service}._tcp.{host}")
    }
}
