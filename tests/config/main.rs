//! The configuration as its users meet it: what a file may say, and what every mistake is answered with.

mod reference;
mod round_trip;
mod tls;
mod upstreams;
mod warned;
mod wrong;

use ringway::config::{
    AcceptProxy, Access, AdminState, AllDown, Balance, Config, Exchange, Format, Forwarded,
    HashKey, HashPrefix, HttpRequest, InitialHealth, Mode, Networks, OnDown, Probe, Ratio, Relay,
    SendProxy, Status, Workers,
};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use wrong::MINIMAL;

fn parsed(text: &str) -> Config {
    Config::parse(text, "ringway.toml").unwrap_or_else(|errors| panic!("{errors}\nin:\n{text}"))
}

fn refused(text: &str) -> String {
    Config::parse(text, "ringway.toml")
        .expect_err(text)
        .to_string()
}

#[test]
fn the_smallest_file_gets_the_defaults_of_the_contract() {
    let config = parsed(MINIMAL);
    assert_eq!(config.process.workers, Workers::Auto);
    assert_eq!(config.process.max_connections, 0);
    assert_eq!(config.process.spin, Duration::ZERO);
    assert_eq!(config.process.drain_delay, Duration::ZERO);
    assert_eq!(config.process.drain_over, Duration::from_secs(10));
    assert_eq!(config.process.drain_deadline, Duration::from_secs(30));
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert_eq!(config.log.format, Format::Text);
    assert_eq!(config.log.access, Access::Stderr);

    let listener = &config.listeners[0];
    assert_eq!(listener.listen, ["127.0.0.1:9000".parse().unwrap()]);
    assert_eq!(listener.upstream, Some(0));
    assert_eq!(listener.routes, []);
    assert_eq!(listener.mode, Mode::Tcp);
    assert_eq!(listener.peek_max_bytes, 16_384);
    assert_eq!(listener.peek_timeout, Duration::from_secs(10));
    assert_eq!(listener.proxy_protocol, AcceptProxy::Off);
    assert_eq!(listener.forwarded, Forwarded::Off);
    for networks in [
        &listener.proxy_protocol_from,
        &listener.allow,
        &listener.deny,
    ] {
        assert_eq!(networks, &Networks::default());
    }
    assert_eq!(listener.max_connections_per_ip, 0);
    assert_eq!(listener.connect_rate_per_ip, None);
    assert_eq!(listener.relay, Relay::Auto);
    assert_eq!(listener.tls, None);
    assert_eq!(listener.backlog, 65535);
    assert!(!listener.incoming_cpu);
    assert!(listener.nodelay);
    assert_eq!(listener.idle_timeout, Duration::from_secs(600));
    assert_eq!(listener.half_close_timeout, Duration::from_secs(30));
    assert_eq!(listener.user_timeout, Duration::from_secs(30));
    assert_eq!(listener.keepalive.idle, Duration::from_secs(60));
    assert_eq!(listener.keepalive.interval, Duration::from_secs(15));
    assert_eq!(listener.keepalive.count, 4);
    assert_eq!(listener.notsent_lowat, 131_072);
    assert_eq!(listener.max_connections, 0);

    let upstream = &config.upstreams[0];
    assert_eq!(upstream.balance, Balance::IpHash);
    assert_eq!(upstream.hash_key, [HashKey::ClientIp]);
    assert_eq!(upstream.proxy_protocol, SendProxy::Off);
    assert_eq!(upstream.hash_prefix, HashPrefix { v4: 32, v6: 64 });
    assert_eq!(upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(upstream.connect_tries, 3);
    assert_eq!(upstream.user_timeout, Duration::from_secs(10));
    assert_eq!(upstream.backends[0].name, "10.0.0.1:8080");
    assert_eq!(upstream.backends[0].weight, 1);
    assert!(!upstream.backends[0].backup);
    assert_eq!(upstream.backends[0].max_connections, 0);
    assert_eq!(upstream.backends[0].state, AdminState::Ready);

    assert_eq!(upstream.hash_load_factor, None);
    assert_eq!(upstream.max_fails, 3);
    assert_eq!(upstream.fail_timeout, Duration::from_secs(10));
    assert_eq!(upstream.all_down, AllDown::TryAll);
    assert_eq!(upstream.on_down, OnDown::Keep);
    assert_eq!(upstream.slow_start, Duration::ZERO);
    assert_eq!(upstream.source_addresses, Vec::<IpAddr>::new());
    assert_eq!(upstream.resolve_interval, Duration::from_secs(30));
    assert_eq!(upstream.probe, None);
}

/// The probe of a file whose `[upstream.probe]` has these lines.
fn probe(lines: &str) -> Probe {
    let table = format!("[upstream.probe]\n{lines}\n[[upstream.backend]]");
    let text = MINIMAL.replace("[[upstream.backend]]", &table);
    parsed(&text).upstreams.swap_remove(0).probe.expect(lines)
}

#[test]
fn the_smallest_probe_gets_the_defaults_of_the_contract() {
    let probe = probe("");
    assert_eq!(probe.exchange, Exchange::Tcp);
    assert_eq!(probe.interval, Duration::from_secs(3));
    assert_eq!(probe.timeout, Duration::from_secs(1));
    assert_eq!((probe.rise, probe.fall), (2, 5));
    assert_eq!(probe.port, None);
    assert_eq!(probe.initial, InitialHealth::Up);
    assert_eq!(probe.jitter, Ratio::new(0.1));
}

#[test]
fn each_type_of_probe_has_the_keys_that_mean_something_to_it() {
    let exchange = |lines: &str| probe(lines).exchange;
    let get = |path: &str, host: Option<&str>| HttpRequest::Get {
        path: path.to_owned(),
        host: host.map(str::to_owned),
    };
    assert_eq!(
        exchange("type = \"http\""),
        Exchange::Http {
            request: get("/", None),
            expect_status: vec![Status::Class(2), Status::Class(3)],
        }
    );
    assert_eq!(
        exchange(
            "type = \"http\"\npath = \"/up?x=1\"\nhost = \"a.example:8080\"\nexpect_status = [\"204\"]"
        ),
        Exchange::Http {
            request: get("/up?x=1", Some("a.example:8080")),
            expect_status: vec![Status::Exact(204)],
        }
    );
    assert_eq!(
        exchange(
            "type = \"http\"\nsend = 'HEAD / HTTP/1.0\\r\\n\\r\\n'\nexpect_status = [\"2xx\"]"
        ),
        Exchange::Http {
            request: HttpRequest::Raw(b"HEAD / HTTP/1.0\r\n\r\n".to_vec()),
            expect_status: vec![Status::Class(2)],
        }
    );
    assert_eq!(
        exchange("type = \"ssl_hello\"\nhost = \"A.Example.\""),
        Exchange::SslHello {
            host: Some("a.example".to_owned())
        }
    );
    assert_eq!(
        exchange("type = \"websocket\"\npath = \"/feed\"\nexpect = 'tick'"),
        Exchange::Websocket {
            path: "/feed".to_owned(),
            host: None,
            expect: b"tick".to_vec(),
        }
    );
    assert_eq!(
        exchange("type = \"send_expect\"\nsend = '\\x00\\xff'\nexpect = \"\\r\\n\""),
        Exchange::SendExpect {
            send: vec![0, 0xff],
            expect: b"\r\n".to_vec(),
        }
    );
    for (word, expected) in [
        ("tcp", Exchange::Tcp),
        ("smtp", Exchange::Smtp),
        ("mysql", Exchange::Mysql),
        ("pop3", Exchange::Pop3),
        ("imap", Exchange::Imap),
        ("pgsql", Exchange::Pgsql),
        ("redis", Exchange::Redis),
    ] {
        // What is empty asks for nothing, whichever the type.
        let lines = format!("type = \"{word}\"\nsend = \"\"\nexpect = \"\"\nhost = \"\"");
        assert_eq!(exchange(&lines), expected);
        assert_eq!(expected.probe_type().to_string(), word);
    }
}

#[test]
fn every_mistake_is_named_with_its_place_and_its_key() {
    for (text, expected) in wrong::all() {
        let errors = refused(text);
        let first = errors.lines().next().unwrap_or_default();
        let prefix = format!("ringway.toml:{expected}");
        assert!(
            first.starts_with(&prefix),
            "wanted {prefix}\n   got {first}\n in:\n{text}"
        );
        assert_eq!(errors.lines().count(), 1, "one mistake, one line: {errors}");
    }
}

#[test]
fn every_message_says_what_to_write_instead() {
    let fixes = [
        "write ",
        "did you mean",
        "remove ",
        "give one of them",
        "not TOML",
        "this table takes",
    ];
    for (text, _) in wrong::all() {
        let errors = refused(text);
        assert!(
            fixes.iter().any(|fix| errors.contains(fix)),
            "no fix in: {errors}"
        );
    }
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let errors = refused(
        "[process]\nworkers = 0\ncolour = 1\n[[listener]]\nname = \"a\"\nlisten = [\"x\", \"127.0.0.1:1\"]\n\
         idle_timeout = \"10 parsecs\"\nupstream = \"fede\"\n[[upstream]]\nname = \"feed\"\nconnect_tries = 9\n",
    );
    let heads: Vec<String> = errors
        .lines()
        .map(|line| line.splitn(5, ':').take(4).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        heads,
        [
            "ringway.toml:2:11: process.workers",
            "ringway.toml:3:1: process.colour",
            "ringway.toml:6:11: listener[0].listen[0]",
            "ringway.toml:7:16: listener[0].idle_timeout",
            "ringway.toml:8:12: listener[0].upstream",
            "ringway.toml:9:1: upstream[0].backend",
            "ringway.toml:11:17: upstream[0].connect_tries",
        ],
        "{errors}"
    );
}

#[test]
fn a_message_reads_as_in_the_reference() {
    let text = MINIMAL.replace(
        "upstream = \"feed\"",
        "upstream = \"feed\"\nidle_timeout = \"10 parsecs\"",
    );
    assert_eq!(
        refused(&text),
        "ringway.toml:5:16: listener[0].idle_timeout: \"10 parsecs\" is not a duration; write a number and a \
         unit, such as \"250us\", \"1500ms\", \"10s\", \"5m\", \"7d\""
    );
}

#[test]
fn values_that_ask_for_nothing_are_let_through() {
    let mut text = MINIMAL.replace(
        "upstream = \"feed\"",
        "upstream = \"feed\"\nmax_age = \"0s\"\nroute = []",
    );
    text += "backup = false\nstate = \"ready\"\nmax_connections = 0\n";
    let upstream = "[[upstream]]\nhash_load_factor = 0\nslow_start = \"0s\"\nsource_addresses = []";
    text = text.replace("[[upstream]]", upstream);
    assert_eq!(parsed(&text), parsed(MINIMAL));
}

#[test]
fn a_client_is_let_in_by_allow_unless_deny_has_it() {
    let text = MINIMAL.replace(
        "upstream = \"feed\"",
        "upstream = \"feed\"\nallow = [\"10.0.0.0/8\", \"2001:db8::/32\"]\ndeny = [\"10.1.0.0/16\"]",
    );
    let admits =
        |text: &str, client: &str| parsed(text).listeners[0].admits(client.parse().unwrap());
    for client in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1"] {
        assert!(admits(&text, client), "{client}");
    }
    for client in ["10.1.0.1", "::ffff:10.1.0.1", "11.0.0.1", "::1"] {
        assert!(!admits(&text, client), "{client}");
    }
    assert!(admits(MINIMAL, "11.0.0.1"), "nothing listed is everyone");
    let deny_only = text.replace("allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n", "");
    assert!(admits(&deny_only, "11.0.0.1") && !admits(&deny_only, "10.1.0.1"));
}

#[test]
fn a_header_is_believed_from_those_listed_or_from_anyone() {
    let text = MINIMAL.replace(
        "upstream = \"feed\"",
        "upstream = \"feed\"\nproxy_protocol = \"required\"\nproxy_protocol_from = [\"192.0.2.0/24\"]",
    );
    let believes =
        |text: &str, peer: &str| parsed(text).listeners[0].believes(peer.parse().unwrap());
    assert!(believes(&text, "192.0.2.7") && believes(&text, "::ffff:192.0.2.7"));
    assert!(!believes(&text, "192.0.3.7"));
    assert!(believes(MINIMAL, "192.0.3.7"));
}

#[test]
fn names_are_compared_in_lower_case_and_the_address_ends_the_hash_keys() {
    let text = MINIMAL
        .replace(
            "name = \"feed\"\n[[upstream.backend]]",
            "name = \"feed\"\nbalance = \"hash\"\n\
        hash_key = [\"cookie:SID\", \"header:X-User\"]\n[[upstream.backend]]",
        )
        .replace(
            "upstream = \"feed\"",
            "upstream = \"feed\"\nmode = \"http\"\n\
        route = [{ host = \"*.Example.COM.\", upgrade = \"WebSocket\", upstream = \"feed\" }]",
        );
    let config = parsed(&text);
    let route = &config.listeners[0].routes[0];
    assert_eq!(route.host.as_ref().unwrap().to_string(), "*.example.com");
    assert_eq!(route.upgrade.as_deref(), Some("websocket"));
    let keys = [
        HashKey::Cookie("SID".to_owned()),
        HashKey::Header("x-user".to_owned()),
        HashKey::ClientIp,
    ];
    assert_eq!(config.upstreams[0].hash_key, keys);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = Config::load(Path::new("/nonexistent/ringway.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("/nonexistent/ringway.toml: cannot be read: No such file"),
        "{missing}"
    );
    let endless = Config::load(Path::new("/dev/zero"))
        .unwrap_err()
        .to_string();
    assert!(endless.contains("larger than 4 MiB"), "{endless}");
}
