//! What is allowed and seldom meant is warned of; what is meant is not.

use crate::parsed;
use crate::wrong::MINIMAL;
use ringway::config::Upstream;
use std::time::Duration;

#[test]
fn warnings_name_what_is_seldom_meant() {
    assert_eq!(parsed(MINIMAL).warnings(), Vec::<String>::new());
    let mut config = parsed(MINIMAL);
    config.process.drain_deadline = Duration::from_secs(9);
    config.listeners[0].idle_timeout = Duration::from_secs(59);
    let backends = config.upstreams[0].backends.clone();
    config
        .upstreams
        .push(Upstream::new("spare".to_owned(), backends));
    let warnings = config.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings[0].contains("drain_deadline is below drain_over"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("listener \"feed\": idle_timeout is below"),
        "{warnings:?}"
    );
    assert!(
        warnings[2].contains("upstream \"spare\" is used by no listener"),
        "{warnings:?}"
    );
}

#[test]
fn a_slow_client_that_may_never_be_found_is_warned_of() {
    let slow = |unsent, more| {
        let line = format!("slow_client = {{ unsent = \"{unsent}\", for = \"30s\" }}\n{more}");
        let mut found = of_listener(&line);
        found.retain(|warning| warning.contains("\"feed\""));
        found
    };
    let found = slow("129KiB", "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("slow_client.unsent is above notsent_lowat"));
    for (unsent, more) in [
        ("128KiB", ""),
        ("1MiB", "notsent_lowat = 0"),
        ("1MiB", "notsent_lowat = \"1MiB\""),
        ("1MiB", "relay = \"splice\""),
    ] {
        assert_eq!(slow(unsent, more), Vec::<String>::new(), "{more}");
    }
}

/// The warnings of a file whose listener "feed" has these lines; the upstream "chat" is another one.
fn of_listener(lines: &str) -> Vec<String> {
    of(lines, "")
}

/// The same, with lines of "chat" too.
fn of(listener: &str, chat: &str) -> Vec<String> {
    let chat = format!(
        "[[upstream]]\nname = \"chat\"\nbackend = [{{ address = \"10.0.0.1:80\" }}]\n{chat}\n[[upstream]]"
    );
    let text = MINIMAL.replacen("[[upstream]]", &chat, 1).replace(
        "upstream = \"feed\"",
        &format!("upstream = \"feed\"\n{listener}"),
    );
    parsed(&text).warnings()
}

/// The warnings of a listener in `mode` with these routes to "chat".
fn of_routes(mode: &str, routes: &[&str]) -> Vec<String> {
    let routes = routes
        .iter()
        .map(|conditions| format!("{{ {conditions}, upstream = \"chat\" }}"));
    let routes: Vec<_> = routes.collect();
    of_listener(&format!(
        "mode = \"{mode}\"\nroute = [{}]",
        routes.join(", ")
    ))
}

const NETWORK: &str = "client = [\"10.0.0.0/8\"]";

#[test]
fn a_route_behind_one_that_matches_all_it_does_never_matches() {
    for (mode, first, second) in [
        ("http", "host = \"a.example\"", "host = \"A.example\""),
        ("http", "host = \"*.example\"", "host = \"a.b.example\""),
        (
            "http",
            "host = \"*.example\"",
            "host = \"*.b.example\", upgrade = \"websocket\"",
        ),
        ("http", "path_prefix = \"/ch\"", "path_prefix = \"/chat\""),
        ("http", "path_prefix = \"/\"", "host = \"a.example\""),
        (
            "http",
            "upgrade = \"websocket\"",
            "upgrade = \"WebSocket\", host = \"a.example\"",
        ),
        ("tls", "sni = \"*.example\"", "sni = \"a.example\""),
        (
            "tcp",
            NETWORK,
            "client = [\"10.1.0.0/16\", \"::ffff:10.0.0.0/112\"]",
        ),
        (
            "tcp",
            "client = [\"10.0.0.0/9\", \"10.128.0.0/9\"]",
            NETWORK,
        ),
    ] {
        assert_eq!(
            of_routes(mode, &[first, second]),
            [
                "listener \"feed\": route[1] never matches: route[0] before it matches all that it does"
            ],
            "{first} | {second}"
        );
    }
}

#[test]
fn a_route_that_matches_something_of_its_own_is_not_warned_of() {
    for (mode, first, second) in [
        ("http", "host = \"a.example\"", "host = \"*.example\""),
        ("http", "host = \"*.example\"", "host = \"example\""),
        (
            "http",
            "host = \"a.example\", path_prefix = \"/a\"",
            "host = \"a.example\"",
        ),
        ("http", "path_prefix = \"/chat\"", "path_prefix = \"/ch\""),
        ("http", "path_prefix = \"/Chat\"", "path_prefix = \"/chat\""),
        ("http", "upgrade = \"websocket\"", "host = \"a.example\""),
        ("http", "upgrade = \"websocket\"", "upgrade = \"h2c\""),
        ("tls", "sni = \"a.example\"", "sni = \"b.example\""),
        ("tcp", NETWORK, "client = [\"10.0.0.0/7\"]"),
        ("http", NETWORK, "host = \"a.example\""),
        ("http", "path_prefix = \"/\"", NETWORK),
    ] {
        assert_eq!(
            of_routes(mode, &[first, second]),
            Vec::<String>::new(),
            "{first} | {second}"
        );
    }
}

#[test]
fn a_route_for_clients_that_are_not_let_in_never_matches() {
    let route = format!("route = [{{ {NETWORK}, upstream = \"chat\" }}]\n");
    for admission in ["allow = [\"192.0.2.0/24\"]", "deny = [\"10.0.0.0/8\"]"] {
        let warnings = of_listener(&format!("{route}{admission}"));
        assert_eq!(
            warnings,
            [
                "listener \"feed\": route[0] never matches: its client networks are not let in, by allow or deny"
            ]
        );
    }
    for admission in ["allow = [\"10.1.0.0/16\"]", "deny = [\"10.1.0.0/16\"]"] {
        assert_eq!(
            of_listener(&format!("{route}{admission}")),
            Vec::<String>::new()
        );
    }
}

#[test]
fn a_listener_that_lets_nobody_in_is_warned_of() {
    for lines in [
        "allow = [\"10.1.0.0/16\"]\ndeny = [\"10.0.0.0/8\"]",
        "deny = [\"0.0.0.0/0\", \"::/0\"]",
    ] {
        assert_eq!(
            of_listener(lines)[0],
            "listener \"feed\": deny covers all of allow: no client is let in"
        );
    }
    for lines in [
        "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.1.0.0/16\"]",
        "deny = [\"::/0\"]",
    ] {
        // Only that nobody routes to "chat".
        assert_eq!(of_listener(lines).len(), 1, "{lines}");
    }
}

#[test]
fn a_proxy_protocol_that_is_off_or_open_to_all_is_warned_of() {
    let first = |lines: &str| of_listener(lines).swap_remove(0);
    let listed = "proxy_protocol_from = [\"192.0.2.1\"]";
    assert!(first(listed).contains("proxy_protocol is off: no header is read"));
    assert!(first("proxy_protocol = \"optional\"").contains("any client can claim any address"));
    for lines in [
        "proxy_protocol = \"required\"".to_owned(),
        format!("proxy_protocol = \"optional\"\n{listed}"),
    ] {
        assert!(
            first(&lines).contains("\"chat\" is used by no listener"),
            "{lines}"
        );
    }
}

#[test]
fn an_upstream_that_only_a_route_leads_to_is_used() {
    assert_eq!(of_routes("tcp", &[NETWORK]), Vec::<String>::new());
    assert_eq!(
        of_listener(""),
        ["upstream \"chat\" is used by no listener"]
    );
}

#[test]
fn a_hash_key_that_no_listener_can_give_is_warned_of() {
    let routed = |mode: &str, keys: &str| {
        let route = format!("mode = \"{mode}\"\nroute = [{{ {NETWORK}, upstream = \"chat\" }}]");
        of(&route, &format!("balance = \"hash\"\nhash_key = [{keys}]"))
    };
    let never = |key: &str, mode: &str| {
        format!(
            "upstream \"chat\" has the hash key \"{key}\", which is never there: no listener with \
             mode = \"{mode}\" leads to it"
        )
    };
    assert_eq!(
        routed("tcp", "\"cookie:a\", \"sni\""),
        [never("cookie:a", "http"), never("sni", "tls")]
    );
    assert_eq!(routed("http", "\"path\", \"sni\""), [never("sni", "tls")]);
    assert_eq!(routed("tls", "\"sni\", \"host\""), [never("host", "http")]);
    assert_eq!(
        routed("http", "\"query:a\", \"header:b\", \"path\", \"host\""),
        Vec::<String>::new()
    );
    assert_eq!(routed("tcp", "\"client_ip\""), Vec::<String>::new());
}

#[test]
fn a_hash_key_beside_another_policy_is_warned_of() {
    let route = format!("route = [{{ {NETWORK}, upstream = \"chat\" }}]");
    assert_eq!(
        of(&route, "hash_key = [\"path\"]"),
        ["upstream \"chat\" has a hash_key, which counts with balance = \"hash\" only"]
    );
}

#[test]
fn a_load_factor_beside_a_policy_that_hashes_nothing_is_warned_of() {
    let route = format!("route = [{{ {NETWORK}, upstream = \"chat\" }}]");
    let with = |balance: &str| {
        of(
            &route,
            &format!("balance = \"{balance}\"\nhash_load_factor = 1.25"),
        )
    };
    for balance in ["round_robin", "least_conn", "random_two"] {
        assert_eq!(
            with(balance),
            [
                "upstream \"chat\" has a hash_load_factor, which counts with balance = \"ip_hash\" or \"hash\" only"
            ]
        );
    }
    for balance in ["ip_hash", "hash"] {
        assert_eq!(with(balance), Vec::<String>::new());
    }
}

#[test]
fn backends_that_serve_nobody_or_are_backups_alone_are_warned_of() {
    let with = |first: &str, second: &str| {
        let second = format!("{first}\n[[upstream.backend]]\naddress = \"10.0.0.2:80\"\n{second}");
        parsed(&format!("{MINIMAL}{second}\n")).warnings()
    };
    let none = ["upstream \"feed\" serves no client: each backend is in drain or maint"];
    assert_eq!(with("state = \"maint\"", "state = \"drain\""), none);
    assert_eq!(
        with("backup = true", "backup = true"),
        ["upstream \"feed\" has backups alone, which serve as if they were none"]
    );
    for (first, second) in [
        ("state = \"maint\"", ""),
        ("state = \"maint\"", "backup = true"),
        ("backup = true", ""),
    ] {
        assert_eq!(with(first, second), Vec::<String>::new());
    }
}
