//! A host and its port, from the Host field or from a target. Narrower than RFC 3986: names that DNS can hold and
//! addresses, because a Host is compared with those of routes, and what no resolver finds no client has dialed.

use super::fields::Fields;
use super::{Refusal, Scheme, Version};
use std::net::Ipv6Addr;

/// Who is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host<'a> {
    /// As it was written, without a final dot; an IPv6 address in its brackets. Case does not count: compare by
    /// [`is`](Self::is), and hash its lower case.
    pub name: &'a str,
    /// Unless the default.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `name`, `name:port`, `[IPv6]` or `[IPv6]:port`; the port may be empty (RFC 3986, section 3.2.3). `None` for
    /// anything else, userinfo and the empty host of RFC 9110, section 4.2.1, among it.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let name_end = if text.starts_with('[') {
            text.find(']')? + 1
        } else {
            text.find(':').unwrap_or(text.len())
        };
        let (name, port) = text.split_at(name_end);
        Some(Self {
            name: parse_name(name)?,
            port: parse_port(port)?,
        })
    }

    /// Whether this is `name`, in whatever case.
    pub fn is(self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether both mean the same server to a client of `scheme`.
    fn is_same(self, other: Self, scheme: Scheme) -> bool {
        let port = |host: Self| host.port.unwrap_or_else(|| scheme.port());
        self.is(other.name) && port(self) == port(other)
    }
}

/// The host of a request: of its target if that is a URL, else of its one Host field (RFC 9112, sections 3.2 and
/// 3.2.2). Where there are both, they have to agree, since not every server knows which of them counts.
pub(super) fn find<'a>(
    fields: Fields<'a>,
    version: Version,
    authority: Option<(Scheme, Host<'a>)>,
) -> Result<Option<Host<'a>>, Refusal> {
    let mut values = fields.named("host");
    let (value, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Refusal::HostRepeated);
    }
    match (value.map(parse_value).transpose()?, authority) {
        (None, _) if version == Version::Http11 => Err(Refusal::HostMissing),
        (host, None) => Ok(host),
        (None, Some((_, host))) => Ok(Some(host)),
        (Some(said), Some((scheme, host))) if said.is_same(host, scheme) => Ok(Some(host)),
        (Some(_), Some(_)) => Err(Refusal::HostMismatch),
    }
}

fn parse_value(value: &[u8]) -> Result<Host<'_>, Refusal> {
    let text = str::from_utf8(value).ok();
    text.and_then(Host::parse).ok_or(Refusal::HostSyntax)
}

fn parse_name(name: &str) -> Option<&str> {
    if let Some(address) = name.strip_prefix('[') {
        let _: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(name);
    }
    // `a.example.` is the same name said absolutely (RFC 1034, section 3.1).
    let name = name.strip_suffix('.').unwrap_or(name);
    // DNS has no underscore in host names, but hosts do.
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_of_label);
    name.split('.').all(is_label).then_some(name)
}

/// Of nothing, `:`, or `:` and digits; the outer `None` when it is neither.
fn parse_port(text: &str) -> Option<Option<u16>> {
    let digits = match text.strip_prefix(':') {
        None => return text.is_empty().then_some(None),
        Some("") => return Some(None),
        Some(digits) => digits,
    };
    // `parse` alone would take a sign.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = digits.parse().ok().filter(|&port| is_number && port > 0)?;
    Some(Some(port))
}
