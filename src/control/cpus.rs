//! Which CPUs the workers run on: chosen among those that this process may use (sched_getaffinity(2)), which is what
//! cgroups, systemd's `CPUAffinity=` and taskset(1) leave it.

use crate::config::Workers;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

const SELF: Pid = Pid::from_raw(0);

/// One CPU per worker.
pub(super) fn choose(workers: &Workers) -> Result<Vec<usize>, String> {
    let allowed = allowed().map_err(|e| format!("cannot read this process's CPUs: {e}"))?;
    pick(workers, &allowed)
}

/// Ties the calling thread to a CPU.
pub(super) fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(SELF, &set)
}

fn allowed() -> nix::Result<Vec<usize>> {
    let set = sched_getaffinity(SELF)?;
    Ok((0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu) == Ok(true))
        .collect())
}

fn pick(workers: &Workers, allowed: &[usize]) -> Result<Vec<usize>, String> {
    match workers {
        Workers::Auto => Ok(allowed.to_vec()),
        // More workers than CPUs share them in turn: of use for tests alone, but not wrong.
        Workers::Count(count) => Ok(allowed.iter().copied().cycle().take(count.get()).collect()),
        Workers::Cpus(list) => match list.iter().find(|cpu| !allowed.contains(cpu)) {
            None => Ok(list.clone()),
            Some(cpu) => Err(format!(
                "process.workers: CPU {cpu} is not among those that this process may use ({allowed:?}); \
                 choose from these, or widen CPUAffinity= or the cpuset"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn workers_run_only_where_the_process_may() {
        let allowed = [1, 3];
        let count = |n| Workers::Count(NonZeroUsize::new(n).unwrap());
        assert_eq!(pick(&Workers::Auto, &allowed).unwrap(), [1, 3]);
        assert_eq!(pick(&count(1), &allowed).unwrap(), [1]);
        assert_eq!(pick(&count(3), &allowed).unwrap(), [1, 3, 1]);
        assert_eq!(pick(&Workers::Cpus(vec![3]), &allowed).unwrap(), [3]);
        let refusal = pick(&Workers::Cpus(vec![3, 2]), &allowed).unwrap_err();
        assert!(refusal.contains("CPU 2"), "{refusal}");
    }
}
