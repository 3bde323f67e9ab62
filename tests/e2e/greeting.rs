//! The PROXY protocol: who the client is, as the proxy in front tells us, and as we tell the backend.

use crate::support::{Backend, End, Peer, Proxy, Setup};
use ringway::wire::proxy_protocol::{Header, Origin, Progress, parse};
use std::net::SocketAddr;

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";

/// A proxy that takes headers, before one backend.
fn taking(how: &str, more: impl FnOnce(Setup) -> Setup) -> (Proxy, Backend) {
    let backend = Backend::new();
    let setup = Setup::before(&backend).listener(&format!("proxy_protocol = \"{how}\""));
    (more(setup).start(), backend)
}

/// What a backend gets first when headers are sent to it, and what follows.
fn header(at_backend: &Peer, follows: &[u8]) -> (Option<SocketAddr>, Option<SocketAddr>, usize) {
    let (bytes, end) = at_backend.drain();
    assert_eq!(end, End::Fin);
    let Progress::Complete(Header { origin, tlvs, len }) = parse(&bytes) else {
        panic!("no header: {:?}", String::from_utf8_lossy(&bytes));
    };
    assert_eq!(&bytes[len..], follows);
    let Origin::Tcp {
        source,
        destination,
    } = origin
    else {
        panic!("{origin:?}");
    };
    let id = tlvs.unique_id.map_or(0, <[u8]>::len);
    (Some(source), Some(destination), id)
}

#[test]
fn a_header_is_taken_off_and_its_client_is_the_client() {
    let (proxy, backend) = taking("required", |setup| setup);
    let client = proxy.connect();
    client.send(&[V1, b"hello"].concat());
    let at_backend = backend.accept();
    at_backend.expect(b"hello");
    at_backend.send(b"there");
    client.expect(b"there");
    client.fin();
    at_backend.expect_fin();
    at_backend.close();
    let line = proxy.await_first_access();
    assert_eq!(line.text("client"), "203.0.113.7:56324");
    assert_eq!(line.number("bytes_up"), 5, "the header is not the client's");
}

#[test]
fn a_header_of_version_2_comes_in_any_segments() {
    let header = include_bytes!("../../fuzz/corpus/proxy_protocol/haproxy-v2-crc32c.bin");
    let (proxy, backend) = taking("required", |setup| setup);
    let client = proxy.connect();
    for byte in header {
        client.send(&[*byte]);
    }
    client.send(b"hello");
    client.fin();
    let (got, _) = backend.accept().drain();
    assert!(got.ends_with(b"hello"));
}

#[test]
fn where_it_is_optional_a_stream_without_a_header_is_a_stream() {
    let (proxy, backend) = taking("optional", |setup| setup);
    let client = proxy.connect();
    client.send(b"PROX");
    client.send(b"IMATE");
    backend.accept().expect(b"PROXIMATE");
    let with = proxy.connect();
    with.send(&[V1, b"hello"].concat());
    backend.accept().expect(b"hello");
}

#[test]
fn the_told_client_is_who_is_hashed_and_who_is_denied() {
    let (proxy, backend) = taking("required", |setup| {
        setup.listener("deny = [\"203.0.113.0/24\"]")
    });
    let client = proxy.connect();
    client.send(V1);
    assert!(client.drain().0.is_empty());
    assert_eq!(proxy.await_first_access().end(), ("denied/greeting", "PR"));
    let other = proxy.connect();
    other.send(b"PROXY TCP4 198.51.100.7 192.0.2.1 56324 443\r\nhello");
    backend.accept().expect(b"hello");
}

#[test]
fn the_backend_is_told_who_the_client_is() {
    for (version, id) in [("v1", 0), ("v2", 16)] {
        let backend = Backend::new();
        let proxy = Setup::before(&backend)
            .upstream(&format!("proxy_protocol = \"{version}\""))
            .start();
        let client = proxy.connect();
        client.send(b"hello");
        client.fin();
        let wanted = (Some(client.local()), Some(proxy.address()), id);
        assert_eq!(header(&backend.accept(), b"hello"), wanted, "{version}");
    }
}

#[test]
fn a_server_that_speaks_first_is_told_before_it_speaks() {
    let backend = Backend::new();
    let proxy = Setup::before(&backend)
        .upstream("proxy_protocol = \"v1\"")
        .start();
    let client = proxy.connect();
    let at_backend = backend.accept();
    let line = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        client.local().port(),
        proxy.address().port()
    );
    at_backend.expect(line.as_bytes());
    at_backend.send(b"220 ready");
    client.expect(b"220 ready");
}

#[test]
fn what_a_header_told_us_is_what_we_tell() {
    let backend = Backend::new();
    let proxy = Setup::before(&backend)
        .listener("proxy_protocol = \"required\"")
        .upstream("proxy_protocol = \"v2\"")
        .start();
    let client = proxy.connect();
    client.send(&[V1, b"hello"].concat());
    client.fin();
    let (source, destination, _) = header(&backend.accept(), b"hello");
    assert_eq!(source, Some("203.0.113.7:56324".parse().unwrap()));
    assert_eq!(destination, Some("192.0.2.1:443".parse().unwrap()));
}
