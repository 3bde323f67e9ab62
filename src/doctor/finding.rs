//! One row of the answer, and the answer as a table and as JSON.

use super::load::Load;
use serde::Serialize;
use std::fmt::Write;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Fine,
    /// It works, but not as well or not for as many as wanted.
    Warning,
    /// It does not work.
    Critical,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at. Names of kernel settings are those of sysctl(8).
    pub key: String,
    /// How it stands.
    pub state: State,
    /// What is.
    pub now: String,
    /// What should be.
    pub wanted: String,
    /// Why.
    pub why: String,
    /// What to do; empty where nothing is to be done.
    pub fix: String,
}

impl Finding {
    /// One that is as it should be.
    pub(super) fn fine(key: &str, now: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            state: State::Fine,
            now: now.into(),
            wanted: wanted.into(),
            why: String::new(),
            fix: String::new(),
        }
    }

    /// The same finding, and why one looks there.
    pub(super) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// The same finding, not as it should be if `unless` does not hold.
    pub(super) fn warn_unless(self, unless: bool, fix: impl Into<String>) -> Self {
        self.raise_unless(State::Warning, unless, fix)
    }

    /// The same finding, in the way of everything if `unless` does not hold.
    pub(super) fn fail_unless(self, unless: bool, fix: impl Into<String>) -> Self {
        self.raise_unless(State::Critical, unless, fix)
    }

    fn raise_unless(mut self, state: State, unless: bool, fix: impl Into<String>) -> Self {
        if !unless {
            self.state = state;
            self.fix = fix.into();
        }
        self
    }

    /// For the log.
    pub(super) fn line(&self) -> String {
        let Self {
            key,
            now,
            wanted,
            why,
            fix,
            ..
        } = self;
        format!("{key} is {now}, should be {wanted}: {why}; {fix}")
    }
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    connections: Option<u64>,
    workers: usize,
    profile: Option<&'static str>,
    state: State,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(load: &Load, findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.state).max();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            connections: load.connections,
            workers: load.workers,
            profile: load.profile().map(|profile| profile.name),
            state: worst.unwrap_or(State::Fine),
            findings,
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self.state {
            State::Fine => 0,
            State::Warning => 1,
            State::Critical => 2,
        }
    }

    pub(super) fn json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("plain values");
        text.push('\n');
        text
    }

    /// A line a finding; below it why and what to do, where something is.
    pub(super) fn table(&self) -> String {
        let widths = [
            self.width("", |finding| finding.state.word()),
            self.width("key", |finding| &finding.key),
            self.width("now", |finding| &finding.now),
        ];
        let mut text = String::new();
        let mut line = |cells: [&str; 4]| {
            let [state, key, now, wanted] = cells;
            let [a, b, c] = widths;
            let row = format!("{state:a$}  {key:b$}  {now:c$}  {wanted}");
            writeln!(text, "{}", row.trim_end()).expect("a String takes every line");
        };
        line(["", "key", "now", "wanted"]);
        for finding in &self.findings {
            line([
                finding.state.word(),
                &finding.key,
                &finding.now,
                &finding.wanted,
            ]);
            if finding.state != State::Fine {
                line(["", "", &format!("why: {}", finding.why), ""]);
                line(["", "", &format!("fix: {}", finding.fix), ""]);
            }
        }
        text + &self.verdict()
    }

    fn width(&self, head: &str, cell: impl Fn(&Finding) -> &str) -> usize {
        let cells = self.findings.iter().map(|it| cell(it).chars().count());
        cells.chain([head.len()]).max().unwrap_or_default()
    }

    fn verdict(&self) -> String {
        let of = |state| self.findings.iter().filter(|it| it.state == state).count();
        let load = self.connections.map_or_else(
            || {
                "no load was named: set process.max_connections, or give --connections N, to have limits judged".to_owned()
            },
            |connections| format!("judged for {connections} connections"),
        );
        format!(
            "fine: {}, warnings: {}, critical: {}; {load}; workers: {}\n",
            of(State::Fine),
            of(State::Warning),
            of(State::Critical),
            self.workers
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(states: &[State]) -> Report {
        let finding = |(state, number): (&State, u8)| Finding {
            key: format!("key.{number}"),
            state: *state,
            now: "1".into(),
            wanted: "at least 2".into(),
            why: "one is few".into(),
            fix: "add one".into(),
        };
        let load = Load::of(None, Some(5000), 3);
        Report::new(&load, states.iter().zip(0..).map(finding).collect())
    }

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        assert_eq!(report(&[]).code(), 0);
        assert_eq!(report(&[State::Fine, State::Fine]).code(), 0);
        assert_eq!(report(&[State::Warning, State::Fine]).code(), 1);
        assert_eq!(report(&[State::Critical, State::Warning]).code(), 2);
    }

    #[test]
    fn the_table_has_a_line_a_finding_and_advice_where_something_is_wrong() {
        let table = report(&[State::Fine, State::Warning]).table();
        let lines: Vec<Vec<_>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], ["key", "now", "wanted"]);
        assert_eq!(lines[1], ["fine", "key.0", "1", "at", "least", "2"]);
        assert_eq!(lines[2], ["WARNING", "key.1", "1", "at", "least", "2"]);
        assert_eq!(lines[3], ["why:", "one", "is", "few"]);
        assert_eq!(lines[4], ["fix:", "add", "one"]);
        assert!(
            table.ends_with(
                "fine: 1, warnings: 1, critical: 0; judged for 5000 connections; workers: 3\n"
            ),
            "{table}"
        );
    }

    #[test]
    fn json_has_the_same_rows() {
        let json: serde_json::Value =
            serde_json::from_str(&report(&[State::Critical]).json()).unwrap();
        assert_eq!(json["state"], "critical");
        assert_eq!(json["connections"], 5000);
        assert_eq!(
            json["findings"][0],
            serde_json::json!({"key": "key.0", "state": "critical", "now": "1", "wanted": "at least 2",
                "why": "one is few", "fix": "add one"})
        );
    }
}
