//! How it gets there: a pair of sockets, one end of which the next process is born with; on it documents, each after its
//! length. Both ends have a thread for it, so that neither control thread waits for the other process.

use super::deed::Deed;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

/// How long the other process may keep a thread here from writing on, or from the first document.
const PATIENCE: Duration = Duration::from_secs(2);

/// Documents that may wait to be written: at a hand-over three follow at once.
const WAITING_MAX: usize = 4;

/// Far more than a thousand backends take.
const BYTES_MAX: u64 = 64 << 20;

/// The end of the process that goes: what it tells its heir.
#[derive(Debug)]
pub(in crate::control) struct Heir {
    letters: SyncSender<Vec<u8>>,
    thread: JoinHandle<()>,
}

/// The end of the process that comes: what the one before it still tells. The last document that has come.
#[derive(Debug)]
pub(in crate::control) struct Predecessor(pub(in crate::control) watch::Receiver<Deed>);

/// Both ends, the second of which is for the next process.
///
/// # Errors
/// What the system refused: a descriptor, or a thread.
pub(in crate::control) fn pair() -> io::Result<(Heir, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_write_timeout(Some(PATIENCE))?;
    let (letters, queue) = mpsc::sync_channel::<Vec<u8>>(WAITING_MAX);
    let thread = thread::Builder::new().name("heir".into());
    let thread = thread.spawn(move || {
        // It is gone, or hangs: then nobody reads what follows either.
        let _ = queue.iter().try_for_each(|letter| send(&ours, &letter));
    })?;
    Ok((Heir { letters, thread }, theirs))
}

impl Heir {
    /// Tells it, unless it is still reading those before: the next one has everything.
    pub(in crate::control) fn tell(&self, deed: &Deed) {
        match self.letters.try_send(deed.write()) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Tells it the last time, and waits until that is on its way.
    pub(in crate::control) fn tell_last(self, deed: &Deed) {
        // Fails when nobody reads any more.
        let _ = self.letters.send(deed.write());
        drop(self.letters);
        self.thread.join().expect("it only writes");
    }
}

impl Predecessor {
    /// Reads the first document, which is on its way already, and has a thread read those that follow.
    ///
    /// # Errors
    /// When none comes, or it is none.
    pub(in crate::control) fn listen(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (told, latest) = watch::channel(receive(&stream)?);
        stream.set_read_timeout(None)?;
        let thread = thread::Builder::new().name("predecessor".into());
        thread.spawn(move || {
            while let Ok(deed) = receive(&stream) {
                // Fails when nobody wants to know any more.
                if told.send(deed).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self(latest))
    }
}

fn send(mut stream: &UnixStream, letter: &[u8]) -> io::Result<()> {
    stream.write_all(&(letter.len() as u64).to_le_bytes())?;
    stream.write_all(letter)
}

fn receive(mut stream: &UnixStream) -> io::Result<Deed> {
    let mut len = [0; 8];
    stream.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    if len > BYTES_MAX {
        let message = format!("{len} bytes are no such document");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut letter = Vec::new();
    stream.take(len).read_to_end(&mut letter)?;
    Deed::read(&letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(open: u64) -> Deed {
        Deed {
            open,
            ..Deed::default()
        }
    }

    #[test]
    fn the_next_process_hears_the_first_document_and_the_last_one() {
        let (heir, theirs) = pair().unwrap();
        heir.tell(&deed(3));
        let Predecessor(mut latest) = Predecessor::listen(theirs).unwrap();
        assert_eq!(latest.borrow_and_update().open, 3);
        heir.tell_last(&deed(1));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let heard = runtime.unwrap().block_on(async {
            latest.changed().await.expect("another one comes");
            let heard = latest.borrow_and_update().open;
            latest.changed().await.expect_err("it was the last one");
            heard
        });
        assert_eq!(heard, 1);
    }

    #[test]
    fn a_process_that_says_nothing_or_nonsense_is_an_error() {
        let (heir, theirs) = pair().unwrap();
        drop(heir);
        Predecessor::listen(theirs).unwrap_err();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&u64::MAX.to_le_bytes()).unwrap();
        let error = Predecessor::listen(theirs).unwrap_err();
        assert!(error.to_string().contains("no such document"), "{error}");
    }

    #[test]
    fn an_heir_that_is_gone_keeps_nobody() {
        let (heir, theirs) = pair().unwrap();
        drop(theirs);
        heir.tell(&deed(1));
        heir.tell(&deed(2));
        heir.tell_last(&deed(3));
    }
}
