//! The one change that a head can undergo: whom it is from, for backends that read it in fields (`forwarded =
//! "append"`). Every other byte stays, in its order.

use super::{Field, Head, Refusal, Scheme};
use std::fmt::{self, Display};
use std::io::Write;
use std::net::IpAddr;

/// The addresses that a request came through, the client's first; each proxy adds the one that it sees.
const CHAIN: &str = "X-Forwarded-For";
/// The address that the proxy sees.
const CLIENT: &str = "X-Real-IP";
/// The scheme that the client used.
const SCHEME: &str = "X-Forwarded-Proto";

/// More than the three lines take with the longest address twice.
const ADDED_MAX: usize = 192;

/// The head with `client` at the end of X-Forwarded-For, as X-Real-IP, and `scheme` as X-Forwarded-Proto.
///
/// The address goes to the last line of X-Forwarded-For, so that readers who take the last line, the last address or the
/// joined list all find it; without one a line is added. Of the other two the client's own copies are removed and ours
/// added. Removed as well are fields that differ from the three by underscores for hyphens: CGI and its heirs cannot
/// tell them apart (RFC 3875, section 4.1.18). `Forwarded` and everything else passes.
///
/// An IPv4 client of an IPv6 socket is written as IPv4.
///
/// # Errors
/// [`Refusal::ConnectionNames`] when the client's Connection field names one of the three, which asks the next proxy to
/// drop it (RFC 9110, section 7.6.1).
pub fn append(head: &Head<'_>, client: IpAddr, scheme: Scheme) -> Result<Vec<u8>, Refusal> {
    if [CHAIN, CLIENT, SCHEME]
        .iter()
        .any(|name| head.fields().list("connection", name))
    {
        return Err(Refusal::ConnectionNames);
    }
    let client = client.to_canonical();
    let mut out = Vec::with_capacity(head.bytes.len() + ADDED_MAX);
    out.extend_from_slice(head.before_fields());
    let has_chain = copy_fields(head, client, &mut out);
    if !has_chain {
        add_line(&mut out, CHAIN, client);
    }
    add_line(&mut out, CLIENT, client);
    add_line(&mut out, SCHEME, scheme.word());
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// Copies every field but ours, and adds the client to the last X-Forwarded-For. Says whether there was one.
fn copy_fields(head: &Head<'_>, client: IpAddr, out: &mut Vec<u8>) -> bool {
    let chain_at = |(n, field): (usize, Field<'_>)| is_chain(&field).then_some(n);
    let last_chain = head.fields().enumerate().filter_map(chain_at).last();
    for (n, field) in head.fields().enumerate() {
        if last_chain == Some(n) {
            extend_chain(&field, client, out);
        } else if is_chain(&field) || !is_ours(&field) {
            out.extend_from_slice(field.line);
            out.extend_from_slice(b"\r\n");
        }
    }
    last_chain.is_some()
}

fn is_chain(field: &Field<'_>) -> bool {
    field.name.eq_ignore_ascii_case(CHAIN.as_bytes())
}

/// Whether it is one of the three, to a reader that takes underscores for hyphens.
fn is_ours(field: &Field<'_>) -> bool {
    let is_alike = |(one, other): (&u8, u8)| {
        one.eq_ignore_ascii_case(&other) || (*one == b'_' && other == b'-')
    };
    let is_name = |name: &str| {
        field.name.len() == name.len() && field.name.iter().zip(name.bytes()).all(is_alike)
    };
    [CHAIN, CLIENT, SCHEME].into_iter().any(is_name)
}

fn extend_chain(field: &Field<'_>, client: IpAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(field.line.trim_ascii_end());
    let before = if field.value.is_empty() { " " } else { ", " };
    add(out, format_args!("{before}{client}\r\n"));
}

fn add_line(out: &mut Vec<u8>, name: &str, value: impl Display) {
    add(out, format_args!("{name}: {value}\r\n"));
}

fn add(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("a Vec takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::super::{Progress, parse};
    use super::*;

    const START: &str = "GET /a HTTP/1.1\r\nHost: a.example\r\n";

    /// What comes behind the start of a head with these lines, each ended by `|` here and by CRLF there.
    fn appended(lines: &str, client: &str, scheme: Scheme) -> Result<String, Refusal> {
        let bytes = format!("{START}{}\r\n", lines.replace('|', "\r\n"));
        let Progress::Complete(head) = parse(bytes.as_bytes(), bytes.len()) else {
            panic!("no head: {bytes}");
        };
        let out = String::from_utf8(append(&head, client.parse().unwrap(), scheme)?).unwrap();
        Ok(out.strip_prefix(START).unwrap().replace("\r\n", "|"))
    }

    fn check(lines: &str, wanted: &str) {
        let out = appended(lines, "192.0.2.9", Scheme::Http);
        assert_eq!(out.as_deref(), Ok(wanted), "{lines}");
    }

    #[test]
    fn the_three_fields_come_last_when_there_were_none() {
        let wanted =
            "A: b|X-Forwarded-For: 192.0.2.9|X-Real-IP: 192.0.2.9|X-Forwarded-Proto: http||";
        check("A: b|", wanted);
    }

    #[test]
    fn the_address_goes_to_the_last_chain_where_it_stands() {
        const REST: &str = "X-Real-IP: 192.0.2.9|X-Forwarded-Proto: http||";
        let chains = [
            (
                "x-forwarded-FOR: one|A: b|",
                "x-forwarded-FOR: one, 192.0.2.9|A: b|",
            ),
            (
                "X-Forwarded-For: one|A: b|X-Forwarded-For:two, three \t|C: d|",
                "X-Forwarded-For: one|A: b|X-Forwarded-For:two, three, 192.0.2.9|C: d|",
            ),
            ("X-Forwarded-For:|", "X-Forwarded-For: 192.0.2.9|"),
            ("X-Forwarded-For: \t |", "X-Forwarded-For: 192.0.2.9|"),
        ];
        for (lines, wanted) in chains {
            check(lines, &format!("{wanted}{REST}"));
        }
    }

    #[test]
    fn copies_of_the_clients_own_are_removed_however_they_are_spelled() {
        let wanted =
            "A: b|C: d|X-Forwarded-For: 192.0.2.9|X-Real-IP: 192.0.2.9|X-Forwarded-Proto: http||";
        check(
            "X-Real-IP: one|A: b|x-real-ip: two|X_Real_Ip: three|X-FORWARDED-PROTO: https|\
             x_forwarded-proto: https|C: d|X_Forwarded_For: four|",
            wanted,
        );
    }

    #[test]
    fn everything_else_stays_byte_for_byte_in_order() {
        let lines = "a:  b\t |A:c|Forwarded: for=one|X-Forwarded-Fort: x|Real-IP: y|";
        let out = appended(lines, "192.0.2.9", Scheme::Http).unwrap();
        assert!(out.starts_with(lines), "{out}");
    }

    #[test]
    fn an_empty_line_before_the_request_stays() {
        let Progress::Complete(head) = parse(b"\r\nGET / HTTP/1.0\r\n\r\n", 100) else {
            panic!("that is a head");
        };
        let out = append(&head, IpAddr::from([192, 0, 2, 9]), Scheme::Http).unwrap();
        assert!(out.starts_with(b"\r\nGET / HTTP/1.0\r\nX-Forwarded-For: "));
    }

    #[test]
    fn addresses_are_plain_and_mapped_ones_are_ipv4() {
        let v6 = appended("", "2001:db8::1", Scheme::Https).unwrap();
        assert_eq!(
            v6,
            "X-Forwarded-For: 2001:db8::1|X-Real-IP: 2001:db8::1|X-Forwarded-Proto: https||"
        );
        let mapped = appended("", "::ffff:192.0.2.9", Scheme::Https).unwrap();
        assert!(mapped.contains("X-Real-IP: 192.0.2.9|"), "{mapped}");
    }

    #[test]
    fn a_client_cannot_ask_the_next_proxy_to_drop_what_is_added() {
        for name in ["x-real-ip", "X-Forwarded-For", "X-FORWARDED-PROTO"] {
            let lines = format!("Connection: keep-alive|Connection: close, {name}|");
            let out = appended(&lines, "192.0.2.9", Scheme::Http);
            assert_eq!(out, Err(Refusal::ConnectionNames), "{name}");
        }
    }

    #[test]
    fn the_room_made_is_enough() {
        let bytes = format!("{START}\r\n");
        let Progress::Complete(head) = parse(bytes.as_bytes(), bytes.len()) else {
            panic!("that is a head");
        };
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        let out = append(&head, longest, Scheme::Https).unwrap();
        assert!(out.len() <= bytes.len() + ADDED_MAX, "{}", out.len());
    }
}
