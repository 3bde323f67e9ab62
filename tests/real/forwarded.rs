//! `forwarded = "append"`, as read by servers that other people wrote.

use crate::content::{assert_same, content};
use crate::curl::curl;
use crate::haproxy::Haproxy;
use crate::nginx::Nginx;
use crate::programs::{Program, free_address, free_address_v6, installed, output, server, text};
use crate::support::Setup;
use std::fs;
use std::net::SocketAddr;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/fields.py");

/// What a client sends that wants to be somebody else: each name in a way that some server takes for it.
const SPOOFED: [&str; 6] = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Real-IP: 6.6.6.6",
    "x-real-ip: 6.6.6.7",
    "X_Real_IP: 6.6.6.8",
    "X-Forwarded-Proto: https",
    "X_Forwarded_Proto: https",
];

/// Python's http.server, which answers with the fields that it got, as they are, a line each.
struct Fields {
    _program: Program,
    _folder: TempDir,
    address: SocketAddr,
}

impl Fields {
    fn start() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = server("python3");
        // -B: no compiled copy beside the source.
        command.args(["-B", SCRIPT, &address.ip().to_string()]);
        command.arg(address.port().to_string());
        let program = Program::listening(&mut command, folder.path(), address);
        Self {
            _program: program,
            _folder: folder,
            address,
        }
    }
}

/// nginx that believes one of the headers, and answers with who and over what it takes the client to have come.
fn believing(header: &str) -> Nginx {
    let lines = format!(
        "set_real_ip_from 127.0.0.0/8; real_ip_header {header}; \
         location / {{ return 200 \"$remote_addr $http_x_forwarded_proto\"; }}"
    );
    Nginx::serving("", &lines)
}

fn appending(server: SocketAddr) -> Setup {
    Setup::new(&[server])
        .listener("mode = \"http\"")
        .listener("forwarded = \"append\"")
}

/// The answer to a client of that address which sends these fields.
#[track_caller]
fn ask(from: &str, fields: &[&str], to: SocketAddr) -> String {
    let mut command = curl();
    command.args(["--interface", from]);
    for field in fields {
        command.args(["--header", field]);
    }
    text(command.arg(format!("http://{to}/")))
}

#[test]
fn a_server_gets_each_field_once_and_the_rest_of_the_head_as_it_was() {
    if !installed(&["curl", "python3"]) {
        return;
    }
    let fields = Fields::start();
    let proxy = appending(fields.address).start();
    let more = ["Host: a.example", "X-Other: kept", "User-Agent: curl"];
    let sent = [&more[..], &SPOOFED].concat();
    let got = ask("127.0.3.1", &sent, proxy.address());
    let expected = "Host: a.example\nAccept: */*\nX-Other: kept\nUser-Agent: curl\n\
                    X-Forwarded-For: 6.6.6.6, 127.0.3.1\n\
                    X-Real-IP: 127.0.3.1\nX-Forwarded-Proto: http\n";
    let sorted = |fields: &str| {
        let mut fields: Vec<_> = fields.lines().map(ToOwned::to_owned).collect();
        fields.sort();
        fields
    };
    assert_eq!(sorted(&got), sorted(expected));
}

#[test]
fn nginx_believes_our_fields_and_not_the_clients() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    for header in ["X-Real-IP", "X-Forwarded-For"] {
        let nginx = believing(header);
        let proxy = appending(nginx.address()).start();
        for sent in [&[][..], &SPOOFED] {
            let answer = ask("127.0.3.1", sent, proxy.address());
            assert_eq!(answer, "127.0.3.1 http", "{header} {sent:?}");
        }
    }
}

#[test]
fn a_client_of_ipv6_is_forwarded_as_such() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = believing("X-Real-IP");
    let proxy = appending(nginx.address())
        .listener("listen = \"[::1]:0\"")
        .start();
    assert_eq!(ask("::1", &SPOOFED, proxy.address()), "::1 http");
}

#[test]
fn behind_haproxy_the_forwarded_address_is_the_clients() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = believing("X-Forwarded-For");
    let proxy = appending(nginx.address())
        .listener("proxy_protocol = \"required\"")
        .start();
    let haproxy = Haproxy::passing("tcp", proxy.address(), "send-proxy-v2");
    let answer = ask("127.0.3.1", &SPOOFED, haproxy.address());
    assert_eq!(answer, "127.0.3.1 http");
    let lines = format!("mode tcp\n server next {} send-proxy", proxy.address());
    let haproxy = Haproxy::on(free_address_v6(), "", &lines);
    assert_eq!(ask("::1", &SPOOFED, haproxy.address()), "::1 http");
}

#[test]
fn a_body_follows_the_changed_head_unchanged() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let proxy = appending(nginx.address()).start();
    let sent = content(0, 3_000_000);
    nginx.publish("sent", &sent);
    let mut upload = curl();
    upload.arg("--upload-file").arg(nginx.file("sent"));
    output(upload.arg(format!("http://{}/got", proxy.address())));
    assert_same(&fs::read(nginx.file("got")).unwrap(), &sent);
}
