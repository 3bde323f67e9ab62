//! The value of `--probe`: the words of nginx_tcp_proxy_module's `check` directive, so that a line which works there can be
//! pasted. Durations are plain milliseconds, as there.

use super::probe::{self, Exchange, InitialHealth, Probe, STREAK};
use super::quantity::DURATION_MAX;
use super::value::{Parsed, listed, nearest, quoted};
use super::words::PROBE_TYPES;
use std::fmt::Display;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

const WORDS: [&str; 7] = [
    "interval",
    "rise",
    "fall",
    "timeout",
    "type",
    "port",
    "default_down",
];

/// `interval=3000 rise=2 fall=5 timeout=1000 type=tcp`, any of them in any order. What is not there has the default of
/// the file format.
pub(super) fn parse(text: &str) -> Parsed<Probe> {
    let mut probe = Probe::default();
    let mut seen = Vec::new();
    for part in text.split_whitespace() {
        let (word, value) = part.split_once('=').ok_or_else(|| unknown(part))?;
        if seen.contains(&word) {
            return Err(format!("{word} is there twice; remove one of them"));
        }
        seen.push(word);
        set(&mut probe, word, value)?;
    }
    if seen.is_empty() {
        return Err("is empty; write words such as \"interval=3000 type=tcp\"".to_owned());
    }
    Ok(probe)
}

fn set(probe: &mut Probe, word: &str, value: &str) -> Parsed<()> {
    match word {
        "interval" => probe.interval = millis(word, value)?,
        "timeout" => probe.timeout = millis(word, value)?,
        "rise" => probe.rise = number(word, value, STREAK)?,
        "fall" => probe.fall = number(word, value, STREAK)?,
        "port" => probe.port = NonZeroU16::new(number(word, value, 0..=u16::MAX)?),
        "default_down" => probe.initial = initial(value)?,
        "type" => probe.exchange = exchange(value)?,
        _ => return Err(unknown(word)),
    }
    Ok(())
}

fn millis(word: &str, value: &str) -> Parsed<Duration> {
    let max = u64::try_from(DURATION_MAX.as_millis()).expect("days are few milliseconds");
    let millis = number(word, value, 1..=max);
    let millis = millis.map_err(|message| format!("{message}, of milliseconds and without a unit"));
    millis.map(Duration::from_millis)
}

fn number<T>(word: &str, value: &str, range: RangeInclusive<T>) -> Parsed<T>
where
    T: FromStr + PartialOrd + Display,
{
    let found = value.parse().ok().filter(|number| range.contains(number));
    found.ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        let given = quoted(value);
        format!("{word}={given} is no number of its range; write one from {low} to {high}")
    })
}

fn initial(value: &str) -> Parsed<InitialHealth> {
    match value {
        "true" => Ok(InitialHealth::Down),
        "false" => Ok(InitialHealth::Up),
        _ => Err(format!(
            "default_down={} is neither; write default_down=true or default_down=false",
            quoted(value)
        )),
    }
}

fn exchange(value: &str) -> Parsed<Exchange> {
    let probe_type = PROBE_TYPES
        .parse(value)
        .map_err(|message| format!("type={message}"))?;
    probe::with_defaults(probe_type).ok_or_else(|| {
        format!(
            "type={probe_type} has to be told what to expect, which only a file can; write another type, or a file"
        )
    })
}

fn unknown(word: &str) -> String {
    let fix = match nearest(word, WORDS.into_iter()) {
        Some(known) => format!("did you mean {known}=…?"),
        None => format!(
            "write WORD=VALUE, with the words {}",
            listed(WORDS.into_iter())
        ),
    };
    format!("{} is not understood; {fix}", quoted(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_place() {
        let line =
            "interval=3000 rise=3 fall=4 timeout=1500 type=redis port=6380 default_down=true";
        let expected = Probe {
            exchange: Exchange::Redis,
            interval: Duration::from_secs(3),
            timeout: Duration::from_millis(1500),
            rise: 3,
            fall: 4,
            port: NonZeroU16::new(6380),
            initial: InitialHealth::Down,
            jitter: Probe::default().jitter,
        };
        assert_eq!(parse(line), Ok(expected));
        assert_eq!(
            parse("type=tcp port=0 default_down=false"),
            Ok(Probe::default())
        );
    }

    #[test]
    fn a_mistake_names_its_word_and_what_to_write() {
        for (text, word, fix) in [
            ("", "is empty", "write words such as"),
            ("check interval=3000", "\"check\"", "write WORD=VALUE"),
            ("intervall=3000", "\"intervall\"", "did you mean interval"),
            ("type=tcp type=http", "type is there twice", "remove one"),
            (
                "interval=3s",
                "interval=\"3s\"",
                "milliseconds and without a unit",
            ),
            ("interval=0", "interval=\"0\"", "write one from 1 to"),
            ("timeout=2073600001", "timeout=", "to 2073600000"),
            ("rise=0", "rise=\"0\"", "from 1 to"),
            ("fall=", "fall=\"\"", "from 1 to"),
            ("port=65536", "port=\"65536\"", "from 0 to 65535"),
            (
                "default_down=yes",
                "default_down=\"yes\"",
                "write default_down=true or",
            ),
            ("type=https", "type=\"https\"", "write \"tcp\", \"http\""),
            ("type=send_expect", "type=send_expect", "or a file"),
            ("type=tcp;", "type=\"tcp;\"", "write \"tcp\""),
        ] {
            let message = parse(text).unwrap_err();
            assert!(
                message.contains(word) && message.contains(fix),
                "{text}: {message}"
            );
        }
    }
}
