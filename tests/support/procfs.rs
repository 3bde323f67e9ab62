//! What the kernel tells of a process (proc(5)).

use std::fs;
use std::time::Duration;

/// A thread of a process.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) id: i32,
    pub(crate) name: String,
    /// `Cpus_allowed_list`, such as `0` or `0-3`.
    pub(crate) cpus: String,
}

/// Open descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Those of them that are sockets. A proxy that has spliced keeps its pipes.
pub(crate) fn sockets(pid: u32) -> usize {
    of_kind(pid, "socket:")
}

/// Those of them that are ends of pipes.
pub(crate) fn pipe_ends(pid: u32) -> usize {
    of_kind(pid, "pipe:")
}

fn of_kind(pid: u32, kind: &str) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let links = entries
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with(kind))
        .count()
}

/// Resident memory, bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    kib_of(
        &fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default(),
        "Rss:",
    )
}

/// Every thread, those of io_uring (`iou-wrk-*`) included.
pub(crate) fn threads(pid: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    // A thread may end between the listing and the look.
    tasks
        .filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            Some(Thread {
                id: field(&status, "Pid:")?.parse().ok()?,
                name: field(&status, "Name:")?.to_owned(),
                cpus: field(&status, "Cpus_allowed_list:")?.to_owned(),
            })
        })
        .collect()
}

/// Processor time spent, of all threads, user and system.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is alive");
    // The name, in parentheses, may hold spaces; utime and stime are fields 14 and 15, in ticks of 10 ms (USER_HZ).
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn kib_of(text: &str, key: &str) -> u64 {
    let value = field(text, key).expect("the kernel reports it");
    value
        .trim_end_matches("kB")
        .trim()
        .parse::<u64>()
        .expect("a number of kB")
        * 1024
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .map(str::trim)
}

/// Whether there is such a process that has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    // The state follows the name, which is in brackets and may have any of its own.
    let state = |stat: String| Some(stat.rsplit_once(") ")?.1.chars().next()? != 'Z');
    stat.ok().and_then(state).unwrap_or(false)
}
