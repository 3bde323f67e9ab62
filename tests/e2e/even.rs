//! How connections are spread over the workers: evenly, whatever the kernel's hash does; or by CPU, where asked for.

use crate::support::{Access, Backend, Peer, Proxy, Setup, skip};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Clients with ports of choice: on an address where nobody else's sockets can be in the way.
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 77, 1));

fn workers_of(lines: &[Access], clients: &HashSet<String>) -> [usize; 2] {
    let of = |worker| {
        let its = |line: &&Access| line.number("worker") == worker;
        let ours = |line: &&Access| clients.contains(line.text("client"));
        lines.iter().filter(its).filter(ours).count()
    };
    [of(0), of(1)]
}

/// At least so many addresses and ports whose clients this worker had, found by trying, one client after the other. Each
/// resets its connection, so that both are free at once, for another one of these perhaps.
fn addresses_of(worker: u64, proxy: &Proxy, count: usize) -> BTreeSet<SocketAddr> {
    const ROUND: usize = 500;
    let mut found = BTreeSet::new();
    for round in 1..=20 {
        for _ in 0..ROUND {
            let client = Peer::connect_from(OWN, proxy.address());
            client.send(b"who?");
            client.expect(b"who?");
            client.reset();
        }
        let lines = proxy.await_access(round * ROUND);
        let its = lines.iter().filter(|line| line.number("worker") == worker);
        found = its
            .map(|line| line.text("client").parse().unwrap())
            .collect();
        if found.len() >= count {
            return found;
        }
    }
    panic!(
        "only {} clients of 10,000 were worker {worker}'s",
        found.len()
    );
}

#[test]
fn a_skewed_hash_leaves_the_workers_even() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).process("workers = 2").start();
    // The kernel's hash of the same addresses and ports gives the same listening socket: worker 0's, but for some that
    // worker 1 had handed over, because it was busier or still had earlier ones to close.
    let skewed = addresses_of(0, &proxy, 600);
    let clients: Vec<_> = skewed
        .iter()
        .map(|local| Peer::connect_bound(*local, proxy.address()))
        .collect();
    for client in &clients {
        client.send(b"all there");
        client.expect(b"all there");
    }
    let before = proxy.access().len();
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    let line = proxy.await_line("\"draining\"");
    drop(clients);
    let lines = proxy.await_access(before + skewed.len()).split_off(before);
    let names = skewed.iter().map(ToString::to_string).collect();
    let [zero, one] = workers_of(&lines, &names);
    assert_eq!(zero + one, skewed.len(), "each ended once: {line}");
    let fair = skewed.len() / 2;
    assert!(
        zero.abs_diff(fair) <= fair / 20 && one.abs_diff(fair) <= fair / 20,
        "{zero} and {one}: {line}"
    );
    let ids: HashSet<_> = lines.iter().map(|line| line.number("id")).collect();
    assert_eq!(ids.len(), lines.len(), "no id twice");
    assert_eq!(proxy.await_exit().code, Some(0));
}

/// Whether this kernel heeds SO_INCOMING_CPU among sockets of one address, and the CPUs of the first two workers.
fn two_cpus() -> Result<[usize; 2], String> {
    let name = nix::sys::utsname::uname().unwrap();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
    if version < (6, 2) {
        return Err(format!("Linux 6.2 or later, not {release}"));
    }
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut cpus = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true));
    match (cpus.next(), cpus.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err("two CPUs".to_owned()),
    }
}

/// Clients that connect from one CPU: on loopback, the sender's CPU takes the packet.
fn connect_on(cpu: usize, proxy: &Proxy, count: usize) -> Vec<Peer> {
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut set = CpuSet::new();
            set.set(cpu).unwrap();
            sched_setaffinity(Pid::from_raw(0), &set).unwrap();
            (0..count).map(|_| proxy.connect()).collect()
        });
        clients.join().unwrap()
    })
}

#[test]
fn with_incoming_cpu_a_client_gets_the_worker_of_its_cpu_and_keeps_it() {
    let cpus = match two_cpus() {
        Ok(cpus) => cpus,
        Err(needs) => return skip("incoming_cpu", &format!("needs {needs}")),
    };
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("workers = 2")
        .listener("incoming_cpu = true")
        .start();
    for (worker, cpu) in cpus.into_iter().enumerate() {
        let before = proxy.access().len();
        // All at once and none elsewhere: far more than evenness would leave here.
        let clients = connect_on(cpu, &proxy, 100);
        for client in &clients {
            client.send(b"here");
            client.expect(b"here");
        }
        let names = clients.iter().map(|c| c.local().to_string()).collect();
        drop(clients);
        let lines = proxy.await_access(before + 100);
        let mut expected = [0, 0];
        expected[worker] = 100;
        assert_eq!(workers_of(&lines, &names), expected, "from CPU {cpu}");
    }
}
