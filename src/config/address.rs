//! Addresses to listen on and to connect to, and what to say about text that is none.

use super::value::{Parsed, quoted, text};
use std::net::{IpAddr, SocketAddr};
use toml::de::DeValue;

/// Where to listen; port 0 is for the system to choose.
pub(super) fn listen_address(value: &DeValue) -> Parsed<SocketAddr> {
    parse_address(text(value)?)
}

/// Where to connect to.
pub(super) fn backend_address(value: &DeValue) -> Parsed<SocketAddr> {
    parse_backend_address(text(value)?)
}

pub(super) fn parse_backend_address(text: &str) -> Parsed<SocketAddr> {
    let address = parse_address(text)?;
    if address.port() == 0 {
        return Err(format!(
            "{} has port 0, which nobody can connect to; write the backend's port",
            quoted(text)
        ));
    }
    Ok(address)
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
            "{} names a host, which is not supported yet; write IP:PORT or [IPv6]:PORT",
            quoted(text)
        );
    }
    format!(
        "{} is not an address; write IP:PORT, such as \"10.0.0.1:8080\", or [IPv6]:PORT",
        quoted(text)
    )
}

/// Host names as in RFC 1123, section 2.1: letters, digits, hyphens and dots, the last label not a number.
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
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        && last.chars().any(|c| c.is_ascii_alphabetic())
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
            ("db.example.com:5432", "not supported yet"),
            ("localhost:80", "not supported yet"),
            ("10.0.0.256:80", "is not an address"),
            ("10.0.0.1:65536", "is not an address"),
            ("", "is not an address"),
        ] {
            let message = parse_address(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
        assert!(
            parse_backend_address("10.0.0.1:0")
                .unwrap_err()
                .contains("port 0")
        );
    }
}
