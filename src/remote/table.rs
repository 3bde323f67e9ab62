//! Tables of text: as wide as what is in them, numbers on the right.

use super::seen::{Leaving, Listener, Probe, Status, Worker};

/// Columns are two spaces apart; those whose heading begins with a space have numbers.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..heading.len())
        .map(|at| {
            let cells = rows.iter().map(|row| row[at].chars().count());
            cells
                .chain([heading[at].trim().chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<&str>| -> String {
        let cells = cells.into_iter().zip(&widths).zip(heading);
        let padded = cells.map(|((cell, &width), heading)| {
            if heading.starts_with(' ') {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    let mut text = line(heading.iter().map(|cell| cell.trim()).collect());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}

/// `ringway status`
pub(super) fn status(status: &Status) -> String {
    let listeners: Vec<_> = status.listeners.iter().map(listener).collect();
    let workers: Vec<_> = status.workers.iter().map(worker).collect();
    [
        heading(status),
        table(
            &[
                "LISTENER",
                " CONNECTIONS",
                " ACCEPTED",
                " REJECTED",
                "ADDRESSES",
            ],
            &listeners,
        ),
        backends(status),
        table(
            &[
                " WORKER",
                " CPU",
                " CONNECTIONS",
                " ACCEPTED",
                " BUSY",
                " UP",
                " DOWN",
            ],
            &workers,
        ),
    ]
    .join("\n")
}

/// The first line of status and top.
pub(super) fn heading(status: &Status) -> String {
    format!(
        "ringway {}, up {}, {}, {} connections\n",
        status.version,
        duration(status.uptime_seconds),
        status.phase,
        status.connections
    )
}

fn listener(it: &Listener) -> Vec<String> {
    vec![
        it.name.clone(),
        it.connections.to_string(),
        it.accepted_total.to_string(),
        it.rejected_total.to_string(),
        it.addresses.join(" "),
    ]
}

fn backends(status: &Status) -> String {
    let row = |(upstream, it): (&str, &super::seen::Backend)| {
        vec![
            upstream.to_owned(),
            it.name.clone(),
            admin(&it.admin, it.leaving),
            it.health.clone(),
            it.weight.to_string(),
            it.connections.to_string(),
            it.connections_total.to_string(),
            it.connect_failures_total.to_string(),
            bytes(number(it.bytes_up)),
            bytes(number(it.bytes_down)),
            it.probe.as_ref().map_or("-", Probe::summary).to_owned(),
        ]
    };
    let rows: Vec<_> = status.backends().map(row).collect();
    let backends = table(
        &[
            "UPSTREAM",
            "BACKEND",
            "ADMIN",
            "HEALTH",
            " WEIGHT",
            " CONNECTIONS",
            " TOTAL",
            " FAILED",
            " UP",
            " DOWN",
            "PROBE",
        ],
        &rows,
    );
    match by_admin(status) {
        changed if changed.is_empty() => backends,
        changed => format!("{backends}\nby an admin, and not in the file: {changed}\n"),
    }
}

/// What an admin has changed: `feed/b weight, feed/c removed`.
fn by_admin(status: &Status) -> String {
    let changed = status.backends().flat_map(|(upstream, it)| {
        let changes = it.changed_by_admin.iter();
        changes.map(move |change| format!("{upstream}/{} {change}", it.name))
    });
    let removed = status.upstreams.iter().flat_map(|upstream| {
        let names = upstream.removed_by_admin.iter();
        names.map(|name| format!("{}/{name} removed", upstream.name))
    });
    changed.chain(removed).collect::<Vec<_>>().join(", ")
}

/// What is wanted of a backend, and how far its connections are on their way out.
pub(super) fn admin(state: &str, leaving: Option<Leaving>) -> String {
    leaving.map_or_else(
        || state.to_owned(),
        |it| {
            let left = duration(it.seconds_left);
            format!("{state} (of {}, {left} left)", it.connections_at_first)
        },
    )
}

fn worker(it: &Worker) -> Vec<String> {
    vec![
        it.id.to_string(),
        it.cpu.to_string(),
        it.connections.to_string(),
        it.accepted_total.to_string(),
        percent(it.busy_ratio),
        bytes(number(it.bytes_up)),
        bytes(number(it.bytes_down)),
    ]
}

/// A share of 1.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Three digits and a unit.
pub(super) fn bytes(count: f64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut count, mut unit) = (count, 0);
    while count >= 999.5 && unit + 1 < UNITS.len() {
        count /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && count < 99.95);
    format!("{count:.digits$} {}", UNITS[unit])
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// The two largest units.
fn duration(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let whole = whole.as_secs();
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, ..) => format!("{hours}h {minutes}m"),
        (..) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [("a", "1"), ("longer", "23")];
        let rows = rows.map(|(name, count)| vec![name.to_owned(), count.to_owned()]);
        let expected = "NAME    COUNT\na           1\nlonger     23\n";
        assert_eq!(table(&["NAME", " COUNT"], &rows), expected);
    }

    #[test]
    fn a_backend_whose_connections_leave_says_how_many_and_how_long_that_takes() {
        let leaving = Leaving {
            connections_at_first: 1200,
            seconds_left: 123.4,
        };
        let shown = [Some(leaving), None].map(|leaving| admin("drain", leaving));
        assert_eq!(shown, ["drain (of 1200, 2m 3s left)", "drain"]);
    }

    #[test]
    fn amounts_have_three_digits_and_times_two_units() {
        let shown = [0.0, 999.0, 1000.0, 12_345.0, 999_960.0, 1.5e9].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "12.3 kB", "1.0 MB", "1.5 GB"]
        );
        let shown = [0.4, 61.0, 3661.0, 90_000.0].map(duration);
        assert_eq!(shown, ["0s", "1m 1s", "1h 1m", "1d 1h"]);
    }
}
