//! How many instructions ringway's own code spends on a relayed message. Wall time on a shared machine moves by half
//! with the neighbours; a count is the same to within 0.1 % whoever else is busy, so that a regression of a few percent
//! shows.
//!
//! `cargo bench --bench instructions` runs each of [`cases`] in a process of its own under callgrind and prints a table
//! beside the stored counts (`baseline.toml`). What is counted is `Worker::turn` and all it calls, connections, halves,
//! buffers, timers and slots, without the ring's own turn and without the kernel.
//!
//! The ring is [`scripted`], not the simulator's: that one draws chances, searches lists that grow with the connections
//! and reorders completions, so that the worker would walk another path in each turn. Here every round is like the one
//! before, and the warm-up is not counted: dividing by the rounds gives the cost of one, with no fixed part to take off.

mod baseline;
mod cases;
mod count;
mod scripted;
mod secure;

use baseline::{Baseline, Compiler, Count, Judgement};
use cases::Case;
use clap::{Parser, Subcommand};
use count::Counter;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Counts the instructions of ringway's worker per relayed message.
#[derive(Parser)]
#[command(name = "instructions")]
struct Args {
    /// What to count
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Case::ALL)]
    cases: Vec<Case>,
    /// The stored counts
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.toml"))]
    against: PathBuf,
    /// Store the counts there
    #[arg(long)]
    write: bool,
    /// Fail when a case needs more than the stored count and its tolerance
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Leave callgrind's files in this folder, for callgrind_annotate
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Count with the CPU's own counter, by perf stat; the scripted ring is counted too, and nothing is compared
    #[arg(long, conflicts_with_all = ["write", "check", "profile"])]
    perf: bool,
    /// Count a little of every case; claims nothing
    #[arg(long)]
    test: bool,
    /// What cargo passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    inner: Option<Inner>,
}

/// What this binary runs itself as.
#[derive(Subcommand)]
enum Inner {
    #[command(hide = true)]
    Play { case: Case, rounds: u64 },
}

/// Units of each case: enough that one more or less in a table's growth is below 0.1 %.
const UNITS: u64 = 20_000;
const UNITS_IN_TEST: u64 = 100;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.inner {
        Some(Inner::Play { case, rounds }) => case.play(rounds).map(|units| println!("{units}")),
        None => count(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count(args: &Args) -> io::Result<()> {
    let counter = if args.perf {
        Counter::Perf
    } else {
        Counter::Callgrind
    };
    if let Some(why) = counter.missing()? {
        return skip(&format!("instructions: {why}"));
    }
    let scratch = tempfile::tempdir()?;
    let folder = args.profile.as_deref().unwrap_or_else(|| scratch.path());
    std::fs::create_dir_all(folder)?;
    // Without --bench cargo is testing: `cargo test --benches` runs it so.
    if args.test || !args.bench {
        return each_counts_something(counter, &args.cases, folder);
    }
    let counts = counted(counter, &args.cases, folder)?;
    match counter {
        Counter::Callgrind => compare(args, &counts),
        Counter::Perf => {
            print_table(&counts, |_| Judgement::None);
            Ok(())
        }
    }
}

fn each_counts_something(counter: Counter, cases: &[Case], folder: &Path) -> io::Result<()> {
    for &case in cases {
        counter.count(case, UNITS_IN_TEST, folder)?;
        eprintln!("{case}: counts");
    }
    Ok(())
}

fn counted(counter: Counter, cases: &[Case], folder: &Path) -> io::Result<Vec<Count>> {
    let count = |&case| {
        let instructions = counter.count(case, UNITS, folder)?;
        Ok(Count { case, instructions })
    };
    cases.iter().map(count).collect()
}

/// The table, and what was asked for on top of it.
fn compare(args: &Args, counts: &[Count]) -> io::Result<()> {
    let compiler = Compiler::current()?;
    let stored = Baseline::read(&args.against)?;
    let mismatch = stored.as_ref().and_then(|it| it.mismatch(&compiler));
    let judge = |count| match &stored {
        Some(stored) if mismatch.is_none() => stored.judge(count),
        Some(_) | None => Judgement::None,
    };
    print_table(counts, judge);
    if let Some(why) = &mismatch {
        eprintln!("{why}");
    }
    if args.check {
        return verdict(counts, judge);
    }
    if args.write {
        return Baseline::updated(stored, compiler, counts).write(&args.against);
    }
    Ok(())
}

fn print_table(counts: &[Count], judge: impl Fn(Count) -> Judgement) {
    println!(
        "{:<12} {:<11} {:>12} {:>10} {:>9}",
        "case", "per", "instructions", "stored", "change"
    );
    for &count in counts {
        let Count { case, instructions } = count;
        println!(
            "{case:<12} {:<11} {instructions:>12.1} {}",
            case.unit(),
            judge(count)
        );
    }
}

fn verdict(counts: &[Count], judge: impl Fn(Count) -> Judgement) -> io::Result<()> {
    let worse = |count: &&Count| matches!(judge(**count), Judgement::Worse { .. });
    let worse: Vec<_> = counts
        .iter()
        .filter(worse)
        .map(|count| count.case.to_string())
        .collect();
    if worse.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("regressed: {}", worse.join(", "))))
}

/// Tells whoever reads, and whoever collects in the file that RINGWAY_SKIPS names, what was left out.
fn skip(what: &str) -> io::Result<()> {
    eprintln!("SKIP {what}");
    match std::env::var_os("RINGWAY_SKIPS") {
        Some(path) => {
            let mut list = OpenOptions::new().append(true).create(true).open(path)?;
            writeln!(list, "SKIP {what}")
        }
        None => Ok(()),
    }
}
