//! Runs this program again with one case to play, under something that counts its instructions.

use crate::cases::Case;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

/// Who counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counter {
    /// valgrind's callgrind: the worker's own instructions, on any machine.
    Callgrind,
    /// The CPU's counter, by perf: instructions of the whole process in user mode, the scripted ring's among them.
    Perf,
}

impl Counter {
    /// Why it cannot count here, and what to do about it.
    pub(crate) fn missing(self) -> io::Result<Option<String>> {
        match self {
            Self::Callgrind => Ok(absent("valgrind", "valgrind")),
            Self::Perf => match absent("perf", "linux-perf") {
                Some(why) => Ok(Some(why)),
                None => perf_has_no_counter(),
            },
        }
    }

    /// Instructions per unit of the case, over about `units` of them. Callgrind's file is left in `folder`.
    pub(crate) fn count(self, case: Case, units: u64, folder: &Path) -> io::Result<f64> {
        let rounds = case.rounds_of(units);
        match self {
            Self::Callgrind => {
                let (instructions, units) = callgrind(case, rounds, folder)?;
                Ok(ratio(instructions, units))
            }
            // Twice the rounds less the rounds: start and warm-up cancel out.
            Self::Perf => {
                let (once, units) = perf(case, rounds)?;
                let (twice, both) = perf(case, 2 * rounds)?;
                Ok(ratio(twice.saturating_sub(once), both - units))
            }
        }
    }
}

/// Both are far below 2^53, where each whole number is a float.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn ratio(instructions: u64, units: u64) -> f64 {
    instructions as f64 / units as f64
}

fn absent(program: &str, package: &str) -> Option<String> {
    let found = Command::new(program).arg("--version").output();
    found
        .is_err()
        .then(|| format!("no {program} (install the package {package})"))
}

/// Virtual machines often pass no hardware counter on, and perf_event_paranoid(5) may keep it from us.
fn perf_has_no_counter() -> io::Result<Option<String>> {
    let output = perf_stat().arg("true").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(instructions_of(&text).is_none().then(|| {
        let said = text.trim().lines().next_back().unwrap_or("nothing");
        format!("this machine has no counter instructions:u for us (perf says: {said})")
    }))
}

fn perf_stat() -> Command {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "instructions:u", "--"]);
    perf
}

/// The first field of perf-stat(1)'s CSV line for the event: a number, or "<not supported>" and its like.
fn instructions_of(csv: &str) -> Option<u64> {
    let line = csv.lines().find(|line| line.contains("instructions"))?;
    line.split(',').next()?.parse().ok()
}

fn perf(case: Case, rounds: u64) -> io::Result<(u64, u64)> {
    let output = succeeded(perf_stat().args(inner(case, rounds)?).output()?, "perf")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let instructions = instructions_of(&text).ok_or_else(|| told_nothing("perf", &text))?;
    Ok((instructions, units_of(&output)?))
}

fn callgrind(case: Case, rounds: u64, folder: &Path) -> io::Result<(u64, u64)> {
    let file = folder.join(format!("callgrind.{case}.out"));
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(&file);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .args([
            "--toggle-collect=*counted_worker_turn*",
            "--toggle-collect=*scripted_ring_turn*",
        ])
        .arg(out)
        .args(inner(case, rounds)?)
        .output()?;
    let units = units_of(&succeeded(output, "valgrind")?)?;
    let text = fs::read_to_string(&file)?;
    // Nothing was collected when a function that switches the counting is not called by its name any more.
    match totals_of(&text) {
        Some(instructions) if instructions > 0 => Ok((instructions, units)),
        Some(_) | None => Err(told_nothing("callgrind", &text)),
    }
}

/// The line "totals: N" of a callgrind file (its format is in valgrind's manual).
fn totals_of(file: &str) -> Option<u64> {
    let line = file.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

/// This program, asked to play.
fn inner(case: Case, rounds: u64) -> io::Result<[OsString; 4]> {
    let this = std::env::current_exe()?.into_os_string();
    let (case, rounds) = (case.to_string(), rounds.to_string());
    Ok([this, "play".into(), case.into(), rounds.into()])
}

/// What `play` prints.
fn units_of(output: &Output) -> io::Result<u64> {
    let text = String::from_utf8_lossy(&output.stdout);
    let units = text.trim().parse();
    units.map_err(|_| told_nothing("the played case", &text))
}

fn succeeded(output: Output, program: &str) -> io::Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{program}: {}\n{said}",
        output.status
    )))
}

fn told_nothing(who: &str, text: &str) -> io::Error {
    let said: String = text.chars().take(400).collect();
    io::Error::other(format!("{who} gave no count: {said}"))
}
