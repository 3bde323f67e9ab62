//! Short runs on loopback, and a relay that does to a stream what no proxy may.

use ringway_loadgen::{
    BackendConfig, BackendRole, ClientConfig, ClientRole, Handle, Rate, Sources,
};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// What a relay makes of one unit of a stream: other bytes, or the end of the connection.
pub(crate) type Tamper = Box<dyn FnMut(Vec<u8>) -> Option<Vec<u8>> + Send>;

/// Bytes of a feed's messages in these tests.
pub(crate) const TICK: u32 = 64;

pub(crate) fn rate(events: f64) -> Rate {
    Rate::per_second(events).unwrap()
}

pub(crate) fn backend(role: BackendRole) -> Handle {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    ringway_loadgen::serve(&BackendConfig {
        role,
        listen,
        threads: 1,
        cpus: Vec::new(),
        spin: Duration::ZERO,
    })
    .unwrap()
}

/// A fast feed.
pub(crate) fn feed() -> Handle {
    backend(BackendRole::Publish {
        rate: rate(2_000.0),
        size: TICK,
    })
}

/// Three hundred milliseconds of four connections; change what the test is about.
pub(crate) fn clients(role: ClientRole, target: SocketAddr) -> ClientConfig {
    ClientConfig {
        role,
        targets: vec![target],
        connections: 4,
        seconds: Duration::from_millis(300),
        warmup: Duration::ZERO,
        threads: 1,
        tls: None,
        sources: Sources::default(),
        ramp: None,
        cpus: Vec::new(),
        spin: Duration::ZERO,
    }
}

/// One connection for as long as it lasts: the relay or the verifier ends it.
pub(crate) fn one_client(role: ClientRole, target: SocketAddr) -> ClientConfig {
    let seconds = Duration::from_secs(20);
    ClientConfig {
        connections: 1,
        seconds,
        ..clients(role, target)
    }
}

/// Changes nothing.
pub(crate) fn faithful() -> Tamper {
    Box::new(Some)
}

/// Flips one bit of unit `number`.
pub(crate) fn flip(number: usize) -> Tamper {
    let mut seen = 0;
    Box::new(move |mut unit| {
        if seen == number {
            let middle = unit.len() / 2;
            unit[middle] ^= 1;
        }
        seen += 1;
        Some(unit)
    })
}

/// Relays one connection to `backend`, `unit` bytes at a time, through a tamperer for each direction.
pub(crate) fn relay(backend: SocketAddr, unit: usize, up: Tamper, down: Tamper) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(backend).unwrap();
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let upward = thread::spawn(move || carry(from, to, unit, up));
        carry(server, client, unit, down);
        upward.join().unwrap();
    });
    addr
}

fn carry(mut from: TcpStream, mut to: TcpStream, unit: usize, mut tamper: Tamper) {
    // No test lasts longer; a relay that nobody ends must not outlive it.
    from.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    while let Some(bytes) = read_unit(&mut from, unit) {
        let Some(bytes) = tamper(bytes) else {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
            return;
        };
        if to.write_all(&bytes).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A whole unit, or what is left before the end; `None` at the end.
fn read_unit(from: &mut TcpStream, unit: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; unit];
    let mut len = 0;
    while len < unit {
        match from.read(&mut bytes[len..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => len += more,
        }
    }
    bytes.truncate(len);
    (len > 0).then_some(bytes)
}
