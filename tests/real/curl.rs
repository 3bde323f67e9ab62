//! curl and nginx: whole files, parts of files, many requests on one connection.

use crate::content::{assert_same, content};
use crate::nginx::Nginx;
use crate::programs::{client, installed, output, text};
use crate::proxy_before;
use crate::support::{End, Proxy};
use std::fs;
use std::process::Command;

const LARGE: usize = 100_000_000;

/// curl, quiet, failing when the answer is an error.
pub(crate) fn curl() -> Command {
    let mut command = client("curl");
    command.args(["--silent", "--show-error", "--fail"]);
    command
}

/// The address of a file behind a listener.
fn url(proxy: &Proxy, name: &str) -> String {
    format!("http://{}/{name}", proxy.address())
}

#[test]
fn a_download_of_100_mb_arrives_unchanged() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let sent = content(0, LARGE);
    nginx.publish("large", &sent);
    let proxy = proxy_before(nginx.address());
    let got = output(curl().arg(url(&proxy, "large")));
    assert_same(&got, &sent);
    let line = &proxy.await_access(1)[0];
    assert!(line.number("bytes_down") > sent.len() as u64, "{line:?}");
    assert_eq!(line.end(), ("client-fin/done", "--"));
    assert_eq!(line.text("relay"), "copy+splice");
}

#[test]
fn an_upload_of_100_mb_arrives_unchanged() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large");
    let sent = content(0, LARGE);
    fs::write(&file, &sent).unwrap();
    let proxy = proxy_before(nginx.address());
    output(
        curl()
            .arg("--upload-file")
            .arg(&file)
            .arg(url(&proxy, "large")),
    );
    assert_same(&fs::read(nginx.file("large")).unwrap(), &sent);
    let line = &proxy.await_access(1)[0];
    assert!(line.number("bytes_up") > sent.len() as u64, "{line:?}");
    assert_eq!(line.end(), ("client-fin/done", "--"));
    assert_eq!(line.text("relay"), "copy+splice");
}

#[test]
fn a_slow_reader_gets_every_byte() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    // Far more than the sockets between them can hold, so that the reader's pace reaches nginx.
    let sent = content(0, 30_000_000);
    nginx.publish("large", &sent);
    let proxy = proxy_before(nginx.address());
    let got = output(
        curl()
            .args(["--limit-rate", "15M"])
            .arg(url(&proxy, "large")),
    );
    assert_same(&got, &sent);
}

#[test]
fn parts_of_a_file_make_the_whole() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let sent = content(0, 5_000_000);
    nginx.publish("large", &sent);
    let proxy = proxy_before(nginx.address());
    let range = |range: &str| output(curl().args(["--range", range]).arg(url(&proxy, "large")));
    assert_same(&range("1000000-1999999"), &sent[1_000_000..2_000_000]);
    assert_same(&range("-7"), &sent[4_999_993..]);
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("half");
    fs::write(&half, &sent[..2_345_678]).unwrap();
    let mut resume = curl();
    resume.args(["--continue-at", "-", "--output"]).arg(&half);
    output(resume.arg(url(&proxy, "large")));
    assert_same(&fs::read(&half).unwrap(), &sent);
}

#[test]
fn a_hundred_downloads_at_once_do_not_mix() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let names = 1..=100;
    for name in names.clone() {
        nginx.publish(&name.to_string(), &content(name * 5000, 500_000 + name));
    }
    let proxy = proxy_before(nginx.address());
    let folder = tempfile::tempdir().unwrap();
    let mut command = curl();
    command.args([
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        "100",
    ]);
    command.arg("--output").arg(folder.path().join("#1"));
    output(command.arg(url(&proxy, "[1-100]")));
    for name in names {
        let got = fs::read(folder.path().join(name.to_string())).unwrap();
        assert_same(&got, &content(name * 5000, 500_000 + name));
    }
}

#[test]
fn a_kept_alive_connection_is_one_connection_to_the_backend() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let names = 1..=50;
    for name in names.clone() {
        nginx.publish(&name.to_string(), format!("file {name}\n").as_bytes());
    }
    let proxy = proxy_before(nginx.address());
    let got = text(curl().arg(url(&proxy, "[1-50]")));
    assert_eq!(
        got,
        names
            .map(|name| format!("file {name}\n"))
            .collect::<String>()
    );
    proxy.await_access(1);
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert_eq!(exit.stderr.matches("\"end\":").count(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    if !installed(&["nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let names = 0..300;
    for name in names.clone() {
        nginx.publish(&name.to_string(), &content(name * 1000, 10_000));
    }
    let proxy = proxy_before(nginx.address());
    let peer = proxy.connect();
    let requests: String = names
        .clone()
        .map(|name| format!("GET /{name} HTTP/1.1\r\nHost: files\r\n\r\n"))
        .collect();
    peer.send(requests.as_bytes());
    peer.send(b"GET /who HTTP/1.1\r\nHost: files\r\nConnection: close\r\n\r\n");
    let (answers, end) = peer.drain();
    assert_eq!(end, End::Fin);
    let mut rest = answers.as_slice();
    for name in names {
        assert_same(body(&mut rest, 10_000), &content(name * 1000, 10_000));
    }
    assert_eq!(body(&mut rest, 5), b"files");
    assert!(rest.is_empty(), "{} bytes too many", rest.len());
}

/// Takes an answer's head and body of that length from the front.
#[track_caller]
fn body<'a>(answers: &mut &'a [u8], length: usize) -> &'a [u8] {
    assert!(answers.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let head = answers.windows(4).position(|four| four == b"\r\n\r\n");
    let (body, rest) = answers[head.unwrap() + 4..].split_at(length);
    *answers = rest;
    body
}
