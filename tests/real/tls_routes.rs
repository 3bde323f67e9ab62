//! `mode = "tls"`: openssl and curl reach the server of the name that they ask for, and nobody stands in between.

use crate::certificate::Certificate;
use crate::curl::curl;
use crate::haproxy::Haproxy;
use crate::identity::backend;
use crate::nginx::Nginx;
use crate::programs::{client, installed, output, text};
use crate::support::{Proxy, Setup};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What clients ask for, and the server that they are to reach. `feed` is where no route leads.
pub(crate) const NAMES: [(&str, &str); 4] = [
    ("a.example.com", "exact"),
    ("b.example.com", "below"),
    ("c.b.example.com", "below"),
    ("example.org", "feed"),
];

const ROUTES: &str = "route = [{ sni = \"a.example.com\", upstream = \"exact\" }, { sni = \"*.example.com\", upstream = \"below\" }]";

/// nginx with a certificate of its own, which says what it knows of the handshake.
struct Server {
    name: &'static str,
    certificate: Certificate,
    nginx: Nginx,
}

impl Server {
    fn start(name: &'static str) -> Self {
        let names = NAMES.iter().filter(|(_, server)| *server == name);
        let mut for_whom: String = names.map(|(asked, _)| format!("DNS:{asked},")).collect();
        for_whom.push_str("IP:127.0.0.1");
        let certificate = Certificate::of(name, &for_whom);
        let file = certificate.file().display().to_string();
        let lines = format!(
            "ssl_certificate {file}; ssl_certificate_key {file}; ssl_protocols TLSv1.2 TLSv1.3; \
             default_type text/plain; \
             location / {{ return 200 \"{name} $ssl_protocol $server_protocol $ssl_curves\"; }}"
        );
        let nginx = Nginx::serving("ssl http2", &lines);
        Self {
            name,
            certificate,
            nginx,
        }
    }

    /// The upstream of its name.
    fn upstream(&self) -> String {
        let table = format!("[[upstream]]\nname = \"{}\"\n", self.name);
        table + &backend(self.name, self.nginx.address())
    }
}

/// A proxy before all of them.
pub(crate) struct Scene {
    servers: [Server; 3],
    proxy: Proxy,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let servers = ["exact", "below", "feed"].map(Server::start);
        let [exact, below, feed] = &servers;
        let proxy = tls(feed.nginx.address())
            .listener(ROUTES)
            .more(&exact.upstream())
            .more(&below.upstream())
            .start();
        Self { servers, proxy }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// The certificate of the server of that name.
    fn certificate(&self, name: &str) -> PathBuf {
        let found = self.servers.iter().find(|server| server.name == name);
        found.unwrap().certificate.file()
    }

    /// What `openssl s_client` says of a handshake.
    #[track_caller]
    fn handshake(&self, arguments: &[&str]) -> String {
        let mut command = client("openssl");
        command.args(["s_client", "-connect", &self.address().to_string()]);
        // What it prints of a server's h2 is not text.
        let said = output(command.args(arguments).stdin(Stdio::null()));
        String::from_utf8_lossy(&said).into_owned()
    }
}

fn tls(server: SocketAddr) -> Setup {
    Setup::new(&[server])
        .process("workers = 2")
        .listener("mode = \"tls\"")
}

/// curl that trusts this certificate alone and asks for this name.
fn asking_for(name: &str, at: SocketAddr, trusted: &Path) -> Command {
    let mut command = curl();
    command.arg("--cacert").arg(trusted);
    let resolve = format!("{name}:{}:{}", at.port(), at.ip());
    command.args(["--resolve", &resolve]);
    command.arg(format!("https://{name}:{}/", at.port()));
    command
}

#[test]
fn curl_reaches_the_server_of_its_name_by_each_version_of_tls_and_http() {
    if !installed(&["curl", "nginx", "openssl"]) {
        return;
    }
    let scene = Scene::start();
    for (name, server) in NAMES {
        let trusted = scene.certificate(server);
        for (tls, http, protocol) in [
            ("1.2", "--http1.1", "HTTP/1.1"),
            ("1.3", "--http2", "HTTP/2.0"),
        ] {
            let mut command = asking_for(name, scene.address(), &trusted);
            let answer = text(command.args(["--tls-max", tls, http]));
            let expected = format!("{server} TLSv{tls} {protocol} ");
            assert!(answer.starts_with(&expected), "{name}: {answer}");
        }
        let line = scene
            .proxy
            .await_access_line(|line| line.text("sni") == name);
        assert_eq!(line.text("upstream"), server);
    }
}

#[test]
fn a_client_without_a_name_gets_the_listeners_upstream() {
    if !installed(&["curl", "nginx", "openssl"]) {
        return;
    }
    let scene = Scene::start();
    let mut command = curl();
    command.arg("--cacert").arg(scene.certificate("feed"));
    let answer = text(command.arg(format!("https://{}/", scene.address())));
    assert!(answer.starts_with("feed "), "{answer}");
    assert_eq!(scene.proxy.await_first_access().text("sni"), "");
    let said = scene.handshake(&["-noservername"]);
    assert!(said.contains("subject=CN = feed\n"), "{said}");
}

#[test]
fn openssl_reaches_the_server_of_its_name_in_whatever_case_and_agrees_on_a_protocol_with_it() {
    if !installed(&["nginx", "openssl"]) {
        return;
    }
    let scene = Scene::start();
    for (version, name, server) in [
        ("-tls1_2", "a.example.com", "exact"),
        ("-tls1_3", "A.Example.COM", "exact"),
        ("-tls1_3", "b.example.com", "below"),
    ] {
        let said = scene.handshake(&[version, "-servername", name, "-alpn", "x,h2,http/1.1"]);
        let subject = format!("subject=CN = {server}\n");
        assert!(said.contains(&subject), "{name}: {said}");
        assert!(said.contains("ALPN protocol: h2\n"), "{name}: {said}");
    }
}

#[test]
fn a_hello_of_several_segments_and_buffers_is_routed_by_its_name() {
    if !installed(&["nginx", "openssl"]) {
        return;
    }
    let scene = Scene::start();
    // Fifty protocols that nobody speaks, and one.
    let unknown = format!("{},", "x".repeat(200)).repeat(50);
    let protocols = format!("{unknown}http/1.1");
    let said = scene.handshake(&["-servername", "a.example.com", "-alpn", &protocols]);
    assert!(said.contains("subject=CN = exact\n"), "{said}");
    assert!(said.contains("ALPN protocol: http/1.1\n"), "{said}");
    let line = scene.proxy.await_first_access();
    assert!(line.number("bytes_up") > 10_000, "{line:?}");
}

#[test]
fn plain_http_on_a_tls_port_is_closed_and_named() {
    if !installed(&["curl", "nginx", "openssl"]) {
        return;
    }
    let scene = Scene::start();
    let mut command = client("curl");
    let url = format!("http://{}/", scene.address());
    let code = command
        .args(["--silent", &url])
        .output()
        .unwrap()
        .status
        .code();
    // curl(1): 52 is no answer, 56 a reset.
    assert!(matches!(code, Some(52 | 56)), "{code:?}");
    let line = scene.proxy.await_first_access();
    assert_eq!(line.end(), ("bad-hello:plain-http/peeking", "PR"));
}

#[test]
fn haproxy_behind_is_told_the_server_name() {
    if !installed(&["curl", "haproxy", "openssl"]) {
        return;
    }
    let certificate = Certificate::of("server", "DNS:a.example.com");
    let bind = format!("accept-proxy ssl crt {}", certificate.file().display());
    let haproxy = Haproxy::answering(&bind, "%[fc_pp_authority] %[src]");
    let proxy = tls(haproxy.address())
        .upstream("proxy_protocol = \"v2\"")
        .start();
    let mut command = asking_for("a.example.com", proxy.address(), &certificate.file());
    let answer = text(command.args(["--interface", "127.0.3.1"]));
    assert_eq!(answer, "a.example.com 127.0.3.1");
}
