//! Addresses to listen on and to connect to, and what to say about text that is none.

use super::host_name;
use super::value::{Parsed, quoted, text};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use toml::de::DeValue;

/// What the name of SRV records begins with.
const SRV: &str = "srv:";

/// RFC 1035, section 4.2.
const DNS_PORT: u16 = 53;

/// Where a backend is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// `10.0.0.1:8080`, `[fd00::1]:8080`. Not port 0.
    Socket(SocketAddr),
    /// `db.example.com:8080`: each address of a host, at this port.
    Name {
        /// A host name in lower case, without a dot at the end.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// `srv:_feed._tcp.example.com`: what the SRV records of this name say (RFC 2782). In lower case, without a dot at the end.
    Srv(String),
}

impl Address {
    /// The address, if it needs no resolver.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(socket) => Some(*socket),
            Self::Name { .. } | Self::Srv(_) => None,
        }
    }
}

impl fmt::Display for Address {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => write!(f, "{socket}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Srv(name) => write!(f, "{SRV}{name}"),
        }
    }
}

/// Where to listen; port 0 is for the system to choose.
pub(super) fn listen_address(value: &DeValue) -> Parsed<SocketAddr> {
    parse_address(text(value)?)
}

/// Where to connect to.
pub(super) fn backend_address(value: &DeValue) -> Parsed<Address> {
    parse_backend_address(text(value)?)
}

/// Where to ask for names: an address, at DNS's own port unless it says another.
pub(super) fn resolver(value: &DeValue) -> Parsed<SocketAddr> {
    let text = text(value)?;
    let at_its_port = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT));
    let found = text.parse().or(at_its_port).ok();
    found
        .filter(|at: &SocketAddr| !at.ip().is_unspecified() && at.port() != 0)
        .ok_or_else(|| {
            format!(
                "{} is no address of a DNS server; write one such as \"127.0.0.1\" or \"127.0.0.1:8600\"",
                quoted(text)
            )
        })
}

/// An address as it stands, `host:PORT`, or `srv:NAME`.
pub(super) fn parse_backend_address(text: &str) -> Parsed<Address> {
    let address = match (text.strip_prefix(SRV), text.parse()) {
        (Some(name), _) => return service(text, name),
        (None, Ok(socket)) => Address::Socket(socket),
        (None, Err(_)) if is_host_and_port(text) => named(text)?,
        (None, Err(_)) => return Err(no_address(text)),
    };
    let port = match &address {
        Address::Socket(socket) => socket.port(),
        Address::Name { port, .. } => *port,
        Address::Srv(_) => return Ok(address),
    };
    if port == 0 {
        return Err(format!(
            "{} has port 0, which nobody can connect to; write the backend's port",
            quoted(text)
        ));
    }
    Ok(address)
}

fn named(text: &str) -> Parsed<Address> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let host = host_name::parse(host)?;
    let port = port.parse().map_err(|_| no_address(text))?;
    Ok(Address::Name { host, port })
}

/// RFC 2782 has the labels of a service and a protocol with an underscore before them; Consul serves names without.
fn service(text: &str, name: &str) -> Parsed<Address> {
    if name.contains(':') {
        return Err(format!(
            "{} has a port, which its SRV records have; remove it",
            quoted(text)
        ));
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_label = |label: &str| {
        let is_short = label.len() <= host_name::LABEL_BYTES_MAX;
        is_short && host_name::is_label(label.strip_prefix('_').unwrap_or(label))
    };
    if name.len() <= host_name::NAME_BYTES_MAX && name.split('.').all(is_label) {
        return Ok(Address::Srv(name));
    }
    Err(format!(
        "{} does not name SRV records; write such as \"srv:_feed._tcp.example.com\"",
        quoted(text)
    ))
}

pub(super) fn parse_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| no_address(text))
}

fn no_address(text: &str) -> String {
    if let Ok(ip) = text.parse::<IpAddr>() {
        let example = SocketAddr::new(ip, 9000);
        return format!(
            "{} has no port; write one, such as \"{example}\"",
            quoted(text)
        );
    }
    if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        return format!(
            "{} has no address; write \"0.0.0.0:{port}\" or \"[::]:{port}\"",
            quoted(text)
        );
    }
    if is_host_and_port(text) {
        return format!(
            "{} names a host; write an address of this machine, such as \"0.0.0.0:9000\"",
            quoted(text)
        );
    }
    format!(
        "{} is not an address; write IP:PORT, such as \"10.0.0.1:8080\", or [IPv6]:PORT",
        quoted(text)
    )
}

/// Whether it is meant as a host's name and a port, right or wrong: the last label is not a number.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let last = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    port.parse::<u16>().is_ok()
        && !host.contains([':', '[', ' ', '/', '*'])
        && last.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_apart() {
        for (text, hint) in [
            ("10.0.0.1", "has no port"),
            ("::1", "\"[::1]:9000\""),
            (":9000", "\"0.0.0.0:9000\""),
            ("*:80", "\"0.0.0.0:80\""),
            ("db.example.com:5432", "names a host"),
            ("localhost:80", "names a host"),
            ("10.0.0.256:80", "is not an address"),
            ("10.0.0.1:65536", "is not an address"),
            ("", "is not an address"),
        ] {
            let message = parse_address(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }

    #[test]
    fn a_backend_is_an_address_a_host_or_a_service() {
        let host = |host: &str, port| Address::Name {
            host: host.to_owned(),
            port,
        };
        for (text, address, written) in [
            (
                "[fd00::1]:80",
                Address::Socket("[fd00::1]:80".parse().unwrap()),
                "[fd00::1]:80",
            ),
            ("localhost:1", host("localhost", 1), "localhost:1"),
            (
                "DB.Example.com.:65535",
                host("db.example.com", 65535),
                "db.example.com:65535",
            ),
            (
                "srv:_Feed._tcp.example.com.",
                Address::Srv("_feed._tcp.example.com".to_owned()),
                "srv:_feed._tcp.example.com",
            ),
            (
                "srv:feed.service.consul",
                Address::Srv("feed.service.consul".to_owned()),
                "srv:feed.service.consul",
            ),
        ] {
            assert_eq!(parse_backend_address(text).as_ref(), Ok(&address), "{text}");
            assert_eq!(address.to_string(), written);
            assert_eq!(parse_backend_address(written), Ok(address), "{written}");
        }
    }

    #[test]
    fn what_names_no_backend_is_told_apart() {
        for (text, hint) in [
            ("10.0.0.1:0", "port 0"),
            ("db.example.com:0", "port 0"),
            ("db.example.com", "is not an address"),
            ("db.example.com:http", "is not an address"),
            ("-db.example.com:80", "is not a host name"),
            ("my_db:80", "is not a host name"),
            ("db..com:80", "is not a host name"),
            ("bücher.de:80", "xn--"),
            ("http://db:80", "is not an address"),
            ("srv:", "does not name SRV records"),
            ("srv:__feed._tcp", "does not name SRV records"),
            ("srv:_feed.-tcp", "does not name SRV records"),
            ("srv:_feed._tcp.example.com:80", "has a port"),
        ] {
            let message = parse_backend_address(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
        let label = "a".repeat(63);
        assert!(parse_backend_address(&format!("{label}:80")).is_ok());
        assert!(parse_backend_address(&format!("a{label}:80")).is_err());
        assert!(
            parse_backend_address(&format!("srv:_{label}")).is_err(),
            "64 bytes"
        );
        assert!(parse_backend_address(&format!("srv:{}", [&*label; 4].join("."))).is_err());
    }
}
