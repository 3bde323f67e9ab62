//! What holds in a server: its own directives, and those of the block around it that it does not repeat.

use super::remarks::{Kind, Remark};
use super::syntax::Directive;
use super::values::time;
use std::time::Duration;

#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) server: &'a Directive,
    pub(super) outer: &'a [Directive],
}

impl<'a> Scope<'a> {
    /// Every directive of these names, in order: the server's, or if it has none those around it.
    pub(super) fn all(self, names: &[&str]) -> Vec<&'a Directive> {
        let of = |directives: &'a [Directive]| -> Vec<&'a Directive> {
            let named = directives
                .iter()
                .filter(|it| names.contains(&it.name.as_str()));
            named.map(Directive::take).collect()
        };
        let own = of(self.server.inside());
        if own.is_empty() { of(self.outer) } else { own }
    }

    /// The one of that name.
    pub(super) fn one(self, name: &str) -> Option<&'a Directive> {
        self.all(&[name]).last().copied()
    }

    /// Whether it is there and says `on`.
    pub(super) fn is_on(self, name: &str) -> Option<&'a Directive> {
        self.one(name).filter(|it| it.word() == "on")
    }

    /// The longest of these times.
    pub(super) fn longest(
        self,
        names: &[&str],
        remarks: &mut Vec<Remark>,
    ) -> Option<(Duration, &'a Directive)> {
        let each = names.iter().filter_map(|name| self.one(name));
        let times = each.filter_map(|it| Some((read_time(it, remarks)?, it)));
        times.max_by_key(|(time, _)| *time)
    }
}

fn read_time(directive: &Directive, remarks: &mut Vec<Remark>) -> Option<Duration> {
    let word = directive.word();
    let Some(time) = time(word).filter(|time| !time.is_zero()) else {
        remarks.push(Remark::new(
            directive,
            Kind::Lost,
            "this is no time that ringway can keep",
        ));
        return None;
    };
    // nginx_tcp_proxy_module's own documents speak of milliseconds, but nginx reads seconds.
    if word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = format!("read as {word} seconds, as nginx does; milliseconds are \"{word}ms\"");
        remarks.push(Remark::new(directive, Kind::Note, text));
    }
    Some(time)
}
