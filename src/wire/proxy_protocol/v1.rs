//! Version 1: one line of text.

use super::{Header, Origin, Refusal, Stop, Tlvs, V1_MAX};
use arrayvec::ArrayVec;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
const LINE_END: &[u8] = b"\r\n";

/// The header that tells a backend of `origin`, of at most [`V1_MAX`] bytes. This version has no word for
/// [`Origin::Local`]: it becomes `UNKNOWN`.
pub fn write(origin: Origin) -> ArrayVec<u8, V1_MAX> {
    let mut line = ArrayVec::new();
    let written = match origin.in_one_family() {
        Origin::Local | Origin::Unknown => write!(line, "PROXY UNKNOWN\r\n"),
        Origin::Tcp {
            source,
            destination,
        } => write!(
            line,
            "PROXY TCP{} {} {} {} {}\r\n",
            if source.is_ipv4() { 4 } else { 6 },
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port(),
        ),
    };
    written.expect("the longest addresses and ports make 104 bytes");
    line
}

/// `bytes` begin with [`SIGNATURE`].
pub(super) fn read(bytes: &[u8]) -> Result<Header<'_>, Stop> {
    let line = line(bytes)?;
    let fields = std::str::from_utf8(&line[SIGNATURE.len()..]);
    let origin = match fields {
        Ok(fields) => origin(fields)?,
        // Only what follows UNKNOWN may be anything.
        Err(_) if line[SIGNATURE.len()..].starts_with(b"UNKNOWN ") => Origin::Unknown,
        Err(_) => return Err(Refusal::Fields.into()),
    };
    Ok(Header {
        origin,
        tlvs: Tlvs::default(),
        len: line.len() + LINE_END.len(),
    })
}

/// The line without its end.
fn line(bytes: &[u8]) -> Result<&[u8], Stop> {
    let longest = V1_MAX - LINE_END.len();
    let visible = &bytes[..bytes.len().min(longest + 1)];
    let Some(end) = visible.iter().position(|byte| LINE_END.contains(byte)) else {
        return Err(if visible.len() > longest {
            Refusal::LineTooLong.into()
        } else {
            Stop::Partial
        });
    };
    let ending = &bytes[end..bytes.len().min(end + LINE_END.len())];
    if ending == LINE_END {
        Ok(&bytes[..end])
    } else if LINE_END.starts_with(ending) {
        Err(Stop::Partial)
    } else {
        Err(Refusal::LineEnding.into())
    }
}

fn origin(fields: &str) -> Result<Origin, Refusal> {
    let (protocol, rest) = match fields.split_once(' ') {
        Some((protocol, rest)) => (protocol, Some(rest)),
        None => (fields, None),
    };
    let address = match protocol {
        "UNKNOWN" => return Ok(Origin::Unknown),
        "TCP4" => |text: &str| text.parse::<Ipv4Addr>().map(IpAddr::from),
        "TCP6" => |text: &str| text.parse::<Ipv6Addr>().map(IpAddr::from),
        _ => return Err(Refusal::Protocol),
    };
    let fields: ArrayVec<&str, FIELDS_MAX> = rest
        .unwrap_or_default()
        .split(' ')
        .take(FIELDS_MAX)
        .collect();
    let &[source, destination, source_port, destination_port] = fields.as_slice() else {
        return Err(Refusal::Fields);
    };
    if fields.contains(&"") {
        return Err(Refusal::Fields);
    }
    let address = |text| address(text).map_err(|_| Refusal::Address);
    let (source, destination) = (address(source)?, address(destination)?);
    Ok(Origin::Tcp {
        source: SocketAddr::new(source, port(source_port)?),
        destination: SocketAddr::new(destination, port(destination_port)?),
    })
}

/// One more than there may be, to see that there is one too many.
const FIELDS_MAX: usize = 5;

fn port(text: &str) -> Result<u16, Refusal> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !is_plain {
        return Err(Refusal::Port);
    }
    text.parse().map_err(|_| Refusal::Port)
}
