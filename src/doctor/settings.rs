//! Kernel settings beside the profiles of `tuning/`, which the script `ringway-tune` applies.

use super::facts::Facts;
use super::finding::Finding;
use super::load::Load;
use nix::unistd::{SysconfVar, sysconf};

/// A profile as the script has it.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    text: &'static str,
}

pub(super) static EDGE_100K: Profile = Profile {
    name: "edge-100k",
    text: include_str!("../../tuning/profiles/edge-100k"),
};

pub(super) static EDGE_1M: Profile = Profile {
    name: "edge-1m",
    text: include_str!("../../tuning/profiles/edge-1m"),
};

/// Judged by the load itself, in `checks`, and not by a profile's round number.
const JUDGED_ELSEWHERE: &[&str] = &[
    "fs.nr_open",
    "fs.file-max",
    "fs.pipe-user-pages-soft",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
];

/// A line of a profile.
struct Setting {
    key: &'static str,
    value: &'static str,
    reason: &'static str,
}

/// Settings that fall short of the profile that fits. What this kernel or this network namespace does not show is passed
/// over.
pub(super) fn short(facts: &Facts, load: &Load) -> Vec<Finding> {
    let Some(profile) = load.profile() else {
        return Vec::new();
    };
    let short = profile.settings().filter_map(|setting| {
        let now = facts.setting(setting.key)?;
        let wanted = wanted(setting.value, &now, facts)?;
        let fix = load.fix(setting.key, &wanted);
        Some(
            Finding::fine(setting.key, &*now, &*wanted)
                .because(setting.reason)
                .warn_unless(now == wanted, fix),
        )
    });
    short.collect()
}

/// One line for all that fall short.
pub(super) fn summary(facts: &Facts, load: &Load) -> Option<String> {
    let findings = short(facts, load).into_iter();
    let keys: Vec<_> = findings
        .filter(|finding| finding.now != finding.wanted)
        .map(|finding| finding.key)
        .collect();
    let (first, profile) = (keys.first()?, load.profile()?);
    Some(format!(
        "{} kernel settings fall short of profile {}, {first} among them; `ringway doctor` lists them, `ringway-tune \
         apply --profile {}` sets them",
        keys.len(),
        profile.name,
        profile.name
    ))
}

impl Profile {
    fn settings(&self) -> impl Iterator<Item = Setting> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        let settings = lines.filter_map(|line| {
            let mut cells = line.split('|').map(str::trim);
            Some(Setting {
                key: cells.next()?,
                value: cells.next()?,
                reason: cells.nth(2)?,
            })
        });
        settings.filter(|setting| !JUDGED_ELSEWHERE.contains(&setting.key))
    }
}

/// What a setting should be, given what it is: the same, if that is good enough. The words are explained in the profiles;
/// `None` for one that is not understood.
fn wanted(value: &str, now: &str, facts: &Facts) -> Option<String> {
    let mut words = value.split(' ');
    match (words.next()?, words.next()?) {
        ("exactly", switch) => Some(switch.to_owned()),
        ("at", "least") => each(words, now, facts, |now, wanted| now >= wanted),
        ("at", "most") => each(words, now, facts, |now, wanted| now <= wanted),
        _ => None,
    }
}

/// Number by number, the one that is or the one that should be.
fn each<'a>(
    words: impl Iterator<Item = &'a str>,
    now: &str,
    facts: &Facts,
    is_enough: impl Fn(u64, u64) -> bool,
) -> Option<String> {
    let mut now = now.split(' ');
    let numbers = words.map(|formula| {
        let (is, wanted) = (now.next()?, evaluate(formula, facts)?);
        Some(if is_enough(is.parse().ok()?, wanted) {
            is.to_owned()
        } else {
            wanted.to_string()
        })
    });
    Some(numbers.collect::<Option<Vec<_>>>()?.join(" "))
}

/// `ram_pages*3/16`, from left to right.
fn evaluate(formula: &str, facts: &Facts) -> Option<u64> {
    let term = |name: &str| match name {
        "ram_kib" => Some(facts.ram()? >> 10),
        "ram_pages" => Some(facts.ram()? / page_bytes()),
        "cpus" => Some(facts.cpus() as u64),
        number => number.parse().ok(),
    };
    let mut rest = formula;
    let mut take = || {
        let end = rest.find(['*', '/']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let operator = tail.chars().next();
        rest = tail.get(1..).unwrap_or_default();
        (name, operator)
    };
    let (first, mut operator) = take();
    let mut value = term(first)?;
    while let Some(sign) = operator {
        let (name, next) = take();
        value = match sign {
            '*' => value.checked_mul(term(name)?)?,
            _ => value.checked_div(term(name)?)?,
        };
        operator = next;
    }
    Some(value)
}

/// The size of a page; of what most machines have where the system does not tell.
pub(super) fn page_bytes() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|it| u64::try_from(it).ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::Machine;
    use super::*;
    use crate::doctor::State;

    fn load() -> Load {
        Load::of(None, Some(100_000), 4)
    }

    #[test]
    fn what_falls_short_of_the_profile_is_found_with_its_fix() {
        let machine = Machine::new();
        machine.set("net.core.somaxconn", "4096");
        machine.set("net.ipv4.tcp_fin_timeout", "20");
        machine.set("net.ipv4.tcp_migrate_req", "0");
        machine.set("net.ipv4.tcp_mem", "190000\t254000\t2000000");
        let found = short(&machine.facts, &load());
        let row = |key: &str| {
            let row = found.iter().find(|finding| finding.key == key);
            row.map(|it| (it.state, it.now.as_str(), it.wanted.as_str()))
        };
        let somaxconn = row("net.core.somaxconn");
        assert_eq!(somaxconn, Some((State::Warning, "4096", "16384")));
        let timeout = row("net.ipv4.tcp_fin_timeout");
        assert_eq!(timeout, Some((State::Fine, "20", "20")));
        assert_eq!(
            row("net.ipv4.tcp_migrate_req").map(|row| row.0),
            Some(State::Warning)
        );
        // An eighth and three sixteenths of 4,194,304 pages; the third is larger already.
        let memory = row("net.ipv4.tcp_mem").map(|row| row.2);
        assert_eq!(memory, Some("524288 786432 2000000"));
        assert_eq!(found.len(), 4, "what the machine does not have is no row");
        assert_eq!(found[0].fix, "ringway-tune apply --profile edge-100k");
        assert!(found[0].why.contains("backlog"), "{}", found[0].why);
    }

    #[test]
    fn at_start_they_are_one_line() {
        let machine = Machine::new();
        assert_eq!(summary(&machine.facts, &load()), None);
        machine.set("net.core.somaxconn", "4096");
        machine.set("net.ipv4.tcp_migrate_req", "0");
        let line = summary(&machine.facts, &load()).unwrap();
        assert!(
            line.starts_with(
                "2 kernel settings fall short of profile edge-100k, net.core.somaxconn"
            )
        );
        assert_eq!(summary(&machine.facts, &Load::of(None, None, 4)), None);
    }

    #[test]
    fn every_line_of_the_profiles_is_understood() {
        let machine = Machine::new();
        for profile in [&EDGE_100K, &EDGE_1M] {
            let count = profile.settings().count();
            assert!(count > 10, "{}: {count}", profile.name);
            for Setting { key, value, .. } in profile.settings() {
                assert!(wanted(value, "1 1 1", &machine.facts).is_some(), "{key}");
            }
        }
    }
}
