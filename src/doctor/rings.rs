//! The rings of all workers, made as the workers make them: the one question about io_uring that no file answers.

use super::facts::Facts;
use super::finding::Finding;
use crate::config::{Config, Workers};
use crate::control::cpus;
use crate::ring::{RecvMode, SetupError, Uring, UringConfig, recv_mode};
use std::thread;
use std::time::Duration;

/// What came of trying.
#[derive(Debug)]
pub(super) struct Rings {
    cpus: Result<Vec<usize>, String>,
    pinned: Result<(), String>,
    made: usize,
    mode: Option<RecvMode>,
    refusal: Option<SetupError>,
}

impl Rings {
    /// Makes them all, holds them together for a moment as the proxy would for its life, and gives them back.
    pub(super) fn make(config: Option<&Config>) -> Self {
        let workers = config.map_or(Workers::Auto, |it| it.process.workers.clone());
        let spin = config.map(|it| it.process.spin).unwrap_or_default();
        // Pinning is a thread's own affair: this one comes and goes.
        thread::scope(|scope| {
            let trial =
                thread::Builder::new().spawn_scoped(scope, || Self::try_all(&workers, spin));
            match trial {
                Ok(trial) => trial.join().expect("making rings does not panic"),
                Err(error) => Self::untried(format!("no thread can be started: {error}")),
            }
        })
    }

    fn untried(why: String) -> Self {
        Self {
            cpus: Err(why),
            pinned: Ok(()),
            made: 0,
            mode: None,
            refusal: None,
        }
    }

    fn try_all(workers: &Workers, spin: Duration) -> Self {
        let mut tried = Self::untried(String::new());
        tried.cpus = cpus::choose(workers);
        match recv_mode() {
            Ok(mode) => tried.mode = Some(mode),
            Err(refusal) => {
                tried.refusal = Some(refusal);
                return tried;
            }
        }
        let mut rings = Vec::new();
        for &cpu in tried.cpus.iter().flatten() {
            if let Err(error) = cpus::pin(cpu) {
                tried.pinned = Err(format!("CPU {cpu}: {error}"));
            }
            let config = UringConfig {
                recv: tried.mode,
                spin,
                ..UringConfig::default()
            };
            match Uring::new(config) {
                Ok(ring) => rings.push(ring),
                Err(refusal) => {
                    tried.refusal = Some(refusal);
                    break;
                }
            }
        }
        tried.made = rings.len();
        tried
    }

    pub(super) fn findings(&self, facts: &Facts) -> Vec<Finding> {
        let mut findings = vec![self.ring_finding()];
        findings.extend(self.receive_finding());
        findings.extend(self.sysctl_finding(facts));
        findings.push(self.cpu_finding());
        findings
    }

    fn ring_finding(&self) -> Finding {
        let wanted = self.cpus.as_ref().map_or(1, Vec::len);
        let finding = Finding::fine(
            "io_uring",
            format!("{} of {wanted} rings made", self.made),
            "all of them",
        );
        match &self.refusal {
            None => finding,
            Some(SetupError {
                what,
                errno,
                cause,
                fix,
            }) => finding
                .because(format!("cannot {what}: {errno}; {cause}"))
                .fail_unless(false, fix),
        }
    }

    fn receive_finding(&self) -> Option<Finding> {
        let mode = self.mode?;
        let why = "several messages cost one submission where the kernel has multishot receives with a budget (6.17)";
        Some(Finding::fine("io_uring.receive", mode.to_string(), mode.to_string()).because(why))
    }

    /// Who is root can make rings where the service's user cannot.
    fn sysctl_finding(&self, facts: &Facts) -> Option<Finding> {
        let now = facts.setting("kernel.io_uring_disabled")?;
        let fix = "set kernel.io_uring_group to the group of ringway's user, or kernel.io_uring_disabled to 0";
        let for_everybody =
            now == "0" || (now == "1" && facts.setting("kernel.io_uring_group")? != "-1");
        Some(
            Finding::fine("kernel.io_uring_disabled", now, "0")
                .because("1 and 2 keep io_uring from most users: the service's may be refused what this one is not")
                .warn_unless(for_everybody, fix),
        )
    }

    fn cpu_finding(&self) -> Finding {
        const KEY: &str = "cpus";
        match (&self.cpus, &self.pinned) {
            (Ok(cpus), Ok(())) => Finding::fine(
                KEY,
                format!("{} for workers", cpus.len()),
                "one for each worker",
            )
            .because("each worker runs on a CPU of its own"),
            (Ok(_), Err(error)) => Finding::fine(KEY, error, "workers can be pinned")
                .because("a worker that cannot be pinned does not start")
                .fail_unless(
                    false,
                    "SystemCallFilter= or seccomp must allow sched_setaffinity",
                ),
            (Err(error), _) => Finding::fine(KEY, error, "CPUs that process.workers names")
                .because("a worker without a CPU does not start")
                .fail_unless(
                    false,
                    "other CPUs in process.workers, or a wider CPUAffinity= or cpuset",
                ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::Machine;
    use super::*;
    use crate::doctor::State;
    use crate::ring::Errno;

    fn made(refusal: Option<SetupError>) -> Rings {
        Rings {
            cpus: Ok(vec![0, 1]),
            pinned: Ok(()),
            made: 2,
            mode: Some(RecvMode::Multishot),
            refusal,
        }
    }

    fn state(findings: &[Finding], key: &str) -> State {
        let found = findings.iter().find(|finding| finding.key == key);
        found.unwrap_or_else(|| panic!("no {key}")).state
    }

    fn states(rings: &Rings, machine: &Machine, key: &str) -> State {
        state(&rings.findings(&machine.facts), key)
    }

    #[test]
    fn rings_that_are_refused_do_not_work_and_bring_their_cause_and_fix() {
        let refusal = SetupError {
            what: "make a ring",
            errno: Errno::EPERM,
            cause: "a seccomp filter refuses io_uring".into(),
            fix: "another seccomp profile".into(),
        };
        let findings = made(Some(refusal)).findings(&Machine::new().facts);
        let found = &findings[0];
        assert_eq!(
            (found.key.as_str(), found.state),
            ("io_uring", State::Critical)
        );
        assert!(found.why.contains("EPERM") && found.why.contains("seccomp"));
        assert_eq!(found.fix, "another seccomp profile");
        assert_eq!(
            states(&made(None), &Machine::new(), "io_uring"),
            State::Fine
        );
    }

    #[test]
    fn a_sysctl_that_bars_other_users_is_warned_about_even_where_this_one_is_let_in() {
        let machine = Machine::new();
        machine.set("kernel.io_uring_group", "-1");
        for (value, wanted) in [
            ("0", State::Fine),
            ("1", State::Warning),
            ("2", State::Warning),
        ] {
            machine.set("kernel.io_uring_disabled", value);
            let found = states(&made(None), &machine, "kernel.io_uring_disabled");
            assert_eq!(found, wanted, "{value}");
        }
        machine.set("kernel.io_uring_disabled", "1");
        machine.set("kernel.io_uring_group", "998");
        let found = states(&made(None), &machine, "kernel.io_uring_disabled");
        assert_eq!(found, State::Fine);
    }

    #[test]
    fn workers_that_cannot_be_pinned_do_not_start() {
        let mut rings = made(None);
        rings.pinned = Err("CPU 1: EPERM".into());
        assert_eq!(states(&rings, &Machine::new(), "cpus"), State::Critical);
        rings.cpus = Err("CPU 7 is not among those".into());
        assert_eq!(states(&rings, &Machine::new(), "cpus"), State::Critical);
    }

    #[test]
    fn this_machine_makes_its_rings() {
        let rings = Rings::make(None);
        let cpus = rings.cpus.as_ref().unwrap().len();
        assert_eq!((rings.made, rings.refusal), (cpus, None));
        assert_eq!(rings.pinned, Ok(()));
    }
}
