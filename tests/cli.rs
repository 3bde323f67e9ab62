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
        "doctor",
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
    for verb in [
        "run",
        "validate",
        "demo",
        "doctor",
        "map",
        "completions",
        "man",
    ] {
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
        &with("--backend", "10.0.0.1:80,backups"),
        &["\"backups\" is not understood", "[,backup]"],
    );
    usage_error(&with("--backend", "db_1:80"), &["is not a host name"]);
    usage_error(
        &with(
            "--backend",
            "a-name-of-a-host-that-is-rather-long.in.a.domain.example.com:65535",
        ),
        &["too long to be"],
    );
    usage_error(&with("--workers", "0"), &["from 1 to 1024"]);
    usage_error(&with("--mode", "https"), &["\"tcp\", \"http\" or \"tls\""]);
    usage_error(
        &with("--balance", "fair"),
        &["write \"ip_hash\", \"round_robin\", "],
    );
    usage_error(
        &with("--probe", "interval=3s type=tcp"),
        &["interval=\"3s\"", "milliseconds"],
    );
    usage_error(&with("--admin", "localhost:9090"), &["localhost"]);
    usage_error(&with("--admin", "unix:"), &["not the path of a socket"]);
}

#[test]
fn demo_and_map_check_their_flags() {
    usage_error(&["demo", "--seconds", "0"], &["--seconds"]);
    usage_error(&["demo", "--connections", "many"], &["--connections"]);
    usage_error(&["map", "-c", "x.toml", "--upstream", "feed"], &["<KEY>"]);
    let map =
        |more: &[&'static str]| [&["map", "-c", "x.toml", "--upstream", "feed"], more].concat();
    usage_error(&map(&["--key", "cookies:a", "v"]), &["cookie:NAME"]);
    usage_error(&map(&["--key", "cookie:a"]), &["<KEY>"]);
}

/// A file of this name, whose upstream "chat" hashes a cookie, then an argument, then the host.
fn hashing_file(name: &str) -> String {
    let text = "[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nmode = \"http\"\nupstream = \"chat\"\n\
                [[upstream]]\nname = \"chat\"\nbalance = \"hash\"\nhash_prefix = { v4 = 24 }\n\
                hash_key = [\"cookie:session_id\", \"query:userId\", \"host\"]\n\
                backend = [{ address = \"10.0.0.1:8080\" }, { address = \"10.0.0.2:8080\" }, { address = \"10.0.0.3:8080\" }]\n";
    file(name, text).display().to_string()
}

#[test]
fn map_sends_values_where_the_recorded_answers_do() {
    // From tests/vectors/ip_hash.json: three backends, and what is hashed as it is or as a name.
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("vectors/ip_hash.json")).expect("the file is checked in");
    let case = &recorded["cases"][6];
    let config = hashing_file("map-values.toml");
    let line = |kind: &str, value: &str| {
        let backend = case[kind][value][0]
            .as_str()
            .expect("the value is recorded");
        format!("{value} {backend}\n")
    };
    let fingerprint = format!("fingerprint {}\n", case["fingerprint"].as_str().unwrap());
    let map = |key, values: &[&'static str]| {
        let args = ["map", "-c", &config, "--upstream", "chat", "--key", key];
        let ended = ringway(&[&args, values].concat());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        ended.out
    };
    let expected = line("values", "abc") + &line("values", "ABC") + &fingerprint;
    assert_eq!(map("cookie:session_id", &["abc", "ABC"]), expected);
    assert_eq!(
        map("query:userId", &["abc", "ABC"]),
        expected,
        "only the value counts"
    );
    let expected =
        line("names", "WS.Example.com") + &line("names", "ws.example.com") + &fingerprint;
    assert_eq!(map("host", &["WS.Example.com", "ws.example.com"]), expected);
}

#[test]
fn map_takes_addresses_when_no_key_is_named() {
    let config = hashing_file("map-addresses.toml");
    let map = ["map", "-c", &config, "--upstream", "chat"];
    let ended = ringway(&[&map[..], &["203.0.113.7", "203.0.113.250"]].concat());
    let backends: Vec<_> = ended
        .out
        .lines()
        .take(2)
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    assert_eq!((ended.code, backends[0].0), (Some(0), "203.0.113.7"));
    assert_eq!(
        backends[0].1, backends[1].1,
        "hash_prefix keeps a /24 together"
    );
    usage_error(
        &[&map[..], &["8f3a2c"]].concat(),
        &[
            "\"8f3a2c\" is not an IP address",
            "--key: cookie:session_id, query:userId, host",
        ],
    );
}

#[test]
fn map_refuses_what_the_upstream_does_not_hash() {
    let (config, minimal) = (hashing_file("map-refusals.toml"), example("minimal.toml"));
    let map = |config, upstream, more: &[&'static str]| {
        let args = ["map", "-c", config, "--upstream", upstream];
        [&args[..], more].concat()
    };
    usage_error(
        &map(&config, "chat", &["--key", "cookie:sid", "a"]),
        &[
            "does not hash cookie:sid",
            "cookie:session_id, query:userId, host, client_ip",
        ],
    );
    usage_error(&map(&config, "chat", &["--key", "host", ""]), &["is empty"]);
    usage_error(
        &map(&config, "feed", &["192.0.2.1"]),
        &["no upstream \"feed\"", "chat"],
    );
    usage_error(
        &map(&minimal, "feed", &["--key", "path", "/"]),
        &["does not hash path", "client_ip"],
    );
    let even = file(
        "map-even.toml",
        &std::fs::read_to_string(&minimal)
            .expect("the example is there")
            .replace("[[upstream]]", "[[upstream]]\nbalance = \"round_robin\""),
    );
    let even = even.display().to_string();
    usage_error(
        &map(&even, "feed", &["192.0.2.1"]),
        &["\"feed\" hashes nothing", "balance = \"ip_hash\""],
    );
    usage_error(
        &map(&minimal, "feed", &["not-an-ip"]),
        &["\"not-an-ip\" is not an IP address"],
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
    let quiet = ringway(&["validate", "--quiet", "-c", &path.display().to_string()]);
    assert_eq!((quiet.code, quiet.out.as_str()), (Some(0), ""));
    assert_eq!(quiet.err, ended.err);
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
