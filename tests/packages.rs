//! What `packaging/` holds is right as far as that can be seen without building a package: `.ci/run` builds one and has
//! lintian look at it where both tools are.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringway::config::Config;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap()
}

/// `[package.metadata.deb]`
fn deb() -> toml::Table {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let metadata = &manifest["package"]["metadata"]["deb"];
    metadata.as_table().unwrap().clone()
}

/// Source, target and mode of everything in the package.
fn assets() -> Vec<(String, String, String)> {
    let deb = deb();
    let assets = deb["assets"].as_array().unwrap().iter();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    assets
        .map(|row| (text(&row[0]), text(&row[1]), text(&row[2])))
        .collect()
}

#[test]
fn the_file_that_is_installed_is_a_configuration_without_a_warning() {
    let path = at("packaging/deb/ringway.toml");
    let config = Config::load(&path).unwrap();
    assert_eq!(config.warnings().len(), 0, "{:?}", config.warnings());
}

#[test]
fn everything_that_is_packed_is_there() {
    for (source, ..) in assets() {
        if source.starts_with("target/") {
            continue;
        }
        let found = glob::glob(at(&source).to_str().unwrap()).unwrap().count();
        assert!(found > 0, "{source}");
    }
    let made = read("packaging/build-deb");
    let from_build = assets()
        .into_iter()
        .filter(|(source, ..)| source.starts_with("target/release/package/"));
    for (source, ..) in from_build {
        let name = source.rsplit('/').next().unwrap();
        let shell = name.rsplit('.').next().unwrap();
        assert!(made.contains(name) || made.contains(shell), "{source}");
    }
}

#[test]
fn every_script_and_profile_of_tuning_is_packed_where_it_is_looked_for() {
    let packed: BTreeSet<_> = assets().into_iter().collect();
    for name in ["ringway-tune", "ringway-nic"] {
        let script = read(&format!("tuning/{name}"));
        assert!(script.contains("share=/usr/share/ringway/tuning"), "{name}");
        let row = (format!("tuning/{name}"), "usr/sbin/".into(), "755".into());
        assert!(packed.contains(&row), "{row:?}");
    }
    for folder in ["lib", "profiles"] {
        let target = format!("usr/share/ringway/tuning/{folder}/");
        let row = (format!("tuning/{folder}/*"), target, "644".into());
        assert!(packed.contains(&row), "{row:?}");
    }
}

#[test]
fn debug_symbols_are_kept_in_a_package_of_their_own() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let release = &manifest["profile"]["release"];
    assert_eq!(release["debug"].as_str(), Some("line-tables-only"));
    // Else the package would have none, or all of them: five times as large.
    assert_eq!(deb()["dbgsym"].as_bool(), Some(true));
}

#[test]
fn an_image_is_not_built_from_what_was_built_here() {
    let ignored = read(".dockerignore");
    let ignored: Vec<_> = ignored.lines().collect();
    for folder in ["target", "fuzz/target", ".git"] {
        assert!(ignored.contains(&folder), "{folder}");
    }
    for used in ["Cargo.lock", "packaging", "src", "tests"] {
        assert!(!ignored.contains(&used), "{used}");
    }
}

#[test]
fn the_services_user_is_there_before_files_are_made_for_it() {
    let script = read("packaging/deb/postinst");
    let (user, rest) = script.split_once("#DEBHELPER#").unwrap();
    let name = "ringway.conf";
    assert!(
        user.contains(&format!("systemd-sysusers {name}")),
        "{script}"
    );
    assert_eq!(rest.trim(), "");
    let packed = (
        "systemd/sysusers.d/ringway.conf".into(),
        "usr/lib/sysusers.d/".into(),
        "644".into(),
    );
    assert!(assets().contains(&packed));
}

#[test]
fn an_upgrade_neither_enables_nor_starts_nor_restarts() {
    let deb = deb();
    let unit = deb["systemd-units"].as_table().unwrap();
    for key in [
        "enable",
        "start",
        "restart-after-upgrade",
        "stop-on-upgrade",
    ] {
        assert_eq!(unit[key].as_bool(), Some(false), "{key}");
    }
    let files = deb["conf-files"].as_array().unwrap();
    assert!(
        files
            .iter()
            .any(|it| it.as_str() == Some("/etc/ringway/ringway.toml"))
    );
}

/// The names that a container's profile lets through without a condition.
fn allowed() -> BTreeSet<String> {
    let profile: Value = serde_json::from_str(&read("packaging/container/seccomp.json")).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let open = rules.filter(|it| it["action"] == "SCMP_ACT_ALLOW" && it["args"].is_null());
    let names = open.flat_map(|it| it["names"].as_array().unwrap());
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_profile_for_containers_lets_ringway_work_and_little_else() {
    let allowed = allowed();
    let needed = [
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "sched_setaffinity",
        "splice",
        "prlimit64",
        "accept4",
        "setsockopt",
        "epoll_ctl",
        "eventfd2",
    ];
    for name in needed {
        assert!(allowed.contains(name), "{name}");
    }
    let refused = [
        "bpf",
        "clone",
        "clone3",
        "init_module",
        "kexec_load",
        "keyctl",
        "mount",
        "open_by_handle_at",
        "perf_event_open",
        "pivot_root",
        "process_vm_writev",
        "ptrace",
        "reboot",
        "setns",
        "swapon",
        "unshare",
        "userfaultfd",
    ];
    for name in refused {
        assert!(!allowed.contains(name), "{name}");
    }
}

/// The first column of the tables of a section, without the marks.
fn first_column(page: &str, section: &str) -> Vec<String> {
    let start = page.find(&format!("\n### {section}\n")).unwrap() + 1;
    let rest = &page[start..];
    let end = rest[1..].find("\n#").map_or(rest.len(), |end| end + 1);
    let rows = rest[..end].lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').nth(1).unwrap());
    let words = cells.flat_map(|cell| {
        cell.split(',')
            .map(|word| word.trim().trim_matches('`').to_owned())
    });
    words.collect()
}

#[test]
fn operations_explains_every_way_that_a_connection_can_end() {
    let explained = first_column(&read("docs/operations.md"), "Why connections end");
    for cause in ringway::conn::Cause::ALL {
        let name = cause.word();
        assert!(explained.iter().any(|it| it == name), "{name}");
    }
}

#[test]
fn the_log_lines_that_operations_explains_are_written_somewhere() {
    let mut sources = String::new();
    for path in glob::glob(at("src/**/*.rs").to_str().unwrap()).unwrap() {
        sources.push_str(&fs::read_to_string(path.unwrap()).unwrap());
    }
    let page = read("docs/operations.md");
    let rows = page
        .lines()
        .skip_while(|line| *line != "### What the log says");
    let rows = rows.take_while(|line| *line != "### Why connections end");
    let lines: Vec<_> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        assert!(sources.contains(line), "{line}");
    }
}
