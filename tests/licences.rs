//! Every package that is built in comes under a licence that `deny.toml` allows, and every one that it allows is needed: what
//! cargo-deny says, where there is no cargo-deny.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What `deny.toml` says.
fn deny() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn strings(value: &toml::Value) -> BTreeSet<String> {
    let all = value.as_array().unwrap().iter();
    all.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Every package on the platforms that `deny.toml` names, with its licence. Asks cargo, which asks nobody else.
fn licences() -> BTreeMap<String, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args([
        "metadata",
        "--offline",
        "--locked",
        "--format-version=1",
        "--all-features",
    ]);
    for target in strings(&deny()["graph"]["targets"]) {
        cargo.args(["--filter-platform", &target]);
    }
    let output = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap().iter();
    let used: BTreeSet<_> = nodes.map(|node| text(&node["id"])).collect();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let used = packages.filter(|package| used.contains(&text(&package["id"])));
    used.map(|package| (text(&package["name"]), text(&package["license"])))
        .collect()
}

/// A licence as it is written, also in the old way with a slash.
fn read(licence: &str) -> Expression {
    let lax = ParseMode {
        allow_slash_as_or_operator: true,
        ..ParseMode::STRICT
    };
    Expression::parse_mode(licence, lax).unwrap_or_else(|e| panic!("{licence:?}: {e}"))
}

#[test]
fn deny_toml_allows_every_licence_that_there_is_and_no_other() {
    let allowed = strings(&deny()["licenses"]["allow"]);
    let licences = licences();
    assert!(licences.len() > 100, "{licences:?}");
    let needed = RefCell::new(BTreeSet::new());
    let is_allowed = |licence: &LicenseReq| {
        let name = licence.to_string();
        let is = allowed.contains(&name);
        if is {
            needed.borrow_mut().insert(name);
        }
        is
    };
    let refused: BTreeMap<_, _> = licences
        .iter()
        .filter(|(_, licence)| !read(licence).evaluate(is_allowed))
        .collect();
    assert!(refused.is_empty(), "deny.toml does not allow: {refused:#?}");
    assert_eq!(*needed.borrow(), allowed, "nothing has the others");
}

#[test]
fn a_licence_is_read_as_it_is_meant() {
    let mit = |licence: &LicenseReq| licence.to_string() == "MIT";
    assert!(read("MIT/Apache-2.0").evaluate(mit));
    assert!(read("Apache-2.0 WITH LLVM-exception OR MIT").evaluate(mit));
    assert!(!read("MIT AND ISC").evaluate(mit));
    assert!(!read("Zlib").evaluate(mit));
}
