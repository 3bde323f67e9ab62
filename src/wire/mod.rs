//! Bytes ⇄ values: what strangers send before a connection is anybody's. Pure: no I/O, no clock, and no knowledge of
//! what a proxy would do with the answer. Whatever arrives here was written by an attacker until proven otherwise, so
//! every parser takes any bytes without panicking, is fuzzed (`fuzz/`), and says the same about the first bytes of a
//! stream however the network cut it.

pub mod banner; //         what a backend says to a probe, and what it is told
pub mod client_hello; //   TLS: server name and ALPN, without terminating
pub mod http_head; //      the head of an HTTP/1 request, and replies to one that goes nowhere
pub mod proxy_protocol; // the PROXY protocol, versions 1 and 2, both ways
mod reader;
