//! What a ring may be asked to do: a list of operations that the kernel keeps, from the first entry to the last
//! (IORING_REGISTER_RESTRICTIONS of io_uring_register(2)).
//!
//! seccomp and the service's SystemCallFilter= see io_uring_enter and not what is in the ring. Without this, a process that
//! may not call openat(2) could open files by an entry.

use crate::features::SetupError;
use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue};

/// Every operation that `place`, `send` and `splices` make entries of; multishot ones have the codes of the others.
const OPERATIONS: [u8; 7] = [
    opcode::Accept::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Connect::CODE,
    opcode::PollAdd::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
];

/// What an entry may ask besides: that the kernel picks a buffer.
const FLAGS: squeue::Flags = squeue::Flags::BUFFER_SELECT;

/// IORING_REGISTER_SYNC_CANCEL of <linux/io_uring.h>: all that is left to do with a ring, at its end.
const SYNC_CANCEL: u8 = 24;

/// Restricts a ring that was made disabled, and lets it begin. What else has to be registered comes before. To be called on
/// the thread that will use the ring: with IORING_SETUP_SINGLE_ISSUER enabling is what makes it the one.
pub(crate) fn enable(ring: &IoUring) -> Result<(), SetupError> {
    let operations = OPERATIONS.map(Restriction::sqe_op);
    let others = [
        Restriction::sqe_flags_allowed(FLAGS.bits()),
        Restriction::register_op(SYNC_CANCEL),
    ];
    let mut list: Vec<_> = operations.into_iter().chain(others).collect();
    let submitter = ring.submitter();
    submitter
        .register_restrictions(&mut list)
        .map_err(|e| SetupError::new("restrict a ring", &e))?;
    submitter
        .register_enable_rings()
        .map_err(|e| SetupError::new("enable a ring", &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::setup;
    use io_uring::types::{CancelBuilder, Fd};
    use nix::sys::eventfd::EventFd;
    use std::os::fd::AsRawFd;

    fn ring() -> IoUring {
        let ring = setup(8, 16, false).unwrap();
        enable(&ring).unwrap();
        ring
    }

    /// What becomes of one entry.
    fn result(ring: &mut IoUring, entry: &squeue::Entry) -> i32 {
        // SAFETY: the entries of these tests name descriptors alone, and the test waits for each before the next.
        unsafe { ring.submission().push(entry).unwrap() };
        ring.submit_and_wait(1).unwrap();
        let entry = ring.completion().next().expect("waited for");
        entry.result()
    }

    #[test]
    fn an_operation_that_no_worker_needs_is_refused() {
        let mut ring = ring();
        let path = c"/proc/self/status";
        let refused = [
            opcode::Nop::new().build(),
            opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr()).build(),
            opcode::Close::new(Fd(0)).build(),
            opcode::Splice::new(Fd(0), -1, Fd(1), -1, 1).build(),
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
        ];
        for entry in refused {
            assert_eq!(result(&mut ring, &entry), -libc::EACCES, "{entry:?}");
        }
    }

    #[test]
    fn an_operation_of_ours_is_done_but_not_with_other_flags() {
        let mut ring = ring();
        let event = EventFd::from_value(1).unwrap();
        let readable = u32::from(libc::POLLIN.cast_unsigned());
        let poll = opcode::PollAdd::new(Fd(event.as_raw_fd()), readable).build();
        assert_eq!(result(&mut ring, &poll), i32::from(libc::POLLIN));
        let punted = poll.flags(squeue::Flags::ASYNC);
        assert_eq!(result(&mut ring, &punted), -libc::EACCES);
    }

    #[test]
    fn the_list_is_final_and_nothing_more_is_registered() {
        let ring = ring();
        let submitter = ring.submitter();
        let more = submitter.register_restrictions(&mut [Restriction::sqe_op(opcode::Nop::CODE)]);
        let files = submitter.register_files(&[0]);
        for refused in [more, files] {
            let errno = refused.unwrap_err().raw_os_error();
            assert_eq!(errno, Some(libc::EACCES));
        }
        // With nothing in flight some kernels say that, others are content.
        if let Err(e) = submitter.register_sync_cancel(None, CancelBuilder::any()) {
            assert_eq!(e.raw_os_error(), Some(libc::ENOENT));
        }
    }
}
