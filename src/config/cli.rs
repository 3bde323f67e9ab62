//! The command line: one type a verb, with the words of its `--help`. A wrong flag is a usage error, exit 2.

use super::address::{self, Address};
use super::admin::{self, AdminAddress};
use super::hash_key::{self, HashKey};
use super::model::{Balance, Mode, Workers};
use super::probe::Probe;
use super::{probe_flag, value, words, workers};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

pub use super::man::{completions, man};
pub use super::verbs::{Change, ChangeBackend, Kill, Status, Target, Top};

/// What the process ends with (sysexits.h); 0 is fine and 2 is clap's, for usage.
pub mod exit {
    /// Done, but not all of what was asked for.
    pub const PARTIAL: u8 = 1;
    /// The command line is wrong, as with clap.
    pub const USAGE: u8 = 2;
    /// The operating system refused: EX_OSERR.
    pub const OS: u8 = 71;
    /// The configuration is wrong: EX_CONFIG.
    pub const CONFIG: u8 = 78;
}

const EXAMPLES: &str = "\
Examples:
  ringway demo
  ringway run --listen 0.0.0.0:9000 --backend 10.0.0.1:8080 --backend 10.0.0.2:8080
  ringway run -c /etc/ringway/ringway.toml

Exit codes: 0 fine, 2 usage, 71 the operating system refused, 78 configuration.";

/// TCP proxy and load balancer on io_uring.
#[derive(Parser, Debug)]
#[command(name = "ringway", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Run the proxy
    #[command(override_usage = RUN_USAGE, after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Check a configuration file and print the effective configuration
    #[command(after_help = VALIDATE_EXAMPLES)]
    Validate(Validate),
    /// Show a feed, the proxy and subscribers at work: nothing to install or configure
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Say what stands between this machine and the wanted load
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Show what a running proxy does
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Watch a running proxy: rates by backend and by worker
    #[command(after_help = TOP_EXAMPLES)]
    Top(Top),
    /// Have a running proxy take no more clients and end those that it has; it stays
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Target),
    /// Have a drained proxy take clients again
    Undrain(Target),
    /// Have a running proxy read its configuration again
    Reload(Target),
    /// Change what a running proxy wants of a backend
    #[command(after_help = BACKEND_EXAMPLES)]
    Backend(ChangeBackend),
    /// Close a connection of a running proxy
    Kill(Kill),
    /// Print which backend each hash key goes to, and the table's fingerprint
    #[command(after_help = MAP_EXAMPLES)]
    Map(Map),
    /// Convert the tcp {} and stream {} blocks of a configuration of nginx's
    #[command(after_help = IMPORT_EXAMPLES)]
    ImportNginx(ImportNginx),
    /// Print the completions of a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Print the man page
    #[command(after_help = "Examples:\n  ringway man | man -l -")]
    Man,
}

const RUN_USAGE: &str = "\
ringway run -c FILE
       ringway run --listen IP:PORT... --backend IP:PORT[,weight=N][,backup]... [OPTIONS]";

const RUN_EXAMPLES: &str = "\
Examples:
  ringway run -c /etc/ringway/ringway.toml
  ringway run --listen 0.0.0.0:9000 --backend 10.0.0.1:8080 --backend 10.0.0.2:8080,weight=2
  ringway run --listen [::]:9000 --backend [fd00::1]:8080 --workers 4
  ringway run --listen 0.0.0.0:9000 --backend 10.0.0.1:8080 --backend 10.0.0.2:8080,backup \\
    --probe \"interval=3000 rise=2 fall=5 timeout=1000 type=tcp\"

SIGTERM or SIGINT drains and exits with 0; a second one exits at once.";

const VALIDATE_EXAMPLES: &str = "\
Examples:
  ringway validate -c ringway.toml && systemctl restart ringway

The effective configuration goes to standard output, warnings and errors to standard error.
Exit codes: 0 the configuration is right, 78 it is not.";

const DEMO_EXAMPLES: &str = "\
Examples:
  ringway demo
  ringway demo --seconds 10 --connections 200 --rate 50";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  ringway doctor
  ringway doctor -c /etc/ringway/ringway.toml
  ringway doctor --connections 100000 --json

Changes nothing. Run it as the user and in the place that ringway runs in, where other limits may hold than in a shell.
Exit codes: 0 fine, 1 warnings, 2 it will not work, 78 the configuration is wrong.";

const MAP_EXAMPLES: &str = "\
Examples:
  ringway map -c ringway.toml --upstream feed 203.0.113.7 2001:db8::1
  ringway map -c ringway.toml --upstream chat --key cookie:session_id 8f3a2c 77b01d";

const IMPORT_EXAMPLES: &str = "\
Examples:
  ringway import-nginx /etc/nginx/nginx.conf -o ringway.toml && ringway validate -c ringway.toml

What cannot be carried over is named on standard error and in the output, with file, line and what to do.
Exit codes: 0 all is carried over, 1 something is not, 78 the file cannot be read or has nothing to convert.";

const STATUS_EXAMPLES: &str = "\
Examples:
  ringway status
  ringway status --admin unix:/run/ringway/admin.sock --json";

const TOP_EXAMPLES: &str = "\
Examples:
  ringway top
  ringway top --once --json";

const DRAIN_EXAMPLES: &str = "\
Examples:
  ringway drain && ringway status
  ringway drain --admin unix:/run/ringway/admin.sock --token-file /etc/ringway/token

What SIGTERM does, except that the process stays: `ringway undrain` takes it back.";

const BACKEND_EXAMPLES: &str = "\
Examples:
  ringway backend feed 10.0.0.1:8080 drain
  ringway backend feed 10.0.0.1:8080 weight=5";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ringway completions bash > /usr/share/bash-completion/completions/ringway
  ringway completions zsh > \"${fpath[1]}/_ringway\"
  ringway completions fish > ~/.config/fish/completions/ringway.fish";

/// `ringway run`: from a file, or from flags alone.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// The configuration file, TOML
    #[arg(short, long, value_name = "FILE")]
    #[arg(required_unless_present_all = ["listen", "backend"])]
    #[arg(conflicts_with_all = FLAGS)]
    pub config: Option<PathBuf>,
    /// Accept clients here; may be given again
    #[arg(long, value_name = "IP:PORT", value_parser = address::parse_address)]
    pub listen: Vec<SocketAddr>,
    /// Send them here; may be given again. The weight is 1 to 256, 1 if not given; a backup serves while no other can
    #[arg(long, value_name = "IP:PORT[,weight=N][,backup]", value_parser = parse_backend)]
    pub backend: Vec<BackendFlag>,
    /// Who gets the next connection: ip_hash, round_robin, least_conn, random_two, or hash, whose keys only a file can name
    #[arg(long, value_name = "POLICY", default_value = "ip_hash")]
    #[arg(value_parser = |word: &str| words::BALANCES.parse(word))]
    pub balance: Balance,
    /// What is read before a backend is chosen: tcp, nothing; http, a request head; tls, a ClientHello
    #[arg(long, value_name = "MODE", default_value = "tcp")]
    #[arg(value_parser = |word: &str| words::MODES.parse(word))]
    pub mode: Mode,
    /// Threads: a number, "auto" for one per CPU, or a CPU list such as 0-3,8
    #[arg(long, value_name = "N", default_value = "auto", value_parser = parse_workers)]
    pub workers: Workers,
    /// Look at the backends: interval, rise, fall, timeout, type, port and default_down, times in milliseconds
    #[arg(long, value_name = "WORDS", value_parser = probe_flag::parse)]
    pub probe: Option<Probe>,
    /// Answer questions and take orders here: metrics, status, drain, reload
    #[arg(long, value_name = "IP:PORT|unix:PATH", value_parser = admin::parse_admin_address)]
    pub admin: Option<AdminAddress>,
}

/// The flags of `run` that say what a file would.
const FLAGS: [&str; 7] = [
    "listen", "backend", "balance", "mode", "workers", "probe", "admin",
];

/// The value of `--backend`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendFlag {
    /// Where to connect to.
    pub address: Address,
    /// 1 to 256; `None` when not given.
    pub weight: Option<u16>,
    /// Whether it is a backup.
    pub backup: bool,
}

/// `ringway validate`
#[derive(Args, Debug)]
pub struct Validate {
    /// The configuration file, TOML
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print warnings and errors alone
    #[arg(short, long)]
    pub quiet: bool,
}

/// `ringway import-nginx`
#[derive(Args, Debug)]
pub struct ImportNginx {
    /// The configuration file; what it includes is read too
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write the configuration there instead of standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
}

/// `ringway demo`
#[derive(Args, Clone, Copy, Debug)]
pub struct Demo {
    /// End by itself after this long, with a summary; without it, on ctrl-c
    #[arg(long, value_name = "N")]
    pub seconds: Option<NonZeroU32>,
    /// How many subscribers connect
    #[arg(long, value_name = "N", default_value = "1000")]
    pub connections: NonZeroU32,
    /// How many messages a second each subscriber gets
    #[arg(long, value_name = "N", default_value = "10")]
    pub rate: NonZeroU32,
}

/// `ringway doctor`
#[derive(Args, Debug)]
pub struct Doctor {
    /// The configuration file, whose workers, limits and upstreams count
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The connections to be judged for; without it, the file's process.max_connections
    #[arg(long, value_name = "N")]
    pub connections: Option<NonZeroU64>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `ringway map`
#[derive(Args, Debug)]
pub struct Map {
    /// The configuration file, TOML
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// The upstream whose backends are chosen from
    #[arg(long, value_name = "NAME")]
    pub upstream: String,
    /// What the KEYs are: one of the upstream's hash keys, such as cookie:session_id
    #[arg(long, value_name = "HASH_KEY", default_value = "client_ip")]
    #[arg(value_parser = hash_key::parse)]
    pub key: HashKey,
    /// Client addresses, or with --key values as clients send them
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<String>,
}

/// `ringway completions`
#[derive(Args, Debug)]
pub struct Completions {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// `ADDR[,weight=N][,backup]`
fn parse_backend(text: &str) -> Result<BackendFlag, String> {
    let mut parts = text.split(',');
    let address = address::parse_backend_address(parts.next().unwrap_or_default())?;
    if address.to_string().len() > value::NAME_CHARS_MAX {
        return Err(
            "too long to be the backend's name as well; write a file, where it can have another"
                .to_owned(),
        );
    }
    let (mut weight, mut backup) = (None, false);
    for part in parts {
        match part.split_once('=') {
            Some(("weight", number)) if weight.is_none() => weight = Some(parse_weight(number)?),
            None if part == "backup" && !backup => backup = true,
            Some(_) | None => {
                return Err(format!(
                    "{part:?} is not understood; write IP:PORT[,weight=N][,backup]"
                ));
            }
        }
    }
    if matches!(address, Address::Srv(_)) && weight.is_some() {
        return Err(
            "weight does not count, because SRV records have weights; remove it".to_owned(),
        );
    }
    Ok(BackendFlag {
        address,
        weight,
        backup,
    })
}

fn parse_weight(number: &str) -> Result<u16, String> {
    let in_range = number
        .parse()
        .ok()
        .filter(|weight| value::WEIGHTS.contains(weight));
    in_range.ok_or_else(|| {
        let (low, high) = (value::WEIGHTS.start(), value::WEIGHTS.end());
        format!("weight={number} is out of range; write a number from {low} to {high}")
    })
}

/// A number is a count here, never a CPU: that is what `--workers N` promises.
fn parse_workers(text: &str) -> Result<Workers, String> {
    match text {
        "auto" => Ok(Workers::Auto),
        list if list.contains([',', '-']) => workers::parse_cpus(list).map(Workers::Cpus),
        count => workers::parse_worker_count(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::num::NonZeroUsize;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_backend_flag_has_an_address_and_perhaps_a_weight_and_is_perhaps_a_backup() {
        let address = Address::Socket("10.0.0.1:80".parse().unwrap());
        for (text, weight, backup) in [
            ("10.0.0.1:80", None, false),
            ("10.0.0.1:80,weight=256", Some(256), false),
            ("10.0.0.1:80,backup", None, true),
            ("10.0.0.1:80,backup,weight=2", Some(2), true),
        ] {
            let flag = BackendFlag {
                address: address.clone(),
                weight,
                backup,
            };
            assert_eq!(parse_backend(text), Ok(flag), "{text}");
        }
        for wrong in [
            "",
            "10.0.0.1",
            "10.0.0.1:80,",
            "10.0.0.1:80,weight=0",
            "10.0.0.1:80,weight=257",
            "10.0.0.1:80,weight=1,weight=2",
            "10.0.0.1:80,backup=1",
            "10.0.0.1:80,backup,backup",
            "10.0.0.1:0",
            "host_1:80",
            "srv:_feed._tcp.example.com,weight=2",
        ] {
            assert!(parse_backend(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_worker_flag_is_a_count_unless_it_is_a_list() {
        assert_eq!(parse_workers("auto"), Ok(Workers::Auto));
        assert_eq!(
            parse_workers("4"),
            Ok(Workers::Count(NonZeroUsize::new(4).unwrap()))
        );
        assert_eq!(parse_workers("4-5"), Ok(Workers::Cpus(vec![4, 5])));
        for wrong in ["", "0", "-1", "many", "1025"] {
            assert!(parse_workers(wrong).is_err(), "{wrong}");
        }
    }
}
