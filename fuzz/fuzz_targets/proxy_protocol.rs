//! No bytes break the parser of PROXY protocol headers; what holds of them is in the included file.
//! `cargo +nightly fuzz run proxy_protocol`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/properties/proxy_protocol.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::check(bytes));
