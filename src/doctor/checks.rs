//! Limits and circumstances, each judged by itself.

use super::facts::{Bound, Capability, Facts};
use super::finding::Finding;
use super::load::{Backends, Load};
use super::settings::page_bytes;
use crate::control::limits;
use crate::ring::{PIPES_MAX, SPILL_MAX, UringConfig};

pub(super) const NOFILE: &str = "nofile";
pub(super) const HUGE_PAGES: &str = "transparent_hugepage";

/// Two idle sockets in the kernel, and a connection's own state (docs/tuning.md, "How large a machine").
const CONNECTION_BYTES: u64 = 9_200;

/// Threads beside the workers: control, its helpers, what the kernel may start for a ring.
const OTHER_TASKS: u64 = 16;

/// Everything but the cards, which the proxy need not look at when it starts.
pub(super) fn all(facts: &Facts, load: &Load) -> Vec<Finding> {
    let checks: [fn(&Facts, &Load) -> Option<Finding>; 15] = [
        memlock,
        open_files,
        files_of_a_process,
        files_of_all,
        local_ports,
        pipes,
        memory,
        group_memory,
        group_tasks,
        group_cpus,
        connection_table,
        migration,
        clock,
        huge_pages,
        kernel,
    ];
    let found = checks.iter().filter_map(|check| check(facts, load));
    found.collect()
}

fn open_files(facts: &Facts, load: &Load) -> Option<Finding> {
    let (soft, hard) = facts.nofile;
    let now = format!("{soft} soft, {hard} hard");
    let why = "two descriptors a connection; the soft limit is raised to the hard one at start (RLIMIT_NOFILE)";
    let Some(connections) = load.connections else {
        let room = limits::connections_max(0, hard, load.sockets);
        return Some(
            Finding::fine(NOFILE, now, format!("room for {room} connections")).because(why),
        );
    };
    let needed = limits::descriptors(connections, load.sockets);
    let fix = format!("LimitNOFILE={needed} in the unit, or `ulimit -n {needed}`");
    Some(
        Finding::fine(NOFILE, now, format!("at least {needed} hard"))
            .because(why)
            .warn_unless(hard >= needed, fix),
    )
}

fn files_of_a_process(facts: &Facts, load: &Load) -> Option<Finding> {
    let now: u64 = facts.setting("fs.nr_open")?.parse().ok()?;
    let needed = limits::descriptors(load.connections?, load.sockets);
    let fix = load.fix("fs.nr_open", &needed.to_string());
    Some(
        Finding::fine("fs.nr_open", now.to_string(), format!("at least {needed}"))
            .because(
                "no process gets a higher limit; systemd clips LimitNOFILE= to it without a word",
            )
            .warn_unless(now >= needed, fix),
    )
}

fn files_of_all(facts: &Facts, load: &Load) -> Option<Finding> {
    let state = facts.setting("fs.file-nr")?;
    let mut numbers = state.split(' ').map(str::parse::<u64>);
    let (used, max) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
    let needed = used + limits::descriptors(load.connections?, load.sockets);
    let fix = load.fix("fs.file-max", &needed.to_string());
    Some(
        Finding::fine("fs.file-max", max.to_string(), format!("at least {needed}"))
            .because(format!(
                "{used} files are open on this machine already; above it every program gets ENFILE"
            ))
            .warn_unless(max >= needed, fix),
    )
}

/// Twice the rings: an upgrade runs the next process beside this one, and the account is the user's.
fn memlock(facts: &Facts, load: &Load) -> Option<Finding> {
    let needed = 2 * load.workers as u64 * UringConfig::default().locked_bytes();
    let exempt = facts.memlock == u64::MAX || facts.has(Capability::IpcLock);
    let now = match facts.memlock {
        u64::MAX => "unlimited".to_owned(),
        bytes => format!("{} KiB", bytes >> 10),
    };
    Some(
    Finding::fine("memlock", now, format!("at least {} KiB", needed >> 10))
        .because("rings of all processes of a user count together, twice as many during an upgrade (RLIMIT_MEMLOCK)")
        .warn_unless(
            exempt || facts.memlock >= needed,
            "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`",
        ),
    )
}

/// The upstream whose backends get the most connections for the ports that there are.
fn local_ports(facts: &Facts, load: &Load) -> Option<Finding> {
    let range = facts.setting("net.ipv4.ip_local_port_range")?;
    let (low, high) = range.split_once(' ')?;
    let ports = (high.parse::<u64>().ok()? + 1).checked_sub(low.parse().ok()?)?;
    let connections = load.connections?;
    let needed = |it: &Backends| connections.div_ceil(it.count).div_ceil(it.sources);
    let tightest = load.upstreams.iter().max_by_key(|it| needed(it))?;
    let (needed, upstream) = (needed(tightest), &tightest.upstream);
    let fix = format!(
        "ringway-tune apply --profile edge-100k widens the range to 64512; then {} source_addresses for upstream \"{upstream}\"",
        needed.saturating_mul(tightest.sources).div_ceil(64_512)
    );
    Some(
        Finding::fine(
            "net.ipv4.ip_local_port_range",
            format!("{ports} ports"),
            format!("at least {needed}"),
        )
        .because(format!(
            "each connection to one backend from one address of ours needs its own port; upstream \"{upstream}\" has {} \
             backends and {} source addresses",
            tightest.count, tightest.sources
        ))
        .warn_unless(ports >= needed, fix),
    )
}

fn pipes(facts: &Facts, load: &Load) -> Option<Finding> {
    const KEY: &str = "fs.pipe-user-pages-soft";
    let now: u64 = facts.setting(KEY)?.parse().ok()?;
    let needed = load.workers as u64 * PIPES_MAX / page_bytes();
    let exempt = [Capability::SysAdmin, Capability::SysResource];
    let enough = now == 0 || now >= needed || exempt.iter().any(|it| facts.has(*it));
    load.splices.then(|| {
        Finding::fine(KEY, now.to_string(), format!("at least {needed}, or 0"))
            .because("above it a user's pipes are of one page, and bulk that is spliced costs several times as much")
            .warn_unless(enough, load.fix(KEY, &needed.to_string()))
    })
}

/// Bytes that the whole proxy may come to need, stalled readers aside.
fn footprint(load: &Load) -> u64 {
    let buffers = UringConfig::default().buffer_bytes();
    let worker = buffers + SPILL_MAX as u64 + PIPES_MAX;
    load.connections.unwrap_or(0) * CONNECTION_BYTES + load.workers as u64 * worker
}

fn memory(facts: &Facts, load: &Load) -> Option<Finding> {
    let (now, needed) = (facts.ram()?, footprint(load));
    let fix = "more memory, fewer workers, or a lower process.max_connections";
    Some(
        Finding::fine("memory", mib(now), format!("at least {}", mib(needed)))
            .because("9.2 KB a connection, and up to 112 MiB a worker; stalled readers come on top")
            .warn_unless(now >= needed, fix),
    )
}

fn group_memory(facts: &Facts, load: &Load) -> Option<Finding> {
    let now = facts.group_limit(Bound::Memory)?;
    let needed = footprint(load);
    // Version 1 writes "no limit" as a number larger than any machine.
    let limited = now < facts.ram().unwrap_or(u64::MAX);
    limited.then(|| {
        Finding::fine("cgroup.memory", mib(now), format!("at least {}", mib(needed)))
            .because("sockets count: TCP slows down first, and then the kernel ends the process with all its clients")
            .warn_unless(now >= needed, format!("MemoryMax={}M or none in the unit", needed.div_ceil(1 << 20)))
    })
}

fn group_tasks(facts: &Facts, load: &Load) -> Option<Finding> {
    let now = facts.group_limit(Bound::Tasks)?;
    let needed = load.workers as u64 + OTHER_TASKS;
    Some(
        Finding::fine("cgroup.pids", now.to_string(), format!("at least {needed}"))
            .because("a thread for each worker, a few more for the slow side; without them the proxy does not start")
            .fail_unless(now >= needed, format!("TasksMax={needed} in the unit, or infinity")),
    )
}

fn group_cpus(facts: &Facts, load: &Load) -> Option<Finding> {
    let now = facts.group_cpu_percent()?;
    let needed = load.workers as u64 * 100;
    let fix = format!("CPUQuota={needed}% or none in the unit, or fewer workers");
    Some(
        Finding::fine(
            "cgroup.cpu",
            format!("{now} %"),
            format!("at least {needed} %"),
        )
        .because(
            "workers that have used up their share stand still for the rest of a tenth of a second",
        )
        .warn_unless(now >= needed, fix),
    )
}

fn connection_table(facts: &Facts, load: &Load) -> Option<Finding> {
    const KEY: &str = "net.ipv4.tcp_ehash_entries";
    // A namespace that shares the machine's table has it as a negative number.
    let now: i64 = facts.setting(KEY)?.parse().ok()?;
    let (now, needed) = (now.unsigned_abs(), load.connections?);
    Some(
        Finding::fine(KEY, now.to_string(), format!("at least {needed}"))
            .because("two sockets a connection; with fewer buckets than connections each packet walks a longer chain")
            .warn_unless(
                now >= needed,
                format!("boot parameter thash_entries={}", needed.next_power_of_two()),
            ),
    )
}

/// CVE-2026-46015: who was moved to another listening socket waited there until the next client came. The first release
/// of each series that wakes it.
const MIGRATION_MENDED: [(u32, u32, u32); 5] = [
    (6, 1, 175),
    (6, 6, 140),
    (6, 12, 86),
    (6, 18, 27),
    (7, 0, 4),
];

fn migration(facts: &Facts, _: &Load) -> Option<Finding> {
    let switched_on = facts.setting("net.ipv4.tcp_migrate_req")? == "1";
    let [major, minor, patch] = release(facts)?;
    let series = MIGRATION_MENDED
        .iter()
        .find(|it| (it.0, it.1) == (major, minor));
    // A series that is not in the list is newer, or nobody mends it; a distribution's `6.8.0-57` does not tell.
    let (.., mended) = series.filter(|_| switched_on && patch > 0)?;
    Some(
        Finding::fine(
            "kernel.migration",
            format!("{major}.{minor}.{patch}"),
            format!("at least {major}.{minor}.{mended}"),
        )
        .because("with tcp_migrate_req, clients that wait while a listener closes are moved, and not woken (CVE-2026-46015)")
        .warn_unless(
            patch >= *mended,
            "a newer kernel, or net.ipv4.tcp_migrate_req = 0 until then",
        ),
    )
}

/// Which it is. Whether it is new enough, the rings say: a distribution may have brought in what they need.
fn kernel(facts: &Facts, _: &Load) -> Option<Finding> {
    let now = facts.setting("kernel.osrelease")?;
    Some(Finding::fine(
        "kernel",
        now,
        "one that makes the rings, as from 6.1 on",
    ))
}

/// The release in numbers. Debian's `6.1.0-37-amd64` says which it really is in the version.
fn release(facts: &Facts) -> Option<[u32; 3]> {
    let version = facts.setting("kernel.version").unwrap_or_default();
    let debian = version
        .split_once("Debian ")
        .map(|(_, rest)| rest.to_owned());
    let text = debian.or_else(|| facts.setting("kernel.osrelease"))?;
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next().unwrap_or(0)])
}

fn clock(facts: &Facts, _: &Load) -> Option<Finding> {
    const FAST: [&str; 5] = [
        "tsc",
        "kvm-clock",
        "arch_sys_counter",
        "hyperv_clocksource_tsc_page",
        "riscv_clocksource",
    ];
    let now = facts.text("sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    let fast = FAST.contains(&now.as_str());
    Some(
        Finding::fine("clocksource", now, "tsc, or another that is read without the kernel")
            .because("every turn reads the clock, which is a system call or a slow device with this one")
            .warn_unless(
                fast,
                "see why the kernel gave up its clock (`dmesg | grep -i clocksource`), or another kind of machine",
            ),
    )
}

fn huge_pages(facts: &Facts, _: &Load) -> Option<Finding> {
    let modes = facts.text("sys/kernel/mm/transparent_hugepage/enabled")?;
    let now = modes.split('[').nth(1)?.split(']').next()?.to_owned();
    let always = now == "always";
    Some(
        Finding::fine(HUGE_PAGES, now, "madvise or never")
            .because("buffers that were never used get memory all the same, and compaction makes workers wait")
            .warn_unless(
                !always,
                "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled, and transparent_hugepage=madvise at boot",
            ),
    )
}

/// Receive queues of each card beside the workers.
pub(super) fn network_cards(facts: &Facts, load: &Load) -> Vec<Finding> {
    const NET: &str = "sys/class/net";
    let devices = facts.names(NET).into_iter();
    let cards = devices.filter(|it| facts.exists(&format!("{NET}/{it}/device")));
    let findings = cards.filter_map(|card| {
        let queues = facts.names(&format!("{NET}/{card}/queues"));
        let queues: Vec<_> = queues.iter().filter(|it| it.starts_with("rx-")).collect();
        let shared_out = queues.iter().all(|queue| {
            let cpus = facts.text(&format!("{NET}/{card}/queues/{queue}/rps_cpus"));
            cpus.is_some_and(|mask| mask.contains(|digit| !matches!(digit, '0' | ',')))
        });
        // Below ten thousand connections one CPU takes the packets of all.
        let needed = load.profile().map_or(1, |_| load.workers);
        (!queues.is_empty()).then(|| {
            Finding::fine(
                &format!("{card}.queues"),
                format!("{} receive queues", queues.len()),
                format!("at least {needed}, or shared out (RPS)"),
            )
            .because("packets of all clients come in on as many CPUs as there are queues")
            .warn_unless(
                queues.len() >= needed || shared_out,
                format!("ringway-nic apply {card} --profile edge-100k; with no more queues it shares packets out by software"),
            )
        })
    });
    findings.collect()
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests;
