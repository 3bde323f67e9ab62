//! curl and the admin address: what an operator types.

use crate::curl::curl;
use crate::programs::{installed, output, text};
use crate::support::{Backend, Setup};
use serde_json::Value;

#[test]
fn curl_asks_and_orders_over_tcp() {
    if !installed(&["curl"]) {
        return;
    }
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let url = |path: &str| format!("http://{}{path}", proxy.admin().as_str());
    let ready = text(
        curl()
            .args(["--write-out", "%{http_code}"])
            .arg(url("/readyz")),
    );
    assert_eq!(ready, "ok\n200");
    let backend = format!("/upstreams/feed/backends/{}", backend.address());
    let mut drain = curl();
    drain.args(["--json", "{\"state\": \"drain\"}"]);
    output(drain.arg(url(&backend)));
    let status = output(curl().arg(url("/status.json")));
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["upstreams"][0]["backends"][0]["admin"], "drain");
    // One connection, several requests.
    let both = text(curl().arg(url("/healthz")).arg(url("/config")));
    assert!(both.starts_with("ok\n[process]\n"), "{both}");
}

#[test]
fn curl_asks_over_the_unix_socket() {
    if !installed(&["curl"]) {
        return;
    }
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let admin = format!("[admin]\nlisten = \"unix:{}\"\n", path.display());
    let _proxy = Setup::before(&backend).more(&admin).start();
    let mut ask = curl();
    ask.arg("--unix-socket").arg(&path);
    let csv = text(ask.arg("http://ringway/upstreams?format=csv"));
    assert!(csv.starts_with("0,feed,"), "{csv}");
}
