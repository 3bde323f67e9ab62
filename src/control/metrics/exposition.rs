//! Prometheus's text format, version 0.0.4: a heading for each metric, then a line for each sample.
//!
//! Written out here, in a page of code, because `promtool check metrics` and older scrapers do not read what the
//! `prometheus-client` crate writes (OpenMetrics, where a counter's heading lacks the `_total` of its samples).

use super::Family;
use crate::base::{BOUNDS, Distribution};
use std::fmt::{self, Write};

/// A page that is being written.
#[derive(Default)]
pub(super) struct Page(String);

/// The samples of one metric.
pub(super) struct Samples<'a> {
    page: &'a mut Page,
    family: &'a Family,
    /// The heading is there: a metric without samples has none.
    headed: bool,
}

/// A sample's number.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Number {
    fn from(is: bool) -> Self {
        Self::Whole(is.into())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) if number.is_infinite() && *number > 0.0 => f.write_str("+Inf"),
            Self::Real(number) => number.fmt(f),
        }
    }
}

impl Page {
    pub(super) fn family<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        Samples {
            page: self,
            family,
            headed: false,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes every line");
    }
}

impl Samples<'_> {
    /// One sample, with a value for each of the metric's labels.
    pub(super) fn put<const N: usize>(&mut self, values: [&str; N], number: impl Into<Number>) {
        self.sample("", &values, None, number.into());
    }

    /// The samples of a histogram.
    pub(super) fn distribution<const N: usize>(
        &mut self,
        values: [&str; N],
        distribution: &Distribution,
    ) {
        let mut count = 0;
        for (more, bound) in distribution.counts.into_iter().zip(BOUNDS) {
            count += more;
            let bound = Number::Real(bound.as_secs_f64());
            self.sample("_bucket", &values, Some(bound), count.into());
        }
        let (all, endless) = (distribution.count(), Number::Real(f64::INFINITY));
        self.sample("_bucket", &values, Some(endless), all.into());
        self.sample("_sum", &values, None, distribution.seconds().into());
        self.sample("_count", &values, None, all.into());
    }

    fn sample(&mut self, suffix: &str, values: &[&str], bound: Option<Number>, number: Number) {
        assert_eq!(
            values.len(),
            self.family.labels.len(),
            "{}",
            self.family.name
        );
        self.head();
        self.page.push(format_args!("{}{suffix}", self.family.name));
        let mut separator = '{';
        for (label, value) in self.family.labels.iter().zip(values) {
            self.page
                .push(format_args!("{separator}{label}=\"{}\"", Escaped(value)));
            separator = ',';
        }
        if let Some(bound) = bound {
            self.page.push(format_args!("{separator}le=\"{bound}\""));
            separator = ',';
        }
        let end = if separator == '{' { "" } else { "}" };
        self.page.push(format_args!("{end} {number}\n"));
    }

    fn head(&mut self) {
        if !self.headed {
            self.headed = true;
            let Family {
                name, kind, help, ..
            } = self.family;
            let kind = kind.word();
            self.page
                .push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        }
    }
}

/// A label's value between its quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\\' => r"\\",
                b'"' => r#"\""#,
                _ => r"\n",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use crate::base::Histogram;
    use std::time::Duration;

    fn family(kind: Kind, labels: &'static [&'static str]) -> Family {
        Family {
            name: "it",
            kind,
            labels,
            help: "What it is.",
            samples: |_, _| {},
        }
    }

    #[test]
    fn a_metric_has_one_heading_and_a_line_for_each_sample() {
        let (mut page, family) = (Page::default(), family(Kind::Gauge, &["a", "b"]));
        let mut samples = page.family(&family);
        samples.put(["x", "y"], 7);
        samples.put(["x", "z"], f64::INFINITY);
        assert_eq!(
            page.into_text(),
            "# HELP it What it is.\n# TYPE it gauge\nit{a=\"x\",b=\"y\"} 7\nit{a=\"x\",b=\"z\"} +Inf\n"
        );
    }

    #[test]
    fn a_metric_without_samples_is_not_there() {
        let (mut page, family) = (Page::default(), family(Kind::Gauge, &[]));
        page.family(&family);
        assert_eq!(page.into_text(), "");
    }

    #[test]
    fn a_name_with_quotes_and_line_ends_stays_within_its_label() {
        let (mut page, family) = (Page::default(), family(Kind::Gauge, &["name"]));
        page.family(&family).put(["a\"b\\c\nd"], true);
        assert!(
            page.into_text()
                .ends_with("\nit{name=\"a\\\"b\\\\c\\nd\"} 1\n")
        );
    }

    #[test]
    fn buckets_add_up_to_the_count() {
        let (mut page, family) = (Page::default(), family(Kind::Histogram, &[]));
        let histogram = Histogram::default();
        for micros in [30, 60, 10_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        page.family(&family).distribution([], &histogram.read());
        let text = page.into_text();
        for line in [
            "it_bucket{le=\"0.000025\"} 0\n",
            "it_bucket{le=\"0.00005\"} 1\n",
            "it_bucket{le=\"0.0001\"} 2\n",
            "it_bucket{le=\"5\"} 2\n",
            "it_bucket{le=\"+Inf\"} 3\n",
            "it_sum 10.00009\n",
            "it_count 3\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    #[should_panic(expected = "it")]
    fn a_sample_has_a_value_for_every_label() {
        let (mut page, family) = (Page::default(), family(Kind::Gauge, &["a", "b"]));
        page.family(&family).put(["x"], 1);
    }
}
