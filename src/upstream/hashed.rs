//! What is hashed to choose a backend: the first of an upstream's hash keys that a connection has.

use super::Facts;
use crate::balance::ip_hash::{HashPrefix, client_key, name_key, value_key};
use crate::config::HashKey;
use std::net::IpAddr;

/// A value with what it takes to hash it. Where it was found does not count: a cookie and an argument with one value
/// have one hash, so that a client may send it either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hashed<'a> {
    /// The client's address, of which a prefix counts.
    Client(IpAddr),
    /// A host or server name, whose case does not count.
    Name(&'a str),
    /// Anything else, as it was sent.
    Bytes(&'a [u8]),
}

impl<'a> Hashed<'a> {
    /// The first of `keys` that is there and not empty. Lists of a checked configuration end with the client's
    /// address; so does every other.
    pub fn first(keys: &[HashKey], facts: &Facts<'a>) -> Self {
        let found = keys.iter().find_map(|key| Self::find(key, facts));
        found.unwrap_or(Self::Client(facts.client))
    }

    /// What a person says that a connection has: an address for `client_ip`, a name without port and final dot for
    /// `host` and `sni`, else any text. `None` for a text that is no address, and for the empty one, which falls to the
    /// next key.
    pub fn parse(key: &HashKey, text: &'a str) -> Option<Self> {
        let hashed = match key {
            HashKey::ClientIp => Self::Client(text.parse().ok()?),
            HashKey::Host | HashKey::Sni => Self::Name(text),
            HashKey::Cookie(_) | HashKey::Query(_) | HashKey::Header(_) | HashKey::Path => {
                Self::Bytes(text.as_bytes())
            }
        };
        hashed.unless_empty()
    }

    /// What a table is asked for; `prefix` is how much of a client's address counts.
    pub fn hash(self, prefix: HashPrefix) -> u64 {
        match self {
            Self::Client(ip) => client_key(ip, prefix),
            Self::Name(name) => name_key(name),
            Self::Bytes(bytes) => value_key(bytes),
        }
    }

    fn find(key: &HashKey, facts: &Facts<'a>) -> Option<Self> {
        let found = match key {
            HashKey::ClientIp => Self::Client(facts.client),
            HashKey::Cookie(name) => Self::Bytes(facts.head?.cookie(name)?),
            HashKey::Query(name) => Self::Bytes(facts.head?.query_argument(name)?.as_bytes()),
            HashKey::Header(name) => Self::Bytes(facts.head?.header(name)?),
            HashKey::Path => Self::Bytes(facts.head?.path.as_bytes()),
            HashKey::Host => Self::Name(facts.host()?),
            HashKey::Sni => Self::Name(facts.sni?),
        };
        found.unless_empty()
    }

    fn unless_empty(self) -> Option<Self> {
        match self {
            Self::Name("") | Self::Bytes([]) => None,
            Self::Client(_) | Self::Name(_) | Self::Bytes(_) => Some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http_head::{self, Progress};

    const CLIENT: [u8; 4] = [192, 0, 2, 1];

    /// What is hashed of a request.
    fn of_request(keys: &[HashKey], request: &str) -> String {
        let Progress::Complete(head) = http_head::parse(request.as_bytes(), request.len()) else {
            panic!("{request:?}");
        };
        let facts = Facts {
            head: Some(&head),
            ..Facts::of_client(CLIENT.into())
        };
        text(Hashed::first(keys, &facts))
    }

    fn text(hashed: Hashed<'_>) -> String {
        match hashed {
            Hashed::Client(ip) => format!("client {ip}"),
            Hashed::Name(name) => format!("name {name}"),
            Hashed::Bytes(bytes) => format!("bytes {}", bytes.escape_ascii()),
        }
    }

    fn cookie() -> HashKey {
        HashKey::Cookie("sid".to_owned())
    }

    fn query() -> HashKey {
        HashKey::Query("userId".to_owned())
    }

    #[test]
    fn each_key_is_found_in_its_place_as_it_was_sent() {
        let request = "GET /a%2Fb?userId=%41&x=1 HTTP/1.1\r\nHost: A.example:80\r\nX-User:  Bob \r\n\
                       Cookie: x=1; sid=\"q\"\r\n\r\n";
        let header = HashKey::Header("x-user".to_owned());
        for (key, expected) in [
            (cookie(), "bytes \\\"q\\\""),
            (query(), "bytes %41"),
            (header, "bytes Bob"),
            (HashKey::Path, "bytes /a%2Fb"),
            (HashKey::Host, "name A.example"),
            (HashKey::Sni, "client 192.0.2.1"),
            (HashKey::ClientIp, "client 192.0.2.1"),
        ] {
            assert_eq!(
                of_request(std::slice::from_ref(&key), request),
                expected,
                "{key}"
            );
        }
        let facts = Facts {
            sni: Some("a.example"),
            ..Facts::of_client(CLIENT.into())
        };
        assert_eq!(
            text(Hashed::first(&[HashKey::Sni], &facts)),
            "name a.example"
        );
    }

    #[test]
    fn the_first_key_that_is_there_wins_and_an_empty_one_falls_to_the_next() {
        let keys = [cookie(), query(), HashKey::ClientIp];
        let request = |query, fields| format!("GET /{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        for (asked, fields, expected) in [
            ("?userId=u", "Cookie: sid=c\r\n", "bytes c"),
            ("?userId=u", "Cookie: sid=\r\n", "bytes u"),
            ("?userId=u", "Cookie: SID=c\r\n", "bytes u"),
            ("?userId=u", "", "bytes u"),
            ("?userId=", "Cookie: sid=\r\n", "client 192.0.2.1"),
            ("?userid=u", "", "client 192.0.2.1"),
            ("", "", "client 192.0.2.1"),
        ] {
            assert_eq!(
                of_request(&keys, &request(asked, fields)),
                expected,
                "{asked} {fields}"
            );
        }
        let nothing_read = Facts::of_client(CLIENT.into());
        assert_eq!(
            text(Hashed::first(&keys, &nothing_read)),
            "client 192.0.2.1"
        );
    }

    #[test]
    fn one_value_has_one_hash_wherever_it_was_found() {
        let hash = |key: &HashKey, text| {
            let prefix = HashPrefix { v4: 24, v6: 64 };
            Hashed::parse(key, text).map(|hashed| hashed.hash(prefix))
        };
        assert_eq!(hash(&cookie(), "abc"), hash(&query(), "abc"));
        assert_eq!(hash(&cookie(), "abc"), hash(&HashKey::Host, "ABC"));
        assert_ne!(hash(&cookie(), "abc"), hash(&cookie(), "ABC"));
        assert_eq!(
            hash(&HashKey::ClientIp, "192.0.2.1"),
            hash(&HashKey::ClientIp, "192.0.2.9")
        );
        assert_ne!(
            hash(&cookie(), "192.0.2.1"),
            hash(&HashKey::ClientIp, "192.0.2.1")
        );
        assert_eq!(
            (hash(&cookie(), ""), hash(&HashKey::ClientIp, "abc")),
            (None, None)
        );
    }
}
