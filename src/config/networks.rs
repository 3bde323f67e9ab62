//! Networks of client addresses: who is let in, who is believed, whom a route is for.

use super::value::{Parsed, quoted, text};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;
use toml::de::DeValue;

/// A list of networks, of any order. Looked through one by one: made for tens of them, not for a blocklist.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether none is listed. What that means is the key's to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    /// Whether one of them holds `ip`. An IPv4 client is the same one whether it came through an IPv4 or an IPv6 socket.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Whether every address of `other` is in here, be it in several networks together.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let whole = IpNet::aggregate(&self.0);
        let is_inside = |network: &IpNet| whole.iter().any(|wider| wider.contains(network));
        other.0.iter().all(is_inside)
    }

    /// Whether no address is in both.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        let meet = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        !self.0.iter().any(|a| other.0.iter().any(|b| meet(a, b)))
    }

    /// Every address there is.
    pub(super) fn everything() -> Self {
        Self(vec![
            Ipv4Net::default().into(), // 0.0.0.0/0
            Ipv6Net::default().into(), // ::/0
        ])
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// `"10.0.0.0/8"`, or one address.
pub(super) fn network(value: &DeValue) -> Parsed<IpNet> {
    let text = text(value)?;
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            format!(
                "{} is not a network; write one such as \"10.0.0.0/8\" or \"fd00::/8\", or an address",
                quoted(text)
            )
        })?;
    if network != network.trunc() {
        return Err(format!(
            "{} is an address inside a network; write the network, \"{}\", or the address alone",
            quoted(text),
            network.trunc()
        ));
    }
    Ok(canonical(network))
}

/// Clients of `::ffff:a.b.c.d` are those of `a.b.c.d` (RFC 4291, section 2.5.5.2), and so are their networks.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else {
        return network;
    };
    let bits = v6.prefix_len().checked_sub(MAPPED_BITS);
    match (v6.network().to_ipv4_mapped(), bits) {
        (Some(ip), Some(bits)) => Ipv4Net::new_assert(ip, bits).into(),
        (None, _) | (_, None) => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        let value = |text: &&str| network(&DeValue::String((*text).into()));
        list.iter().map(|text| value(text).unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv4_client_is_found_whichever_socket_it_came_through() {
        for list in [["10.0.0.0/8"], ["::ffff:10.0.0.0/104"]] {
            let networks = networks(&list);
            assert!(networks.contains(ip("10.255.0.1")));
            assert!(networks.contains(ip("::ffff:10.255.0.1")));
            assert!(!networks.contains(ip("11.0.0.1")));
            assert!(!networks.contains(ip("::10.0.0.1")));
        }
        assert!(!networks(&["::/0"]).contains(ip("::ffff:10.0.0.1")));
    }

    #[test]
    fn one_address_is_a_network() {
        let networks = networks(&["192.0.2.1", "2001:db8::1"]);
        assert!(networks.contains(ip("192.0.2.1")) && networks.contains(ip("2001:db8::1")));
        assert!(!networks.contains(ip("192.0.2.2")) && !networks.contains(ip("2001:db8::2")));
    }

    #[test]
    fn two_halves_cover_a_whole() {
        let halves = networks(&["10.0.0.0/9", "10.128.0.0/9"]);
        assert!(halves.covers(&networks(&["10.0.0.0/8"])));
        assert!(!halves.covers(&networks(&["10.0.0.0/7"])));
        assert!(!halves.covers(&Networks::everything()));
        assert!(networks(&["0.0.0.0/1", "128.0.0.0/1", "::/0"]).covers(&Networks::everything()));
    }

    #[test]
    fn networks_that_share_no_address_are_apart() {
        let ours = networks(&["10.0.0.0/8", "fd00::/8"]);
        assert!(ours.is_apart_from(&networks(&["192.0.2.0/24", "2001:db8::/32"])));
        assert!(!ours.is_apart_from(&networks(&["10.1.0.0/16"])));
        assert!(!ours.is_apart_from(&networks(&["::/0"])));
    }
}
