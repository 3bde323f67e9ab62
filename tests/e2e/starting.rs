//! What is refused at start, with the cause; and what a start makes.

use crate::support::{Backend, Exit, Peer, RINGWAY, Setup, procfs, skip, wait};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

fn assert_refused(exit: &Exit, parts: &[&str]) {
    assert_eq!(exit.code, Some(71), "{}", exit.stderr);
    for part in parts {
        assert!(exit.stderr.contains(part), "no {part:?} in {}", exit.stderr);
    }
}

fn on(address: std::net::SocketAddr) -> String {
    format!("listen = \"{address}\"")
}

#[test]
fn an_address_in_use_is_refused_with_the_cause() {
    let other = Backend::new();
    let proxy = Setup::before(&other)
        .listener(&on(other.address()))
        .launch();
    let address = other.address().to_string();
    let parts = ["Address already in use", &address, "feed", "ss -ltnp"];
    assert_refused(&proxy.await_exit(), &parts);
}

#[test]
fn an_address_that_another_ringway_holds_is_refused() {
    let backend = Backend::echo();
    let first = Setup::before(&backend).process("workers = 2").start();
    let second = Setup::before(&backend)
        .listener(&on(first.address()))
        .launch();
    assert_refused(&second.await_exit(), &["Address already in use"]);
    for _ in 0..20 {
        let client = first.connect();
        client.send(b"mine");
        client.expect(b"mine");
    }
}

#[test]
fn a_port_is_free_for_the_next_proxy_at_once() {
    let backend = Backend::echo();
    let first = Setup::before(&backend)
        .process("drain_over = \"0s\"")
        .start();
    let address = first.address();
    let client = first.connect();
    client.send(b"one");
    client.expect(b"one");
    assert_eq!(first.terminate().code, Some(0));
    let second = Setup::before(&backend).listener(&on(address)).start();
    let client = second.connect();
    client.send(b"two");
    client.expect(b"two");
}

#[test]
fn an_address_of_no_interface_is_refused() {
    let proxy = Setup::new(&[Backend::refusing()])
        .listener("listen = \"192.0.2.1:0\"")
        .launch();
    assert_refused(&proxy.await_exit(), &["192.0.2.1", "ip address"]);
}

#[test]
fn a_cpu_that_the_machine_does_not_have_is_refused() {
    let proxy = Setup::new(&[Backend::refusing()])
        .process("workers = \"0,999\"")
        .launch();
    assert_refused(&proxy.await_exit(), &["CPU 999", "CPUAffinity="]);
}

#[test]
fn two_workers_share_the_clients_each_on_a_cpu_of_its_own() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend).process("workers = 2").start();
    let clients: Vec<_> = (0..64).map(|_| proxy.connect()).collect();
    for client in &clients {
        client.send(b"hello");
        client.expect(b"hello");
    }
    drop(clients);
    let lines = proxy.await_access(64);
    let workers: BTreeSet<_> = lines.iter().map(|line| line.number("worker")).collect();
    assert_eq!(workers, BTreeSet::from([0, 1]));
    let ids: BTreeSet<_> = lines.iter().map(|line| line.number("id")).collect();
    assert_eq!(ids.len(), 64, "an id is unique in the process");
    let threads = procfs::threads(proxy.pid());
    let pinned: Vec<_> = threads
        .iter()
        .filter(|thread| thread.name.starts_with("worker-"))
        .collect();
    assert_eq!(pinned.len(), 2, "{threads:?}");
    let cpus: BTreeSet<_> = pinned.iter().map(|thread| &thread.cpus).collect();
    let one_each = cpus.iter().all(|cpus| cpus.parse::<u32>().is_ok());
    assert!(one_each, "{threads:?}");
    let available = std::thread::available_parallelism().unwrap().get();
    assert_eq!(cpus.len(), available.min(2), "{threads:?}");
}

#[test]
fn an_affinity_narrower_than_the_machine_is_kept() {
    if Command::new("taskset").arg("-V").output().is_err() {
        return skip(
            "an_affinity_narrower_than_the_machine_is_kept",
            "no taskset",
        );
    }
    let (_dir, file) = Setup::new(&[Backend::refusing()])
        .process("workers = \"1\"")
        .write();
    let mut command = Command::new("taskset");
    let command = command.args(["-c", "0", RINGWAY, "run", "-c"]);
    let output = command.arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{text}");
    assert!(text.contains("CPU 1"), "{text}");
}

#[test]
fn accepted_sockets_inherit_keepalive() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .listener("keepalive = { idle = \"1000s\", interval = \"15s\", count = 4 }")
        .start();
    let client = proxy.connect();
    client.send(b"hello");
    client.expect(b"hello");
    let filter = format!("sport = :{}", proxy.address().port());
    let Ok(output) = Command::new("ss").args(["-tnoH", &filter]).output() else {
        return skip("accepted_sockets_inherit_keepalive", "no ss");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    // Sixteen minutes and some seconds; the defaults are a minute and two hours.
    assert!(text.contains("timer:(keepalive,16min"), "{text}");
}

#[test]
fn a_wrong_file_is_refused_before_anything_starts() {
    let proxy = Setup::new(&[Backend::refusing()])
        .listener("idle_timeout = \"soon\"")
        .launch();
    let exit = proxy.await_exit();
    assert_eq!(exit.code, Some(78), "{}", exit.stderr);
    assert!(exit.stderr.contains("idle_timeout"), "{}", exit.stderr);
}

#[test]
fn a_listener_that_cannot_bind_takes_the_others_down_with_it() {
    let other = Backend::new();
    let proxy = Setup::before(&other)
        .more(&format!(
            "[[listener]]\nname = \"taken\"\nlisten = \"{}\"\nupstream = \"feed\"\n",
            other.address()
        ))
        .launch();
    assert_refused(&proxy.await_exit(), &["taken"]);
}

#[test]
fn ready_comes_only_when_clients_are_served() {
    let backend = Backend::echo();
    for _ in 0..5 {
        let proxy = Setup::before(&backend).process("workers = 2").start();
        let client = Peer::connect(proxy.address());
        let ((), took) = wait::timed(|| {
            client.send(b"first");
            client.expect(b"first");
        });
        assert!(took < wait::PATIENCE);
    }
}

/// Root has CAP_IPC_LOCK and is charged nothing, so the program runs as nobody here.
#[test]
fn rings_that_do_not_fit_the_locked_memory_are_refused_with_cause_and_fix() {
    let name = "rings_that_do_not_fit_the_locked_memory_are_refused_with_cause_and_fix";
    if !nix::unistd::geteuid().is_root() {
        return skip(name, "needs root, to become nobody");
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ringway");
    // By another process: what this one has open for writing when it forks, nobody can execute (ETXTBSY).
    let copied = Command::new("cp").arg(RINGWAY).arg(&program).status();
    assert!(copied.unwrap().success());
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["prlimit", "--memlock=65536:65536"])
        .arg(&program)
        .args(["run", "--listen=127.0.0.1:0", "--backend=127.0.0.1:1"])
        .stdin(Stdio::null())
        .output()
        .expect("setpriv and prlimit, from util-linux, run");
    let exit = Exit {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert_refused(
        &exit,
        &[
            "ENOMEM",
            "RLIMIT_MEMLOCK",
            "65536 bytes",
            "LimitMEMLOCK=infinity",
        ],
    );
}

/// Kernel settings of this machine that the doctor finds short for the configuration of `setup`.
fn short_settings(setup: &Setup) -> usize {
    let (_folder, file) = setup.write();
    let output = Command::new(RINGWAY)
        .args(["doctor", "--json", "-c"])
        .arg(file)
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_short = |row: &&serde_json::Value| {
        let key = row["key"].as_str().unwrap();
        row["state"] == "warning"
            && (key.starts_with("net.") || key.starts_with("vm."))
            && !["net.ipv4.ip_local_port_range", "net.ipv4.tcp_ehash_entries"].contains(&key)
    };
    answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(is_short)
        .count()
}

#[test]
fn what_the_kernel_falls_short_of_is_one_line_and_only_for_a_large_load() {
    let lines = |connections: u32| {
        let setup = Setup::new(&[Backend::refusing()])
            .process(&format!("max_connections = {connections}"))
            .process("workers = 1");
        let short = short_settings(&setup);
        let stderr = setup.start().terminate().stderr;
        let said = stderr.matches("kernel settings fall short").count();
        assert_eq!(said, usize::from(short > 0), "{short} are: {stderr}");
        short
    };
    assert_eq!(lines(9999), 0);
    if lines(100_000) == 0 {
        skip(
            "what_the_kernel_falls_short_of_is_one_line_and_only_for_a_large_load",
            "half of it: this machine is tuned already",
        );
    }
}
