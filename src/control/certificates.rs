//! Watches the files of certificates, keys and authorities. What has changed is read again and becomes current for new
//! handshakes; connections go on as they are. What is broken is named in the log, and what was current stays.
//!
//! Files are looked at, not listened to: a look a second at their inodes, sizes and times costs nothing, and sees whatever
//! the tools do that put certificates there: files written over or renamed, links of certbot's that lead to the next
//! file, folders of Kubernetes' that are swapped behind a link, and file systems that report no events.

use super::access_log::wall_clock;
use crate::ring::Time;
use crate::tls::{Material, MaterialError, Stamps};
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

/// From one look at the files to the next.
const LOOK: Duration = Duration::from_secs(1);

/// From one warning of certificates that expire to the next.
const REMIND: Duration = Duration::from_hours(24);

/// Watches the files of what is current, for ever. `current` is asked at each look: a reload replaces it.
///
/// # Panics
/// Outside of a tokio-uring runtime.
pub(super) async fn watch(current: impl Fn() -> Material) -> Infallible {
    let mut files = Files::default();
    let mut reminded: Option<Time> = None;
    loop {
        let (material, now) = (current(), Time::read_clock());
        files.look(&material);
        if reminded.is_none_or(|at| now - at >= REMIND) {
            reminded = Some(now);
            for warning in warnings(&material) {
                tracing::warn!("{warning}");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Which certificates have expired, or will soon, a sentence each.
pub(super) fn warnings(material: &Material) -> Vec<String> {
    let clock = wall_clock(Time::read_clock());
    let expiries = material.expiries();
    let warnings = expiries.iter().map(|expiry| expiry.warnings(clock));
    warnings.flatten().collect()
}

/// What is known of the files, by what they are for.
#[derive(Default)]
struct Files(HashMap<(Side, String), Seen>);

/// Which side of the proxy speaks TLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Side {
    Listener,
    Upstream,
}

/// What was seen of files that belong together.
struct Seen {
    /// When they were last read again, whether they could be used or not.
    tried: Option<Stamps>,
    /// At the last look.
    last: Stamps,
}

impl Seen {
    /// Whether files that are like this `now` are to be read: they are not what is in use, nor what was refused, and they have
    /// not changed since the last look. Whoever replaces a certificate and its key does so in two steps, and between them they do
    /// not fit.
    fn is_due(&mut self, now: Stamps, in_use: &Stamps) -> bool {
        let is_new = now != *in_use && self.tried.as_ref() != Some(&now);
        let is_due = is_new && now == self.last;
        if is_due {
            self.tried = Some(now.clone());
        }
        self.last = now;
        is_due
    }
}

impl Files {
    fn look(&mut self, material: &Material) {
        for (name, server) in material.servers() {
            if self.is_due(
                (Side::Listener, name),
                server.stamps(),
                &server.loaded_stamps(),
            ) {
                say(Side::Listener, name, &server.reload());
            }
        }
        for (name, client) in material.clients() {
            if self.is_due(
                (Side::Upstream, name),
                client.stamps(),
                &client.loaded_stamps(),
            ) {
                say(Side::Upstream, name, &client.reload());
            }
        }
        self.0.retain(|(side, name), _| match side {
            Side::Listener => material.server(name).is_some(),
            Side::Upstream => material.client(name).is_some(),
        });
    }

    fn is_due(&mut self, (side, name): (Side, &str), now: Stamps, in_use: &Stamps) -> bool {
        let seen = self
            .0
            .entry((side, name.to_owned()))
            .or_insert_with(|| Seen {
                tried: None,
                last: in_use.clone(),
            });
        seen.is_due(now, in_use)
    }
}

/// One line for each change.
fn say(side: Side, name: &str, outcome: &Result<(), MaterialError>) {
    let table = match side {
        Side::Listener => "listener",
        Side::Upstream => "upstream",
    };
    if let Err(error) = outcome {
        tracing::error!("{table} \"{name}\": tls.{error}; what was in use before stays");
    } else {
        tracing::info!("{table} \"{name}\": files of TLS have changed: in use for new connections");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Stamps of one file with this text.
    fn stamps(text: &str) -> Stamps {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, text).unwrap();
        Stamps::of([path.as_path()].into_iter())
    }

    #[test]
    fn files_are_read_once_when_they_have_changed_and_rest() {
        let [old, half, new, newer] = ["old", "half", "newest", "and on"].map(stamps);
        let mut seen = Seen {
            tried: None,
            last: old.clone(),
        };
        let mut due = |now: &Stamps, in_use: &Stamps| seen.is_due(now.clone(), in_use);
        assert!(!due(&old, &old));
        assert!(!due(&half, &old), "it has just changed");
        assert!(!due(&new, &old), "it goes on changing");
        assert!(due(&new, &old));
        assert!(!due(&new, &old), "it was refused, which has been said");
        assert!(!due(&newer, &old));
        assert!(due(&newer, &old));
        assert!(!due(&newer, &newer), "it is in use");
        assert!(!due(&old, &newer));
        assert!(due(&old, &newer), "the old files are back");
    }
}
