//! What holds of `ringway::wire::http_head`, whatever the bytes. The fuzz target and the ordinary tests share it.

use ringway::wire::http_head::{Field, Head, Progress, Reader, Refusal, Scheme, append, parse};
use std::net::{IpAddr, Ipv6Addr};

/// A client's address that needs the most room, and that no input will spell by chance.
const CLIENT: IpAddr = IpAddr::V6(Ipv6Addr::new(
    0xfd12, 0x3456, 0x789a, 0xbcde, 0xf123, 0x4567, 0x89ab, 0xcdef,
));

/// What `append` writes; nothing else may differ.
const OURS: [&str; 3] = ["x-forwarded-for", "x-real-ip", "x-forwarded-proto"];

/// The fields that a head may have so that, with three more, it is still one.
const FIELDS_BEFORE_OURS: usize = ringway::wire::http_head::FIELDS_MAX - OURS.len();

/// Checks every property on `bytes`.
///
/// # Panics
/// When one does not hold.
pub(crate) fn check(bytes: &[u8]) {
    let len = bytes.len();
    for max in [16 * 1024, len, len / 2, len + 1] {
        let whole = parse(bytes, max);
        a_byte_at_a_time_ends_like_the_whole(bytes, max, whole);
        match whole {
            Progress::Complete(head) => check_head(&head, bytes, max),
            Progress::Partial => assert!(len < max, "waits for more than it takes"),
            Progress::Preface => assert!(bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
            Progress::Refused(refusal) => {
                assert_ne!(refusal, Refusal::ConnectionNames, "nothing was to be added");
            }
        }
    }
}

fn check_head(head: &Head<'_>, bytes: &[u8], max: usize) {
    assert!(head.bytes.len() <= max && bytes.starts_with(head.bytes));
    assert!(head.bytes.ends_with(b"\r\n\r\n"));
    assert_eq!(
        parse(head.bytes, max),
        Progress::Complete(*head),
        "what follows plays no part"
    );
    httparse_says_the_same(head);
    answers_are_parts_of_the_head(head);
    forwarding_changes_three_fields(head);
}

fn a_byte_at_a_time_ends_like_the_whole(bytes: &[u8], max: usize, whole: Progress<'_>) {
    let mut reader = Reader::default();
    for end in 0..bytes.len() {
        let progress = reader.parse(&bytes[..end], max);
        if progress != Progress::Partial {
            assert_eq!(progress, whole, "decided after {end} bytes");
            return;
        }
    }
    assert_eq!(reader.parse(bytes, max), whole);
}

fn httparse_says_the_same(head: &Head<'_>) {
    let mut headers = [httparse::EMPTY_HEADER; ringway::wire::http_head::FIELDS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head.bytes);
    assert_eq!(parsed, Ok(httparse::Status::Complete(head.bytes.len())));
    assert_eq!(
        (request.method, request.path),
        (Some(head.method), Some(head.target))
    );
    let theirs = request
        .headers
        .iter()
        .map(|header| (header.name.as_bytes(), header.value));
    assert!(theirs.eq(head.fields().map(|field| (field.name, field.value))));
}

fn answers_are_parts_of_the_head(head: &Head<'_>) {
    let text = head.target;
    assert!(text.contains(head.path) || head.path == "/");
    assert!(text.contains(head.query.unwrap_or_default()));
    for field in head.fields() {
        let name = str::from_utf8(field.name).expect("names are tokens");
        assert!(head.header(&name.to_uppercase()).is_some());
    }
    for pair in head.query.unwrap_or_default().split('&') {
        let value = pair
            .split_once('=')
            .map(|(name, _)| head.query_argument(name));
        assert_ne!(value, Some(None), "{pair}");
    }
}

fn forwarding_changes_three_fields(head: &Head<'_>) {
    let Ok(once) = append(head, CLIENT, Scheme::Https) else {
        assert!(
            OURS.iter()
                .any(|name| contains_ignoring_case(head.bytes, name))
        );
        return;
    };
    if head.fields().count() > FIELDS_BEFORE_OURS {
        return;
    }
    let Progress::Complete(after) = parse(&once, usize::MAX) else {
        panic!("no head: {}", once.escape_ascii());
    };
    assert_eq!(after.bytes.len(), once.len());
    is_the_same_request(head, &after);
    let address = CLIENT.to_string();
    assert_eq!(after.header("x-real-ip"), Some(address.as_bytes()));
    assert_eq!(after.header("x-forwarded-proto"), Some(b"https".as_slice()));
    let is_chain = |field: &Field<'_>| field.name.eq_ignore_ascii_case(OURS[0].as_bytes());
    let last_chain = after.fields().filter(is_chain).last();
    assert!(last_chain.is_some_and(|field| field.value.ends_with(address.as_bytes())));
    let singles = after
        .fields()
        .filter(|field| is_ours(field) && !is_chain(field));
    assert_eq!(singles.count(), 2, "no copy of the client's is left");
    let twice = append(&after, CLIENT, Scheme::Https).expect("as before");
    let Progress::Complete(again) = parse(&twice, usize::MAX) else {
        panic!("no head: {}", twice.escape_ascii());
    };
    is_the_same_request(&after, &again);
    assert_eq!(
        again.bytes.len(),
        after.bytes.len() + ", ".len() + address.len()
    );
}

fn is_the_same_request(one: &Head<'_>, other: &Head<'_>) {
    assert_eq!(
        (one.method, one.target, one.version),
        (other.method, other.target, other.version)
    );
    assert_eq!(
        (one.path, one.query, one.host),
        (other.path, other.query, other.host)
    );
    let theirs = |field: &Field<'_>| !is_ours(field);
    assert!(
        one.fields()
            .filter(theirs)
            .eq(other.fields().filter(theirs))
    );
}

/// Whether a reader that takes underscores for hyphens would take it for one of ours.
fn is_ours(field: &Field<'_>) -> bool {
    let name = field.name.to_ascii_lowercase().escape_ascii().to_string();
    OURS.contains(&name.replace('_', "-").as_str())
}

fn contains_ignoring_case(bytes: &[u8], name: &str) -> bool {
    let mut windows = bytes.windows(name.len());
    windows.any(|window| window.eq_ignore_ascii_case(name.as_bytes()))
}
