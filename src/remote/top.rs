//! `ringway top`: what happens in each second, by backend and by worker.

use super::http::Question;
use super::seen::{Backend, Leaving, Status, Worker};
use super::table::{admin, bytes, heading, number, percent, table};
use super::{Failure, print};
use crate::config::cli;
use serde::Serialize;
use std::time::Duration;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// To the top left of the terminal, and everything below away (ECMA-48, CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// What happened between two looks.
#[derive(Serialize, Debug)]
struct Rates<'a> {
    seconds: f64,
    connections: u64,
    backends: Vec<BackendRates<'a>>,
    workers: Vec<WorkerRates>,
}

#[derive(Serialize, Debug)]
struct BackendRates<'a> {
    upstream: &'a str,
    backend: &'a str,
    admin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaving: Option<Leaving>,
    health: &'a str,
    connections: u64,
    connections_per_second: f64,
    failures_per_second: f64,
    up_per_second: f64,
    down_per_second: f64,
}

#[derive(Serialize, Debug)]
struct WorkerRates {
    id: u64,
    cpu: u64,
    connections: u64,
    busy_ratio: f64,
    accepted_per_second: f64,
    up_per_second: f64,
    down_per_second: f64,
}

/// Looks once a second until its reader has seen enough, or once.
pub(super) fn watch(question: &Question, args: &cli::Top) -> Result<(), Failure> {
    let look = || question.ask()?.read::<Status>();
    let mut before = look()?;
    loop {
        pause();
        let now = look()?;
        let shown = show(&before, &now, args);
        if !print(&shown)? || args.once {
            return Ok(());
        }
        before = now;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a verb for people, which has nothing else to do until the next look"
)]
fn pause() {
    std::thread::sleep(INTERVAL);
}

fn show(before: &Status, now: &Status, args: &cli::Top) -> String {
    let rates = rates(before, now);
    if args.json {
        let json = serde_json::to_string(&rates).expect("plain values become JSON");
        return json + "\n";
    }
    let text = [heading(now), backends(&rates), workers(&rates)].join("\n");
    if args.once {
        text
    } else {
        format!("{CLEAR}{text}")
    }
}

fn rates<'a>(before: &Status, now: &'a Status) -> Rates<'a> {
    let seconds = (now.uptime_seconds - before.uptime_seconds).max(0.001);
    // What went back began anew: the process is another one.
    let per_second = |now: u64, before: u64| number(now.saturating_sub(before)) / seconds;
    let backend = |(upstream, it): (&'a str, &'a Backend)| {
        let same = |(of, other): &(&str, &Backend)| *of == upstream && other.name == it.name;
        let earlier = before.backends().find(same).map_or(it, |(_, it)| it);
        BackendRates {
            upstream,
            backend: &it.name,
            admin: &it.admin,
            leaving: it.leaving,
            health: &it.health,
            connections: it.connections,
            connections_per_second: per_second(it.connections_total, earlier.connections_total),
            failures_per_second: per_second(
                it.connect_failures_total,
                earlier.connect_failures_total,
            ),
            up_per_second: per_second(it.bytes_up, earlier.bytes_up),
            down_per_second: per_second(it.bytes_down, earlier.bytes_down),
        }
    };
    let worker = |it: &Worker| {
        let same = |other: &&Worker| other.id == it.id;
        let earlier = before.workers.iter().find(same).unwrap_or(it);
        WorkerRates {
            id: it.id,
            cpu: it.cpu,
            connections: it.connections,
            busy_ratio: it.busy_ratio,
            accepted_per_second: per_second(it.accepted_total, earlier.accepted_total),
            up_per_second: per_second(it.bytes_up, earlier.bytes_up),
            down_per_second: per_second(it.bytes_down, earlier.bytes_down),
        }
    };
    Rates {
        seconds,
        connections: now.connections,
        backends: now.backends().map(backend).collect(),
        workers: now.workers.iter().map(worker).collect(),
    }
}

fn backends(rates: &Rates<'_>) -> String {
    let row = |it: &BackendRates<'_>| {
        vec![
            it.upstream.to_owned(),
            it.backend.to_owned(),
            admin(it.admin, it.leaving),
            it.health.to_owned(),
            it.connections.to_string(),
            format!("{:.1}", it.connections_per_second),
            format!("{:.1}", it.failures_per_second),
            bytes(it.up_per_second),
            bytes(it.down_per_second),
        ]
    };
    let rows: Vec<_> = rates.backends.iter().map(row).collect();
    table(
        &[
            "UPSTREAM",
            "BACKEND",
            "ADMIN",
            "HEALTH",
            " CONNECTIONS",
            " NEW/s",
            " FAILED/s",
            " UP/s",
            " DOWN/s",
        ],
        &rows,
    )
}

fn workers(rates: &Rates<'_>) -> String {
    let row = |it: &WorkerRates| {
        vec![
            it.id.to_string(),
            it.cpu.to_string(),
            it.connections.to_string(),
            percent(it.busy_ratio),
            format!("{:.1}", it.accepted_per_second),
            bytes(it.up_per_second),
            bytes(it.down_per_second),
        ]
    };
    let rows: Vec<_> = rates.workers.iter().map(row).collect();
    table(
        &[
            " WORKER",
            " CPU",
            " CONNECTIONS",
            " BUSY",
            " NEW/s",
            " UP/s",
            " DOWN/s",
        ],
        &rows,
    )
}
