//! `ringway import-nginx`: the `tcp {}` blocks of nginx_tcp_proxy_module and nginx's own `stream {}` blocks become a
//! configuration of ringway's.
//!
//! What the file says is carried over; what it does not say gets ringway's default and not nginx's. Every directive is
//! either read by somebody or named in a [`Remark`], and every line is shown to ringway before it is written, so that
//! the output is always accepted.

mod access;
mod draft;
mod listen;
mod listeners;
mod maps;
mod probe;
mod remarks;
mod scope;
mod servers;
mod syntax;
mod tls;
mod upstreams;
mod values;

pub use remarks::{Kind, Remark};
pub use syntax::{Place, SyntaxError};

use draft::{Item, around_upstream, settle};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use syntax::Directive;
use upstreams::Upstreams;
use values::{duration, list, string, time};

/// A converted file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// The configuration, with comments. `ringway validate` accepts it, unless it names files that are not here.
    pub toml: String,
    /// What is missing or other than before, in the order of the files.
    pub remarks: Vec<Remark>,
}

/// Why there is no output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImportError {
    /// The file, or one that it includes, cannot be read.
    Syntax(SyntaxError),
    /// Nothing in it can be served.
    Nothing(Vec<Remark>),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "{error}"),
            Self::Nothing(remarks) => {
                remarks
                    .iter()
                    .try_for_each(|remark| writeln!(f, "{remark}"))?;
                f.write_str("nothing to convert: no server in a tcp {} or stream {} block that ringway can serve")
            }
        }
    }
}

impl std::error::Error for ImportError {}

impl Imported {
    /// Whether the effect of some directive will be missed.
    pub fn is_partial(&self) -> bool {
        self.remarks.iter().any(|remark| remark.kind == Kind::Lost)
    }
}

/// Converts a configuration file of nginx's and all that it includes.
///
/// # Errors
/// When a file cannot be read or parsed, or when there is nothing to convert.
pub fn nginx(file: &Path) -> Result<Imported, ImportError> {
    let directives = syntax::read(file).map_err(ImportError::Syntax)?;
    let mut remarks = Vec::new();
    let body = body(&directives, &mut remarks);
    directives
        .iter()
        .for_each(|it| name_left_over(it, &mut remarks));
    in_order(&mut remarks);
    let Some(body) = body else {
        return Err(ImportError::Nothing(remarks));
    };
    let comments: String = remarks
        .iter()
        .map(|remark| format!("# - {remark}\n"))
        .collect();
    let remarked = if remarks.is_empty() {
        "nothing is missing"
    } else {
        "read these first"
    };
    let toml = format!(
        "# Converted from {} by `ringway import-nginx`; {remarked}. What nginx's file does not say has\n\
         # ringway's default, not nginx's.\n{comments}{body}",
        syntax::one_line(&file.display().to_string())
    );
    Ok(Imported { toml, remarks })
}

/// The file without its head; none when it has no listener.
fn body(directives: &[Directive], remarks: &mut Vec<Remark>) -> Option<String> {
    let blocks = directives
        .iter()
        .filter(|it| matches!(it.name.as_str(), "stream" | "tcp"));
    let mut upstreams = Upstreams::default();
    let (mut sites, mut logs) = (Vec::new(), Vec::new());
    let mut settings = process(directives, remarks);
    for block in blocks {
        let inside = block.take().inside();
        logs.extend(log(inside, remarks));
        settings.extend(resolvers(inside, remarks));
        upstreams.open(inside);
        let servers = inside.iter().filter(|it| it.name == "server");
        let converted =
            servers.filter_map(|it| servers::convert(it, inside, &mut upstreams, remarks));
        sites.extend(converted.collect::<Vec<_>>());
    }
    let names: Vec<_> = upstreams.names().collect();
    let listeners = listeners::tables(sites, &names, remarks);
    if listeners.toml.is_empty() {
        return None;
    }
    let process = section("process", &settings, remarks);
    logs.extend(log(directives, remarks));
    logs.sort_by_key(|item| item.text.starts_with("level"));
    let log = section("log", &logs, remarks);
    let upstreams = upstreams.toml(&listeners.upstreams);
    Some(format!("{process}{log}{}{upstreams}", listeners.toml))
}

/// A table of its own; nothing when no line is left.
fn section(name: &str, items: &[Item<'_>], remarks: &mut Vec<Remark>) -> String {
    let backend = "[[upstream.backend]]\naddress = \"127.0.0.1:1\"\n";
    let whole = |lines: &str| format!("[{name}]\n{lines}{}", around_upstream(backend));
    let lines = settle(items, remarks, whole);
    if lines.is_empty() {
        lines
    } else {
        format!("\n[{name}]\n{lines}")
    }
}

/// `[process]`
fn process<'a>(directives: &'a [Directive], remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for directive in directives {
        let word = directive.word();
        match directive.name.as_str() {
            "worker_processes" if word.parse::<u32>().is_ok() => {
                items.push(Item::key("workers", word, directive.take()));
            }
            "worker_processes" => items.push(Item::key("workers", string(word), directive.take())),
            "worker_shutdown_timeout" => match time(word) {
                Some(time) => items.push(Item::key(
                    "drain_deadline",
                    duration(time),
                    directive.take(),
                )),
                None => remarks.push(Remark::new(directive.take(), Kind::Lost, "this is no time")),
            },
            _ => {}
        }
    }
    items
}

/// `process.resolvers`: those of a `resolver` that are addresses.
fn resolvers<'a>(directives: &'a [Directive], remarks: &mut Vec<Remark>) -> Option<Item<'a>> {
    const DNS: u16 = 53;
    let resolver = directives.iter().find(|it| it.name == "resolver")?.take();
    let mut addresses = Vec::new();
    for word in &resolver.words {
        let host = word.trim_matches(['[', ']']).parse::<IpAddr>();
        let address = word
            .parse()
            .or_else(|_| host.map(|ip| SocketAddr::new(ip, DNS)));
        match address {
            Ok(address) => addresses.push(address),
            Err(_) if word.contains('=') => {
                let text =
                    format!("{word}: how often names are looked up is upstream.resolve_interval");
                remarks.push(Remark::new(resolver, Kind::Note, text));
            }
            Err(_) => {
                let text = format!("{word}: resolvers are IP addresses, perhaps with a port");
                remarks.push(Remark::new(resolver, Kind::Lost, text));
            }
        }
    }
    let is_some = !addresses.is_empty();
    is_some.then(|| Item::key("resolvers", list(addresses), resolver))
}

/// `[log]`: there is one access log and one level; what comes first holds.
fn log<'a>(directives: &'a [Directive], remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for directive in directives {
        let word = directive.word();
        match directive.name.as_str() {
            "access_log" if word == "off" || word.starts_with('/') => {
                let text =
                    "the lines are ringway's own; its service may write below /var/log/ringway";
                remarks.push(Remark::new(directive.take(), Kind::Note, text));
                items.push(Item::key("access", string(word), directive));
            }
            "error_log" => {
                let level = match directive.words.get(1).map_or("error", String::as_str) {
                    level @ ("debug" | "info" | "warn") => level,
                    "notice" => "info",
                    _ => "error",
                };
                items.push(Item::key("level", string(level), directive.take()));
            }
            _ => {}
        }
    }
    items
}

/// Names what nobody has read, in blocks that somebody has.
fn name_left_over(directive: &Directive, remarks: &mut Vec<Remark>) {
    if !directive.taken.get() {
        remarks.extend(remarks::left_over(directive));
        return;
    }
    directive
        .inside()
        .iter()
        .for_each(|it| name_left_over(it, remarks));
}

/// By file and line, each once: an upstream that became two has been read twice.
fn in_order(remarks: &mut Vec<Remark>) {
    let mut once: Vec<Remark> = Vec::with_capacity(remarks.len());
    for remark in remarks.drain(..) {
        if !once.contains(&remark) {
            once.push(remark);
        }
    }
    once.sort_by(|a, b| (&a.at.file, a.at.line).cmp(&(&b.at.file, b.at.line)));
    *remarks = once;
}
