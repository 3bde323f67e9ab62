//! redis-benchmark, redis-cli and Redis.

use crate::content::{assert_same, content};
use crate::programs::{Program, client, free_address, installed, output, server, text};
use crate::proxy_before;
use crate::support::Proxy;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

pub(crate) const PROGRAMS: &[&str] = &["redis-benchmark", "redis-cli", "redis-server"];

/// A running Redis that keeps everything in memory.
pub(crate) struct Redis {
    pub(crate) program: Program,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = server("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--protected-mode", "no"]);
        command.args([
            "--bind",
            &address.ip().to_string(),
            "--port",
            &address.port().to_string(),
        ]);
        command.arg("--dir").arg(folder.path());
        let program = Program::listening(&mut command, folder.path(), address);
        Self {
            program,
            folder,
            address,
        }
    }

    /// redis-cli that reads its commands from a file.
    fn cli_with(&self, to: SocketAddr, input: &[u8]) -> Command {
        let file = self.folder.path().join("commands");
        fs::write(&file, input).unwrap();
        let mut command = tool("redis-cli", to);
        command.stdin(File::open(file).unwrap());
        command
    }
}

/// A client of Redis's.
fn tool(name: &str, to: SocketAddr) -> Command {
    let mut command = client(name);
    command.args(["-h", &to.ip().to_string(), "-p", &to.port().to_string()]);
    command
}

#[test]
fn redis_benchmark_with_pipelining_ends_without_an_error() {
    if !installed(PROGRAMS) {
        return;
    }
    let redis = Redis::start();
    let proxy = proxy_before(redis.address);
    let mut bench = tool("redis-benchmark", proxy.address());
    bench.args([
        "-P", "16", "-n", "100000", "-c", "50", "-d", "100", "-r", "1000",
    ]);
    let said = text(bench.args(["-t", "set,get,incr,lpush", "--csv"]));
    for test in ["SET", "GET", "INCR", "LPUSH"] {
        assert!(said.contains(&format!("\"{test}\",")), "{said}");
    }
    assert!(!said.to_lowercase().contains("error"), "{said}");
    let counted = text(tool("redis-cli", redis.address).args(["llen", "mylist"]));
    assert_eq!(counted, "100000\n");
    // 50 connections each, and redis-benchmark's own for the server's settings.
    for line in proxy.await_access(200) {
        assert_eq!(line.end(), ("client-fin/done", "--"), "{line:?}");
    }
}

#[test]
fn a_database_written_through_the_proxy_reads_the_same_directly() {
    if !installed(PROGRAMS) {
        return;
    }
    let redis = Redis::start();
    let proxy = proxy_before(redis.address);
    let value = |n: usize| {
        let bytes = content(n * 64, 1 + n % 200);
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let values: Vec<_> = (0..20_000).map(value).collect();
    let numbered = || values.iter().enumerate();
    let sets: String = numbered()
        .map(|(n, value)| format!("SET k{n} {value}\r\n"))
        .collect();
    let gets: String = (0..values.len()).map(|n| format!("GET k{n}\n")).collect();
    let said = text(
        redis
            .cli_with(proxy.address(), sets.as_bytes())
            .arg("--pipe"),
    );
    assert!(said.contains("errors: 0, replies: 20000"), "{said}");
    let stored = values.join("\n") + "\n";
    for at in [redis.address, proxy.address()] {
        let got = output(&mut redis.cli_with(at, gets.as_bytes()));
        assert_same(&got, stored.as_bytes());
    }
}

#[test]
fn a_value_of_50_mb_goes_in_and_out_unchanged() {
    if !installed(PROGRAMS) {
        return;
    }
    let redis = Redis::start();
    let proxy = proxy_before(redis.address);
    let sent = content(0, 50_000_000);
    // -x: the last argument comes from standard input.
    let mut set = redis.cli_with(proxy.address(), &sent);
    assert_eq!(text(set.args(["-x", "set", "large"])), "OK\n");
    let mut got = output(tool("redis-cli", proxy.address()).args(["get", "large"]));
    assert_eq!(got.pop(), Some(b'\n'));
    assert_same(&got, &sent);
}

/// A redis-cli that prints what is published.
struct Subscriber {
    client: Child,
    lines: BufReader<ChildStdout>,
}

impl Subscriber {
    /// Returns once the server has confirmed it.
    #[track_caller]
    fn new(proxy: &Proxy) -> Self {
        let mut command = tool("redis-cli", proxy.address());
        command.args(["subscribe", "feed"]).stdout(Stdio::piped());
        let mut client = command.spawn().unwrap();
        let lines = BufReader::new(client.stdout.take().unwrap());
        let mut this = Self { client, lines };
        assert_eq!(this.three_lines(), ["subscribe", "feed", "1"]);
        this
    }

    #[track_caller]
    fn three_lines(&mut self) -> [String; 3] {
        [(); 3].map(|()| {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // timeout(1) hands the signal on to redis-cli.
        let pid = Pid::from_raw(i32::try_from(self.client.id()).unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.client.wait();
    }
}

#[test]
fn every_subscriber_gets_every_published_message_in_order() {
    if !installed(PROGRAMS) {
        return;
    }
    let redis = Redis::start();
    let proxy = proxy_before(redis.address);
    let mut subscribers: Vec<_> = (0..10).map(|_| Subscriber::new(&proxy)).collect();
    let publish: String = (0..1000)
        .map(|n| format!("PUBLISH feed message-{n}\n"))
        .collect();
    let said = text(&mut redis.cli_with(proxy.address(), publish.as_bytes()));
    assert_eq!(said, "10\n".repeat(1000));
    for subscriber in &mut subscribers {
        for n in 0..1000 {
            let message = format!("message-{n}");
            assert_eq!(subscriber.three_lines(), ["message", "feed", &message]);
        }
    }
}
