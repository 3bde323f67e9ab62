//! The command line: text becomes a configuration that can be run, or an error that says what to type instead.

mod tls;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use ringway_loadgen::message::{HEADER, MESSAGE_MAX};
use ringway_loadgen::{
    BackendConfig, BackendRole, ClientConfig, ClientRole, CookieName, Direction, PAYLOAD_MAX, Rate,
    RequestPath, Sources,
};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use tls::TlsArgs;

const SERVE_EXAMPLES: &str = "\
Examples:
  loadgen serve publish --listen 127.0.0.1:9000 --rate 100 --size 128
  loadgen serve echo --listen 127.0.0.1:9001,127.0.0.1:9002 --seconds 60 --json
  loadgen serve bulk --direction down --listen 127.0.0.1:0

Prints `ready ADDR` for each address once it listens. Runs until --seconds, SIGTERM or SIGINT.";

const DRIVE_EXAMPLES: &str = "\
Examples:
  loadgen drive subscribe --target 127.0.0.1:8000 --connections 1000 --seconds 30
  loadgen drive echo --target 127.0.0.1:8000 --connections 64 --seconds 10 --rate 20000
  loadgen drive hold --target 127.0.0.1:8000 --connections 100000 --sources 127.1.0.0/24 --ramp 5000 --seconds 60
  loadgen drive churn --target 127.0.0.1:8000 --connections 32 --seconds 10 --json result.json
  loadgen drive websocket --target 127.0.0.1:8000 --connections 64 --seconds 10 --path /chat --cookie sid
  loadgen drive churn --target 127.0.0.1:8443 --connections 32 --seconds 10 --tls --tls-ca ca.pem --tls-name a.test --resume

Exit code: 0 everything verified, 1 errors (in the result by kind), 2 usage, 71 the system refused.";

/// Load generator: feeds, echoes, bulk, churn, WebSocket sessions and idle fleets, with every byte verified.
#[derive(Parser, Debug)]
#[command(name = "loadgen", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run backends: the side that a proxy connects to.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Run clients, and report what they saw.
    #[command(after_help = DRIVE_EXAMPLES)]
    Drive(DriveArgs),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum ServeRole {
    /// Send back what comes
    Echo,
    /// Send every tick of a feed to every connection (--rate, --size)
    Publish,
    /// Send (down) or receive and verify (up) as fast as possible
    Bulk,
    /// Answer one request of --size, wait for the client's close
    Churn,
    /// Open WebSockets and send back each frame
    #[value(name = "websocket")]
    WebSocket,
    /// Accept and never send
    Hold,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum DriveRole {
    /// Send --size bytes, verify the whole answer, and again; at --rate if given (open loop)
    Echo,
    /// Receive a feed; verify checksums and order
    Subscribe,
    /// Receive and verify (down) or send (up) as fast as possible
    Bulk,
    /// Connect, one exchange of --size, close; at --rate if given (open loop)
    Churn,
    /// Connect, open a WebSocket with a cookie of its own, exchange one text of --size, close; at --rate if given
    #[value(name = "websocket")]
    WebSocket,
    /// Open idle connections and keep them
    Hold,
    /// Connect to a sender and never read
    Stall,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Way {
    /// From the backend to the client
    Down,
    /// From the client to the backend
    Up,
}

impl Way {
    fn direction(self) -> Direction {
        match self {
            Self::Down => Direction::Down,
            Self::Up => Direction::Up,
        }
    }
}

/// What both commands know.
#[derive(Args, Debug)]
struct Common {
    /// Bytes of a message or request [default: 128]
    #[arg(long, value_name = "BYTES")]
    size: Option<u32>,
    /// Which way bulk flows [default: down]
    #[arg(long, value_enum)]
    direction: Option<Way>,
    /// Threads, each with a ring of its own
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// CPUs to pin the threads to, as in 0-3,8
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpu: Option<CpuList>,
    /// Look for work this long before sleeping, as in 200us, up to 10ms [default: sleep at once]
    #[arg(long, value_name = "DURATION", value_parser = spin)]
    spin: Option<Duration>,
    /// Show a line a second on stderr even if it is no terminal
    #[arg(long, conflicts_with = "quiet")]
    live: bool,
    /// No live line and no table
    #[arg(long)]
    quiet: bool,
}

#[derive(Args, Debug)]
struct ServeArgs {
    /// What to do with connections
    #[arg(value_enum)]
    role: ServeRole,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", required = true, value_delimiter = ',', value_parser = address)]
    listen: Vec<SocketAddr>,
    /// Ticks a second, of each thread's publisher [default: 10]
    #[arg(long, value_name = "HZ")]
    rate: Option<Rate>,
    /// End after so long
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Print the counters as JSON on stdout at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct DriveArgs {
    /// What the clients do
    #[arg(value_enum)]
    role: DriveRole,
    /// Where to connect; several are taken in turn
    #[arg(long, value_name = "ADDR", required = true, value_delimiter = ',', value_parser = address)]
    target: Vec<SocketAddr>,
    /// How many connections; for churn and websocket, at most at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    connections: u32,
    /// How long to measure, once the connections are open and the warm-up is over
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "S", default_value = "0", value_parser = seconds)]
    warmup: Duration,
    /// Requests a second over all connections, at planned times [default: as fast as answers come]
    #[arg(long, value_name = "HZ")]
    rate: Option<Rate>,
    /// Bulk: bytes per connection [default: until the time is over]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(9..))]
    bytes: Option<u64>,
    /// Websocket: what to ask for, a query included [default: /]
    #[arg(long, value_name = "PATH")]
    path: Option<RequestPath>,
    /// Websocket: the cookie that is another number in each session [default: session_id]
    #[arg(long, value_name = "NAME")]
    cookie: Option<CookieName>,
    /// Local addresses to connect from in turn: blocks (127.1.0.0/24) and addresses, separated by commas
    #[arg(long, value_name = "CIDR")]
    sources: Option<Sources>,
    /// Connections opened a second [default: as fast as they go]
    #[arg(long, value_name = "N/s")]
    ramp: Option<Rate>,
    /// Write the result as JSON to FILE, or to stdout with `-` (then without the table)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    tls: TlsArgs,
}

/// When to show the live line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Live {
    Always,
    OnTerminal,
    Never,
}

/// `loadgen serve`, checked.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) config: BackendConfig,
    pub(crate) seconds: Option<Duration>,
    pub(crate) json: bool,
    pub(crate) live: Live,
    pub(crate) quiet: bool,
}

/// `loadgen drive`, checked.
#[derive(Debug)]
pub(crate) struct Drive {
    pub(crate) config: ClientConfig,
    pub(crate) json: Option<PathBuf>,
    pub(crate) live: Live,
    pub(crate) quiet: bool,
}

/// What to run.
#[derive(Debug)]
pub(crate) enum Run {
    Serve(Serve),
    Drive(Drive),
}

impl Run {
    /// Reads arguments, the program's name first.
    ///
    /// # Errors
    /// What is wrong with them (or the help that was asked for); exits with code 2 when told to.
    pub(crate) fn parse(
        args: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let checked = match Cli::try_parse_from(args)?.command {
            Command::Serve(args) => args.check().map(Self::Serve),
            Command::Drive(args) => args.check().map(Self::Drive),
        };
        checked.map_err(|wrong| Cli::command().error(ErrorKind::ValueValidation, wrong))
    }
}

impl Common {
    fn live(&self) -> Live {
        match (self.live, self.quiet) {
            (true, _) => Live::Always,
            (false, true) => Live::Never,
            (false, false) => Live::OnTerminal,
        }
    }

    fn cpus(&self) -> Vec<usize> {
        self.cpu
            .as_ref()
            .map_or_else(Vec::new, |list| list.0.clone())
    }

    fn spin(&self) -> Duration {
        self.spin.unwrap_or_default()
    }

    fn direction(&self) -> Direction {
        self.direction.map_or(Direction::Down, Way::direction)
    }

    fn size(&self, least: u32, most: u32) -> Result<u32, String> {
        let size = self.size.unwrap_or(128);
        let fits = (least..=most).contains(&size);
        fits.then_some(size)
            .ok_or_else(|| format!("--size {size}: want {least} to {most} bytes"))
    }
}

/// The largest request: answers of a proxy under test should not need more of our memory than this.
const REQUEST_MAX: u32 = 64 << 20;

/// Roles with requests.
const ASKING: &str = "echo, churn and websocket";

/// Roles whose connections do not come and go.
const STAYING: &str = "roles that keep their connections";

impl ServeArgs {
    fn check(self) -> Result<Serve, String> {
        let role = self.role;
        let sized = matches!(role, ServeRole::Publish | ServeRole::Churn);
        only_for(
            self.common.size.is_some(),
            "--size",
            sized,
            "publish and churn",
        )?;
        only_for(
            self.rate.is_some(),
            "--rate",
            role == ServeRole::Publish,
            "publish",
        )?;
        let directed = role == ServeRole::Bulk;
        only_for(
            self.common.direction.is_some(),
            "--direction",
            directed,
            "bulk",
        )?;
        let role = match role {
            ServeRole::Echo => BackendRole::Echo,
            ServeRole::Publish => BackendRole::Publish {
                rate: self
                    .rate
                    .unwrap_or_else(|| Rate::per_second(10.0).expect("ten is a rate")),
                size: self.common.size(HEADER, MESSAGE_MAX)?,
            },
            ServeRole::Bulk => BackendRole::Bulk {
                direction: self.common.direction(),
            },
            ServeRole::Churn => BackendRole::Churn {
                size: self.common.size(1, REQUEST_MAX)?,
            },
            ServeRole::WebSocket => BackendRole::WebSocket,
            ServeRole::Hold => BackendRole::Hold,
        };
        Ok(Serve {
            live: self.common.live(),
            quiet: self.common.quiet,
            seconds: self.seconds,
            json: self.json,
            config: BackendConfig {
                role,
                listen: self.listen,
                threads: self.common.threads,
                cpus: self.common.cpus(),
                spin: self.common.spin(),
            },
        })
    }
}

impl DriveArgs {
    fn check(self) -> Result<Drive, String> {
        let role = self.role()?;
        let tls = self.tls.check()?;
        let threads = u32::from(self.common.threads);
        if threads > self.connections {
            return Err(format!("--threads {threads}: more than the connections"));
        }
        Ok(Drive {
            live: self.common.live(),
            quiet: self.common.quiet,
            json: self.json,
            config: ClientConfig {
                role,
                targets: self.target,
                connections: self.connections,
                seconds: self.seconds,
                warmup: self.warmup,
                threads: self.common.threads,
                tls,
                sources: self.sources.unwrap_or_default(),
                ramp: self.ramp,
                cpus: self.common.cpus(),
                spin: self.common.spin(),
            },
        })
    }

    fn role(&self) -> Result<ClientRole, String> {
        let role = self.role;
        let asks = matches!(
            role,
            DriveRole::Echo | DriveRole::Churn | DriveRole::WebSocket
        );
        let stays = !matches!(role, DriveRole::Churn | DriveRole::WebSocket);
        let is_bulk = role == DriveRole::Bulk;
        let is_websocket = role == DriveRole::WebSocket;
        for (given, option, fits, roles) in [
            (self.common.size.is_some(), "--size", asks, ASKING),
            (self.rate.is_some(), "--rate", asks, ASKING),
            (self.bytes.is_some(), "--bytes", is_bulk, "bulk"),
            (
                self.common.direction.is_some(),
                "--direction",
                is_bulk,
                "bulk",
            ),
            (self.ramp.is_some(), "--ramp", stays, STAYING),
            (self.path.is_some(), "--path", is_websocket, "websocket"),
            (self.cookie.is_some(), "--cookie", is_websocket, "websocket"),
            (self.tls.resume, "--resume", !stays, "churn and websocket"),
        ] {
            only_for(given, option, fits, roles)?;
        }
        let rate = self.rate;
        Ok(match role {
            DriveRole::Echo => ClientRole::Echo {
                size: self.common.size(1, REQUEST_MAX)?,
                rate,
            },
            DriveRole::Subscribe => ClientRole::Subscribe,
            DriveRole::Bulk => ClientRole::Bulk {
                direction: self.common.direction(),
                bytes: self.bytes,
            },
            DriveRole::Churn => ClientRole::Churn {
                size: self.common.size(1, REQUEST_MAX)?,
                rate,
            },
            DriveRole::WebSocket => ClientRole::WebSocket {
                path: self.path.clone().unwrap_or_default(),
                cookie: self.cookie.clone().unwrap_or_default(),
                size: self.common.size(1, PAYLOAD_MAX)?,
                rate,
            },
            DriveRole::Hold => ClientRole::Hold,
            DriveRole::Stall => ClientRole::Stall,
        })
    }
}

/// An option that would be ignored is a mistake of whoever typed it.
fn only_for(given: bool, option: &str, fits: bool, roles: &str) -> Result<(), String> {
    if given && !fits {
        return Err(format!("{option} is for {roles} only"));
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    // A year: beyond it, somebody meant another unit.
    seconds
        .filter(|seconds| (0.0..=31_536_000.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "want seconds, as in 10 or 0.5".into())
}

/// Longer, and the wake-up that it saves is nothing to the wait that came before.
const SPIN_MAX: Duration = Duration::from_millis(10);

fn spin(text: &str) -> Result<Duration, String> {
    let count = |digits: &str| digits.parse::<u32>().ok();
    let spin = match (text.strip_suffix("us"), text.strip_suffix("ms")) {
        (Some(micros), _) => count(micros).map(|n| Duration::from_micros(n.into())),
        (None, Some(millis)) => count(millis).map(|n| Duration::from_millis(n.into())),
        (None, None) => None,
    };
    spin.filter(|spin| *spin <= SPIN_MAX)
        .ok_or_else(|| "want a duration up to 10ms, as in 200us or 1ms".into())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|e| format!("want IP:PORT or host:PORT: {e}"))?;
    found.next().ok_or_else(|| "no address of that name".into())
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct CpuList(Vec<usize>);

fn cpu_list(text: &str) -> Result<CpuList, String> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |number: &str| {
            number
                .trim()
                .parse::<usize>()
                .ok()
                .filter(|cpu| *cpu < 1024)
        };
        match (parse(first), parse(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err(format!("`{part}` is no CPU; want a list like 0-3,8")),
        }
    }
    Ok(CpuList(cpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Run, clap::Error> {
        Run::parse(line.split(' '))
    }

    fn drive(line: &str) -> Drive {
        match parse(&format!(
            "loadgen drive {line} --target 127.0.0.1:1 --seconds 2"
        )) {
            Ok(Run::Drive(drive)) => drive,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn assert_refused(line: &str, because: &str) {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(because), "{error}");
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_fleet_is_read_with_all_its_words() {
        let drive = drive(
            "echo --connections 9 --warmup 0.5 --rate 100 --sources 127.1.0.0/24 --cpu 0-1,3 --ramp 50/s --json - \
             --spin 200us",
        );
        let rate = Rate::per_second(100.0);
        assert_eq!(drive.config.role, ClientRole::Echo { size: 128, rate });
        assert_eq!(drive.config.warmup, Duration::from_millis(500));
        assert_eq!(drive.config.sources.count(), 254);
        assert_eq!(drive.config.cpus, [0, 1, 3]);
        assert_eq!(drive.config.spin, Duration::from_micros(200));
        assert_eq!(drive.config.ramp, Rate::per_second(50.0));
        assert_eq!(drive.json, Some("-".into()));
    }

    #[test]
    fn a_backend_takes_several_addresses() {
        let run = parse("loadgen serve publish --listen 127.0.0.1:0,[::1]:0 --rate 5 --size 64");
        let Ok(Run::Serve(serve)) = run else {
            panic!("{run:?}")
        };
        assert_eq!(serve.config.listen.len(), 2);
        let rate = Rate::per_second(5.0).unwrap();
        assert_eq!(serve.config.role, BackendRole::Publish { rate, size: 64 });
    }

    #[test]
    fn an_option_that_would_be_ignored_is_refused() {
        let tail = "--target 127.0.0.1:1 --connections 1 --seconds 1";
        assert_refused(
            &format!("loadgen drive hold --rate 5 {tail}"),
            "--rate is for echo, churn",
        );
        assert_refused(
            &format!("loadgen drive echo --bytes 100 {tail}"),
            "--bytes is for bulk",
        );
        assert_refused(
            "loadgen serve echo --listen 127.0.0.1:0 --direction up",
            "bulk only",
        );
    }

    #[test]
    fn a_session_has_a_path_and_a_cookie_of_its_own() {
        let usual = drive("websocket --connections 2").config.role;
        assert_eq!(
            usual,
            ClientRole::WebSocket {
                path: RequestPath::default(),
                cookie: CookieName::default(),
                size: 128,
                rate: None,
            }
        );
        let drive = drive("websocket --connections 2 --path /chat?room=1 --cookie sid --size 5");
        assert_eq!(
            drive.config.role,
            ClientRole::WebSocket {
                path: "/chat?room=1".parse().unwrap(),
                cookie: "sid".parse().unwrap(),
                size: 5,
                rate: None,
            }
        );
        let tail = "--target 127.0.0.1:1 --connections 1 --seconds 1";
        for (line, because) in [
            ("churn --cookie sid", "--cookie is for websocket"),
            ("echo --path /", "--path is for websocket"),
            ("websocket --ramp 5/s", "keep their connections"),
            ("websocket --size 65536", "1 to 65535"),
            ("websocket --path chat", "begins with `/`"),
            ("websocket --cookie a=b", "name of a cookie"),
        ] {
            assert_refused(&format!("loadgen drive {line} {tail}"), because);
        }
    }

    #[test]
    fn tls_wants_to_know_whom_to_believe() {
        let wanted = |line: &str| drive(line).config.tls;
        assert!(wanted("churn --connections 2").is_none());
        assert!(wanted("churn --connections 2 --tls --tls-insecure --resume").is_some());
        assert!(wanted("hold --connections 2 --tls --tls-insecure --tls-name a.test").is_some());
        let tail = "--target 127.0.0.1:1 --connections 1 --seconds 1";
        for (line, because) in [
            ("echo --tls", "--tls-ca FILE, or --tls-insecure"),
            ("echo --tls-insecure", "--tls"),
            (
                "echo --tls --tls-insecure --resume",
                "--resume is for churn",
            ),
            (
                "echo --tls --tls-insecure --tls-name a:b",
                "neither a host name",
            ),
            ("echo --tls --tls-ca /dev/null", "no certificate"),
            (
                "echo --tls --tls-ca /dev/null --tls-insecure",
                "cannot be used with",
            ),
        ] {
            assert_refused(&format!("loadgen drive {line} {tail}"), because);
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert_refused(
            "loadgen serve publish --listen 127.0.0.1:0 --size 39",
            "40 to",
        );
        assert_refused("loadgen serve echo --listen nowhere", "IP:PORT");
        let tail = "--target 127.0.0.1:1 --seconds 1";
        assert_refused(
            &format!("loadgen drive echo --connections 0 {tail}"),
            "0 is not in",
        );
        assert_refused(
            &format!("loadgen drive echo --connections 1 --cpu 3-1 {tail}"),
            "no CPU",
        );
        assert_refused(
            &format!("loadgen drive echo --connections 1 --threads 2 {tail}"),
            "more than",
        );
        for wrong in ["11ms", "200", "1s", "ms", "-1us"] {
            let line = format!("loadgen serve echo --listen 127.0.0.1:0 --spin={wrong}");
            assert_refused(&line, "up to 10ms");
        }
        assert_refused(
            "loadgen drive echo --connections 1 --target 127.0.0.1:1 --seconds -1",
            "",
        );
    }
}
