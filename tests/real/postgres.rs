//! psql, pgbench and PostgreSQL.

use crate::content::assert_same;
use crate::programs::{
    Program, await_stopped, client, free_address, give_to_unprivileged, installed, output, text,
    unprivileged_server,
};
use crate::proxy_before;
use crate::support::{Proxy, Setup, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

pub(crate) const PROGRAMS: &[&str] = &["initdb", "pgbench", "postgres", "psql"];

/// A running PostgreSQL with an empty database.
pub(crate) struct Postgres {
    pub(crate) program: Program,
    _folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        give_to_unprivileged(folder.path());
        let data = folder.path().join("data");
        let mut initdb = unprivileged_server("initdb");
        initdb.args([
            "--username=test",
            "--auth=trust",
            "--no-sync",
            "--no-locale",
        ]);
        output(initdb.arg("--encoding=UTF8").arg("-D").arg(&data));
        let mut command = unprivileged_server("postgres");
        command.arg("-D").arg(data);
        command.args([
            "-h",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ]);
        command.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
        let program = Program::start(&mut command, folder.path());
        let mut program = program.with_farewell(Signal::SIGQUIT);
        program.await_listening(address);
        let this = Self {
            program,
            _folder: folder,
            address,
        };
        this.await_ready(address);
        this
    }

    /// Waits until it answers: it listens before it has read its files.
    #[track_caller]
    fn await_ready(&self, through: SocketAddr) {
        wait::until("PostgreSQL answers", || {
            let answer = to(through, psql().args(["-c", "select 1"])).output();
            answer.unwrap().status.success()
        });
    }
}

/// psql that prints rows alone.
fn psql() -> Command {
    let mut command = client("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    command
}

/// Tells a client of PostgreSQL's where to connect to.
fn to(address: SocketAddr, command: &mut Command) -> &mut Command {
    command
        .env("PGHOST", address.ip().to_string())
        .env("PGPORT", address.port().to_string())
        .env("PGUSER", "test")
        .env("PGDATABASE", "postgres")
}

/// Runs a statement through the proxy.
#[track_caller]
fn sql(proxy: &Proxy, statement: &str) -> String {
    text(to(proxy.address(), psql().args(["-c", statement])))
}

#[test]
fn psql_copies_20_mb_out_and_in_unchanged() {
    if !installed(PROGRAMS) {
        return;
    }
    let postgres = Postgres::start();
    let proxy = proxy_before(postgres.address);
    let rows = "select n, md5(n::text) from generate_series(1, 500000) n";
    sql(
        &proxy,
        &format!("create table a as {rows}; create table b (like a)"),
    );
    let copy_out = |table: &str, at| {
        output(to(
            at,
            psql().args(["-c", &format!("copy {table} to stdout")]),
        ))
    };
    let sent = copy_out("a", postgres.address);
    assert!(sent.len() > 19_000_000, "{}", sent.len());
    assert_same(&copy_out("a", proxy.address()), &sent);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows");
    fs::write(&file, &sent).unwrap();
    let mut copy_in = psql();
    copy_in
        .args(["-c", "copy b from stdin"])
        .stdin(File::open(&file).unwrap());
    output(to(proxy.address(), &mut copy_in));
    assert_same(&copy_out("b", postgres.address), &sent);
}

#[test]
fn pgbench_has_no_failed_transaction() {
    if !installed(PROGRAMS) {
        return;
    }
    let postgres = Postgres::start();
    let proxy = proxy_before(postgres.address);
    output(to(
        proxy.address(),
        client("pgbench").args(["--initialize", "--quiet"]),
    ));
    let mut done = 0;
    for protocol in ["simple", "prepared"] {
        // --no-vacuum: the second run keeps the first one's history.
        let mut bench = client("pgbench");
        bench.args([
            "--no-vacuum",
            "-c",
            "8",
            "-j",
            "2",
            "-T",
            "2",
            "-M",
            protocol,
        ]);
        let said = text(to(proxy.address(), &mut bench));
        assert_eq!(number_of(&said, "failed transactions"), 0, "{said}");
        done += number_of(&said, "transactions actually processed");
    }
    assert!(done > 0);
    let stored = sql(&proxy, "select count(*) from pgbench_history");
    assert_eq!(stored.trim(), done.to_string());
    // Each transaction moves an account's, a branch's and a teller's balance by the same amount.
    let sums = "select distinct sum from (select sum(abalance) from pgbench_accounts \
                union all select sum(bbalance) from pgbench_branches \
                union all select sum(tbalance) from pgbench_tellers \
                union all select sum(delta) from pgbench_history) as sums";
    assert_eq!(sql(&proxy, sums).lines().count(), 1);
}

/// A count that pgbench reports.
#[track_caller]
fn number_of(said: &str, what: &str) -> u64 {
    let label = format!("number of {what}: ");
    let line = said.lines().find_map(|line| line.strip_prefix(&label));
    let number = line.expect(&label).split_whitespace().next();
    number.unwrap().parse().unwrap()
}

#[test]
fn a_cancel_goes_to_the_server_that_has_the_query() {
    if !installed(PROGRAMS) {
        return;
    }
    // psql cancels on a connection of its own, with a key that another server would ignore.
    let servers = [Postgres::start(), Postgres::start()];
    let addresses = servers.each_ref().map(|server| server.address);
    let proxy = Setup::new(&addresses).process("workers = 2").start();
    let mut sleep = psql();
    sleep.args(["-c", "select pg_sleep(600)"]);
    let sleep = to(proxy.address(), sleep.stderr(Stdio::piped()));
    let client = sleep.spawn().unwrap();
    let sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    wait::until("the query runs", || sql(&proxy, sleeping) == "1\n");
    // timeout(1) hands it on.
    let pid = Pid::from_raw(i32::try_from(client.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("canceling statement due to user request"),
        "{said}"
    );
}

/// A psql in the middle of a copy that is longer than all that can be on its way.
struct Copying {
    client: Child,
    rows: BufReader<ChildStdout>,
    /// The process of PostgreSQL's that serves it.
    server: Pid,
}

const ROWS: u32 = 3_000_000;

impl Copying {
    fn begin(through: SocketAddr) -> Self {
        let copy = format!("copy (select n from generate_series(1, {ROWS}) n) to stdout");
        let mut command = psql();
        command.args(["-c", "select pg_backend_pid()", "-c", &copy]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = to(through, &mut command).spawn().unwrap();
        let mut rows = BufReader::new(client.stdout.take().unwrap());
        let mut pid = String::new();
        rows.read_line(&mut pid).unwrap();
        let server = Pid::from_raw(pid.trim().parse().unwrap());
        let mut first = String::new();
        rows.read_line(&mut first).unwrap();
        assert_eq!(first, "1\n");
        Self {
            client,
            rows,
            server,
        }
    }

    /// Reads to the end: how many rows came, each in its place, whether psql was content, and what it said.
    #[track_caller]
    fn end(mut self) -> (u32, bool, String) {
        let mut rest = String::new();
        self.rows.read_to_string(&mut rest).unwrap();
        let mut last = 1;
        for row in rest.lines() {
            last += 1;
            assert_eq!(row.parse(), Ok(last));
        }
        let output = self.client.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (last, output.status.success(), said)
    }
}

#[test]
fn a_server_process_killed_in_mid_copy_is_told_to_psql_and_to_the_log() {
    if !installed(PROGRAMS) {
        return;
    }
    let postgres = Postgres::start();
    let proxy = proxy_before(postgres.address);
    let copying = Copying::begin(proxy.address());
    kill(copying.server, Signal::SIGKILL).unwrap();
    let (rows, content, said) = copying.end();
    assert!(rows < ROWS && !content, "{rows} rows, {said}");
    assert!(
        said.contains("server closed the connection unexpectedly"),
        "{said}"
    );
    // The kernel closes its socket in order, since there is nothing that it had not read.
    assert_eq!(proxy.await_access(1)[0].end(), ("backend-fin/done", "--"));
    // The server takes all its connections down with the killed one, and recovers.
    postgres.await_ready(proxy.address());
    assert_eq!(sql(&proxy, "select 42"), "42\n");
}

#[test]
fn a_server_process_stopped_in_mid_copy_loses_no_row_when_it_continues() {
    if !installed(PROGRAMS) {
        return;
    }
    let postgres = Postgres::start();
    let proxy = proxy_before(postgres.address);
    let copying = Copying::begin(proxy.address());
    kill(copying.server, Signal::SIGSTOP).unwrap();
    await_stopped(copying.server);
    assert_eq!(
        sql(&proxy, "select count(*) from generate_series(1, 1000000)"),
        "1000000\n"
    );
    kill(copying.server, Signal::SIGCONT).unwrap();
    assert_eq!(copying.end(), (ROWS, true, String::new()));
}
