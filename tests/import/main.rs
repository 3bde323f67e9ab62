//! `ringway import-nginx`: whole configurations against what they should become, and whatever else against the promise
//! that ringway accepts what it has written.
//!
//! A case is a folder with an `nginx.conf`, what becomes of it (`ringway.toml`, whose head has every remark) and nothing
//! else. `RINGWAY_WRITE_CASES=1 cargo test --test import` writes the outputs anew, for the difference to be read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod random;

use ringway::config::Config;
use ringway::import::{self, ImportError, Imported, Kind};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn case(name: &str) -> PathBuf {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/cases");
    cases.join(name)
}

/// The program, in the folder of the file, so that remarks name the file alone.
fn ringway(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("import-nginx").args(arguments);
    command.current_dir(folder).output().unwrap()
}

#[track_caller]
fn converts(name: &str, code: i32) {
    let folder = case(name);
    let output = ringway(&folder, &["nginx.conf"]);
    let (toml, said) = (text(&output.stdout), text(&output.stderr));
    let wanted = folder.join("ringway.toml");
    if std::env::var_os("RINGWAY_WRITE_CASES").is_some() {
        fs::write(&wanted, &toml).unwrap();
    }
    assert_eq!(toml, fs::read_to_string(wanted).unwrap());
    assert_eq!(output.status.code(), Some(code), "{said}");
    for remark in said.lines() {
        assert!(toml.contains(&format!("# - {remark}\n")), "{remark}");
    }
    assert!(Config::parse(&toml, name).is_ok());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Converts a text as a file of its own.
fn import(nginx: &str) -> (Result<Imported, ImportError>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nginx.conf");
    fs::write(&file, nginx).unwrap();
    (import::nginx(&file), dir)
}

#[test]
fn feeds_and_orders_of_nginx_tcp_proxy_module() {
    converts("market-data", 1);
}

#[test]
fn websockets_by_host_and_path() {
    converts("websockets", 0);
}

#[test]
fn databases_behind_stream_from_included_files() {
    converts("databases", 0);
}

#[test]
fn server_names_and_offices_become_routes() {
    converts("sni", 1);
}

#[test]
fn whatever_cannot_be_carried_over_is_named_and_the_rest_serves() {
    converts("stubborn", 1);
}

#[test]
fn the_output_goes_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.toml");
    let output = ringway(
        &case("websockets"),
        &["nginx.conf", "-o", out.to_str().unwrap()],
    );
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), String::new())
    );
    let wanted = fs::read_to_string(case("websockets").join("ringway.toml")).unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), wanted);
}

#[test]
fn a_file_that_nginx_would_not_read_ends_with_78_and_its_line() {
    let rows = [
        (
            "stream {\n server { listen 1\n}",
            "nginx.conf:3: listen is not ended by \";\"",
        ),
        ("stream { }", "nothing to convert"),
        ("http { server { listen 80; } }", "nothing to convert"),
    ];
    for (nginx, said) in rows {
        let (_, dir) = import(nginx);
        let output = ringway(dir.path(), &["nginx.conf"]);
        assert_eq!(output.status.code(), Some(78), "{nginx}");
        assert!(
            text(&output.stderr).contains(said),
            "{}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
}

/// Whichever this version can do: a listener that nginx has behind TLS is never one in the clear.
#[test]
fn what_was_encrypted_stays_encrypted_or_is_left_out() {
    let tls = "ssl_certificate a.pem; ssl_certificate_key a.key;";
    let server = format!("server {{ listen 443 ssl; {tls} proxy_pass 10.0.0.1:80; }}");
    let backend = "server { listen 81; proxy_ssl on; proxy_pass 10.0.0.1:443; }";
    for (server, table) in [
        (server.as_str(), "[listener.tls]"),
        (backend, "[upstream.tls]"),
    ] {
        let nginx = format!("stream {{ server {{ listen 1; proxy_pass 10.0.0.1:1; }} {server} }}");
        let imported = import(&nginx).0.unwrap();
        let listeners = imported.toml.matches("[[listener]]").count();
        let is_there = listeners == 2 && imported.toml.contains(table);
        let is_out = listeners == 1 && imported.remarks.iter().any(|it| it.kind == Kind::Lost);
        assert!(is_there || is_out, "{}", imported.toml);
    }
}
