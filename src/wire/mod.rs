//! Bytes ⇄ values: what strangers send, read without trust. Pure: no I/O, no clock, and no notion of a proxy; every
//! parser here takes any bytes without panicking, and is fuzzed (`fuzz/`).

pub mod http_head;
