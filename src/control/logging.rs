//! The program's own log: tracing events to standard error, as text or JSON. How connections ended is the access log's.

use crate::config::{Format, Log};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

/// Changes which messages are written. Set when the log begins.
static LEVEL: OnceLock<Handle<LevelFilter, Registry>> = OnceLock::new();

/// Begins to log. The first call wins: tests run several proxies in one process.
pub(super) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Impatient)
        .with_target(false)
        // A line that cannot be written is lost. Told of by eprintln!, as by default, it would end the process: that
        // panics when standard error is gone.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let (level, handle) = reload::Layer::new(LevelFilter::from(log.level));
    let registry = tracing_subscriber::registry().with(level);
    // Fails only when a log was begun before, which then serves.
    let begun = match log.format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    if begun.is_ok() {
        LEVEL.get_or_init(|| handle);
    }
}

/// From now on writes messages of this level and more important ones.
pub(super) fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get() {
        // Fails only when the log is gone, which ends with the process.
        let _ = handle.reload(LevelFilter::from(level));
    }
}

/// Standard error, which loses a line rather than wait for a reader that stands still: the thread that would wait is
/// the one that answers signals. A pipe with room for anything has room for a page (pipe(7)), more than a line.
struct Impatient;

impl Write for Impatient {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut room, PollTimeout::ZERO) {
            Ok(0) => Ok(line.len()),
            Ok(_) | Err(_) => stderr.lock().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
