//! What it costs to read the head of a request, and to add the client's identity. `cargo bench --bench wire`.

use criterion::Criterion;
use ringway::wire::http_head::{Head, Progress, Reader, Scheme, append, parse};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const MAX: usize = 16 * 1024;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A browser's request for a WebSocket, 548 bytes.
const UPGRADE: &[u8] = include_bytes!("../fuzz/corpus/http_head/chromium");

fn head(bytes: &[u8]) -> Head<'_> {
    let Progress::Complete(head) = parse(bytes, MAX) else {
        panic!("no head: {}", bytes.escape_ascii());
    };
    head
}

fn read(c: &mut Criterion) {
    c.bench_function("http_head/upgrade", |b| b.iter(|| head(black_box(UPGRADE))));
    c.bench_function("http_head/upgrade_bytewise", |b| {
        b.iter(|| {
            let mut reader = Reader::default();
            let progress =
                (1..=UPGRADE.len()).map(|len| reader.parse(black_box(&UPGRADE[..len]), MAX));
            progress.last()
        });
    });
    // What is the grammar's share: httparse alone.
    c.bench_function("http_head/httparse_alone", |b| {
        b.iter(|| {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            httparse::Request::new(&mut headers).parse(black_box(UPGRADE))
        });
    });
}

fn ask(c: &mut Criterion) {
    let head = head(UPGRADE);
    c.bench_function("http_head/is_upgrade", |b| {
        b.iter(|| black_box(&head).upgrade("websocket"));
    });
    c.bench_function("http_head/cookie", |b| {
        b.iter(|| black_box(&head).cookie("theme"));
    });
    c.bench_function("http_head/append", |b| {
        b.iter(|| append(black_box(&head), CLIENT, Scheme::Https));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    read(&mut criterion);
    ask(&mut criterion);
    criterion.final_summary();
}
