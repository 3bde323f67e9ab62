//! Durations and sizes: one number and one unit, on purpose. Crates that read more also read `5M` as five months.

use super::model::Rate;
use super::value::{Parsed, integer, quoted, text, wrong_type};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// The longest duration: TCP_USER_TIMEOUT is a signed number of milliseconds, which ends after 24.8 days.
pub(super) const DURATION_MAX: Duration = Duration::from_hours(24 * 24);

/// In microseconds, the finest that is told apart.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];
const SIZE_UNITS: [(&str, u64); 5] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("", 1),
];

/// A duration of `range`.
pub(super) fn duration(value: &DeValue, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let text = value
        .as_str()
        .ok_or_else(|| wrong_type(value, "a string with a unit, such as \"10s\""))?;
    in_range(text, range)
}

/// A duration that somebody gives outside of a file, of the same form and bounds as in one.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn duration_of_text(text: &str) -> Parsed<Duration> {
    in_range(text, Duration::ZERO..=DURATION_MAX)
}

fn in_range(text: &str, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let duration = parse_duration(text)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    Err(format!(
        "{} is out of range; write a duration from \"{}\" to \"{}\"",
        quoted(text),
        duration_text(*range.start()),
        duration_text(*range.end()),
    ))
}

/// Any duration that makes sense, none included.
pub(super) fn duration_or_zero(value: &DeValue) -> Parsed<Duration> {
    duration(value, Duration::ZERO..=DURATION_MAX)
}

/// A timeout: anything but none.
pub(super) fn timeout(value: &DeValue) -> Parsed<Duration> {
    duration(value, Duration::from_millis(1)..=DURATION_MAX)
}

/// How long a worker looks for work before it sleeps: beyond a few milliseconds the wake-up that it saves is nothing to
/// the wait that came before.
pub(super) fn spin(value: &DeValue) -> Parsed<Duration> {
    duration(value, Duration::ZERO..=Duration::from_millis(10))
}

/// How often a connection is told of: never, or so seldom that it is news.
pub(super) fn still_open(value: &DeValue) -> Parsed<Duration> {
    let every = duration_or_zero(value)?;
    if every.is_zero() || every >= Duration::from_secs(1) {
        return Ok(every);
    }
    Err(format!(
        "\"{}\" is out of range; write \"0s\" or a duration from \"1s\"",
        duration_text(every)
    ))
}

/// TCP_USER_TIMEOUT: the kernel counts in milliseconds, and zero is the system's own.
pub(super) fn user_timeout(value: &DeValue) -> Parsed<Duration> {
    let duration = duration_or_zero(value)?;
    whole(
        duration,
        Duration::from_millis(1),
        "milliseconds, such as \"1500ms\"",
    )
}

/// TCP_KEEPIDLE and TCP_KEEPINTVL: the kernel counts in seconds, at most 32767 (MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL).
pub(super) fn keepalive_time(value: &DeValue) -> Parsed<Duration> {
    let duration = duration(value, Duration::from_secs(1)..=Duration::from_secs(32_767))?;
    whole(duration, Duration::from_secs(1), "seconds, such as \"15s\"")
}

fn whole(duration: Duration, unit: Duration, units: &str) -> Parsed<Duration> {
    if duration.as_nanos().is_multiple_of(unit.as_nanos()) {
        return Ok(duration);
    }
    Err(format!(
        "\"{}\" is too fine; write whole {units}",
        duration_text(duration)
    ))
}

fn parse_duration(text: &str) -> Parsed<Duration> {
    let micros = number_with_unit(text, &DURATION_UNITS).ok_or_else(|| {
        format!(
            "{} is not a duration; write a number and a unit, such as \"250us\", \"1500ms\", \"10s\", \"5m\", \"7d\"",
            quoted(text)
        )
    })?;
    Ok(Duration::from_micros(micros))
}

/// The shortest text that the configuration reads as the same: the largest unit that leaves no fraction.
///
/// # Panics
/// Beyond the longest duration that a configuration holds, 24 days.
pub fn duration_text(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).expect("durations end at DURATION_MAX");
    if micros == 0 {
        return "0s".to_owned();
    }
    number_text(micros, &DURATION_UNITS)
}

/// `"COUNT/DURATION"`; `None` for the empty string, which is no limit.
pub(super) fn rate(value: &DeValue) -> Parsed<Option<Rate>> {
    let text = text(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    let found = text.split_once('/').and_then(|(count, per)| {
        let count = u32::try_from(number_with_unit(count, &[("", 1)])?).ok()?;
        let count = NonZeroU32::new(count)?;
        let per = parse_duration(per).ok()?;
        let range = Duration::from_millis(1)..=DURATION_MAX;
        range.contains(&per).then_some(Rate { count, per })
    });
    found.map(Some).ok_or_else(|| {
        format!(
            "{} is not a rate; write a count and a duration from \"1ms\" to \"24d\", such as \"100/60s\"",
            quoted(text)
        )
    })
}

/// The shortest text that [`rate`] reads as the same.
pub(super) fn rate_text(rate: Option<Rate>) -> String {
    rate.map_or_else(String::new, |rate| {
        format!("{}/{}", rate.count, duration_text(rate.per))
    })
}

/// A number of bytes: an integer, or a string such as `"64KiB"`.
pub(super) fn size(value: &DeValue, range: RangeInclusive<u32>) -> Parsed<u32> {
    let Some(text) = value.as_str() else {
        return integer(value, range).map_err(|e| format!("{e}, or a string such as \"64KiB\""));
    };
    let bytes = number_with_unit(text, &SIZE_UNITS).ok_or_else(|| {
        format!(
            "{} is not a size; write bytes as an integer, or a string such as \"64KiB\"",
            quoted(text)
        )
    })?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(|| {
            let (low, high) = (size_text(*range.start()), size_text(*range.end()));
            format!(
                "{} is out of range; write a size from \"{low}\" to \"{high}\"",
                quoted(text)
            )
        })
}

/// The shortest text that [`size`] reads as the same.
pub(super) fn size_text(bytes: u32) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    number_text(u64::from(bytes), &SIZE_UNITS)
}

/// The number times its unit; `None` for anything else, such as one too large.
fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn number_text(number: u64, units: &[(&str, u64)]) -> String {
    let fits = units
        .iter()
        .find(|(_, factor)| number.is_multiple_of(*factor));
    let (unit, factor) = fits.expect("the last unit is one");
    format!("{}{unit}", number / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse<T>(text: &str, parser: impl Fn(&DeValue) -> Parsed<T>) -> Parsed<T> {
        parser(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn durations_have_one_number_and_one_unit() {
        for (text, micros) in [
            ("0s", 0),
            ("250us", 250),
            ("1500ms", 1_500_000),
            ("10s", 10_000_000),
            ("5m", 300_000_000),
            ("2h", 7_200_000_000),
            ("7d", 604_800_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_micros(micros)),
                "{text}"
            );
        }
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "1h30m",
            "-1s",
            "10 s",
            "5M",
            "99999999999999999999s",
            "999999999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_integers_or_strings() {
        let any = |value: &DeValue| size(value, 0..=1 << 30);
        for (text, bytes) in [
            ("0", 0),
            ("\"0\"", 0),
            ("16_384", 16384),
            ("0x10", 16),
            ("\"64KiB\"", 65536),
            ("\"1GiB\"", 1 << 30),
        ] {
            assert_eq!(parse(text, any), Ok(bytes), "{text}");
        }
        for text in [
            "-1",
            "\"64kb\"",
            "\"KiB\"",
            "1.5",
            "\"2GiB\"",
            "true",
            "1073741825",
        ] {
            assert!(parse(text, any).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_a_count_in_a_time() {
        let rate = |count, per| {
            Some(Rate {
                count: NonZeroU32::new(count).unwrap(),
                per,
            })
        };
        for (text, expected) in [
            ("", None),
            ("100/60s", rate(100, Duration::from_mins(1))),
            ("1/1ms", rate(1, Duration::from_millis(1))),
            ("4294967295/24d", rate(u32::MAX, DURATION_MAX)),
        ] {
            let read = |text: &str| parse(&format!("\"{text}\""), super::rate);
            assert_eq!(read(text), Ok(expected), "{text}");
            assert_eq!(read(&rate_text(expected)), Ok(expected), "{text}");
        }
        for text in [
            "100",
            "0/1s",
            "/1s",
            "100/",
            "100/0s",
            "-1/1s",
            "1/25d",
            "1/999us",
            "1/s",
            "+1/1s",
            "4294967296/1s",
        ] {
            assert!(
                parse(&format!("\"{text}\""), super::rate).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn durations_read_back_as_they_were_written(micros in 0..=2_073_600_000_000_u64) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
        }

        #[test]
        fn sizes_read_back_as_they_were_written(bytes: u32) {
            let text = format!("\"{}\"", size_text(bytes));
            prop_assert_eq!(parse(&text, |value| size(value, 0..=u32::MAX)), Ok(bytes));
        }
    }
}
