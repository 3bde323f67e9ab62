//! The profiles as data: each line whole, and `docs/tuning.md` telling the same.

use crate::machine::script;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const PROFILES: [&str; 3] = ["edge-100k", "edge-1m", "latency"];

const BEGIN: &str =
    "<!-- made from tuning/profiles; RINGWAY_WRITE=1 cargo test --test tuning documented -->";
const END: &str = "<!-- end -->";

/// The settings of a profile: key, value, unit, default, reason, danger, source.
fn settings(profile: &str) -> Vec<[String; 7]> {
    let text = fs::read_to_string(script("profiles").join(profile)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
            cells
                .try_into()
                .unwrap_or_else(|cells| panic!("{profile}: not seven cells: {cells:?}"))
        })
        .collect()
}

#[test]
fn every_setting_has_its_unit_default_reason_danger_and_source() {
    for profile in PROFILES {
        let settings = settings(profile);
        assert!(settings.len() > 5, "{profile}");
        let mut keys = HashSet::new();
        for cells in &settings {
            assert!(
                cells.iter().all(|cell| !cell.is_empty()),
                "{profile}: {cells:?}"
            );
            let [key, value, .., reason, danger, source] = cells;
            assert!(keys.insert(key), "{profile} has {key} twice");
            let known = ["at least ", "at most ", "exactly ", "range ", "ports "];
            assert!(
                known.iter().any(|word| value.starts_with(word)),
                "{key}: {value}"
            );
            for sentence in [reason, danger] {
                assert!(sentence.ends_with('.'), "{key}: {sentence}");
            }
            assert!(
                source.ends_with(".rst") || source.ends_with(".c"),
                "{key}: {source}"
            );
        }
    }
}

#[test]
fn every_setting_is_documented_as_the_profiles_have_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tuning.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let wanted = format!(
        "{head}{BEGIN}\n{}\n{END}{tail}",
        PROFILES.map(table).join("\n")
    );
    if std::env::var_os("RINGWAY_WRITE").is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(
            text == wanted,
            "docs/tuning.md tells other values than tuning/profiles; its table is written by: RINGWAY_WRITE=1 cargo \
             test --test tuning documented"
        );
    }
}

fn table(profile: &str) -> String {
    let mut table = format!(
        "### {profile}\n\n| setting | value | unit | default | why | what it can hurt | source |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for [key, value, unit, default, reason, danger, source] in settings(profile) {
        let shown = value.replace('*', "\\*");
        table += &format!(
            "| `{key}` | {shown} | {unit} | {default} | {reason} | {danger} | {source} |\n"
        );
    }
    table
}
