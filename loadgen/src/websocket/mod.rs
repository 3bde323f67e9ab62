//! As much of WebSocket (RFC 6455) as a session of one message needs, on both sides: [`handshake`] and [`frame`]. Pure.

pub(crate) mod frame;
pub(crate) mod handshake;

pub use frame::PAYLOAD_MAX;
pub use handshake::{CookieName, RequestPath};
