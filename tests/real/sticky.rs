//! WebSockets of one session and their one backend: python's `websockets`, node's `ws` and curl as clients. What they say
//! is in `sticky.py` and `sticky.js`.

use crate::curl::curl;
use crate::identity::{backend, foretold_by};
use crate::nginx::Nginx;
use crate::programs::{
    NODE_WS, PYTHON_WEBSOCKETS, Program, client, free_address, installed, node, output, server,
    text,
};
use crate::support::Setup;
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/sticky.py");
const NODE_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/sticky.js");

/// Enough for each of three backends to have some.
const SESSIONS: u32 = 24;

/// A WebSocket server that says its name.
struct Named {
    program: Program,
    _folder: TempDir,
    address: SocketAddr,
}

impl Named {
    fn start(name: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = server("python3");
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        script(&mut command).args(["serve", &ip, &port, name]);
        let program = Program::listening(&mut command, folder.path(), address);
        Self {
            program,
            _folder: folder,
            address,
        }
    }
}

/// Three of them, and how to get to them.
pub(crate) struct Servers {
    servers: [(&'static str, Named); 3],
    pub(crate) setup: Setup,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let servers = ["a", "b", "c"].map(|name| (name, Named::start(name)));
        let setup = Setup::new(&[])
            .process("workers = 2")
            .listener("mode = \"http\"")
            .upstream("balance = \"hash\"")
            .upstream("hash_key = [\"cookie:session_id\", \"query:userId\", \"client_ip\"]");
        let setup = servers.iter().fold(setup, |setup, (name, it)| {
            setup.more(&backend(name, it.address))
        });
        Self { servers, setup }
    }

    fn kill(&mut self, name: &str) {
        let found = self.servers.iter_mut().find(|(it, _)| *it == name);
        found.unwrap().1.program.kill();
    }

    /// Where `ringway map` says that the sessions go.
    fn foretold(&self) -> String {
        let sessions = (0..SESSIONS).map(|session| session.to_string());
        foretold_by("cookie:session_id", sessions, &self.setup)
    }
}

/// -B: no compiled copy beside the source.
fn script(python: &mut Command) -> &mut Command {
    python.args(["-B", SCRIPT])
}

/// Who answers the sessions, told by `cookie` or `query`, in order.
#[track_caller]
fn by_python(how: &str, at: SocketAddr) -> String {
    names(script(&mut client("python3")), how, at)
}

#[track_caller]
fn by_node(how: &str, at: SocketAddr) -> String {
    names(node().arg(NODE_SCRIPT), how, at)
}

#[track_caller]
fn names(client: &mut Command, how: &str, at: SocketAddr) -> String {
    let url = format!("ws://{at}/chat");
    let said = text(client.args([how, &url, &SESSIONS.to_string()]));
    said.trim_end().to_owned()
}

#[test]
fn a_session_keeps_its_backend_by_cookie_and_query_across_processes_and_a_restart() {
    if !installed(&["python3", PYTHON_WEBSOCKETS]) {
        return;
    }
    let servers = Servers::start();
    let (first, second) = (servers.setup.start(), servers.setup.start());
    let names = by_python("cookie", first.address());
    assert!("abc".chars().all(|name| names.contains(name)), "{names}");
    assert_eq!(names, servers.foretold());
    assert_eq!(by_python("query", second.address()), names);
    assert_eq!(second.terminate().code, Some(0));
    let second = servers.setup.start();
    assert_eq!(by_python("cookie", second.address()), names);
}

#[test]
fn node_finds_the_backends_that_python_finds() {
    if !installed(&["node", NODE_WS, "python3", PYTHON_WEBSOCKETS]) {
        return;
    }
    let servers = Servers::start();
    let proxy = servers.setup.start();
    let names = by_node("cookie", proxy.address());
    assert_eq!(names, servers.foretold());
    assert_eq!(by_node("query", proxy.address()), names);
}

#[test]
fn behind_nginx_a_session_keeps_its_backend() {
    if !installed(&["nginx", "python3", PYTHON_WEBSOCKETS]) {
        return;
    }
    let servers = Servers::start();
    let proxy = servers.setup.start();
    let lines = format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; \
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }}",
        proxy.address()
    );
    let nginx = Nginx::serving("", &lines);
    let names = by_python("cookie", nginx.address());
    assert_eq!(names, servers.foretold());
    assert_eq!(by_python("query", nginx.address()), names);
}

#[test]
fn only_the_sessions_of_a_dead_backend_move() {
    if !installed(&["python3", PYTHON_WEBSOCKETS]) {
        return;
    }
    let mut servers = Servers::start();
    let proxy = servers.setup.start();
    let before = by_python("cookie", proxy.address());
    servers.kill("c");
    let after = by_python("cookie", proxy.address());
    assert!(!after.contains('c'), "{after}");
    for (before, after) in before.chars().zip(after.chars()) {
        assert!(before == after || before == 'c', "{before} became {after}");
    }
}

#[test]
fn curl_upgrades_to_the_backend_of_its_cookie() {
    if !installed(&["curl", "python3", PYTHON_WEBSOCKETS]) {
        return;
    }
    let servers = Servers::start();
    let proxy = servers.setup.start();
    let names = servers.foretold();
    for (session, name) in names.chars().enumerate().take(6) {
        let mut command = curl();
        command.args(["--include", "--http1.1", "--no-buffer"]);
        command.args(["--header", "Connection: keep-alive, Upgrade"]);
        command.args(["--header", "Upgrade: websocket"]);
        command.args(["--header", "Sec-WebSocket-Version: 13"]);
        command.args(["--header", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]);
        command.args(["--cookie", &format!("session_id={session}")]);
        let got = output(command.arg(format!("http://{}/once", proxy.address())));
        assert!(got.starts_with(b"HTTP/1.1 101 "), "{got:?}");
        // RFC 6455, sections 1.3 and 5.2: the answer to the sample key; a text of one letter; a close with status 1000.
        let accepted = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert!(got.windows(accepted.len()).any(|part| part == accepted));
        let frames = [0x81, 1, name as u8, 0x88, 2, 0x03, 0xe8];
        assert!(got.ends_with(&frames), "{got:?}");
    }
}
