//! Configurations that nobody wrote: every directive that is known, with words that fit and words that do not.

use super::import;
use proptest::collection::vec;
use proptest::prelude::*;
use ringway::config::Config;
use ringway::import::ImportError;

const STREAM: &[&str] = &[
    "access_log",
    "allow",
    "deny",
    "error_log",
    "limit_conn",
    "limit_conn_zone",
    "preread_buffer_size",
    "preread_timeout",
    "proxy_bind",
    "proxy_connect_timeout",
    "proxy_half_close",
    "proxy_next_upstream",
    "proxy_next_upstream_tries",
    "proxy_pass",
    "proxy_protocol",
    "proxy_protocol_timeout",
    "proxy_session_drop",
    "proxy_ssl",
    "proxy_ssl_name",
    "proxy_ssl_verify",
    "proxy_timeout",
    "resolver",
    "server_name",
    "set_real_ip_from",
    "so_keepalive",
    "ssl",
    "ssl_alpn",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_handshake_timeout",
    "ssl_preread",
    "ssl_protocols",
    "ssl_verify_client",
    "tcp_nodelay",
    "timeout",
    "unheard_of",
    "websocket_pass",
];

const UPSTREAM: &[&str] = &[
    "busyness",
    "check",
    "check_http_expect_alive",
    "check_http_send",
    "hash",
    "ip_hash",
    "least_conn",
    "random",
    "server",
    "server",
    "server",
    "zone",
];

const WORDS: &[&str] = &[
    "0",
    "1",
    "80",
    "65536",
    "99999999999999999999",
    "on",
    "off",
    "10.0.0.1",
    "10.0.0.1:80",
    "10.0.0.0/8",
    "[::1]:80",
    "all",
    "backend.example.com:80",
    "unix:/run/a.sock",
    "one",
    "two",
    "$name",
    "$office",
    "${name}",
    "/path",
    "\"\"",
    "'a b'",
    "'\\r\\n\"'",
    "weight=0",
    "weight=7",
    "weight=4000000000",
    "max_fails=2",
    "fail_timeout=0",
    "fail_timeout=30s",
    "max_conns=5",
    "max_conns=x",
    "backup",
    "down",
    "resolve",
    "service=http",
    "slow_start=1m",
    "interval=3000",
    "timeout=0",
    "rise=99999999",
    "port=0",
    "type=http",
    "type=redis",
    "default_down=maybe",
    "http_2xx",
    "http_9xx",
    "1h",
    "500ms",
    "30d",
    "$remote_addr",
    "consistent",
    "zone=a:1m",
    "a",
    "5",
    "\u{e9}",
    "*.example.com",
    ".example.com",
    "www.example.com",
    "~^x",
    "off",
    "TLSv1.3",
    "TLSv1",
    "h2",
];

const LISTEN: &[&str] = &[
    "80",
    "81",
    "*:82",
    "10.0.0.1:80",
    "[::]:80",
    "1000-1003",
    "0",
    "unix:/a",
    "ssl",
    "udp",
    "proxy_protocol",
    "backlog=5",
    "backlog=0",
    "so_keepalive=1m:2s:3",
    "so_keepalive=::",
    "so_keepalive=off",
    "ipv6only=off",
    "default",
];

fn line(
    names: &'static [&'static str],
    words: &'static [&'static str],
) -> impl Strategy<Value = String> {
    let words = vec(prop::sample::select(words), 0..4);
    (prop::sample::select(names), words)
        .prop_map(|(name, words)| format!("{name} {};", words.join(" ")))
}

/// A block with a line that is right among lines that may be.
fn block(
    head: &'static str,
    right: &'static str,
    lines: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    vec(lines, 0..6).prop_map(move |lines| format!("{head} {{ {} {right} }}", lines.join(" ")))
}

fn server() -> impl Strategy<Value = String> {
    let targets = prop::sample::select(&["one", "two", "10.0.0.7:7", "$name", "$office"][..]);
    let listens = vec(line(&["listen"], LISTEN), 0..2);
    let lines = vec(line(STREAM, WORDS), 0..6);
    (1_u16.., listens, lines, targets).prop_map(|(port, listens, lines, target)| {
        let (listens, lines) = (listens.join(" "), lines.join(" "));
        format!("server {{ listen {port}; {listens} {lines} proxy_pass {target}; }}")
    })
}

fn inside() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => server(),
        1 => block("upstream one", "server 10.0.0.1:1;", line(UPSTREAM, WORDS)),
        1 => block("upstream two", "server 10.0.0.2:2;", line(UPSTREAM, WORDS)),
        1 => block("map $ssl_preread_server_name $name", "default one;", line(WORDS, WORDS)),
        1 => block("geo $office", "10.1.0.0/16 10.0.0.8:8;", line(WORDS, WORDS)),
        1 => line(STREAM, WORDS),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn ringway_accepts_what_it_has_written(stream in vec(inside(), 1..8), tcp in vec(inside(), 0..4)) {
        let nginx = format!("worker_processes auto; stream {{ {} }} tcp {{ {} }}", stream.join("\n"), tcp.join("\n"));
        match import(&nginx).0 {
            Ok(imported) => {
                let refused = Config::parse(&imported.toml, "ringway.toml").err();
                prop_assert!(refused.is_none(), "{}\n{}", refused.unwrap(), imported.toml);
            }
            Err(ImportError::Nothing(remarks)) => prop_assert!(!remarks.is_empty()),
            Err(ImportError::Syntax(error)) => prop_assert!(false, "{error}\n{nginx}"),
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9 ;{}'\"\\\\$#\n]{0,200}") {
        // Whatever comes of it.
        let _ = import(&format!("stream {{ server {{ listen 80; {text}"));
    }
}
