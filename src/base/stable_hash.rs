//! A hash that every machine agrees on: XXH3-64 with a fixed seed, over bytes whose order is part of the contract.
//!
//! What two boxes must compute alike (which backend a client belongs to, fingerprints) comes from here. Changing
//! anything on this page moves clients on every box that is upgraded: the test vectors hold it still. Not for tables
//! that strangers can fill: the seed is public, so collisions can be made on purpose.

use std::net::IpAddr;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// `ringway1` in ASCII, most significant byte first. Never changes.
pub const SEED: u64 = u64::from_be_bytes(*b"ringway1");

/// Of bytes as they stand.
///
/// ```
/// use ringway::base::stable_hash;
/// assert_eq!(stable_hash::of_bytes(b"10.0.0.1:8080"), stable_hash::of_name("10.0.0.1:8080"));
/// ```
#[inline]
pub fn of_bytes(bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, SEED)
}

/// Of a name: its UTF-8 bytes.
#[inline]
pub fn of_name(name: &str) -> u64 {
    of_bytes(name.as_bytes())
}

/// Of a name whose case does not count, such as a host: its bytes in ASCII lower case.
///
/// ```
/// use ringway::base::stable_hash;
/// assert_eq!(stable_hash::of_name_in_any_case("WS.Example.com"), stable_hash::of_name("ws.example.com"));
/// ```
pub fn of_name_in_any_case(name: &str) -> u64 {
    let mut hash = Xxh3::with_seed(SEED);
    for byte in name.bytes() {
        hash.update(&[byte.to_ascii_lowercase()]);
    }
    hash.digest()
}

/// Of an address: its 4 or 16 octets in network order. The two forms of one IPv4 address hash differently: whoever
/// may see both makes them one first ([`IpAddr::to_canonical`]).
#[inline]
pub fn of_ip(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => of_bytes(&ip.octets()),
        IpAddr::V6(ip) => of_bytes(&ip.octets()),
    }
}

/// Of a number: its 8 bytes, least significant first.
#[inline]
pub fn of_u64(number: u64) -> u64 {
    of_bytes(&number.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with another implementation: the `xxhash` package for Python, which wraps the reference in C.
    // xxhash.xxh3_64_hexdigest(data, seed=int.from_bytes(b"ringway1", "big"))
    #[test]
    fn agrees_with_the_reference_implementation() {
        assert_eq!(of_bytes(b""), 0x8c12_f2f7_1a41_f627);
        assert_eq!(of_name("10.0.0.1:8080"), 0x6c9d_dd6d_1a90_7d73);
        assert_eq!(of_ip([192, 0, 2, 1].into()), 0x6bb9_3630_a43f_1b54);
        assert_eq!(of_ip("2001:db8::1".parse().unwrap()), 0xf22a_4fe4_df92_5b92);
        assert_eq!(of_u64(1), 0x68a4_8da4_a864_59f0);
    }

    #[test]
    fn a_name_hashes_alike_in_any_case_and_as_its_lower_case() {
        for length in [0, 1, 3, 8, 16, 17, 128, 129, 240, 241, 1000, 5000] {
            let upper = "Ab-9.".repeat(length)[..length].to_owned();
            let lower = upper.to_ascii_lowercase();
            assert_eq!(of_name_in_any_case(&upper), of_name(&lower), "{length}");
        }
        assert_ne!(of_name_in_any_case("a"), of_name_in_any_case("b"));
    }

    #[test]
    fn long_input_agrees_with_the_reference_implementation() {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        assert_eq!(of_bytes(&bytes), 0x8570_175b_edf6_7dbd);
    }
}
