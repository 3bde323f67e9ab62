//! HAProxy: passes on, or answers with what it sees.

use crate::programs::{Program, free_address, server};
use std::fs;
use std::net::SocketAddr;
use tempfile::TempDir;

/// A running HAProxy, one process.
pub(crate) struct Haproxy {
    _program: Program,
    _folder: TempDir,
    address: SocketAddr,
}

impl Haproxy {
    /// Runs one that passes everything on to that address. The words follow it in the `server` line.
    #[track_caller]
    pub(crate) fn passing(mode: &str, to: SocketAddr, words: &str) -> Self {
        Self::on(
            free_address(),
            "",
            &format!("mode {mode}\n server next {to} {words}"),
        )
    }

    /// Runs one that answers every request with what this log format says. The words follow its address in the `bind` line.
    #[track_caller]
    pub(crate) fn answering(words: &str, format: &str) -> Self {
        let answer = format!(
            "mode http\n http-request return status 200 content-type text/plain lf-string \"{format}\""
        );
        Self::on(free_address(), words, &answer)
    }

    /// Runs one that does what these lines say with whoever comes to that address. The words follow it in the `bind` line.
    #[track_caller]
    pub(crate) fn on(address: SocketAddr, words: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n timeout connect 10s\n timeout client 1m\n timeout server 1m\n\
             listen all\n bind {address} {words}\n {lines}\n"
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

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
