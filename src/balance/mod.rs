//! Who gets the next connection. Pure: no clock, no socket, no state of its own; health and load come in as arguments.

pub mod ip_hash;
