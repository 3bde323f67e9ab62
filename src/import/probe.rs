//! `check` of nginx_tcp_proxy_module and of its relatives for stream and http: what becomes of it is `[upstream.probe]`.

use super::draft::Item;
use super::remarks::{Kind, Remark};
use super::syntax::Directive;
use super::values::{bytes, duration, string};
use std::time::Duration;

/// The lines of the table of an upstream with a `check`, its type first. What `check` leaves out has ringway's default.
pub(super) fn lines<'a>(block: &'a Directive, remarks: &mut Vec<Remark>) -> Option<Vec<Item<'a>>> {
    let named = |name: &str| block.inside().iter().find(|it| it.name == name);
    let check = named("check")?.take();
    let mut lines = Vec::new();
    for word in &check.words {
        match line(word) {
            Some(text) => lines.push(Item { text, from: check }),
            None => {
                let text = format!("{word} has no counterpart");
                remarks.push(Remark::new(check, Kind::Lost, text));
            }
        }
    }
    // What the others mean depends on it.
    lines.sort_by_key(|item| !item.text.starts_with("type"));
    if check.words.iter().any(|word| word == "type=http") {
        let send = named("check_http_send").map(Directive::take);
        lines.extend(send.map(|it| Item::key("send", bytes(it.word()), it)));
        let expect = named("check_http_expect_alive").map(Directive::take);
        lines.extend(expect.map(|it| Item::key("expect_status", classes(it), it)));
    }
    Some(lines)
}

/// The line of the word of a `check`.
fn line(word: &str) -> Option<String> {
    const TYPES: [&str; 7] = ["http", "imap", "mysql", "pop3", "smtp", "ssl_hello", "tcp"];
    let (key, value) = word.split_once('=')?;
    Some(match key {
        "interval" | "timeout" => {
            let millis = value.parse().ok().filter(|millis| *millis > 0)?;
            format!("{key} = {}", duration(Duration::from_millis(millis)))
        }
        "rise" | "fall" => format!(
            "{key} = {}",
            value.parse::<u32>().ok().filter(|count| *count > 0)?
        ),
        "port" => format!("port = {}", value.parse::<u16>().ok()?),
        "type" if TYPES.contains(&value) => format!("type = {}", string(value)),
        "default_down" if value == "true" => "initial = \"down\"".into(),
        "default_down" if value == "false" => "initial = \"up\"".into(),
        _ => return None,
    })
}

/// `http_2xx http_3xx` as a list of classes.
fn classes(directive: &Directive) -> String {
    let classes = directive
        .words
        .iter()
        .map(|word| word.trim_start_matches("http_"));
    super::values::list(classes)
}
