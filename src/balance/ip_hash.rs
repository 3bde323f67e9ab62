//! Which backend a key belongs to: Maglev hashing (Eisenbud and others, NSDI 2016, section 3.4).
//!
//! A table of 65,537 slots, a prime, is shared out in rounds: each backend in turn claims the next free slot of its
//! own permutation of the slots, heavier ones more often. A key looks up one slot. The table is a function of names
//! and weights alone, so that every box with the same configuration sends a client to the same backend.
//!
//! Health never rebuilds it. A key whose backend is down [walks](Maglev::walk) on to other slots in an order of its
//! own: other keys stay where they are, the dead backend's are spread over all, and they return when it does.
//!
//! Every step that another implementation must take alike is held by `tests/vectors/ip_hash.json`.

use crate::base::stable_hash;
use arrayvec::ArrayVec;
use std::iter::Take;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Slots of the table. Prime, so that every skip visits all of them, and 65 times a thousand backends, so that
/// their shares are within 1 % of fair (the smaller table of the paper).
pub const SLOTS: u32 = 65_537;

/// The heaviest a backend can be.
pub const WEIGHT_MAX: u16 = 256;

/// The most backends of one table: each owns at least one slot, and 65,535 marks a slot that nobody owns yet.
pub const BACKENDS_MAX: usize = 65_535;

/// Slots that a walk looks at before it goes through the backends themselves. With half of the backends down,
/// about one key in four billion gets that far.
const JUMPS: usize = 32;

/// Not claimed yet; never in a finished table.
const FREE: u16 = u16::MAX;

/// One backend, as far as hashing cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// What is hashed. Unique among the entries of a table.
    pub name: &'a str,
    /// Its share, relative to the others': 1 to [`WEIGHT_MAX`].
    pub weight: u16,
}

/// How many leading bits of a client's address count. Clients that share them share a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashPrefix {
    /// Of an IPv4 address; 32 or more is all of it.
    pub v4: u8,
    /// Of an IPv6 address; 128 or more is all of it.
    pub v6: u8,
}

impl Default for HashPrefix {
    /// A whole IPv4 address, and of an IPv6 address the network: a host makes up the rest as it likes (RFC 8981).
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

/// The key of a client. An IPv4 client is the same one whether it came through an IPv4 or an IPv6 socket (as the
/// IPv4-mapped `::ffff:a.b.c.d`, RFC 4291).
pub fn client_key(ip: IpAddr, prefix: HashPrefix) -> u64 {
    let network: IpAddr = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let rest = 32_u32.saturating_sub(prefix.v4.into());
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let rest = 128_u32.saturating_sub(prefix.v6.into());
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    };
    stable_hash::of_ip(network)
}

/// The key of a value that a client sent: its bytes as they are, wherever they were found.
pub fn value_key(value: &[u8]) -> u64 {
    stable_hash::of_bytes(value)
}

/// The key of a host or server name, the same in any case.
pub fn name_key(name: &str) -> u64 {
    stable_hash::of_name_in_any_case(name)
}

/// A table from keys to backends. A clone shares nothing with its original: one for each worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Maglev {
    /// Who owns each slot, as an index into the list the table was built from. Empty when the list was.
    slots: Box<[u16]>,
    /// Those indices in the order of the names, which is the same on every box.
    ranked: Box<[u16]>,
    /// The least prime that is not below the number of backends: steps modulo it visit every rank.
    ranks_prime: u32,
    fingerprint: u64,
}

impl Maglev {
    /// Shares the slots out. The order of `entries` does not matter to who gets what; it gives the indices that
    /// [`walk`](Self::walk) speaks of. No entries make a table that has nobody for any key.
    ///
    /// # Panics
    /// When two names are equal, a weight is not in `1..=WEIGHT_MAX`, or there are over [`BACKENDS_MAX`]: a checked
    /// configuration has none of these.
    pub fn build(entries: &[Entry<'_>]) -> Self {
        assert!(entries.len() <= BACKENDS_MAX, "{} backends", entries.len());
        let ranked = by_name(entries);
        let in_order = || ranked.iter().map(|&index| entries[usize::from(index)]);
        let owners = share_out(in_order());
        let fingerprint = fingerprint(in_order(), &owners);
        let index_of = |rank: u16| ranked[usize::from(rank)];
        Self {
            slots: owners.into_iter().map(index_of).collect(),
            ranks_prime: prime_from(ranked.len()),
            ranked: ranked.into(),
            fingerprint,
        }
    }

    /// How many backends it was built from.
    pub fn backends(&self) -> usize {
        self.ranked.len()
    }

    /// Names and slots as one number: equal on two boxes if and (as far as a hash can tell) only if they send every
    /// key to the same backend.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Every backend exactly once, in the key's own order: the one that the key belongs to, then who takes its place
    /// while it is down, and so on. Take the first that is usable. `key` must be a hash ([`client_key`],
    /// [`value_key`], [`name_key`]).
    #[inline]
    pub fn walk(&self, key: u64) -> Walk<'_> {
        Walk {
            maglev: self,
            key,
            stage: Stage::Jumping(Steps::new(key, SLOTS).take(JUMPS)),
            met: ArrayVec::new(),
        }
    }

    /// The ranks in an order of the key's own that has nothing to do with its order of slots.
    fn ranks(&self, key: u64) -> Take<Steps> {
        Steps::new(stable_hash::of_u64(key), self.ranks_prime).take(self.ranks_prime as usize)
    }
}

/// The indices of `entries`, sorted by name.
fn by_name(entries: &[Entry<'_>]) -> Vec<u16> {
    let count = u16::try_from(entries.len()).expect("at most BACKENDS_MAX");
    let name = |&index: &u16| entries[usize::from(index)].name;
    let mut ranked: Vec<u16> = (0..count).collect();
    ranked.sort_unstable_by_key(name);
    let twin = ranked
        .windows(2)
        .find(|pair| name(&pair[0]) == name(&pair[1]));
    assert!(
        twin.is_none(),
        "two backends are named {:?}",
        twin.map(|pair| name(&pair[0]))
    );
    ranked
}

/// A backend while slots are handed out.
struct Claimant {
    wishes: Steps,
    weight: u32,
    /// Grows by `weight` each round; a claim costs the heaviest one's weight.
    credit: u32,
}

impl Claimant {
    /// Begins with the credit that lets everyone claim in the first round: even the lightest owns a slot.
    fn new(entry: Entry<'_>, heaviest: u32) -> Self {
        let weight = u32::from(entry.weight);
        Self {
            wishes: Steps::new(stable_hash::of_name(entry.name), SLOTS),
            weight,
            credit: heaviest - weight,
        }
    }

    /// The next slot that it wants and nobody has, if it may claim one this round.
    fn claim(&mut self, heaviest: u32, owners: &[u16]) -> Option<usize> {
        self.credit += self.weight;
        if self.credit < heaviest {
            return None;
        }
        self.credit -= heaviest;
        // Ends: the steps come by every slot, and one is free or the rounds were over.
        self.wishes.find(|&slot| owners[slot] == FREE)
    }
}

/// The owner of each slot, as a place in `entries`, which must be in the order of names.
fn share_out<'a>(entries: impl Iterator<Item = Entry<'a>> + Clone) -> Vec<u16> {
    let weights = entries.clone().map(|entry| entry.weight);
    for weight in weights.clone() {
        assert!((1..=WEIGHT_MAX).contains(&weight), "a weight of {weight}");
    }
    let Some(heaviest) = weights.max().map(u32::from) else {
        return Vec::new();
    };
    let mut claimants: Vec<Claimant> = entries
        .map(|entry| Claimant::new(entry, heaviest))
        .collect();
    let mut owners = vec![FREE; SLOTS as usize];
    let mut free = SLOTS;
    // Ends: the heaviest claims one in every round.
    loop {
        for (rank, claimant) in (0_u16..).zip(&mut claimants) {
            if let Some(slot) = claimant.claim(heaviest, &owners) {
                owners[slot] = rank;
                free -= 1;
            }
            if free == 0 {
                return owners;
            }
        }
    }
}

/// Of each name, its length (8 bytes) and its bytes; then the rank that owns each slot (2 bytes). Least significant
/// byte first.
fn fingerprint<'a>(entries: impl Iterator<Item = Entry<'a>>, owners: &[u16]) -> u64 {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend((entry.name.len() as u64).to_le_bytes());
        bytes.extend(entry.name.as_bytes());
    }
    bytes.extend(owners.iter().flat_map(|rank| rank.to_le_bytes()));
    stable_hash::of_bytes(&bytes)
}

/// The least prime that is neither below 2 nor below `count`.
fn prime_from(count: usize) -> u32 {
    let is_prime = |n: &u32| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    let count = u32::try_from(count).expect("at most BACKENDS_MAX");
    (count.max(2)..=SLOTS)
        .find(is_prime)
        .expect("SLOTS is prime")
}

/// The numbers below a prime, endlessly, at a stride: each once before any comes again. Start and stride are two
/// digits of a hash, so that two hashes that start alike part at the next step.
#[derive(Clone, Debug)]
struct Steps {
    at: u32,
    stride: u32,
    prime: u32,
}

impl Steps {
    #[inline]
    fn new(hash: u64, prime: u32) -> Self {
        let below = |n: u64, limit: u32| u32::try_from(n % u64::from(limit)).expect("below a u32");
        Self {
            at: below(hash, prime),
            stride: 1 + below(hash / u64::from(prime), prime - 1),
            prime,
        }
    }
}

impl Iterator for Steps {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let at = self.at;
        let next = at + self.stride;
        self.at = next.checked_sub(self.prime).unwrap_or(next);
        Some(at as usize)
    }
}

/// The backends in a key's own order; from [`Maglev::walk`].
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    maglev: &'a Maglev,
    key: u64,
    stage: Stage,
    /// Backends given while jumping.
    met: ArrayVec<u16, JUMPS>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// From slot to slot: heavier backends come sooner.
    Jumping(Take<Steps>),
    /// From rank to rank, for all whom no jump met: here weights do not count.
    Scanning(Take<Steps>),
}

impl Iterator for Walk<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let Self {
            maglev,
            key,
            stage,
            met,
        } = self;
        match stage {
            Stage::Jumping(slots) => {
                let mut owners = slots.filter_map(|slot| maglev.slots.get(slot));
                let Some(&backend) = owners.find(|owner| !met.contains(owner)) else {
                    *stage = Stage::Scanning(maglev.ranks(*key));
                    return self.next();
                };
                met.push(backend);
                Some(backend.into())
            }
            Stage::Scanning(ranks) => {
                let mut backends = ranks.filter_map(|rank| maglev.ranked.get(rank));
                let backend = backends.find(|backend| !met.contains(backend))?;
                Some((*backend).into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
