//! The status page of a running proxy in headless Chromium: what it shows of none, one and two hundred backends, that it
//! follows, and that its buttons do what they say. [`status_page`](crate::status_page) has the rest, before a proxy that is made up.

use crate::programs::{PYTHON_WEBSOCKETS, installed};
use crate::status_page::look;
use crate::support::{Backend, Proxy, Setup};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What a name must never become, of the signs that a name may have.
const HOSTILE: &str = "<script>alert('owned')<b>&amp;'";

const TOKEN: &str = "s3cret";

/// How many rows there are in the tables of backends.
const ROWS: &str = "document.querySelectorAll('#upstreams tbody tr').length";

/// The n-th button of the first backend: ready, drain, maint.
fn button(at: usize) -> String {
    format!("document.querySelectorAll('#upstreams .wants button')[{at}]")
}

/// A proxy with so many backends, none of which is asked for anything.
fn backends(count: usize) -> Setup {
    let mut tables = String::new();
    for at in 0..count {
        let (high, low) = (at / 250, at % 250 + 1);
        writeln!(
            tables,
            "[[upstream.backend]]\naddress = \"127.9.{high}.{low}:9\"\nname = \"md-{at:03}\""
        )
        .unwrap();
    }
    Setup::new(&[]).more(&tables).admin()
}

fn page(proxy: &Proxy) -> String {
    format!("http://{}/", proxy.admin().as_str())
}

fn can_look() -> bool {
    installed(&["chromium", "python3", PYTHON_WEBSOCKETS])
}

#[test]
fn one_backend_and_two_hundred_are_shown_of_a_proxy_that_runs() {
    if !can_look() {
        return;
    }
    let summary = "document.getElementById('summary').textContent";
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    for (count, rows) in [(1, 1), (200, 25)] {
        let proxy = backends(count).start();
        for width in [375, 1280] {
            let seen = look(&page(&proxy), width, &[ROWS, summary, fits]);
            let up = format!("{count} of {count} up");
            assert_eq!(json!(seen), json!([rows, up, true]), "{width}");
        }
    }
}

#[test]
fn a_proxy_whose_only_backend_is_a_name_without_an_answer_says_that_it_is_down() {
    if !can_look() {
        return;
    }
    // A file without a backend is no configuration: this is as little as there can be.
    let proxy = Setup::new(&[])
        .process("resolvers = [\"127.0.0.1:1\"]")
        .more("[[upstream.backend]]\naddress = \"nobody.invalid:80\"\n")
        .admin()
        .start();
    let state = "document.querySelector('#upstreams .state').textContent";
    let seen = look(&page(&proxy), 375, &[ROWS, state]);
    assert_eq!(json!(seen), json!([1, "down"]));
}

#[test]
fn the_page_follows_the_proxy_without_being_loaded_again() {
    if !can_look() {
        return;
    }
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let admin = proxy.admin();
    let client = proxy.connect();
    client.send(b"hello");
    client.expect(b"hello");
    let added = "{\"address\": \"127.0.0.1:9\", \"name\": \"added\"}";
    assert_eq!(admin.post("/upstreams/feed/backends", added).status, 200);
    let second = "document.querySelectorAll('#upstreams tbody tr')[1].textContent";
    let seen = look(
        &page(&proxy),
        1280,
        &[
            second,
            "globalThis.first = document.querySelector('#upstreams tbody tr'); true",
            "until document.querySelector('#listeners td:nth-child(3)').textContent !== '–'",
            "globalThis.first === document.querySelector('#upstreams tbody tr')",
            "performance.getEntriesByType('navigation').length",
            "document.querySelector('.tile .now').textContent.trim()",
        ],
    );
    let row = seen[0].as_str().unwrap();
    assert!(
        row.contains("added") && row.contains("by\u{a0}admin"),
        "{row}"
    );
    assert_eq!(json!(seen[3..]), json!([true, 1, "1"]));
}

#[test]
fn buttons_change_the_proxy_with_the_token_and_nothing_without() {
    if !can_look() {
        return;
    }
    let backend = Backend::echo();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let table = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = {file:?}\n");
    let proxy = Setup::before(&backend).more(&table).start();
    let url = page(&proxy);
    let wants =
        || -> Value { proxy.admin().status()["upstreams"][0]["backends"][0]["admin"].clone() };
    let asks =
        "until document.getElementById('ask').open && !document.querySelector('#ask input').hidden";
    let give = |token: &str| {
        format!(
            "document.querySelector('#ask input').value = '{token}'; document.querySelector('#ask .primary').click()"
        )
    };
    let click = |at| format!("{}.click()", button(at));
    let is_pressed = |at| {
        format!(
            "until {}.getAttribute('aria-pressed') === 'true'",
            button(at)
        )
    };
    let says = "until document.getElementById('told').hidden ? '' : document.getElementById('told').textContent";
    let cancel = "document.querySelector('#ask [value=no]').click()";
    let seen = look(&url, 375, &[&click(1), asks, cancel, says]);
    assert!(
        seen[3].as_str().unwrap().contains("a token is needed"),
        "{seen:?}"
    );
    assert_eq!(wants(), "ready");
    let seen = look(
        &url,
        375,
        &[
            &click(1),
            asks,
            &give("wrong"),
            "until document.querySelector('#ask p').textContent.startsWith('That was not')",
            &give(TOKEN),
            &is_pressed(1),
            &click(2),
            &is_pressed(2),
            "document.querySelector('#upstreams .state').textContent",
            &click(0),
            &is_pressed(0),
        ],
    );
    assert_eq!(seen[8], "maintenance");
    assert_eq!(wants(), "ready");
    for state in ["Drain", "Maint", "Ready"] {
        proxy.await_line(&format!("state: {state}"));
    }
}

#[test]
fn without_a_token_file_a_page_changes_nothing_and_says_what_to_set() {
    if !can_look() {
        return;
    }
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).admin().start();
    let click = format!("{}.click()", button(2));
    let says = "until document.getElementById('told').hidden ? '' : document.getElementById('told').textContent";
    let seen = look(&page(&proxy), 1280, &[&click, says]);
    let told = seen[1].as_str().unwrap();
    assert!(
        told.starts_with("Refused: ") && told.contains("token_file"),
        "{told}"
    );
    let status = proxy.admin().status();
    assert_eq!(status["upstreams"][0]["backends"][0]["admin"], "ready");
}

#[test]
fn hostile_names_of_a_file_are_only_text() {
    if !can_look() {
        return;
    }
    let table = format!("[[upstream.backend]]\naddress = \"127.0.0.1:9\"\nname = {HOSTILE:?}\n");
    let proxy = Setup::new(&[])
        .listener(&format!("name = {HOSTILE:?}"))
        .more(&table)
        .admin()
        .start();
    let seen = look(
        &page(&proxy),
        375,
        &[
            "document.querySelector('#upstreams td div').textContent",
            "document.querySelector('#listeners td div').textContent",
            "document.querySelectorAll('main script, main b:not(.worker b)').length",
            "document.documentElement.scrollWidth <= innerWidth",
        ],
    );
    assert_eq!(json!(seen), json!([HOSTILE, HOSTILE, 0, true]));
}
