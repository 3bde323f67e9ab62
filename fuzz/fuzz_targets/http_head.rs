//! No bytes make the reader of request heads panic, answer by how they were cut, or accept what httparse does not; and
//! a forwarded head differs by three fields. `cargo fuzz run http_head`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/properties/http_head.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::check(bytes));
