//! Arguments, configuration, controller; error to exit code; nothing else.

use clap::Parser;
use ringway::config::cli::{self, Cli, Verb, exit};
use ringway::config::{Config, Errors};
use ringway::control::{self, Loaded, Source};
use ringway::demo;
use ringway::doctor;
use ringway::import::{self, ImportError};
use ringway::remote::{self, Asked};
use std::fs;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::process::ExitCode;

/// Why a verb ended early.
enum Failure {
    Config(Errors),
    Import(ImportError),
    Os(String),
    Usage(String),
}

fn main() -> ExitCode {
    let ended = match Cli::parse().verb {
        Verb::Run(args) => {
            return run(&args).map_or_else(Failure::report, |(loaded, source)| {
                control::run(loaded, &source, doctor::at_start)
            });
        }
        Verb::Demo(args) => return demo::run(&args),
        Verb::Doctor(args) => return doctor(&args).unwrap_or_else(Failure::report),
        Verb::Status(args) => return remote::status(&args),
        Verb::Top(args) => return remote::top(&args),
        Verb::Drain(target) => return remote::change(&target, &Asked::Drain),
        Verb::Undrain(target) => return remote::change(&target, &Asked::Undrain),
        Verb::Reload(target) => return remote::change(&target, &Asked::Reload),
        Verb::Backend(args) => {
            return remote::change(&args.target, &Asked::Backend(args.clone()));
        }
        Verb::Kill(args) => return remote::change(&args.target, &Asked::Kill(args.id)),
        Verb::Map(args) => map(&args),
        Verb::Validate(args) => validate(&args),
        Verb::ImportNginx(args) => return import_nginx(&args).unwrap_or_else(Failure::report),
        Verb::Completions(args) => print(|out| cli::completions(args.shell, out)),
        Verb::Man => print(cli::man),
    };
    ended.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

fn run(args: &cli::Run) -> Result<(Loaded, Source), Failure> {
    match &args.config {
        Some(file) => {
            let loaded = Loaded::load(file).map_err(Failure::Config)?;
            Ok((loaded, Source::File(file.clone())))
        }
        None => {
            // A wrong flag is clap's to report, with exit code 2.
            let config = Config::from_flags(args).unwrap_or_else(|e| e.exit());
            Ok((config.into(), Source::Flags))
        }
    }
}

fn doctor(args: &cli::Doctor) -> Result<ExitCode, Failure> {
    let config = args.config.as_deref().map(Config::load).transpose();
    let config = config.map_err(Failure::Config)?;
    let connections = args.connections.map(NonZeroU64::get);
    let answer = doctor::examine(config.as_ref(), connections, args.json);
    print(|out| out.write_all(answer.text.as_bytes()))?;
    Ok(ExitCode::from(answer.code))
}

fn map(args: &cli::Map) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::Config)?;
    let lines =
        control::map(config, &args.upstream, &args.key, &args.keys).map_err(Failure::Usage)?;
    print(|out| out.write_all(lines.as_bytes()))
}

fn validate(args: &cli::Validate) -> Result<(), Failure> {
    let loaded = Loaded::load(&args.config).map_err(Failure::Config)?;
    for warning in loaded.warnings() {
        eprintln!("{}: warning: {warning}", args.config.display());
    }
    if args.quiet {
        return Ok(());
    }
    print(|out| out.write_all(loaded.config.to_toml().as_bytes()))
}

fn import_nginx(args: &cli::ImportNginx) -> Result<ExitCode, Failure> {
    let imported = import::nginx(&args.file).map_err(Failure::Import)?;
    for remark in &imported.remarks {
        eprintln!("{remark}");
    }
    match &args.output {
        None => print(|out| out.write_all(imported.toml.as_bytes()))?,
        Some(path) => fs::write(path, &imported.toml)
            .map_err(|e| Failure::Os(format!("cannot write {}: {e}", path.display())))?,
    }
    let is_partial = imported.is_partial();
    Ok(if is_partial {
        ExitCode::from(exit::PARTIAL)
    } else {
        ExitCode::SUCCESS
    })
}

/// Writes to standard output. A reader that has seen enough is fine.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Os(format!("cannot write to standard output: {e}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Failure {
    fn report(self) -> ExitCode {
        match self {
            Self::Config(errors) => {
                eprintln!("{errors}");
                ExitCode::from(exit::CONFIG)
            }
            Self::Import(error) => {
                eprintln!("{error}");
                ExitCode::from(exit::CONFIG)
            }
            Self::Usage(message) => {
                eprintln!("ringway: {message}");
                ExitCode::from(exit::USAGE)
            }
            Self::Os(message) => {
                eprintln!("ringway: {message}");
                ExitCode::from(exit::OS)
            }
        }
    }
}
