//! The pipes of one ring that spliced bytes pass through. Bounded; lent only while bytes are inside; a pipe that still
//! holds some is never lent again.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use std::os::fd::OwnedFd;

/// What each pipe is asked to hold. Larger bursts cost the proxy less and the hosts around it more, whose caches they leave:
/// docs/benchmarks.md, "Splice", has the figures from 64 KiB to 1 MiB.
const SIZE: i32 = 256 << 10;

/// Pipes of one ring at most: 16 MiB of the kernel's memory when all are full, and 128 descriptors. pipe(7) lets an
/// unprivileged user have four times as many pages (pipe-user-pages-soft).
const MOST: u16 = 64;

/// Bytes that all pipes of one ring hold at most.
pub const PIPES_MAX: u64 = SIZE as u64 * MOST as u64;

/// Both ends of a pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
    /// Bytes it holds, as the kernel says: less than asked for once a user has too many.
    pub(crate) size: u32,
}

impl Pipe {
    fn new() -> nix::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Refused above pipe-max-size or pipe-user-pages-soft (fcntl(2)): then it stays as it is.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(SIZE));
        let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?;
        Ok(Self {
            reader,
            writer,
            size: u32::try_from(size).unwrap_or(0),
        })
    }
}

/// The pool.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: Vec<Pipe>,
    lent: u16,
}

impl Pipes {
    /// A pipe without a byte in it. `None` when all are lent or the system refuses another.
    pub(crate) fn lend(&mut self) -> Option<Pipe> {
        let pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None if self.lent < MOST => Pipe::new().ok()?,
            None => return None,
        };
        self.lent += 1;
        Some(pipe)
    }

    /// Takes an empty pipe back.
    pub(crate) fn take_back(&mut self, pipe: Pipe) {
        self.lent -= 1;
        self.free.push(pipe);
    }

    /// Closes a pipe with what is left in it.
    pub(crate) fn discard(&mut self, pipe: Pipe) {
        self.lent -= 1;
        drop(pipe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_lends_so_many_and_no_more_until_one_is_back() {
        let mut pipes = Pipes::default();
        let mut lent: Vec<_> = std::iter::from_fn(|| pipes.lend()).collect();
        assert_eq!(lent.len(), usize::from(MOST));
        pipes.take_back(lent.pop().unwrap());
        pipes.discard(lent.pop().unwrap());
        let again: Vec<_> = std::iter::from_fn(|| pipes.lend()).collect();
        assert_eq!(again.len(), 2);
    }

    #[test]
    fn a_pipe_knows_what_it_holds() {
        let pipe = Pipe::new().unwrap();
        let filled = std::iter::repeat_with(|| nix::unistd::write(&pipe.writer, &[0; 4096]))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(filled * 4096, pipe.size as usize);
    }
}
