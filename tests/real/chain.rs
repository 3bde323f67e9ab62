//! HAProxy before and behind: ringway as one hop of several.

use crate::content::{assert_same, content};
use crate::curl::curl;
use crate::nginx::Nginx;
use crate::programs::{Program, free_address, installed, output, server};
use crate::proxy_before;
use std::fs;
use std::net::SocketAddr;
use tempfile::TempDir;

/// A running HAProxy that passes everything to one address.
struct Haproxy {
    _program: Program,
    _folder: TempDir,
    address: SocketAddr,
}

impl Haproxy {
    fn start(mode: &str, to: SocketAddr) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let settings = folder.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode {mode}\n timeout connect 10s\n timeout client 1m\n timeout server 1m\n\
             listen all\n bind {address}\n server next {to}\n"
        );
        fs::write(&settings, text).unwrap();
        let mut command = server("haproxy");
        command.args(["-db", "-q", "-f"]).arg(settings);
        let program = Program::listening(&mut command, folder.path(), address);
        Self {
            _program: program,
            _folder: folder,
            address,
        }
    }
}

#[test]
fn files_pass_unchanged_between_two_haproxies() {
    if !installed(&["curl", "haproxy", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let sent = content(0, 20_000_000);
    nginx.publish("down", &sent);
    let behind = Haproxy::start("tcp", nginx.address());
    let proxy = proxy_before(behind.address);
    let before = Haproxy::start("http", proxy.address());
    let url = |name: &str| format!("http://{}/{name}", before.address);
    assert_same(&output(curl().arg(url("down"))), &sent);
    let mut upload = curl();
    upload.arg("--upload-file").arg(nginx.file("down"));
    output(upload.arg(url("up")));
    assert_same(&fs::read(nginx.file("up")).unwrap(), &sent);
}
