//! docs/configuration.md and docs/examples tell the truth: every key with its default, every example loads.

use crate::parsed;
use crate::wrong::MINIMAL;
use ringway::config::Config;
use std::collections::BTreeSet;
use std::path::Path;

const REFERENCE: &str = include_str!("../../docs/configuration.md");

/// Key paths and values of the effective configuration, lists without positions.
fn effective(config: &Config) -> BTreeSet<(String, String)> {
    let text = config.to_toml();
    let mut table = "";
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once(" = ") {
            Some((key, value)) => {
                keys.insert((format!("{table}.{key}"), value.to_owned()));
            }
            None => table = line.trim_matches(['[', ']']),
        }
    }
    keys
}

/// The rows `` | `key` | `default` | … `` of the reference; the default is empty where the key must be given.
fn documented() -> BTreeSet<(String, String)> {
    let rows = REFERENCE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row
            .split('|')
            .skip(1)
            .map(|cell| cell.trim().trim_matches('`').to_owned());
        let (key, default) = (
            cells.next().expect("a key"),
            cells.next().expect("a default"),
        );
        (
            key,
            if default == "required" {
                String::new()
            } else {
                default
            },
        )
    })
    .collect()
}

#[test]
fn the_reference_has_every_key_with_its_default() {
    let required = [
        "admin.listen",
        "listener.name",
        "listener.listen",
        "listener.route.upstream",
        "upstream.name",
        "upstream.backend.address",
        "listener.tls.certificates",
    ];
    // A route has to ask for something: the client is what it asks here.
    let route = "[[listener.route]]\nclient = [\"::/0\"]\nupstream = \"feed\"\n";
    let tls = "[listener.tls]\ncertificates = [{ cert = 'a.pem', key = 'a.key' }]\n";
    let listener = format!("{tls}{route}[[upstream]]");
    let text = MINIMAL.replacen("[[upstream]]", &listener, 1);
    let text = format!("admin.listen = \"127.0.0.1:9090\"\n{text}");
    // Between them, these types of probes have every key that a probe can have.
    let types = ["'http'", "'websocket'", "'send_expect'\nexpect = 'a'"];
    let effective = types.into_iter().flat_map(|probe_type| {
        let probe =
            format!("[upstream.tls]\n[upstream.probe]\ntype = {probe_type}\n[[upstream.backend]]");
        effective(&parsed(&text.replace("[[upstream.backend]]", &probe)))
    });
    let expected: BTreeSet<_> = effective
        .map(|(key, value)| match key.as_str() {
            key if required.contains(&key) => (key.to_owned(), String::new()),
            "listener.route.client" => (key, "[]".to_owned()),
            "listener.upstream" => (key, "required without routes".to_owned()),
            "upstream.backend.name" => (key, "the address".to_owned()),
            // One type cannot do without.
            "upstream.probe.expect" => (key, "\"\"".to_owned()),
            "upstream.probe.type" => (key, "\"tcp\"".to_owned()),
            _ => (key, value),
        })
        .collect();
    assert_eq!(documented(), expected);
}

#[test]
fn every_example_of_the_reference_the_readme_and_the_page_on_tls_loads() {
    let readme = include_str!("../../README.md");
    let mut examples = 0;
    let tls = include_str!("../../docs/tls.md");
    for text in [REFERENCE, readme, tls] {
        for block in text.split("```toml\n").skip(1) {
            let config = parsed(block.split("```").next().unwrap());
            assert_eq!(config.warnings(), Vec::<String>::new(), "{block}");
            examples += 1;
        }
    }
    assert!(examples >= 4, "{examples}");
}

#[test]
fn every_example_file_loads_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let mut examples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(
            config.warnings(),
            Vec::<String>::new(),
            "{}",
            path.display()
        );
        examples += 1;
    }
    assert!(examples >= 3, "{examples}");
}
