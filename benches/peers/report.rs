//! The tables: medians, and the ratio of ringway to each peer within the same round with its spread.

use crate::cases::{Case, Effort, Method, Metric, Unit};
use crate::measure::Run;
use crate::peers::Peer;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");
const BEGIN: &str = "<!-- peers:begin -->";
const END: &str = "<!-- peers:end -->";

/// Where a figure does not exist.
const NONE: &str = "–";

/// One run, for who watches. A smoke run claims nothing, and so tells no figures.
pub(crate) fn line(run: &Run, effort: Effort) -> String {
    let name = format!("round {}, {}, {}:", run.round + 1, run.case, run.peer);
    if effort == Effort::Smoke {
        return format!("{name} ok");
    }
    let figures = run.case.metrics().iter().filter_map(|&metric| {
        let value = number(run.figure(metric)?);
        Some(format!("{} {value}", column(run.case, metric)))
    });
    format!("{name} {}", figures.collect::<Vec<_>>().join(", "))
}

/// Everything, as docs/benchmarks.md holds it.
pub(crate) fn markdown(cases: &[Case], peers: &[Peer], runs: &[Run]) -> String {
    let mut text = provenance(peers, runs);
    for &case in cases {
        text.push_str(&table(case, peers, runs));
    }
    text
}

/// Replaces what stands between the markers, or adds them at the end of the page.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let page = match fs::read_to_string(PAGE) {
        Ok(page) => page,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "# Benchmarks\n".to_owned(),
        Err(error) => return Err(error),
    };
    fs::write(PAGE, between_markers(&page, text))
}

fn between_markers(page: &str, text: &str) -> String {
    let (before, after) = match (page.split_once(BEGIN), page.split_once(END)) {
        (Some((before, _)), Some((_, after))) => (before.to_owned(), after),
        (None, _) | (_, None) => (format!("{page}\n"), "\n"),
    };
    format!("{before}{BEGIN}\n{text}{END}{after}")
}

fn provenance(peers: &[Peer], runs: &[Run]) -> String {
    let rounds = runs.iter().map(|run| run.round + 1).max().unwrap_or(0);
    let args: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let mut versions = Vec::new();
    for version in peers.iter().filter_map(|peer| peer.version()) {
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    format!(
        "{date}, Linux {kernel}, {cpu}. {versions}.\n\n\
         `cargo bench --bench peers -- {args}`\n\n\
         Proxy on CPU 0, load and backends on CPU 1, loopback, rounds: {rounds}, the peers in turn within each. Absolute\n\
         figures (medians) belong to this machine and this hour: **only the ratios count**. A ratio is ringway's figure\n\
         divided by the peer's in the same round: median (least–most). Below 1 ringway needs less.\n\n",
        date = told("date", &["-u", "+%Y-%m-%d"]),
        kernel = told("uname", &["-r"]),
        cpu = cpu_model(),
        versions = versions.join("; "),
        args = args.join(" "),
    )
}

fn table(case: Case, peers: &[Peer], runs: &[Run]) -> String {
    let (first, rest) = case
        .metrics()
        .split_first()
        .expect("every case has a metric");
    let mut text = format!(
        "### {}\n\n| | {} | {} / peer |",
        case.title(),
        column(case, *first),
        case.ours()
    );
    for metric in rest {
        let _ = write!(text, " {} |", column(case, *metric));
    }
    let _ = writeln!(text, "\n| --- |{}", " ---: |".repeat(rest.len() + 2));
    for &peer in peers.iter().filter(|peer| case.suits(**peer)) {
        let ratio = ratio(case, *first, peer, runs);
        let _ = write!(
            text,
            "| {peer} | {} | {ratio} |",
            median_of(case, *first, peer, runs)
        );
        for metric in rest {
            let _ = write!(text, " {} |", median_of(case, *metric, peer, runs));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

fn column(case: Case, metric: Metric) -> String {
    let unit = match case.method() {
        Method::Work(unit) | Method::Beside(unit) => Some(unit),
        Method::Mix => Some(Unit::Gigabyte),
        Method::Idle | Method::Stall => None,
    };
    match (metric, unit) {
        (Metric::Cost, Some(unit)) => format!("CPU {} per {}", unit.cost_scale().1, unit.name()),
        (Metric::Rate, Some(unit)) => format!("{} per s", unit.name()),
        (Metric::PerCore, Some(unit)) => format!("{} per s and core", unit.name()),
        (Metric::Beside, Some(unit)) => format!("{} per s beside", unit.name()),
        (Metric::Cost | Metric::Rate | Metric::PerCore | Metric::Beside, None) => {
            unreachable!("work has a unit")
        }
        (Metric::P50, _) => "p50 µs".to_owned(),
        (Metric::P99, _) => "p99 µs".to_owned(),
        (Metric::IdleBytes, _) => "bytes per connection".to_owned(),
        (Metric::Cpu, _) => "% of one CPU".to_owned(),
        (Metric::P99Alone, _) => "p99 µs alone".to_owned(),
        (Metric::Slowdown, _) => "p99 in company / alone".to_owned(),
        (Metric::StallGrowth, _) => "growth, KiB".to_owned(),
    }
}

fn median_of(case: Case, metric: Metric, peer: Peer, runs: &[Run]) -> String {
    let ours = runs
        .iter()
        .filter(|run| run.case == case && run.peer == peer);
    let figures = sorted(ours.filter_map(|run| run.figure(metric)).collect());
    median(&figures).map_or_else(|| NONE.to_owned(), number)
}

/// Our figure over the peer's, round by round.
fn ratio(case: Case, metric: Metric, peer: Peer, runs: &[Run]) -> String {
    if peer == case.ours() {
        return NONE.to_owned();
    }
    let figure = |who: Peer, round: usize| {
        let same = |run: &&Run| run.case == case && run.peer == who && run.round == round;
        runs.iter().find(same)?.figure(metric)
    };
    let rounds = runs
        .iter()
        .filter(|run| run.case == case && run.peer == peer);
    let ratios = rounds.filter_map(|run| {
        let ratio = figure(case.ours(), run.round)? / run.figure(metric)?;
        ratio.is_finite().then_some(ratio)
    });
    let ratios = sorted(ratios.collect());
    match (median(&ratios), ratios.first(), ratios.last()) {
        (Some(middle), Some(least), Some(most)) => format!("{middle:.2} ({least:.2}–{most:.2})"),
        (None, _, _) | (_, None, _) | (_, _, None) => NONE.to_owned(),
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Three digits that mean something, and thousands apart.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => thousands(&format!("{value:.0}")),
        middle if middle >= 100.0 => format!("{value:.0}"),
        small if small >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(digits: &str) -> String {
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if left.is_multiple_of(3) && grouped.ends_with(|c: char| c.is_ascii_digit()) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn cpu_model() -> String {
    let text = fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let name = model
        .and_then(|line| line.split_once(": "))
        .map_or("unknown CPU", |(_, name)| name);
    format!(
        "{} × {name}",
        text.lines()
            .filter(|line| line.starts_with("processor"))
            .count()
    )
}

fn told(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(
        |_| "?".to_owned(),
        |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
    )
}
