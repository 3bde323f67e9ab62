//! HAProxy before and behind: ringway as one hop of several.

use crate::content::{assert_same, content};
use crate::curl::curl;
use crate::haproxy::Haproxy;
use crate::nginx::Nginx;
use crate::programs::{installed, output};
use crate::proxy_before;
use std::fs;

#[test]
fn files_pass_unchanged_between_two_haproxies() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let sent = content(0, 20_000_000);
    nginx.publish("down", &sent);
    let behind = Haproxy::passing("tcp", nginx.address(), "");
    let proxy = proxy_before(behind.address());
    let before = Haproxy::passing("http", proxy.address(), "");
    let url = |name: &str| format!("http://{}/{name}", before.address());
    assert_same(&output(curl().arg(url("down"))), &sent);
    let mut upload = curl();
    upload.arg("--upload-file").arg(nginx.file("down"));
    output(upload.arg(url("up")));
    assert_same(&fs::read(nginx.file("up")).unwrap(), &sent);
}
