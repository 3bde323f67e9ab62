//! TLS that ends in ringway as scanners of TLS see it: what it offers, what it does not, and which old mistakes it makes.

use crate::programs::{client, installed, text};
use crate::support::{Authority, Backend, Setup};

/// By the names that OpenSSL gives them, in the order in which a proxy with both kinds of certificates offers them.
const SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// The words behind this one, line by line.
fn after<'a>(report: &'a str, word: &str) -> Vec<&'a str> {
    let lines = report.lines().filter_map(|line| line.strip_prefix(word));
    lines.map(str::trim).collect()
}

#[test]
fn sslscan_finds_two_versions_nine_suites_and_no_old_mistake() {
    if !installed(&["sslscan"]) {
        return;
    }
    let backend = Backend::echo();
    let authority = Authority::new();
    let pairs = [
        authority.issue("here", &["here.test"]),
        authority.issue_rsa("here-rsa", &["here.test"]),
    ];
    let certificates = pairs.map(|it| format!("{{ cert = {:?}, key = {:?} }}", it.cert, it.key));
    let tls = format!("tls = {{ certificates = [{}] }}", certificates.join(", "));
    let proxy = Setup::before(&backend).listener(&tls).start();
    let mut command = client("sslscan");
    let report = text(command.args(["--no-colour", &proxy.address().to_string()]));
    for (version, is_there) in [
        ("SSLv2", "disabled"),
        ("SSLv3", "disabled"),
        ("TLSv1.0", "disabled"),
        ("TLSv1.1", "disabled"),
        ("TLSv1.2", "enabled"),
        ("TLSv1.3", "enabled"),
    ] {
        assert!(
            after(&report, version).contains(&is_there),
            "{version}: {report}"
        );
    }
    let offers = [after(&report, "Preferred"), after(&report, "Accepted")].concat();
    let name = |offer: &&str| {
        offer
            .split_whitespace()
            .nth(3)
            .unwrap_or_default()
            .to_owned()
    };
    let mut offered: Vec<_> = offers.iter().map(name).collect();
    offered.sort_unstable();
    let mut suites = SUITES.map(ToOwned::to_owned);
    suites.sort_unstable();
    assert_eq!(offered, suites, "{report}");
    assert!(
        report.contains("Session renegotiation not supported"),
        "{report}"
    );
    let heartbleed = report.lines().filter(|line| line.contains("heartbleed"));
    assert!(
        heartbleed.clone().count() == 2
            && heartbleed.clone().all(|it| it.contains(" not vulnerable ")),
        "{report}"
    );
}
