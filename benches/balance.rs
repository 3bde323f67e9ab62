//! What it costs to choose an upstream and a backend, and to build the table. `cargo bench --bench balance`.

use criterion::Criterion;
use ringway::balance::bounded::{self, Bound, LoadFactor};
use ringway::balance::ip_hash::{Entry, HashPrefix, Maglev, client_key};
use ringway::balance::{LeastConn, RandomTwo, RoundRobin, SlowStart, View};
use ringway::base::Dice;
use ringway::config::{Config, Listener};
use ringway::ring::Time;
use ringway::upstream::Facts;
use ringway::wire::http_head::{self, Progress};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

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

/// A backend as workers share it: alone on its pair of cache lines.
#[repr(align(128))]
struct Row {
    open: AtomicU64,
    weight: u16,
    is_up: AtomicBool,
}

struct Rows(Box<[Row]>);

impl Rows {
    /// With very many connections each, but not the same number, and those up that `is_up` names.
    fn new(count: usize, is_up: impl Fn(usize) -> bool) -> Self {
        let row = |at: usize| Row {
            open: AtomicU64::new(1_000_000 + at as u64 * 31 % 64),
            weight: 1,
            is_up: AtomicBool::new(is_up(at)),
        };
        Self((0..count).map(row).collect())
    }

    /// One connection more at a backend and one less at another, so that the next choice is another and all stay as
    /// full. Not the locked additions that workers make: what is measured is the choice.
    fn connect(&self, at: u16) {
        let change = |at: usize, by: i64| {
            let open = &self.0[at].open;
            open.store(open.load(Relaxed).wrapping_add_signed(by), Relaxed);
        };
        change(at.into(), 1);
        change((usize::from(at) + self.0.len() / 2) % self.0.len(), -1);
    }

    fn row(&self, at: u16) -> &Row {
        &self.0[usize::from(at)]
    }
}

impl View for Rows {
    fn backends(&self) -> u16 {
        u16::try_from(self.0.len()).expect("a bench has few")
    }

    fn weight(&self, at: u16) -> u16 {
        self.row(at).weight
    }

    fn open(&self, at: u16) -> u64 {
        self.row(at).open.load(Relaxed)
    }

    fn is_usable(&self, at: u16) -> bool {
        self.row(at).is_up.load(Relaxed)
    }
}

/// One policy among backends of which `is_up` names those that are up.
fn policy(c: &mut Criterion, name: &str, rows: &Rows, mut pick: impl FnMut(&Rows) -> Option<u16>) {
    c.bench_function(&format!("{name}/{}", rows.0.len()), |b| {
        b.iter(|| {
            let at = pick(black_box(rows)).expect("one is up");
            rows.connect(at);
            at
        });
    });
}

/// The policies that know the backends: all up, half of them down, and (the worst for those who draw) all down but one.
fn policies(c: &mut Criterion) {
    type Health = fn(usize) -> bool;
    let healths: [(&str, Health); 3] = [
        ("", |_| true),
        ("_half_down", |at| at % 2 == 0),
        ("_one_up", |at| at == 1),
    ];
    for (health, is_up) in healths {
        for count in [2, 16, 64, 1000] {
            let rows = Rows::new(count, is_up);
            let mut turns = RoundRobin::new(1);
            policy(c, &format!("round_robin{health}"), &rows, |rows| {
                turns.pick(rows)
            });
            let mut least = LeastConn::new(0);
            policy(c, &format!("least_conn{health}"), &rows, |rows| {
                least.pick(rows)
            });
            let two = RandomTwo::build(&vec![1; count]);
            let mut dice = Dice::new(1);
            policy(c, &format!("random_two{health}"), &rows, |rows| {
                two.pick(rows, &mut dice)
            });
        }
    }
}

/// Hashing with a bound on the load, the key given: with a bound that was made before, and with one made for each pick.
fn bounded(c: &mut Criterion) {
    const FACTOR: LoadFactor = LoadFactor::of_1000(1_250);
    for count in [2, 16, 64, 1000] {
        let maglev = build(&names(count), |_| 1);
        let rows = Rows::new(count, |_| true);
        let bound = Bound::new(FACTOR, &rows);
        let mut key = 0_u64;
        let mut next_key = move || {
            key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            key
        };
        policy(c, "bounded", &rows, |rows| {
            bounded::pick(&maglev, next_key(), rows, bound)
        });
        policy(c, "bounded_anew", &rows, |rows| {
            bounded::pick(&maglev, next_key(), rows, Bound::new(FACTOR, rows))
        });
    }
}

/// Asking and taking while a backend is started slowly.
fn slow_start(c: &mut Criterion) {
    let start = SlowStart::default();
    let mut now = Time::from_nanos(1);
    start.begin(now);
    c.bench_function("slow_start", |b| {
        b.iter(|| {
            now = now + Duration::from_nanos(100);
            black_box(&start).may(now, Duration::from_hours(1))
                && black_box(&start).take(now, Duration::from_hours(1))
        });
    });
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
    policies(&mut criterion);
    bounded(&mut criterion);
    slow_start(&mut criterion);
    route(&mut criterion);
    make(&mut criterion);
    criterion.final_summary();
}
