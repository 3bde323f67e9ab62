//! The PROXY protocol between ringway, HAProxy, nginx and curl: whoever is at the end knows who was at the beginning.

use crate::certificate::Certificate;
use crate::curl::curl;
use crate::haproxy::Haproxy;
use crate::identity::{answers, backend, foretold};
use crate::nginx::Nginx;
use crate::programs::{NGINX_STREAM, client, free_address, free_address_v6, installed, text};
use crate::support::{Backend, Peer, Proxy, Setup};
use std::net::SocketAddr;
use std::process::Command;

/// Headers that HAProxy sends: words of its `server` line.
const HEADERS: [&str; 4] = [
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2 proxy-v2-options crc32c",
    FULL,
];

/// All that it can tell.
const FULL: &str = "send-proxy-v2-ssl-cn \
                    proxy-v2-options unique-id,authority,crc32c,cert-key,cert-sig,ssl-cipher";

/// Where the client is that asks, for everyone to see.
const CLIENT: &str = "127.0.3.1";

/// nginx that answers with both addresses in its header.
fn told_nginx() -> Nginx {
    let seen = "$proxy_protocol_addr $proxy_protocol_port \
                $proxy_protocol_server_addr $proxy_protocol_server_port";
    Nginx::serving(
        "proxy_protocol",
        &format!("location / {{ return 200 \"{seen}\"; }}"),
    )
}

/// The same, as they should be.
fn seen(client: SocketAddr, server: SocketAddr) -> String {
    format!(
        "{} {} {} {}",
        client.ip(),
        client.port(),
        server.ip(),
        server.port()
    )
}

/// In front of that server, and behind proxies of this machine.
fn behind_proxies(server: SocketAddr) -> Setup {
    taking(Setup::new(&[server]))
}

fn taking(setup: Setup) -> Setup {
    setup
        .process("workers = 2")
        .listener("proxy_protocol = \"required\"")
        .listener("proxy_protocol_from = [\"127.0.0.0/8\", \"::1\"]")
}

fn telling(server: SocketAddr, version: &str) -> Setup {
    Setup::new(&[server]).upstream(&format!("proxy_protocol = \"{version}\""))
}

/// Lines of a HAProxy that sends such headers.
fn sending(header: &str, to: SocketAddr) -> String {
    format!("mode tcp\n unique-id-format %ci-%cp\n server next {to} {header}")
}

/// A request for `/who`: from where it was sent, and the answer.
#[track_caller]
fn ask(from: &str, to: SocketAddr) -> (SocketAddr, String) {
    let url = format!("http://{to}/who");
    answered(curl().args(["--interface", from, &url]))
}

#[track_caller]
fn answered(command: &mut Command) -> (SocketAddr, String) {
    let said = text(command.args(["--write-out", "\n%{local_ip} %{local_port}"]));
    let (answer, from) = said.rsplit_once('\n').unwrap();
    let (ip, port) = from.split_once(' ').unwrap();
    let from = SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap());
    (from, answer.to_owned())
}

/// curl's exit code. Its man page: 52 is no answer, 56 a reset.
fn refusal(from: &str, to: SocketAddr) -> Option<i32> {
    let url = format!("http://{to}/who");
    let mut command = client("curl");
    command.args(["--silent", "--interface", from, &url]);
    command.output().unwrap().status.code()
}

#[track_caller]
fn assert_refused(from: &str, to: SocketAddr, proxy: &Proxy, why: &str) {
    let code = refusal(from, to);
    assert!(matches!(code, Some(52 | 56)), "{code:?}");
    let line = proxy.await_access_line(|line| line.text("end") == why);
    assert_eq!(line.text("code"), "PR");
    assert_eq!(line.text("backend"), "");
}

#[test]
fn haproxy_says_who_its_client_is_in_each_of_its_headers() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address()).start();
    for header in HEADERS {
        let haproxy = Haproxy::on(free_address(), "", &sending(header, proxy.address()));
        let (client, answer) = ask(CLIENT, haproxy.address());
        assert_eq!(answer, "files", "{header}");
        proxy.await_access_of(client);
    }
}

#[test]
fn haproxy_that_ends_tls_tells_certificate_and_server_name_besides() {
    if !installed(&["curl", "haproxy", "nginx", "openssl"]) {
        return;
    }
    let (ours, theirs) = (
        Certificate::of("server", "DNS:ws.example.com"),
        Certificate::of("one of the clients", "DNS:client"),
    );
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address()).start();
    let bind = format!(
        "ssl crt {} ca-file {} verify required",
        ours.file().display(),
        theirs.file().display()
    );
    let haproxy = Haproxy::on(free_address(), &bind, &sending(FULL, proxy.address()));
    let at = haproxy.address();
    let resolve = format!("ws.example.com:{}:{}", at.port(), at.ip());
    let mut command = curl();
    command.args(["--interface", CLIENT, "--resolve", &resolve]);
    command.arg("--cacert").arg(ours.file());
    command.arg("--cert").arg(theirs.file());
    command.arg(format!("https://ws.example.com:{}/who", at.port()));
    let (client, answer) = answered(&mut command);
    assert_eq!(answer, "files");
    proxy.await_access_of(client);
}

#[test]
fn nginx_says_who_its_client_is() {
    if !installed(&["curl", "nginx", NGINX_STREAM]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address()).start();
    let before = Nginx::passing(proxy.address(), "proxy_protocol on;");
    let (client, answer) = ask(CLIENT, before.address());
    assert_eq!(answer, "files");
    proxy.await_access_of(client);
}

#[test]
fn nginx_is_told_who_the_client_is() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = told_nginx();
    for version in ["v1", "v2"] {
        let proxy = telling(nginx.address(), version).start();
        let (client, answer) = ask(CLIENT, proxy.address());
        assert_eq!(answer, seen(client, proxy.address()), "{version}");
    }
}

#[test]
fn haproxy_is_told_who_the_client_is() {
    if !installed(&["curl", "haproxy"]) {
        return;
    }
    let haproxy = Haproxy::answering("accept-proxy", "%[src] %[src_port] %[dst] %[dst_port]");
    for version in ["v1", "v2"] {
        let proxy = telling(haproxy.address(), version).start();
        let (client, answer) = ask(CLIENT, proxy.address());
        assert_eq!(answer, seen(client, proxy.address()), "{version}");
    }
}

#[test]
fn haproxy_is_told_the_host_and_an_id_that_is_no_other_connections() {
    if !installed(&["curl", "haproxy"]) {
        return;
    }
    let haproxy = Haproxy::answering("accept-proxy", "%[fc_pp_authority] %[fc_pp_unique_id]");
    let proxy = telling(haproxy.address(), "v2")
        .listener("mode = \"http\"")
        .start();
    let url = format!("http://{}/", proxy.address());
    let ask = || text(curl().args(["--header", "Host: ws.example.com", &url]));
    let (first, second) = (ask(), ask());
    for answer in [&first, &second] {
        let (host, id) = answer.split_once(' ').unwrap();
        assert_eq!((host, id.len()), ("ws.example.com", 16), "{answer}");
    }
    assert_ne!(first, second);
}

#[test]
fn what_haproxy_told_is_what_nginx_is_told() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = told_nginx();
    for (header, version) in [("send-proxy", "v2"), ("send-proxy-v2", "v1")] {
        let proxy = taking(telling(nginx.address(), version)).start();
        let haproxy = Haproxy::passing("tcp", proxy.address(), header);
        let (client, answer) = ask(CLIENT, haproxy.address());
        assert_eq!(answer, seen(client, haproxy.address()), "{header}");
        proxy.await_access_of(client);
    }
}

#[test]
fn one_ringway_is_told_by_another() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = told_nginx();
    let http = |setup: Setup| setup.listener("mode = \"http\"");
    for version in ["v1", "v2"] {
        let second = http(taking(telling(nginx.address(), version))).start();
        let first = http(telling(second.address(), version)).start();
        let (client, answer) = ask(CLIENT, first.address());
        assert_eq!(answer, seen(client, first.address()), "{version}");
        second.await_access_of(client);
    }
}

#[test]
fn haproxys_client_of_a_unix_socket_is_nobody_and_served() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address()).start();
    let folder = tempfile::tempdir().unwrap();
    for (header, own) in [("send-proxy", "127.0.4.2"), ("send-proxy-v2", "127.0.4.3")] {
        let socket = folder.path().join(header).display().to_string();
        let lines = sending(header, proxy.address());
        let lines = format!("bind unix@{socket}\n {lines} source {own}");
        let _haproxy = Haproxy::on(free_address(), "", &lines);
        let answer = text(curl().args(["--unix-socket", &socket, "http://files/who"]));
        assert_eq!(answer, "files");
        proxy.await_access_line(|line| line.text("client").starts_with(own));
    }
}

#[test]
fn clients_of_ipv6_are_told_over_ipv4() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = told_nginx();
    for (header, version) in [("send-proxy", "v1"), ("send-proxy-v2", "v2")] {
        let proxy = taking(telling(nginx.address(), version)).start();
        let lines = sending(header, proxy.address());
        let haproxy = Haproxy::on(free_address_v6(), "", &lines);
        let (client, answer) = ask("::1", haproxy.address());
        assert!(client.is_ipv6());
        assert_eq!(answer, seen(client, haproxy.address()), "{header}");
        proxy.await_access_of(client);
        let proxy = telling(nginx.address(), version)
            .listener("listen = \"[::1]:0\"")
            .start();
        let (client, answer) = ask("::1", proxy.address());
        assert_eq!(answer, seen(client, proxy.address()), "{version}");
    }
}

#[test]
fn told_addresses_choose_the_backend() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let (a, b) = (Nginx::start("a"), Nginx::start("b"));
    let setup = taking(Setup::new(&[]))
        .more(&backend("a", a.address()))
        .more(&backend("b", b.address()));
    let proxy = setup.start();
    let haproxy = Haproxy::passing("tcp", proxy.address(), "send-proxy-v2");
    let answers = answers(haproxy.address());
    assert!(answers.contains('a') && answers.contains('b'), "{answers}");
    assert_eq!(answers, foretold(&setup));
}

#[test]
fn told_addresses_are_denied() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address())
        .listener(&format!("deny = [\"{CLIENT}\"]"))
        .start();
    let haproxy = Haproxy::passing("tcp", proxy.address(), "send-proxy-v2");
    assert_refused(CLIENT, haproxy.address(), &proxy, "denied/greeting");
    assert_eq!(ask("127.0.3.2", haproxy.address()).1, "files");
}

#[test]
fn told_addresses_are_counted() {
    if !installed(&["haproxy"]) {
        return;
    }
    let backend = Backend::echo();
    let proxy = behind_proxies(backend.address())
        .listener("max_connections_per_ip = 2")
        .start();
    let haproxy = Haproxy::passing("tcp", proxy.address(), "send-proxy-v2");
    let from = |client: &str| {
        let client = Peer::connect_from(client.parse().unwrap(), haproxy.address());
        // Who is refused may be told so before it has spoken.
        let _ = client.try_send(b"hello");
        client
    };
    let held = [CLIENT, CLIENT, "127.0.3.2"].map(from);
    held.iter().for_each(|client| client.expect(b"hello"));
    assert_eq!(from(CLIENT).drain_some(), b"");
    let line = proxy.await_access_line(|line| line.text("end") == "too-many/greeting");
    assert!(line.text("client").starts_with(CLIENT), "{line:?}");
}

#[test]
fn a_proxy_that_is_not_believed_is_refused() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address())
        .listener("proxy_protocol_from = [\"10.0.0.0/8\"]")
        .start();
    for header in ["send-proxy", "send-proxy-v2"] {
        let haproxy = Haproxy::passing("tcp", proxy.address(), header);
        assert_refused(
            CLIENT,
            haproxy.address(),
            &proxy,
            "untrusted-proxy/greeting",
        );
    }
}

#[test]
fn a_proxy_that_tells_nothing_is_refused_where_headers_are_required() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address()).start();
    let haproxy = Haproxy::passing("tcp", proxy.address(), "");
    assert_refused(
        CLIENT,
        haproxy.address(),
        &proxy,
        "no-proxy-header/greeting",
    );
}

#[test]
fn curl_is_served_with_and_without_a_header_where_they_are_optional() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address())
        .listener("proxy_protocol = \"optional\"")
        .start();
    let url = format!("http://{}/who", proxy.address());
    for more in [&[][..], &["--haproxy-protocol"]] {
        let (client, answer) = answered(curl().args(more).args(["--interface", CLIENT, &url]));
        assert_eq!(answer, "files", "{more:?}");
        proxy.await_access_of(client);
    }
}

#[test]
fn haproxys_own_health_checks_are_answered_and_count_as_its_own() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = behind_proxies(nginx.address()).start();
    // The first check comes at once. If it fails it takes the server out, and the client gets 503.
    let lines = format!(
        "mode http\n option httpchk GET /who\n http-check expect string files\n server next {} \
         send-proxy-v2 check check-send-proxy inter 20s fall 1 source 127.0.4.1",
        proxy.address()
    );
    let haproxy = Haproxy::on(free_address(), "", &lines);
    let check = proxy.await_access_line(|line| line.text("client").starts_with("127.0.4.1:"));
    assert!(check.number("bytes_down") > 0, "{check:?}");
    assert_eq!(ask(CLIENT, haproxy.address()).1, "files");
}
