//! Reload: the file is read again, and the running proxy goes by it. A file with a mistake changes nothing.

use super::access_log::Sink;
use super::by_admin::{self, Changed};
use super::{Loaded, Proxy};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a configuration came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// This file, which is read again when a reload is asked for.
    File(PathBuf),
    /// The command line, which never changes.
    Flags,
}

/// What reloads came to so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reloads {
    /// Those that were applied, and those that found nothing to change.
    pub done: u64,
    /// Those that changed nothing because something was wrong.
    pub refused: u64,
}

impl Proxy {
    /// Opens the access log anew, reads the configuration again and goes by it: what came of it, in one line.
    ///
    /// # Errors
    /// What is wrong with it, a line for each mistake. Nothing has changed.
    pub async fn reload(&self, source: &Source) -> Result<String, String> {
        // Whatever comes of the rest: a rotated log waits for this.
        match Sink::open(&self.config().log) {
            Ok(sink) => self.log.switch(sink),
            Err(mistake) => tracing::error!("{mistake}; lines go on to the old file"),
        }
        let outcome = self.try_reload(source).await;
        let mut reloads = self.reloads.get();
        match &outcome {
            Ok(told) => {
                reloads.done += 1;
                tracing::info!("reloaded: {told}");
            }
            Err(mistakes) => {
                reloads.refused += 1;
                for line in mistakes.lines() {
                    tracing::error!("reload refused, nothing has changed: {line}");
                }
            }
        }
        self.reloads.set(reloads);
        outcome
    }

    async fn try_reload(&self, source: &Source) -> Result<String, String> {
        let Source::File(path) = source else {
            return Err(
                "started from the command line: there is no file to read; use `run -c FILE`"
                    .to_owned(),
            );
        };
        let loaded = Loaded::successor(path, &self.tls()).map_err(|errors| errors.to_string())?;
        for warning in loaded.warnings() {
            tracing::warn!("{warning}");
        }
        let (file, by_admin) = (Arc::new(loaded.config.clone()), self.changed_by_admin());
        let applied = self.apply(loaded).await.map_err(|e| e.to_string())?;
        self.file.replace(file);
        let (difference, took) = (&applied.difference, applied.took);
        let mut told = format!("{difference}, in {took:.1?}");
        let (stays, gone) = self.what_stays(by_admin);
        for (what, names) in [
            (
                "as before until the process is upgraded or started anew",
                applied.kept.join(", "),
            ),
            ("as in the file, whatever an admin has said", gone),
            ("as an admin has said, whatever is in the file", stays),
        ] {
            if !names.is_empty() {
                told = format!("{told}; {what}: {names}");
            }
        }
        Ok(told)
    }

    /// Which of these changes that an admin has made still hold, and which do not.
    fn what_stays(&self, mut before: Vec<Changed>) -> (String, String) {
        let stays = self.changed_by_admin();
        before.retain(|it| !stays.contains(it));
        (by_admin::listed(&stays), by_admin::listed(&before))
    }
}
