//! The man page and the shell completions, made from the same definitions as `--help`.

use super::cli::Cli;
use clap::CommandFactory;
use clap_complete::Shell;
use roff::{Roff, bold, roman};
use std::io::{self, Write};

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Fine; for run, drained after a signal."),
    ("2", "The command line is wrong."),
    (
        "71",
        "The operating system refused something: an address, io_uring, a limit. The message says what, why and what to do.",
    ),
    (
        "78",
        "The configuration is wrong. Each message names file, line, column and key.",
    ),
];

const SIGNALS: &[(&str, &str)] = &[(
    "SIGTERM, SIGINT",
    "Drain: stop accepting, close the open connections over process.drain_over, exit with 0. A second one exits at once.",
)];

const FILES: &[(&str, &str)] = &[(
    "FILE",
    "The configuration, TOML. There is no default path: name it with -c. ringway validate -c FILE prints every key with its effective value.",
)];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "ringway demo",
        "See it work; nothing to install or configure.",
    ),
    (
        "ringway run --listen 0.0.0.0:9000 --backend 10.0.0.1:8080 --backend 10.0.0.2:8080",
        "Spread clients over two backends by their address.",
    ),
    (
        "ringway validate -c ringway.toml",
        "Check a configuration before it is used.",
    ),
];

/// Writes the man page in roff.
///
/// # Errors
/// Those of `out`.
pub fn man(out: &mut dyn Write) -> io::Result<()> {
    let page = clap_mangen::Man::new(Cli::command()).manual("User Commands");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    commands(out)?;
    for (title, rows) in [
        ("EXIT STATUS", EXIT_STATUS),
        ("SIGNALS", SIGNALS),
        ("FILES", FILES),
        ("EXAMPLES", EXAMPLES),
    ] {
        section(title, rows, out)?;
    }
    page.render_version_section(out)
}

/// Writes the completions of a shell.
///
/// # Errors
/// Those of `out`.
pub fn completions(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    // Made in memory first: clap_complete panics when its output is a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ringway", &mut script);
    out.write_all(&script)
}

/// The help of each verb, as it is.
fn commands(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    let mut cli = Cli::command();
    cli.build();
    for verb in cli
        .get_subcommands_mut()
        .filter(|verb| verb.get_name() != "help")
    {
        roff.control("SS", [format!("ringway {}", verb.get_name()).as_str()]);
        roff.control("nf", []);
        roff.text([roman(verb.render_long_help().to_string())]);
        roff.control("fi", []);
    }
    out.write_all(roff.to_roff().as_bytes())
}

fn section(title: &str, rows: &[(&str, &str)], out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (term, meaning) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
    out.write_all(roff.to_roff().as_bytes())
}
