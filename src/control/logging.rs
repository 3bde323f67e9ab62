//! The program's own log: tracing events to standard error, as text or JSON. How connections ended is the access log's.

use crate::config::{Format, Log};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// The layer that writes lines, as text or JSON, above the one that lets messages through.
type Lines = Box<dyn Layer<Layered<reload::Layer<LevelFilter, Registry>, Registry>> + Send + Sync>;

/// What can be changed of a log that has begun.
struct Handles {
    /// Which messages are written.
    level: Handle<LevelFilter, Registry>,
    /// How they look.
    lines: Handle<Lines, Layered<reload::Layer<LevelFilter, Registry>, Registry>>,
    /// As they look now.
    format: Mutex<Format>,
}

/// Set when the log begins.
static HANDLES: OnceLock<Handles> = OnceLock::new();

/// Begins to log. The first call wins: tests run several proxies in one process.
pub(super) fn start(log: &Log) {
    let (filter, level) = reload::Layer::new(LevelFilter::from(log.level));
    let (written, lines) = reload::Layer::new(lines(log.format));
    // Fails only when a log was begun before, which then serves.
    let begun = tracing_subscriber::registry().with(filter).with(written);
    if begun.try_init().is_ok() {
        HANDLES.get_or_init(|| Handles {
            level,
            lines,
            format: Mutex::new(log.format),
        });
    }
}

/// From now on writes messages of this level and more important ones, and as this format has them.
pub(super) fn follow(log: &Log) {
    let Some(handles) = HANDLES.get() else {
        return;
    };
    // Both fail only when the log is gone, which ends with the process.
    let _ = handles.level.reload(LevelFilter::from(log.level));
    let mut format = handles
        .format
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if *format != log.format {
        *format = log.format;
        let _ = handles.lines.reload(lines(log.format));
    }
}

fn lines(format: Format) -> Lines {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Impatient)
        .with_target(false)
        // A line that cannot be written is lost. Told of by eprintln!, as by default, it would end the process: that
        // panics when standard error is gone.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
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
