//! Which bytes are a host name. RFC 6066, section 3, wants a DNS name in ASCII, no IP address, no trailing dot; real
//! clients send the last two, and mean no harm.

use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HostName<'a> {
    /// Labels of letters, digits, hyphens and underscores. No dot at the end.
    Dns(&'a str),
    /// An IP address: names nobody.
    Address,
}

/// RFC 1035, section 2.3.4, without the root's dot.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

impl<'a> HostName<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() {
            return Some(Self::Address);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        is_dns_name(name).then_some(Self::Dns(name))
    }
}

/// Underscores are in no host name of RFC 952, but in names that DNS, browsers and servers carry every day. A last label
/// of digits alone is none: resolvers take such names for IPv4 addresses.
fn is_dns_name(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_MAX
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_MAX).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_are_kept_as_they_were_sent() {
        let longest = format!(
            "{}.{}.com",
            vec!["a".repeat(63); 3].join("."),
            "b".repeat(57)
        );
        assert_eq!(longest.len(), 253);
        for name in [
            "feed.example.com",
            "Feed.EXAMPLE.com",
            "localhost",
            "a",
            "_acme.example_x.com",
            "xn--mnchen-3ya.de",
            "-odd-.example",
            "1.2.3.example",
            "4chan.org",
            "1.2.3.4a",
            &longest,
        ] {
            assert_eq!(HostName::read(name.as_bytes()), Some(HostName::Dns(name)));
        }
    }

    #[test]
    fn a_trailing_dot_is_left_off() {
        let name = HostName::read(b"feed.example.com.");
        assert_eq!(name, Some(HostName::Dns("feed.example.com")));
    }

    #[test]
    fn addresses_name_nobody() {
        for text in ["192.0.2.1", "2001:db8::1", "::", "::ffff:192.0.2.1"] {
            assert_eq!(HostName::read(text.as_bytes()), Some(HostName::Address));
        }
    }

    #[test]
    fn anything_else_is_no_name() {
        let too_long = format!(
            "{}.{}.com",
            vec!["a".repeat(63); 3].join("."),
            "b".repeat(58)
        );
        let long_label = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            ".",
            "..",
            ".example.com",
            "feed..example.com",
            "feed.example.com..",
            "feed example.com",
            "feed.example.com\0",
            "feed.example.com\0.evil.example",
            "*.example.com",
            "feed.example.com:443",
            "[2001:db8::1]",
            "https://example.com",
            "münchen.de",
            "1.2.3",
            "127.1",
            "1.2.3.4.",
            "1.2.3.4.5",
            "256.1.1.1",
            &too_long,
            &long_label,
        ] {
            assert_eq!(HostName::read(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(HostName::read(b"feed\xff.example.com"), None);
    }
}
