//! `process.workers`: a word, a count, or a list of CPUs.

use super::model::Workers;
use super::value::{Parsed, integer, quoted};
use std::num::NonZeroUsize;
use toml::de::DeValue;

/// More workers than any machine has CPUs are a mistake.
const WORKERS_MAX: usize = 1024;

/// CPU numbers end here: the kernel's own limit (NR_CPUS) on the largest machines.
const CPU_MAX: usize = 8191;

/// `process.workers`: a word, a count, or a CPU list.
pub(super) fn workers(value: &DeValue) -> Parsed<Workers> {
    match value.as_str() {
        Some("auto") => Ok(Workers::Auto),
        Some(list) => parse_cpus(list).map(Workers::Cpus),
        None => integer(value, 1..=WORKERS_MAX)
            .map_err(|e| format!("{e}, \"auto\", or a CPU list such as \"0-3,8\""))
            .map(worker_count),
    }
}

/// A count of workers, from a flag.
pub(super) fn parse_worker_count(text: &str) -> Parsed<Workers> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=WORKERS_MAX).contains(count));
    count.map(worker_count).ok_or_else(|| {
        format!("{} is not a count of workers; write a number from 1 to {WORKERS_MAX}, auto, or a CPU list such as 0-3,8", quoted(text))
    })
}

fn worker_count(count: usize) -> Workers {
    Workers::Count(NonZeroUsize::new(count).expect("the range starts at 1"))
}

/// A CPU list as the kernel writes it (cpuset(7), "List format"), in the order given.
pub(super) fn parse_cpus(list: &str) -> Parsed<Vec<usize>> {
    let fault = |what: &str| {
        format!(
            "{} {what}; write \"auto\", a count without quotes, or CPU numbers and ranges, such as \"0-3,8\"",
            quoted(list)
        )
    };
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (parse_cpu(first), parse_cpu(last)) else {
            return Err(fault("is not a CPU list"));
        };
        if first > last {
            return Err(fault("has a range that ends before it starts"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(fault(&format!("has CPU {cpu} twice")));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

fn parse_cpu(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&cpu| digits && cpu <= CPU_MAX)
}

/// What [`parse_cpus`] reads as the same list.
pub(super) fn cpus_text(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        one => one.iter().map(usize::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpu_lists_keep_their_order_and_repeat_nothing() {
        assert_eq!(parse_cpus("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_cpus("5,1"), Ok(vec![5, 1]));
        for list in [
            "",
            "a",
            "1-",
            "-1",
            "3-1",
            "0,0",
            "0-3,2",
            "8192",
            "1,",
            "+1",
            "0-99999999999999999999",
        ] {
            assert!(parse_cpus(list).is_err(), "{list}");
        }
    }

    proptest! {
        #[test]
        fn cpu_lists_read_back_as_they_were_written(cpus in proptest::collection::hash_set(0..=CPU_MAX, 1..40)) {
            let cpus: Vec<usize> = cpus.into_iter().collect();
            prop_assert_eq!(parse_cpus(&cpus_text(&cpus)), Ok(cpus));
        }
    }
}
