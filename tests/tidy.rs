//! The repository tests itself, in two points and no more: modules import only from the layers above them, and
//! `unsafe` lives in `src/ring` alone. Taste stays with people.
//!
//! It reads tokens and not the syntax tree, because a path inside a macro call is an import like any other, and a
//! comment is none.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The layers of `src`, top to bottom, as `src/lib.rs` tells them. A module may import those in the rows above its own.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["wire"],
    &["balance"],
    &["config"],
    &["ring"],
    &["sim"],
    &["tls"],
    &["upstream"],
    &["relay"],
    &["conn"],
    &["worker"],
    &["control"],
    &["demo", "doctor", "import", "remote"],
    &["lib", "main"],
];

/// Modules and packages that may import these alone, whatever stands above them.
const NARROWED: &[(&str, &[&str])] = &[("ring", &[]), ("sim", &["ring"]), ("loadgen", &["ring"])];

/// Imports that are allowed although no row says so: the demo drives its own load.
const ALSO: &[(&str, &str)] = &[("demo", "loadgen")];

/// Who may reach into whom by these names only, whichever stands above: a worker's mailbox, its numbers, and what it
/// takes to start one are the slow side's business, its insides are not; of `ring`, a package that can use nothing of
/// ours and so has to stand below, the layers above it share two plain values.
const DOORS: &[(&str, &str, &[&str])] = &[
    ("control", "worker", &["Mailbox", "Message", "Post"]),
    (
        "control",
        "worker",
        &["Stats", "Journal", "Record", "Limits"],
    ),
    ("control", "worker", &["Worker", "Setup", "Life", "bind"]),
    ("control", "worker", &["Board", "Handover", "share"]),
    ("control", "worker", &["Ear", "Order", "dress_again"]),
    ("control", "worker", &["ListenerStats", "TurnedAway"]),
    ("control", "worker", &["Question", "Wanted", "Listed"]),
    ("base", "ring", &["Time"]),
    ("balance", "ring", &["Time"]),
    ("config", "ring", &["Keepalive"]),
];

/// The one place for `unsafe`.
const UNSAFE_HOME: &str = "src/ring";

/// Where Rust of ours is found.
const ROOTS: &[&str] = &["src", "loadgen", "tests", "benches"];

/// More files than this tree will ever hold.
const FILES_MAX: usize = 10_000;

/// The whole of a namespace: `crate::*`, or the crate root itself.
const EVERYTHING: &str = "everything";

#[test]
fn modules_import_only_from_the_layers_above() {
    let complaints: Vec<_> = sources()
        .expect("the tree can be read")
        .iter()
        .flat_map(bad_imports)
        .collect();
    assert!(complaints.is_empty(), "\n{}", lines(&complaints));
}

#[test]
fn unsafe_lives_in_the_ring_alone() {
    let complaints: Vec<_> = sources()
        .expect("the tree can be read")
        .iter()
        .flat_map(stray_unsafe)
        .collect();
    assert!(complaints.is_empty(), "\n{}", lines(&complaints));
}

#[test]
fn an_import_from_below_is_named_with_both_modules_file_and_line() {
    let source = Source::new(
        "src/relay/copy.rs",
        "use std::fmt;\nuse crate::worker::Turn;\n",
    );
    assert_eq!(
        lines(&bad_imports(&source)),
        "src/relay/copy.rs:2: `relay` imports `worker`, which is not above it"
    );
}

#[test]
fn every_way_to_write_an_import_is_seen() {
    let ways = [
        "use crate::worker;",
        "use crate::{base::Slots, worker::Turn};",
        "use super::super::worker::Turn;",
        "use self::super::super::worker as w;",
        "use ringway::worker::Turn;",
        "mod tests { use super::super::super::worker; }",
        "fn f() { crate::worker::turn() }",
        "fn f() { println!(\"{}\", crate::worker::turn()) }",
        "use crate::*;",
        "use ::ringway_loadgen::Load;",
        "use ringway_loadgen as load;",
    ];
    for way in ways {
        let found = bad_imports(&Source::new("src/relay/copy.rs", way));
        assert_eq!(found.len(), 1, "{way}: {}", lines(&found));
    }
}

#[test]
fn an_import_from_above_or_from_home_passes() {
    let source = "use crate::{base::Slots, ring::Op};\nuse super::Relay;\nuse ringway_ring::Lease;\n\
        // use crate::worker;\nmod tests { use super::*; use super::super::Relay; }\n\
        pub(super) fn f() {}\npub(crate) struct S;\n";
    let found = bad_imports(&Source::new("src/relay/copy.rs", source));
    assert!(found.is_empty(), "{}", lines(&found));
}

#[test]
fn the_narrowed_and_the_doored_bite() {
    let bad = [
        ("src/sim/world.rs", "use crate::base::Wheel;"),
        ("src/ring/uring.rs", "use ringway_loadgen::Load;"),
        ("loadgen/src/lib.rs", "use ringway::config::Config;"),
        ("src/control/reload.rs", "use crate::worker::Turn;"),
        (
            "src/control/reload.rs",
            "use crate::worker; fn f() { worker::turn() }",
        ),
        ("src/demo.rs", "use crate::doctor::rows;"),
        ("src/base/wheel.rs", "use crate::ring::Op;"),
        ("src/attic/mod.rs", "use crate::base::Slots;"),
    ];
    for (path, text) in bad {
        let found = bad_imports(&Source::new(path, text));
        assert_eq!(found.len(), 1, "{path}: {text}: {}", lines(&found));
    }
    let good = [
        (
            "src/control/reload.rs",
            "use crate::worker::{self, Mailbox}; fn f() { worker::bind() }",
        ),
        ("src/demo.rs", "use ringway_loadgen::Load;"),
        ("src/base/wheel.rs", "use crate::ring::Time;"),
        (
            "loadgen/src/drive.rs",
            "use crate::report::Report; use ringway_ring::Op;",
        ),
    ];
    for (path, text) in good {
        let found = bad_imports(&Source::new(path, text));
        assert!(found.is_empty(), "{path}: {text}: {}", lines(&found));
    }
}

#[test]
fn unsafe_elsewhere_is_named_with_file_and_line() {
    let text = "// unsafe\nfn f() {\n    println!(\"{}\", unsafe { g() })\n}\n";
    for path in [
        "src/conn/mod.rs",
        "loadgen/src/lib.rs",
        "tests/e2e.rs",
        "benches/balance.rs",
    ] {
        let found = stray_unsafe(&Source::new(path, text));
        assert_eq!(
            lines(&found),
            format!("{path}:3: `unsafe` outside {UNSAFE_HOME}")
        );
    }
    assert!(stray_unsafe(&Source::new("src/ring/uring.rs", text)).is_empty());
}

/// One file: where it is and what it says.
struct Source {
    path: PathBuf,
    text: String,
}

/// What is wrong, and where.
struct Complaint {
    path: PathBuf,
    line: usize,
    what: String,
}

/// A path of the source as absolute segments (`["worker", "mailbox"]`), and its line.
struct Import {
    segments: Vec<String>,
    line: usize,
}

impl Source {
    fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    fn tokens(&self) -> TokenStream {
        match self.text.parse() {
            Ok(tokens) => tokens,
            Err(error) => panic!("{}: {error}", self.path.display()),
        }
    }

    fn complain(&self, line: usize, what: String) -> Complaint {
        Complaint {
            path: self.path.clone(),
            line,
            what,
        }
    }

    /// The module path of this file, outermost first: packages beside `ringway` count as one module each. Empty for
    /// files that belong to no layer (tests, benches).
    fn module(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let mut parts: Vec<String> = path
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        match (parts[0].as_str(), parts.get(1).map(String::as_str)) {
            ("src", Some("ring")) if parts.last().is_some_and(|last| last == "lib") => {
                vec!["ring".into()]
            }
            ("src", Some(_)) => parts.split_off(1),
            ("loadgen", Some("src")) => match parts[2].as_str() {
                "lib" | "main" => vec!["loadgen".into()],
                _ => [vec!["loadgen".into()], parts.split_off(2)].concat(),
            },
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

fn lines(complaints: &[Complaint]) -> String {
    complaints
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every Rust file below [`ROOTS`], in a stable order.
fn sources() -> io::Result<Vec<Source>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for root in ROOTS {
        collect(top, Path::new(root), &mut found)?;
    }
    assert!(
        found.len() > LAYERS.len(),
        "looked in the wrong place: {}",
        top.display()
    );
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(top: &Path, path: &Path, found: &mut Vec<Source>) -> io::Result<()> {
    assert!(
        found.len() < FILES_MAX,
        "is a build folder among the sources?"
    );
    let full = top.join(path);
    if full.is_dir() {
        for entry in fs::read_dir(full)? {
            collect(top, &path.join(entry?.file_name()), found)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(Source::new(path, &fs::read_to_string(full)?));
    }
    Ok(())
}

fn bad_imports(source: &Source) -> Vec<Complaint> {
    let module = source.module();
    let Some(importer) = module.first() else {
        return Vec::new();
    };
    if row(importer).is_none() && narrowed(importer).is_none() {
        let what = format!("module `{importer}` is not in the table of tests/tidy.rs");
        return vec![source.complain(1, what)];
    }
    imports(source.tokens(), &module)
        .into_iter()
        .filter_map(|import| Some(source.complain(import.line, verdict(importer, &import)?)))
        .collect()
}

/// Why `importer` may not have `import`, if so.
fn verdict(importer: &str, import: &Import) -> Option<String> {
    let target = import.segments.first().map_or(EVERYTHING, String::as_str);
    if has_door(importer, target) {
        // The module's bare name opens nothing: what is reached by it is checked where it is used.
        let name = import.segments.get(1)?;
        let through = DOORS.iter().any(|(from, to, names)| {
            (*from, *to) == (importer, target) && names.contains(&name.as_str())
        });
        return (!through).then(|| {
            format!("`{importer}` imports `{target}::{name}`, which is none of its doors")
        });
    }
    let allowed = importer == target
        || ALSO.contains(&(importer, target))
        || narrowed(importer)
            .map_or_else(|| is_above(target, importer), |only| only.contains(&target));
    (!allowed).then(|| format!("`{importer}` imports `{target}`, which is not above it"))
}

fn has_door(importer: &str, target: &str) -> bool {
    DOORS
        .iter()
        .any(|(from, to, _)| (*from, *to) == (importer, target))
}

fn narrowed(module: &str) -> Option<&'static [&'static str]> {
    NARROWED
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, only)| *only)
}

fn row(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn is_above(target: &str, importer: &str) -> bool {
    match (row(target), row(importer)) {
        (Some(target), Some(importer)) => target < importer,
        // Not a module: an item of the crate root, a glob over it, or another package.
        (None, _) | (_, None) => false,
    }
}

/// Every path in `tokens` that leads out of `module` or names it absolutely.
fn imports(tokens: TokenStream, module: &[String]) -> Vec<Import> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => {
                let inner = inline_module(&tokens[..at]).map(|name| [module, &[name]].concat());
                found.extend(imports(group.stream(), inner.as_deref().unwrap_or(module)));
            }
            TokenTree::Ident(_) if !follows_path(&tokens[..at]) => {
                if let Some((base, next)) = path_start(&tokens, at, module) {
                    rest_of_path(&tokens, next, &base, &mut found);
                    // Groups behind the path (arguments, a use tree's braces) are still walked for paths of their own.
                    at = next;
                    continue;
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
    found
}

/// The name of the inline module whose braces come after `before`: `… mod NAME`.
fn inline_module(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., TokenTree::Ident(keyword), TokenTree::Ident(name)] if keyword == "mod" => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// Whether an identifier after `before` continues a path (`a::` comes first; `use ::` does not count).
fn follows_path(before: &[TokenTree]) -> bool {
    matches!(before, [.., TokenTree::Ident(name), TokenTree::Punct(a), TokenTree::Punct(b)]
        if name != "use" && a.as_char() == ':' && b.as_char() == ':')
}

/// The absolute module that the path at `tokens[at]` starts from, and where the rest of it begins.
fn path_start(tokens: &[TokenTree], at: usize, module: &[String]) -> Option<(Vec<String>, usize)> {
    let TokenTree::Ident(first) = &tokens[at] else {
        return None;
    };
    let package: &[String] = match module[0].as_str() {
        "ring" | "loadgen" => &module[..1],
        _ => &[],
    };
    match first.to_string().as_str() {
        "ringway_ring" => Some((vec!["ring".into()], at + 1)),
        "ringway_loadgen" => Some((vec!["loadgen".into()], at + 1)),
        "ringway" if is_joint(tokens, at + 1) => Some((Vec::new(), at + 1)),
        "crate" if is_joint(tokens, at + 1) => Some((package.to_vec(), at + 1)),
        "self" if is_joint(tokens, at + 1) => Some((module.to_vec(), at + 1)),
        // `use crate::worker;` and then `worker::bind`.
        name if is_joint(tokens, at + 1) && has_door(&module[0], name) => {
            Some((vec![name.to_owned()], at + 1))
        }
        "super" if is_joint(tokens, at + 1) => Some((module[..module.len() - 1].to_vec(), at + 1)),
        _ => None,
    }
}

/// Whether `::` stands at `at`.
fn is_joint(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at..at + 2), Some([TokenTree::Punct(a), TokenTree::Punct(b)])
        if a.as_char() == ':' && b.as_char() == ':')
}

/// Follows `::name`, `::super`, `::*` and `::{…}` from `at` on, and adds each path they spell.
fn rest_of_path(tokens: &[TokenTree], mut at: usize, base: &[String], found: &mut Vec<Import>) {
    let line = tokens[at - 1].span().start().line;
    let mut segments = base.to_vec();
    while is_joint(tokens, at) {
        match tokens.get(at + 2) {
            Some(TokenTree::Ident(name)) if name == "super" => {
                segments.pop();
            }
            Some(TokenTree::Ident(name)) => segments.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                return branches(group.stream(), &segments, found);
            }
            Some(TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_)) | None => break,
        }
        at += 3;
    }
    found.push(Import { segments, line });
}

/// The entries of a use tree's braces, each a path of its own below `base`.
fn branches(tokens: TokenStream, base: &[String], found: &mut Vec<Import>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
    for entry in tokens.split(is_comma) {
        let mut segments = base.to_vec();
        match entry.first() {
            Some(TokenTree::Ident(name)) if name == "super" => {
                segments.pop();
            }
            Some(TokenTree::Ident(name)) if name != "self" => segments.push(name.to_string()),
            Some(_) => {}
            None => continue,
        }
        rest_of_path(entry, 1, &segments, found);
    }
}

fn stray_unsafe(source: &Source) -> Vec<Complaint> {
    if source.path.starts_with(UNSAFE_HOME) {
        return Vec::new();
    }
    let mut at = Vec::new();
    unsafe_lines(source.tokens(), &mut at);
    let what = format!("`unsafe` outside {UNSAFE_HOME}");
    at.into_iter()
        .map(|line| source.complain(line, what.clone()))
        .collect()
}

fn unsafe_lines(tokens: TokenStream, found: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => unsafe_lines(group.stream(), found),
            TokenTree::Ident(name) if name == "unsafe" => found.push(name.span().start().line),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
