//! The `loadgen` command: arguments, a run, its result, an exit code.

mod cli;
mod wait;

use cli::{Drive, Live, Run, Serve};
use ringway_loadgen::report::{Side, live_line};
use ringway_loadgen::{Handle, Report, Stats};
use ringway_ring::Time;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use wait::{Signals, Woken};

/// Something that was received was wrong, or a connection failed.
const NOT_CLEAN: u8 = 1;

/// EX_OSERR of sysexits.h: the system refused.
const OS_REFUSED: u8 = 71;

fn main() -> ExitCode {
    let run = Run::parse(std::env::args_os()).unwrap_or_else(|usage| usage.exit());
    let report = match run {
        Run::Serve(serve) => run_serve(&serve),
        Run::Drive(drive) => run_drive(&drive),
    };
    match report {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(NOT_CLEAN),
        Err(refused) => {
            eprintln!("loadgen: {refused}");
            ExitCode::from(OS_REFUSED)
        }
    }
}

fn run_serve(serve: &Serve) -> Result<Report, String> {
    // Before the engines: their threads inherit the mask, so that the signal comes here.
    let signals = Signals::new().map_err(words("cannot listen to signals"))?;
    let handle = ringway_loadgen::serve(&serve.config).map_err(|e| e.to_string())?;
    let mut out = io::stdout().lock();
    for addr in handle.addrs() {
        writeln!(out, "ready {addr}").map_err(words("cannot write to stdout"))?;
    }
    out.flush().map_err(words("cannot write to stdout"))?;
    let side = Side::Backend(serve.config.role);
    watch(&handle, &signals, &side, serve.live, serve.seconds)?;
    let stats = handle.stop().map_err(|e| e.to_string())?;
    let report = Report { side, stats };
    if serve.json {
        writeln!(out, "{}", report.to_json()).map_err(words("cannot write to stdout"))?;
    }
    if !serve.quiet {
        eprintln!("{report}");
    }
    Ok(report)
}

fn run_drive(drive: &Drive) -> Result<Report, String> {
    let signals = Signals::new().map_err(words("cannot listen to signals"))?;
    // A result file that cannot be written should be known before the run, not after.
    let file = drive.json.as_deref().map(Output::open).transpose()?;
    let handle = ringway_loadgen::drive(&drive.config).map_err(|e| e.to_string())?;
    let side = Side::Client(drive.config.role.clone());
    watch(&handle, &signals, &side, drive.live, None)?;
    let stats = handle.stop().map_err(|e| e.to_string())?;
    let report = Report { side, stats };
    let on_stdout = matches!(file, Some(Output::Stdout));
    if let Some(mut file) = file {
        file.write(&report)
            .map_err(words("cannot write the result"))?;
    }
    if !drive.quiet && !on_stdout {
        writeln!(io::stdout(), "{report}").map_err(words("cannot write to stdout"))?;
    }
    Ok(report)
}

/// Where the JSON goes.
enum Output {
    Stdout,
    File(File),
}

impl Output {
    fn open(path: &Path) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let file =
            File::create(path).map_err(words(&format!("cannot create {}", path.display())))?;
        Ok(Self::File(file))
    }

    fn write(&mut self, report: &Report) -> io::Result<()> {
        let json = report.to_json();
        match self {
            Self::Stdout => writeln!(io::stdout(), "{json}"),
            Self::File(file) => writeln!(file, "{json:#}"),
        }
    }
}

/// Waits for the engines, a signal or the time, showing the live line meanwhile.
fn watch(
    handle: &Handle,
    signals: &Signals,
    side: &Side,
    live: Live,
    limit: Option<Duration>,
) -> Result<(), String> {
    let shows = match live {
        Live::Always => true,
        Live::OnTerminal => io::stderr().is_terminal(),
        Live::Never => false,
    };
    let started = Time::read_clock();
    let end = limit.map(|limit| started + limit);
    let mut shown = (started, Stats::default());
    while !handle.is_finished() {
        match signals
            .wait(POLL_EVERY)
            .map_err(words("cannot wait for signals"))?
        {
            Woken::Signal => break,
            Woken::Timeout => {}
        }
        let now = Time::read_clock();
        if end.is_some_and(|end| now >= end) {
            break;
        }
        let since = now.since(shown.0);
        if shows && since >= LIVE_EVERY {
            let stats = handle.stats();
            let line = live_line(side, &shown.1, &stats, since.as_secs_f64());
            eprintln!("{:>5}s {line}", now.since(started).as_secs());
            shown = (now, stats);
        }
    }
    Ok(())
}

const LIVE_EVERY: Duration = Duration::from_secs(1);

/// How soon the end of the engines is noticed.
const POLL_EVERY: Duration = Duration::from_millis(20);

fn words<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}
