//! Both sides on a kernel: each role as it should be, and through a relay that lies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod roles;
mod support;
mod tamper;
mod tls;
mod websocket;
