//! Asking a proxy's admin address, one request a connection.

use super::wait::PATIENCE;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

/// Where a proxy is asked.
#[derive(Clone, Debug)]
pub(crate) struct Admin(String);

/// What it answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head, as it came.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The `error` of a mistake.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error").to_owned()
    }

    /// A header's value; "" without it.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map_or("", |(_, value)| value)
    }
}

impl Admin {
    /// As the log line `ready` has it.
    pub(crate) fn at(address: &str) -> Self {
        Self(address.to_owned())
    }

    /// Its TCP address.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.parse().expect("on TCP")
    }

    /// As `--admin` takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, "", body)
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, "", "")
    }

    /// `/status.json`
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let answer = self.get("/status.json");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Any request, with more header lines, each with its line end.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: ringway\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        let bytes = self.exchange(request.as_bytes());
        answer(&String::from_utf8(bytes).unwrap())
    }

    /// Sends bytes and reads to the end.
    #[track_caller]
    pub(crate) fn exchange(&self, request: &[u8]) -> Vec<u8> {
        match self.0.strip_prefix("unix:") {
            Some(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(stream, request)
            }
            None => {
                let stream = TcpStream::connect(&self.0).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(stream, request)
            }
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[track_caller]
fn answer(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").expect(text);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect(head),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
