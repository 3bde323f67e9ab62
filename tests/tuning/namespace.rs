//! `ringway-tune` and a kernel: the network settings of a namespace of its own, where everything else is read-only.

use crate::machine::{Ended, script};
use crate::support::skip;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Settings of the whole machine cannot be written here, and what is written to /etc and /var/lib goes with the namespace.
const SETUP: &str = "
mount --make-rprivate /
for folder in fs kernel vm; do
    mount --bind /proc/sys/$folder /proc/sys/$folder
    mount -o remount,ro,bind /proc/sys/$folder
done
mount -t tmpfs ringway-test /var/lib
mkdir /var/lib/etc
# Debian's awk is a link through there.
[ ! -d /etc/alternatives ] || cp -a /etc/alternatives /var/lib/etc
mount --bind /var/lib/etc /etc
ip link set lo up
[ -w /proc/sys/net/core/somaxconn ]
echo ready
read -r _
";

/// A network and a mount namespace that live as long as this.
struct Namespace {
    holder: Child,
}

impl Namespace {
    /// `None`, and a line that says so, where this machine does not let us.
    fn new(test: &str) -> Option<Self> {
        let holder = Command::new("timeout")
            .args(["120", "unshare", "-n", "-m", "sh", "-e", "-c", SETUP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut namespace = Self {
            holder: holder.unwrap(),
        };
        let mut said = String::new();
        let out = namespace.holder.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        if said != "ready\n" {
            skip(
                test,
                "needs root, unshare(1) and a writable /proc/sys/net in a namespace of its own",
            );
            return None;
        }
        Some(namespace)
    }

    fn run(&self, command: &[&str]) -> Ended {
        // timeout(1) stays outside; the shell that it started holds the namespaces.
        let children = format!("/proc/{0}/task/{0}/children", self.holder.id());
        let shell = fs::read_to_string(children).unwrap();
        let output = Command::new("timeout")
            .args(["60", "nsenter", "-n", "-m", "-t", shell.trim(), "--"])
            .args(command)
            .stdin(Stdio::null())
            .output();
        output.unwrap().into()
    }

    fn tune(&self, arguments: &[&str]) -> Ended {
        let script = script("ringway-tune");
        self.run(&[&[script.to_str().unwrap()], arguments].concat())
    }

    fn get(&self, key: &str) -> String {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        one_line(&self.run(&["cat", &path]).with(0).out)
    }

    fn set(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let command = format!("echo {value} >{path}");
        self.run(&["sh", "-c", &command]).with(0);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The end of its input is the shell's own, and with it timeout's.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn of_this_machine(key: &str) -> String {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    one_line(&fs::read_to_string(path).unwrap_or_default())
}

#[test]
fn a_kernel_takes_a_profile_and_gives_it_back() {
    let Some(namespace) = Namespace::new("a_kernel_takes_a_profile_and_gives_it_back") else {
        return;
    };
    let keys = [
        "net.core.somaxconn",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_migrate_req",
    ];
    let all = |value: &dyn Fn(&str) -> String| keys.map(value);
    let outside = all(&of_this_machine);
    let machine = [
        "fs.nr_open",
        "fs.file-max",
        "vm.min_free_kbytes",
        "vm.swappiness",
    ]
    .map(of_this_machine);
    let before = all(&|key| namespace.get(key));

    let apply = [
        "apply",
        "--profile",
        "edge-1m",
        "--service-ports",
        "9001,9000",
    ];
    let ended = namespace.tune(&apply);
    // 1 where connection tracking is loaded and there is no nft to tell it.
    assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.err);
    let applied = all(&|key| namespace.get(key));
    assert_eq!(applied[0], "65535");
    assert_eq!(applied[1], "1024 65535");
    assert!(applied[2].contains("9000-9001"), "{}", applied[2]);
    assert_eq!(applied[3..], ["15", "0", "1"]);
    let again = namespace.tune(&["apply", "--profile", "edge-1m"]).with(0);
    assert!(again.out.contains("set: 0;"), "{}", again.out);

    namespace.set("net.ipv4.tcp_fin_timeout", "7");
    namespace.tune(&["revert"]).with(0);
    let mut expected = before;
    expected[3] = "7".to_owned();
    assert_eq!(all(&|key| namespace.get(key)), expected);
    let left = namespace
        .run(&[
            "find",
            "/etc",
            "/var/lib",
            "-name",
            "*ringway*",
            "-type",
            "f",
        ])
        .with(0);
    assert_eq!(left.out, "");

    assert_eq!(all(&of_this_machine), outside);
    let now = [
        "fs.nr_open",
        "fs.file-max",
        "vm.min_free_kbytes",
        "vm.swappiness",
    ]
    .map(of_this_machine);
    assert_eq!(now, machine);
}

#[test]
fn what_the_kernel_refuses_is_named_and_not_kept() {
    let Some(namespace) = Namespace::new("what_the_kernel_refuses_is_named_and_not_kept") else {
        return;
    };
    // Local ports may not begin below those that need no privilege (ip-sysctl.rst).
    namespace.set("net.ipv4.ip_unprivileged_port_start", "2000");
    let ended = namespace.tune(&["apply", "--profile", "edge-100k"]).with(1);
    let line = ended.line("net.ipv4.ip_local_port_range");
    assert!(
        line.starts_with("failed net.ipv4.ip_local_port_range is 32768 60999"),
        "{line}"
    );
    assert_eq!(namespace.get("net.core.somaxconn"), "16384");
    let written = namespace
        .run(&["sh", "-c", "cat /etc/sysctl.d/*.conf /var/lib/*/snapshot"])
        .with(0);
    assert!(
        written.out.contains("net.core.somaxconn"),
        "{}",
        written.out
    );
    assert!(
        !written.out.contains("ip_local_port_range"),
        "{}",
        written.out
    );
}

#[test]
fn packets_to_backends_are_not_tracked() {
    const NAME: &str = "packets_to_backends_are_not_tracked";
    const FIREWALL: &str = "add table inet watch
        add chain inet watch in { type filter hook input priority 0; }
        add rule inet watch in tcp dport 9000 ct state untracked counter
        add rule inet watch in tcp dport 9000 ct state new counter";
    let Some(namespace) = Namespace::new(NAME) else {
        return;
    };
    let watching = namespace.run(&["nft", FIREWALL]).code == Some(0)
        && namespace
            .run(&["test", "-e", "/proc/sys/net/netfilter/nf_conntrack_max"])
            .code
            == Some(0);
    if !watching {
        skip(
            NAME,
            "needs: apt-get install nftables, and connection tracking in the kernel",
        );
        return;
    }
    // Untracked and new packets that have come: nobody listens, so each try is one packet.
    let tried = || {
        namespace.run(&["bash", "-c", ": </dev/tcp/127.0.0.1/9000"]);
        let rules = namespace
            .run(&["nft", "list", "table", "inet", "watch"])
            .with(0)
            .out;
        let counters = rules.split("counter packets ").skip(1);
        counters
            .map(|rest| rest.split(' ').next().unwrap().parse::<u32>().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(tried(), [0, 1]);
    // On loopback a client's packets are ours before they are its own, so it is the way to backends that shows.
    let ports = ["--profile", "latency", "--backend-ports", "9000"];
    namespace.tune(&[&["apply"], &ports[..]].concat()).with(0);
    assert_eq!(tried(), [1, 1]);
    // Nothing else of that profile can be written here, so the table is all that holds.
    assert!(
        namespace
            .tune(&[&["verify"], &ports[..]].concat())
            .out
            .contains("keep     untracked ports")
    );
    namespace.tune(&["revert"]).with(0);
    assert_eq!(tried(), [1, 2]);
}
