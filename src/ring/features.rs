//! What this kernel lets us do, found by doing it, and what to tell the operator when it does not.

use crate::self_test;
use io_uring::{IoUring, squeue};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use std::fmt;
use std::io;
use std::sync::OnceLock;

/// How a ring receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvMode {
    /// One submission, many completions, ended by the kernel at a byte budget (about Linux 6.17).
    Multishot,
    /// One submission, one completion, waiting for readiness first (Linux 6.1).
    SingleShot,
}

impl fmt::Display for RecvMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multishot => "multishot",
            Self::SingleShot => "single-shot",
        })
    }
}

/// io_uring cannot be used here: what was refused, why that is likely, and what to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetupError {
    /// What we asked for.
    pub what: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
    /// The likely cause.
    pub cause: String,
    /// What to change.
    pub fix: String,
}

impl SetupError {
    pub(crate) fn new(what: &'static str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        let memlock = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(u64::MAX, |(soft, _)| soft);
        let (cause, fix) = explain(errno, sysctl.as_deref().map(str::trim), memlock);
        Self {
            what,
            errno,
            cause,
            fix,
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            errno,
            cause,
            fix,
        } = self;
        write!(
            f,
            "io_uring: cannot {what}: {errno}; cause: {cause}; fix: {fix}"
        )
    }
}

impl std::error::Error for SetupError {}

/// The likely cause of an errno of io_uring_setup(2) or io_uring_register(2), and the fix. `sysctl` is the value of
/// kernel.io_uring_disabled, absent before Linux 6.6; `memlock` is RLIMIT_MEMLOCK in bytes.
fn explain(errno: Errno, sysctl: Option<&str>, memlock: u64) -> (String, String) {
    let (cause, fix): (String, &str) = match (errno, sysctl) {
        (Errno::EPERM, Some("2")) => (
            "kernel.io_uring_disabled = 2 forbids io_uring to everybody".into(),
            "sysctl -w kernel.io_uring_disabled=0, or 1 with kernel.io_uring_group set to the service's group",
        ),
        (Errno::EPERM, Some("1")) => (
            "kernel.io_uring_disabled = 1 allows io_uring to CAP_SYS_ADMIN and kernel.io_uring_group alone".into(),
            "set kernel.io_uring_group to a group of this user, or sysctl -w kernel.io_uring_disabled=0",
        ),
        (Errno::EPERM | Errno::EACCES, _) => (
            "a seccomp filter refuses io_uring (Docker from 25 and containerd from 2 do by default)".into(),
            "run with a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register",
        ),
        (Errno::ENOSYS, _) => (
            "the kernel has no io_uring, or a seccomp filter hides it".into(),
            "Linux 6.1 or newer with CONFIG_IO_URING; in a container, a seccomp profile that allows io_uring",
        ),
        (Errno::ENOMEM, _) => (
            format!("the rings do not fit RLIMIT_MEMLOCK, {memlock} bytes for all processes of this user"),
            "LimitMEMLOCK=infinity in the unit, `ulimit -l unlimited`, or fewer workers",
        ),
        (Errno::EINVAL, _) => (
            "the kernel is older than 6.1, or lacks a flag that ringway needs".into(),
            "Linux 6.1 or newer",
        ),
        (Errno::EMFILE | Errno::ENFILE, _) => (
            "no file descriptor is free".into(),
            "raise LimitNOFILE (`ulimit -n`) or fs.file-max",
        ),
        (other, _) => (format!("not one we know ({})", other.desc()), "see io_uring_setup(2)"),
    };
    (cause, fix.into())
}

/// Makes the kernel's ring with the flags that the data plane relies on, disabled until [`restrict::enable`]. `flagged` rings say in shared memory that the
/// kernel has work for the next enter, which costs the kernel an atomic operation per batch and is for who looks.
pub(crate) fn setup(
    submissions: u32,
    completions: u32,
    flagged: bool,
) -> Result<IoUring, SetupError> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_r_disabled()
        .setup_cqsize(completions)
        .dontfork();
    if flagged {
        builder.setup_taskrun_flag();
    }
    // Linux 6.6 saves an indirection per entry; before, EINVAL.
    let newer = builder.clone().setup_no_sqarray().build(submissions);
    let ring = match newer {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => builder.build(submissions),
        other => other,
    };
    ring.map_err(|e| SetupError::new("make a ring", &e))
}

/// How rings of this machine receive: the answer of a self-test on loopback, made once per process.
///
/// # Errors
/// When no ring can be made at all.
pub fn recv_mode() -> Result<RecvMode, SetupError> {
    static MODE: OnceLock<Result<RecvMode, SetupError>> = OnceLock::new();
    MODE.get_or_init(self_test::recv_mode).clone()
}

/// Adds what the crate's builder of multishot receives has no setter for: the total byte budget in `optlen`
/// (IORING_OP_RECV, io_uring_prep_recv_multishot(3)).
pub(crate) fn with_budget(mut entry: squeue::Entry, budget: u32) -> squeue::Entry {
    // struct io_uring_sqe of <linux/io_uring.h>: optlen at byte 44 of 64.
    const OPTLEN: usize = 44;
    const { assert!(size_of::<squeue::Entry>() == 64) };
    // SAFETY: the entry is 64 bytes of plain numbers (asserted), borrowed for us alone; the field lies inside and is
    // aligned for its type, as the entry is eight-byte aligned.
    unsafe {
        let base = (&raw mut entry).cast::<u8>();
        *base.add(OPTLEN).cast::<u32>() = budget;
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_cause_and_its_fix() {
        let rows = [
            (
                Errno::EPERM,
                Some("2"),
                "io_uring_disabled = 2",
                "io_uring_disabled=0",
            ),
            (
                Errno::EPERM,
                Some("1"),
                "io_uring_disabled = 1",
                "io_uring_group",
            ),
            (Errno::EPERM, Some("0"), "seccomp", "seccomp profile"),
            (Errno::EPERM, None, "seccomp", "seccomp profile"),
            (Errno::ENOSYS, Some("0"), "no io_uring", "6.1"),
            (Errno::ENOMEM, Some("0"), "65536 bytes", "LimitMEMLOCK"),
            (Errno::EINVAL, None, "older than 6.1", "6.1"),
            (Errno::EMFILE, None, "descriptor", "LimitNOFILE"),
        ];
        for (errno, sysctl, cause, fix) in rows {
            let (said_cause, said_fix) = explain(errno, sysctl, 65_536);
            assert!(said_cause.contains(cause), "{errno}: {said_cause}");
            assert!(said_fix.contains(fix), "{errno}: {said_fix}");
        }
    }
}
