//! Configurations with one mistake each, and the `line:column: key: ` that its error must begin with (and, where it
//! matters, the first words after it).

/// The smallest configuration: only what must be there.
pub(crate) const MINIMAL: &str = r#"[[listener]]
name = "feed"
listen = "127.0.0.1:9000"
upstream = "feed"
[[upstream]]
name = "feed"
[[upstream.backend]]
address = "10.0.0.1:8080"
"#;

/// What must be there, before lines that make it wrong; the macro's line stands on line 9.
macro_rules! minimal {
    ($more:literal) => {
        concat!(
            "[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n",
            "[[upstream]]\nname = \"feed\"\n[[upstream.backend]]\naddress = \"10.0.0.1:8080\"\n",
            $more
        )
    };
}

/// A listener with one more line, line 5.
macro_rules! listener {
    ($more:literal) => {
        concat!(
            "[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n",
            $more,
            "\n[[upstream]]\nname = \"feed\"\n[[upstream.backend]]\naddress = \"10.0.0.1:8080\"\n",
        )
    };
}

/// An upstream with one more line, line 7.
macro_rules! upstream {
    ($more:literal) => {
        concat!(
            "[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n",
            "[[upstream]]\nname = \"feed\"\n",
            $more,
            "\n[[upstream.backend]]\naddress = \"10.0.0.1:8080\"\n",
        )
    };
}

/// A listener whose first lines, from line 2, are these.
macro_rules! bare_listener {
    ($lines:literal) => {
        concat!(
            "[[listener]]\n",
            $lines,
            "\n[[upstream]]\nname = \"feed\"\n[[upstream.backend]]\naddress = \"10.0.0.1:8080\"\n",
        )
    };
}

/// A configuration whose backends, from line 7, are these.
macro_rules! backends {
    ($lines:literal) => {
        concat!(
            "[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n",
            "[[upstream]]\nname = \"feed\"\n",
            $lines
        )
    };
}

mod upstream;

/// Every text, and how its only error begins after the file's name.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    WRONG.iter().chain(upstream::WRONG).copied()
}

/// Of the file as a whole, of `[process]`, `[log]` and listeners, and of what is older than the rest of an upstream.
const WRONG: &[(&str, &str)] = &[
    // TOML itself.
    (minimal!("[process\n"), "9:9: not TOML: "),
    (
        minimal!("[process]\nworkers = 1\nworkers = 2\n"),
        "11:1: not TOML: duplicate key",
    ),
    (minimal!("[log]\nlevel = info\n"), "10:9: not TOML: "),
    // Keys that are not there, and keys that should be.
    (
        minimal!("[proces]\n"),
        "9:2: proces: unknown key; did you mean `process`?",
    ),
    (
        minimal!("[process]\nworker = 1\n"),
        "10:1: process.worker: unknown key; did you mean `workers`?",
    ),
    (
        minimal!("[log]\ncolour = 1\n"),
        "10:1: log.colour: unknown key; this table takes \"access\", ",
    ),
    (
        minimal!("wieght = 3\n"),
        "9:1: upstream[0].backend[0].wieght: unknown key; did you mean `weight`?",
    ),
    (
        listener!("idel_timeout = \"1m\""),
        "5:1: listener[0].idel_timeout: unknown key; did you mean `idle_timeout`?",
    ),
    (
        listener!("max_agee = \"1m\""),
        "5:1: listener[0].max_agee: unknown key; did you mean `max_age`?",
    ),
    (
        listener!("keepalive = { idel = \"1m\" }"),
        "5:15: listener[0].keepalive.idel: unknown key; did you mean `idle`?",
    ),
    (
        upstream!("hash_prefix = { v5 = 1 }"),
        "7:17: upstream[0].hash_prefix.v5: unknown key; did you mean `v4`?",
    ),
    (
        bare_listener!("name = \"a\"\nlisten = \"127.0.0.1:1\""),
        "1:1: listener[0].upstream: is missing; write ",
    ),
    (
        bare_listener!("name = \"a\"\nupstream = \"feed\""),
        "1:1: listener[0].listen: is missing; write ",
    ),
    (
        bare_listener!("upstream = \"feed\"\nlisten = \"127.0.0.1:1\""),
        "1:1: listener[0].name: is missing; write ",
    ),
    (
        backends!("[[upstream.backend]]\nname = \"b\"\n"),
        "7:1: upstream[0].backend[0].address: is missing; write ",
    ),
    (
        backends!(""),
        "5:1: upstream[0].backend: is missing; write at least one [[upstream.backend]]",
    ),
    (
        backends!("backend = []\n"),
        "7:11: upstream[0].backend: is empty; write at least one",
    ),
    (
        "[[upstream]]\nname = \"a\"\nbackend = [{ address = \"10.0.0.1:80\" }]\n",
        "1:1: listener: is missing; write at least one [[listener]]",
    ),
    // Names.
    (
        minimal!("[[upstream]]\nname = \"feed\"\nbackend = [{ address = \"10.0.0.1:80\" }]\n"),
        "10:8: upstream[1].name: \"feed\" is also upstream[0].name; give one",
    ),
    (
        minimal!("[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:1\"\nupstream = \"feed\"\n"),
        "10:8: listener[1].name: \"feed\" is also listener[0].name; give one",
    ),
    (
        minimal!("[[upstream.backend]]\naddress = \"10.0.0.1:8080\"\n"),
        "10:11: upstream[0].backend[1].address: \"10.0.0.1:8080\" is also upstream[0].backend[0].address; give one",
    ),
    (
        minimal!("name = \"b\"\n[[upstream.backend]]\naddress = \"10.0.0.2:80\"\nname = \"b\"\n"),
        "12:8: upstream[0].backend[1].name: \"b\" is also upstream[0].backend[0].name; give one",
    ),
    (
        minimal!("name = \"with space\"\n"),
        "9:8: upstream[0].backend[0].name: \"with space\" is not a name; write 1 to 64",
    ),
    (
        bare_listener!("name = \"\"\nlisten = \"127.0.0.1:1\"\nupstream = \"feed\""),
        "2:8: listener[0].name: \"\" is not a name",
    ),
    (
        bare_listener!("name = 7\nlisten = \"127.0.0.1:1\"\nupstream = \"feed\""),
        "2:8: listener[0].name: is an integer; write a string in quotes",
    ),
    (
        bare_listener!("name = \"a\"\nlisten = \"127.0.0.1:1\"\nupstream = \"fede\""),
        "4:12: listener[0].upstream: \"fede\" is the name of no upstream; did you mean \"feed\"?",
    ),
    (
        bare_listener!("name = \"a\"\nlisten = \"127.0.0.1:1\"\nupstream = \"chat\""),
        "4:12: listener[0].upstream: \"chat\" is the name of no upstream; write ",
    ),
    // Addresses.
    (
        bare_listener!("name = \"a\"\nlisten = []\nupstream = \"feed\""),
        "3:10: listener[0].listen: is empty; write at least one",
    ),
    (
        bare_listener!("name = \"a\"\nlisten = 9000\nupstream = \"feed\""),
        "3:10: listener[0].listen: is an integer; write ",
    ),
    (
        bare_listener!("name = \"a\"\nlisten = \":9000\"\nupstream = \"feed\""),
        "3:10: listener[0].listen: \":9000\" has no address; write \"0.0.0.0:9000\"",
    ),
    (
        bare_listener!(
            "name = \"a\"\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\nupstream = \"feed\""
        ),
        "3:26: listener[0].listen[1]: \"127.0.0.1:1\" is also listener[0].listen[0]; remove",
    ),
    (
        minimal!("[[listener]]\nname = \"b\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n"),
        "11:10: listener[1].listen: \"127.0.0.1:9000\" is also listener[0].listen; remove",
    ),
    (
        backends!("[[upstream.backend]]\naddress = \"10.0.0.1\"\n"),
        "8:11: upstream[0].backend[0].address: \"10.0.0.1\" has no port; write one",
    ),
    (
        backends!("[[upstream.backend]]\naddress = \"10.0.0.1:0\"\n"),
        "8:11: upstream[0].backend[0].address: \"10.0.0.1:0\" has port 0",
    ),
    (
        backends!("[[upstream.backend]]\naddress = \"db.local:http\"\n"),
        "8:11: upstream[0].backend[0].address: \"db.local:http\" is not an address; write ",
    ),
    // Durations.
    (
        listener!("idle_timeout = \"10 parsecs\""),
        "5:16: listener[0].idle_timeout: \"10 parsecs\" is not a duration; write ",
    ),
    (
        listener!("idle_timeout = 10"),
        "5:16: listener[0].idle_timeout: is an integer; write a string with a unit",
    ),
    (
        listener!("idle_timeout = \"0s\""),
        "5:16: listener[0].idle_timeout: \"0s\" is out of range; write a duration from \"1ms\" to \"24d\"",
    ),
    (
        listener!("half_close_timeout = \"25d\""),
        "5:22: listener[0].half_close_timeout: \"25d\" is out of range; write ",
    ),
    (
        listener!("user_timeout = \"1500us\""),
        "5:16: listener[0].user_timeout: \"1500us\" is too fine; write whole milliseconds",
    ),
    (
        listener!("keepalive = { idle = \"1500ms\" }"),
        "5:22: listener[0].keepalive.idle: \"1500ms\" is too fine; write whole seconds",
    ),
    (
        listener!("keepalive = { interval = \"500ms\" }"),
        "5:26: listener[0].keepalive.interval: \"500ms\" is out of range; write a duration from \"1s\"",
    ),
    (
        listener!("keepalive = { count = 128 }"),
        "5:23: listener[0].keepalive.count: 128 is out of range; write an integer from 1 to 127",
    ),
    (
        listener!("keepalive = true"),
        "5:13: listener[0].keepalive: is a boolean; write a table",
    ),
    (
        upstream!("connect_timeout = \"2\""),
        "7:19: upstream[0].connect_timeout: \"2\" is not a duration",
    ),
    (
        upstream!("user_timeout = \"1us\""),
        "7:16: upstream[0].user_timeout: \"1us\" is too fine",
    ),
    (
        minimal!("[process]\ndrain_over = \"1month\"\n"),
        "10:14: process.drain_over: \"1month\" is not a duration",
    ),
    (
        minimal!("[process]\nspin = \"11ms\"\n"),
        "10:8: process.spin: \"11ms\" is out of range; write a duration from \"0s\" to \"10ms\"",
    ),
    (minimal!("[process]\nspin = 50\n"), "10:8: process.spin: "),
    (
        minimal!("[process]\ndrain_delay = \"25d\"\n"),
        "10:15: process.drain_delay: \"25d\" is out of range",
    ),
    (
        minimal!("[process]\nresolvers = [\"127.0.0.1\", \"dns.example.com\"]\n"),
        "10:27: process.resolvers[1]: \"dns.example.com\" is no address of a DNS server; write one",
    ),
    (
        minimal!("[process]\ndrain_deadline = false\n"),
        "10:18: process.drain_deadline: is a boolean; write ",
    ),
    // Numbers and sizes.
    (
        listener!("backlog = 0"),
        "5:11: listener[0].backlog: 0 is out of range; write an integer from 1 to 1048576",
    ),
    (
        listener!("backlog = \"many\""),
        "5:11: listener[0].backlog: is a string; write an integer from 1",
    ),
    (
        listener!("max_connections = -1"),
        "5:19: listener[0].max_connections: -1 is out of range; write ",
    ),
    (
        listener!("notsent_lowat = \"128 elephants\""),
        "5:17: listener[0].notsent_lowat: \"128 elephants\" is not a size; write ",
    ),
    (
        listener!("notsent_lowat = \"2GiB\""),
        "5:17: listener[0].notsent_lowat: \"2GiB\" is out of range; write a size from \"0B\" to \"1GiB\"",
    ),
    (
        listener!("nodelay = \"yes\""),
        "5:11: listener[0].nodelay: is a string; write true or false",
    ),
    (
        listener!("incoming_cpu = 1"),
        "5:16: listener[0].incoming_cpu: is an integer; write true or false",
    ),
    (
        upstream!("connect_tries = 0"),
        "7:17: upstream[0].connect_tries: 0 is out of range; write an integer from 1 to 8",
    ),
    (
        upstream!("connect_tries = 9"),
        "7:17: upstream[0].connect_tries: 9 is out of range",
    ),
    (
        upstream!("hash_prefix = { v4 = 33 }"),
        "7:22: upstream[0].hash_prefix.v4: 33 is out of range; write an integer from 1 to 32",
    ),
    (
        upstream!("hash_prefix = { v6 = 0 }"),
        "7:22: upstream[0].hash_prefix.v6: 0 is out of range; write an integer from 1 to 128",
    ),
    (
        upstream!("hash_prefix = 24"),
        "7:15: upstream[0].hash_prefix: is an integer; write a table",
    ),
    (
        minimal!("weight = 257\n"),
        "9:10: upstream[0].backend[0].weight: 257 is out of range; write an integer from 1 to 256",
    ),
    (
        minimal!("weight = 0\n"),
        "9:10: upstream[0].backend[0].weight: 0 is out of range",
    ),
    (
        minimal!("weight = 1.5\n"),
        "9:10: upstream[0].backend[0].weight: is a float; write an integer",
    ),
    (
        minimal!("weight = 99999999999999999999\n"),
        "9:10: upstream[0].backend[0].weight: 99999999999999999999 is out of range",
    ),
    (
        minimal!("[process]\nmax_connections = 1_000_000_001\n"),
        "10:19: process.max_connections: ",
    ),
    (
        minimal!("[process]\nworkers = 0\n"),
        "10:11: process.workers: 0 is out of range; write an integer from 1 to 1024, \"auto\"",
    ),
    (
        minimal!("[process]\nworkers = \"3-1\"\n"),
        "10:11: process.workers: \"3-1\" has a range that ends before it starts; write ",
    ),
    (
        minimal!("[process]\nworkers = \"0-3,2\"\n"),
        "10:11: process.workers: \"0-3,2\" has CPU 2 twice; write ",
    ),
    (
        minimal!("[process]\nworkers = \"all\"\n"),
        "10:11: process.workers: \"all\" is not a CPU list; write ",
    ),
    (
        minimal!("[process]\nworkers = [0, 1]\n"),
        "10:11: process.workers: is an array; write ",
    ),
    // Words.
    (
        minimal!("[log]\nlevel = \"loud\"\n"),
        "10:9: log.level: \"loud\" is not one of its words; write \"error\", \"warn\", \"info\" or \"debug\"",
    ),
    (
        minimal!("[log]\nformat = \"xml\"\n"),
        "10:10: log.format: \"xml\" is not one of its words; write \"text\" or \"json\"",
    ),
    (
        minimal!("[log]\naccess = \"sdterr\"\n"),
        "10:10: log.access: \"sdterr\" is neither a word nor a path; write ",
    ),
    (
        minimal!("[log]\naccess = true\n"),
        "10:10: log.access: is a boolean; write ",
    ),
    (
        listener!("relay = \"fast\""),
        "5:9: listener[0].relay: \"fast\" is not one of its words; write \"auto\", \"copy\" or \"splice\"",
    ),
    (
        listener!("mode = \"udp\""),
        "5:8: listener[0].mode: \"udp\" is not one of its words; write \"tcp\"",
    ),
    (
        upstream!("balance = \"fair\""),
        "7:11: upstream[0].balance: \"fair\" is not one of its words; write \"ip_hash\"",
    ),
    // Tables that are something else.
    (
        "process = 1\n[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n[[upstream]]\nname = \"feed\"\nbackend = [{ address = \"10.0.0.1:80\" }]\n",
        "1:11: process: is an integer; write a table",
    ),
    (
        "listener = \"feed\"\n[[upstream]]\nname = \"feed\"\nbackend = [{ address = \"10.0.0.1:80\" }]\n",
        "1:12: listener: is a string; write one or more [[listener]]",
    ),
    (
        "listener = [1]\n[[upstream]]\nname = \"feed\"\nbackend = [{ address = \"10.0.0.1:80\" }]\n",
        "1:13: listener[0]: is an integer; write a table",
    ),
    // First bytes.
    (
        listener!("peek_max_bytes = 1023"),
        "5:18: listener[0].peek_max_bytes: 1023 is out of range; write an integer from 1024 to 65536",
    ),
    (
        listener!("peek_max_bytes = \"65KiB\""),
        "5:18: listener[0].peek_max_bytes: \"65KiB\" is out of range; write a size from \"1KiB\" to \"64KiB\"",
    ),
    (
        listener!("peek_timeout = \"0s\""),
        "5:16: listener[0].peek_timeout: \"0s\" is out of range; write a duration from \"1ms\"",
    ),
    (
        listener!("mode = \"https\""),
        "5:8: listener[0].mode: \"https\" is not one of its words; write \"tcp\", \"http\" or \"tls\"",
    ),
    (
        listener!("proxy_protocol = \"v3\""),
        "5:18: listener[0].proxy_protocol: \"v3\" is not one of its words; write \"off\", ",
    ),
    (
        listener!("proxy_protocol_from = [\"10.0.0.1/8\"]"),
        "5:24: listener[0].proxy_protocol_from[0]: \"10.0.0.1/8\" is an address inside a network; write the network, \"10.0.0.0/8\", ",
    ),
    (
        listener!("forwarded = \"append\""),
        "5:13: listener[0].forwarded: needs a request head; write mode = \"http\" too",
    ),
    (
        listener!("mode = \"tls\"\nforwarded = \"append\""),
        "6:13: listener[0].forwarded: needs a request head; write mode = \"http\" too",
    ),
    // Admission.
    (
        listener!("deny = [\"10.0.0.0/33\"]"),
        "5:9: listener[0].deny[0]: \"10.0.0.0/33\" is not a network; write ",
    ),
    (
        listener!("deny = \"10.0.0.0/8\""),
        "5:8: listener[0].deny: is a string; write a list of strings",
    ),
    (
        listener!("allow = [\"::1\", 1]"),
        "5:17: listener[0].allow[1]: is an integer; write a string",
    ),
    (
        listener!("connect_rate_per_ip = \"100\""),
        "5:23: listener[0].connect_rate_per_ip: \"100\" is not a rate; write ",
    ),
    (
        listener!("max_connections_per_ip = -1"),
        "5:26: listener[0].max_connections_per_ip: -1 is out of range; write ",
    ),
    // Routes.
    (
        listener!("route = 1"),
        "5:9: listener[0].route: is an integer; write one or more [[listener.route]]",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ host = \"a\" }]"),
        "6:10: listener[0].route[0].upstream: is missing; write ",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ host = \"a\", upstream = \"fede\" }]"),
        "6:35: listener[0].route[0].upstream: \"fede\" is the name of no upstream; did you mean \"feed\"?",
    ),
    (
        listener!(
            "mode = \"http\"\nroute = [{ hots = \"a\", client = [\"::1\"], upstream = \"feed\" }]"
        ),
        "6:12: listener[0].route[0].hots: unknown key; did you mean `host`?",
    ),
    (
        listener!("route = [{ upstream = \"feed\" }]"),
        "5:10: listener[0].route[0]: matches everything; write a host, ",
    ),
    (
        listener!("[[listener.route]]\nhost = \"\"\nclient = []\nupstream = \"feed\""),
        "5:1: listener[0].route[0]: matches everything; write a host, ",
    ),
    (
        listener!("route = [{ host = \"a\", upstream = \"feed\" }]"),
        "5:19: listener[0].route[0].host: is not known in this mode; write mode = \"http\" for",
    ),
    (
        listener!("mode = \"tls\"\nroute = [{ path_prefix = \"/\", upstream = \"feed\" }]"),
        "6:26: listener[0].route[0].path_prefix: is not known in this mode; write mode = \"http\" for",
    ),
    (
        listener!("route = [{ upgrade = \"websocket\", upstream = \"feed\" }]"),
        "5:22: listener[0].route[0].upgrade: is not known in this mode; write mode = \"http\" for",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ sni = \"a\", upstream = \"feed\" }]"),
        "6:18: listener[0].route[0].sni: is not known in this mode; write mode = \"tls\" for",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ host = \"a:80\", upstream = \"feed\" }]"),
        "6:19: listener[0].route[0].host: \"a:80\" has a port or is an IPv6 address; write ",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ host = \"bücher.example\", upstream = \"feed\" }]"),
        "6:19: listener[0].route[0].host: \"bücher.example\" has letters beyond ASCII; write ",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ host = \"a.*\", upstream = \"feed\" }]"),
        "6:19: listener[0].route[0].host: \"a.*\" has a * that is not its first label; write ",
    ),
    (
        listener!("mode = \"tls\"\nroute = [{ sni = \"192.0.2.1\", upstream = \"feed\" }]"),
        "6:18: listener[0].route[0].sni: \"192.0.2.1\" is an address, which no client sends as a server name; write ",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ path_prefix = \"chat\", upstream = \"feed\" }]"),
        "6:26: listener[0].route[0].path_prefix: \"chat\" does not begin a path; write ",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ path_prefix = \"/a?b\", upstream = \"feed\" }]"),
        "6:26: listener[0].route[0].path_prefix: \"/a?b\" does not begin a path; write ",
    ),
    (
        listener!("mode = \"http\"\nroute = [{ upgrade = \"web socket\", upstream = \"feed\" }]"),
        "6:22: listener[0].route[0].upgrade: \"web socket\" is not a protocol's name; write ",
    ),
    (
        listener!("route = [{ client = [\"10.0.0.0\", \"x\"], upstream = \"feed\" }]"),
        "5:34: listener[0].route[0].client[1]: \"x\" is not a network; write ",
    ),
    // Hash keys.
    (
        upstream!("hash_key = [\"cookie\"]"),
        "7:13: upstream[0].hash_key[0]: \"cookie\" is not a hash key; write ",
    ),
    (
        upstream!("hash_key = \"client_ip\""),
        "7:12: upstream[0].hash_key: is a string; write a list of strings",
    ),
    (
        upstream!("hash_key = [\"header:A\", \"header:a\"]"),
        "7:25: upstream[0].hash_key[1]: \"header:a\" is also upstream[0].hash_key[0]; remove one",
    ),
    (
        upstream!("hash_key = [\"client_ip\", \"path\"]"),
        "7:26: upstream[0].hash_key[1]: never counts: client_ip, which is always there, comes before it; write ",
    ),
    (
        upstream!("proxy_protocol = \"on\""),
        "7:18: upstream[0].proxy_protocol: \"on\" is not one of its words; write \"off\", \"v1\" or \"v2\"",
    ),
    (
        listener!("max_age = \"10 parsecs\""),
        "5:11: listener[0].max_age: \"10 parsecs\" is not a duration",
    ),
    (
        listener!("slow_client = { unsent = \"1MiB\", for = \"0s\" }"),
        "5:40: listener[0].slow_client.for: \"0s\" is out of range; write a duration from \"1ms\" to \"24d\"",
    ),
    (
        listener!("slow_client = { unset = 1 }"),
        "5:17: listener[0].slow_client.unset: unknown key; did you mean `unsent`?",
    ),
    (
        minimal!("[admin]\ntoken_file = \"/etc/token\"\n"),
        "9:1: admin.listen: is missing; write an address",
    ),
    (
        minimal!("[admin]\nlisten = \"unix:\"\n"),
        "10:10: admin.listen: \"unix:\" is not the path of a socket",
    ),
    (
        minimal!("[admin]\nlisten = \"/run/admin.sock\"\n"),
        "10:10: admin.listen: \"/run/admin.sock\" ",
    ),
    (
        minimal!("[admin]\nlisten = \"127.0.0.1:9090\"\ntoken = \"x\"\n"),
        "11:1: admin.token: unknown key; this table takes",
    ),
];
