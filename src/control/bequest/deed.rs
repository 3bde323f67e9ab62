//! The document. The next process may be older or newer: what one of both does not know is left out, so that names may
//! be added and never change their meaning.

use crate::base::Totals;
use crate::control::history::Sample;
use crate::control::reload::Reloads;
use crate::upstream::health::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Changes when names are not enough: a reader leaves what it cannot read, and begins at 0.
const FORMAT: u32 = 1;

/// Everything that is left.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(in crate::control) struct Deed {
    pub(in crate::control) format: u32,
    /// Whether the process that says so takes no more clients, and answers at no admin address.
    #[serde(default)]
    pub(in crate::control) handed_over: bool,
    /// Whether its workers have stopped accepting, after that.
    #[serde(default)]
    pub(in crate::control) closed: bool,
    /// Connections that it, and those before it, still have.
    #[serde(default)]
    pub(in crate::control) open: u64,
    /// What its workers counted, together.
    #[serde(default)]
    pub(in crate::control) workers: Totals,
    /// The same by listener.
    #[serde(default)]
    pub(in crate::control) listeners: BTreeMap<String, Totals>,
    #[serde(default)]
    pub(in crate::control) backends: Vec<BackendDeed>,
    #[serde(default)]
    pub(in crate::control) reloads: ReloadsDeed,
    /// Oldest first.
    #[serde(default)]
    pub(in crate::control) history: Vec<Sample>,
}

/// A backend.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::control) struct BackendDeed {
    pub(in crate::control) upstream: String,
    pub(in crate::control) name: String,
    /// With another one it is another backend.
    pub(in crate::control) address: String,
    /// What workers counted of it.
    pub(in crate::control) totals: Totals,
    /// What its probes came to.
    pub(in crate::control) probes: Totals,
    /// Connections to it that are still open.
    pub(in crate::control) open: u64,
    /// `up` or `down`, if it has been probed.
    pub(in crate::control) probed: Option<String>,
    /// For so many milliseconds failed dials keep it out.
    pub(in crate::control) out_ms: u64,
    /// What is wanted of it: `ready`, `drain` or `maint`.
    pub(in crate::control) admin: String,
    /// The same as the file had it: an admin's word holds until the file says otherwise than it did.
    pub(in crate::control) configured: String,
}

/// Reloads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::control) struct ReloadsDeed {
    done: u64,
    refused: u64,
}

impl Default for Deed {
    fn default() -> Self {
        Self {
            format: FORMAT,
            handed_over: false,
            closed: false,
            open: 0,
            workers: Totals::default(),
            listeners: BTreeMap::new(),
            backends: Vec::new(),
            reloads: ReloadsDeed::default(),
            history: Vec::new(),
        }
    }
}

impl Deed {
    /// As bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and numbers can be written")
    }

    /// From bytes.
    ///
    /// # Errors
    /// When it is no such document, or one that only another version reads.
    pub(super) fn read(bytes: &[u8]) -> io::Result<Self> {
        let deed: Self = serde_json::from_slice(bytes)?;
        if deed.format == FORMAT {
            Ok(deed)
        } else {
            let message = format!("it has format {}, this program reads {FORMAT}", deed.format);
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
    }

    /// What it says of a backend.
    pub(in crate::control) fn backend(&self, of: &BackendDeed) -> Option<&BackendDeed> {
        self.backends.iter().find(|it| it.is_same(of))
    }
}

impl BackendDeed {
    fn is_same(&self, other: &Self) -> bool {
        (&self.upstream, &self.name, &self.address)
            == (&other.upstream, &other.name, &other.address)
    }

    /// What probes said of it, if it was probed and the word is one that is known.
    pub(in crate::control) fn verdict(&self) -> Option<State> {
        let mut states = [State::Up, State::Down].into_iter();
        states.find(|state| Some(state.word()) == self.probed.as_deref())
    }

    /// For how long it is still out.
    pub(in crate::control) fn out_for(&self) -> Duration {
        Duration::from_millis(self.out_ms)
    }
}

impl From<Reloads> for ReloadsDeed {
    fn from(Reloads { done, refused }: Reloads) -> Self {
        Self { done, refused }
    }
}

impl From<ReloadsDeed> for Reloads {
    fn from(ReloadsDeed { done, refused }: ReloadsDeed) -> Self {
        Self { done, refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let backend = BackendDeed {
            upstream: "feed".into(),
            probed: Some("down".into()),
            out_ms: 1_500,
            ..BackendDeed::default()
        };
        let deed = Deed {
            handed_over: true,
            open: 7,
            backends: vec![backend],
            ..Deed::default()
        };
        assert_eq!(Deed::read(&deed.write()).unwrap(), deed);
        assert_eq!(deed.backends[0].verdict(), Some(State::Down));
    }

    #[test]
    fn what_another_version_added_is_left_out_and_what_it_lacks_is_nothing() {
        let text = br#"{"format": 1, "weather": "fine", "backends": [{"name": "b", "mood": 3}]}"#;
        let deed = Deed::read(text).unwrap();
        assert_eq!(deed.backends[0].name, "b");
        assert_eq!(deed.backends[0].verdict(), None);
        assert_eq!((deed.open, deed.handed_over), (0, false));
    }

    #[test]
    fn another_format_and_no_document_at_all_are_refused() {
        let error = Deed::read(br#"{"format": 2}"#).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
        assert!(Deed::read(b"").is_err());
    }
}
