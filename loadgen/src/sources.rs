//! Which local address each client connection comes from: none in particular, or the next of a set.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Local addresses to take in turn. Every address of 127.0.0.0/8 is there on Linux without being configured, so a few of
/// them give as many times the ephemeral ports, and as many distinct clients.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    blocks: Vec<Block>,
}

/// A run of usable addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Block {
    first: IpAddr,
    count: u64,
}

impl Sources {
    /// How many addresses there are; zero leaves the choice to the kernel.
    pub fn count(&self) -> u64 {
        self.blocks.iter().map(|block| block.count).sum()
    }

    /// The address, with port 0, of connection `number`.
    pub fn pick(&self, number: u64) -> Option<SocketAddr> {
        let mut index = number.checked_rem(self.count())?;
        for block in &self.blocks {
            if index < block.count {
                return Some(SocketAddr::new(block.at(index), 0));
            }
            index -= block.count;
        }
        None
    }
}

impl Block {
    /// Leaves out the first and last address of an IPv4 net, which cannot be bound (network, broadcast), like
    /// everybody's DHCP server does; /31 and /32 are used whole (RFC 3021).
    fn of(net: IpNet) -> Self {
        let bits = u32::from(net.max_prefix_len() - net.prefix_len());
        // 2^32 addresses are more than connections can be named.
        let whole = 1u64 << bits.min(32);
        match net {
            IpNet::V4(v4) if v4.prefix_len() < 31 => {
                let first = Ipv4Addr::from(u32::from(v4.network()) + 1);
                Self {
                    first: first.into(),
                    count: whole - 2,
                }
            }
            IpNet::V4(_) | IpNet::V6(_) => Self {
                first: net.network(),
                count: whole,
            },
        }
    }

    fn at(self, index: u64) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => {
                let index = u32::try_from(index).expect("below a count of at most 2^32");
                Ipv4Addr::from(u32::from(first) + index).into()
            }
            IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) + u128::from(index)).into(),
        }
    }
}

impl FromStr for Sources {
    type Err = String;

    /// Addresses and CIDR blocks, separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let blocks = text.split(',').map(parse_block).collect::<Result<_, _>>()?;
        Ok(Self { blocks })
    }
}

fn parse_block(text: &str) -> Result<Block, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from).ok();
    let net = address.or_else(|| text.parse::<IpNet>().ok());
    net.map(Block::of)
        .ok_or_else(|| format!("`{text}` is neither an address nor a block like 127.1.0.0/24"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(text: &str, numbers: &[u64]) -> Vec<String> {
        let sources: Sources = text.parse().unwrap();
        numbers
            .iter()
            .map(|&n| sources.pick(n).unwrap().ip().to_string())
            .collect()
    }

    #[test]
    fn a_block_is_taken_in_turn_without_its_ends() {
        assert_eq!(
            picks("127.1.0.0/30", &[0, 1, 2]),
            ["127.1.0.1", "127.1.0.2", "127.1.0.1"]
        );
    }

    #[test]
    fn a_list_is_taken_in_order() {
        assert_eq!(
            picks("127.0.0.5,127.9.0.0/31,::1", &[0, 1, 2, 3, 4]),
            ["127.0.0.5", "127.9.0.0", "127.9.0.1", "::1", "127.0.0.5"]
        );
    }

    #[test]
    fn the_whole_of_127_is_sixteen_million_clients() {
        let sources: Sources = "127.0.0.0/8".parse().unwrap();
        assert_eq!(sources.count(), (1 << 24) - 2);
        assert_eq!(
            sources.pick((1 << 24) - 3).unwrap().to_string(),
            "127.255.255.254:0"
        );
    }

    #[test]
    fn without_sources_the_kernel_chooses() {
        assert_eq!(Sources::default().pick(7), None);
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        let error = "127.0.0.1,box".parse::<Sources>().unwrap_err();
        assert!(error.contains("`box`"), "{error}");
    }
}
