//! Actors that speak TLS before the real worker: clients whose TLS ends at a listener, backends that it is spoken to, either,
//! and both. They end politely or without close_notify, stop in the middle of a hello, send a wrong bit, reset, vanish. What holds
//! without TLS holds of what is in it.

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a sabotage names one op and passes on every other"
)]
mod sabotage;

use crate::seats::{Furnished, Listeners, Play, Played, Record};
use crate::worker::{HASTES, Haste, demands, draw_limits, is_of_tls, set_timeouts};
use crate::{Replay, play_all, worlds};
use ringway::config::Config;
use ringway::conn::{Cause, Phase};
use ringway::sim::{Appetite, Chance, Fate, Manners, Script, Secret, Step, World};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const CLIENTS_MAX: u64 = 8;

/// Longer than anything lasts here.
const LONG: Duration = Duration::from_secs(1_000);

/// The text of one record at most (RFC 8446, section 5.1).
const RECORD: u64 = 16 << 10;

/// A certificate for `feed.test` that is good for a hundred years, its key, and the authority that issued it: always the same, lest
/// their lengths differ from run to run. Ed25519, whose signatures all have one length.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sim/tls")
        .join(name)
}

/// Clients of both versions; the second key exchange is the large one.
static CLIENTS: LazyLock<Vec<Secret>> = LazyLock::new(|| {
    let small = |version| client(version, kx_group::X25519);
    let large = client(&version::TLS13, kx_group::X25519MLKEM768);
    vec![small(&version::TLS13), small(&version::TLS12), large]
});

static BACKENDS: LazyLock<Vec<Secret>> = LazyLock::new(|| {
    let versions = [&version::TLS13, &version::TLS12];
    versions.map(backend).into()
});

fn client(
    version: &'static SupportedProtocolVersion,
    group: &'static dyn rustls::crypto::SupportedKxGroup,
) -> Secret {
    let mut provider = default_provider();
    provider.kx_groups = vec![group];
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(file("ca.pem")).expect("ours");
    roots.add(ca).expect("it is an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_protocol_versions(&[version]);
    let config = config.expect("the provider has it");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // What one world's clients are given is not for another's.
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from("feed.test").expect("a name");
    Secret::Client(Arc::new(config), name)
}

fn backend(version: &'static SupportedProtocolVersion) -> Secret {
    let config = ServerConfig::builder_with_protocol_versions(&[version]);
    let chain = vec![CertificateDer::from_pem_file(file("feed.pem")).expect("ours")];
    let key = PrivateKeyDer::from_pem_file(file("feed.key")).expect("ours");
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    Secret::Server(Arc::new(config.expect("a pair")))
}

/// Two upstreams, of which one speaks TLS; listeners that do or do not.
fn draw_config(chance: &mut Chance) -> String {
    let mut text = String::new();
    for at in 0..chance.within(1, 3) {
        let upstream = chance.pick(&["plain", "sealed"]);
        let relay = chance.pick(&["auto", "copy", "splice"]);
        writeln!(
            text,
            "[[listener]]\nname = 'l{at}'\nlisten = '198.51.100.1:{}'\nupstream = '{upstream}'\nrelay = '{relay}'",
            9000 + at
        )
        .expect("a string");
        if upstream == "plain" || chance.below(2) == 0 {
            let (cert, key) = (file("feed.pem"), file("feed.key"));
            writeln!(
                text,
                "tls = {{ certificates = [{{ cert = {cert:?}, key = {key:?} }}] }}"
            )
            .expect("a string");
        }
    }
    for (name, first) in [("plain", 10), ("sealed", 20)] {
        writeln!(text, "[[upstream]]\nname = '{name}'").expect("a string");
        if name == "sealed" {
            writeln!(
                text,
                "tls = {{ server_name = 'feed.test', ca = {:?} }}",
                file("ca.pem")
            )
            .expect("a string");
        }
        for n in first..first + chance.within(1, 2) {
            writeln!(text, "[[upstream.backend]]\naddress = '192.0.2.{n}:80'").expect("a string");
        }
    }
    text
}

/// How the actors of a world keep to TLS, by address; those who are not here do not speak it.
type Etiquette = HashMap<SocketAddr, Manners>;

fn furnish(world: &mut World, haste: Haste, workers: usize) -> (Furnished, Etiquette) {
    let text = draw_config(world.chance());
    let mut config = Config::parse(&text, "a drawn file").expect("a valid configuration");
    let mut etiquette = Etiquette::new();
    for upstream in &config.upstreams {
        for backend in &upstream.backends {
            let address = backend.address.socket().expect("an address");
            world.backend(address);
            if upstream.tls.is_some() {
                let manners = draw_manners(world.chance());
                let secret = BACKENDS[world.chance().index(BACKENDS.len())].clone();
                world.secure(address, secret, manners);
                etiquette.insert(address, manners);
            }
        }
    }
    for rules in &mut config.listeners {
        set_timeouts(rules, haste, world);
        if let Some(tls) = &mut rules.tls {
            tls.handshake_timeout = match haste {
                Haste::Hurried => {
                    Duration::from_millis(1) + world.chance().pause(Duration::from_secs(2))
                }
                // Who sends a wrong length and who reads it wait for each other.
                Haste::Patient | Haste::Swaying | Haste::Draining => LONG,
            };
        }
    }
    let mut listeners: Vec<Listeners> = (0..workers).map(|_| Vec::new()).collect();
    for (rules, at) in config.listeners.iter().zip(0..) {
        for socks in &mut listeners {
            socks.push((at, world.listen_at(rules.listen[0])));
        }
    }
    for _ in 0..world.chance().within(1, CLIENTS_MAX) {
        let at = world.chance().index(config.listeners.len());
        let listener = at * workers + world.chance().index(workers);
        let pause = world.chance().pause(Duration::from_secs(5));
        if config.listeners[at].tls.is_none() {
            world.client(listener, pause);
            continue;
        }
        let manners = draw_manners(world.chance());
        let script = draw_script(world, manners);
        let secret = &CLIENTS[world.chance().index(CLIENTS.len())];
        let address = world.client_in_tls(listener, pause, script, secret, manners);
        etiquette.insert(address, manners);
    }
    let limits = draw_limits(&mut config, world.chance());
    let furnished = Furnished {
        config,
        listeners,
        limits,
        buffers: (11, 12),
        sizes: (10, 12),
    };
    (furnished, etiquette)
}

fn draw_manners(chance: &mut Chance) -> Manners {
    match chance.below(12) {
        0..=5 => Manners::Polite,
        6..=7 => Manners::Lingering,
        8..=9 => Manners::Rude,
        10 => Manners::Cut(chance.index(1_500)),
        _ => Manners::Garbled(draw_far(chance)),
    }
}

/// In the handshake as likely as long after it.
fn draw_far(chance: &mut Chance) -> u64 {
    let most = 1 << chance.within(3, 16);
    chance.below(most)
}

/// Who stops in the middle of a hello has nothing to say in a stream.
fn draw_script(world: &mut World, manners: Manners) -> Script {
    let faults = *world.faults();
    let chance = world.chance();
    if !matches!(manners, Manners::Cut(_)) {
        return Script::draw_client(chance, &faults);
    }
    let pause = Step::Pause(chance.pause(Duration::from_secs(2)));
    let last = match chance.below(4) {
        0 => vec![Step::Reset],
        1 => vec![Step::Close],
        2 => vec![Step::Vanish(chance.pause(Duration::from_secs(30)))],
        _ => vec![Step::Fin, Step::AwaitEnd(LONG)],
    };
    Script {
        steps: [vec![pause], last].concat(),
        appetite: Appetite::Eager,
    }
}

/// What the worker tells of a connection is what the world knows of it.
fn check_record(world: &World, record: &Record, etiquette: &Etiquette) {
    let outcome = record.summary.outcome;
    let (client, backend) = world.fate(record.client).expect("a client");
    let manners = etiquette.get(&record.client).copied();
    let relayed = record.summary.up.total() + record.summary.down.total();
    if matches!(manners, Some(Manners::Cut(_))) {
        assert_eq!(
            outcome.phase,
            Phase::Handshaking,
            "{outcome} after no handshake"
        );
        assert!(
            backend.is_none(),
            "{outcome}: a backend for a part of a hello"
        );
        return;
    }
    let Some(backend) = backend else {
        assert_eq!(relayed, 0, "{outcome} without a backend");
        return;
    };
    let whole = client.orderly && backend.orderly && record.summary.connect.is_some();
    if outcome.phase == Phase::Done && whole {
        check_done(record, (client, backend), etiquette);
    }
}

/// Who ended first, and whether it was cut off.
fn check_done(record: &Record, (client, backend): (Fate, Fate), etiquette: &Etiquette) {
    let outcome = record.summary.outcome;
    let is_rude = |fate: &Fate| etiquette.get(&fate.address) == Some(&Manners::Rude);
    let by_client = match is_rude(&client) {
        true => Cause::ClientTruncated,
        false => Cause::ClientFin,
    };
    let by_backend = match is_rude(&backend) {
        true => Cause::BackendTruncated,
        false => Cause::BackendFin,
    };
    match (client.answered, backend.answered) {
        (false, true) => assert_eq!(outcome.cause, by_client),
        (true, false) => assert_eq!(outcome.cause, by_backend),
        (true, true) | (false, false) => {
            let either = [by_client, by_backend].contains(&outcome.cause);
            assert!(either, "{outcome}: neither did");
        }
    }
    assert_eq!(
        (record.summary.up.total(), record.summary.down.total()),
        (client.given, backend.given),
        "{outcome}"
    );
}

/// Plays one world.
fn play(seed: u64, haste: Haste, workers: usize) -> Played {
    let _replay = Replay(seed);
    // Where buffers are too few for whole records, TLS ends for want of them.
    let is_scarce = seed % 4 == 3;
    let mut demands = demands(haste);
    demands.whole &= !is_scarce;
    // A record counts as received once it is whole, and as sent once it is gone. Who was too slow is not held any more, but
    // thrown away.
    demands.held_max = match haste {
        Haste::Patient | Haste::Swaying | Haste::Draining => demands.held_max + 2 * RECORD,
        Haste::Hurried => u64::MAX,
    };
    let mut world = World::drawn(seed, demands);
    let (mut furnished, etiquette) = furnish(&mut world, haste, workers);
    if is_scarce {
        (furnished.buffers, furnished.sizes) = ((6, 9), (8, 12));
    }
    let mut play = Play::new(world, furnished);
    let turns = match haste {
        Haste::Patient | Haste::Swaying => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run(turns);
    for record in play.records() {
        check_record(&play.world.borrow(), &record, &etiquette);
    }
    play.played()
}

/// Every kind of world of one seed.
pub(crate) fn play_seed(seed: u64) {
    for workers in [1, 2] {
        for haste in HASTES {
            play(seed, haste, workers);
        }
    }
}

#[test]
fn the_worker_keeps_every_rule_of_tls_in_every_world() {
    play_all(worlds() / 5, play_seed);
}

#[test]
fn tls_does_the_same_in_the_same_world() {
    for seed in 0..10 {
        for haste in HASTES {
            let hash = || play(seed, haste, 1).hash;
            assert_eq!(hash(), hash(), "{haste:?} world {seed}");
        }
    }
}

#[test]
fn the_worlds_reach_every_way_in_which_tls_ends() {
    let plays = (0..150).flat_map(|seed| HASTES.map(|haste| play(seed, haste, 1).stats));
    let stats: Vec<_> = plays.flatten().collect();
    // What actors are sent is right and by somebody whom they trust: they have no alert to send.
    let is_alert = |cause| matches!(cause, Cause::ClientAlert(_) | Cause::BackendAlert(_));
    let is_here =
        |cause: &Cause| is_of_tls(*cause) && !is_alert(*cause) && *cause != Cause::PlainHttp;
    let closed = |cause| stats.iter().map(|it| it.closed(cause)).sum::<u64>();
    let missing: Vec<_> = Cause::ALL
        .into_iter()
        .filter(is_here)
        .filter(|cause| closed(*cause) == 0)
        .collect();
    assert_eq!(missing, [], "nothing ended so");
}
