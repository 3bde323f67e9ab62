//! ringway beside nginx, HAProxy and a tokio-uring relay: the same work, one proxy at a time on CPU 0, the load on
//! CPU 1, the peers in turn within each round, so that what the neighbours of a shared machine do falls on all of them.
//!
//! `cargo bench --bench peers` measures; with `-- --test` it only shows that every case still runs. It installs
//! nothing: it says what is missing and goes on with the rest. Read on at [`cases`] for the work, at [`peers`],
//! [`configs`] and [`certificate`] for how each peer is set up, at [`measure`] for what is read, and at [`report`] for
//! how it is told.

mod cases;
mod certificate;
mod configs;
mod load;
mod measure;
mod peers;
mod process;
mod report;
mod tokio_uring_relay;

use cases::{Case, Effort};
use clap::{Parser, Subcommand};
use load::Loadgen;
use measure::Run;
use peers::Peer;
use process::Scratch;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Measures ringway beside its peers; the ratios count, the absolute figures are this machine's mood.
#[derive(Parser)]
#[command(name = "peers")]
struct Args {
    /// How often each peer does each case
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each measurement
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Case::ALL)]
    cases: Vec<Case>,
    /// Whom to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// Put the tables into docs/benchmarks.md
    #[arg(long)]
    write: bool,
    /// Run every case for a moment with few connections; claims nothing
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
    TokioUringRelay {
        listen: SocketAddr,
        backend: SocketAddr,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.inner {
        Some(Inner::TokioUringRelay { listen, backend }) => tokio_uring_relay::run(listen, backend),
        None => compare(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every case with every peer that is there, then the tables.
fn compare(args: &Args) -> io::Result<()> {
    // Without --bench cargo is testing: `cargo test --benches` runs it so.
    let smoke = args.test || !args.bench;
    let (rounds, effort) = if smoke {
        (1, Effort::Smoke)
    } else {
        (
            args.rounds,
            Effort::Full {
                seconds: args.seconds,
            },
        )
    };
    process::pin_self_to_load_cpu()?;
    process::raise_descriptor_limit()?;
    let present = present(&args.peers)?;
    let plan = Plan {
        cases: &args.cases,
        peers: &present,
        rounds,
        effort,
    };
    let (runs, failures) = plan.carry_out(&Loadgen::build()?, &Scratch::new()?);
    if !smoke {
        publish(&args.cases, &present, &runs, args.write)?;
    }
    verdict(&runs, &failures)
}

/// What is to be done.
struct Plan<'a> {
    cases: &'a [Case],
    peers: &'a [Peer],
    rounds: usize,
    effort: Effort,
}

impl Plan<'_> {
    /// All of it: what was found, and what failed. A failure costs its own run and no other.
    fn carry_out(&self, loadgen: &Loadgen, scratch: &Scratch) -> (Vec<Run>, Vec<String>) {
        let mut runs = Vec::new();
        let mut failures = Vec::new();
        for (case, round, peer) in self.steps() {
            match measure::run(case, peer, self.effort, loadgen, scratch) {
                Ok(figures) => {
                    let run = Run {
                        case,
                        peer,
                        round,
                        figures,
                    };
                    eprintln!("{}", report::line(&run, self.effort));
                    runs.push(run);
                }
                Err(error) => {
                    eprintln!("{case} with {peer} failed: {error}");
                    failures.push(format!("{case} with {peer}: {error}"));
                }
            }
        }
        (runs, failures)
    }

    /// Case by case, within it round by round, within that peer by peer.
    fn steps(&self) -> impl Iterator<Item = (Case, usize, Peer)> {
        self.cases.iter().flat_map(move |&case| {
            (0..self.rounds).flat_map(move |round| {
                let peers = rotated(self.peers, round).filter(move |peer| case.suits(*peer));
                peers.map(move |peer| (case, round, peer))
            })
        })
    }
}

/// The peers that can run here. Says of each other one what to install.
fn present(wanted: &[Peer]) -> io::Result<Vec<Peer>> {
    let mut present = Vec::new();
    for &peer in wanted {
        match peer.missing() {
            Some(what) => skip(&format!("peers/{peer}: {what}"))?,
            None => present.push(peer),
        }
    }
    Ok(present)
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

/// `peers`, each round beginning with another, so that none is always first.
fn rotated(peers: &[Peer], round: usize) -> impl Iterator<Item = Peer> {
    peers
        .iter()
        .cycle()
        .skip(round % peers.len().max(1))
        .take(peers.len())
        .copied()
}

fn publish(cases: &[Case], peers: &[Peer], runs: &[Run], write: bool) -> io::Result<()> {
    let text = report::markdown(cases, peers, runs);
    println!("{text}");
    if write { report::write(&text) } else { Ok(()) }
}

fn verdict(runs: &[Run], failures: &[String]) -> io::Result<()> {
    eprintln!(
        "{} runs, {} failed",
        runs.len() + failures.len(),
        failures.len()
    );
    if failures.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "failed:\n{}",
        failures.join("\n")
    )))
}
