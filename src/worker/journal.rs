//! What a worker tells when a connection ends: one record, handed over without waiting.

use crate::config::Listener;
use crate::conn::{Connection, Phase, Summary, Told};
use crate::ring::Time;
use crate::upstream::Member;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;

/// How one connection went.
#[derive(Clone, Debug)]
pub struct Record {
    /// Unique in this process.
    pub id: u64,
    /// Which worker had it.
    pub worker: u16,
    /// Its listener.
    pub listener: Arc<Listener>,
    /// Where the client connected from.
    pub client: SocketAddr,
    /// When it was accepted.
    pub started: Time,
    /// When it was over.
    pub ended: Time,
    /// The name of the upstream it went to, if that was ever known.
    pub upstream: Option<Arc<str>>,
    /// The backend it was relayed to; for one that never was, the last one tried.
    pub backend: Option<Arc<Member>>,
    /// What it said before it was relayed.
    pub told: Option<Box<Told>>,
    /// Why, and what was moved.
    pub summary: Summary,
    /// Where it stands, if it is told of while it is open: then the summary is what it has come to so far, its outcome says
    /// nothing, and `ended` is now.
    pub open: Option<Phase>,
}

impl Record {
    pub(super) fn new(worker: u16, connection: Connection, summary: Summary, ended: Time) -> Self {
        Self {
            id: connection.id,
            worker,
            listener: Arc::clone(&connection.site.rules),
            client: connection.client,
            started: connection.started,
            ended,
            upstream: connection.upstream().cloned(),
            backend: connection.backend().cloned(),
            told: connection.told,
            summary,
            open: None,
        }
    }

    /// Of a connection that is relayed, and goes on.
    pub(super) fn of_open(worker: u16, connection: &Connection, now: Time) -> Option<Self> {
        let (phase, summary) = connection.so_far()?;
        Some(Self {
            id: connection.id,
            worker,
            listener: Arc::clone(&connection.site.rules),
            client: connection.client,
            started: connection.started,
            ended: now,
            upstream: connection.upstream().cloned(),
            backend: connection.backend().cloned(),
            told: connection.told.clone(),
            summary,
            open: Some(phase),
        })
    }
}

/// Where records go. Bounded; never waits. Copies lead to the same queue and are switched together.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: SyncSender<Record>,
    is_off: Arc<AtomicBool>,
}

impl Journal {
    /// Into a bounded queue that somebody else empties.
    pub fn into(queue: SyncSender<Record>) -> Self {
        Self {
            queue,
            is_off: Arc::default(),
        }
    }

    /// Whether anybody wants records, from now on.
    pub fn switch(&self, on: bool) {
        self.is_off.store(!on, Relaxed);
    }

    /// Hands a record over, if it is wanted. `false` when the queue was full, or its reader gone, and the record is lost.
    pub(super) fn tell(&self, record: Record) -> bool {
        self.is_off.load(Relaxed) || self.queue.try_send(record).is_ok()
    }
}
