//! nginx: as a backend it serves and takes files of a folder of its own, or says what it sees; or it passes streams on.

use crate::programs::{NGINX_STREAM, Program, free_address, server};
use nix::sys::signal::Signal;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;

/// A running nginx, one process.
#[derive(Debug)]
pub(crate) struct Nginx {
    program: Program,
    folder: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// Runs one that serves files, and its name as `/who`.
    #[track_caller]
    pub(crate) fn start(name: &str) -> Self {
        Self::on(name, free_address())
    }

    /// Runs one where another was.
    #[track_caller]
    pub(crate) fn on(name: &str, address: SocketAddr) -> Self {
        let server = format!(
            "root files; location / {{ dav_methods PUT; }} location = /who {{ return 200 \"{name}\"; }}"
        );
        Self::run(&http(&format!("listen {address}; {server}")), address)
    }

    /// Runs one that serves what these lines of its `server` say. The words follow the address that it listens on.
    #[track_caller]
    pub(crate) fn serving(words: &str, lines: &str) -> Self {
        let address = free_address();
        Self::run(
            &http(&format!("listen {address} {words}; {lines}")),
            address,
        )
    }

    /// Runs one that passes streams on to that address, as these lines of its `server` say.
    #[track_caller]
    pub(crate) fn passing(to: SocketAddr, lines: &str) -> Self {
        let address = free_address();
        Self::run(&stream(address, to, lines), address)
    }

    #[track_caller]
    fn run(configuration: &str, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        let settings = folder.path().join("nginx.conf");
        fs::write(&settings, configuration).unwrap();
        let mut command = server("nginx");
        command.arg("-c").arg(settings).arg("-p").arg(folder.path());
        // Before it has read its configuration, it would write to the system's log.
        command.args(["-e", "stderr"]);
        let program = Program::listening(&mut command, folder.path(), address);
        Self {
            program,
            folder,
            address,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the file `/name` is or will be.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    /// Serves these bytes as `/name`.
    pub(crate) fn publish(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
    }

    /// Bytes of uploads that are not complete yet.
    pub(crate) fn uploading(&self) -> u64 {
        let parts = fs::read_dir(self.folder.path().join("body")).unwrap();
        let sizes = parts.map(|part| part.unwrap().metadata().map_or(0, |file| file.len()));
        sizes.sum()
    }

    /// Stops or continues its process.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// SIGKILL. Returns when it is gone.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.program.kill();
    }
}

/// What every nginx has: one process in the foreground, which keeps to its own folder.
const COMMON: &str = "daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events { worker_connections 8192; }";

fn http(server: &str) -> String {
    format!(
        "{COMMON}
http {{
    access_log off; client_max_body_size 0; keepalive_requests 100000; default_type application/octet-stream;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ {server} }}
}}
"
    )
}

fn stream(address: SocketAddr, to: SocketAddr, lines: &str) -> String {
    format!(
        "load_module {NGINX_STREAM}; {COMMON} stream {{ server {{ listen {address}; proxy_pass {to}; {lines} }} }}\n"
    )
}
