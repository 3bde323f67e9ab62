//! What probing costs the control thread: 1,000 backends on loopback, each asked once a second. The figure is the time
//! that the prober's thread was on a CPU (schedstat), with all that the kernel does in its name: on loopback that is most
//! of the other side's handshake, too.
//!
//! `cargo bench --bench probes -- [--seconds N] [--backends N]`; docs/benchmarks.md has figures.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use nix::poll::{PollTimeout, poll};
use ringway::control::probe::{GRAIN, Prober, ProxyHeader, Settings, Target, Watch};
use ringway::ring::Time;
use ringway::upstream::health::{State, Streak, Terms};
use ringway::wire::banner::{Script, http_request};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

fn main() {
    let seconds = argument("--seconds").unwrap_or(10);
    let backends = argument("--backends").unwrap_or(1000);
    let port = serve();
    println!("{backends} backends, each probed once a second for {seconds} s");
    println!("{:<38} {:>12} {:>12}", "", "µs per probe", "% of a core");
    floor(port, backends, seconds);
    uring(port, backends, seconds);
    let http = Script::Http {
        request: http_request("/", "a.example"),
        expect: vec!["2xx".parse().unwrap()],
    };
    for script in [Script::Tcp, http] {
        prober(port, backends, seconds, script);
    }
}

fn argument(name: &str) -> Option<u64> {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1).and_then(|word| word.parse().ok())
}

/// A server on every address of 127/8: any number of backends on one port. Answers a request, closes otherwise.
fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    port
}

/// Without a byte within a millisecond, nobody asks anything. A client that is gone is no matter.
fn answer(mut client: TcpStream) {
    client
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    if client.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
        let _ = client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The system calls alone: socket, connect, close with a reset, as many at a time as a grain has. Nothing that connects
/// can cost less.
fn floor(port: u16, backends: u64, seconds: u64) {
    let (together, grains) = grains(backends, seconds);
    let before = on_cpu();
    for _ in 0..grains {
        for _ in 0..together {
            let to = address(port);
            let stream = TcpStream::connect(to).unwrap();
            reset(&stream);
        }
        let pause = PollTimeout::try_from(GRAIN).unwrap();
        poll(&mut [], pause).unwrap();
    }
    let name = "socket, connect, close: the floor";
    report(name, on_cpu() - before, together * grains, None);
}

/// The same by tokio-uring's sockets.
fn uring(port: u16, backends: u64, seconds: u64) {
    let (together, grains) = grains(backends, seconds);
    let spent = tokio_uring::start(async {
        let before = on_cpu();
        for _ in 0..grains {
            let one = || async move {
                let to = address(port);
                let stream = tokio_uring::net::TcpStream::connect(to).await.unwrap();
                // They have no SO_LINGER: FIN it is.
                let _ = stream.shutdown(Shutdown::Both);
            };
            let started: Vec<_> = (0..together).map(|_| tokio_uring::spawn(one())).collect();
            for probe in started {
                probe.await.unwrap();
            }
            tokio::time::sleep(GRAIN).await;
        }
        on_cpu() - before
    });
    report("tokio-uring's sockets", spent, together * grains, None);
}

/// How many probes a grain has, and how many grains there are.
fn grains(backends: u64, seconds: u64) -> (u64, u64) {
    let a_second = u64::try_from(1000 / GRAIN.as_millis()).unwrap();
    ((backends / a_second).max(1), seconds * a_second)
}

fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// The prober itself, from its first round on.
fn prober(port: u16, backends: u64, seconds: u64, script: Script) {
    let name = format!("the prober, type {}", script.word());
    let settings = Arc::new(Settings {
        script,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        terms: Terms {
            rise: TWO,
            fall: TWO,
        },
        jitter: 0.1,
        proxy_header: ProxyHeader::Off,
        tls: None,
    });
    let (spent, took, probes) = tokio_uring::start(async {
        let prober = Prober::new(
            1,
            Box::new(|_, change, view| panic!("{change:?}: {view:?}")),
        );
        let add = |n| prober.add(target(n, port, &settings)).1;
        let watches: Vec<_> = (0..backends).map(add).collect();
        let measure = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (before, began, cpu) = (passed(&watches), Time::read_clock(), on_cpu());
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            (
                on_cpu() - cpu,
                Time::read_clock() - began,
                passed(&watches) - before,
            )
        };
        tokio::select! {
            never = prober.run() => match never {},
            measured = measure => measured,
        }
    });
    report(&name, spent, probes, Some(took));
}

fn target(n: u64, port: u16, settings: &Arc<Settings>) -> Target {
    Target {
        upstream: "bench".into(),
        backend: format!("b{n}"),
        address: address(port),
        settings: Arc::clone(settings),
        initial: State::Up,
    }
}

/// Probes so far, all of which have to pass.
fn passed(watches: &[Arc<Watch>]) -> u64 {
    let views = watches.iter().map(|watch| watch.view());
    let counts = views.map(|view| {
        assert!(!matches!(view.streak, Streak::Failed(_)), "{view:?}");
        view.passed_total
    });
    counts.sum()
}

fn report(name: &str, spent: Duration, probes: u64, took: Option<Duration>) {
    assert!(probes > 0, "too short a run");
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let each = spent.as_secs_f64() * 1e6 / probes as f64;
    let share = took.map(|took| format!("{:.2}", 100.0 * spent.as_secs_f64() / took.as_secs_f64()));
    println!("{name:<38} {each:>12.1} {:>12}", share.unwrap_or_default());
}

/// How long this thread was on a CPU.
fn on_cpu() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = schedstat
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    Duration::from_nanos(nanos)
}
