//! What somebody may ask of the running proxy. Signals and the admin address send the same commands, and one loop
//! (`serve`) carries them out one after the other, so that no two changes meet half way.

use crate::config::{AdminState, Backend};
use std::fmt;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Take no more clients and end the open connections; stay.
    Drain,
    /// Take clients again.
    Undrain,
    /// Read the configuration again.
    Reload,
    /// Say what is wanted of a backend.
    SetState {
        /// Which one.
        backend: BackendName,
        /// What is wanted.
        state: AdminState,
        /// Its connections are to leave within so long; if not given, they stay.
        over: Option<Duration>,
    },
    /// Give a backend another share.
    SetWeight {
        /// Which one.
        backend: BackendName,
        /// 1 to 256.
        weight: u16,
    },
    /// Add a backend.
    AddBackend {
        /// The name of its upstream.
        upstream: String,
        /// What the file would say.
        backend: Backend,
    },
    /// Take a backend away.
    RemoveBackend {
        /// Which one.
        backend: BackendName,
        /// Its connections are to leave within so long; if not given, they stay.
        over: Option<Duration>,
    },
}

/// A backend by the names of its upstream and its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendName {
    /// The upstream's.
    pub upstream: String,
    /// Its own.
    pub backend: String,
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream, self.backend)
    }
}

/// What was done, as a sentence for the one who asked; or why it was not.
pub type Answer = Result<String, Refusal>;

/// Why a command was not carried out, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Whose fault.
    pub kind: Kind,
    /// A sentence.
    pub message: String,
}

/// What kind of a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// There is nothing of that name.
    Unknown,
    /// The command makes no sense.
    Wrong,
    /// Not as things stand.
    Conflict,
    /// The system or the file would not have it.
    Failed,
}

impl Refusal {
    /// One of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A command on its way, and where the answer goes.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The way to the loop. Copies lead to the same one.
#[derive(Clone, Debug)]
pub(super) struct Commands(mpsc::Sender<Asked>);

/// Commands that may wait. Who finds no room waits with its own.
const WAITING_MAX: usize = 16;

/// Both ends.
pub(super) fn channel() -> (Commands, mpsc::Receiver<Asked>) {
    let (send, receive) = mpsc::channel(WAITING_MAX);
    (Commands(send), receive)
}

impl Commands {
    /// Sends a command and waits for the answer.
    pub(super) async fn give(&self, command: Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        let gone = || Refusal::new(Kind::Failed, "the process is about to end");
        self.0
            .send(Asked { command, answer })
            .await
            .map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
