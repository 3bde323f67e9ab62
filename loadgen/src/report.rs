//! The result of a run, for machines and for people, and the line that shows it while it lasts.

use crate::config::{BackendRole, ClientRole, Direction};
use crate::stats::{Durations, Stats};
use serde_json::{Map, Value, json};
use std::fmt;

/// Grows when a key changes its meaning or goes.
const SCHEMA: u32 = 1;

/// Whose result it is.
#[derive(Clone, PartialEq, Debug)]
pub enum Side {
    /// Of backends.
    Backend(BackendRole),
    /// Of clients.
    Client(ClientRole),
}

impl Side {
    fn role(&self) -> &'static str {
        match self {
            Self::Backend(role) => role.name(),
            Self::Client(role) => role.name(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Backend(_) => "serve",
            Self::Client(_) => "drive",
        }
    }

    fn unit(&self) -> Unit {
        match self {
            Self::Backend(BackendRole::Publish { .. }) | Self::Client(ClientRole::Subscribe) => {
                Unit::Messages
            }
            Self::Backend(BackendRole::Churn { .. } | BackendRole::WebSocket)
            | Self::Client(
                ClientRole::Echo { .. } | ClientRole::Churn { .. } | ClientRole::WebSocket { .. },
            ) => Unit::Exchanges,
            Self::Backend(BackendRole::Echo | BackendRole::Bulk { .. } | BackendRole::Hold)
            | Self::Client(ClientRole::Bulk { .. } | ClientRole::Hold | ClientRole::Stall) => {
                Unit::Bytes
            }
        }
    }

    /// Whether the bytes it is about are those it sends.
    fn sends(&self) -> bool {
        match self {
            Self::Backend(BackendRole::Bulk { direction }) => *direction == Direction::Down,
            Self::Client(ClientRole::Bulk { direction, .. }) => *direction == Direction::Up,
            Self::Backend(BackendRole::Publish { .. }) => true,
            Self::Backend(
                BackendRole::Echo
                | BackendRole::Churn { .. }
                | BackendRole::WebSocket
                | BackendRole::Hold,
            )
            | Self::Client(
                ClientRole::Echo { .. }
                | ClientRole::Subscribe
                | ClientRole::Churn { .. }
                | ClientRole::WebSocket { .. }
                | ClientRole::Hold
                | ClientRole::Stall,
            ) => false,
        }
    }

    fn bytes(&self, stats: &Stats) -> u64 {
        let counters = stats.measured();
        if self.sends() {
            counters.bytes_sent
        } else {
            counters.bytes_received
        }
    }

    fn events(&self, stats: &Stats) -> u64 {
        match self.unit() {
            Unit::Exchanges | Unit::Bytes => stats.measured().exchanges,
            Unit::Messages => stats.measured().messages,
        }
    }
}

/// What a role counts in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Exchanges,
    Messages,
    Bytes,
}

/// A run's numbers and whose they are. `Display` is the table for people.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose.
    pub side: Side,
    /// The numbers.
    pub stats: Stats,
}

impl Report {
    /// Whether everything that was received was verified and no connection failed.
    pub fn is_clean(&self) -> bool {
        self.stats.faults.total() == 0
    }

    /// The result for machines; `docs/loadgen.md` describes the keys.
    pub fn to_json(&self) -> Value {
        let stats = &self.stats;
        let counters = stats.measured();
        let errors: Map<String, Value> = stats
            .faults
            .happened()
            .map(|(fault, count)| (fault.name().into(), count.into()))
            .collect();
        json!({
            "schema": SCHEMA,
            "side": self.side.name(),
            "role": self.side.role(),
            "connections": stats.connections.opened,
            "connections_open": stats.open_at_end,
            "connections_reset": stats.connections.resets,
            "seconds": stats.lasted().as_secs_f64(),
            "exchanges_total": counters.exchanges,
            "messages_total": counters.messages,
            "bytes": self.side.bytes(stats),
            "bytes_received": counters.bytes_received,
            "bytes_sent": counters.bytes_sent,
            "rate": self.rate(),
            "mb_per_second": self.megabytes_per_second(),
            "latency_us": durations_json(&stats.latency),
            "latency_sent_us": durations_json(&stats.latency_sent),
            "connect_us": durations_json(&stats.connect),
            "handshake_us": durations_json(&stats.handshake),
            "handshakes_total": counters.handshakes,
            "handshakes_resumed": counters.resumed,
            "lag_us": durations_json(&stats.lag),
            "planned": counters.planned,
            "issued": counters.issued,
            "missed_schedule": stats.missed_schedule(),
            "errors_total": stats.faults.total(),
            "errors": errors,
            "environment": environment(),
        })
    }

    /// Exchanges or messages a second.
    pub fn rate(&self) -> f64 {
        per_second(self.side.events(&self.stats), &self.stats)
    }

    /// Megabytes (1,000,000 bytes) a second.
    pub fn megabytes_per_second(&self) -> f64 {
        per_second(self.side.bytes(&self.stats), &self.stats) / 1e6
    }

    fn write_rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.side.events(&self.stats);
        match self.side.unit() {
            Unit::Exchanges => writeln!(
                f,
                "  {:<12} {events} exchanges, {:.0}/s",
                "rate",
                self.rate()
            )?,
            Unit::Messages => writeln!(
                f,
                "  {:<12} {events} messages, {:.0}/s",
                "rate",
                self.rate()
            )?,
            Unit::Bytes => {}
        }
        let way = if self.side.sends() {
            "sent"
        } else {
            "received"
        };
        let bytes = self.side.bytes(&self.stats);
        writeln!(
            f,
            "  {:<12} {bytes} {way}, {:.1} MB/s",
            "bytes",
            self.megabytes_per_second()
        )
    }

    fn write_handshakes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = self.stats.measured();
        if counters.handshakes == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "  {:<12} {} of TLS, {} resumed, {:.0}/s",
            "handshakes",
            counters.handshakes,
            counters.resumed,
            per_second(counters.handshakes, &self.stats)
        )
    }

    fn write_schedule(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = self.stats.measured();
        if counters.planned > 0 {
            writeln!(
                f,
                "  {:<12} {} planned, {} begun",
                "schedule", counters.planned, counters.issued
            )?;
        }
        if self.stats.missed_schedule() {
            writeln!(
                f,
                "  SCHEDULE MISSED by more than 1 %: this was not the load asked for, and the percentiles are not valid"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, stats } = self;
        let seconds = stats.lasted().as_secs_f64();
        writeln!(f, "{} {}, {seconds:.2} s", side.name(), side.role())?;
        let connections = stats.connections;
        let (opened, open) = (connections.opened, stats.open_at_end);
        writeln!(
            f,
            "  {:<12} {opened} opened, {open} open at the end",
            "connections"
        )?;
        self.write_rates(f)?;
        self.write_handshakes(f)?;
        self.write_schedule(f)?;
        let rows = [
            ("latency", &stats.latency),
            ("since sent", &stats.latency_sent),
            ("connect", &stats.connect),
            ("handshake", &stats.handshake),
            ("lag", &stats.lag),
        ];
        if rows.iter().any(|(_, durations)| durations.count() > 0) {
            let [a, b, c, d, e] = ["p50", "p90", "p99", "p99.9", "max"];
            writeln!(f, "  {:<12} {a:>10} {b:>10} {c:>10} {d:>10} {e:>10}", "µs")?;
        }
        for (name, durations) in rows {
            write_durations(f, name, durations)?;
        }
        if connections.resets > 0 {
            writeln!(f, "  {:<12} {} by clients", "resets", connections.resets)?;
        }
        for (fault, count) in stats.faults.happened() {
            writeln!(
                f,
                "  ERROR {:<15} {count:>10}  {}",
                fault.name(),
                fault.meaning()
            )?;
        }
        let verdict = if self.is_clean() {
            "everything verified"
        } else {
            "NOT CLEAN"
        };
        write!(f, "  {verdict}")
    }
}

/// The line for the time between two copies of the numbers, `seconds` apart.
pub fn live_line(side: &Side, earlier: &Stats, now: &Stats, seconds: f64) -> String {
    let open = now.connections.open();
    let errors = now.faults.total();
    // Measuring may have begun in between, and the numbers with it anew.
    let since =
        |read: fn(&Side, &Stats) -> u64| read(side, now).saturating_sub(read(side, earlier));
    let seconds = seconds.max(f64::EPSILON);
    let megabytes = as_f64(since(Side::bytes)) / seconds / 1e6;
    let rate = match side.unit() {
        Unit::Exchanges | Unit::Messages => {
            format!("  {:>9.0}/s", as_f64(since(Side::events)) / seconds)
        }
        Unit::Bytes => String::new(),
    };
    let last = now.latency.since(&earlier.latency);
    let latency = if last.count() > 0 {
        let [p50, p99] = [0.5, 0.99].map(|share| last.quantile_us(share));
        format!(
            "  p50 {p50:.0} µs  p99 {p99:.0} µs  max {:.0} µs",
            last.max_us()
        )
    } else {
        String::new()
    };
    let phase = if now.is_measuring() {
        ""
    } else {
        "  (warming up)"
    };
    format!("{open:>7} open{rate}{latency}  {megabytes:.1} MB/s  {errors} errors{phase}")
}

fn write_durations(f: &mut fmt::Formatter<'_>, name: &str, durations: &Durations) -> fmt::Result {
    if durations.count() == 0 {
        return Ok(());
    }
    write!(f, "  {name:<12}")?;
    for share in [0.5, 0.9, 0.99, 0.999] {
        write!(f, " {:>10.1}", durations.quantile_us(share))?;
    }
    writeln!(f, " {:>10.1}", durations.max_us())
}

fn durations_json(durations: &Durations) -> Value {
    if durations.count() == 0 {
        return Value::Null;
    }
    json!({
        "count": durations.count(),
        "p50": durations.quantile_us(0.5),
        "p90": durations.quantile_us(0.9),
        "p99": durations.quantile_us(0.99),
        "p999": durations.quantile_us(0.999),
        "max": durations.max_us(),
        "mean": durations.mean_us(),
    })
}

fn environment() -> Value {
    let kernel = nix::sys::utsname::uname().map_or_else(
        |_| "unknown".into(),
        |names| names.release().to_string_lossy().into_owned(),
    );
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "kernel": kernel, "cpus": cpus, "loadgen": env!("CARGO_PKG_VERSION") })
}

fn per_second(count: u64, stats: &Stats) -> f64 {
    let seconds = stats.lasted().as_secs_f64();
    if seconds > 0.0 {
        as_f64(count) / seconds
    } else {
        0.0
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use ringway_ring::Time;
    use std::time::Duration;

    const ECHO: Side = Side::Client(ClientRole::Echo {
        size: 10,
        rate: None,
    });

    fn report(change: impl FnOnce(&mut Stats)) -> Report {
        let mut stats = Stats::default();
        stats.begin(Time::from_nanos(0));
        change(&mut stats);
        stats.finish(Time::from_nanos(2_000_000_000));
        Report { side: ECHO, stats }
    }

    #[test]
    fn the_json_has_the_documented_keys() {
        let report = report(|stats| {
            stats.exchanged(Duration::from_micros(100));
            stats.faults.add(Fault::Corrupt, 3);
        });
        let json = report.to_json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["role"], "echo");
        assert_eq!(json["exchanges_total"], 1);
        assert_eq!(json["rate"], 0.5);
        assert_eq!(json["errors"], json!({"corrupt": 3}));
        assert_eq!(json["latency_us"]["count"], 1);
        assert_eq!(json["latency_sent_us"], Value::Null);
        assert_eq!(json["missed_schedule"], false);
        assert!(json["environment"]["cpus"].as_u64().unwrap() >= 1);
    }

    #[test]
    fn a_missed_schedule_is_said_loudly() {
        let missed = report(|stats| stats.counters.planned = 100);
        assert!(missed.to_string().contains("percentiles are not valid"));
        let kept = report(|stats| {
            stats.counters.planned = 100;
            stats.counters.issued = 100;
        });
        assert!(!kept.to_string().contains("MISSED"));
    }

    #[test]
    fn handshakes_are_told_apart_where_there_were_any() {
        let none = report(|_| {});
        assert!(!none.to_string().contains("handshakes"));
        let some = report(|stats| {
            stats.agreed(Duration::from_micros(300), true);
            stats.agreed(Duration::from_micros(500), false);
        });
        assert!(
            some.to_string().contains("2 of TLS, 1 resumed, 1/s"),
            "{some}"
        );
        let json = some.to_json();
        assert_eq!(
            (&json["handshakes_total"], &json["handshakes_resumed"]),
            (&2.into(), &1.into())
        );
        assert_eq!(json["handshake_us"]["count"], 2);
    }

    #[test]
    fn an_error_comes_with_its_remedy() {
        let report = report(|stats| stats.faults.add(Fault::NoAddress, 7));
        assert!(!report.is_clean());
        assert!(report.to_string().contains("--sources"));
    }

    #[test]
    fn the_live_line_is_about_the_time_since_the_last() {
        let earlier =
            report(|stats| (0..10).for_each(|_| stats.exchanged(Duration::from_millis(9))));
        let mut now = earlier.stats.clone();
        (0..5).for_each(|_| now.exchanged(Duration::from_millis(1)));
        now.window = Some(now.counters);
        let line = live_line(&ECHO, &earlier.stats, &now, 1.0);
        assert!(line.contains(" 5/s"), "{line}");
        assert!(line.contains("max 1000 µs"), "{line}");
    }
}
