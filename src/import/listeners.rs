//! From servers to `[[listener]]` tables. Servers that share their addresses and differ in their host names (`server_name` with
//! `websocket_pass`) are one listener with routes.

use super::draft::{Item, around_listener, refusal, settle};
use super::remarks::{Kind, Remark};
use super::servers::Site;
use super::values::{list, name, string};
use std::collections::BTreeSet;

/// `[[listener]]` tables, and the upstreams that they lead to.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) toml: String,
    pub(super) upstreams: BTreeSet<String>,
}

/// The tables of these servers; `upstreams` are the names that they may lead to.
pub(super) fn tables(
    sites: Vec<Site<'_>>,
    upstreams: &[&str],
    remarks: &mut Vec<Remark>,
) -> Tables {
    let mut names = Vec::new();
    let mut tables = Tables::default();
    for group in groups(sites, remarks) {
        let name = free_name(&group, &names);
        let Some(table) = table(&group, &name, upstreams, remarks) else {
            continue;
        };
        tables.toml.push_str(&format!("\n{table}"));
        let leads_to = group.iter().flat_map(|site| &site.ways);
        tables
            .upstreams
            .extend(leads_to.map(|(_, upstream, _)| upstream.clone()));
        names.push(name);
    }
    tables
}

/// Servers by the addresses that they share. One that shares them with another for no reason that a route can express is lost.
fn groups<'a>(sites: Vec<Site<'a>>, remarks: &mut Vec<Remark>) -> Vec<Vec<Site<'a>>> {
    let mut groups: Vec<Vec<Site<'a>>> = Vec::new();
    for site in sites {
        let is_kin = |group: &&mut Vec<Site<'_>>| {
            let first = &group[0];
            let by_host = first.mode == "http" && site.mode == "http";
            by_host && first.addresses == site.addresses
        };
        let meets = |group: &Vec<Site<'_>>| {
            group[0]
                .addresses
                .iter()
                .any(|it| site.addresses.contains(it))
        };
        if let Some(group) = groups.iter_mut().find(is_kin) {
            group.push(site);
        } else if groups.iter().any(meets) {
            let text = "another server listens on the same address, and no route can tell their clients apart";
            remarks.push(Remark::new(site.from, Kind::Lost, text));
        } else {
            groups.push(vec![site]);
        }
    }
    groups
}

fn free_name(group: &[Site<'_>], taken: &[String]) -> String {
    let host = group[0].hosts.first().filter(|_| group.len() == 1);
    let upstream = group[0].ways.last().map(|(_, upstream, _)| upstream);
    let plain = name(host.or(upstream).map_or("listener", String::as_str));
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut names = [plain.clone()].into_iter().chain(numbered);
    names
        .find(|name| !taken.contains(name))
        .expect("numbers do not end")
}

/// The lines of a listener that ringway takes, unless TLS is asked for and not to be had or nothing leads anywhere.
fn table(
    group: &[Site<'_>],
    name: &str,
    upstreams: &[&str],
    remarks: &mut Vec<Remark>,
) -> Option<String> {
    let main = group.iter().position(|site| site.is_default).unwrap_or(0);
    let site = &group[main];
    let open = site
        .ways
        .iter()
        .find(|(conditions, ..)| conditions.is_empty());
    let mut head = format!(
        "[[listener]]\nname = {}\nlisten = {}\n",
        string(name),
        list(&site.addresses)
    );
    if let Some((_, upstream, _)) = open {
        head.push_str(&format!("upstream = {}\n", string(upstream)));
    }
    if site.mode != "tcp" {
        head.push_str(&format!("mode = \"{}\"\n", site.mode));
    }
    let around = |listener: String| around_listener(&listener, upstreams.iter().copied());
    let routes = settle(&routes(group, main, remarks), remarks, |routes| {
        around(format!("{head}{routes}"))
    });
    let tls = tls(site);
    if let Some(reason) = refusal(&around(format!("{head}{tls}{routes}"))) {
        remarks.push(Remark::new(
            site.from,
            Kind::Lost,
            format!("{reason}; so the listener is left out"),
        ));
        return None;
    }
    let keys = settle(&site.keys, remarks, |keys| {
        around(format!("{head}{keys}{tls}{routes}"))
    });
    for (_, other) in group
        .iter()
        .enumerate()
        .filter(|(at, other)| *at != main && !other.keys.is_empty())
    {
        let text = "servers of one listener share the keys of its default server";
        remarks.push(Remark::new(other.from, Kind::Note, text));
    }
    Some(format!("# {}\n{head}{keys}{tls}{routes}", site.from.at))
}

fn tls(site: &Site<'_>) -> String {
    let Some(items) = &site.tls else {
        return String::new();
    };
    let lines: String = items
        .iter()
        .map(|item| format!("{}\n", item.text))
        .collect();
    format!("\n[listener.tls]\n{lines}")
}

/// The routes of all servers of a listener: those of named hosts first, each with its narrower ones before the wider.
fn routes<'a>(group: &[Site<'a>], main: usize, remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let mut routes = Vec::new();
    for (at, site) in group.iter().enumerate() {
        if at == main {
            continue;
        }
        if site.hosts.is_empty() {
            let text =
                "another server of this address is the default one, and this one has no name";
            remarks.push(Remark::new(site.from, Kind::Lost, text));
        }
        let hosts = site.hosts.iter();
        routes.extend(hosts.flat_map(|host| of_host(site, host)));
    }
    let site = &group[main];
    let narrow = site
        .ways
        .iter()
        .filter(|(conditions, ..)| !conditions.is_empty());
    routes.extend(narrow.map(|(conditions, upstream, from)| route(conditions, upstream, from)));
    routes
}

fn of_host<'a>(site: &Site<'a>, host: &str) -> Vec<Item<'a>> {
    let mut ways: Vec<_> = site.ways.iter().collect();
    ways.sort_by_key(|(conditions, ..)| conditions.is_empty());
    let with_host = |conditions: &[String]| {
        let host = format!("host = {}", string(host));
        [host]
            .into_iter()
            .chain(conditions.iter().cloned())
            .collect::<Vec<_>>()
    };
    let each = ways.into_iter();
    each.map(|(conditions, upstream, from)| route(&with_host(conditions), upstream, from))
        .collect()
}

fn route<'a>(
    conditions: &[String],
    upstream: &str,
    from: &'a super::syntax::Directive,
) -> Item<'a> {
    let conditions: String = conditions.iter().map(|it| format!("{it}\n")).collect();
    let text = format!(
        "\n[[listener.route]]\n{conditions}upstream = {}",
        string(upstream)
    );
    Item { text, from }
}
