//! No bytes of a backend make a probe panic, read for ever, say what is not printable, or judge by how they were cut.
//! `cargo fuzz run banner`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/properties/banner.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::check(bytes));
