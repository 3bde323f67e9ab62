//! Why files cannot be used, told to whoever has to mend them.

use std::fmt;
use std::path::{Path, PathBuf};

/// Which file cannot be used, why, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MaterialError {
    /// The key that names the file, below the table: `certificates[0].key`.
    pub key: String,
    /// The file; none when it is the system's own list of authorities.
    pub file: Option<PathBuf>,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

impl MaterialError {
    pub(super) fn new(key: &str, file: &Path, reason: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            file: Some(file.to_owned()),
            reason: reason.into(),
        }
    }

    /// The file and what is wrong with it, without the key.
    pub fn message(&self) -> String {
        let file = self.file.as_ref();
        file.map_or_else(
            || self.reason.clone(),
            |file| format!("{file:?} {}", self.reason),
        )
    }
}

impl fmt::Display for MaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message())
    }
}

impl std::error::Error for MaterialError {}
