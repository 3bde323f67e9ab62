use super::*;
use crate::config::Config;
use crate::wire::http_head::{self, Progress};

/// The listener of a file with these routes, each to the upstream of its own place; without a match it is "other", 9.
fn listener(mode: &str, routes: &[&str]) -> Listener {
    let mut text = format!(
        "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:1\"\nmode = \"{mode}\"\nupstream = \"u9\"\n"
    );
    for (at, conditions) in routes.iter().enumerate() {
        text += &format!("[[listener.route]]\n{conditions}\nupstream = \"u{at}\"\n");
    }
    for at in 0..10 {
        text += &format!(
            "[[upstream]]\nname = \"u{at}\"\nbackend = [{{ address = \"10.0.0.1:1\" }}]\n"
        );
    }
    let config = Config::parse(&text, "file").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    config.listeners.into_iter().next().unwrap()
}

/// What `ask` makes of the head of a request.
fn with_head<T>(request: &str, ask: impl FnOnce(&Head<'_>) -> T) -> T {
    let Progress::Complete(head) = http_head::parse(request.as_bytes(), request.len()) else {
        panic!("not a head: {request:?}");
    };
    ask(&head)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Where a request goes.
fn routed(listener: &Listener, client: &str, request: &str) -> usize {
    with_head(request, |head| {
        let facts = Facts {
            head: Some(head),
            ..Facts::of_client(ip(client))
        };
        facts.upstream(listener).expect("it has its own")
    })
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn the_first_route_that_matches_wins_and_the_listeners_upstream_is_the_last() {
    let listener = listener(
        "http",
        &[
            "host = \"a.example\"\npath_prefix = \"/chat\"",
            "host = \"*.example\"",
            "host = \"a.example\"",
        ],
    );
    let to = |host, path| routed(&listener, "192.0.2.1", &get(host, path));
    assert_eq!(to("a.example", "/chat"), 0);
    assert_eq!(to("a.example", "/"), 1);
    assert_eq!(to("b.example", "/chat"), 1);
    assert_eq!(to("example", "/chat"), 9);
}

#[test]
fn a_host_is_compared_without_case_port_and_final_dot() {
    let listener = listener("http", &["host = \"A.Example\"", "host = \"*.A.example.\""]);
    let to = |host| routed(&listener, "192.0.2.1", &get(host, "/"));
    for host in [
        "a.example",
        "A.EXAMPLE",
        "a.example:8080",
        "a.example.",
        "a.example.:80",
    ] {
        assert_eq!(to(host), 0, "{host}");
    }
    for host in ["b.a.example", "C.B.A.example:1", "b.a.example."] {
        assert_eq!(to(host), 1, "{host}");
    }
    for host in ["ba.example", "a.example.org", "[::1]", "192.0.2.1"] {
        assert_eq!(to(host), 9, "{host}");
    }
}

#[test]
fn a_path_prefix_is_bytes_as_sent_without_the_query() {
    let listener = listener(
        "http",
        &["path_prefix = \"/chat\"", "path_prefix = \"/a/\""],
    );
    let to = |path| routed(&listener, "192.0.2.1", &get("a.example", path));
    for path in ["/chat", "/chat/", "/chatter", "/chat?a=b"] {
        assert_eq!(to(path), 0, "{path}");
    }
    assert_eq!(
        (to("/a/"), to("/a/b"), to("http://a.example/a/b")),
        (1, 1, 1)
    );
    for path in [
        "/", "/Chat", "/%63hat", "/x/chat", "//chat", "/?/chat", "/a", "/b/../a/",
    ] {
        assert_eq!(to(path), 9, "{path}");
    }
}

#[test]
fn an_upgrade_is_asked_for_in_any_case_and_in_lists() {
    let listener = listener("http", &["upgrade = \"websocket\""]);
    let to = |fields| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        routed(&listener, "192.0.2.1", &request)
    };
    assert_eq!(
        to("Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade"),
        0
    );
    assert_eq!(to("Upgrade: h2c\r\nConnection: Upgrade"), 9);
    assert_eq!(to("Upgrade: websocket"), 9);
    assert_eq!(to("Accept: *"), 9);
}

#[test]
fn every_condition_of_a_route_has_to_hold() {
    let listener = listener(
        "http",
        &[
            "host = \"a.example\"\npath_prefix = \"/ws\"\nupgrade = \"websocket\"\nclient = [\"10.0.0.0/8\", \"fd00::/8\"]",
        ],
    );
    let request = |host, path, upgrade| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: {upgrade}\r\n\r\n"
        )
    };
    let to = |client, host, path, upgrade| routed(&listener, client, &request(host, path, upgrade));
    assert_eq!(to("10.0.0.1", "a.example", "/ws", "websocket"), 0);
    assert_eq!(to("::ffff:10.0.0.1", "a.example", "/ws", "websocket"), 0);
    assert_eq!(to("fd00::1", "a.example", "/ws", "websocket"), 0);
    assert_eq!(to("11.0.0.1", "a.example", "/ws", "websocket"), 9);
    assert_eq!(to("10.0.0.1", "b.example", "/ws", "websocket"), 9);
    assert_eq!(to("10.0.0.1", "a.example", "/", "websocket"), 9);
    assert_eq!(to("10.0.0.1", "a.example", "/ws", "h2c"), 9);
}

#[test]
fn a_server_name_chooses_in_tls_mode() {
    let listener = listener("tls", &["sni = \"a.example\"", "sni = \"*.example\""]);
    let to = |sni| {
        let facts = Facts {
            sni,
            ..Facts::of_client(ip("192.0.2.1"))
        };
        facts.upstream(&listener).expect("it has its own")
    };
    assert_eq!(to(Some("A.example")), 0);
    assert_eq!(to(Some("x.a.example")), 1);
    assert_eq!((to(Some("example")), to(None)), (9, 9));
}

#[test]
fn what_was_not_sent_matches_no_condition_but_the_clients_network() {
    let client = Facts::of_client(ip("10.0.0.1"));
    let conditions = [
        "path_prefix = \"/\"",
        "host = \"*.example\"",
        "upgrade = \"h2c\"",
    ];
    assert_eq!(client.upstream(&listener("http", &conditions)), Some(9));
    assert_eq!(
        client.upstream(&listener("tls", &["sni = \"*.example\""])),
        Some(9)
    );
    assert_eq!(
        client.upstream(&listener("tcp", &["client = [\"10.0.0.1\"]"])),
        Some(0)
    );
    let without_host = "GET / HTTP/1.0\r\n\r\n";
    let listener = listener("http", &["host = \"a\"", "path_prefix = \"/\""]);
    assert_eq!(routed(&listener, "10.0.0.1", without_host), 1);
}
