//! `ringway doctor` on this machine, as it is and with limits that cannot do.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the doctor; `limits` are commands of the shell that starts it.
fn doctor(limits: &str, arguments: &[&str]) -> Ended {
    let output = Command::new("sh")
        .args(["-c", &format!("{limits}; exec \"$0\" doctor \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_ringway"))
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    Ended::from(output.expect("sh starts"))
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }

    /// The row of a key.
    fn row(&self, key: &str) -> Value {
        let json = self.json();
        let rows = json["findings"].as_array().expect("an array").clone();
        let found = rows.into_iter().find(|row| row["key"] == key);
        found.unwrap_or_else(|| panic!("no {key} in {}", self.out))
    }
}

#[test]
fn this_machine_gets_a_sane_answer() {
    let ended = doctor(":", &["--json"]);
    let json = ended.json();
    let state = json["state"].as_str().unwrap();
    let codes = [("fine", 0), ("warning", 1), ("critical", 2)];
    assert!(
        codes.contains(&(state, ended.code.unwrap())),
        "{state}: {:?}",
        ended.code
    );
    let io_uring = ended.row("io_uring");
    assert_eq!(io_uring["state"], "fine", "{io_uring}");
    assert_eq!(
        io_uring["now"],
        format!("{0} of {0} rings made", json["workers"]),
        "{io_uring}"
    );
    for row in json["findings"].as_array().unwrap() {
        assert_ne!(row["now"], "", "{row}");
        assert_ne!(row["wanted"], "", "{row}");
        if row["state"] != "fine" {
            assert_ne!(row["why"], "", "{row}");
            assert_ne!(row["fix"], "", "{row}");
        }
    }
    let table = doctor(":", &[]);
    assert_eq!(table.code, ended.code);
    assert!(table.out.contains("fine  io_uring "), "{}", table.out);
}

#[test]
fn every_finding_is_documented() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = |name| std::fs::read_to_string(docs.join(name)).unwrap();
    let pages = page("doctor.md") + &page("tuning.md");
    let json = doctor(":", &["--json", "--connections", "1000000"]).json();
    for row in json["findings"].as_array().unwrap() {
        let key = row["key"].as_str().unwrap();
        let named = key.ends_with(".queues") || pages.contains(&format!("`{key}`"));
        assert!(
            named,
            "{key} is in neither docs/doctor.md nor docs/tuning.md"
        );
    }
}

#[test]
fn too_few_descriptors_for_the_load_are_a_warning_with_the_number_to_set() {
    let ended = doctor("ulimit -n 200", &["--json", "--connections", "1000"]);
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    let row = ended.row("nofile");
    assert_eq!(row["state"], "warning");
    assert_eq!(row["now"], "200 soft, 200 hard");
    assert_eq!(
        row["fix"],
        "LimitNOFILE=2064 in the unit, or `ulimit -n 2064`"
    );
}

#[test]
fn rings_that_cannot_be_made_are_critical() {
    // Standard streams and one more: a ring is made, and what belongs to it is not.
    let ended = doctor("ulimit -n 4", &["--json"]);
    assert_eq!(ended.code, Some(2), "{}", ended.out);
    let row = ended.row("io_uring");
    assert_eq!(row["state"], "critical");
    let fix = row["fix"].as_str().unwrap();
    assert!(fix.contains("LimitNOFILE"), "{row}");
}

#[test]
fn locked_memory_that_holds_no_ring_is_critical_and_named() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!(
            "SKIP locked_memory_that_holds_no_ring_is_critical_and_named: needs root, to become nobody"
        );
    }
    // Where nobody may read it, unlike the build folder.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ringway");
    // By another process: what this one has open for writing when it forks, nobody can execute (ETXTBSY).
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_ringway"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["prlimit", "--memlock=65536:65536"])
        .arg(&program)
        .args(["doctor", "--json"])
        .stdin(Stdio::null())
        .output();
    let ended = Ended::from(output.expect("setpriv and prlimit, from util-linux, run"));
    assert_eq!(ended.code, Some(2), "{}", ended.out);
    let why = ended.row("io_uring")["why"].to_string();
    assert!(why.contains("RLIMIT_MEMLOCK, 65536 bytes"), "{why}");
    let memlock = ended.row("memlock");
    assert_eq!(memlock["state"], "warning");
    assert_eq!(memlock["now"], "64 KiB");
}

#[test]
fn the_configuration_says_what_is_wanted() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("doctor.toml");
    let toml = "[process]\nworkers = 1\nmax_connections = 70000\n\
        [[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\nupstream = \"u\"\n\
        [[upstream]]\nname = \"u\"\n[[upstream.backend]]\naddress = \"127.0.0.1:9\"\n";
    std::fs::write(&path, toml).unwrap();
    let file = path.to_str().unwrap();
    let ended = doctor(":", &["--json", "-c", file]);
    let json = ended.json();
    assert_eq!(json["workers"], 1);
    assert_eq!(json["connections"], 70_000);
    assert_eq!(json["profile"], "edge-100k");
    // More than one address has ports, whatever the range.
    let ports = ended.row("net.ipv4.ip_local_port_range");
    assert_eq!(ports["state"], "warning");
    assert_eq!(ports["wanted"], "at least 70000");
    assert!(
        ports["fix"]
            .as_str()
            .unwrap()
            .contains("2 source_addresses for upstream \"u\""),
        "{ports}"
    );
    let smaller = doctor(":", &["--json", "-c", file, "--connections", "50"]);
    assert_eq!(smaller.json()["connections"], 50);

    std::fs::write(&path, toml.replace("70000", "-1")).unwrap();
    let wrong = doctor(":", &["-c", file]);
    assert_eq!(wrong.code, Some(78), "{}", wrong.out);
    assert!(wrong.err.contains("max_connections"), "{}", wrong.err);
    let usage = doctor(":", &["--connections", "0"]);
    assert_eq!(usage.code, Some(2), "{}", usage.out);
}
