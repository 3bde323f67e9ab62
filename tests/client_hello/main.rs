//! Client hellos: every shape that a peeking proxy has to survive, each with what becomes of it; what clients of today
//! send; and what must hold of any bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod chance;
mod clients;
#[path = "../properties/client_hello.rs"]
mod properties;
mod read;
mod refused;
