//! A machine made of files, below a folder of its own, for the scripts' `--root`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a script may take, in seconds. Reached only by a failing test.
const SECONDS: &str = "60";

/// What a kernel has after boot, as far as profiles look.
const SETTINGS: &[(&str, &str)] = &[
    ("fs.nr_open", "1048576"),
    ("fs.file-max", "1600000"),
    ("fs.pipe-user-pages-soft", "16384"),
    ("kernel.numa_balancing", "1"),
    ("kernel.nmi_watchdog", "1"),
    ("kernel.timer_migration", "1"),
    ("net.core.netdev_budget", "300"),
    ("net.core.netdev_budget_usecs", "2000"),
    ("net.core.netdev_max_backlog", "1000"),
    ("net.core.somaxconn", "4096"),
    ("net.ipv4.ip_local_port_range", "32768\t60999"),
    ("net.ipv4.ip_local_reserved_ports", ""),
    ("net.ipv4.tcp_autocorking", "1"),
    ("net.ipv4.tcp_fin_timeout", "60"),
    ("net.ipv4.tcp_max_orphans", "65536"),
    ("net.ipv4.tcp_max_syn_backlog", "1024"),
    ("net.ipv4.tcp_max_tw_buckets", "65536"),
    ("net.ipv4.tcp_mem", "190000\t254000\t380000"),
    ("net.ipv4.tcp_migrate_req", "0"),
    ("net.ipv4.tcp_mtu_probing", "0"),
    ("net.ipv4.tcp_slow_start_after_idle", "1"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_tw_reuse", "2"),
    ("vm.compaction_proactiveness", "20"),
    ("vm.min_free_kbytes", "67584"),
    ("vm.stat_interval", "1"),
    ("vm.swappiness", "60"),
];

/// The drop-in that the script writes.
pub(crate) const DROP_IN: &str = "etc/sysctl.d/60-ringway.conf";

/// Where it notes what was there.
pub(crate) const SNAPSHOT: &str = "var/lib/ringway-tune/snapshot";

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tuning")
        .join(name)
}

/// How a script ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The same, provided that it ended so.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "it said:\n{}\n{}",
            self.out,
            self.err
        );
        self
    }

    /// The line of `key`, and the line after it, which is its advice.
    #[track_caller]
    pub(crate) fn line(&self, key: &str) -> String {
        let of_key = |line: &&str| line.split_whitespace().nth(1) == Some(key);
        let mut lines = self.out.lines().skip_while(|line| !of_key(line));
        let found = lines
            .next()
            .unwrap_or_else(|| panic!("nothing about {key} in:\n{}", self.out));
        let words: Vec<_> = found
            .split_whitespace()
            .chain(lines.next().into_iter().flat_map(str::split_whitespace))
            .collect();
        words.join(" ")
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// 16 GiB, four CPUs, every setting at its default, connection tracking not loaded.
    pub(crate) fn new() -> Self {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        machine.write("proc/meminfo", "MemTotal:       16777216 kB\n");
        machine.write("sys/devices/system/cpu/online", "0-2,7\n");
        for (key, value) in SETTINGS {
            machine.set(key, value);
        }
        machine
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What a file has, without its last line's end; empty when it is not there.
    pub(crate) fn read(&self, path: &str) -> String {
        let text = fs::read_to_string(self.path(path)).unwrap_or_default();
        text.trim_end_matches('\n').to_owned()
    }

    pub(crate) fn set(&self, key: &str, value: &str) {
        self.write(&sysctl(key), &format!("{value}\n"));
    }

    pub(crate) fn remove(&self, key: &str) {
        fs::remove_file(self.path(&sysctl(key))).unwrap();
    }

    pub(crate) fn get(&self, key: &str) -> String {
        self.read(&sysctl(key))
    }

    /// Every file and what is in it.
    pub(crate) fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect(self.folder.path(), &mut found);
        found.sort();
        found
    }

    /// Runs `ringway-tune` on this machine.
    pub(crate) fn tune(&self, arguments: &[&str]) -> Ended {
        self.run(&[script("ringway-tune").to_str().unwrap()], arguments)
    }

    /// Runs `command` with these arguments and this machine's folder.
    pub(crate) fn run(&self, command: &[&str], arguments: &[&str]) -> Ended {
        let output = Command::new("timeout")
            .arg(SECONDS)
            .args(command)
            .args(arguments)
            .arg("--root")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .output();
        output.unwrap().into()
    }
}

fn sysctl(key: &str) -> String {
    format!("proc/sys/{}", key.replace('.', "/"))
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
}
