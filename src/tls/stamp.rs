//! What tells that a file was written or replaced, without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file at one moment, wherever links lead: another folder behind a link is another file. None when it is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// When its bytes changed, and when anything of it did, in seconds and nanoseconds.
    times: [(i64, i64); 2],
}

/// Several files at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamps(Box<[Option<Stamp>]>);

impl Stamps {
    /// Files as they are now.
    pub fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        Self(files.map(Stamp::of).collect())
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let of = fs::metadata(path).ok()?;
        Some(Self {
            device: of.dev(),
            inode: of.ino(),
            size: of.size(),
            times: [(of.mtime(), of.mtime_nsec()), (of.ctime(), of.ctime_nsec())],
        })
    }
}
