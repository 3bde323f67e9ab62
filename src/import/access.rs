//! `allow` and `deny`. nginx asks them in order and takes the first that matches; ringway lets in who is in `allow`, or anyone
//! if that is empty, and is not in `deny`. Where the order matters, networks are cut up so that the same clients come in.

use super::draft::Item;
use super::remarks::{Kind, Remark};
use super::syntax::Directive;
use super::values::list;
use ipnet::IpNet;
use std::net::IpAddr;

/// More pieces than anybody wants to read.
const PIECES_MAX: usize = 256;

/// A rule in the order of the file.
struct Rule<'a> {
    allows: bool,
    networks: Vec<IpNet>,
    from: &'a Directive,
}

/// The keys `allow` and `deny` of a listener.
pub(super) fn keys<'a>(directives: &[&'a Directive], remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let mut rules: Vec<Rule<'a>> = Vec::new();
    for directive in directives {
        match networks(directive.word()) {
            Some(networks) => rules.push(Rule {
                allows: directive.name == "allow",
                networks,
                from: directive,
            }),
            None => remarks.push(Remark::new(
                directive,
                Kind::Lost,
                "names no network of IP addresses",
            )),
        }
    }
    let Some(last) = rules.last() else {
        return Vec::new();
    };
    let from = last.from;
    let ends_closed = !last.allows && last.networks.len() == everyone().len();
    let (allow, deny) = if ends_closed {
        rules.pop();
        closed(&rules)
    } else {
        (Vec::new(), minus_earlier(&rules, false))
    };
    if allow.len() + deny.len() > PIECES_MAX {
        let text = "the order of these rules takes too many networks to say; write `allow` and `deny` by hand";
        remarks.push(Remark::new(from, Kind::Lost, text));
        return closed_to_all(from);
    }
    let keys = [("allow", allow), ("deny", deny)].into_iter();
    keys.filter(|(_, networks)| !networks.is_empty())
        .map(|(key, networks)| Item::key(key, list(networks), from))
        .collect()
}

/// Nobody comes in rather than everybody.
fn closed_to_all(from: &Directive) -> Vec<Item<'_>> {
    vec![Item::key("deny", list(everyone()), from)]
}

/// `allow` and `deny` for rules that end with `deny all`.
fn closed(rules: &[Rule<'_>]) -> (Vec<IpNet>, Vec<IpNet>) {
    let of = |allows: bool| {
        let such = rules.iter().filter(move |rule| rule.allows == allows);
        such.flat_map(|rule| rule.networks.clone())
            .collect::<Vec<_>>()
    };
    let (allowed, denied) = (of(true), of(false));
    if allowed.is_empty() {
        return (Vec::new(), everyone());
    }
    if denies_come_first(rules) {
        return (allowed, denied);
    }
    let allowed = minus_earlier(rules, true);
    let denied = if allowed.is_empty() {
        everyone()
    } else {
        Vec::new()
    };
    (allowed, denied)
}

/// Whether no network is denied that meets one allowed before it.
fn denies_come_first(rules: &[Rule<'_>]) -> bool {
    let meet = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| !rule.allows)
        .all(|(at, denied)| {
            let earlier = rules[..at].iter().filter(|rule| rule.allows);
            let mut allowed = earlier.flat_map(|rule| &rule.networks);
            !allowed.any(|a| denied.networks.iter().any(|b| meet(a, b)))
        })
}

/// What the rules of one kind say, without what rules of the other kind said before them.
fn minus_earlier(rules: &[Rule<'_>], allows: bool) -> Vec<IpNet> {
    let mut pieces = Vec::new();
    for (at, rule) in rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.allows == allows)
    {
        let mut left = rule.networks.clone();
        for earlier in rules[..at].iter().filter(|rule| rule.allows != allows) {
            for hole in &earlier.networks {
                left = left.into_iter().flat_map(|it| without(it, hole)).collect();
            }
        }
        pieces.extend(left);
    }
    pieces
}

/// A network with a hole in it, in pieces.
fn without(network: IpNet, hole: &IpNet) -> Vec<IpNet> {
    if hole.contains(&network) {
        return Vec::new();
    }
    if !network.contains(hole) {
        return vec![network];
    }
    // It is wider than the hole, so it has two halves.
    let halves = network
        .subnets(network.prefix_len() + 1)
        .into_iter()
        .flatten();
    halves.flat_map(|half| without(half, hole)).collect()
}

/// `all`, an address or a network; its bits beyond the prefix are forgotten, as nginx does with a warning.
pub(super) fn networks(text: &str) -> Option<Vec<IpNet>> {
    if text == "all" {
        return Some(everyone());
    }
    let address = text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = address.or_else(|| text.parse::<IpNet>().ok())?;
    Some(vec![network.trunc()])
}

fn everyone() -> Vec<IpNet> {
    ["0.0.0.0/0", "::/0"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::syntax::parse;
    use super::*;

    fn shown(text: &str) -> String {
        let directives = parse(text, "f").unwrap();
        let items = keys(&directives.iter().collect::<Vec<_>>(), &mut Vec::new());
        items
            .iter()
            .map(|item| item.text.clone())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn lists_that_need_no_order_stay_as_they_are() {
        let rows = [
            ("allow 10.0.0.0/8; deny all;", "allow = [\"10.0.0.0/8\"]"),
            ("deny 10.0.0.1;", "deny = [\"10.0.0.1/32\"]"),
            ("deny 10.0.0.1; allow all;", "deny = [\"10.0.0.1/32\"]"),
            (
                "deny 10.0.0.1; allow 10.0.0.0/8; deny all;",
                "allow = [\"10.0.0.0/8\"] deny = [\"10.0.0.1/32\"]",
            ),
            ("deny all;", "deny = [\"0.0.0.0/0\", \"::/0\"]"),
            ("allow all;", ""),
            ("", ""),
        ];
        for (text, want) in rows {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    /// Every rule of three, over four addresses: the same clients come in as in nginx.
    #[test]
    fn whatever_the_order_the_same_clients_come_in() {
        let networks = ["10.0.0.1", "10.0.0.0/31", "10.0.0.0/30", "all"];
        let rules: Vec<_> = ["allow", "deny"]
            .iter()
            .flat_map(|verb| networks.map(|network| format!("{verb} {network};")))
            .collect();
        for (a, b, c) in triples(&rules) {
            let text = format!("{a} {b} {c}");
            let directives = parse(&text, "f").unwrap();
            let items = keys(&directives.iter().collect::<Vec<_>>(), &mut Vec::new());
            let lines: Vec<_> = items.iter().map(|item| item.text.clone()).collect();
            let listener = format!(
                "[[listener]]\nname = \"t\"\nlisten = \"127.0.0.1:1\"\nupstream = \"t\"\n{}\n",
                lines.join("\n")
            );
            let whole = super::super::draft::around_listener(&listener, ["t"].into_iter());
            let config = crate::config::Config::parse(&whole, "").unwrap();
            for last in 0..5 {
                let client = IpAddr::from([10, 0, 0, last]);
                let admitted = config.listeners[0].admits(client);
                assert_eq!(
                    admitted,
                    first_match(&directives, client),
                    "{text} {client} {lines:?}"
                );
            }
        }
    }

    fn triples(rules: &[String]) -> impl Iterator<Item = (&String, &String, &String)> {
        let pairs = move |a| rules.iter().map(move |b| (a, b));
        rules
            .iter()
            .flat_map(pairs)
            .flat_map(|(a, b)| rules.iter().map(move |c| (a, b, c)))
    }

    fn first_match(rules: &[Directive], client: IpAddr) -> bool {
        let holds = |rule: &&Directive| {
            let networks = networks(rule.word()).unwrap();
            networks.iter().any(|network| network.contains(&client))
        };
        rules
            .iter()
            .find(holds)
            .is_none_or(|rule| rule.name == "allow")
    }
}
