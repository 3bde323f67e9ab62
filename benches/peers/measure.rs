//! One run of one case with one peer, and what is read meanwhile: the CPU time, memory and threads of the proxy, all of
//! its processes and threads together, from /proc (proc(5)).

use crate::cases::{Case, Effort, Load, Method, Metric, Unit};
use crate::certificate::Certificate;
use crate::load::{Clients, Count, Latency, Loadgen};
use crate::peers::{Peer, Proxy};
use crate::process::{Process, Scratch, pause, wait};
use ringway::ring::Time;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a running proxy is looked at: fine against the window, and cheap for the load's CPU.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long connections may take to be open, beyond the measured time.
const SLACK: Duration = Duration::from_secs(60);

/// Loads that we end ourselves are told to run for this long.
const UNTIL_ENDED: Duration = Duration::from_secs(600);

/// Of the clients' measured time, the share that is cut off at each end of the CPU window: they connect before it and
/// disconnect after it, and the harness does not see exactly when.
const EDGE: f64 = 0.1;

/// Kernel threads that io_uring starts for work it cannot do in line carry this name.
const IO_WORKER: &str = "iou-wrk";

/// What one run found.
pub(crate) struct Run {
    pub(crate) case: Case,
    pub(crate) peer: Peer,
    pub(crate) round: usize,
    pub(crate) figures: Vec<(Metric, f64)>,
}

/// The processes of one proxy.
struct Watch(Vec<PathBuf>);

/// The CPU time a proxy had used at a moment.
struct Sample {
    at: Time,
    cpu: Duration,
}

impl Run {
    pub(crate) fn figure(&self, metric: Metric) -> Option<f64> {
        self.figures
            .iter()
            .find(|(known, _)| *known == metric)
            .map(|(_, value)| *value)
    }
}

/// Does `case` once through `peer`.
pub(crate) fn run(
    case: Case,
    peer: Peer,
    effort: Effort,
    loadgen: &Loadgen,
    scratch: &Scratch,
) -> io::Result<Vec<(Metric, f64)>> {
    let loads = case.loads(effort);
    let served = loads.iter().map(|load| loadgen.serve(load, scratch));
    let (_backends, addresses): (Vec<_>, Vec<_>) =
        served.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
    let certificate = case.is_tls().then(|| Certificate::make(scratch));
    let proxy = peer.start(&addresses, certificate.transpose()?.as_ref(), scratch)?;
    let watch = Watch::of(proxy.process.as_ref())?;
    let bench = Bench {
        case,
        loads,
        effort,
        loadgen,
        scratch,
        proxy,
        watch,
    };
    let figures = match case.method() {
        Method::Work(unit) => bench.work(unit)?,
        Method::Mix => bench.mix()?,
        Method::Beside(unit) => bench.beside(unit)?,
        Method::Idle => bench.idle()?,
        Method::Stall => bench.stall()?,
    };
    let io_workers = bench.watch.io_workers()?;
    if peer.is_ringway() && io_workers > 0 {
        return Err(io::Error::other(format!(
            "{io_workers} {IO_WORKER} threads instead of none"
        )));
    }
    Ok(figures)
}

/// The place of what a case measures among its loads.
const MEASURED: usize = 0;

/// The place of what runs beside it.
const COMPANY: usize = 1;

/// Everything of one run that stands ready.
struct Bench<'a> {
    case: Case,
    /// What is measured, and what runs beside it.
    loads: Vec<Load>,
    effort: Effort,
    loadgen: &'a Loadgen,
    scratch: &'a Scratch,
    proxy: Proxy,
    watch: Watch,
}

impl Bench<'_> {
    /// CPU time per unit and latency.
    fn work(&self, unit: Unit) -> io::Result<Vec<(Metric, f64)>> {
        let window = self.effort.window();
        let mut clients = self.drive(MEASURED, window)?;
        let samples = self.samples(&mut clients)?;
        let count = clients.count()?;
        self.check_tickets(&count)?;
        let rate = count.rate(unit);
        if rate <= 0.0 {
            return Err(clients.process.failure("clients did nothing"));
        }
        let mut figures = vec![(Metric::Rate, rate)];
        if self.proxy.process.is_some() {
            let (scale, _) = unit.cost_scale();
            let seconds = share(&samples, window) / rate;
            figures.extend([
                (Metric::Cost, seconds * scale),
                (Metric::PerCore, seconds.recip()),
            ]);
        }
        if let Some(latency) = &count.latency_us {
            figures.extend([(Metric::P50, latency.p50), (Metric::P99, latency.p99)]);
        }
        Ok(figures)
    }

    /// Whole handshakes that were meant to be resumed, or the other way round, are another case's figures. A moment's run has too few
    /// for shares.
    fn check_tickets(&self, count: &Count) -> io::Result<()> {
        let resumed = count.resumed();
        let is_right = match (self.case, self.effort) {
            (Case::TlsResumed, Effort::Smoke) => resumed > 0.0,
            (Case::TlsResumed, Effort::Full { .. }) => resumed > 0.99,
            (_, Effort::Smoke | Effort::Full { .. }) => resumed == 0.0,
        };
        if is_right {
            return Ok(());
        }
        let percent = 100.0 * resumed;
        let why = format!("{percent:.0} % of the handshakes were resumed");
        Err(io::Error::other(why))
    }

    /// What one kind of work is to another on the same proxy.
    fn mix(&self) -> io::Result<Vec<(Metric, f64)>> {
        let (latency, beside, samples) = self.with_company(Unit::Gigabyte)?;
        let mut figures = vec![
            (Metric::P50, latency.p50),
            (Metric::P99, latency.p99),
            (Metric::Beside, beside),
        ];
        if self.proxy.process.is_some() {
            let cpu = 100.0 * share(&samples, self.effort.window());
            figures.push((Metric::Cpu, cpu));
        }
        Ok(figures)
    }

    /// What the first work notices of the second.
    fn beside(&self, unit: Unit) -> io::Result<Vec<(Metric, f64)>> {
        let mut clients = self.drive(MEASURED, self.effort.window())?;
        self.samples(&mut clients)?;
        let alone = latency(&clients)?;
        let (disturbed, beside, _) = self.with_company(unit)?;
        Ok(vec![
            (Metric::P99Alone, alone.p99),
            (Metric::P99, disturbed.p99),
            (Metric::Slowdown, disturbed.p99 / alone.p99),
            (Metric::Beside, beside),
        ])
    }

    /// The measured work with the other one beside it, which begins while the first opens its connections and ends after
    /// it: the first's latency, units a second of the other.
    fn with_company(&self, unit: Unit) -> io::Result<(Latency, f64, Vec<Sample>)> {
        let mut clients = self.drive(MEASURED, self.effort.window())?;
        let mut company = self.drive(COMPANY, UNTIL_ENDED)?;
        let samples = self.samples(&mut clients)?;
        let beside = company.stop()?.rate(unit);
        if beside <= 0.0 {
            return Err(company.process.failure("the work beside did nothing"));
        }
        Ok((latency(&clients)?, beside, samples))
    }

    /// The proxy's CPU time, again and again until the clients are done.
    fn samples(&self, clients: &mut Clients) -> io::Result<Vec<Sample>> {
        let end = Time::read_clock() + self.effort.warmup() + self.effort.window() + SLACK;
        let mut samples = Vec::new();
        while !clients.done()? {
            if Time::read_clock() > end {
                return Err(clients.process.failure("clients do not end"));
            }
            samples.push(self.watch.sample()?);
            pause(LOOK_AGAIN);
        }
        Ok(samples)
    }

    /// Memory and CPU time of connections that do nothing.
    fn idle(&self) -> io::Result<Vec<(Metric, f64)>> {
        let before = self.watch.memory()?;
        let mut clients = self.drive(MEASURED, UNTIL_ENDED)?;
        self.await_connections(&mut clients)?;
        // Accepting is over, but what it set going may not be.
        pause(self.effort.warmup());
        let memory = self.watch.memory()? - before;
        let start = self.watch.sample()?;
        pause(self.effort.window());
        let end = self.watch.sample()?;
        clients.still_there()?;
        let connections = f64::from(self.loads[MEASURED].connections);
        Ok(vec![
            (Metric::IdleBytes, memory / connections),
            (Metric::Cpu, 100.0 * share_between(&start, &end)),
        ])
    }

    /// Growth of memory while nobody reads.
    fn stall(&self) -> io::Result<Vec<(Metric, f64)>> {
        let before = self.watch.memory()?;
        let mut clients = self.drive(MEASURED, UNTIL_ENDED)?;
        self.await_connections(&mut clients)?;
        let end = Time::read_clock() + self.effort.warmup() + self.effort.window();
        let mut peak = before;
        while Time::read_clock() < end {
            peak = peak.max(self.watch.memory()?);
            pause(LOOK_AGAIN);
        }
        clients.still_there()?;
        Ok(vec![(Metric::StallGrowth, (peak - before) / 1024.0)])
    }

    fn drive(&self, load: usize, seconds: Duration) -> io::Result<Clients> {
        let Self {
            effort, scratch, ..
        } = *self;
        let target = self.proxy.addresses[load];
        self.loadgen
            .drive(&self.loads[load], effort, seconds, target, scratch)
    }

    /// Waits until the proxy holds both sides of every connection; the few descriptors that it has besides are not
    /// worth telling apart.
    fn await_connections(&self, clients: &mut Clients) -> io::Result<()> {
        let wanted = 2 * self.loads[MEASURED].connections as usize;
        wait(SLACK, "the connections", || {
            clients.still_there()?;
            Ok(self.watch.descriptors()? >= wanted)
        })
    }
}

impl Watch {
    /// `process` and its children. A proxy has started all it needs by the time that it listens.
    fn of(process: Option<&Process>) -> io::Result<Self> {
        let Some(root) = process.map(Process::pid) else {
            return Ok(Self(Vec::new()));
        };
        let mut family = vec![root];
        let parents = parents()?;
        let mut at = 0;
        while at < family.len() {
            let parent = family[at];
            family.extend(
                parents
                    .iter()
                    .filter(|(_, p)| *p == parent)
                    .map(|(child, _)| child),
            );
            at += 1;
        }
        Ok(Self(
            family
                .iter()
                .map(|pid| PathBuf::from(format!("/proc/{pid}")))
                .collect(),
        ))
    }

    /// CPU time used so far: the first field of each thread's schedstat, nanoseconds
    /// (Documentation/scheduler/sched-stats.rst).
    fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in self.threads()? {
            // A thread may end between being listed and being read.
            let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            nanos += text
                .split_whitespace()
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Bytes of its own memory in use, files excluded; what processes share is counted once.
    fn memory(&self) -> io::Result<f64> {
        let mut kib = 0.0;
        for process in &self.0 {
            let text = fs::read_to_string(process.join("smaps_rollup"))?;
            kib += rollup(&text, "Pss_Anon:") + rollup(&text, "Pss_Shmem:");
        }
        Ok(kib * 1024.0)
    }

    /// Open descriptors.
    fn descriptors(&self) -> io::Result<usize> {
        let mut count = 0;
        for process in &self.0 {
            count += fs::read_dir(process.join("fd"))?.count();
        }
        Ok(count)
    }

    fn sample(&self) -> io::Result<Sample> {
        Ok(Sample {
            at: Time::read_clock(),
            cpu: self.cpu()?,
        })
    }

    fn io_workers(&self) -> io::Result<usize> {
        let is_io_worker = |thread: &PathBuf| {
            fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with(IO_WORKER))
        };
        Ok(self
            .threads()?
            .iter()
            .filter(|thread| is_io_worker(thread))
            .count())
    }

    fn threads(&self) -> io::Result<Vec<PathBuf>> {
        let mut threads = Vec::new();
        for process in &self.0 {
            threads.extend(entries(&process.join("task"))?);
        }
        Ok(threads)
    }
}

/// How long the work of clients took that are done.
fn latency(clients: &Clients) -> io::Result<Latency> {
    let latency = clients.count()?.latency_us;
    latency.ok_or_else(|| clients.process.failure("clients did nothing"))
}

/// The share of one CPU that was used in the middle of the window that the last sample ends.
fn share(samples: &[Sample], window: Duration) -> f64 {
    let Some(last) = samples.last() else {
        return f64::NAN;
    };
    let ago = |part: f64| {
        let age = |sample: &&Sample| last.at.since(sample.at) >= window.mul_f64(part);
        samples.iter().rev().find(age).unwrap_or(&samples[0])
    };
    share_between(ago(1.0 - EDGE), ago(EDGE))
}

fn share_between(start: &Sample, end: &Sample) -> f64 {
    end.cpu.saturating_sub(start.cpu).as_secs_f64() / end.at.since(start.at).as_secs_f64()
}

/// The value of `field` in smaps_rollup, KiB; none is 0.
fn rollup(text: &str, field: &str) -> f64 {
    text.lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0.0)
}

/// Every process with its parent.
fn parents() -> io::Result<Vec<(u32, u32)>> {
    let pairs = entries(Path::new("/proc"))?
        .into_iter()
        .filter_map(|process| {
            let pid = process.file_name()?.to_str()?.parse().ok()?;
            let stat = fs::read_to_string(process.join("stat")).ok()?;
            // pid (comm) state ppid …: comm may hold anything, so count from its closing bracket.
            let parent = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()?;
            Some((pid, parent))
        });
    Ok(pairs.collect())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}
