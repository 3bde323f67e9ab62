//! Values of nginx's, and how ringway's file writes them.

use crate::config::duration_text;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A duration as nginx's `ngx_parse_time` reads it for timeouts: `1h30m`, `500ms`, `60`, which is seconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    /// Each unit may come once, in this order.
    const UNITS: [(&str, u64); 6] = [
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after.find(|c: char| !c.is_ascii_lowercase());
        let (unit, next) = after.split_at(end.unwrap_or(after.len()));
        let unit = if unit.is_empty() { "s" } else { unit };
        let at = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(units[at].1)?)?;
        units = &units[at + 1..];
        rest = next.trim_start_matches(' ');
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// A size: `16k`, `1m`, `4096`.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(scale)
}

/// `10.0.0.1:80`, `[::1]:80`, `*:80`, `80`, `localhost:80`, and a range of ports in the place of one.
pub(super) fn listen(text: &str) -> Option<Vec<SocketAddr>> {
    const PORTS_MAX: usize = 1024;
    let (host, ports) = text.rsplit_once(':').unwrap_or(("*", text));
    let host: IpAddr = match host {
        "*" => IpAddr::from([0, 0, 0, 0]),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        bracketed => bracketed.trim_matches(['[', ']']).parse().ok()?,
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    let ports = (first..=last).take(PORTS_MAX + 1);
    let addresses: Vec<_> = ports.map(|port| SocketAddr::new(host, port)).collect();
    (first > 0 && (1..=PORTS_MAX).contains(&addresses.len())).then_some(addresses)
}

/// A TOML string.
pub(super) fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A TOML string of a duration; as much of it as ringway's durations hold.
pub(super) fn duration(duration: Duration) -> String {
    const LONGEST: Duration = Duration::from_hours(24 * 24);
    format!("\"{}\"", duration_text(duration.min(LONGEST)))
}

/// A TOML list of strings.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items = items.into_iter().map(|item| string(&item.to_string()));
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Bytes with the escapes of C, as a TOML string.
pub(super) fn bytes(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'\r' => "\\r".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b'"' => "\\\"".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        other => format!("\\x{other:02x}"),
    });
    string(&escaped.collect::<String>())
}

/// A name that ringway takes, made from one of nginx's.
pub(super) fn name(text: &str) -> String {
    const CHARS_MAX: usize = 56;
    let fit = |c: char| {
        if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '/' | ',') {
            c
        } else {
            '-'
        }
    };
    let name: String = text.chars().map(fit).take(CHARS_MAX).collect();
    if name.is_empty() {
        "unnamed".into()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_nginx() {
        let rows = [
            ("60", Some(60_000)),
            ("500ms", Some(500)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("10m", Some(600_000)),
            ("2d", Some(172_800_000)),
            ("30m1h", None),
            ("5x", None),
            ("s", None),
            ("", None),
            ("99999999999999999999s", None),
        ];
        for (text, millis) in rows {
            assert_eq!(time(text), millis.map(Duration::from_millis), "{text}");
        }
        assert_eq!(size("16k"), Some(16_384));
        assert_eq!(size("1M"), Some(1 << 20));
        assert_eq!(size("k"), None);
        assert_eq!(size("1q"), None);
    }

    #[test]
    fn listen_takes_every_form_and_a_range_of_ports() {
        let shown = |text: &str| {
            let addresses = listen(text)?;
            Some(
                addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        let rows = [
            ("9000", Some("0.0.0.0:9000")),
            ("*:9000", Some("0.0.0.0:9000")),
            ("localhost:53", Some("127.0.0.1:53")),
            ("[::]:9000", Some("[::]:9000")),
            (
                "10.0.0.1:80-82",
                Some("10.0.0.1:80 10.0.0.1:81 10.0.0.1:82"),
            ),
            ("82-80", None),
            ("1-65535", None),
            ("0", None),
            ("unix:/run/a.sock", None),
            ("host.example:80", None),
        ];
        for (text, want) in rows {
            assert_eq!(shown(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn bytes_and_names_are_written_as_ringway_reads_them() {
        assert_eq!(bytes("GET /\r\n"), "'GET /\\r\\n'");
        assert_eq!(name("a b/c"), "a-b-c");
        assert_eq!(name(""), "unnamed");
        assert_eq!(name(&"x".repeat(99)).len(), 56);
    }
}
