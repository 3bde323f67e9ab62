//! Mistakes in upstreams, their probes and their backends.

pub(super) const WRONG: &[(&str, &str)] = &[
    // Policies.
    (
        upstream!("balance = \"least_con\""),
        "7:11: upstream[0].balance: \"least_con\" is not one of its words; write \"ip_hash\", \"round_robin\", \"least_conn\", \"random_two\" or \"hash\"",
    ),
    (
        upstream!("hash_load_factor = 0.5"),
        "7:20: upstream[0].hash_load_factor: 0.5 is out of range; write a number from 1.0 to 100.0, or 0 for none",
    ),
    (
        upstream!("hash_load_factor = 101"),
        "7:20: upstream[0].hash_load_factor: 101.0 is out of range; write a number from 1.0",
    ),
    (
        upstream!("hash_load_factor = -1.0"),
        "7:20: upstream[0].hash_load_factor: -1.0 is out of range; write a number from 0",
    ),
    (
        upstream!("hash_load_factor = nan"),
        "7:20: upstream[0].hash_load_factor: nan is out of range; write a number from 0",
    ),
    (
        upstream!("hash_load_factor = \"1.25\""),
        "7:20: upstream[0].hash_load_factor: is a string; write a number",
    ),
    // Failures.
    (
        upstream!("max_fails = -1"),
        "7:13: upstream[0].max_fails: -1 is out of range; write an integer from 0",
    ),
    (
        upstream!("fail_timeout = \"0s\""),
        "7:16: upstream[0].fail_timeout: \"0s\" is out of range; write a duration from \"1ms\"",
    ),
    (
        upstream!("all_down = \"try\""),
        "7:12: upstream[0].all_down: \"try\" is not one of its words; write \"try_all\" or \"refuse\"",
    ),
    (
        upstream!("on_down = true"),
        "7:11: upstream[0].on_down: is a boolean; write a string",
    ),
    (
        upstream!("slow_start = 30"),
        "7:14: upstream[0].slow_start: is an integer; write a string with a unit",
    ),
    // Where connections come from.
    (
        upstream!("source_addresses = \"10.0.0.5\""),
        "7:20: upstream[0].source_addresses: is a string; write a list of strings",
    ),
    (
        upstream!("source_addresses = [\"10.0.0.5\", \"10.0.0.5\"]"),
        "7:33: upstream[0].source_addresses[1]: \"10.0.0.5\" is also upstream[0].source_addresses[0]; remove one",
    ),
    (
        upstream!("source_addresses = [\"10.0.0.5:0\"]"),
        "7:21: upstream[0].source_addresses[0]: \"10.0.0.5:0\" is no address to connect from; write one of this machine's",
    ),
    (
        upstream!("source_addresses = [\"0.0.0.0\"]"),
        "7:21: upstream[0].source_addresses[0]: \"0.0.0.0\" is no address to connect from; write ",
    ),
    (
        upstream!("source_addresses = [\"ff02::1\"]"),
        "7:21: upstream[0].source_addresses[0]: \"ff02::1\" is no address to connect from; write ",
    ),
    (
        upstream!("source_addresses = [\"10.0.0.5\", \"fd00::5\"]"),
        "7:33: upstream[0].source_addresses[1]: \"fd00::5\" is of use to no backend: none has an IPv6 address; remove it",
    ),
    (
        upstream!("resolve_interval = \"0s\""),
        "7:20: upstream[0].resolve_interval: \"0s\" is out of range; write a duration from \"1ms\"",
    ),
    // Backends.
    (
        minimal!("backup = \"yes\"\n"),
        "9:10: upstream[0].backend[0].backup: is a string; write true or false",
    ),
    (
        minimal!("max_connections = -1\n"),
        "9:19: upstream[0].backend[0].max_connections: -1 is out of range; write ",
    ),
    (
        minimal!("state = \"off\"\n"),
        "9:9: upstream[0].backend[0].state: \"off\" is not one of its words; write \"ready\", \"drain\" or \"maint\"",
    ),
    (
        backends!("[[upstream.backend]]\naddress = \"srv:_feed._tcp.example.com:80\"\n"),
        "8:11: upstream[0].backend[0].address: \"srv:_feed._tcp.example.com:80\" has a port, which its SRV records have",
    ),
    (
        backends!("[[upstream.backend]]\naddress = \"srv:_feed._tcp.example.com\"\nweight = 2\n"),
        "9:10: upstream[0].backend[0].weight: does not count, because SRV records have weights",
    ),
    (
        backends!(
            "[[upstream.backend]]\naddress = \"a-name-of-a-host-that-is-rather-long.in.a.domain.example.com:65535\"\n"
        ),
        "8:11: upstream[0].backend[0].address: is too long to be the backend's name as well; write ",
    ),
    (
        backends!("[[upstream.backend]]\naddress = \"-a.example:80\"\n"),
        "8:11: upstream[0].backend[0].address: \"-a.example\" is not a host name; write labels",
    ),
    // Probes.
    (
        upstream!("probe = \"tcp\""),
        "7:9: upstream[0].probe: is a string; write a table",
    ),
    (
        upstream!("probe = { rize = 2 }"),
        "7:11: upstream[0].probe.rize: unknown key; did you mean `rise`?",
    ),
    (
        upstream!("probe = { type = \"https\" }"),
        "7:18: upstream[0].probe.type: \"https\" is not one of its words; write \"tcp\", \"http\", ",
    ),
    (
        upstream!("probe = { type = \"htp\", path = \"/\", expect = \"a\" }"),
        "7:18: upstream[0].probe.type: \"htp\" is not one of its words; write ",
    ),
    (
        upstream!("probe = { interval = \"0s\" }"),
        "7:22: upstream[0].probe.interval: \"0s\" is out of range; write a duration from \"1ms\"",
    ),
    (
        upstream!("probe = { timeout = 1000 }"),
        "7:21: upstream[0].probe.timeout: is an integer; write a string with a unit",
    ),
    (
        upstream!("probe = { rise = 0 }"),
        "7:18: upstream[0].probe.rise: 0 is out of range; write an integer from 1",
    ),
    (
        upstream!("probe = { fall = 0 }"),
        "7:18: upstream[0].probe.fall: 0 is out of range; write an integer from 1",
    ),
    (
        upstream!("probe = { port = 65536 }"),
        "7:18: upstream[0].probe.port: 65536 is out of range; write an integer from 0 to 65535",
    ),
    (
        upstream!("probe = { initial = \"unknown\" }"),
        "7:21: upstream[0].probe.initial: \"unknown\" is not one of its words; write \"up\" or \"down\"",
    ),
    (
        upstream!("probe = { jitter = 0.6 }"),
        "7:20: upstream[0].probe.jitter: 0.6 is out of range; write a number from 0.0 to 0.5",
    ),
    // Keys of other types of probes.
    (
        upstream!("probe = { expect = \"a\" }"),
        "7:20: upstream[0].probe.expect: means nothing to a probe of type \"tcp\"; remove it, or write type = \"websocket\" or \"send_expect\"",
    ),
    (
        upstream!("probe = { type = \"http\", expect = \"a\" }"),
        "7:35: upstream[0].probe.expect: means nothing to a probe of type \"http\"; remove it, ",
    ),
    (
        upstream!("probe = { type = \"mysql\", send = \"a\" }"),
        "7:34: upstream[0].probe.send: means nothing to a probe of type \"mysql\"; remove it, or write type = \"http\" or \"send_expect\"",
    ),
    (
        upstream!("probe = { type = \"ssl_hello\", path = \"/\" }"),
        "7:38: upstream[0].probe.path: means nothing to a probe of type \"ssl_hello\"; remove it, or write type = \"http\" or \"websocket\"",
    ),
    (
        upstream!("probe = { type = \"websocket\", expect_status = [\"101\"] }"),
        "7:47: upstream[0].probe.expect_status: means nothing to a probe of type \"websocket\"; remove it, or write type = \"http\"",
    ),
    (
        upstream!("probe = { type = \"redis\", host = \"a\" }"),
        "7:34: upstream[0].probe.host: means nothing to a probe of type \"redis\"; remove it, ",
    ),
    (
        upstream!("probe = { type = \"send_expect\", send = \"a\" }"),
        "7:9: upstream[0].probe.expect: is missing; write what the reply must contain",
    ),
    (
        upstream!("probe = { type = \"http\", send = \"GET /\", path = \"/\" }"),
        "7:49: upstream[0].probe.path: means nothing beside send, which is the whole request; remove one",
    ),
    // What probes send and expect.
    (
        upstream!("probe = { type = \"send_expect\", expect = '\\q' }"),
        "7:42: upstream[0].probe.expect: has a backslash before \"q\"; write \\r, ",
    ),
    (
        upstream!("probe = { type = \"send_expect\", send = '\\x0', expect = \"a\" }"),
        "7:40: upstream[0].probe.send: has \\x without two hexadecimal digits; write \\r, ",
    ),
    (
        upstream!("probe = { type = \"http\", path = \"health\" }"),
        "7:33: upstream[0].probe.path: \"health\" is not a path; write one",
    ),
    (
        upstream!("probe = { type = \"http\", host = \"a b\" }"),
        "7:33: upstream[0].probe.host: \"a b\" is not a host; write one",
    ),
    (
        upstream!("probe = { type = \"ssl_hello\", host = \"192.0.2.1\" }"),
        "7:38: upstream[0].probe.host: \"192.0.2.1\" is an address or the beginning of one; write a host name",
    ),
    (
        upstream!("probe = { type = \"ssl_hello\", host = \"a.example:443\" }"),
        "7:38: upstream[0].probe.host: \"a.example:443\" is not a host name; write labels",
    ),
    (
        upstream!("probe = { type = \"http\", expect_status = [] }"),
        "7:42: upstream[0].probe.expect_status: is empty; write at least one",
    ),
    (
        upstream!("probe = { type = \"http\", expect_status = [\"2xx\", \"6xx\"] }"),
        "7:50: upstream[0].probe.expect_status[1]: \"6xx\" is not a status; write a class",
    ),
    (
        upstream!("probe = { type = \"http\", expect_status = [200] }"),
        "7:43: upstream[0].probe.expect_status[0]: is an integer; write a string",
    ),
    (
        upstream!("probe = { type = \"http\", expect_status = [\"204\", \"204\"] }"),
        "7:50: upstream[0].probe.expect_status[1]: \"204\" is also upstream[0].probe.expect_status[0]; remove one",
    ),
];
