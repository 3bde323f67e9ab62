//! The program's own log: tracing events to standard error, as text or JSON. How connections ended is the access log's.

use crate::config::{Format, Log};
use std::io::IsTerminal;

/// Begins to log. The first call wins: tests run several proxies in one process.
pub(super) fn start(log: &Log) {
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(log.level)
        .with_target(false)
        // A line that cannot be written is lost. Told of by eprintln!, as by default, it would end the process: that
        // panics when standard error is gone.
        .log_internal_errors(false)
        .with_ansi(colours);
    // Fails only when a log was begun before, which then serves.
    let _ = match log.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
