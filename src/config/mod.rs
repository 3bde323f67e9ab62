//! Text and flags become a checked, immutable [`Config`]. `control` loads it once and hands it out; nobody else parses.
//!
//! Three steps, each in its file: `document` reads TOML with positions, `check` takes the keys out of it one by one
//! (`route`, `upstream`, `probe` and `tls` those of their tables) and reports whatever is left over, `model` is what comes out. A value that reaches the model is right: no later
//! layer checks it again. serde is not used for reading, because it stops at the first mistake and knows no key
//! paths, and a person repairs a file in one go. The system is never asked (is that CPU there? can that address be
//! bound?): the same text gives the same answer on every machine.

mod address;
mod admin;
mod check;
pub mod cli;
mod document;
mod error;
mod escapes;
mod flags;
mod hash_key;
mod host_name;
mod host_pattern;
mod man;
mod model;
mod networks;
mod print;
mod probe;
mod probe_flag;
mod quantity;
mod ratio;
mod route;
mod spot;
mod tls;
mod upstream;
mod value;
mod verbs;
mod warnings;
mod words;
mod workers;

pub use crate::balance::ip_hash::HashPrefix;
pub use address::Address;
pub use admin::{Admin, AdminAddress};
pub use error::{Error, Errors, Place};
pub use hash_key::HashKey;
pub use host_pattern::HostPattern;
pub use model::{
    AcceptProxy, Access, AdminState, AllDown, Backend, Balance, Certificate, Config, Format,
    Forwarded, Listener, ListenerTls, Log, Mode, OnDown, Process, Rate, Relay, Route, SendProxy,
    SlowClient, TlsVersion, Upstream, UpstreamTls, Workers,
};
pub use networks::Networks;
pub use probe::{Exchange, HttpRequest, InitialHealth, Probe, ProbeType, Status};
pub use quantity::{duration_of_text, duration_text};
pub use ratio::Ratio;
pub use upstream::BACKENDS_MAX;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A configuration file larger than this is refused: thousands of backends fit, a device file or a log does not.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every mistake in the file, each with line, column and key; or why the file could not be read.
    pub fn load(path: &Path) -> Result<Self, Errors> {
        let name = path.display().to_string();
        let text = read_bounded(path).map_err(|e| {
            let message = format!("cannot be read: {e}; name a readable TOML file with -c FILE");
            Errors::from(Error::in_file(&name, message))
        })?;
        Self::parse(&text, &name)
    }

    /// Checks the text of a configuration file; `file_name` is what errors call it.
    ///
    /// # Errors
    /// Every mistake in the text, each with line, column and key.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Errors> {
        check::parse(text, file_name)
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}
