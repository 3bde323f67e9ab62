//! How others reach a worker: a queue and a bell. Control posts here, and workers that hand connections over. The
//! worker looks when the bell rang, between other completions.
//!
//! A queue behind a lock and not a lock-free channel, because it must be possible to close it: whoever posts to a
//! worker that has ended gets the messages back, so that no connection is ever in a queue that nobody empties. The
//! lock is held for a few instructions, once per turn and destination, never per message of a stream.

use super::ask::Question;
use super::handover::Arrival;
use crate::conn::Cause;
use crate::ring::{Sock, SockRef};
use crate::upstream::{Member, Snapshot};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is asked of a worker.
#[derive(Debug)]
pub enum Message {
    /// Take no more clients; end the open connections evenly `over` this long, and what is left at the `deadline`.
    Drain {
        /// The span.
        over: Duration,
        /// From now.
        deadline: Duration,
    },
    /// The same, but stay and wait to be told to [resume](Self::Resume), or to end after all.
    Pause {
        /// The span.
        over: Duration,
        /// From now.
        deadline: Duration,
    },
    /// Take clients again, whatever was said before but an end that is over.
    Resume {
        /// Its sockets.
        ears: Vec<Ear>,
    },
    /// Somebody wants to know something.
    Ask(Question),
    /// End the connections of a backend evenly `over` this long. What an operator wanted of them before is forgotten.
    Evict {
        /// Which.
        backend: Arc<Member>,
        /// The span.
        over: Duration,
        /// Why: it is what their outcome says.
        cause: Cause,
    },
    /// Let the connections of a backend stay after all that an operator wanted to leave.
    Spare {
        /// Which.
        backend: Arc<Member>,
    },
    /// Go by this from now on. What began under what was before goes on by that.
    Follow(Box<Order>),
    /// Take over a client that another worker accepted. Its place among the limits is taken, and the board counts it
    /// as this worker's.
    Adopt(Arrival),
    /// Count this: whoever asks wants to see that the worker turns.
    Ping,
    /// Another process has stopped accepting from the same sockets: look who waits in them. The kernel wakes one of those
    /// who accept for each client, and may have woken the one that was just about to stop.
    AcceptAgain,
}

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Ear {
    /// Which of the process's addresses it listens at: a number that control gives, the same in every worker, and to no
    /// other address ever after.
    pub door: usize,
    /// Its listener's number.
    pub listener: u16,
    /// The socket.
    pub sock: Sock,
}

/// What a worker goes by from now on, and where it listens.
#[derive(Debug)]
pub struct Order {
    /// One more than the one before.
    pub version: u64,
    /// Its own copy.
    pub snapshot: Snapshot,
    /// Of each door that stays: the number of the listener that it belongs to now. The sockets of others are closed.
    pub doors: BTreeMap<usize, u16>,
    /// Sockets of further doors.
    pub added: Vec<Ear>,
}

/// What both ends share. Bounded by those who post: control a few, and each adopted client has a place of the limits.
#[derive(Debug)]
enum Queue {
    Open(Vec<Message>),
    /// The worker has ended, or is about to.
    Closed,
}

/// The worker's end.
#[derive(Debug)]
pub struct Mailbox {
    queue: Arc<Mutex<Queue>>,
    heard: SockRef,
    /// Keeps the descriptor open for as long as the worker may poll it.
    bell: Bell,
}

/// The other end, for any number of threads.
#[derive(Clone, Debug)]
pub struct Post {
    queue: Arc<Mutex<Queue>>,
    bell: Bell,
}

/// What wakes the worker.
#[derive(Clone, Debug)]
enum Bell {
    Event(Arc<EventFd>),
    /// Rings when the simulated world that looks at this is told so.
    Simulated(Arc<AtomicBool>),
}

impl Mailbox {
    /// Both ends.
    ///
    /// # Errors
    /// When no descriptor is free for the bell.
    pub fn new() -> io::Result<(Post, Self)> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = EventFd::from_value_and_flags(0, flags)?;
        let heard = SockRef::of(&bell);
        Ok(Self::with(Bell::Event(Arc::new(bell)), heard))
    }

    /// Both ends, with a bell that a simulated world rings: [`Post::take_ring`] says when.
    pub fn simulated(bell: SockRef) -> (Post, Self) {
        Self::with(Bell::Simulated(Arc::default()), bell)
    }

    fn with(bell: Bell, heard: SockRef) -> (Post, Self) {
        let queue = Arc::new(Mutex::new(Queue::Open(Vec::new())));
        let post = Post {
            queue: Arc::clone(&queue),
            bell: bell.clone(),
        };
        (post, Self { queue, heard, bell })
    }

    pub(super) fn bell(&self) -> SockRef {
        self.heard
    }

    /// Takes every message out, in order, into `mail`, which is empty: its capacity goes to the queue.
    pub(super) fn take(&self, mail: &mut Vec<Message>) {
        if let Queue::Open(messages) = &mut *lock(&self.queue) {
            std::mem::swap(messages, mail);
        }
    }

    /// Takes no message from here on; those that are there.
    pub(super) fn close(&self) -> Vec<Message> {
        match std::mem::replace(&mut *lock(&self.queue), Queue::Closed) {
            Queue::Open(messages) => messages,
            Queue::Closed => Vec::new(),
        }
    }
}

impl Drop for Mailbox {
    /// A worker that ends in order has closed it before. One that could not start has not, and others may have handed
    /// clients over to it meanwhile: these are closed, and the process is about to end.
    fn drop(&mut self) {
        for message in self.close() {
            match message {
                Message::Drain { .. }
                | Message::Pause { .. }
                | Message::Evict { .. }
                | Message::Spare { .. }
                | Message::Ping
                | Message::AcceptAgain
                | Message::Ask(_) => {}
                Message::Resume { ears } => {
                    let ears = ears.into_iter();
                    ears.for_each(|ear| self.bell.close(ear.sock));
                }
                Message::Follow(order) => {
                    let added = order.added.into_iter();
                    added.for_each(|ear| self.bell.close(ear.sock));
                }
                Message::Adopt(arrival) => self.bell.close(arrival.sock),
            }
        }
    }
}

impl Post {
    /// Puts a message into the mailbox and rings. A worker that is gone hears nothing.
    pub fn post(&self, message: Message) {
        self.post_all(&mut vec![message]);
    }

    /// Asks the worker to count a [`Message::Ping`]. `false` when it has ended, and never will.
    pub fn ping(&self) -> bool {
        self.post_all(&mut vec![Message::Ping])
    }

    /// Puts messages into the mailbox, in order, and rings once. `false`, and they stay, when the worker has ended.
    pub(super) fn post_all(&self, messages: &mut Vec<Message>) -> bool {
        let unheard = match &mut *lock(&self.queue) {
            Queue::Open(waiting) => {
                let unheard = !waiting.is_empty();
                waiting.append(messages);
                unheard
            }
            Queue::Closed => return false,
        };
        // Who put the first of those that wait has rung or is about to, and all are taken at once.
        if !unheard {
            self.bell.ring();
        }
        true
    }

    /// Whether the simulated bell has to ring now; asked once for each ring.
    pub fn take_ring(&self) -> bool {
        match &self.bell {
            Bell::Event(_) => false,
            Bell::Simulated(rung) => rung.swap(false, Ordering::Relaxed),
        }
    }
}

impl Bell {
    /// Closes a socket of the world that it rings in.
    fn close(&self, sock: Sock) {
        match self {
            Self::Event(_) => drop(sock.into_fd()),
            Self::Simulated(_) => {
                sock.into_simulated();
            }
        }
    }

    fn ring(&self) {
        match self {
            // Nobody reads the count: each write wakes the worker's multishot poll, which is all that is wanted.
            // Fails only when 2^64 - 2 rings went unheard.
            Self::Event(bell) => drop(bell.write(1)),
            Self::Simulated(rung) => rung.store(true, Ordering::Relaxed),
        }
    }
}

/// A panic ends the process; in tests, where it does not, the queue is whole all the same.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Sock, Time};
    use std::io::Read;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    const DRAIN: Message = Message::Drain {
        over: Duration::ZERO,
        deadline: Duration::ZERO,
    };

    fn simulated() -> (Post, Mailbox) {
        Mailbox::simulated(SockRef::simulated(3))
    }

    fn adopt(sock: Sock) -> Message {
        Message::Adopt(Arrival {
            version: 0,
            listener: 0,
            sock,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            at: Time::default(),
            counted: false,
        })
    }

    #[test]
    fn many_messages_ring_once_until_they_are_taken() {
        let (post, mailbox) = simulated();
        assert!(post.post_all(&mut vec![DRAIN, DRAIN]));
        assert!(post.take_ring() && !post.take_ring());
        post.post(DRAIN);
        assert!(!post.take_ring(), "a ring is still unheard");
        let mut mail = Vec::new();
        mailbox.take(&mut mail);
        assert_eq!(mail.len(), 3);
        post.post(DRAIN);
        assert!(post.take_ring());
    }

    #[test]
    fn a_closed_mailbox_gives_everything_back() {
        let (post, mailbox) = simulated();
        post.post(DRAIN);
        assert_eq!(mailbox.close().len(), 1);
        let mut late = vec![DRAIN, DRAIN];
        assert!(!post.post_all(&mut late));
        assert_eq!(late.len(), 2);
        assert!(mailbox.close().is_empty());
    }

    #[test]
    fn a_mailbox_that_is_dropped_closes_the_clients_inside() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let (post, mailbox) = Mailbox::new().unwrap();
        post.post(adopt(OwnedFd::from(accepted).into()));
        drop(mailbox);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "FIN");
    }
}
