//! What becomes of a client of TLS that says odd things, by python's `tlslite-ng`: conversations, records of no bytes and of too many, alerts,
//! changes of keys and last messages of handshakes that are cut or changed. What it says is in `odd_client.py`.

use crate::programs::{PYTHON_TLSLITE, client, installed, text};
use crate::support::{Authority, Backend, Setup};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/odd_client.py");

/// Of both versions: an outcome for each, where they differ. Where it is `closed`, no alert is said: after a fatal alert none is
/// due, and rustls has none for a peer that says too much of what it may say a few times.
const BOTH: [(&str, &str, &str); 19] = [
    ("conversation", "echoed", "echoed"),
    ("data-in-records-of-one-byte", "echoed", "echoed"),
    ("data-of-no-bytes", "echoed", "echoed"),
    ("data-of-16385-bytes", "record_overflow", "record_overflow"),
    ("alert-of-no-bytes", "decode_error", "decode_error"),
    ("alert-cut-short", "decode_error", "decode_error"),
    ("alert-with-a-byte-more", "decode_error", "decode_error"),
    ("alert-fatal", "closed", "closed"),
    ("alert-user-canceled", "echoed", "echoed"),
    // RFC 8446, section 6, has no warnings any more.
    ("alert-warning", "echoed", "decode_error"),
    ("alert-warnings", "closed", "decode_error"),
    // Section 5.1 forbids to send it; rustls passes it over.
    ("handshake-of-no-bytes", "echoed", "echoed"),
    ("record-without-keys", "bad_record_mac", "bad_record_mac"),
    ("record-of-no-type", "decode_error", "decode_error"),
    (
        "change-cipher-spec",
        "unexpected_message",
        "unexpected_message",
    ),
    // Compared before it is measured.
    ("finished-longer", "decrypt_error", "decrypt_error"),
    ("finished-shorter", "decrypt_error", "decrypt_error"),
    ("finished-other", "decrypt_error", "decrypt_error"),
    ("handshake-in-small-records", "echoed", "echoed"),
];

/// Changes of keys, which TLS 1.3 alone has.
const KEY_UPDATES: [(&str, &str); 9] = [
    ("key-update", "echoed"),
    ("key-update-requested", "echoed"),
    ("key-updates", "closed"),
    ("key-updates-requested", "closed"),
    ("key-update-of-no-kind", "illegal_parameter"),
    ("key-update-cut-short", "decode_error"),
    ("key-update-with-a-byte-more", "decode_error"),
    ("key-update-in-small-records", "echoed"),
    // Section 5.1 forbids it; rustls ends it without an alert.
    ("key-update-with-data-between", "closed"),
];

#[test]
fn what_a_client_may_not_say_ends_its_connection_with_the_alert_that_fits() {
    if !installed(&["python3", PYTHON_TLSLITE]) {
        return;
    }
    let backend = Backend::echo();
    let authority = Authority::new();
    let pair = authority.issue("here", &["here.test"]);
    let proxy = Setup::before(&backend).terminating(&pair).start();
    let (ip, port) = (proxy.address().ip(), proxy.address().port());
    let mut command = client("python3");
    command.args(["-B", SCRIPT, &ip.to_string(), &port.to_string()]);
    let old = BOTH.map(|(case, outcome, _)| format!("1.2 {case} {outcome}"));
    let new = BOTH.map(|(case, _, outcome)| format!("1.3 {case} {outcome}"));
    let keys = KEY_UPDATES.map(|(case, outcome)| format!("1.3 {case} {outcome}"));
    let mut expected = [&old[..], &new, &keys].concat();
    expected.sort_unstable();
    let echoed = expected.iter().filter_map(|it| it.strip_suffix(" echoed"));
    let said = text(command.args(echoed.map(|it| it.replace(' ', ":"))));
    let mut said: Vec<_> = said.lines().collect();
    said.sort_unstable();
    assert_eq!(said, expected);
    // And everybody else is still served.
    let (lines, cases) = (said.len(), BOTH.len() * 2 + KEY_UPDATES.len());
    assert_eq!(proxy.await_access(cases).len(), lines);
}
