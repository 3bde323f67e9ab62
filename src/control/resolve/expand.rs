//! Answers, and what a configuration becomes with them: in the place of each backend that is a name stands one backend for
//! each of its addresses.
//!
//! Such a backend is named after both, `db.example.com:5432/10.0.0.7`. So boxes that got the same answer hash alike, in
//! whatever order the server listed it, and an address that comes or goes moves its own clients only. No name in a file
//! has a slash.

use crate::config::{Address, BACKENDS_MAX, Backend, Config};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// One address that a name stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    /// The host whose address it is: the name itself, or what an SRV record leads to.
    pub(super) host: String,
    /// What the SRV record says, if there is one.
    pub(super) service: Option<Service>,
}

/// What an SRV record says of its host (RFC 2782), in our terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Service {
    /// 1 to 256.
    pub(super) weight: u16,
    /// Another record has a lower priority, which comes first.
    pub(super) backup: bool,
}

/// The last good answer of each name.
#[derive(Clone, Default, Debug)]
pub(in crate::control) struct Answers(HashMap<Address, Vec<Member>>);

impl Answers {
    pub(super) fn has(&self, name: &Address) -> bool {
        self.0.contains_key(name)
    }

    /// What a name stands for: nothing as long as it has no answer.
    pub(super) fn of(&self, name: &Address) -> &[Member] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Takes an answer. Whether it is news.
    pub(super) fn put(&mut self, name: &Address, members: Vec<Member>) -> bool {
        let is_news = self.0.get(name) != Some(&members);
        if is_news {
            self.0.insert(name.clone(), members);
        }
        is_news
    }

    /// Forgets all other names.
    pub(super) fn keep(&mut self, names: &HashMap<&Address, Duration>) {
        self.0.retain(|name, _| names.contains_key(name));
    }

    /// Takes others' answers.
    pub(super) fn extend(&mut self, others: &Self) {
        let others = others.0.iter();
        self.0
            .extend(others.map(|(name, members)| (name.clone(), members.clone())));
    }
}

/// A configuration that has addresses in the place of names, as far as they are known. A name without an answer stays
/// what it is: a backend that nobody gets to.
pub(super) fn expand(config: &Config, answers: &Answers) -> Config {
    let mut effective = config.clone();
    for upstream in &mut effective.upstreams {
        let all = upstream.backends.iter();
        upstream.backends = all
            .flat_map(|backend| backends_of(backend, answers.of(&backend.address)))
            .take(BACKENDS_MAX)
            .collect();
    }
    effective
}

fn backends_of(backend: &Backend, members: &[Member]) -> Vec<Backend> {
    if members.is_empty() {
        return vec![backend.clone()];
    }
    members
        .iter()
        .map(|member| member.backend(backend))
        .collect()
}

impl Member {
    fn backend(&self, named: &Backend) -> Backend {
        let (host, address) = (self.host.clone(), Address::Socket(self.address));
        let named = named.clone();
        match self.service {
            None => Backend {
                name: format!("{}/{}", named.name, self.address.ip()),
                address,
                host: Some(host),
                ..named
            },
            Some(service) => Backend {
                name: format!("{}/{}", named.name, self.address),
                address,
                host: Some(host),
                weight: service.weight,
                backup: named.backup || service.backup,
                ..named
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Snapshot;
    use std::sync::Arc;

    const FILE: &str = r#"
        [[listener]]
        name = "l"
        listen = "127.0.0.1:0"
        upstream = "u"
        [[upstream]]
        name = "u"
        [[upstream.backend]]
        address = "10.0.0.1:80"
        [[upstream.backend]]
        address = "db.example.com:80"
        weight = 3
        max_connections = 7
        [[upstream.backend]]
        address = "srv:_feed._tcp.example.com"
        name = "feed"
    "#;

    fn config() -> Config {
        Config::parse(FILE, "names.toml").unwrap()
    }

    fn host(address: &str) -> Member {
        Member {
            address: address.parse().unwrap(),
            host: "db.example.com".to_owned(),
            service: None,
        }
    }

    fn service(address: &str, weight: u16, backup: bool) -> Member {
        Member {
            service: Some(Service { weight, backup }),
            ..host(address)
        }
    }

    fn answered(db: &[Member], feed: &[Member]) -> Config {
        let config = config();
        let mut answers = Answers::default();
        let backends = &config.upstreams[0].backends;
        assert!(answers.put(&backends[1].address, db.to_vec()));
        assert!(answers.put(&backends[2].address, feed.to_vec()));
        assert!(!answers.put(&backends[2].address, feed.to_vec()), "old");
        expand(&config, &answers)
    }

    fn names(config: &Config) -> Vec<&str> {
        let backends = config.upstreams[0].backends.iter();
        backends.map(|backend| backend.name.as_str()).collect()
    }

    #[test]
    fn each_address_of_a_name_is_a_backend_with_what_the_file_says_of_it() {
        let effective = answered(&[host("10.0.0.7:80"), host("[fd00::7]:80")], &[]);
        assert_eq!(
            names(&effective),
            [
                "10.0.0.1:80",
                "db.example.com:80/10.0.0.7",
                "db.example.com:80/fd00::7",
                "feed"
            ]
        );
        let backend = &effective.upstreams[0].backends[2];
        assert_eq!(
            backend.address,
            Address::Socket("[fd00::7]:80".parse().unwrap())
        );
        assert_eq!(backend.host.as_deref(), Some("db.example.com"));
        assert_eq!((backend.weight, backend.max_connections), (3, 7));
    }

    #[test]
    fn srv_records_say_port_weight_and_who_is_a_backup() {
        let feed = [
            service("10.0.0.8:9000", 60, false),
            service("10.0.0.8:9001", 1, true),
        ];
        let effective = answered(&[host("10.0.0.7:80")], &feed);
        let backends = &effective.upstreams[0].backends[2..];
        assert_eq!(backends[0].name, "feed/10.0.0.8:9000");
        assert_eq!((backends[0].weight, backends[0].backup), (60, false));
        assert_eq!(backends[1].name, "feed/10.0.0.8:9001");
        assert_eq!((backends[1].weight, backends[1].backup), (1, true));
    }

    #[test]
    fn a_name_without_an_answer_is_a_backend_that_nobody_gets_to() {
        let effective = expand(&config(), &Answers::default());
        assert_eq!(effective, config());
        let upstream = Snapshot::new(Arc::new(effective)).upstreams.remove(0);
        let now = crate::ring::Time::default();
        let picked = (0..100).filter_map(|key| upstream.pick(key << 32, &[], now));
        assert!(picked.eq([0; 100]));
    }

    #[test]
    fn an_address_that_goes_moves_its_own_clients_only() {
        let three = ["10.0.0.7:80", "10.0.0.8:80", "10.0.0.9:80"].map(host);
        let table = |config: Config| Snapshot::new(Arc::new(config)).upstreams.remove(0);
        let (all, without) = (
            table(answered(&three, &[])),
            table(answered(&three[..2], &[])),
        );
        let name = |of: &crate::upstream::Upstream, key| {
            let at = of.owner(key).unwrap();
            of.backend(at).name.clone()
        };
        let keys = || (1..=3_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let stayed = keys().filter(|&key| name(&all, key) == name(&without, key));
        let gone = keys().filter(|&key| name(&all, key).ends_with("/10.0.0.9"));
        let (stayed, gone) = (stayed.count(), gone.count());
        assert!((700..=1_100).contains(&gone), "{gone} of 3,000 had it");
        // Maglev moves a few per cent of the others as well.
        assert!(
            3_000 - gone - stayed < 150,
            "{stayed} of {} stayed",
            3_000 - gone
        );
    }

    #[test]
    fn an_upstream_has_no_more_backends_than_a_file_may_list() {
        let many: Vec<Member> = (0..5_000_u32)
            .map(|n| host(&format!("10.1.{}.{}:80", n >> 8, n & 255)))
            .collect();
        let effective = answered(&many, &[]);
        assert_eq!(effective.upstreams[0].backends.len(), BACKENDS_MAX);
    }
}
