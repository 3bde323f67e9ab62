//! A DNS server that answers what it was told to, over UDP and TCP on one port of loopback.

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often threads look whether the server is gone.
const LOOK: Duration = Duration::from_millis(20);

/// Ports that are tried until one is free for both protocols.
const TRIES: usize = 100;

/// What is said of names.
#[derive(Default, Debug)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<Record>>,
    mood: Mood,
    /// Of these it says SERVFAIL.
    failing: HashSet<(String, RecordType)>,
    /// Over UDP nothing is said but that it does not fit.
    truncates: bool,
    asked: HashMap<(String, RecordType), usize>,
    asked_by_tcp: usize,
    is_gone: bool,
}

/// How a server is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Mood {
    /// It says what it knows, and of other names that there are none.
    #[default]
    Well,
    /// It says SERVFAIL.
    Failing,
    /// It says nothing.
    Silent,
}

/// A running server. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl Dns {
    /// One that knows no name.
    pub(crate) fn new() -> Self {
        let (udp, tcp) = bind();
        let dns = Self {
            address: udp.local_addr().unwrap(),
            zone: Arc::default(),
        };
        udp.set_read_timeout(Some(LOOK)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let zone = Arc::clone(&dns.zone);
        std::thread::spawn(move || serve_udp(&udp, &zone));
        let zone = Arc::clone(&dns.zone);
        std::thread::spawn(move || serve_tcp(&tcp, &zone));
        dns
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The line of `[process]` that has it asked.
    pub(crate) fn line(&self) -> String {
        format!("resolvers = [\"{}\"]", self.address)
    }

    /// A host has these addresses from now on, for so many seconds.
    pub(crate) fn host(&self, name: &str, ips: &[&str], ttl: u32) {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let v4 = ips.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(RData::A(A(*ip))),
            IpAddr::V6(_) => None,
        });
        let v6 = ips.iter().filter_map(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(RData::AAAA(AAAA(*ip))),
        });
        self.put(name, RecordType::A, v4.collect(), ttl);
        self.put(name, RecordType::AAAA, v6.collect(), ttl);
    }

    /// A service has these targets from now on: priority, weight, port, host.
    pub(crate) fn service(&self, name: &str, targets: &[(u16, u16, u16, &str)], ttl: u32) {
        let record = |(priority, weight, port, host): &(u16, u16, u16, &str)| {
            RData::SRV(SRV::new(*priority, *weight, *port, absolute(host)))
        };
        let records = targets.iter().map(record).collect();
        self.put(name, RecordType::SRV, records, ttl);
    }

    /// There is no such name any more.
    pub(crate) fn forget(&self, name: &str) {
        self.with(|zone| zone.records.retain(|(known, _), _| known != name));
    }

    /// How it is from now on.
    pub(crate) fn set(&self, mood: Mood) {
        self.with(|zone| zone.mood = mood);
    }

    /// It says SERVFAIL of this from now on.
    pub(crate) fn fail_for(&self, name: &str, kind: RecordType) {
        self.with(|zone| zone.failing.insert((name.to_owned(), kind)));
    }

    /// From now on whoever wants to know must ask over TCP.
    pub(crate) fn truncate(&self) {
        self.with(|zone| zone.truncates = true);
    }

    /// How often this was asked for.
    pub(crate) fn asked(&self, name: &str, kind: RecordType) -> usize {
        let key = (name.to_owned(), kind);
        self.with(|zone| zone.asked.get(&key).copied().unwrap_or_default())
    }

    /// How often something was asked for over TCP.
    pub(crate) fn asked_by_tcp(&self) -> usize {
        self.with(|zone| zone.asked_by_tcp)
    }

    fn put(&self, name: &str, kind: RecordType, data: Vec<RData>, ttl: u32) {
        let record = |data| Record::from_rdata(absolute(name), ttl, data);
        let records = data.into_iter().map(record).collect();
        self.with(|zone| zone.records.insert((name.to_owned(), kind), records));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Zone) -> T) -> T {
        act(&mut self.zone.lock().unwrap())
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.with(|zone| zone.is_gone = true);
    }
}

fn bind() -> (UdpSocket, TcpListener) {
    let both = || {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
        Some((udp, tcp))
    };
    let mut tried = (0..TRIES).filter_map(|_| both());
    tried.next().expect("a port that is free for both")
}

fn absolute(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

fn serve_udp(socket: &UdpSocket, zone: &Mutex<Zone>) {
    let mut bytes = [0; 4096];
    while !zone.lock().unwrap().is_gone {
        let Ok((count, from)) = socket.recv_from(&mut bytes) else {
            continue;
        };
        let mut zone = zone.lock().unwrap();
        let truncates = zone.truncates;
        if let Some(mut reply) = zone.reply(&bytes[..count]) {
            if truncates {
                reply.answers.clear();
                reply.metadata.truncation = true;
            }
            let _ = socket.send_to(&reply.to_vec().unwrap(), from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Arc<Mutex<Zone>>) {
    while !zone.lock().unwrap().is_gone {
        if let Ok((stream, _)) = listener.accept() {
            let zone = Arc::clone(zone);
            std::thread::spawn(move || serve_stream(stream, &zone));
        } else {
            super::wait::tick();
        }
    }
}

/// Messages with their length before them (RFC 1035, section 4.2.2), until the other end has enough.
fn serve_stream(mut stream: TcpStream, zone: &Mutex<Zone>) {
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(super::wait::PATIENCE))
        .unwrap();
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let mut zone = zone.lock().unwrap();
        zone.asked_by_tcp += 1;
        let Some(reply) = zone.reply(&question) else {
            continue;
        };
        let reply = reply.to_vec().unwrap();
        let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
        let _ = stream.write_all(&[&length, &reply[..]].concat());
    }
}

impl Zone {
    fn reply(&mut self, question: &[u8]) -> Option<Message> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let name = query.name().to_ascii().to_ascii_lowercase();
        let name = name.trim_end_matches('.').to_owned();
        let is_known = self.records.keys().any(|(known, _)| *known == name);
        let key = (name, query.query_type());
        *self.asked.entry(key.clone()).or_default() += 1;
        let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
        reply.metadata.recursion_available = true;
        reply.add_query(query);
        match self.mood {
            Mood::Silent => return None,
            Mood::Failing => reply.metadata.response_code = ResponseCode::ServFail,
            Mood::Well if self.failing.contains(&key) => {
                reply.metadata.response_code = ResponseCode::ServFail;
            }
            Mood::Well if !is_known => reply.metadata.response_code = ResponseCode::NXDomain,
            Mood::Well => {
                let records = self.records.get(&key).cloned().unwrap_or_default();
                reply.add_answers(records);
            }
        }
        Some(reply)
    }
}
