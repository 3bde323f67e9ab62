//! Host names that a route asks for: one name, or all names below one.

use super::host_name::{LABEL_BYTES_MAX, NAME_BYTES_MAX};
use super::value::{Parsed, quoted};
use std::fmt;

/// Which host names are meant. Names are ASCII in lower case, without a dot at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// `*.example.com`: every name that ends in `.example.com`, with one label before it or several, as in nginx and as
    /// HAProxy's `hdr_end(host)`. Not `example.com` itself.
    Below(String),
}

impl HostPattern {
    /// Whether `name` is meant, in whatever case. It has no port and no dot at the end.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact),
            Self::Below(parent) => is_below(name.as_bytes(), parent.as_bytes()),
        }
    }

    /// Whether every name that `other` means is meant here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(ours), Self::Exact(theirs)) => ours == theirs,
            (Self::Below(_), Self::Exact(theirs)) => self.matches(theirs),
            (Self::Below(ours), Self::Below(theirs)) => ours == theirs || self.matches(theirs),
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }

    /// Whether what it names is an IPv4 address: a client may dial it, but no resolver takes it for a name.
    pub(super) fn is_address(&self) -> bool {
        let (Self::Exact(name) | Self::Below(name)) = self;
        let last = name.rsplit('.').next().unwrap_or_default();
        last.bytes().all(|byte| byte.is_ascii_digit())
    }
}

impl fmt::Display for HostPattern {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

fn is_below(name: &[u8], parent: &[u8]) -> bool {
    // At least one byte of a label and its dot come before the parent.
    let Some(dot) = name.len().checked_sub(parent.len() + 1) else {
        return false;
    };
    dot > 0 && name[dot] == b'.' && name[dot + 1..].eq_ignore_ascii_case(parent)
}

/// `example.com` or `*.example.com`, in any case, perhaps with a dot at the end.
pub(super) fn parse(text: &str) -> Parsed<HostPattern> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    let (is_wild, name) = match name.strip_prefix("*.") {
        Some(parent) => (true, parent),
        None => (false, name),
    };
    if let Some(hint) = mistake(name) {
        return Err(format!("{} {hint}", quoted(text)));
    }
    let name = name.to_owned();
    Ok(if is_wild {
        HostPattern::Below(name)
    } else {
        HostPattern::Exact(name)
    })
}

/// What is wrong with a name in lower case, and how to mend it.
fn mistake(name: &str) -> Option<&'static str> {
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_of_label)
    };
    if !name.is_ascii() {
        return Some(
            "has letters beyond ASCII; write the name as it is sent, such as \"xn--mnchen-3ya.de\"",
        );
    }
    if name == "*" {
        return Some("is every name; remove the key, which asks for none");
    }
    if name.contains('*') {
        return Some("has a * that is not its first label; write a name or \"*.example.com\"");
    }
    if name.contains(':') {
        return Some("has a port or is an IPv6 address; write a name alone, ports do not count");
    }
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Some(
            "is not a host name; write one such as \"ws.example.com\" or \"*.example.com\"",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_matches_itself_in_any_case() {
        let pattern = parse("WS.Example.com.").unwrap();
        assert_eq!(pattern.to_string(), "ws.example.com");
        assert!(pattern.matches("ws.example.com") && pattern.matches("wS.EXAMPLE.COM"));
        assert!(!pattern.matches("a.ws.example.com") && !pattern.matches("ws.example.co"));
        assert!(!pattern.matches(""));
    }

    #[test]
    fn a_wildcard_matches_one_label_and_more_but_never_none() {
        let pattern = parse("*.example.com").unwrap();
        for name in ["a.example.com", "a.b.example.com", "A.EXAMPLE.COM"] {
            assert!(pattern.matches(name), "{name}");
        }
        for name in [
            "example.com",
            ".example.com",
            "aexample.com",
            "a.example.org",
            "com",
            "",
        ] {
            assert!(!pattern.matches(name), "{name}");
        }
    }

    #[test]
    fn a_pattern_covers_another_when_it_matches_all_of_its_names() {
        let covers = |a: &str, b: &str| parse(a).unwrap().covers(&parse(b).unwrap());
        assert!(covers("a.example", "A.example"));
        assert!(covers("*.example", "a.example"));
        assert!(covers("*.example", "*.example"));
        assert!(covers("*.example", "*.a.example"));
        assert!(!covers("*.a.example", "*.example"));
        assert!(!covers("*.example", "example"));
        assert!(!covers("a.example", "*.a.example"));
        assert!(!covers("a.example", "*.example"));
    }

    #[test]
    fn what_is_no_host_name_is_told_apart() {
        for (text, hint) in [
            ("münchen.de", "xn--"),
            ("*", "every name"),
            ("*.", "every name"),
            ("a.*.example.com", "not its first label"),
            ("*example.com", "not its first label"),
            ("*.*.example.com", "not its first label"),
            ("example.com:8080", "has a port"),
            ("[2001:db8::1]", "IPv6"),
            ("a..example.com", "is not a host name"),
            (".example.com", "is not a host name"),
            ("a b", "is not a host name"),
            (".", "is not a host name"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
        assert!(parse(&"a".repeat(64)).is_err());
        assert!(
            parse(&vec!["a".repeat(49); 6].join(".")).is_err(),
            "299 bytes"
        );
    }

    #[test]
    fn an_ipv4_address_is_told_from_a_name() {
        assert!(parse("192.0.2.1").unwrap().is_address());
        assert!(!parse("1.2.3.4a").unwrap().is_address());
    }
}
