//! The prober before the servers that its kinds are made for: up, frozen, going on, ended, and saying no in their own
//! words. Backends that play a part are in `tests/probes`.

use crate::nginx::Nginx;
use crate::postgres::{self, Postgres};
use crate::programs::{
    Program, client, free_address, give_to_unprivileged, installed, is_root, output, server,
    unprivileged_server,
};
use crate::redis::{self, Redis};
use crate::support::probing::{Probed, Probing, target};
use crate::support::{Peer, skip, wait};
use nix::sys::signal::Signal;
use ringway::control::probe::client_hello;
use ringway::upstream::health::State;
use ringway::wire::banner::{Script, http_request};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// A server of this kind that comes up, hangs, goes on, and is ended by the signal.
#[track_caller]
fn follow(script: Script, at: SocketAddr, program: &Program, end: Signal) {
    let probing = Probing::start();
    let probed = probing.add(target(script, at));
    probed.await_up();
    program.signal(Signal::SIGSTOP);
    probed.await_down("reply timeout");
    program.signal(Signal::SIGCONT);
    probed.await_up();
    program.signal(end);
    probed.await_down("connection refused");
    let states = probing.told().into_iter().map(|(_, change, _)| change.to);
    let wanted = [State::Up, State::Down, State::Up, State::Down];
    assert_eq!(states.collect::<Vec<_>>(), wanted);
}

fn http(path: &str, status: &str) -> Script {
    Script::Http {
        request: http_request(path, "a.example"),
        expect: vec![status.parse().unwrap()],
    }
}

#[test]
fn nginx_answers_http_until_it_hangs_and_tcp_until_it_is_gone() {
    if !installed(&["nginx"]) {
        return;
    }
    let (nginx, probing) = (Nginx::start("n1"), Probing::start());
    let add = |script| probing.add(target(script, nginx.address()));
    let (tcp, http, missing) = (
        add(Script::Tcp),
        add(http("/who", "2xx")),
        add(http("/no", "2xx")),
    );
    tcp.await_up();
    http.await_up();
    missing.await_down("status 404");
    nginx.signal(Signal::SIGSTOP);
    http.await_down("reply timeout");
    // The kernel goes on taking connections for it: that is all that tcp sees.
    wait::holds_for(Duration::from_millis(300), "tcp passes", || {
        tcp.watch.view().error().is_none()
    });
    nginx.signal(Signal::SIGCONT);
    http.await_up();
    nginx.kill();
    tcp.await_down("connection refused");
    http.await_down("connection refused");
}

/// `openssl s_server` for `a.example`, which refuses other names.
struct Openssl {
    program: Program,
    address: SocketAddr,
    _folder: TempDir,
}

impl Openssl {
    fn start(options: &[&str]) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
        let mut request = client("openssl");
        request.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]);
        request.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        request.args(["-subj", "/CN=a.example"]);
        output(request.arg("-out").arg(&cert).arg("-keyout").arg(&key));
        let mut command = server("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-www",
            "-accept",
            &address.to_string(),
        ]);
        command.args(["-servername", "a.example", "-servername_fatal"]);
        command.args(options).stdin(Stdio::null());
        for (one, two) in [("-cert", "-key"), ("-cert2", "-key2")] {
            command.arg(one).arg(&cert).arg(two).arg(&key);
        }
        let program = Program::listening(&mut command, folder.path(), address);
        Self {
            program,
            address,
            _folder: folder,
        }
    }
}

fn ssl_hello(host: &str) -> Script {
    let hello = client_hello(host).unwrap();
    Script::SslHello { hello }
}

#[test]
fn openssl_answers_ssl_hello_in_tls_1_2_and_1_3() {
    if !installed(&["openssl"]) {
        return;
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let openssl = Openssl::start(&[version]);
        let script = ssl_hello("a.example");
        follow(script, openssl.address, &openssl.program, Signal::SIGKILL);
    }
}

#[test]
fn what_openssl_refuses_is_named() {
    if !installed(&["openssl"]) {
        return;
    }
    let (openssl, probing) = (Openssl::start(&[]), Probing::start());
    let probed = probing.add(target(ssl_hello("b.example"), openssl.address));
    probed.await_down("tls alert unrecognized_name");
    // A cipher that needs a key of another kind than the certificate's.
    let openssl = Openssl::start(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]);
    let probed = probing.add(target(ssl_hello("a.example"), openssl.address));
    probed.await_down("tls alert handshake_failure");
}

#[test]
fn redis_says_pong() {
    if !installed(redis::PROGRAMS) {
        return;
    }
    let redis = Redis::start();
    follow(
        Script::Redis,
        redis.address,
        &redis.program,
        Signal::SIGKILL,
    );
}

#[test]
fn a_redis_with_a_password_is_up_and_one_that_lost_its_master_is_not() {
    if !installed(redis::PROGRAMS) {
        return;
    }
    let (redis, probing) = (Redis::start(), Probing::start());
    let probed = probing.add(target(Script::Redis, redis.address));
    probed.await_up();
    let set = |words: &[&str]| {
        let mut command = client("redis-cli");
        command.args(["-h", &redis.address.ip().to_string()]);
        command.args(["-p", &redis.address.port().to_string()]);
        output(command.args(words));
    };
    set(&["config", "set", "replica-serve-stale-data", "no"]);
    set(&["replicaof", "127.0.0.1", "1"]);
    let lost =
        "redis error: MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set";
    wait::until("the replica says no", || {
        let view = probed.watch.view();
        let down = view.state == State::Down;
        down && view
            .error()
            .is_some_and(|error| error.as_str().starts_with(lost))
    });
    set(&["replicaof", "no", "one"]);
    set(&["config", "set", "requirepass", "secret"]);
    probed.await_up();
}

#[test]
fn postgresql_is_up_when_it_would_let_somebody_in() {
    if !installed(postgres::PROGRAMS) {
        return;
    }
    let postgres = Postgres::start();
    let program = &postgres.program;
    // As PostgreSQL is to be ended at once: its children go with it.
    follow(Script::Pgsql, postgres.address, program, Signal::SIGQUIT);
    let said = program.said();
    assert!(!said.contains("invalid length of startup packet"), "{said}");
}

#[test]
fn a_postgresql_that_is_shutting_down_says_so() {
    if !installed(postgres::PROGRAMS) {
        return;
    }
    let (postgres, probing) = (Postgres::start(), Probing::start());
    let mut session = client("psql");
    let address = postgres.address;
    session.args(["-X", "-h", &address.ip().to_string()]);
    session.args(["-p", &address.port().to_string(), "-U", "test", "postgres"]);
    let mut session = session
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let probed = probing.add(target(Script::Pgsql, address));
    probed.await_up();
    // It waits for its sessions to end, of which there is one.
    wait::until("the session is there", || sessions(address) == "1");
    postgres.program.signal(Signal::SIGTERM);
    probed.await_down("pgsql 57P03: the database system is shutting down");
    drop(session.stdin.take());
    session.wait().unwrap();
    probed.await_down("connection refused");
}

/// How many clients a PostgreSQL has besides the one that asks and probes.
fn sessions(address: SocketAddr) -> String {
    let mut psql = client("psql");
    psql.args(["-XAtq", "-h", &address.ip().to_string()]);
    psql.args(["-p", &address.port().to_string(), "-U", "test", "postgres"]);
    psql.args([
        "-c",
        "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
    ]);
    String::from_utf8(output(&mut psql))
        .unwrap()
        .trim()
        .to_owned()
}

/// A MariaDB with an empty database, for at most ten clients and an administrator.
fn mariadb(folder: &Path, address: SocketAddr) -> Program {
    give_to_unprivileged(folder);
    let data = format!("--datadir={}", folder.join("data").display());
    let mut install = unprivileged_server("mariadb-install-db");
    install.args(["--no-defaults", &data, "--skip-test-db"]);
    output(install.arg("--auth-root-authentication-method=normal"));
    let mut command = unprivileged_server("mariadbd");
    command.args(["--no-defaults", &data, "--max-connections=10"]);
    command.args([
        format!("--bind-address={}", address.ip()),
        format!("--port={}", address.port()),
        format!("--socket={}", folder.join("socket").display()),
        format!("--pid-file={}", folder.join("pid").display()),
    ]);
    Program::listening(&mut command, folder, address).with_farewell(Signal::SIGKILL)
}

#[test]
fn mariadb_greets() {
    if !installed(&["mariadb-install-db", "mariadbd"]) {
        return;
    }
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let program = mariadb(folder.path(), address);
    follow(Script::Mysql, address, &program, Signal::SIGKILL);
}

#[test]
fn a_mariadb_without_room_for_clients_says_so() {
    if !installed(&["mariadb-install-db", "mariadbd"]) {
        return;
    }
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let _program = mariadb(folder.path(), address);
    let probing = Probing::start();
    let probed = probing.add(target(Script::Mysql, address));
    probed.await_up();
    let clients: Vec<_> = (0..11).map(|_| Peer::connect(address)).collect();
    probed.await_down("mysql error 1040: Too many connections");
    drop(clients);
    probed.await_up();
}

/// A folder that root's servers share with their own users. `None`, and said so, for who is not root.
fn for_root(test: &str) -> Option<TempDir> {
    if !is_root() {
        skip(test, "mail servers begin as root");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    Some(folder)
}

#[test]
fn exim_greets_and_knows_ehlo() {
    const TEST: &str = "exim_greets_and_knows_ehlo";
    if !installed(&["exim4"]) {
        return;
    }
    let Some(folder) = for_root(TEST) else {
        return;
    };
    let (path, address) = (folder.path().display(), free_address());
    let settings = folder.path().join("conf");
    let (host, port) = (address.ip(), address.port());
    let text = format!(
        "spool_directory = {path}\nlog_file_path = {path}/%slog\npid_file_path = {path}/pid\n\
         primary_hostname = mail.example\nlocal_interfaces = {host}\ndaemon_smtp_ports = {port}\n\
         tls_advertise_hosts =\nkeep_environment =\nbegin acl\n"
    );
    fs::write(&settings, text).unwrap();
    let mut command = server("exim4");
    let program = Program::listening(
        command.arg("-C").arg(settings).arg("-bdf"),
        folder.path(),
        address,
    );
    follow(Script::Smtp, address, &program, Signal::SIGKILL);
    let log = fs::read_to_string(folder.path().join("mainlog")).unwrap();
    assert!(
        !log.contains("unexpected disconnection while reading SMTP command from localhost"),
        "{log}"
    );
}

#[test]
fn dovecot_greets_in_pop3_and_imap() {
    const TEST: &str = "dovecot_greets_in_pop3_and_imap";
    if !installed(&["dovecot"]) {
        return;
    }
    let Some(folder) = for_root(TEST) else {
        return;
    };
    let (pop3, imap) = (free_address(), free_address());
    let settings = folder.path().join("conf");
    fs::write(&settings, dovecot(folder.path(), pop3, imap)).unwrap();
    let mut command = server("dovecot");
    command.arg("-F").arg("-c").arg(settings);
    let mut program = Program::start(&mut command, folder.path()).with_farewell(Signal::SIGTERM);
    program.await_listening(pop3);
    program.await_listening(imap);
    let probing = Probing::start();
    let add = |script, at| probing.add(target(script, at));
    let probed = [add(Script::Pop3, pop3), add(Script::Imap, imap)];
    probed.iter().for_each(Probed::await_up);
    program.signal(Signal::SIGTERM);
    probed
        .iter()
        .for_each(|probed| probed.await_down("connection refused"));
    // The farewells were understood.
    let said = program.said();
    assert!(said.contains("Aborted login by logging out"), "{said}");
}

/// Nobody can log in, and nobody tries.
fn dovecot(folder: &Path, pop3: SocketAddr, imap: SocketAddr) -> String {
    let service = |name: &str, at: SocketAddr| {
        format!(
            "service {name}-login {{\n inet_listener {name} {{\n  address = {}\n  port = {}\n }}\n \
             inet_listener {name}s {{\n  port = 0\n }}\n}}\n",
            at.ip(),
            at.port()
        )
    };
    let services = service("pop3", pop3) + &service("imap", imap);
    let run = folder.join("run");
    let run = run.display();
    format!(
        "base_dir = {run}\nstate_dir = {run}\nlog_path = /dev/stderr\nprotocols = imap pop3\nssl = no\n{services}\
         passdb {{\n driver = static\n}}\nuserdb {{\n driver = static\n}}\n"
    )
}
