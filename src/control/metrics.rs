//! What Prometheus scrapes: a page of text made from a [`View`] when somebody asks, on the control thread. Nothing is
//! registered anywhere and no worker is asked, so that a scrape costs none of them anything.
//!
//! One row of a table for each metric: its name, what it is, what it means, and a function that reads its samples.
//! `docs/metrics.md` has the same rows for people, held to these by a test. No label has a value that a client can
//! choose: what there can be is bounded by the configuration.

mod backends;
mod certificates;
mod clients;
mod exposition;
mod machine;
mod process;
mod workers;

use super::view::View;
use exposition::{Page, Samples};

/// The media type of a [`render`]ed page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows, and begins at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by duration, in seconds.
    Histogram,
}

impl Kind {
    /// The word in the page.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric: everything about it but its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels, in order; `le` of histograms is understood.
    pub labels: &'static [&'static str],
    /// What it says, for the operator.
    pub help: &'static str,
    samples: fn(&View, &mut Samples<'_>),
}

/// Every metric, in the order of the page.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let parts = [
        clients::FAMILIES,
        certificates::FAMILIES,
        backends::FAMILIES,
        workers::FAMILIES,
        machine::FAMILIES,
        process::FAMILIES,
    ];
    parts.into_iter().flatten()
}

/// The page, in Prometheus's text format (version 0.0.4, which every scraper reads).
pub fn render(view: &View) -> String {
    let mut page = Page::default();
    for family in families() {
        (family.samples)(view, &mut page.family(family));
    }
    page.into_text()
}

#[cfg(test)]
mod tests;
