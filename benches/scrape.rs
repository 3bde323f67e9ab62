//! What a scrape costs: the control thread, which writes the page, and a worker under full load, which must not notice.
//! The worker's figure is the time that its thread was on a CPU (schedstat) for each round trip, in windows of a second
//! with and without scrapes, in turn.
//!
//! `cargo bench --bench scrape -- [--backends N] [--windows N] [--scrapes PER_SECOND]`; docs/metrics.md has figures.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use ringway::config::Config;
use ringway::control::{Proxy, metrics};
use ringway::ring::Time;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Clients that each wait for one answer at a time: enough for the worker to find several in each turn.
const CLIENTS: usize = 32;

const WINDOW: Duration = Duration::from_secs(1);

static ROUND_TRIPS: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

fn main() {
    let is_test = std::env::args().any(|word| word == "--test");
    let backends = argument("--backends").unwrap_or(200);
    let windows = if is_test {
        1
    } else {
        argument("--windows").unwrap_or(10)
    };
    let scrapes = argument("--scrapes").unwrap_or(20);
    let proxy = Proxy::start(config(backends, serve())).unwrap();
    let (_, address) = proxy.addresses()[0];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| thread::spawn(move || ask(address)))
        .collect();
    let worker = Worker::find();
    let [mut quiet, mut scraped] = [Vec::new(), Vec::new()];
    let mut pages = Vec::new();
    for _ in 0..windows {
        quiet.push(worker.window(|| {}, 1));
        scraped.push(worker.window(|| pages.push(scrape(&proxy)), scrapes));
    }
    OVER.store(true, Relaxed);
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    proxy.drain(Duration::ZERO, Duration::ZERO);
    proxy.join();
    report(backends, scrapes, quiet, scraped, pages);
}

fn argument(name: &str) -> Option<u64> {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1).and_then(|word| word.parse().ok())
}

fn config(backends: u64, port: u16) -> Config {
    let mut text = "[process]\nworkers = 1\n[log]\naccess = \"off\"\n[[listener]]\nname = \"feed\"\n\
         listen = \"127.0.0.1:0\"\nupstream = \"feed\"\n[[upstream]]\nname = \"feed\"\nbalance = \"least_conn\"\n"
        .to_owned();
    for at in 0..backends {
        let (high, low) = (at / 250, at % 250 + 1);
        writeln!(
            text,
            "[[upstream.backend]]\naddress = \"127.9.{high}.{low}:{port}\""
        )
        .unwrap();
    }
    Config::parse(&text, "scrape.toml").unwrap()
}

/// An echo on every address of 127/8.
fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || echo(client));
        }
    });
    port
}

fn echo(mut client: TcpStream) {
    let mut bytes = [0; 128];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        if client.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

fn ask(proxy: SocketAddr) {
    let mut proxy = TcpStream::connect(proxy).unwrap();
    proxy.set_nodelay(true).unwrap();
    let mut bytes = [7; 128];
    while !OVER.load(Relaxed) {
        proxy.write_all(&bytes).unwrap();
        proxy.read_exact(&mut bytes).unwrap();
        ROUND_TRIPS.fetch_add(1, Relaxed);
    }
}

/// How long one took, and how large it was.
fn scrape(proxy: &Proxy) -> (Duration, usize) {
    let began = Time::read_clock();
    let page = metrics::render(&proxy.view());
    (Time::read_clock() - began, page.len())
}

/// The worker's thread, as the kernel accounts for it.
struct Worker(PathBuf);

impl Worker {
    fn find() -> Self {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let named = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap() == "worker-0\n";
        Self(tasks.find(named).unwrap().join("schedstat"))
    }

    fn on_cpu(&self) -> u64 {
        let schedstat = fs::read_to_string(&self.0).unwrap();
        schedstat.split(' ').next().unwrap().parse().unwrap()
    }

    /// Nanoseconds of its CPU for a round trip, while something else is done so many times.
    fn window(&self, mut work: impl FnMut(), times: u64) -> u64 {
        let (cpu, trips) = (self.on_cpu(), ROUND_TRIPS.load(Relaxed));
        let pause = WINDOW / u32::try_from(times).unwrap();
        for _ in 0..times {
            work();
            sleep(pause);
        }
        (self.on_cpu() - cpu) / (ROUND_TRIPS.load(Relaxed) - trips).max(1)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bench that measures in spans of time"
)]
fn sleep(pause: Duration) {
    thread::sleep(pause);
}

fn median<T: Ord + Copy>(mut all: Vec<T>) -> T {
    all.sort_unstable();
    all[all.len() / 2]
}

fn report(
    backends: u64,
    scrapes: u64,
    quiet: Vec<u64>,
    scraped: Vec<u64>,
    pages: Vec<(Duration, usize)>,
) {
    let worst = pages.iter().max().unwrap().0;
    let (took, len) = median(pages);
    println!("{backends} backends: a page of {} kB", len / 1000);
    println!("control thread: {took:.2?} a scrape, {worst:.2?} at worst");
    let (quiet, scraped) = (median(quiet), median(scraped));
    println!(
        "worker, ns of CPU a round trip: {quiet} alone, {scraped} with {scrapes} scrapes a second"
    );
}
