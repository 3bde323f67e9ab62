//! The command line as a shell meets it: the built binary, its exit codes, and the words that people look for.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the binary. Every command here ends by itself.
fn ringway(args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ended {
        code: status.code(),
        out: text(stdout),
        err: text(stderr),
    }
}

fn usage_error(args: &[&str], phrases: &[&str]) {
    let ended = ringway(args);
    assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
    assert_eq!(ended.out, "", "{args:?}");
    for phrase in phrases {
        assert!(
            ended.err.contains(phrase),
            "{args:?}: no {phrase:?} in\n{}",
            ended.err
        );
    }
}

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    folder.join(name).display().to_string()
}

/// A file of this test run alone; removed by the build folder's own clean.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the test folder is writable");
    path
}

#[test]
fn help_lists_the_verbs_and_the_exit_codes() {
    let help = ringway(&["--help"]);
    assert_eq!(help.code, Some(0));
    for phrase in [
        "run",
        "validate",
        "demo",
        "map",
        "completions",
        "man",
        "Examples:",
        "78 configuration",
    ] {
        assert!(help.out.contains(phrase), "no {phrase:?} in\n{}", help.out);
    }
}

#[test]
fn each_verb_has_help_with_an_example() {
    for verb in ["run", "validate", "demo", "map", "completions", "man"] {
        let help = ringway(&[verb, "--help"]);
        assert_eq!(help.code, Some(0), "{verb}");
        assert!(
            help.out.contains(&format!("Usage: ringway {verb}")),
            "{}",
            help.out
        );
        assert!(
            help.out.contains(&format!("Examples:\n  ringway {verb}")),
            "{}",
            help.out
        );
    }
}

#[test]
fn nothing_at_all_is_a_usage_error() {
    usage_error(&[], &["Usage: ringway"]);
    usage_error(&["fly"], &["unrecognized subcommand 'fly'"]);
}

#[test]
fn the_version_is_the_packages() {
    let version = ringway(&["--version"]);
    assert_eq!(
        version.out,
        concat!("ringway ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn run_needs_a_file_or_both_addresses() {
    usage_error(&["run"], &["--config <FILE>"]);
    usage_error(&["run", "--listen", "127.0.0.1:0"], &["--config <FILE>"]);
    usage_error(&["run", "--backend", "127.0.0.1:1"], &["--config <FILE>"]);
    let both = [
        "run",
        "-c",
        "x.toml",
        "--listen",
        "127.0.0.1:0",
        "--backend",
        "127.0.0.1:1",
    ];
    usage_error(&both, &["cannot be used with"]);
    usage_error(
        &["run", "-c", "x.toml", "--workers", "2"],
        &["cannot be used with"],
    );
}

#[test]
fn a_wrong_flag_says_what_to_write() {
    let with = |flag: &'static str, value: &'static str| {
        [
            "run",
            "--listen",
            "127.0.0.1:0",
            "--backend",
            "127.0.0.1:1",
            flag,
            value,
        ]
    };
    usage_error(&with("--listen", "9000"), &["'9000'", "write IP:PORT"]);
    usage_error(&with("--backend", "10.0.0.1:0"), &["port 0"]);
    usage_error(
        &with("--backend", "10.0.0.1:80,weight=300"),
        &["from 1 to 256"],
    );
    usage_error(
        &with("--backend", "10.0.0.1:80,backup"),
        &["backup is not supported yet"],
    );
    usage_error(
        &with("--backend", "db.example.com:80"),
        &["not supported yet"],
    );
    usage_error(&with("--workers", "0"), &["from 1 to 1024"]);
    usage_error(&with("--mode", "https"), &["\"tcp\", \"http\" or \"tls\""]);
    usage_error(
        &with("--balance", "least_conn"),
        &["\"least_conn\" is not supported yet"],
    );
    usage_error(
        &with("--balance", "fair"),
        &["write \"ip_hash\" or \"hash\""],
    );
    usage_error(
        &with("--probe", "interval=3000 type=tcp"),
        &["not supported yet"],
    );
    usage_error(&with("--admin", "127.0.0.1:9090"), &["not supported yet"]);
}

#[test]
fn demo_and_map_check_their_flags() {
    usage_error(&["demo", "--seconds", "0"], &["--seconds"]);
    usage_error(&["demo", "--connections", "many"], &["--connections"]);
    usage_error(&["map", "-c", "x.toml", "--upstream", "feed"], &["<KEY>"]);
    usage_error(
        &["map", "-c", "x.toml", "--upstream", "feed", "not-an-ip"],
        &["not-an-ip"],
    );
}

#[test]
fn validate_prints_the_effective_configuration_which_is_a_configuration() {
    let first = ringway(&["validate", "-c", &example("minimal.toml")]);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""));
    assert!(
        first.out.contains("idle_timeout = \"10m\"\n"),
        "{}",
        first.out
    );
    let effective = file("effective.toml", &first.out);
    let second = ringway(&["validate", "-c", &effective.display().to_string()]);
    assert_eq!((second.code, second.out), (Some(0), first.out));
}

#[test]
fn validate_ends_with_78_and_the_place_of_each_mistake() {
    let path = file(
        "wrong.toml",
        "[process]\nworkers = 0\n[log]\nlevle = \"info\"\n",
    );
    let path = path.display().to_string();
    let ended = ringway(&["validate", "-c", &path]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(78), ""));
    assert!(
        ended
            .err
            .contains(&format!("{path}:2:11: process.workers: ")),
        "{}",
        ended.err
    );
    let typo = format!("{path}:4:1: log.levle: unknown key; did you mean `level`?");
    assert!(ended.err.contains(&typo), "{}", ended.err);
}

#[test]
fn validate_ends_with_78_without_the_file() {
    let ended = ringway(&["validate", "-c", "/nonexistent/ringway.toml"]);
    assert_eq!(ended.code, Some(78));
    assert!(
        ended
            .err
            .starts_with("/nonexistent/ringway.toml: cannot be read: "),
        "{}",
        ended.err
    );
}

#[test]
fn validate_warns_on_standard_error_and_ends_with_0() {
    let text = std::fs::read_to_string(example("minimal.toml")).expect("the example is there");
    let text = text.replace(
        "upstream = \"feed\"",
        "upstream = \"feed\"\nidle_timeout = \"10s\"",
    );
    let path = file("warned.toml", &text);
    let ended = ringway(&["validate", "-c", &path.display().to_string()]);
    assert_eq!(ended.code, Some(0));
    assert!(
        ended
            .err
            .contains("warning: listener \"feed\": idle_timeout is below"),
        "{}",
        ended.err
    );
    assert!(
        ended.out.contains("idle_timeout = \"10s\"\n"),
        "{}",
        ended.out
    );
}

#[test]
fn every_shell_gets_completions_of_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ringway(&["completions", shell]);
        assert_eq!((script.code, script.err.as_str()), (Some(0), ""), "{shell}");
        for verb in ["run", "validate", "demo", "map"] {
            assert!(script.out.contains(verb), "{shell}: no {verb}");
        }
    }
    usage_error(&["completions", "cmd"], &["bash"]);
}

#[test]
fn the_man_page_has_the_sections_that_people_look_for() {
    let man = ringway(&["man"]);
    assert_eq!((man.code, man.err.as_str()), (Some(0), ""));
    assert!(man.out.contains(".TH ringway 1"), "{}", man.out);
    for section in [
        "NAME",
        "SYNOPSIS",
        "COMMANDS",
        "EXIT STATUS",
        "SIGNALS",
        "FILES",
        "EXAMPLES",
    ] {
        let quoted = format!(".SH \"{section}\"\n");
        let plain = format!(".SH {section}\n");
        assert!(
            man.out.contains(&quoted) || man.out.contains(&plain),
            "no {section}"
        );
    }
    assert!(
        man.out.contains("\\-\\-backend"),
        "the options of run are there"
    );
}

#[test]
fn a_closed_pipe_is_a_reader_that_has_seen_enough() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .arg("man")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("the binary ends");
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}
