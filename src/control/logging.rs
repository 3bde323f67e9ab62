//! The program's own log: tracing events to standard error, as text or JSON. How connections ended is the access log's.

use crate::config::{Format, Log};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// Begins to log. The first call wins: tests run several proxies in one process.
pub(super) fn start(log: &Log) {
    let colours = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_writer(|| Impatient)
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
