//! How control reaches a worker: a queue and a bell. The worker looks when the bell rang, between other completions.

use crate::ring::SockRef;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What control asks of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Take no more clients; end the open connections evenly `over` this long, and what is left at the `deadline`.
    Drain {
        /// The span.
        over: Duration,
        /// From now.
        deadline: Duration,
    },
}

/// The worker's end.
#[derive(Debug)]
pub struct Mailbox {
    queue: Receiver<Message>,
    bell: SockRef,
    /// Keeps the bell's descriptor open for as long as the worker may poll it; a simulated one has none.
    _open: Option<Arc<EventFd>>,
}

/// Control's end.
#[derive(Clone, Debug)]
pub struct Post {
    queue: Sender<Message>,
    bell: Arc<EventFd>,
}

impl Mailbox {
    /// Both ends.
    ///
    /// # Errors
    /// When no descriptor is free for the bell.
    pub fn new() -> io::Result<(Post, Self)> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (send, queue) = channel();
        let heard = SockRef::of(&*bell);
        let mailbox = Self {
            queue,
            bell: heard,
            _open: Some(Arc::clone(&bell)),
        };
        Ok((Post { queue: send, bell }, mailbox))
    }

    /// One whose bell a simulated world rings.
    pub fn simulated(bell: SockRef) -> (Sender<Message>, Self) {
        let (send, queue) = channel();
        (
            send,
            Self {
                queue,
                bell,
                _open: None,
            },
        )
    }

    pub(super) fn bell(&self) -> SockRef {
        self.bell
    }

    pub(super) fn take(&self) -> Option<Message> {
        self.queue.try_recv().ok()
    }
}

impl Post {
    /// Puts a message into the mailbox and rings. A worker that is gone hears nothing.
    pub fn post(&self, message: Message) {
        if self.queue.send(message).is_ok() {
            // Fails only when 2^64 - 2 rings went unheard.
            let _ = self.bell.write(1);
        }
    }
}
