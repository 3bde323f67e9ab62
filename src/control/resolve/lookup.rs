//! One question and its answer: the addresses of a host, or those of the hosts that SRV records lead to. /etc/hosts is asked
//! first, then DNS over UDP, or TCP where an answer is too long; /etc/resolv.conf says where, unless the configuration
//! does. Both files are read when a [`Resolver`] is made.

use super::expand::{Member, Service};
use crate::config::Address;
use futures_util::stream::{self, StreamExt};
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// For how long a question may take, all retries included.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// For how long one server may take.
const SERVER_MAX: Duration = Duration::from_secs(2);

/// Addresses of one name; more are left out, the highest first.
const MEMBERS_MAX: usize = 256;

/// Hosts of SRV records that are asked for at once.
const HOSTS_AT_ONCE: usize = 8;

/// A share of 256 is the heaviest that a backend has.
const WEIGHT_MAX: u32 = 256;

/// What a name stands for now.
#[derive(Debug)]
pub(super) struct Found {
    /// At least one; in one order, whatever the server's is.
    pub(super) members: Vec<Member>,
    /// For how long that holds.
    pub(super) ttl: Duration,
    /// Why there may be more: part of the question had no answer.
    pub(super) lacks: Option<String>,
}

pub(super) struct Resolver(TokioResolver);

/// Why there are no records.
enum Trouble {
    /// The server knows that there are none.
    Absent(String),
    /// Nobody knows.
    Unanswered(String),
}

/// The addresses of a host.
struct Host {
    name: String,
    ips: Vec<IpAddr>,
    ttl: u32,
    absent: Option<String>,
    unanswered: Option<String>,
}

/// An SRV record with the addresses of its host.
struct Target {
    priority: u16,
    weight: u16,
    port: u16,
    host: Host,
}

impl Resolver {
    /// Asks these servers, or those of the system if there are none here.
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        let (config, mut options) = if servers.is_empty() {
            of_system()
        } else {
            let servers = servers.iter().map(|server| name_server(*server));
            let config = ResolverConfig::from_name_servers(servers.collect());
            (config, ResolverOpts::default())
        };
        options.timeout = options.timeout.min(SERVER_MAX);
        // Whoever asks wants to know what holds now.
        options.cache_size = 0;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
        Self(builder.build().expect("only TLS could be refused"))
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// Why nobody can say, or that it stands for nothing, in words.
    pub(super) async fn find(&self, name: &Address) -> Result<Found, String> {
        match name {
            Address::Socket(address) => Ok(Found {
                members: vec![Member {
                    address: *address,
                    host: address.ip().to_string(),
                    service: None,
                }],
                ttl: Duration::MAX,
                lacks: None,
            }),
            Address::Name { host, port } => self.host(parsed(host)?).await.found(*port),
            Address::Srv(service) => self.service(parsed(service)?).await,
        }
    }
}

impl Resolver {
    async fn host(&self, name: Name) -> Host {
        let mut host = Host {
            name: text(&name),
            ips: Vec::new(),
            ttl: u32::MAX,
            absent: None,
            unanswered: None,
        };
        let v4 = self.records(name.clone(), RecordType::A).await;
        // The search list may have completed the name. Both kinds of address are to be of one host.
        let whole = v4.as_ref().map(|answer| answer.query().name().clone());
        let v6 = self.records(whole.unwrap_or(name), RecordType::AAAA).await;
        host.take(v4);
        host.take(v6);
        host
    }

    async fn service(&self, name: Name) -> Result<Found, String> {
        let answer = self.records(name, RecordType::SRV).await;
        let answer = answer.map_err(Trouble::into_text)?;
        let ttl = ttl(&answer);
        let records = answer
            .answers()
            .iter()
            .filter_map(|record| srv(&record.data));
        let asking = records.take(MEMBERS_MAX).map(async |srv| Target {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            host: self.host(srv.target).await,
        });
        let asking: Vec<_> = asking.collect();
        let targets: Vec<Target> = stream::iter(asking).buffered(HOSTS_AT_ONCE).collect().await;
        found_of(&targets, ttl)
    }

    /// The records of one kind; at least one.
    async fn records(&self, name: Name, kind: RecordType) -> Result<Lookup, Trouble> {
        self.0.clear_lookup_cache(name.clone(), kind);
        let asking = self.0.lookup(name, kind);
        match tokio::time::timeout(ANSWER_MAX, asking).await {
            Ok(Ok(lookup)) => Ok(lookup),
            Ok(Err(error)) => Err(Trouble::of(&error, kind)),
            Err(_) => Err(Trouble::Unanswered(SILENCE.to_owned())),
        }
    }
}

const SILENCE: &str = "no answer in time";

impl Trouble {
    fn of(error: &NetError, kind: RecordType) -> Self {
        if let NetError::Dns(DnsError::NoRecordsFound(none)) = error {
            return Self::Absent(if none.response_code == ResponseCode::NXDomain {
                "no such name (NXDOMAIN)".to_owned()
            } else {
                format!("no {kind} record")
            });
        }
        Self::Unanswered(if let NetError::Dns(DnsError::ResponseCode(code)) = error {
            format!("the server says: {code}")
        } else if matches!(error, NetError::Timeout) {
            SILENCE.to_owned()
        } else if matches!(error, NetError::NoConnections) {
            "no DNS server can be asked".to_owned()
        } else {
            error.to_string()
        })
    }

    fn into_text(self) -> String {
        match self {
            Self::Absent(why) | Self::Unanswered(why) => why,
        }
    }
}

impl Host {
    fn take(&mut self, answer: Result<Lookup, Trouble>) {
        match answer {
            Ok(answer) => {
                self.ttl = self.ttl.min(ttl(&answer));
                let ips = answer.answers().iter();
                self.ips
                    .extend(ips.filter_map(|record| dialable(record.data.ip_addr()?)));
            }
            Err(Trouble::Absent(why)) => self.absent = Some(why),
            Err(Trouble::Unanswered(why)) => self.unanswered = Some(why),
        }
    }

    fn members(&self, port: u16, service: Option<Service>) -> impl Iterator<Item = Member> {
        self.ips.iter().map(move |ip| Member {
            address: SocketAddr::new(*ip, port),
            host: self.name.clone(),
            service,
        })
    }

    fn found(self, port: u16) -> Result<Found, String> {
        let members = in_order(self.members(port, None).collect());
        if members.is_empty() {
            let why = self.unanswered.or(self.absent);
            return Err(why.unwrap_or_else(|| "no address that can be dialed".to_owned()));
        }
        Ok(Found {
            members,
            ttl: seconds(self.ttl),
            lacks: self.unanswered,
        })
    }
}

/// What SRV records come to: the lowest priority serves, the others stand by; weights count as they are, unless one is
/// beyond what a backend has: then all of them are scaled down.
fn found_of(targets: &[Target], ttl: u32) -> Result<Found, String> {
    let reached = || targets.iter().filter(|target| !target.host.ips.is_empty());
    let first = reached().map(|target| target.priority).min();
    let heaviest = targets.iter().map(|target| target.weight).max();
    let service = |target: &Target| Service {
        weight: weight(target.weight, heaviest.unwrap_or_default()),
        backup: Some(target.priority) != first,
    };
    let members =
        reached().flat_map(|target| target.host.members(target.port, Some(service(target))));
    let members = in_order(members.collect());
    let lost = |target: &Target| {
        let why = target.host.unanswered.as_ref()?;
        Some(format!("{}: {why}", target.host.name))
    };
    let lacks = targets.iter().find_map(lost);
    if members.is_empty() {
        let absent = "SRV records lead to no address".to_owned();
        return Err(lacks.unwrap_or(absent));
    }
    let shortest = reached().map(|target| target.host.ttl).min();
    Ok(Found {
        members,
        ttl: seconds(ttl.min(shortest.unwrap_or(ttl))),
        lacks,
    })
}

fn weight(weight: u16, heaviest: u16) -> u16 {
    let (weight, heaviest) = (u32::from(weight), u32::from(heaviest));
    let scaled = if heaviest > WEIGHT_MAX {
        weight * WEIGHT_MAX / heaviest
    } else {
        weight
    };
    // 0 asks for little, not for nothing (RFC 2782).
    u16::try_from(scaled.max(1)).expect("at most 256")
}

/// By address, each once: as the one that serves rather than as the one that stands by, and the heavier rather than the
/// lighter.
fn in_order(mut members: Vec<Member>) -> Vec<Member> {
    let rank = |member: &Member| {
        let service = member.service.map(|it| (it.backup, Reverse(it.weight)));
        (member.address, service)
    };
    members.sort_by_key(rank);
    members.dedup_by_key(|member| member.address);
    members.truncate(MEMBERS_MAX);
    members
}

/// An address as it is dialed. The unspecified one, which lists of unwanted names answer with, would lead to this
/// machine.
fn dialable(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

/// A root as the target says that there is no such service (RFC 2782).
fn srv(data: &RData) -> Option<SRV> {
    let RData::SRV(srv) = data else { return None };
    (!srv.target.is_root() && srv.port != 0).then(|| srv.clone())
}

fn ttl(answer: &Lookup) -> u32 {
    let ttls = answer.answers().iter().map(|record| record.ttl);
    ttls.min().unwrap_or_default()
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

fn parsed(name: &str) -> Result<Name, String> {
    Name::from_ascii(name).map_err(|e| e.to_string())
}

/// As it is written in a configuration.
fn text(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}

/// What /etc/resolv.conf says. Where it cannot be read, there is still /etc/hosts.
fn of_system() -> (ResolverConfig, ResolverOpts) {
    system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read /etc/resolv.conf: only /etc/hosts says what names stand for");
        (
            ResolverConfig::from_name_servers(Vec::new()),
            ResolverOpts::default(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, last: u8) -> Target {
        Target {
            priority,
            weight,
            port: 80,
            host: Host {
                name: format!("h{last}"),
                ips: vec![IpAddr::from([10, 0, 0, last])],
                ttl: 60,
                absent: None,
                unanswered: None,
            },
        }
    }

    fn services(targets: &[Target]) -> Vec<(u16, bool)> {
        let members = found_of(targets, 60).unwrap().members.into_iter();
        let services = members.filter_map(|member| member.service);
        services.map(|it| (it.weight, it.backup)).collect()
    }

    #[test]
    fn the_lowest_priority_serves_and_the_others_stand_by() {
        let targets = [target(10, 5, 1), target(20, 5, 2), target(10, 7, 3)];
        assert_eq!(services(&targets), [(5, false), (5, true), (7, false)]);
    }

    #[test]
    fn a_priority_none_of_whose_hosts_has_an_address_is_passed_over() {
        let mut targets = [target(10, 5, 1), target(20, 5, 2)];
        targets[0].host.ips.clear();
        assert_eq!(services(&targets), [(5, false)]);
    }

    #[test]
    fn weights_count_as_they_are_unless_one_is_beyond_what_a_backend_has() {
        let weights = |all: [u16; 3]| all.map(|one| weight(one, *all.iter().max().unwrap()));
        assert_eq!(weights([0, 10, 60]), [1, 10, 60]);
        assert_eq!(weights([1, 128, 256]), [1, 128, 256]);
        assert_eq!(weights([0, 32_768, 65_535]), [1, 128, 256]);
    }

    #[test]
    fn an_address_that_two_records_lead_to_counts_once_as_the_better_one() {
        let targets = [target(20, 9, 1), target(10, 5, 1), target(10, 7, 1)];
        assert_eq!(services(&targets), [(7, false)]);
    }

    #[test]
    fn a_host_without_an_answer_is_told_of_and_one_without_an_address_is_not() {
        let mut targets = [target(10, 5, 1), target(10, 5, 2)];
        targets[1].host.ips.clear();
        targets[1].host.absent = Some("no such name".to_owned());
        assert_eq!(found_of(&targets, 60).unwrap().lacks, None);
        targets[1].host.unanswered = Some(SILENCE.to_owned());
        let lacks = found_of(&targets, 60).unwrap().lacks;
        assert_eq!(lacks.as_deref(), Some("h2: no answer in time"));
    }

    #[test]
    fn an_answer_holds_as_long_as_the_shortest_of_its_records() {
        let mut targets = [target(10, 5, 1), target(10, 5, 2)];
        targets[1].host.ttl = 7;
        assert_eq!(found_of(&targets, 60).unwrap().ttl, seconds(7));
        assert_eq!(found_of(&targets, 3).unwrap().ttl, seconds(3));
    }

    #[test]
    fn addresses_that_lead_nowhere_or_to_this_machine_are_left_out() {
        let dialed =
            ["0.0.0.0", "::", "224.0.0.1", "ff02::1"].map(|ip| dialable(ip.parse().unwrap()));
        assert_eq!(dialed, [None; 4]);
        let mapped = dialable("::ffff:10.0.0.7".parse().unwrap());
        assert_eq!(mapped, Some(IpAddr::from([10, 0, 0, 7])));
    }
}
