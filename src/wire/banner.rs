//! What a probe says to a backend and what it has to hear, by protocol: as far as a backend can be heard to live without
//! logging in. `docs/probes.md` tells operators the same, type by type.
//!
//! A [`Script`] is made once and used for every probe. [`Script::begin`] gives a [`Dialogue`], which is told what
//! arrives and answers with what to do: wait, say something, be content, or give up for a [`Reason`].
//!
//! ```
//! use ringway::wire::banner::{Script, Verdict};
//! let mut dialogue = Script::Pop3.begin([0; 16]);
//! assert_eq!(dialogue.on_connected(), Verdict::More);
//! assert_eq!(dialogue.feed(b"+OK ready"), Verdict::More);
//! assert_eq!(dialogue.feed(b".\r\n"), Verdict::Passed);
//! ```

mod http;
mod lines;
mod mysql;
mod pgsql;
mod reason;
mod smtp;
mod tls;
mod websocket;

pub use http::{BadStatuses, Statuses, request as http_request};
pub use reason::Reason;
pub use tls::alert;

use std::borrow::Cow;

/// The most that is read of one backend in one probe, in bytes. What has not convinced by then never will.
pub const BYTES_MAX: usize = 64 * 1024;

/// A kind of probe, with all it takes to run it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Script {
    /// A connection is enough.
    Tcp,
    /// An HTTP/1 request, whose status counts.
    Http {
        /// Head and body, as sent.
        request: Vec<u8>,
        /// What passes.
        expect: Vec<Statuses>,
    },
    /// A TLS ClientHello, which a ServerHello has to answer.
    SslHello {
        /// The record, as sent.
        hello: Vec<u8>,
    },
    /// The greeting, and the answer to EHLO or HELO.
    Smtp,
    /// The greeting of protocol 10.
    Mysql,
    /// The greeting.
    Pop3,
    /// The greeting.
    Imap,
    /// A startup packet, which is answered by a demand for a password, or by any word on who may log in.
    Pgsql,
    /// PING.
    Redis,
    /// An upgrade to WebSocket.
    WebSocket {
        /// The request's target.
        path: String,
        /// The request's Host.
        host: String,
        /// What the message has to contain that follows by itself, as on a feed; none has to when empty.
        expect: Vec<u8>,
    },
    /// Bytes to send, and bytes that the answer has to contain.
    SendExpect {
        /// Nothing is sent when empty.
        send: Vec<u8>,
        /// Any byte will do when empty.
        expect: Vec<u8>,
    },
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// Wait for more bytes.
    More,
    /// Send this, then wait.
    Say(Cow<'a, [u8]>),
    /// The backend is well.
    Passed,
    /// It is not.
    Failed(Reason),
}

/// How to leave a backend that has spoken, so that its log does not fill with connections that broke off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Farewell {
    /// Reset: nothing was said, and no port is kept busy (TIME_WAIT).
    Reset,
    /// Say this, then FIN.
    Fin(&'static [u8]),
    /// Say this. The backend closes by itself, and first.
    Leave(&'static [u8]),
}

impl Script {
    /// Begins a probe. Of all scripts, only WebSocket's uses the `nonce`, which has to be random.
    pub fn begin(&self, nonce: [u8; 16]) -> Dialogue<'_> {
        let awaits = match self {
            Self::Tcp => Awaits::Nothing,
            Self::Http { expect, .. } => Awaits::Status(expect),
            Self::SslHello { .. } => Awaits::ServerHello,
            Self::Smtp => Awaits::Smtp(smtp::Stage::Greeting),
            Self::Mysql => Awaits::Mysql,
            Self::Pop3 => Awaits::Pop3,
            Self::Imap => Awaits::Imap,
            Self::Pgsql => Awaits::Pgsql,
            Self::Redis => Awaits::Pong,
            Self::WebSocket { expect, .. } => Awaits::Upgrade {
                key: websocket::key(nonce),
                expect,
            },
            Self::SendExpect { expect, .. } => Awaits::Bytes {
                wanted: expect,
                searched: 0,
            },
        };
        Dialogue {
            script: self,
            awaits,
            received: Vec::new(),
        }
    }

    /// How to leave when there is a verdict.
    pub fn farewell(&self) -> Farewell {
        match self {
            Self::Tcp => Farewell::Reset,
            Self::Http { .. } => Farewell::Leave(b""),
            Self::SslHello { .. } => Farewell::Fin(tls::CLOSE_NOTIFY),
            Self::Smtp | Self::Pop3 | Self::Redis => Farewell::Leave(b"QUIT\r\n"),
            Self::Imap => Farewell::Leave(b"a LOGOUT\r\n"),
            Self::Mysql | Self::Pgsql | Self::SendExpect { .. } => Farewell::Fin(b""),
            Self::WebSocket { .. } => Farewell::Leave(websocket::CLOSE),
        }
    }

    /// The word of the configuration.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http { .. } => "http",
            Self::SslHello { .. } => "ssl_hello",
            Self::Smtp => "smtp",
            Self::Mysql => "mysql",
            Self::Pop3 => "pop3",
            Self::Imap => "imap",
            Self::Pgsql => "pgsql",
            Self::Redis => "redis",
            Self::WebSocket { .. } => "websocket",
            Self::SendExpect { .. } => "send_expect",
        }
    }
}

/// One probe's talk with a backend: [`on_connected`](Self::on_connected) first, then [`feed`](Self::feed) with whatever
/// arrives until there is a verdict, or [`on_end`](Self::on_end) when nothing more will.
#[derive(Clone, Debug)]
pub struct Dialogue<'a> {
    script: &'a Script,
    awaits: Awaits<'a>,
    received: Vec<u8>,
}

/// What the next bytes should be.
#[derive(Clone, Debug)]
enum Awaits<'a> {
    Nothing,
    Status(&'a [Statuses]),
    ServerHello,
    Smtp(smtp::Stage),
    Mysql,
    Pop3,
    Imap,
    Pgsql,
    Pong,
    /// The reply to an upgrade with this key.
    Upgrade {
        key: websocket::Key,
        expect: &'a [u8],
    },
    /// Frames of a WebSocket; the first of them are first in `received`. What the message has to contain.
    Message(&'a [u8]),
    Bytes {
        wanted: &'a [u8],
        /// So many bytes were looked at before.
        searched: usize,
    },
}

impl<'a> Dialogue<'a> {
    /// The connection stands: what to say first, or at once the verdict.
    pub fn on_connected(&self) -> Verdict<'a> {
        match (self.script, &self.awaits) {
            (Script::Tcp, _) => Verdict::Passed,
            (Script::Http { request, .. }, _) => Verdict::Say(request.into()),
            (Script::SslHello { hello }, _) => Verdict::Say(hello.into()),
            (Script::Pgsql, _) => Verdict::Say(pgsql::STARTUP.into()),
            (Script::Redis, _) => Verdict::Say(lines::PING.into()),
            (Script::WebSocket { path, host, .. }, Awaits::Upgrade { key, .. }) => {
                Verdict::Say(websocket::request(path, host, key).into())
            }
            (Script::SendExpect { send, .. }, _) if !send.is_empty() => Verdict::Say(send.into()),
            (Script::SendExpect { .. } | Script::WebSocket { .. }, _)
            | (Script::Smtp | Script::Mysql | Script::Pop3 | Script::Imap, _) => Verdict::More,
        }
    }

    /// The next bytes of the backend, cut as the network likes. Not to be called after a verdict.
    pub fn feed(&mut self, bytes: &[u8]) -> Verdict<'a> {
        let room = BYTES_MAX - self.received.len();
        let taken = bytes.len().min(room);
        self.received.extend_from_slice(&bytes[..taken]);
        let verdict = self.judge();
        if verdict == Verdict::More && taken == room {
            return Verdict::Failed("reply too large".into());
        }
        verdict
    }

    /// The backend closed before there was a verdict.
    pub fn on_end(&self) -> Reason {
        match (&self.awaits, self.received.is_empty()) {
            (Awaits::Smtp(stage), true) => stage.closed(),
            (Awaits::Message(_), _) => "closed without the expected message".into(),
            (Awaits::Bytes { .. }, false) => "closed without the expected bytes".into(),
            (_, true) => "closed without a reply".into(),
            (_, false) => "closed in mid-reply".into(),
        }
    }

    fn judge(&mut self) -> Verdict<'a> {
        let bytes = &self.received;
        match &mut self.awaits {
            Awaits::Nothing => Verdict::Passed,
            Awaits::Status(expect) => http::judge(bytes, expect),
            Awaits::ServerHello => tls::judge(bytes),
            Awaits::Smtp(stage) => stage.judge(&mut self.received),
            Awaits::Mysql => mysql::judge(bytes),
            Awaits::Pop3 => lines::judge_pop3(bytes),
            Awaits::Imap => lines::judge_imap(bytes),
            Awaits::Pgsql => pgsql::judge(bytes),
            Awaits::Pong => lines::judge_redis(bytes),
            Awaits::Upgrade { key, expect } => match websocket::accepted(bytes, key) {
                Err(reason) => Verdict::Failed(reason),
                Ok(None) => Verdict::More,
                Ok(Some(_)) if expect.is_empty() => Verdict::Passed,
                Ok(Some(head)) => {
                    self.received.drain(..head);
                    let expect = *expect;
                    self.awaits = Awaits::Message(expect);
                    websocket::judge_frames(&mut self.received, expect)
                }
            },
            Awaits::Message(expect) => websocket::judge_frames(&mut self.received, expect),
            Awaits::Bytes { wanted, searched } => judge_bytes(bytes, wanted, searched),
        }
    }
}

/// Looks at each byte once, however they come.
fn judge_bytes<'a>(bytes: &[u8], wanted: &[u8], searched: &mut usize) -> Verdict<'a> {
    let from = searched.saturating_sub(wanted.len().saturating_sub(1));
    *searched = bytes.len();
    let found = match wanted {
        [] => !bytes.is_empty(),
        _ => bytes[from..].windows(wanted.len()).any(|at| at == wanted),
    };
    if found {
        Verdict::Passed
    } else {
        Verdict::More
    }
}

#[cfg(test)]
mod tests;
