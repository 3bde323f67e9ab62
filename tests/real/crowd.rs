//! More connections to one backend address than one of our addresses has ports for. No process may have descriptors for all
//! of them on common machines, so several of each kind share the work: proxies, each with clients of its own, and
//! servers at one address.

use crate::programs::{Program, client, free_address, installed, server};
use crate::support::{Proxy, Setup, skip, wait};
use nix::sys::resource::{Resource, getrlimit};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/crowd.py");

const PROXIES: usize = 4;

/// Of each proxy.
const CLIENTS: usize = 7_500;

/// What one address has by default (ip_local_port_range: 32768 to 60999).
const PORTS: usize = 28_232;

const SERVERS: usize = 3;

const SOURCES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];

/// Clients of one proxy.
struct Crowd {
    python: Child,
    told: BufReader<ChildStdout>,
}

impl Crowd {
    fn coming(to: SocketAddr) -> Self {
        let mut command = client("python3");
        command.args(["-B", SCRIPT, "come", &to.ip().to_string()]);
        command.args([to.port().to_string(), CLIENTS.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = command.spawn().unwrap();
        let told = BufReader::new(python.stdout.take().unwrap());
        Self { python, told }
    }

    #[track_caller]
    fn expect(&mut self, wanted: &str) {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), wanted);
    }

    fn go_on(&mut self) {
        self.python
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"\n")
            .unwrap();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Gone already, or gone now.
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

/// Sockets at this local address that are in this state, by the other end's address.
fn sockets(at: SocketAddr, state: &str) -> Vec<Ipv4Addr> {
    let IpAddr::V4(ip) = at.ip() else {
        unreachable!("IPv4")
    };
    let local = format!("{:08X}:{:04X}", u32::from(ip).swap_bytes(), at.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let its = rows.filter(|row| row[1] == local && row[3] == state);
    its.map(|row| {
        let ip = u32::from_str_radix(&row[2][..8], 16).unwrap();
        Ipv4Addr::from(ip.swap_bytes())
    })
    .collect()
}

fn serving(at: SocketAddr) -> Vec<(Program, tempfile::TempDir)> {
    let one = |_| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = server("python3");
        command.args([
            "-B",
            SCRIPT,
            "serve",
            &at.ip().to_string(),
            &at.port().to_string(),
        ]);
        (Program::listening(&mut command, folder.path(), at), folder)
    };
    let all = (0..SERVERS).map(one).collect();
    wait::until("all servers listen", || sockets(at, "0A").len() == SERVERS);
    all
}

#[test]
fn a_backend_gets_more_connections_than_one_address_has_ports() {
    if !installed(&["python3"]) {
        return;
    }
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
    if descriptors < 2 * CLIENTS as u64 + 1_000 {
        return skip("crowd", "RLIMIT_NOFILE is below 16,000");
    }
    let at = free_address();
    let _servers = serving(at);
    let list = SOURCES.map(|ip| format!("\"{ip}\"")).join(", ");
    let start = |_| {
        let setup = Setup::new(&[at])
            .process("workers = 2")
            .log("access = \"off\"");
        setup
            .upstream(&format!("source_addresses = [{list}]"))
            .start()
    };
    let proxies: Vec<Proxy> = (0..PROXIES).map(start).collect();
    let mut crowds: Vec<_> = proxies
        .iter()
        .map(|it| Crowd::coming(it.address()))
        .collect();
    crowds
        .iter_mut()
        .for_each(|crowd| crowd.expect("all are here"));
    let open = sockets(at, "01");
    assert!(
        open.len() >= PROXIES * CLIENTS,
        "{} connections",
        open.len()
    );
    assert!(open.len() > PORTS);
    for source in SOURCES {
        let its = open.iter().filter(|ip| **ip == source).count();
        let share = PROXIES * CLIENTS / SOURCES.len();
        assert!(
            its.abs_diff(share) * 20 < share,
            "{its} from {source} instead of {share}"
        );
    }
    crowds.iter_mut().for_each(Crowd::go_on);
    crowds
        .iter_mut()
        .for_each(|crowd| crowd.expect("all are served"));
}
