//! One line for each connection that ended (and, where it is wanted, for those that stay open), written by a thread of its own, so that a slow disk or a stopped reader of
//! standard error holds up nothing but the log. What does not fit its queue is dropped and counted by the worker.

use crate::config::{Access, Format, Log};
use crate::conn::Summary;
use crate::ring::Time;
use crate::worker::{Journal, Record};
use serde::Serialize;
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// Records that may wait: a sixth of a second at 50,000 endings a second, for a MiB and a half.
const QUEUE: usize = 8192;

/// The log's writer. Ends, after its last line, when every worker's journal is gone.
pub(super) struct AccessLog {
    pub(super) journal: Journal,
    thread: JoinHandle<()>,
    next: Next,
    /// Hangs up when the thread has ended.
    ended: Receiver<()>,
}

/// Where lines go, and how they look. Opened, and not yet in use.
pub(super) struct Sink {
    out: Box<dyn Write + Send>,
    format: Format,
    is_on: bool,
}

/// Where lines are to go instead, from the next one on.
type Next = Arc<Mutex<Option<Sink>>>;

/// How long the process waits at its end for a log that takes no line.
const LAST_LINES: Duration = Duration::from_secs(1);

impl AccessLog {
    /// Opens the log and starts its thread.
    pub(super) fn start(log: &Log) -> Result<Self, String> {
        let sink = Sink::open(log)?;
        let (send, receive) = sync_channel(QUEUE);
        let journal = Journal::into(send);
        journal.switch(sink.is_on);
        let next = Next::default();
        let taken = Arc::clone(&next);
        let (hangs_up, ended) = sync_channel(0);
        let thread = thread::Builder::new().name("access-log".into());
        let thread = thread.spawn(move || {
            write_all(&receive, sink, &taken);
            drop(hangs_up);
        });
        Ok(Self {
            journal,
            thread: thread.map_err(|e| format!("cannot start the access log's thread: {e}"))?,
            next,
            ended,
        })
    }

    /// Goes on in another one, from the next line on. The same file opened anew is another one after a rotation.
    pub(super) fn switch(&self, sink: Sink) {
        self.journal.switch(sink.is_on);
        *lock(&self.next) = Some(sink);
    }

    /// Waits for the last line; not for long, when its reader stands still.
    pub(super) fn finish(self) {
        drop(self.journal);
        match self.ended.recv_timeout(LAST_LINES) {
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.thread.join();
                ended.expect("the log's thread does not panic");
            }
            Ok(()) | Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the access log takes no more lines: its last ones are lost");
            }
        }
    }
}

/// Held for a moment by either thread; what is inside is whole whatever became of the other.
fn lock(next: &Mutex<Option<Sink>>) -> MutexGuard<'_, Option<Sink>> {
    next.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// When it cannot be opened: which key, why, and what to do.
    pub(super) fn open(log: &Log) -> Result<Self, String> {
        let out: Box<dyn Write + Send> = match &log.access {
            Access::Off => Box::new(io::sink()),
            Access::Stderr => Box::new(own(io::stderr().as_fd())?),
            Access::Stdout => Box::new(own(io::stdout().as_fd())?),
            Access::File(path) => Box::new(file(path)?),
        };
        Ok(Self {
            out,
            format: log.format,
            is_on: log.access != Access::Off,
        })
    }
}

fn file(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|e| {
        let path = path.display();
        format!(
            "log.access: cannot open {path}: {e}; create its directory and let this user write there"
        )
    })
}

/// A descriptor of its own: this thread may stand still in a write, and would do so with std's lock of the stream.
fn own(stream: BorrowedFd<'_>) -> Result<File, String> {
    let fd = stream.try_clone_to_owned();
    let fd = fd.map_err(|e| format!("log.access: cannot open the stream: {e}"))?;
    Ok(File::from(fd))
}

/// Writes what comes; flushes when nothing more waits, so that lines are batched under load and prompt without.
fn write_all(records: &Receiver<Record>, first: Sink, next: &Mutex<Option<Sink>>) {
    let (mut out, mut format) = (BufWriter::new(first.out), first.format);
    while let Ok(first) = records.recv() {
        if let Some(next) = lock(next).take() {
            (out, format) = (BufWriter::new(next.out), next.format);
        }
        let waiting = std::iter::once(first).chain(std::iter::from_fn(|| records.try_recv().ok()));
        let written = waiting
            .take(QUEUE)
            .try_for_each(|record| write_line(&record, &mut out, format));
        if let Err(e) = written.and_then(|()| out.flush()) {
            // The log cannot tell of itself; a full disk may have room again by the next line.
            tracing::error!("cannot write the access log: {e}");
        }
    }
}

fn write_line(record: &Record, out: &mut impl Write, format: Format) -> io::Result<()> {
    let line = Line::of(record, wall_clock(record.ended));
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        }
        Format::Text => line.write_text(out),
    }
}

/// The time of day at a monotonic time in the recent past.
pub(super) fn wall_clock(at: Time) -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where a record meets the calendar"
    )]
    let now = SystemTime::now();
    now.checked_sub(Time::read_clock().since(at)).unwrap_or(now)
}

/// The keys of the access log. What this version does not know yet is absent from the values, never from the keys.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    id: u64,
    worker: u16,
    listener: &'a str,
    client: String,
    upstream: Option<&'a str>,
    backend: Option<&'a str>,
    host: Option<&'a str>,
    path: Option<&'a str>,
    sni: Option<&'a str>,
    peek_us: Option<u64>,
    connect_us: Option<u64>,
    duration_ms: u64,
    bytes_up: u64,
    bytes_down: u64,
    tries: u8,
    relay: Option<&'static str>,
    end: String,
    code: String,
    errno: Option<String>,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record, time: SystemTime) -> Self {
        let told = record.told.as_deref();
        let peeked = told.map(|told| &told.peeked);
        let summary = &record.summary;
        Self {
            time: humantime::format_rfc3339_millis(time).to_string(),
            id: record.id,
            worker: record.worker,
            listener: &record.listener.name,
            client: record.client.to_string(),
            upstream: record.upstream.as_deref(),
            backend: record.backend.as_ref().map(|backend| backend.name()),
            host: peeked.and_then(|peeked| peeked.host.as_deref()),
            path: peeked.and_then(|peeked| peeked.path.as_deref()),
            sni: peeked.and_then(|peeked| peeked.sni.as_deref()),
            peek_us: told.map(|told| micros(told.took)),
            connect_us: summary.connect.map(micros),
            duration_ms: micros(record.ended.since(record.started)) / 1000,
            bytes_up: summary.up.total(),
            bytes_down: summary.down.total(),
            tries: summary.tries,
            relay: summary.connect.map(|_| relay_of(summary)),
            end: match record.open {
                Some(phase) => format!("open/{}", phase.word()),
                None => summary.outcome.to_string(),
            },
            code: match record.open {
                Some(_) => "--".to_owned(),
                None => summary.outcome.code(),
            },
            errno: summary.outcome.errno.map(|errno| format!("{errno:?}")),
        }
    }

    /// `key=value` pairs in the order of the keys; an absent value is `-`.
    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let absent = || Cow::Borrowed("-");
        let text = |value: Option<&'a str>| value.map_or_else(absent, quoted);
        let number = |value: Option<u64>| value.map_or_else(absent, |n| n.to_string().into());
        write!(
            out,
            "time={} id={} worker={}",
            self.time, self.id, self.worker
        )?;
        write!(
            out,
            " listener={} client={}",
            quoted(self.listener),
            self.client
        )?;
        write!(
            out,
            " upstream={} backend={}",
            text(self.upstream),
            text(self.backend)
        )?;
        write!(
            out,
            " host={} path={} sni={}",
            text(self.host),
            text(self.path),
            text(self.sni)
        )?;
        write!(
            out,
            " peek_us={} connect_us={}",
            number(self.peek_us),
            number(self.connect_us)
        )?;
        write!(out, " duration_ms={}", self.duration_ms)?;
        write!(
            out,
            " bytes_up={} bytes_down={}",
            self.bytes_up, self.bytes_down
        )?;
        write!(
            out,
            " tries={} relay={}",
            self.tries,
            self.relay.unwrap_or("-")
        )?;
        let errno = self.errno.as_deref().unwrap_or("-");
        writeln!(out, " end={} code={} errno={errno}", self.end, self.code)
    }
}

/// By which engines the bytes of either direction went; one without bytes had been ready to copy.
fn relay_of(summary: &Summary) -> &'static str {
    if summary.tls {
        return "tls";
    }
    let copied = summary.up.copied + summary.down.copied > 0;
    let spliced = summary.up.spliced + summary.down.spliced > 0;
    match (copied, spliced) {
        (_, false) => "copy",
        (false, true) => "splice",
        (true, true) => "copy+splice",
    }
}

/// A value that one could not tell from its neighbours gets quotes, as in JSON.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    serde_json::Value::from(text).to_string().into()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Backend, Listener, Upstream};
    use crate::conn::{Cause, Outcome, Phase};
    use crate::relay::Moved;
    use crate::ring::Errno;
    use crate::upstream::Live;
    use std::sync::Arc;

    fn record() -> Record {
        let backend = Backend::new("127.0.0.1:8".parse().unwrap());
        let upstream = Upstream::new("feed".into(), vec![backend]);
        let live = Live::new(&"feed".into(), &upstream);
        let listener = Listener::new("my feed".into(), vec!["127.0.0.1:9".parse().unwrap()], 0);
        Record {
            id: 7,
            worker: 1,
            listener: Arc::new(listener),
            client: "10.0.0.7:5312".parse().unwrap(),
            started: Time::from_nanos(1_000_000_000),
            ended: Time::from_nanos(1_412_345_678),
            upstream: Some("feed".into()),
            backend: Some(Arc::clone(live.member(0))),
            told: None,
            summary: Summary {
                outcome: Outcome {
                    cause: Cause::BackendReset,
                    phase: Phase::Relaying,
                    errno: Some(Errno::ECONNRESET),
                },
                tries: 1,
                connect: Some(Duration::from_micros(112)),
                tls: false,
                up: Moved {
                    copied: 980,
                    ..Moved::default()
                },
                down: Moved {
                    copied: 65_536,
                    ..Moved::default()
                },
            },
            open: None,
        }
    }

    #[test]
    fn a_text_line_has_every_key_of_the_contract_in_order() {
        let mut out = Vec::new();
        Line::of(&record(), SystemTime::UNIX_EPOCH)
            .write_text(&mut out)
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "time=1970-01-01T00:00:00.000Z id=7 worker=1 listener=\"my feed\" client=10.0.0.7:5312 \
             upstream=feed backend=127.0.0.1:8 host=- path=- sni=- peek_us=- connect_us=112 \
             duration_ms=412 bytes_up=980 bytes_down=65536 tries=1 relay=copy \
             end=backend-reset/relaying code=SD errno=ECONNRESET\n"
        );
    }

    #[test]
    fn a_connection_that_is_open_says_where_it_stands_and_not_why_it_ended() {
        let mut out = Vec::new();
        let open = Record {
            open: Some(Phase::HalfClosed),
            ..record()
        };
        write_line(&open, &mut out, Format::Json).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&line["end"], &line["code"], &line["bytes_up"]),
            (&"open/half-closed".into(), &"--".into(), &980.into())
        );
    }

    #[test]
    fn a_json_line_has_the_same_keys() {
        let mut out = Vec::new();
        write_line(&record(), &mut out, Format::Json).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&line["listener"], &line["bytes_down"]),
            (&"my feed".into(), &65_536.into())
        );
        assert_eq!(line["host"], serde_json::Value::Null);
        assert_eq!(line.as_object().unwrap().len(), 20);
    }

    #[test]
    fn a_value_with_a_space_or_a_quote_is_quoted() {
        assert_eq!(quoted("plain-1.2:3"), "plain-1.2:3");
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("a\"b\n"), "\"a\\\"b\\n\"");
        assert_eq!(quoted(""), "\"\"");
    }
}
