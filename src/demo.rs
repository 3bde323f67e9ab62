//! `ringway demo`: publishers, the proxy and subscribers in one process, and what they do, live. Every message that
//! arrives is verified; the run ends with a summary.
//!
//! Nothing here is special to the demo but the view: the proxy is the one that `ringway run` starts, the feed is
//! loadgen's.

use crate::config::cli::Demo;
use crate::config::{
    self, Access, AdminAddress, Backend, Config, Listener, Log, Process, Upstream,
};
use crate::control::{self, Admin, Proxy};
use crate::ring::Time;
use crate::worker::Stats as WorkerStats;
use ringway_loadgen::{
    BackendConfig, BackendRole, ClientConfig, ClientRole, Handle, Rate, Stats, drive, serve,
};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// How many publishers there are: enough to see the clients spread.
const BACKENDS: usize = 3;

/// Bytes of a message: a best-bid-and-ask update of a retail feed is 100 to 220 bytes of JSON.
const MESSAGE_BYTES: u32 = 128;

/// What the operating system or the feed's verification said (EX_OSERR of sysexits.h, and plainly 1).
const EX_OSERR: u8 = 71;

/// Runs the demo until its time is over or ctrl-c. 0 when every message was right; 1 when one was lost, doubled, out
/// of order or damaged; 71 when the operating system refused something.
pub fn run(args: &Demo) -> ExitCode {
    match Stage::set(args) {
        Ok(stage) => stage.play(args),
        Err(refusal) => {
            eprintln!("ringway demo: {refusal}");
            ExitCode::from(EX_OSERR)
        }
    }
}

/// Everything that runs.
struct Stage {
    proxy: Proxy,
    admin: Admin,
    publishers: Handle,
    subscribers: Handle,
}

impl Stage {
    fn set(args: &Demo) -> Result<Self, String> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let rate = Rate::per_second(f64::from(args.rate.get())).ok_or("a rate above zero")?;
        let publishers = serve(&BackendConfig {
            role: BackendRole::Publish {
                rate,
                size: MESSAGE_BYTES,
            },
            listen: vec![any; BACKENDS],
            threads: 1,
            cpus: Vec::new(),
            spin: Duration::ZERO,
        });
        let publishers = publishers.map_err(|e| e.to_string())?;
        let page = config::Admin::at(AdminAddress::Tcp(any));
        let admin = Admin::start(&page).map_err(|e| e.to_string())?;
        let proxy = Proxy::start(config(any, publishers.addrs())).map_err(|e| e.to_string())?;
        let targets: Vec<_> = proxy
            .addresses()
            .into_iter()
            .map(|(_, address)| address)
            .collect();
        let subscribers = drive(&ClientConfig {
            role: ClientRole::Subscribe,
            targets,
            connections: args.connections.get(),
            // Ended by hand: the demo shows the feed for as long as it is watched.
            seconds: Duration::from_secs(365 * 24 * 3600),
            warmup: Duration::ZERO,
            threads: 1,
            tls: None,
            sources: "127.1.0.0/16".parse()?,
            ramp: None,
            cpus: Vec::new(),
            spin: Duration::ZERO,
        });
        match subscribers {
            Ok(subscribers) => Ok(Self {
                proxy,
                admin,
                publishers,
                subscribers,
            }),
            Err(e) => {
                end(proxy);
                Err(e.to_string())
            }
        }
    }

    fn play(self, args: &Demo) -> ExitCode {
        self.introduce(args);
        let seconds = args.seconds.map(|n| Duration::from_secs(n.get().into()));
        let shown = tokio_uring::start(async {
            tokio::select! {
                shown = self.show(seconds) => shown,
                answered = control::answer(&self.proxy, &self.admin) => {
                    answered.map(|never| match never {})
                }
            }
        });
        if let Err(e) = shown {
            eprintln!("ringway demo: cannot wait for ctrl-c: {e}");
        }
        let open = self.proxy.open();
        let relayed = relayed(self.proxy.stats());
        let received = self.subscribers.stop();
        end(self.proxy);
        let sent = self.publishers.stop();
        match (received, sent) {
            (Ok(received), Ok(_)) => summarize(&received, open, relayed),
            (Err(e), _) | (_, Err(e)) => {
                eprintln!("ringway demo: {e}");
                ExitCode::from(EX_OSERR)
            }
        }
    }

    fn introduce(&self, args: &Demo) {
        let mut text = String::new();
        let at: Vec<_> = self
            .proxy
            .addresses()
            .into_iter()
            .map(|(_, address)| address.to_string())
            .collect();
        let feeds: Vec<_> = self
            .publishers
            .addrs()
            .iter()
            .map(ToString::to_string)
            .collect();
        let workers = self.proxy.stats().len();
        let _ = writeln!(
            text,
            "ringway demo: {} subscribers, {} messages of {MESSAGE_BYTES} B a second each",
            args.connections, args.rate
        );
        let _ = writeln!(text, "  publishers   {}", feeds.join("  "));
        let _ = writeln!(
            text,
            "  ringway      {}  ({workers} workers, ip_hash)",
            at.join("  ")
        );
        let page = self.admin.address();
        let _ = writeln!(text, "  status page  http://{page}/");
        let _ = writeln!(
            text,
            "  latency      from the time a message was planned to its verified arrival; ctrl-c ends"
        );
        show(&text);
    }

    /// A line a second.
    async fn show(&self, seconds: Option<Duration>) -> io::Result<()> {
        let mut interrupt =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let ends = seconds.map(|seconds| Time::read_clock() + seconds);
        let (mut before, mut rows) = (self.subscribers.stats(), 0);
        tick.tick().await;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = tick.tick() => {}
            }
            if rows % 20 == 0 {
                show(HEADING);
            }
            rows += 1;
            let now = self.subscribers.stats();
            show(&row(&before, &now, self.proxy.open()));
            before = now;
            if ends.is_some_and(|ends| ends <= Time::read_clock()) {
                return Ok(());
            }
        }
    }
}

const HEADING: &str =
    "\n  open    messages/s      MB/s     p50 ms     p99 ms   p99.9 ms     max ms   errors\n";

fn row(before: &Stats, now: &Stats, open: u64) -> String {
    let messages = now
        .counters
        .messages
        .saturating_sub(before.counters.messages);
    let bytes = now
        .counters
        .bytes_received
        .saturating_sub(before.counters.bytes_received);
    let latency = now.latency.since(&before.latency);
    format!(
        "{open:>6} {messages:>13} {:>9.2} {} {} {} {} {:>8}\n",
        megabytes(bytes),
        millis(latency.quantile_us(0.5)),
        millis(latency.quantile_us(0.99)),
        millis(latency.quantile_us(0.999)),
        millis(latency.max_us()),
        now.faults.total(),
    )
}

fn summarize(received: &Stats, open: u64, relayed: u64) -> ExitCode {
    let mut text = String::from("\nsummary\n");
    let counters = received.measured();
    let latency = &received.latency;
    let _ = writeln!(
        text,
        "  messages     {}, every one verified: order, gaps, checksum",
        counters.messages
    );
    let _ = writeln!(
        text,
        "  relayed      {:.1} MB over {open} connections",
        megabytes(relayed)
    );
    let _ = writeln!(
        text,
        "  latency ms   p50{} p99{} p99.9{} max{}",
        millis(latency.quantile_us(0.5)),
        millis(latency.quantile_us(0.99)),
        millis(latency.quantile_us(0.999)),
        millis(latency.max_us()),
    );
    let faults = received.faults.total();
    let _ = writeln!(text, "  errors       {faults}");
    show(&text);
    if faults == 0 && counters.messages > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn config(listen: SocketAddr, backends: &[SocketAddr]) -> Config {
    let named = |(address, number): (&SocketAddr, u32)| Backend {
        name: format!("publisher-{number}"),
        ..Backend::new(*address)
    };
    let backends = backends.iter().zip(1..).map(named).collect();
    Config {
        process: Process::default(),
        log: Log {
            access: Access::Off,
            ..Log::default()
        },
        admin: None,
        listeners: vec![Listener::new("feed".into(), vec![listen], 0)],
        upstreams: vec![Upstream::new("publishers".into(), backends)],
    }
}

/// Ends a proxy whose clients are gone or may go.
fn end(proxy: Proxy) {
    proxy.drain(Duration::ZERO, Duration::ZERO);
    proxy.join();
}

fn relayed(workers: &[std::sync::Arc<WorkerStats>]) -> u64 {
    workers
        .iter()
        .map(|worker| worker.bytes_up() + worker.bytes_down())
        .sum()
}

fn millis(micros: f64) -> String {
    format!("{:>10.3}", micros / 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// To standard output. A reader that has seen enough ends nothing.
fn show(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
