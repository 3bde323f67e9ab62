//! python's `websockets` at both ends, through either mode that carries them and in TLS that ends here; what they say to
//! each other is in `websocket.py`.

use crate::programs::{PYTHON_WEBSOCKETS, Program, client, free_address, installed, server, text};
use crate::support::{Authority, Proxy, Setup};
use std::process::Command;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/websocket.py");

/// The server, and the proxy before it.
struct Scene {
    proxy: Proxy,
    /// Whose certificate the proxy has, where its clients speak TLS.
    authority: Option<Authority>,
    _server: Program,
    _folder: TempDir,
}

impl Scene {
    fn new(mode: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = server("python3");
        script(&mut command).args([
            "serve",
            &address.ip().to_string(),
            &address.port().to_string(),
        ]);
        let server = Program::listening(&mut command, folder.path(), address);
        let setup = Setup::new(&[address]).process("workers = 2");
        let (mode, authority) = match mode {
            "wss" => ("http", Some(Authority::new())),
            plain => (plain, None),
        };
        let mut setup = setup.listener(&format!("mode = \"{mode}\""));
        if let Some(authority) = &authority {
            setup = setup.terminating(&authority.issue("here", &["127.0.0.1"]));
        }
        Self {
            proxy: setup.start(),
            authority,
            _server: server,
            _folder: folder,
        }
    }

    /// Runs a client of the script's.
    #[track_caller]
    fn run(&self, case: &str) {
        let mut python = client("python3");
        let scheme = match &self.authority {
            Some(authority) => {
                // What python's own context believes.
                python.env("SSL_CERT_FILE", authority.ca());
                "wss"
            }
            None => "ws",
        };
        let url = format!("{scheme}://{}/{case}", self.proxy.address());
        let said = text(script(&mut python).args([case, &url]));
        assert_eq!(said, "as it should be\n");
    }
}

/// -B: no compiled copy beside the source.
fn script(python: &mut Command) -> &mut Command {
    python.args(["-B", SCRIPT])
}

/// A test of the script's case, in each mode.
#[track_caller]
fn case(case: &str) -> Vec<Scene> {
    if !installed(&["python3", PYTHON_WEBSOCKETS]) {
        return Vec::new();
    }
    let scenes = ["tcp", "http", "wss"].map(Scene::new);
    scenes.iter().for_each(|scene| scene.run(case));
    scenes.into()
}

#[test]
fn messages_of_up_to_16_mib_come_back_unchanged() {
    case("large");
}

#[test]
fn fragmented_messages_come_back_whole() {
    case("fragmented");
}

#[test]
fn two_hundred_clients_at_once_each_get_their_own_back() {
    for scene in case("crowd") {
        for line in scene.proxy.await_access(200) {
            assert_eq!(line.text("end").split('/').nth(1), Some("done"), "{line:?}");
        }
    }
}

#[test]
fn pings_of_both_sides_are_answered_while_nothing_else_is_said() {
    case("pings");
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    case("push");
}
