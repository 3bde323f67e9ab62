//! Certificates that change while the proxy runs, and those that it refuses to start with.

use crate::support::{Authority, Backend, Pair, Proxy, Setup};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The line of a listener that ends TLS with this pair.
fn tls(cert: &Path, key: &Path) -> String {
    let [cert, key] = [cert, key].map(|path| path.display().to_string());
    format!("tls = {{ certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}] }}")
}

fn start(Pair { cert, key }: &Pair) -> (Proxy, Backend) {
    let backend = Backend::new();
    let proxy = Setup::before(&backend).listener(&tls(cert, key)).start();
    (proxy, backend)
}

/// How many lines say that files have changed.
fn changes(proxy: &Proxy) -> usize {
    let lines = proxy.lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("files of TLS have changed"));
    told.count()
}

#[test]
fn a_new_certificate_is_in_use_once_its_key_is_there_too() {
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    let (proxy, _backend) = start(&pair);
    authority.issue("a", &["a.example", "b.example"]);
    let line = proxy.await_line("files of TLS have changed");
    assert!(line.contains(r#"listener \"feed\""#), "{line}");
    assert!(
        !proxy.stderr().contains("does not belong"),
        "{}",
        proxy.stderr()
    );
}

#[test]
fn a_broken_pair_is_named_once_and_the_next_good_one_is_used() {
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    let (proxy, _backend) = start(&pair);
    authority.write(
        "a.key",
        &fs::read_to_string(authority.issue("b", &[]).key).unwrap(),
    );
    let line = proxy.await_line("what was in use before stays");
    assert!(
        line.contains("certificates[0].key") && line.contains("a.key"),
        "{line}"
    );
    assert!(
        line.contains("does not belong to the certificate of"),
        "{line}"
    );
    authority.issue("a", &["a.example"]);
    proxy.await_line("files of TLS have changed");
    assert_eq!(
        proxy
            .stderr()
            .matches("what was in use before stays")
            .count(),
        1
    );
}

#[test]
fn a_folder_that_is_swapped_behind_a_link_is_seen() {
    // As Kubernetes has it: a.pem → ..data/a.pem, ..data → a folder with a date, and the latter link is renamed over.
    let authority = Authority::new();
    let at = |name: &str| authority.folder().join(name);
    let generation = |name: &str| {
        let Pair { cert, key } = authority.issue("a", &["a.example"]);
        fs::create_dir(at(name)).unwrap();
        fs::rename(cert, at(name).join("a.pem")).unwrap();
        fs::rename(key, at(name).join("a.key")).unwrap();
    };
    generation("one");
    generation("two");
    symlink("one", at("..data")).unwrap();
    symlink("..data/a.pem", at("a.pem")).unwrap();
    symlink("..data/a.key", at("a.key")).unwrap();
    let pair = Pair {
        cert: at("a.pem"),
        key: at("a.key"),
    };
    let (proxy, _backend) = start(&pair);
    assert_eq!(changes(&proxy), 0);
    symlink("two", at("..new")).unwrap();
    fs::rename(at("..new"), at("..data")).unwrap();
    proxy.await_line("files of TLS have changed");
    assert_eq!(changes(&proxy), 1);
}

#[test]
fn a_start_is_refused_at_the_key_that_names_the_bad_file() {
    let authority = Authority::new();
    let Pair { cert, .. } = authority.issue("a", &["a.example"]);
    let backend = Backend::new();
    let exit = Setup::before(&backend)
        .listener(&tls(&cert, &cert))
        .launch()
        .await_exit();
    assert_eq!(exit.code, Some(78), "{}", exit.stderr);
    let (place, rest) = exit.stderr.split_once(": ").unwrap();
    assert!(place.contains("ringway.toml:"), "{}", exit.stderr);
    assert!(
        rest.starts_with("listener[0].tls.certificates[0].key: "),
        "{}",
        exit.stderr
    );
    assert!(rest.contains("has no private key"), "{}", exit.stderr);
}
