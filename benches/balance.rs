//! What it costs to choose an upstream and a backend, and to build the table. `cargo bench --bench balance`.

use criterion::Criterion;
use ringway::balance::ip_hash::{Entry, HashPrefix, Maglev, client_key};
use ringway::config::{Config, Listener};
use ringway::upstream::Facts;
use ringway::wire::http_head::{self, Progress};
use std::hint::black_box;
use std::net::Ipv4Addr;

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("10.0.{}.{}:8080", n / 256, n % 256))
        .collect()
}

fn build(names: &[String], weight: impl Fn(usize) -> u16) -> Maglev {
    let mut entries = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let weight = weight(n);
        entries.push(Entry { name, weight });
    }
    Maglev::build(&entries)
}

/// From a client's address to its backend, clients in no order, as they come; every backend up, then every second.
fn pick(c: &mut Criterion) {
    for count in [2, 16, 1000] {
        let maglev = build(&names(count), |_| 1);
        let mut client = 0_u32;
        let mut next_key = move || {
            client = client.wrapping_add(0x9e37_79b9);
            client_key(Ipv4Addr::from_bits(client).into(), HashPrefix::default())
        };
        c.bench_function(&format!("pick/{count}"), |b| {
            b.iter(|| black_box(&maglev).walk(next_key()).next());
        });
        c.bench_function(&format!("pick_half_down/{count}"), |b| {
            b.iter(|| {
                black_box(&maglev)
                    .walk(next_key())
                    .find(|backend| backend % 2 == 0)
            });
        });
    }
}

fn make(c: &mut Criterion) {
    for count in [2, 16, 1000] {
        let names = names(count);
        c.bench_function(&format!("build/{count}"), |b| {
            b.iter(|| build(black_box(&names), |_| 1));
        });
    }
    // The most rounds: all but one claim in each 256th only.
    let names = names(1000);
    c.bench_function("build_one_heavy/1000", |b| {
        b.iter(|| build(black_box(&names), |n| if n == 500 { 256 } else { 1 }));
    });
}

/// A listener with this many routes, each for a host of its own and a path.
fn routes(count: usize) -> Listener {
    let mut text =
        "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:1\"\nmode = \"http\"\nupstream = \"u\"\n"
            .to_owned();
    for n in 0..count {
        text += &format!(
            "[[listener.route]]\nhost = \"*.{n}.example\"\npath_prefix = \"/ws\"\nupstream = \"u\"\n"
        );
    }
    text += "[[upstream]]\nname = \"u\"\nbackend = [{ address = \"10.0.0.1:1\" }]\n";
    let config = Config::parse(&text, "bench").expect("the file is right");
    config.listeners.into_iter().next().expect("there is one")
}

/// From a request's head to its upstream, when no route matches: the longest way.
fn route(c: &mut Criterion) {
    let request = b"GET /ws/1 HTTP/1.1\r\nHost: a.b.example\r\n\r\n";
    let Progress::Complete(head) = http_head::parse(request, request.len()) else {
        panic!("the request is whole");
    };
    let facts = Facts {
        head: Some(&head),
        ..Facts::of_client(Ipv4Addr::LOCALHOST.into())
    };
    for count in [1, 100] {
        let listener = routes(count);
        c.bench_function(&format!("route/{count}"), |b| {
            b.iter(|| black_box(&facts).upstream(black_box(&listener)));
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    pick(&mut criterion);
    route(&mut criterion);
    make(&mut criterion);
    criterion.final_summary();
}
