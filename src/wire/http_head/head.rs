//! A whole head and what can be asked of it. Made only of bytes that every reader takes alike.

use super::fields::{Fields, first_line, trim};
use super::target::Target;
use super::{Host, Refusal, framing, host};
use arrayvec::ArrayVec;
use std::mem::MaybeUninit;

/// The most fields of a head; Apache's default (LimitRequestFields), and several times what browsers send.
pub const FIELDS_MAX: usize = 100;

/// The protocol's version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The head of a request. Everything in it is as the client sent it: nothing is decoded, unescaped or normalized.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head<'a> {
    /// All of it, through its empty line. The stream goes on behind these bytes.
    pub bytes: &'a [u8],
    /// Any token; its case counts.
    pub method: &'a str,
    /// As on the request line: visible ASCII without a `#`.
    pub target: &'a str,
    /// The target's path; `/` when a URL has none.
    pub path: &'a str,
    /// What follows the path's question mark, if there is one.
    pub query: Option<&'a str>,
    /// Of the target if that is a URL, else of the Host field. Only HTTP/1.0 may lack both.
    pub host: Option<Host<'a>>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    fields: Fields<'a>,
}

impl<'a> Head<'a> {
    /// Reads what [`Reader`](super::Reader) found to be a head: lines ending in CRLF, free of control characters, the
    /// last one empty.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Refusal> {
        // RFC 9112, section 2.2, asks to overlook an empty line before a request. One is passed on like all else.
        let (request, lines) = first_line(bytes.strip_prefix(b"\r\n").unwrap_or(bytes));
        let version = check_request_line(request)?;
        let lines = lines.strip_suffix(b"\r\n").ok_or(Refusal::RequestLine)?;
        let fields = Fields::check(lines)?;
        let (method, text) = parse_grammar(bytes)?;
        let target = Target::parse(method, text)?;
        framing::check(fields, version)?;
        Ok(Self {
            bytes,
            method,
            target: text,
            path: target.path,
            query: target.query,
            host: host::find(fields, version, target.authority)?,
            version,
            fields,
        })
    }

    /// The fields, in order.
    pub fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// What stands before the first field: the request line, and an empty line before it if there was one.
    pub(super) fn before_fields(&self) -> &'a [u8] {
        let behind = self.fields.lines().len() + b"\r\n".len();
        &self.bytes[..self.bytes.len() - behind]
    }

    /// The value of the first field of this name, in whatever case, without the white space around it.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.named(name).next()
    }

    /// The value of the first cookie of this name, whose case counts, over all Cookie fields: as sent, with its quotes
    /// if it has any (RFC 6265, section 5.4, strips none).
    pub fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let pairs = self
            .fields
            .named("cookie")
            .flat_map(|list| list.split(|&byte| byte == b';'));
        pairs
            .map(trim)
            .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// The value of the first `name=value` in the query. Both raw: `%41` is not `A`, and `+` no space. An argument
    /// without `=` has no value.
    pub fn query_argument(&self, name: &str) -> Option<&'a str> {
        let arguments = self.query.unwrap_or_default().split('&');
        arguments
            .into_iter()
            .find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether the client asks to go on in `protocol` (RFC 9110, section 7.8): the Upgrade field lists it, Connection
    /// says that Upgrade is meant for this hop, and the version has upgrades at all.
    pub fn upgrade(&self, protocol: &str) -> bool {
        self.version == Version::Http11
            && self.fields.list("upgrade", protocol)
            && self.fields.list("connection", "upgrade")
    }
}

/// Three words with one space between them. The first two are looked at by others.
fn check_request_line(line: &[u8]) -> Result<Version, Refusal> {
    let words: ArrayVec<&[u8], 4> = line.split(|&byte| byte == b' ').take(4).collect();
    if words.iter().any(|word| word.is_empty()) {
        return Err(Refusal::RequestLine);
    }
    match words[..] {
        [_, _, b"HTTP/1.1"] => Ok(Version::Http11),
        [_, _, b"HTTP/1.0"] => Ok(Version::Http10),
        [_, _] | [_, _, _] => Err(Refusal::Version),
        [..] => Err(Refusal::RequestLine),
    }
}

/// The method and the target, once the whole head is proven to be of HTTP's grammar.
fn parse_grammar(bytes: &[u8]) -> Result<(&str, &str), Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut headers);
    match (parsed, request.method, request.path) {
        (Ok(httparse::Status::Complete(_)), Some(method), Some(target)) => Ok((method, target)),
        (Ok(_), _, _) => Err(Refusal::RequestLine),
        (Err(error), method, _) => Err(refusal_of(error, method)),
    }
}

/// What httparse's word is in ours. Those that come of line ends and control characters have gone by: they were refused
/// while the head was coming in.
fn refusal_of(error: httparse::Error, method: Option<&str>) -> Refusal {
    use httparse::Error;
    match (error, method) {
        (Error::Token, None) => Refusal::Method,
        (Error::Token, Some(_)) => Refusal::Target,
        (Error::HeaderName, _) => Refusal::FieldName,
        (Error::HeaderValue, _) => Refusal::Control,
        (Error::TooManyHeaders, _) => Refusal::TooManyFields,
        (Error::Version, _) => Refusal::Version,
        (Error::NewLine | Error::Status, _) => Refusal::RequestLine,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Progress, parse};
    use super::*;

    /// A request whose Host is in order, with `line` among its fields.
    fn with_field(line: &[u8]) -> Vec<u8> {
        [
            b"GET / HTTP/1.1\r\nHost: a.example\r\n",
            line,
            b"\r\nLast: 1\r\n\r\n",
        ]
        .concat()
    }

    fn head(bytes: &[u8]) -> Head<'_> {
        let Progress::Complete(head) = parse(bytes, bytes.len()) else {
            panic!("no head: {}", bytes.escape_ascii());
        };
        head
    }

    #[test]
    fn an_upgrade_is_asked_for_by_both_fields() {
        const ROWS: &[(&[u8], bool)] = &[
            (b"Connection: Upgrade\r\nUpgrade: websocket", true),
            (
                b"upgrade: WebSocket\r\nconnection: keep-alive , uPGRADE",
                true,
            ),
            (b"Upgrade: h2c, websocket\r\nConnection: upgrade", true),
            (
                b"Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: close\r\nConnection: upgrade",
                true,
            ),
            // Whether the key and the version of RFC 6455 are right is for the backend to say.
            (
                b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: short",
                true,
            ),
            (b"Upgrade: websocket", false),
            (b"Connection: Upgrade", false),
            (b"Upgrade: websocket\r\nConnection: keep-alive", false),
            (b"Upgrade: websocket/13\r\nConnection: upgrade", false),
            (b"Upgrade: websockets\r\nConnection: upgrade", false),
            (b"Upgrade: web socket\r\nConnection: upgrade", false),
            (b"Upgrade: h2c\r\nConnection: upgrade", false),
        ];
        for (row, wanted) in ROWS {
            assert_eq!(
                head(&with_field(row)).upgrade("websocket"),
                *wanted,
                "{}",
                row.escape_ascii()
            );
        }
        let http_1_0 = b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert!(!head(http_1_0).upgrade("websocket"));
    }

    #[test]
    fn a_header_is_the_first_of_its_name_without_the_white_space_around() {
        let bytes = with_field(b"Key: \t\xa0one two\x85 \t\r\nkEY: three\r\nEmpty: ");
        let head = head(&bytes);
        assert_eq!(head.header("KEY"), Some(b"\xa0one two\x85".as_slice()));
        assert_eq!(head.header("empty"), Some(b"".as_slice()));
        assert_eq!(head.header("ke"), None);
    }

    #[test]
    fn a_cookie_is_found_in_every_cookie_field_and_kept_as_sent() {
        let bytes = with_field(b"Cookie: ab=1; a=\"x y=\" ;flag; A=2\r\ncookie: b=\xff;a=3; c=");
        let head = head(&bytes);
        let found = |name| head.cookie(name);
        assert_eq!(found("a"), Some(b"\"x y=\"".as_slice()));
        assert_eq!(found("A"), Some(b"2".as_slice()));
        assert_eq!(found("b"), Some(b"\xff".as_slice()));
        assert_eq!(found("c"), Some(b"".as_slice()));
        assert_eq!((found("flag"), found("B")), (None, None));
    }

    #[test]
    fn a_query_argument_is_raw_and_the_first_with_a_value() {
        let bytes = b"GET /x?aa=1&a&a=%41+b?c=&a=2&e==&&f= HTTP/1.0\r\n\r\n";
        let head = head(bytes);
        let found = |name| head.query_argument(name);
        assert_eq!((found("a"), found("aa")), (Some("%41+b?c="), Some("1")));
        assert_eq!((found("e"), found("f")), (Some("="), Some("")));
        assert_eq!((found("A"), found("c")), (None, None));
    }

    #[test]
    fn what_follows_the_head_is_the_streams() {
        let first = with_field(b"Content-Length: 5");
        let both = [
            first.as_slice(),
            b"helloGET /other HTTP/1.1\r\nHost: b.example\r\n\r\n",
        ]
        .concat();
        assert_eq!(head(&both), head(&first));
        assert_eq!(head(&both).bytes, first);
    }
}
