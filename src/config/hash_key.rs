//! What `balance = "hash"` hashes: a list of places to look for a value, for the file, the flags and the effective
//! configuration alike.

use super::model::Mode;
use super::value::{Parsed, quoted};
use std::fmt;

/// The longest name of a cookie, an argument or a field.
const NAME_BYTES_MAX: usize = 128;

/// One place to look for the value that is hashed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HashKey {
    /// The client's address, as much of it as `hash_prefix` says. Always there.
    ClientIp,
    /// The first cookie of this name.
    Cookie(String),
    /// The first `NAME=value` of the query.
    Query(String),
    /// The first field of this name, which is in lower case.
    Header(String),
    /// The path, without the query.
    Path,
    /// The host that is asked for, without its port.
    Host,
    /// The server name of a ClientHello.
    Sni,
}

impl HashKey {
    /// The only mode of a listener in which it can be there; `None` when it always is.
    pub(super) fn mode(&self) -> Option<Mode> {
        match self {
            Self::ClientIp => None,
            Self::Cookie(_) | Self::Query(_) | Self::Header(_) | Self::Path | Self::Host => {
                Some(Mode::Http)
            }
            Self::Sni => Some(Mode::Tls),
        }
    }
}

impl fmt::Display for HashKey {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Path => f.write_str("path"),
            Self::Host => f.write_str("host"),
            Self::Sni => f.write_str("sni"),
        }
    }
}

/// `client_ip`, `cookie:NAME` and their like.
pub(super) fn parse(text: &str) -> Parsed<HashKey> {
    let parsed = match text.split_once(':') {
        None => word(text),
        Some((kind, name)) if (1..=NAME_BYTES_MAX).contains(&name.len()) => named(kind, name),
        Some(_) => None,
    };
    parsed.ok_or_else(|| {
        format!(
            "{} is not a hash key; write \"client_ip\", \"cookie:NAME\", \"query:NAME\", \"header:NAME\", \
             \"path\", \"host\" or \"sni\"",
            quoted(text)
        )
    })
}

fn word(text: &str) -> Option<HashKey> {
    match text {
        "client_ip" => Some(HashKey::ClientIp),
        "path" => Some(HashKey::Path),
        "host" => Some(HashKey::Host),
        "sni" => Some(HashKey::Sni),
        _ => None,
    }
}

fn named(kind: &str, name: &str) -> Option<HashKey> {
    match kind {
        "cookie" if name.bytes().all(is_of_cookie) => Some(HashKey::Cookie(name.to_owned())),
        "header" if name.bytes().all(is_token) => Some(HashKey::Header(name.to_ascii_lowercase())),
        "query" if name.bytes().all(is_of_argument) => Some(HashKey::Query(name.to_owned())),
        _ => None,
    }
}

/// A character of a token (RFC 9110, section 5.6.2), which names of fields and protocols are.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What can stand before the `=` of a cookie. Tokens by RFC 6265, but some servers name theirs `user[id]`.
fn is_of_cookie(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'=' | b';')
}

/// What can stand before the `=` of an argument, as it is sent.
fn is_of_argument(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_written_as_it_is_read() {
        for text in [
            "client_ip",
            "cookie:session_id",
            "cookie:user[id]",
            "query:userId",
            "query:a%5B%5D",
            "query:a:b",
            "header:x-user",
            "path",
            "host",
            "sni",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("header:X-User"), parse("header:x-user"));
        assert_ne!(parse("cookie:A"), parse("cookie:a"));
    }

    #[test]
    fn what_is_no_key_is_answered_with_the_keys() {
        for text in [
            "",
            "cookie",
            "cookie:",
            "cookie:a b",
            "cookie:a=b",
            "header:a:b",
            "query:a&b",
            "query:é",
            "client_ip:x",
            "path:/",
            "url",
            &format!("cookie:{}", "a".repeat(129)),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains("\"cookie:NAME\""), "{text}: {message}");
        }
    }
}
