//! The admin address: HTTP over TCP or a Unix socket, on the control thread. `docs/admin.md` tells what it answers.
//!
//! Everything a stranger can do to it has a bound: how many visit at once, how long a head and a body may take and how
//! large they may be, how long a visit lasts. When all places are taken the oldest visitor leaves, so that whoever comes next
//! is answered however many sit there in silence. It reads the proxy through [`View`](super::view::View) and changes it
//! through [commands](super::command) alone.

mod access;
mod change;
mod connections;
mod door;
mod reply;
mod routes;
mod status;
mod upstreams;

use super::Proxy;
use super::command::Commands;
use super::history::History;
use super::passed::Passed;
use super::upgrade;
use crate::config::{self, cli::exit};
use access::{Access, Peer};
use door::{Caller, Door, Listening};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use routes::Desk;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};

/// Visitors at once. A scraper, a page in a few browsers and some verbs are ten.
pub(super) const VISITORS_MAX: usize = 64;

/// How long a request's head may take, and the pause before the next one.
const HEAD: Duration = Duration::from_secs(10);

/// How long a visit lasts before its connection is closed after the next answer. Scrapers come again.
const VISIT: Duration = Duration::from_mins(5);

/// How long a visitor may take to read the last answer.
const FAREWELL: Duration = Duration::from_secs(10);

/// Bytes of a request's head, as a worker allows a client at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The same when another process takes the address over, which waits for it.
const HURRIED_FAREWELL: Duration = Duration::from_secs(1);

/// How long to wait when no descriptor is free for a visitor.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound admin address.
#[derive(Debug)]
pub struct Admin {
    door: Door,
    access: Access,
}

/// Why there is none, and what to do about it.
#[derive(Debug)]
pub enum NoAdmin {
    /// The token cannot be read.
    Token(String),
    /// The address cannot be had.
    Address(String),
}

impl NoAdmin {
    /// Says so; what the process ends with.
    pub(super) fn report(self) -> ExitCode {
        tracing::error!("{self}");
        ExitCode::from(match self {
            Self::Token(_) => exit::CONFIG,
            Self::Address(_) => exit::OS,
        })
    }
}

impl fmt::Display for NoAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Token(message) | Self::Address(message)) = self;
        f.write_str(message)
    }
}

/// What of the files that the configuration names cannot be used: a key and what to do.
pub(super) fn mistakes(config: &config::Config) -> Vec<(String, String)> {
    let token_file = config.admin.iter().filter_map(|it| it.token_file.as_ref());
    let mistakes = token_file.filter_map(|path| access::read_token(path).err());
    mistakes
        .map(|mistake| (access::TOKEN_KEY.to_owned(), mistake))
        .collect()
}

impl Admin {
    /// Binds the address. Nobody is answered yet.
    ///
    /// # Errors
    /// When the token cannot be read, or the address cannot be had.
    pub fn start(config: &config::Admin) -> Result<Self, NoAdmin> {
        Self::start_on(config, &mut Passed::default())
    }

    /// The same, or takes the address over from the process that has it.
    pub(super) fn start_on(config: &config::Admin, passed: &mut Passed) -> Result<Self, NoAdmin> {
        let access = Access::new(config)
            .map_err(|mistake| NoAdmin::Token(format!("{}: {mistake}", access::TOKEN_KEY)))?;
        let door = Door::open(&config.listen, passed, upgrade::takes_over());
        let door = door.map_err(NoAdmin::Address)?;
        Ok(Self { door, access })
    }

    /// A copy of its socket, for another process, and what it is; none of a Unix socket.
    pub(super) fn copy(&self, config: &config::Admin) -> io::Result<Option<(String, OwnedFd)>> {
        self.door.copy(&config.listen)
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> String {
        self.door.to_string()
    }

    /// Answers until it is `relieved` by another process, which has the address from then on. Who was taken before gets its
    /// answer still.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) async fn serve(
        &self,
        proxy: &Proxy,
        history: &History,
        orders: &Commands,
        relieved: &Notify,
    ) {
        let desk = Desk {
            proxy,
            history,
            orders,
            access: &self.access,
        };
        let listening = match self.door.listen() {
            Ok(listening) => listening,
            Err(e) => {
                tracing::error!("the admin address is closed: {e}");
                return relieved.notified().await;
            }
        };
        let mut visits = Visits::default();
        tokio::select! {
            never = visits.receive(&listening, &desk) => match never {},
            () = relieved.notified() => {}
        }
        drop(listening);
        visits.end().await;
    }
}

/// Who is there.
#[derive(Default)]
struct Visits<'a> {
    under_way: FuturesUnordered<LocalBoxFuture<'a, u64>>,
    /// Oldest first, each with the way to have it leave: after its answer if it is told so, at once if the way is gone.
    seats: VecDeque<(u64, oneshot::Sender<()>)>,
    count: u64,
    /// The last visitor could not be taken, which has been said.
    is_deaf: bool,
}

impl<'a> Visits<'a> {
    async fn receive(&mut self, listening: &Listening, desk: &'a Desk<'a>) -> Infallible {
        loop {
            tokio::select! {
                caller = listening.accept() => match caller {
                    Ok(caller) => {
                        self.is_deaf = false;
                        self.seat(caller, desk);
                    }
                    Err(e) => self.on_deaf(&e).await,
                },
                () = self.next(), if !self.under_way.is_empty() => {}
            }
        }
    }

    /// Waits until a visit ends.
    async fn next(&mut self) {
        if let Some(number) = self.under_way.next().await {
            self.seats.retain(|(seat, _)| *seat != number);
        }
    }

    /// Has everybody leave who has an answer, and soon everybody.
    async fn end(&mut self) {
        for (_, leave) in self.seats.drain(..) {
            // Fails for one that has left by itself.
            let _ = leave.send(());
        }
        let all = async { while self.under_way.next().await.is_some() {} };
        let _ = tokio::time::timeout(HURRIED_FAREWELL, all).await;
    }

    /// No descriptor is free: looks again a little later, or when a visitor has left.
    async fn on_deaf(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_deaf, true) {
            tracing::warn!("the admin address cannot take a visitor: {error}");
        }
        self.under_way.push(Box::pin(pause()));
        self.next().await;
    }

    fn seat(&mut self, caller: Caller, desk: &'a Desk<'a>) {
        if self.seats.len() >= VISITORS_MAX {
            // Dropping its end has the oldest one leave.
            self.seats.pop_front();
        }
        self.count += 1;
        let (stay, leave) = oneshot::channel();
        self.seats.push_back((self.count, stay));
        let number = self.count;
        self.under_way.push(match caller {
            Caller::Tcp(stream, peer) => Box::pin(visit(stream, peer, desk, number, leave)),
            Caller::Unix(stream) => Box::pin(visit(stream, Peer::Socket, desk, number, leave)),
        });
    }
}

/// Nobody's number.
async fn pause() -> u64 {
    tokio::time::sleep(PAUSE).await;
    0
}

/// One visitor's connection, from its first request to its end. Whatever goes wrong on it is the visitor's own affair.
async fn visit(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    desk: &Desk<'_>,
    number: u64,
    leave: oneshot::Receiver<()>,
) -> u64 {
    let service = service_fn(async |request| Ok::<_, Infallible>(desk.answer(request, peer).await));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return number,
        in_order = leave => if in_order.is_err() {
            return number;
        },
        () = tokio::time::sleep(VISIT) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(FAREWELL, connection).await;
    number
}
