//! Clients that mean harm, or do it: every shape of first bytes that a proxy which looks at them has to survive, against
//! the running program. One row a case: what is sent, and what becomes of it: the backend that gets it, or what the
//! client sees and the reason in the log. The parsers' own tests hold the same words; here it is the replies, the ends
//! and the log that count, and that the next client finds everything as before: one process serves a whole table.

mod http;
mod proxy;
mod tls;

use crate::support::{Access, Backend, End, Peer, Proxy, Setup};
use std::collections::BTreeSet;

// The same bytes that the parsers are tested with.
#[allow(dead_code, reason = "the parsers' tests use the rest")]
#[path = "../proxy_protocol/build.rs"]
mod headers;
#[allow(dead_code, reason = "the parsers' tests use the rest")]
#[path = "../client_hello/build.rs"]
mod hellos;

/// One case.
#[derive(Clone, Debug)]
struct Row {
    /// In words, for the test that fails.
    case: String,
    /// The listener that it is sent to.
    to: &'static str,
    /// What is sent, each piece by itself.
    sent: Vec<Vec<u8>>,
    fate: Fate,
}

/// What becomes of it.
#[derive(Clone, Debug)]
enum Fate {
    /// The backend of this upstream gets it as it was sent.
    Passed(&'static str),
    /// The backend of this upstream gets this.
    Changed(&'static str, Vec<u8>),
    /// The client reads a reply of this status, and the log says this.
    Told(u16, String),
    /// The client is closed without a word, and the log says this.
    Closed(String),
}

impl Row {
    fn new(case: impl Into<String>, to: &'static str, sent: &[u8], fate: Fate) -> Self {
        Self {
            case: case.into(),
            to,
            sent: vec![sent.to_vec()],
            fate,
        }
    }

    /// In pieces of so many bytes.
    fn in_pieces(mut self, size: usize) -> Self {
        self.sent = self
            .sent
            .concat()
            .chunks(size)
            .map(<[u8]>::to_vec)
            .collect();
        self
    }

    /// In two pieces, cut behind the first `at` bytes.
    fn cut(mut self, at: usize) -> Self {
        let whole = self.sent.concat();
        self.sent = vec![whole[..at].to_vec(), whole[at..].to_vec()];
        self
    }

    /// The word behind the colon of its reason, if it has one.
    fn word(&self) -> Option<&str> {
        match &self.fate {
            Fate::Passed(_) | Fate::Changed(..) => None,
            Fate::Told(_, end) | Fate::Closed(end) => end.split_once(':')?.1.split('/').next(),
        }
    }
}

/// One ringway for a whole table, and a backend for each of its upstreams.
struct Stage {
    proxy: Proxy,
    upstreams: Vec<(&'static str, Backend)>,
    /// Lines in the access log.
    played: usize,
}

impl Stage {
    /// In front of `feed` and of these other upstreams; what else there is, `more` says.
    fn new(others: &[&'static str], more: impl FnOnce(Setup) -> Setup) -> Self {
        let feed = Backend::new();
        let mut setup = more(Setup::before(&feed));
        let mut upstreams = vec![("feed", feed)];
        for &name in others {
            let backend = Backend::new();
            setup = setup.more(&format!(
                "[[upstream]]\nname = \"{name}\"\nbackend = [{{ address = \"{}\" }}]\n",
                backend.address()
            ));
            upstreams.push((name, backend));
        }
        Self {
            proxy: setup.start(),
            upstreams,
            played: 0,
        }
    }

    /// Sends a row's bytes as one client and holds what becomes of them against the row: its line of the log.
    fn play(&mut self, row: &Row) -> Access {
        eprintln!("{}: {:?}", row.case, row.fate);
        let client = Peer::connect(self.proxy.address_of(row.to));
        for piece in &row.sent {
            // One that is turned away half-way cannot send the rest.
            let _ = client.try_send(piece);
        }
        match &row.fate {
            Fate::Passed(upstream) => self.await_passed(&client, upstream, &row.sent.concat()),
            Fate::Changed(upstream, bytes) => self.await_passed(&client, upstream, bytes),
            Fate::Told(status, _) => expect_reply(&client, *status),
            Fate::Closed(_) => client.expect_fin(),
        }
        client.close();
        self.played += 1;
        let line = self
            .proxy
            .await_access(self.played)
            .swap_remove(self.played - 1);
        self.check(row, &line);
        line
    }

    /// The client ends its stream, and the backend has all of it.
    fn await_passed(&self, client: &Peer, upstream: &str, bytes: &[u8]) {
        client.fin();
        let (_, backend) = self
            .upstreams
            .iter()
            .find(|(name, _)| *name == upstream)
            .unwrap();
        let at_backend = backend.accept();
        let (got, end) = at_backend.drain();
        assert_eq!(
            (got.escape_ascii().to_string(), end),
            (bytes.escape_ascii().to_string(), End::Fin)
        );
        at_backend.close();
        client.expect_fin();
    }

    fn check(&self, row: &Row, line: &Access) {
        match &row.fate {
            Fate::Passed(upstream) | Fate::Changed(upstream, _) => {
                assert_eq!(line.text("upstream"), *upstream);
                assert_eq!(line.end(), ("client-fin/done", "--"));
            }
            Fate::Told(_, end) | Fate::Closed(end) => {
                let code = if end.starts_with("peek-timeout") {
                    "cR"
                } else {
                    "PR"
                };
                assert_eq!(line.end(), (end.as_str(), code));
                for (_, backend) in &self.upstreams {
                    backend.expect_nobody();
                }
            }
        }
    }
}

/// A reply that can be read to its end, whatever else was sent to us.
fn expect_reply(client: &Peer, status: u16) {
    let (bytes, end) = client.drain();
    let reply = String::from_utf8(bytes).unwrap();
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    assert!(reply.contains("\r\nConnection: close\r\n"), "{reply}");
    assert_eq!(end, End::Fin);
}

/// The words that rows are refused under are those in the first column of a manual's table: none is without a row.
fn expect_all_words<'a>(rows: impl IntoIterator<Item = &'a Row>, manual: &str) {
    let words: BTreeSet<&str> = rows.into_iter().filter_map(Row::word).collect();
    let documented: BTreeSet<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(word, _)| word)
        .collect();
    assert_eq!(words, documented);
}
