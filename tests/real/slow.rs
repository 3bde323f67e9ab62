//! slowhttptest: thousands of clients that say little, or take little, for as long as they are let. The others must not
//! notice.
//!
//! "Must not notice" has no clock in it: each of them is answered, within the time that anybody may take. How long that
//! was is printed, beside what it was at the same moments through a second ringway that the slow ones leave alone;
//! `docs/benchmarks.md` has figures and the command.

use crate::content::content;
use crate::nginx::Nginx;
use crate::programs::{client, installed};
use crate::support::{Access, End, Proxy, Setup, skip, wait};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::{Child, Stdio};
use std::time::Duration;

/// What slowhttptest opens.
const SLOW: usize = 4_000;

/// Two descriptors each in the proxy, and some to spare.
const DESCRIPTORS: u64 = 10_000;

const MIB: u64 = 1 << 20;

/// One nginx behind two proxies that look at heads.
struct Scene {
    _nginx: Nginx,
    proxy: Proxy,
    /// Which the slow ones leave alone.
    aside: Proxy,
}

/// What the others saw.
#[derive(Default)]
struct Others {
    /// From connect to the end of the answer.
    took: Vec<Duration>,
}

/// What the slow ones made of the proxy, at most.
#[derive(Default, Debug)]
struct Peak {
    sockets: usize,
    resident: u64,
}

impl Scene {
    /// `None`, and a line that says so, where it cannot be played.
    fn new() -> Option<Self> {
        if !installed(&["slowhttptest", "nginx"]) || !enough_descriptors() {
            return None;
        }
        let nginx = Nginx::start("who");
        nginx.publish("large", &content(0, 200_000));
        let setup = Setup::new(&[nginx.address()]).listener("mode = \"http\"");
        Some(Self {
            _nginx: nginx,
            proxy: setup.start(),
            aside: setup.start(),
        })
    }

    /// Runs slowhttptest with these arguments against `/PATH`, and others until it ends; prints what they saw. By how much
    /// the proxy grew, and how many sockets it had.
    #[track_caller]
    fn beside(&self, arguments: &[&str], path: &str) -> Peak {
        let (mut beside, mut aside) = (Others::default(), Others::default());
        beside.exchange(&self.proxy);
        let before = self.proxy.resident();
        let mut peak = Peak::default();
        let mut slow = self.attack(arguments, path);
        // It ends by itself, and timeout(1) sees to it. The others take turns with it, on machines of few CPUs.
        while slow.try_wait().unwrap().is_none() {
            beside.exchange(&self.proxy);
            aside.exchange(&self.aside);
            if beside.took.len().is_multiple_of(25) {
                peak.see(&self.proxy);
            }
            wait::tick();
        }
        assert!(slow.wait().unwrap().success(), "slowhttptest failed");
        peak.resident = peak.resident.saturating_sub(before);
        eprintln!("slowhttptest {}: {peak:?}", arguments.join(" "));
        beside.report("beside", &self.proxy);
        aside.report("aside", &self.aside);
        // All of them where it gets the CPU to open them fast enough.
        assert!(peak.sockets > SLOW / 2, "never many at once: {peak:?}");
        peak
    }

    fn attack(&self, arguments: &[&str], path: &str) -> Child {
        let mut command = client("slowhttptest");
        command.args(arguments);
        command.args(["-c", &SLOW.to_string(), "-r", "1500", "-p", "20", "-u"]);
        command.arg(format!("http://{}/{path}", self.proxy.address()));
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null());
        silent.stderr(Stdio::null()).spawn().unwrap()
    }
}

impl Others {
    /// One more of them comes, asks, and is answered.
    #[track_caller]
    fn exchange(&mut self, proxy: &Proxy) {
        let ((answer, end), took) = wait::timed(|| {
            let client = proxy.connect();
            client.send(b"GET /who HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
            client.drain()
        });
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nwho"), "{answer}");
        assert_eq!(end, End::Fin);
        self.took.push(took);
    }

    fn report(&self, place: &str, proxy: &Proxy) {
        let lines = await_lines(proxy, self.took.len(), |line| line.text("path") == "/who");
        let peeks = lines
            .iter()
            .map(|line| Duration::from_micros(line.number("peek_us")));
        eprintln!(
            "{place}: {} answers, p99 {:?}; of their peeks {:?}",
            self.took.len(),
            p99(self.took.iter().copied()),
            p99(peeks)
        );
    }
}

impl Peak {
    fn see(&mut self, proxy: &Proxy) {
        self.sockets = self.sockets.max(proxy.sockets());
        self.resident = self.resident.max(proxy.resident());
    }
}

/// Waits for so many lines of the access log of this kind.
#[track_caller]
fn await_lines(proxy: &Proxy, count: usize, wanted: impl Fn(&Access) -> bool) -> Vec<Access> {
    wait::until_some(&format!("{count} lines of a kind"), || {
        let mut lines = proxy.access();
        lines.retain(&wanted);
        (lines.len() >= count).then_some(lines)
    })
}

fn p99(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Whether this process, and those that it starts, may have enough of them.
fn enough_descriptors() -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < DESCRIPTORS {
        let thread = std::thread::current();
        let reason = format!("needs: ulimit -Hn {DESCRIPTORS}, not {hard}");
        skip(thread.name().unwrap_or("slow"), &reason);
        return false;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(DESCRIPTORS), hard).unwrap();
    true
}

#[test]
fn thousands_that_never_end_their_head_are_sent_away_in_time_and_nobody_else_notices() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let peak = scene.beside(&["-H", "-i", "5", "-x", "24", "-l", "40"], "who");
    assert!(peak.resident < 64 * MIB, "{peak:?}");
    let late = await_lines(&scene.proxy, SLOW, |line| {
        line.end() == ("peek-timeout/peeking", "cR")
    });
    assert!(late.iter().all(|line| line.text("backend").is_empty()));
}

#[test]
fn thousands_that_never_end_their_body_are_relayed_and_nobody_else_notices() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let slowly = ["-B", "-t", "PUT", "-i", "5", "-s", "8192", "-l", "12"];
    let peak = scene.beside(&slowly, "upload");
    assert!(peak.resident < 64 * MIB, "{peak:?}");
    await_lines(&scene.proxy, SLOW, |line| line.text("path") == "/upload");
}

#[test]
fn thousands_that_hardly_read_are_relayed_and_nobody_else_notices() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let slowly = [
        "-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-l", "12",
    ];
    let peak = scene.beside(&slowly, "large");
    assert!(peak.resident < 64 * MIB, "{peak:?}");
    await_lines(&scene.proxy, SLOW, |line| line.text("path") == "/large");
}
