//! `openssl s_server` as a backend that TLS is spoken to: records of another make, small ones too, and sessions that it takes back.

use crate::programs::{Program, free_address, installed, server};
use crate::support::{Authority, Setup};
use std::process::Stdio;

/// Clients one after the other, each with a line that comes back reversed.
#[track_caller]
fn talk(options: &[&str]) {
    let authority = Authority::new();
    let pair = authority.issue("backend", &["backend.test"]);
    let address = free_address();
    let mut command = server("openssl");
    command.args(["s_server", "-msg", "-rev", "-accept", &address.to_string()]);
    command
        .arg("-cert")
        .arg(&pair.cert)
        .arg("-key")
        .arg(&pair.key);
    command.args(options).stdin(Stdio::null());
    let program = Program::listening(&mut command, authority.folder(), address);
    let tls = format!(
        "tls = {{ server_name = \"backend.test\", ca = {:?} }}",
        authority.ca()
    );
    let proxy = Setup::new(&[address]).upstream(&tls).start();
    let line = "through ringway ".repeat(500);
    let back: String = line.chars().rev().collect();
    for _ in 0..3 {
        let client = proxy.connect();
        client.send(format!("{line}\n").as_bytes());
        client.expect(format!("{back}\n").as_bytes());
        // On which s_server -rev closes.
        client.send(b"CLOSE\n");
        client.drain();
        let address = client.local();
        client.close();
        let access = proxy.await_access_of(address);
        assert_eq!(access.text("relay"), "tls", "{access:?}");
        assert_eq!(access.end(), ("backend-fin/done", "--"));
    }
    // Who resumes a session is not shown the certificate again.
    let count = |message: &str| program.said().matches(&format!(", {message}\n")).count();
    assert_eq!((count("ServerHello"), count("Certificate")), (3, 1));
}

#[test]
fn a_backend_of_either_version_is_spoken_to_and_its_sessions_are_resumed() {
    if installed(&["openssl"]) {
        talk(&["-tls1_2"]);
        talk(&["-tls1_3"]);
    }
}

#[test]
fn a_backend_that_sends_small_records_is_understood() {
    if installed(&["openssl"]) {
        talk(&[
            "-tls1_2",
            "-max_send_frag",
            "512",
            "-split_send_frag",
            "512",
        ]);
        talk(&[
            "-tls1_3",
            "-max_send_frag",
            "512",
            "-split_send_frag",
            "512",
        ]);
    }
}
