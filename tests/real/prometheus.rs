//! promtool, which judges as Prometheus does, on what ringway exports and on the rules that come with it.

use crate::programs::{client, described, installed};
use ringway::config::Config;
use ringway::control::{Proxy, metrics};
use std::fs::File;
use std::process::Command;
use std::time::Duration;

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring/alerts.yaml");

/// A proxy with one of everything that has metrics of its own.
const CONFIG: &str = r#"
[process]
workers = 1
[log]
access = "off"
[[listener]]
name = "feed"
listen = "127.0.0.1:0"
upstream = "feed"
[[upstream]]
name = "feed"
probe = { type = "tcp" }
backend = [{ name = "first", address = "127.0.0.1:1" }, { address = "127.0.0.1:2" }]
"#;

fn page() -> String {
    let config = Config::parse(CONFIG, "feed.toml").unwrap();
    let proxy = Proxy::start(config).unwrap();
    let page = metrics::render(&proxy.view());
    proxy.drain(Duration::ZERO, Duration::ZERO);
    proxy.join();
    page
}

#[track_caller]
fn assert_fine(command: &mut Command) {
    let output = command.output().unwrap();
    let said = described(&output);
    assert!(output.status.success(), "{said}");
    // What it merely frowns at is said there, and the status is fine all the same.
    assert!(output.stderr.is_empty(), "{said}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    if !installed(&["promtool"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    std::fs::write(&file, page()).unwrap();
    let mut command = client("promtool");
    assert_fine(
        command
            .args(["check", "metrics"])
            .stdin(File::open(file).unwrap()),
    );
}

#[test]
fn promtool_finds_nothing_wrong_with_the_alert_rules() {
    if installed(&["promtool"]) {
        assert_fine(client("promtool").args(["check", "rules", ALERTS]));
    }
}
