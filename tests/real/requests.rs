//! curl in front of `mode = "http"`: what its first request decides, what follows untouched, and replies that it can read.

use crate::content::{assert_same, content};
use crate::curl::curl;
use crate::identity::backend;
use crate::nginx::Nginx;
use crate::programs::{client, free_address, installed, output, text};
use crate::support::{Proxy, Setup};
use std::fs;
use std::net::SocketAddr;

/// nginx that answers with its name, and which request on which connection it was.
fn counting(name: &str, words: &str) -> Nginx {
    let answer = format!("{name} $connection $connection_requests $request_uri $http_x_note\\n");
    Nginx::serving(words, &format!("location / {{ return 200 \"{answer}\"; }}"))
}

fn http(server: SocketAddr) -> Setup {
    Setup::new(&[server])
        .process("workers = 2")
        .listener("mode = \"http\"")
}

/// The same, but what asks for `host` goes to the other server.
fn routed(server: SocketAddr, host: &str, other: SocketAddr) -> Setup {
    http(server)
        .listener(&format!(
            "route = [{{ host = \"{host}\", upstream = \"other\" }}]"
        ))
        .more("[[upstream]]\nname = \"other\"\n")
        .more(&backend("other", other))
}

/// Only `a.example` is known, and nobody listens where it leads.
fn leading_nowhere() -> Proxy {
    http(free_address())
        .listener("route = [{ host = \"a.example\", upstream = \"feed\" }]")
        .routes_only()
        .start()
}

/// Status, whether the reply says that it is the last, and its body; whatever the client has sent by then.
#[track_caller]
fn reply(proxy: &Proxy, arguments: &[&str]) -> (String, bool, String) {
    let mut command = client("curl");
    command.args(["--silent", "--show-error", "--include"]);
    let said = text(
        command
            .args(arguments)
            .arg(format!("http://{}/", proxy.address())),
    );
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let (status, fields) = head.split_once("\r\n").unwrap();
    let is_last = fields
        .lines()
        .any(|field| field.eq_ignore_ascii_case("connection: close"));
    (status.to_owned(), is_last, body.to_owned())
}

#[test]
fn two_hundred_requests_of_one_connection_arrive_unchanged() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = counting("a", "");
    let proxy = http(nginx.address()).start();
    let url = format!("http://{}/file-[1-200]?n=%20", proxy.address());
    let got = text(curl().args(["--header", "X-Note: ü", &url]));
    let connection = got.split(' ').nth(1).unwrap();
    let expected: String = (1..=200)
        .map(|n| format!("a {connection} {n} /file-{n}?n=%20 ü\n"))
        .collect();
    assert_eq!(got, expected);
    let line = &proxy.await_access(1)[0];
    assert_eq!(line.text("path"), "/file-1");
    assert_eq!(line.end(), ("client-fin/done", "--"));
    let exit = proxy.terminate();
    assert_eq!(
        exit.stderr.matches("\"end\":").count(),
        1,
        "{}",
        exit.stderr
    );
}

#[test]
fn a_large_file_behind_a_small_head_is_spliced_and_arrives_unchanged() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let sent = content(0, 30_000_000);
    nginx.publish("large", &sent);
    let proxy = http(nginx.address()).start();
    let url = |name: &str| format!("http://{}/{name}", proxy.address());
    assert_same(&output(curl().arg(url("large"))), &sent);
    let mut upload = curl();
    upload.arg("--upload-file").arg(nginx.file("large"));
    output(upload.arg(url("copy")));
    assert_same(&fs::read(nginx.file("copy")).unwrap(), &sent);
    for line in proxy.await_access(2) {
        assert_eq!(line.text("relay"), "copy+splice", "{line:?}");
    }
}

#[test]
fn a_connection_stays_where_its_first_request_led() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let (a, b) = (counting("a", ""), counting("b", ""));
    let proxy = routed(a.address(), "b.example", b.address()).start();
    let url = format!("http://{}/", proxy.address());
    let answers = |hosts: [&str; 2]| {
        let [first, second] = hosts.map(|host| format!("Host: {host}"));
        let mut command = curl();
        command.args(["--header", &first, &url, "--next", "--fail", "--silent"]);
        text(command.args(["--header", &second, &url]))
    };
    for (hosts, name) in [
        (["a.example", "b.example"], 'a'),
        (["b.example", "a.example"], 'b'),
    ] {
        let answers = answers(hosts);
        assert!(
            answers.lines().all(|line| line.starts_with(name)),
            "{answers}"
        );
        assert_eq!(answers.lines().count(), 2);
    }
}

#[test]
fn http_2_by_prior_knowledge_goes_to_the_listeners_upstream_whatever_it_asks_for() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let (a, b) = (counting("a", "http2"), counting("b", "http2"));
    let proxy = routed(a.address(), "b.example", b.address()).start();
    let mut command = curl();
    command.args(["--http2-prior-knowledge", "--header", "Host: b.example"]);
    command.args(["--write-out", "%{http_version}"]);
    let got = text(command.arg(format!("http://{}/", proxy.address())));
    assert!(got.starts_with("a ") && got.ends_with(" / \n2"), "{got}");
}

#[test]
fn an_upgrade_to_http_2_that_the_server_does_not_take_leaves_http_1() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = counting("a", "");
    let proxy = http(nginx.address()).start();
    let mut command = curl();
    command.args(["--http2", "--write-out", "%{http_version}"]);
    let got = text(command.arg(format!("http://{}/", proxy.address())));
    assert!(got.ends_with(" 1 / \n1.1"), "{got}");
}

#[test]
fn what_is_not_passed_on_gets_a_reply_that_curl_reads() {
    if !installed(&["curl"]) {
        return;
    }
    let proxy = leading_nowhere();
    let long = format!("X-Long: {}", "x".repeat(100_000));
    let twice = [
        "-H",
        "Content-Length: 1",
        "-H",
        "Transfer-Encoding: chunked",
    ];
    for (arguments, status) in [
        (&["--request-target", "*"][..], "400 Bad Request"),
        (&[&twice[..], &["--data", "x"]].concat(), "400 Bad Request"),
        (&["-H", "Host: b.example"], "404 Not Found"),
        (&["-H", &long], "431 Request Header Fields Too Large"),
        (&["-H", "Host: a.example"], "503 Service Unavailable"),
        (
            &["-H", "Host: a.example", "--http1.0"],
            "503 Service Unavailable",
        ),
    ] {
        let (line, is_last, _) = reply(&proxy, arguments);
        assert_eq!(line, format!("HTTP/1.1 {status}"));
        assert!(is_last, "{status}");
    }
}

#[test]
fn a_reply_is_read_while_a_body_is_still_being_sent() {
    if !installed(&["curl"]) {
        return;
    }
    let proxy = leading_nowhere();
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    fs::write(&body, content(0, 20_000_000)).unwrap();
    let body = body.display().to_string();
    // Without Expect, curl does not wait to be asked for its body.
    let upload = ["--upload-file", &body, "-H", "Expect:"];
    let (status, ..) = reply(&proxy, &[&upload[..], &["-H", "Host: b.example"]].concat());
    assert_eq!(status, "HTTP/1.1 404 Not Found");
}
