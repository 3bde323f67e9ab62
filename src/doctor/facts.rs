//! What the machine says: files below a root, which a test makes, and limits of this process.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use std::fs;
use std::path::{Path, PathBuf};

/// CAP_IPC_LOCK and the like: bits of capabilities(7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Capability {
    IpcLock = 14,
    SysAdmin = 21,
    SysResource = 24,
}

/// A resource that a control group bounds: its file in version 2, and the controller and file in version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    Memory,
    Tasks,
}

/// The machine, or what a test has made of it.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    root: PathBuf,
    /// RLIMIT_NOFILE, soft and hard.
    pub(super) nofile: (u64, u64),
    /// RLIMIT_MEMLOCK, bytes; none is `u64::MAX`.
    pub(super) memlock: u64,
}

impl Facts {
    /// What this process and the files below `root` say.
    pub(super) fn read(root: &Path) -> Self {
        let nofile = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
        let memlock = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
        Self {
            root: root.to_owned(),
            nofile,
            memlock: if memlock == RLIM_INFINITY {
                u64::MAX
            } else {
                memlock
            },
        }
    }

    /// The text of a file, without what surrounds it.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// A kernel setting with single blanks between its numbers.
    pub(super) fn setting(&self, key: &str) -> Option<String> {
        let text = self.text(&format!("proc/sys/{}", key.replace('.', "/")))?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The names in a folder, sorted.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// CPUs that are online.
    pub(super) fn cpus(&self) -> usize {
        let list = self.text("sys/devices/system/cpu/online");
        list.map_or(1, |list| count_cpus(&list)).max(1)
    }

    /// Bytes of memory.
    pub(super) fn ram(&self) -> Option<u64> {
        let meminfo = self.text("proc/meminfo")?;
        let total = meminfo
            .lines()
            .find_map(|it| it.strip_prefix("MemTotal:"))?;
        let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib << 10)
    }

    /// Whether this process has a capability in effect.
    pub(super) fn has(&self, capability: Capability) -> bool {
        let status = self.text("proc/self/status").unwrap_or_default();
        let set = status.lines().find_map(|it| it.strip_prefix("CapEff:"));
        let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        set.is_some_and(|set| set >> (capability as u8) & 1 == 1)
    }

    /// The least that this process's control group and those above it allow.
    pub(super) fn group_limit(&self, bound: Bound) -> Option<u64> {
        let (new, controller, old) = match bound {
            Bound::Memory => ("memory.max", "memory", "memory.limit_in_bytes"),
            Bound::Tasks => ("pids.max", "pids", "pids.max"),
        };
        let least = |mount: &str, file: &str, group: &str| {
            upwards(group)
                .into_iter()
                .filter_map(|group| self.number(&format!("{mount}{group}/{file}")))
                .min()
        };
        let old_mount = format!("sys/fs/cgroup/{controller}");
        let limits = [
            self.group("")
                .and_then(|group| least("sys/fs/cgroup", new, &group)),
            self.group(controller)
                .and_then(|group| least(&old_mount, old, &group)),
        ];
        limits.into_iter().flatten().min()
    }

    /// CPUs' worth of time that control groups allow, in hundredths.
    pub(super) fn group_cpu_percent(&self) -> Option<u64> {
        let group = self.group("")?;
        let quotas = upwards(&group).into_iter().filter_map(|group| {
            let text = self.text(&format!("sys/fs/cgroup{group}/cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            let period: u64 = period.parse().ok()?;
            (quota.parse::<u64>().ok()? * 100).checked_div(period)
        });
        quotas.min()
    }

    /// This process's control group of a controller; of version 2 with none named.
    fn group(&self, controller: &str) -> Option<String> {
        let groups = self.text("proc/self/cgroup")?;
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let controllers = parts.nth(1)?;
            let group = parts.next()?;
            controllers
                .split(',')
                .any(|it| it == controller)
                .then(|| group.to_owned())
        })
    }
}

/// `/a/b` → `/a/b`, `/a` and the top, which is empty.
fn upwards(group: &str) -> Vec<&str> {
    let group = group.trim_end_matches('/');
    let mut groups = vec![group];
    groups.extend(group.rmatch_indices('/').map(|(at, _)| &group[..at]));
    groups
}

/// `0-3,8` is five.
fn count_cpus(list: &str) -> usize {
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (last + 1).checked_sub(first)
    });
    ranges.sum()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine made of files: 16 GiB, four CPUs, and what else is asked for.
    pub(in crate::doctor) struct Machine {
        folder: tempfile::TempDir,
        pub(in crate::doctor) facts: Facts,
    }

    impl Machine {
        pub(in crate::doctor) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let facts = Facts {
                root: folder.path().to_owned(),
                nofile: (1024, 1 << 20),
                memlock: u64::MAX,
            };
            let machine = Self { folder, facts };
            machine.write("proc/meminfo", "MemTotal:       16777216 kB\n");
            machine.write("sys/devices/system/cpu/online", "0-2,7\n");
            machine
        }

        pub(in crate::doctor) fn write(&self, path: &str, text: &str) {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub(in crate::doctor) fn set(&self, key: &str, value: &str) {
            self.write(
                &format!("proc/sys/{}", key.replace('.', "/")),
                &format!("{value}\n"),
            );
        }
    }

    #[test]
    fn a_machine_is_read_from_its_files() {
        let machine = Machine::new();
        assert_eq!(machine.facts.cpus(), 4);
        assert_eq!(machine.facts.ram(), Some(16 << 30));
        machine.set("net.ipv4.tcp_mem", "1\t2\t3");
        assert_eq!(machine.facts.setting("net.ipv4.tcp_mem").unwrap(), "1 2 3");
        assert_eq!(machine.facts.setting("net.ipv4.tcp_rmem"), None);
    }

    #[test]
    fn capabilities_are_bits() {
        let machine = Machine::new();
        assert!(!machine.facts.has(Capability::IpcLock));
        // Bit 14 alone.
        machine.write("proc/self/status", "Name:\tx\nCapEff:\t0000000000004000\n");
        assert!(machine.facts.has(Capability::IpcLock));
        assert!(!machine.facts.has(Capability::SysResource));
    }

    #[test]
    fn the_tightest_control_group_on_the_way_up_counts() {
        let machine = Machine::new();
        let memory = |machine: &Machine| machine.facts.group_limit(Bound::Memory);
        assert_eq!(memory(&machine), None);
        machine.write("proc/self/cgroup", "0::/system.slice/ringway.service\n");
        machine.write(
            "sys/fs/cgroup/system.slice/ringway.service/memory.max",
            "max\n",
        );
        assert_eq!(memory(&machine), None);
        machine.write("sys/fs/cgroup/system.slice/memory.max", "4294967296\n");
        assert_eq!(memory(&machine), Some(4 << 30));
        machine.write(
            "sys/fs/cgroup/system.slice/ringway.service/memory.max",
            "5294967296\n",
        );
        assert_eq!(memory(&machine), Some(4 << 30));
        machine.write("sys/fs/cgroup/cpu.max", "150000 100000\n");
        assert_eq!(machine.facts.group_cpu_percent(), Some(150));
    }

    #[test]
    fn a_container_on_version_one_sees_its_group_at_the_top() {
        let machine = Machine::new();
        machine.write(
            "proc/self/cgroup",
            "8:pids:/docker/77\n4:memory:/docker/77\n0::/\n",
        );
        machine.write("sys/fs/cgroup/pids/pids.max", "100\n");
        machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
        assert_eq!(machine.facts.group_limit(Bound::Tasks), Some(100));
        assert_eq!(machine.facts.group_limit(Bound::Memory), Some(1 << 20));
    }
}
