//! The status page in headless Chromium, before a proxy that is made up (`status_page.py`): what it shows, that it goes
//! on, what its buttons ask for and say, and that a name is only ever text.

use crate::programs::{
    PYTHON_WEBSOCKETS, Program, client, free_address, installed, output, server,
};
use ringway::control::status_page;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/status_page.py");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/control/status_page.html");

/// The page has had its first answer.
const FILLED: &str = "until document.getElementById('limits')?.children.length >= 5";

/// What a name must never become.
const HOSTILE: &str = "<img src=x onerror='document.title=\"owned\"'>\"'</script><b>&amp;";

/// The proxy that is made up.
struct Scene {
    _program: Program,
    _folder: TempDir,
    address: SocketAddr,
}

impl Scene {
    /// `None`, and said so, where there is no browser.
    fn start(query: &str) -> Option<Self> {
        if !installed(&["chromium", "curl", "python3", PYTHON_WEBSOCKETS]) {
            return None;
        }
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = server("python3");
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        command.args([SCRIPT, "serve", &ip, &port, PAGE, status_page::POLICY]);
        let this = Self {
            _program: Program::listening(&mut command, folder.path(), address),
            _folder: folder,
            address,
        };
        this.get(&format!("ctl?{query}"));
        Some(this)
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://{}/{path}", self.address);
        serde_json::from_slice(&output(client("curl").args(["-s", &url]))).unwrap()
    }

    /// Opens the page and takes these steps in it: the value of each.
    #[track_caller]
    fn look(&self, width: u32, steps: &[&str]) -> Vec<Value> {
        look(&format!("http://{}/status", self.address), width, steps)
    }
}

/// Opens a status page in a browser of this width, waits until it has had its first answer, and takes these steps in it:
/// the value of each.
#[track_caller]
pub(crate) fn look(url: &str, width: u32, steps: &[&str]) -> Vec<Value> {
    let profile = tempfile::tempdir().unwrap();
    let mut command = client("python3");
    command.args([SCRIPT, "look", "/usr/bin/chromium"]);
    command.arg(profile.path()).args([url, &width.to_string()]);
    command.args(["light", "-"]);
    let said = with_input(&mut command, &[&[FILLED], steps].concat().join("\n"));
    let values = said.lines().map(|line| serde_json::from_str(line).unwrap());
    values.skip(1).collect()
}

/// What a client wrote that was told this.
#[track_caller]
fn with_input(command: &mut Command, input: &str) -> String {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02x}").unwrap();
        encoded
    })
}

/// How many rows the first upstream's table has.
const ROWS: &str = "document.querySelectorAll('#upstreams tbody tr').length";

#[test]
fn the_status_page_shows_none_one_and_two_hundred_backends() {
    let Some(scene) = Scene::start("backends=0") else {
        return;
    };
    let none = "document.querySelector('#upstreams .none').hidden";
    assert_eq!(json!(scene.look(1280, &[ROWS, none])), json!([0, false]));
    scene.get("ctl?backends=1");
    let told = "document.querySelector('#upstreams tbody tr').innerText";
    let seen = scene.look(1280, &[ROWS, none, told]);
    assert_eq!(json!(seen[..2]), json!([1, true]));
    let row = seen[2].as_str().unwrap();
    for part in [
        "md-1-01",
        "10.0.0.1:8080",
        "up",
        "http passed in 430",
        "100",
    ] {
        assert!(row.contains(part), "{part} in {row}");
    }
    scene.get("ctl?backends=200");
    let all = "document.querySelector('#upstreams .more').click()";
    let summary = "document.getElementById('summary').textContent";
    let seen = scene.look(1280, &[ROWS, summary, all, ROWS]);
    assert_eq!(json!(seen), json!([25, "182 of 200 up", null, 200]));
}

#[test]
fn the_status_page_goes_on_without_being_loaded_again() {
    let Some(scene) = Scene::start("backends=3") else {
        return;
    };
    let seen = scene.look(
        1280,
        &[
            "globalThis.first = document.querySelector('#upstreams tbody tr'); document.getElementById('seen').textContent",
            "until document.getElementById('seen').textContent !== 'as of ' && document.querySelector('#listeners td:nth-child(3)').textContent !== '–'",
            "fetch('/ctl?backends=5').then(() => true)",
            "until document.querySelectorAll('#upstreams tbody tr').length === 5",
            // The row that was there before is the same element: nothing flickers, and focus stays.
            "globalThis.first === document.querySelector('#upstreams tbody tr')",
            "performance.getEntriesByType('navigation').length",
        ],
    );
    assert_eq!(json!(seen[4..]), json!([true, 1]));
}

#[test]
fn the_status_page_says_when_the_proxy_no_longer_answers_and_when_it_does() {
    let Some(scene) = Scene::start("backends=2") else {
        return;
    };
    let seen = scene.look(
        1280,
        &[
            "document.getElementById('silent').hidden",
            "fetch('/ctl?silent=1').then(() => true)",
            "until !document.getElementById('silent').hidden",
            "document.getElementById('silent').textContent",
            "document.getElementById('phase').textContent",
            "fetch('/ctl?backends=2').then(() => true)",
            "until document.getElementById('silent').hidden",
            "document.getElementById('phase').textContent",
        ],
    );
    assert_eq!(seen[0], true);
    let told = seen[3].as_str().unwrap();
    assert!(
        told.starts_with("The proxy does not answer since "),
        "{told}"
    );
    assert_eq!(
        json!([seen[4], seen[7]]),
        json!(["not answering", "serving"])
    );
}

/// The second button of the first backend.
const DRAIN_FIRST: &str = "document.querySelectorAll('#upstreams .wants button')[1]";

#[test]
fn a_button_without_a_token_says_what_was_refused() {
    let Some(scene) = Scene::start("backends=2") else {
        return;
    };
    let click = format!("{DRAIN_FIRST}.click()");
    let told = "until document.getElementById('told').hidden ? '' : document.getElementById('told').textContent";
    let seen = scene.look(1280, &[&click, told]);
    let told = seen[1].as_str().unwrap();
    assert!(told.starts_with("Refused: "), "{told}");
    assert!(told.contains("admin.token_file"), "{told}");
    assert_eq!(scene.get("asked"), json!([]));
}

#[test]
fn buttons_ask_for_the_token_once_and_then_for_what_is_wanted() {
    let Some(scene) = Scene::start("backends=2&token=secret") else {
        return;
    };
    let give = "document.querySelector('#ask input').value = 'secret'; document.querySelector('#ask .primary').click()";
    let drain = format!("{DRAIN_FIRST}.click()");
    let pressed = format!("until {DRAIN_FIRST}.getAttribute('aria-pressed') === 'true'");
    let seen = scene.look(
        1280,
        &[
            &drain,
            "until document.getElementById('ask').open && !document.querySelector('#ask input').hidden",
            give,
            &pressed,
            "Object.keys(localStorage).length + document.cookie.length",
            "document.getElementById('drain').click(); document.querySelector('#ask h2').textContent",
            "document.querySelector('#ask .primary').click()",
            "until document.getElementById('drain').textContent === 'Undrain'",
            "document.getElementById('drain').click()",
            "until document.getElementById('phase').textContent === 'serving'",
        ],
    );
    assert_eq!(seen[4], 0, "the token is kept in the session alone");
    assert_eq!(seen[5], "Drain this proxy?");
    let wanted = json!([
        [
            "/upstreams/market-data/backends/md-1-01",
            "{\"state\":\"drain\"}"
        ],
        ["/drain", ""],
        ["/undrain", ""],
    ]);
    assert_eq!(scene.get("asked"), wanted);
}

#[test]
fn a_hostile_name_is_only_text_and_is_asked_for_whole() {
    let query = format!("backends=1&token=secret&name={}", percent_encoded(HOSTILE));
    let Some(scene) = Scene::start(&query) else {
        return;
    };
    let seen = scene.look(
        1280,
        &[
            "sessionStorage.setItem('ringway-token', 'secret')",
            "document.querySelector('#upstreams td div').textContent",
            "document.querySelectorAll('#upstreams img, #upstreams b').length",
            &format!("{DRAIN_FIRST}.click()"),
            "until !document.getElementById('told').hidden",
            "document.title",
        ],
    );
    assert_eq!(json!(seen[1..3]), json!([HOSTILE, 0]));
    assert!(!seen[5].as_str().unwrap().contains("owned"), "{seen:?}");
    let asked = scene.get("asked")[0][0].as_str().unwrap().to_owned();
    assert_eq!(asked.split('/').count(), 5, "{asked}");
}

#[test]
fn the_status_page_never_scrolls_sideways() {
    let query = format!("backends=30&name={}", "a".repeat(150));
    let Some(scene) = Scene::start(&query) else {
        return;
    };
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    for width in [320, 375, 768, 1024, 1280] {
        assert_eq!(json!(scene.look(width, &[fits])), json!([true]), "{width}");
    }
}
