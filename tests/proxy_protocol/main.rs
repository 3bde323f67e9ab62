//! PROXY protocol headers: every shape that a proxy has to survive, each with what becomes of it; what senders of today
//! say; and what must hold of any bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod chance;
#[path = "../properties/proxy_protocol.rs"]
mod properties;
mod read;
mod refused;
mod senders;
mod written;
