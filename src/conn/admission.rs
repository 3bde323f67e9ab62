//! Who may come in: networks, how many of one address, how fast. Asked once a connection, of the address that is really
//! the client's: at accept, or after the PROXY protocol header where the listener expects one.

use super::Cause;
use crate::base::{Crowd, Excess, Terms};
use crate::config::Listener;
use crate::ring::Time;
use std::net::{IpAddr, Ipv6Addr};

/// Clients of one address at one listener. An IPv6 host has a whole /64 to choose its address from (RFC 4291, section 2.5.1), so that
/// is what counts as one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Household {
    listener: u16,
    address: u128,
}

/// The clients of all workers.
pub type Households = Crowd<Household>;

impl Household {
    /// Of a client at the listener of this place.
    pub fn of(listener: u16, client: IpAddr) -> Self {
        let address = match client.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
            }
        };
        Self {
            listener,
            address: address.to_bits(),
        }
    }
}

/// Why a client may not come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// `allow` or `deny` keep it out.
    Denied,
    /// Its household has `max_connections_per_ip` open.
    TooMany,
    /// Its household comes faster than `connect_rate_per_ip`.
    TooFast,
}

impl From<Rejection> for Cause {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Denied => Self::Denied,
            Rejection::TooMany => Self::TooMany,
            Rejection::TooFast => Self::TooFast,
        }
    }
}

/// Whether a client may come in, and then whether it was counted among its household: it must leave that in the end.
///
/// # Errors
/// Why it may not.
pub fn admit(
    rules: &Listener,
    at: u16,
    client: IpAddr,
    households: &Households,
    now: Time,
) -> Result<bool, Rejection> {
    if !rules.admits(client) {
        return Err(Rejection::Denied);
    }
    let terms = terms(rules);
    if terms.is_none() {
        return Ok(false);
    }
    match households.enter(Household::of(at, client), terms, now) {
        Ok(()) => Ok(true),
        Err(Excess::TooMany) => Err(Rejection::TooMany),
        Err(Excess::TooFast) => Err(Rejection::TooFast),
    }
}

fn terms(rules: &Listener) -> Terms {
    Terms {
        most: rules.max_connections_per_ip as u64,
        rate: rules
            .connect_rate_per_ip
            .map(|rate| (rate.count.get(), rate.per)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_is_its_64_and_an_ipv4_host_is_the_same_through_either_socket() {
        let of = |ip: &str| Household::of(0, ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(
            of("192.0.2.1"),
            Household::of(1, "192.0.2.1".parse().unwrap())
        );
    }
}
