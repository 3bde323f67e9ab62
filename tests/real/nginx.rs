//! nginx as a backend: serves and takes files of a folder of its own.

use crate::programs::{Program, free_address, server};
use nix::sys::signal::Signal;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;

/// A running nginx, one process. `GET /who` answers with its name.
#[derive(Debug)]
pub(crate) struct Nginx {
    program: Program,
    folder: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// Runs one of that name.
    #[track_caller]
    pub(crate) fn start(name: &str) -> Self {
        Self::on(name, free_address())
    }

    /// Runs one where another was.
    #[track_caller]
    pub(crate) fn on(name: &str, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        let settings = folder.path().join("nginx.conf");
        fs::write(&settings, configuration(name, address)).unwrap();
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

fn configuration(name: &str, address: SocketAddr) -> String {
    format!(
        r#"
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 1000; }}
http {{
    access_log off; client_max_body_size 0; keepalive_requests 100000; default_type application/octet-stream;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen {address};
        root files;
        location / {{ dav_methods PUT; }}
        location = /who {{ return 200 "{name}"; }}
    }}
}}
"#
    )
}
