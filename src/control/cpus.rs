//! Which CPUs the workers run on: chosen among those that this process may use (sched_getaffinity(2)), which is what
//! cgroups, systemd's `CPUAffinity=` and taskset(1) leave it.

use crate::config::{Listener, Workers};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::utsname::uname;
use nix::unistd::Pid;

const SELF: Pid = Pid::from_raw(0);

/// One CPU per worker.
pub(crate) fn choose(workers: &Workers) -> Result<Vec<usize>, String> {
    let allowed = allowed().map_err(|e| format!("cannot read this process's CPUs: {e}"))?;
    pick(workers, &allowed)
}

/// Ties the calling thread to a CPU.
pub(crate) fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(SELF, &set)
}

/// This kernel's release, such as `6.18.44`; empty when it does not say.
pub(super) fn release() -> String {
    let name = uname().ok();
    name.map_or_else(String::new, |it| {
        it.release().to_string_lossy().into_owned()
    })
}

/// A warning when a listener asks for its clients by CPU and this kernel, whose release is given, cannot do it.
pub(super) fn incoming_cpu_warning(listeners: &[Listener], release: &str) -> Option<String> {
    let listener = listeners.iter().find(|listener| listener.incoming_cpu)?;
    (!heeds_incoming_cpu(release)).then(|| {
        format!(
            "listener \"{}\": incoming_cpu needs Linux 6.2 and this is {release}: its clients are spread by hash and \
             never handed over; remove the key",
            listener.name
        )
    })
}

/// Among sockets that share an address by SO_REUSEPORT, SO_INCOMING_CPU counts from Linux 6.2 (b261eda84ec1).
fn heeds_incoming_cpu(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 2),
        // A release that nobody can read is more likely a new one.
        _ => true,
    }
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

    #[test]
    fn a_kernel_that_cannot_go_by_cpu_is_warned_about_where_it_matters() {
        let mut listener = Listener::new("feed".into(), Vec::new(), 0);
        let warned = |listener: &Listener, release| {
            incoming_cpu_warning(std::slice::from_ref(listener), release).is_some()
        };
        assert!(!warned(&listener, "6.1.0-13-amd64"));
        listener.incoming_cpu = true;
        assert!(warned(&listener, "6.1.0-13-amd64"));
        assert!(warned(&listener, "5.15.0"));
        assert!(!warned(&listener, "6.2.0-rc1"));
        assert!(!warned(&listener, "6.18.44"));
        assert!(!warned(&listener, "7.0"));
    }
}
