//! The load: the `loadgen` command of this workspace, as backend and as clients, and what it counts.

use crate::cases::{Effort, Load, Unit};
use crate::process::{Place, Process, Scratch, free_addresses, wait};
use serde::Deserialize;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long clients may take to end once asked: answers under way have five seconds.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Where the command is.
pub(crate) struct Loadgen(PathBuf);

/// What clients counted in their measured time, warm-up excluded.
#[derive(Deserialize)]
pub(crate) struct Count {
    exchanges_total: u64,
    messages_total: u64,
    bytes: u64,
    seconds: f64,
    handshakes_total: u64,
    handshakes_resumed: u64,
    /// How long the work took; none for work that has no answers.
    pub(crate) latency_us: Option<Latency>,
    /// What went wrong, by kind.
    errors: serde_json::Map<String, serde_json::Value>,
}

/// Percentiles, microseconds.
#[derive(Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Clients at work.
pub(crate) struct Clients {
    /// The process, to watch and to end early.
    pub(crate) process: Process,
    report: PathBuf,
}

impl Loadgen {
    /// Builds it beside the proxy under test.
    pub(crate) fn build() -> io::Result<Self> {
        let release = Path::new(env!("CARGO_BIN_EXE_ringway")).parent();
        let target = release
            .and_then(Path::parent)
            .expect("cargo builds into TARGET/PROFILE/");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args([
                "build",
                "--release",
                "--package",
                "ringway-loadgen",
                "--target-dir",
            ])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!(
                "building loadgen failed, {status}"
            )));
        }
        Ok(Self(target.join("release/loadgen")))
    }

    /// Starts the backends of `load`, all in one process, and waits until they listen.
    pub(crate) fn serve(
        &self,
        load: &Load,
        scratch: &Scratch,
    ) -> io::Result<(Process, Vec<SocketAddr>)> {
        let addresses = free_addresses(load.backends)?;
        let mut args = words("serve", load.serve);
        let listen: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        args.extend(["--listen".to_owned(), listen.join(",")]);
        let name = format!("backend-{}", load.name);
        let mut process = Process::start(&name, load.place(), &self.0, &args, scratch)?;
        for &address in &addresses {
            process.await_listening(address)?;
        }
        Ok((process, addresses))
    }

    /// Starts the clients of `load`; they end after `seconds` of measured time.
    pub(crate) fn drive(
        &self,
        load: &Load,
        effort: Effort,
        seconds: Duration,
        target: SocketAddr,
        scratch: &Scratch,
    ) -> io::Result<Clients> {
        let mut args = words("drive", &load.drive);
        for (flag, value) in [
            ("--target", target.to_string()),
            ("--connections", load.connections.to_string()),
            ("--seconds", seconds.as_secs_f64().to_string()),
            ("--warmup", effort.warmup().as_secs_f64().to_string()),
            ("--json", "-".to_owned()),
        ] {
            args.extend([flag.to_owned(), value]);
        }
        let name = format!("clients-{}", load.name);
        let place = if load.spins {
            Place::IdleLoad
        } else {
            load.place()
        };
        let process = Process::start(&name, place, &self.0, &args, scratch)?;
        Ok(Clients {
            process,
            report: scratch.file(&format!("{name}.out")),
        })
    }
}

impl Load {
    fn place(&self) -> Place {
        if self.yields {
            Place::IdleLoad
        } else {
            Place::Load
        }
    }
}

fn words(command: &str, line: &str) -> Vec<String> {
    let words = [command].into_iter().chain(line.split_whitespace());
    words.map(str::to_owned).collect()
}

impl Clients {
    /// Whether they are done; an error if they failed.
    pub(crate) fn done(&mut self) -> io::Result<bool> {
        match self.process.ended()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => {
                let report = fs::read_to_string(&self.report)?;
                Err(self
                    .process
                    .failure(&format!("clients ended with {status}: {report}")))
            }
        }
    }

    /// An error if they have ended, for work that only we end.
    pub(crate) fn still_there(&mut self) -> io::Result<()> {
        if self.done()? {
            return Err(self.process.failure("clients ended too early"));
        }
        Ok(())
    }

    /// Ends work that has no end of its own: what they counted.
    pub(crate) fn stop(&mut self) -> io::Result<Count> {
        self.still_there()?;
        self.process.terminate();
        wait(STOP_LIMIT, "the end of clients", || self.done())?;
        self.count()
    }

    /// What they counted, once they are done. Figures of a run in which bytes or connections were lost are none.
    pub(crate) fn count(&self) -> io::Result<Count> {
        let count: Count = serde_json::from_str(&fs::read_to_string(&self.report)?)?;
        if !count.errors.is_empty() {
            return Err(io::Error::other(format!(
                "clients met errors: {:?}",
                count.errors
            )));
        }
        Ok(count)
    }
}

impl Count {
    /// The share of handshakes in which the proxy went on with a session that had been before; none of none.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a few seconds are far below 2^53"
    )]
    pub(crate) fn resumed(&self) -> f64 {
        self.handshakes_resumed as f64 / self.handshakes_total.max(1) as f64
    }

    /// Units of work a second.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a few seconds are far below 2^53"
    )]
    pub(crate) fn rate(&self, unit: Unit) -> f64 {
        let units = match unit {
            Unit::RoundTrip | Unit::Connection => self.exchanges_total as f64,
            Unit::Handshake => self.handshakes_total as f64,
            Unit::Message => self.messages_total as f64,
            Unit::Gigabyte => self.bytes as f64 / 1e9,
        };
        units / self.seconds
    }
}
