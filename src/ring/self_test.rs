//! Whether this kernel's budgeted multishot receive can be relied on, found by trying: version numbers say nothing on
//! kernels with backports.

use crate::buf_ring::{BufRing, GROUP};
use crate::features::{setup, with_budget};
use crate::{Buffers, RecvMode, SetupError, restrict};
use io_uring::{IoUring, cqueue, opcode, types};
use socket2::SockRef;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Bytes in a buffer.
const PIECE: u16 = 1024;

/// Multishot, if the kernel keeps its promises.
pub(crate) fn recv_mode() -> Result<RecvMode, SetupError> {
    let trials = [stops_at_its_budget, tells_an_end];
    for trial in trials {
        // Without a connection on loopback nothing can be tried.
        if !trial(Trial::new()?).unwrap_or(false) {
            return Ok(RecvMode::SingleShot);
        }
    }
    Ok(RecvMode::Multishot)
}

/// Whether it delivers several completions and stops by itself. Kernels without the budget refuse the entry (the field
/// was checked to be zero) or ignore it.
fn stops_at_its_budget(mut trial: Trial) -> io::Result<bool> {
    let (mut near, far) = connected()?;
    near.write_all(&[7; 8 * PIECE as usize])?;
    if !arrived(&far, 8 * usize::from(PIECE)) {
        return Ok(false);
    }
    trial.receive(&far);
    let answers = trial.wait(1)?;
    let stopped = answers.last().is_some_and(|last| !last.more);
    let delivered: i32 = answers.iter().map(|answer| answer.result).sum();
    let within = 4 * i32::from(PIECE)..8 * i32::from(PIECE);
    Ok(answers.len() > 1 && stopped && within.contains(&delivered))
}

/// Whether it tells of an end that comes together with bytes. Both wake the receive, and kernels from before March 2026
/// take the two for one: the end of such a connection is never told (axboe/liburing, issue 1549).
fn tells_an_end(mut trial: Trial) -> io::Result<bool> {
    let (mut near, far) = connected()?;
    trial.receive(&far);
    trial.wait(0)?;
    near.write_all(&[7])?;
    SockRef::from(&near).set_linger(Some(Duration::ZERO))?;
    drop(near);
    let answers = trial.wait(1)?;
    let last = answers.last();
    Ok(answers.len() == 2 && last.is_some_and(|last| last.result < 0 && !last.more))
}

/// A ring like a worker's. The ring goes first, then the memory that it was told of.
struct Trial {
    ring: IoUring,
    _buf_ring: BufRing,
    _buffers: Buffers,
}

/// What a completion says.
struct Answer {
    result: i32,
    more: bool,
}

impl Trial {
    fn new() -> Result<Self, SetupError> {
        let ring = setup(8, 64, false)?;
        let mut buffers = Buffers::new(16, PIECE);
        let mut buf_ring = BufRing::register(&ring, &buffers)
            .map_err(|e| SetupError::new("register a buffer ring", &e))?;
        buf_ring.publish(&mut buffers);
        restrict::enable(&ring)?;
        Ok(Self {
            ring,
            _buf_ring: buf_ring,
            _buffers: buffers,
        })
    }

    /// Receives up to four buffers.
    fn receive(&mut self, far: &TcpStream) {
        let entry = opcode::RecvMulti::new(types::Fd(far.as_raw_fd()), GROUP).build();
        let entry = with_budget(entry, 4 * u32::from(PIECE));
        // SAFETY: the entry names only a descriptor and the registered buffers, which stay until the ring is gone.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("eight entries, one used");
    }

    /// What has completed, once there is so much.
    fn wait(&mut self, count: usize) -> io::Result<Vec<Answer>> {
        self.ring.submit_and_wait(count)?;
        let answer = |entry: cqueue::Entry| Answer {
            result: entry.result(),
            more: cqueue::more(entry.flags()),
        };
        Ok(self.ring.completion().map(answer).collect())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Nothing may still be armed on the buffers when they go; ENOENT says that nothing was.
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(None, types::CancelBuilder::any());
    }
}

fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    far.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok((near, far))
}

/// Waits (at most a second at a time) until that many bytes can be read.
fn arrived(far: &TcpStream, len: usize) -> bool {
    let mut seen = vec![0; len];
    (0..100).any(|_| matches!(far.peek(&mut seen), Ok(n) if n == len))
}
