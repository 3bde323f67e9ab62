//! The command: its ready line, its results, its exit codes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split(' '));
    command
}

fn drive(line: &str) -> Output {
    loadgen(&format!("drive {line}")).output().unwrap()
}

/// A backend process, ended when dropped.
struct Backend {
    child: Child,
    out: BufReader<ChildStdout>,
    addr: String,
}

impl Backend {
    fn new(line: &str) -> Self {
        // Ends by itself if the test dies before it can say so.
        let mut command = loadgen(&format!("serve {line} --listen 127.0.0.1:0 --seconds 30"));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        let addr = ready.trim().strip_prefix("ready ").unwrap().to_owned();
        Self { child, out, addr }
    }

    /// Ends it as systemd would; its exit code and the rest of its output.
    fn terminate(mut self) -> (Option<i32>, String) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn a_verified_run_is_exit_code_zero_with_json_on_both_sides() {
    let backend = Backend::new("echo --json");
    let ran = drive(&format!(
        "echo --target {} --connections 2 --seconds 0.2 --json -",
        backend.addr
    ));
    assert_eq!(ran.status.code(), Some(0));
    let result = json(&ran.stdout);
    assert_eq!(
        (&result["schema"], &result["role"]),
        (&1.into(), &"echo".into())
    );
    assert!(result["exchanges_total"].as_u64().unwrap() > 0);
    assert!(result["latency_us"]["p99"].as_f64().unwrap() > 0.0);
    let (code, rest) = backend.terminate();
    assert_eq!(code, Some(0));
    assert_eq!(json(rest.as_bytes())["connections"], 2);
}

#[test]
fn the_table_is_for_people_and_quiet_is_quiet() {
    let backend = Backend::new("publish --rate 500");
    let line = format!(
        "subscribe --target {} --connections 2 --seconds 0.2",
        backend.addr
    );
    let table = String::from_utf8(drive(&line).stdout).unwrap();
    for word in [
        "messages",
        "p99.9",
        "latency",
        "since sent",
        "everything verified",
    ] {
        assert!(table.contains(word), "no `{word}` in {table}");
    }
    let quiet = drive(&format!("{line} --quiet"));
    assert_eq!(
        (quiet.status.code(), quiet.stdout.len(), quiet.stderr.len()),
        (Some(0), 0, 0)
    );
}

#[test]
fn errors_are_exit_code_one_and_counted_by_kind() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ran = drive(&format!(
        "hold --target {nobody} --connections 3 --seconds 0.1 --json -"
    ));
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(
        json(&ran.stdout)["errors"],
        serde_json::json!({"refused": 3})
    );
}

#[test]
fn a_wrong_protocol_is_exit_code_one() {
    let backend = Backend::new("bulk");
    let ran = drive(&format!(
        "subscribe --target {} --connections 1 --seconds 5",
        backend.addr
    ));
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        String::from_utf8(ran.stdout)
            .unwrap()
            .contains("ERROR garbled")
    );
}

#[test]
fn usage_is_exit_code_two() {
    for line in [
        "drive echo",
        "serve publish --listen 127.0.0.1:0 --size 1",
        "sing",
    ] {
        let ran = loadgen(line).output().unwrap();
        assert_eq!(ran.status.code(), Some(2), "{line}");
    }
}

#[test]
fn what_the_system_refuses_is_exit_code_seventy_one_with_the_cause() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let ran = loadgen(&format!("serve echo --listen {addr}"))
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(71));
    assert!(
        String::from_utf8(ran.stderr)
            .unwrap()
            .contains(&addr.to_string())
    );

    let ran = drive(&format!(
        "hold --target {addr} --connections 16000000 --seconds 1"
    ));
    assert_eq!(ran.status.code(), Some(71));
    assert!(String::from_utf8(ran.stderr).unwrap().contains("ulimit"));
}

#[test]
fn a_time_limit_ends_a_backend() {
    let ran = loadgen("serve hold --listen 127.0.0.1:0 --seconds 0.1")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0));
    assert!(
        String::from_utf8(ran.stdout)
            .unwrap()
            .starts_with("ready 127.0.0.1:")
    );
}

#[test]
fn the_result_can_go_to_a_file() {
    let backend = Backend::new("churn --size 10");
    let file = std::env::temp_dir().join(format!("loadgen-{}.json", std::process::id()));
    let line = format!(
        "churn --target {} --connections 2 --seconds 0.1 --size 10",
        backend.addr
    );
    let ran = drive(&format!("{line} --json {}", file.display()));
    let written = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ran.status.code(), Some(0));
    assert!(json(&written)["connect_us"]["p50"].as_f64().unwrap() > 0.0);
    assert!(!ran.stdout.is_empty(), "the table is still shown");
}
