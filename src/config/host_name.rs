//! Names of hosts, as a resolver takes them and a ClientHello asks for them.

use super::value::{Parsed, quoted};

/// RFC 1035, section 2.3.4, without the root's dot.
pub(super) const NAME_BYTES_MAX: usize = 253;
/// RFC 1035, section 2.3.4.
pub(super) const LABEL_BYTES_MAX: usize = 63;

/// `example.com`, perhaps with a dot at the end; in lower case and without it.
pub(super) fn parse(text: &str) -> Parsed<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if let Some(hint) = mistake(name) {
        return Err(format!("{} {hint}", quoted(text)));
    }
    Ok(name.to_ascii_lowercase())
}

/// What is wrong with a name, and how to mend it.
fn mistake(name: &str) -> Option<&'static str> {
    if !name.is_ascii() {
        return Some(
            "has letters beyond ASCII; write the name as it is sent, such as \"xn--mnchen-3ya.de\"",
        );
    }
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Some(
            "is not a host name; write labels of up to 63 letters, digits and hyphens, such as \"db.example.com\"",
        );
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    // RFC 1123, section 2.1: what ends in a number is meant as an address.
    last.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some("is an address or the beginning of one; write a host name")
}

/// RFC 952 with RFC 1123, section 2.1: letters, digits and hyphens, no hyphen at either end.
pub(super) fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_lower_case_without_the_last_dot() {
        assert_eq!(
            parse("DB-1.Example.COM."),
            Ok("db-1.example.com".to_owned())
        );
        assert_eq!(parse("localhost"), Ok("localhost".to_owned()));
        assert_eq!(parse("3com.com"), Ok("3com.com".to_owned()));
    }

    #[test]
    fn what_is_no_host_name_is_told_apart() {
        for (text, hint) in [
            ("", "is not a host name"),
            (".", "is not a host name"),
            ("a..b", "is not a host name"),
            ("-a.b", "is not a host name"),
            ("a-.b", "is not a host name"),
            ("a_b.c", "is not a host name"),
            ("a b", "is not a host name"),
            ("*.example.com", "is not a host name"),
            ("::1", "is not a host name"),
            ("münchen.de", "xn--"),
            ("192.0.2.1", "is an address"),
            ("192.0.2", "is an address"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
        let label = "a".repeat(63);
        assert!(parse(&label).is_ok() && parse(&format!("{label}a")).is_err());
        let name = [&*label, &*label, &*label, &"a".repeat(61)].join(".");
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert!(parse(&name).is_ok() && parse(&format!("{name}a")).is_err());
    }
}
