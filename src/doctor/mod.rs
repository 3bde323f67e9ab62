//! `ringway doctor`: reads the machine and says what stands between it and the wanted load. Changes nothing.
//!
//! [`Facts`] is what the machine says, as files below a root and a few answers of the kernel; [`Load`] what is wanted of it;
//! each check is a function from both to [`Finding`]s. The running proxy asks the same at its start ([`at_start`]), but for what it
//! is about to try anyway.

mod checks;
mod facts;
mod finding;
mod load;
mod rings;
mod settings;

pub use finding::{Finding, State};

use crate::config::Config;
use facts::Facts;
use finding::Report;
use load::Load;
use rings::Rings;
use std::path::Path;

/// The proxy raises the limit of open files and warns of it by itself; huge pages are every distribution's default, and not
/// worth a line at each start.
const NOT_AT_START: [&str; 2] = [checks::NOFILE, checks::HUGE_PAGES];

/// What `ringway doctor` prints, and the code that it exits with: 0 fine, 1 warnings, 2 will not work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// A table, or a JSON object in one line.
    pub text: String,
    /// For the shell.
    pub code: u8,
}

/// Looks at everything. `connections` is the load to be judged against, where the configuration names none.
pub fn examine(config: Option<&Config>, connections: Option<u64>, json: bool) -> Answer {
    let facts = Facts::read(Path::new("/"));
    let load = Load::of(config, connections, facts.cpus());
    let rings = Rings::make(config);
    let mut findings = rings.findings(&facts);
    findings.extend(checks::all(&facts, &load));
    findings.extend(settings::short(&facts, &load));
    findings.extend(checks::network_cards(&facts, &load));
    let report = Report::new(&load, findings);
    Answer {
        text: if json { report.json() } else { report.table() },
        code: report.code(),
    }
}

/// What an operator should read when the proxy starts: a line for each warning, all kernel settings in one. What the proxy
/// tries by itself a moment later, it reports by itself.
pub fn at_start(config: &Config) -> Vec<String> {
    let facts = Facts::read(Path::new("/"));
    let load = Load::of(Some(config), None, facts.cpus());
    let findings = checks::all(&facts, &load);
    let mut lines: Vec<_> = findings
        .iter()
        .filter(|finding| finding.state != State::Fine)
        .filter(|finding| !NOT_AT_START.contains(&finding.key.as_str()))
        .map(Finding::line)
        .collect();
    lines.extend(settings::summary(&facts, &load));
    lines
}
