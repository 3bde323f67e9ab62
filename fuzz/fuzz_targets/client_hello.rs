//! No bytes break the parser of client hellos; what holds of them is in the included file.
//! `cargo +nightly fuzz run client_hello`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/properties/client_hello.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::check(bytes));
