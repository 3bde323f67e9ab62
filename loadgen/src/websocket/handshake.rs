//! The opening handshake (RFC 6455, section 4): what a client asks, what a server answers, and what each demands of the
//! other's head. A proxy between them may add fields, change the case of names and the order, so heads are parsed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};
use sha1_smol::Sha1;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The longest head that is read. Proxies have limits of this size or lower.
const HEAD_MAX: usize = 16 * 1024;

/// More fields than a proxy adds to the seven that we send.
const FIELDS_MAX: usize = 64;

/// What a server puts behind the key before it hashes it (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes that a key stands for.
const KEY_BYTES: usize = 16;

/// Longer than a URL that anything on the way accepts.
const PATH_MAX: usize = 8 * 1024;

const COOKIE_NAME_MAX: usize = 256;

/// Where a client asks for its WebSocket: what stands between `GET` and the version, a query included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestPath(String);

/// The name of the cookie that tells sessions apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CookieName(String);

/// A head that does not open a WebSocket, or not this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoHandshake;

impl FromStr for RequestPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_visible = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let fits = text.starts_with('/') && text.len() <= PATH_MAX && is_visible;
        fits.then(|| Self(text.to_owned()))
            .ok_or("want a path that begins with `/`, in visible ASCII without `#`")
    }
}

impl FromStr for CookieName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=COOKIE_NAME_MAX).contains(&text.len()) && text.bytes().all(is_token);
        fits.then(|| Self(text.to_owned()))
            .ok_or("want the name of a cookie: letters, digits and !#$%&'*+-.^_`|~")
    }
}

impl Default for RequestPath {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl Default for CookieName {
    fn default() -> Self {
        Self("session_id".to_owned())
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The head that asks for session `number`.
pub(crate) fn request(
    host: SocketAddr,
    path: &RequestPath,
    cookie: &CookieName,
    number: u64,
) -> Vec<u8> {
    let key = key(number);
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Cookie: {cookie}={number}\r\n\
         \r\n"
    )
    .into_bytes()
}

/// The head that says yes to the request that `bytes` begin with, and how long that request is; `None` when it is not all
/// there yet.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, NoHandshake> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let parsed = request.parse(bytes).map_err(|_| NoHandshake)?;
    let Some(len) = whole(parsed, bytes)? else {
        return Ok(None);
    };
    let fields = Fields(request.headers);
    let opens = request.method == Some("GET")
        && request.version == Some(1)
        && fields.upgrade()
        && fields.only("Host").is_some()
        && fields.only("Sec-WebSocket-Version") == Some("13");
    match fields.only("Sec-WebSocket-Key") {
        Some(key) if opens && is_key(key) => Ok(Some((len, reply(key)))),
        Some(_) | None => Err(NoHandshake),
    }
}

fn reply(key: &str) -> Vec<u8> {
    let accept = accept(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\
         \r\n"
    )
    .into_bytes()
}

/// How long the reply is that `bytes` begin with, if it opens session `number`; `None` when it is not all there yet.
pub(crate) fn opened(bytes: &[u8], number: u64) -> Result<Option<usize>, NoHandshake> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut reply = Response::new(&mut fields);
    let parsed = reply.parse(bytes).map_err(|_| NoHandshake)?;
    let Some(len) = whole(parsed, bytes)? else {
        return Ok(None);
    };
    let fields = Fields(reply.headers);
    let expected = accept(&key(number));
    let opens = reply.version == Some(1)
        && reply.code == Some(101)
        && fields.upgrade()
        && fields.only("Sec-WebSocket-Accept") == Some(&expected);
    if opens {
        Ok(Some(len))
    } else {
        Err(NoHandshake)
    }
}

/// How long a head is, `None` while its end may still come.
fn whole(parsed: Status<usize>, bytes: &[u8]) -> Result<Option<usize>, NoHandshake> {
    match parsed {
        Status::Complete(len) => Ok(Some(len)),
        Status::Partial if bytes.len() < HEAD_MAX => Ok(None),
        Status::Partial => Err(NoHandshake),
    }
}

/// The key of session `number`. A browser's is random, so that nobody can prepare the answer; here it has to differ, so
/// that the answer to another session is found.
fn key(number: u64) -> String {
    let mut bytes = [0; KEY_BYTES];
    let (front, back) = bytes.split_at_mut(8);
    front.copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    back.copy_from_slice(&number.to_be_bytes());
    BASE64_STANDARD.encode(bytes)
}

fn is_key(text: &str) -> bool {
    BASE64_STANDARD
        .decode(text)
        .is_ok_and(|bytes| bytes.len() == KEY_BYTES)
}

/// What proves that a server has understood the key (RFC 6455, section 4.2.2).
fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    BASE64_STANDARD.encode(hash.digest().bytes())
}

/// The fields of a head.
struct Fields<'a>(&'a [Header<'a>]);

impl Fields<'_> {
    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |field: &&Header| field.name.eq_ignore_ascii_case(name);
        let found = self.0.iter().filter(named);
        found.filter_map(|field| std::str::from_utf8(field.value).ok())
    }

    /// Its value, if there is one such field and no more.
    fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether both fields say that the connection becomes a WebSocket.
    fn upgrade(&self) -> bool {
        self.lists("Upgrade", "websocket") && self.lists("Connection", "upgrade")
    }

    fn lists(&self, name: &str, wanted: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(','))
            .any(|listed| listed.trim().eq_ignore_ascii_case(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(number: u64) -> Vec<u8> {
        let host = SocketAddr::from(([127, 0, 0, 1], 8000));
        request(
            host,
            &RequestPath::default(),
            &CookieName::default(),
            number,
        )
    }

    fn changed(head: &[u8], from: &str, to: &str) -> Vec<u8> {
        let head = std::str::from_utf8(head).unwrap();
        assert!(head.contains(from), "no {from} in {head}");
        head.replace(from, to).into_bytes()
    }

    #[test]
    fn the_proof_is_that_of_the_example_in_rfc_6455() {
        let accept = accept("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_names_host_path_and_session() {
        let host = SocketAddr::from(([127, 0, 0, 1], 8000));
        let (path, cookie) = ("/chat?room=1".parse().unwrap(), "sid".parse().unwrap());
        let text = String::from_utf8(request(host, &path, &cookie, 7)).unwrap();
        assert!(text.starts_with("GET /chat?room=1 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"));
        assert!(text.contains("\r\nCookie: sid=7\r\n"), "{text}");
    }

    #[test]
    fn a_request_is_answered_and_its_answer_opens_that_session_alone() {
        let asked = ask(7);
        let (len, reply) = answer(&asked).unwrap().unwrap();
        assert_eq!(len, asked.len());
        assert_eq!(opened(&reply, 7), Ok(Some(reply.len())));
        assert_eq!(opened(&reply, 8), Err(NoHandshake));
    }

    #[test]
    fn heads_in_pieces_wait_for_their_end() {
        let asked = ask(1);
        let (_, reply) = answer(&asked).unwrap().unwrap();
        for cut in 0..asked.len() {
            assert_eq!(answer(&asked[..cut]), Ok(None), "cut at {cut}");
        }
        for cut in 0..reply.len() {
            assert_eq!(opened(&reply[..cut], 1), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn what_a_proxy_rewrites_is_still_a_handshake() {
        let asked = changed(
            &ask(1),
            "Connection: Upgrade",
            "connection: keep-alive, upgrade",
        );
        let asked = changed(&asked, "Host:", "X-Forwarded-For: 127.0.0.1\r\nHost:");
        let (_, reply) = answer(&asked).unwrap().unwrap();
        let reply = changed(
            &reply,
            "Upgrade: websocket",
            "Server: p\r\nupgrade: WebSocket",
        );
        assert_eq!(opened(&reply, 1), Ok(Some(reply.len())));
    }

    #[test]
    fn requests_that_open_no_websocket_are_refused() {
        for (from, to) in [
            ("GET", "POST"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("Connection: Upgrade\r\n", ""),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Version: 13", "Version: 8"),
            ("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: AAAA"),
            ("Cookie:", "Host: again\r\nCookie:"),
            ("Host:", "Ho st:"),
        ] {
            let asked = changed(&ask(1), from, to);
            assert_eq!(answer(&asked), Err(NoHandshake), "{to}");
        }
    }

    #[test]
    fn replies_that_open_no_websocket_are_refused() {
        let (_, reply) = answer(&ask(1)).unwrap().unwrap();
        for (from, to) in [
            ("101 Switching Protocols", "200 OK"),
            ("101 Switching Protocols", "503 Service Unavailable"),
            ("Upgrade: websocket\r\n", ""),
            ("Connection: Upgrade", "Connection: close"),
            ("Sec-WebSocket-Accept", "Sec-WebSocket-Except"),
            ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x"),
        ] {
            let reply = changed(&reply, from, to);
            assert_eq!(opened(&reply, 1), Err(NoHandshake), "{to}");
        }
    }

    #[test]
    fn a_head_without_an_end_is_given_up() {
        let mut asked = ask(1);
        asked.truncate(asked.len() - 2);
        asked.extend_from_slice(b"X-Long: ");
        asked.resize(HEAD_MAX, b'x');
        assert_eq!(answer(&asked), Err(NoHandshake));
        assert_eq!(answer(&asked[..HEAD_MAX - 1]), Ok(None));
    }

    #[test]
    fn paths_and_cookie_names_that_would_break_a_head_are_refused() {
        for path in ["", "chat", "/a b", "/a\r\nX: y", "/#top", "/ü"] {
            assert!(path.parse::<RequestPath>().is_err(), "{path}");
        }
        for name in ["", "a b", "a=b", "a;b", "a\r\n"] {
            assert!(name.parse::<CookieName>().is_err(), "{name}");
        }
    }
}
