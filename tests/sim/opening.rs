//! Clients that say something first, before the real worker: PROXY protocol headers, request heads, ClientHellos; whole, in
//! single bytes, cut short, malformed, or never. What becomes of each is judged from how it was made. Alone, or with
//! two workers that share their households.

mod check;
mod client;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a sabotage names one op and passes on every other"
)]
mod sabotage;
mod says;

use crate::seats::{Furnished, Listeners, Play, Played, Record};
use crate::worker::{HASTES, Haste, demands, draw_limits, set_timeouts};
use crate::{Replay, play_all, worlds};
use check::{Known, check_households};
use client::Plan;
use ringway::config::{AcceptProxy, Config, Forwarded, Mode, SendProxy};
use ringway::conn::{Cause, Phase};
use ringway::sim::{Chance, World};
use ringway::wire::http_head::Refusal;
use ringway::worker::Stats;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const CLIENTS_MAX: u64 = 24;

/// In patient worlds, far longer than an honest client takes for its first bytes.
const PEEK_TIMEOUT: Duration = Duration::from_secs(10);

/// Buffers enough for all that the clients of a world may have queued, as a power of two.
const ROOMY: (u64, u64) = (10, 10);

/// A world's clients, by address.
type Plans = HashMap<SocketAddr, Plan>;

/// Three upstreams, of which one refuses, and up to four listeners.
fn draw_config(chance: &mut Chance) -> String {
    let mut text = String::new();
    for at in 0..chance.within(1, 4) {
        let mode = chance.pick(&["tcp", "http", "http", "tls"]);
        let header = chance.pick(&["off", "optional", "required"]);
        write!(
            text,
            "[[listener]]\nname = 'l{at}'\nlisten = '198.51.100.1:{}'\nmode = '{mode}'\n\
             proxy_protocol = '{header}'\n",
            9000 + at
        )
        .expect("a string");
        text += &draw_admission(header != "off", chance);
        text += &draw_peeking(mode, chance);
    }
    for (name, first, count) in [
        ("feed", 10, chance.within(1, 3)),
        ("chat", 20, 1),
        ("dead", 30, 2),
    ] {
        let header = chance.pick(&["off", "off", "v1", "v2"]);
        writeln!(
            text,
            "[[upstream]]\nname = '{name}'\nproxy_protocol = '{header}'"
        )
        .expect("a string");
        for n in first..first + count {
            writeln!(text, "[[upstream.backend]]\naddress = '192.0.2.{n}:80'").expect("a string");
        }
    }
    text
}

fn draw_admission(by_header: bool, chance: &mut Chance) -> String {
    let mut text = String::new();
    if by_header && chance.below(8) == 0 {
        text += "proxy_protocol_from = ['192.0.2.0/24']\n"; // nobody here
    }
    if by_header && chance.below(3) == 0 {
        text += "deny = ['203.0.113.128/25']\n";
    }
    if chance.below(3) == 0 {
        writeln!(text, "max_connections_per_ip = {}", chance.within(1, 4)).expect("a string");
    }
    if chance.below(6) == 0 {
        writeln!(text, "connect_rate_per_ip = '{}/5s'", chance.within(1, 4)).expect("a string");
    }
    text
}

fn draw_peeking(mode: &str, chance: &mut Chance) -> String {
    let relay = chance.pick(&["auto", "copy", "splice"]);
    let most = chance.pick(&[4096, 16_384]);
    let mut text = format!("relay = '{relay}'\npeek_max_bytes = {most}\n");
    if mode == "http" && chance.below(3) == 0 {
        text += "forwarded = 'append'\n";
    }
    if mode == "tcp" || chance.below(4) == 0 {
        return text + "upstream = 'feed'\n";
    }
    if chance.below(2) == 0 {
        text += "upstream = 'chat'\n";
    }
    text + match mode {
        "http" => {
            "[[listener.route]]\nhost = 'dead.example.com'\nupstream = 'dead'\n\
             [[listener.route]]\npath_prefix = '/chat'\nupgrade = 'websocket'\nupstream = 'chat'\n\
             [[listener.route]]\nhost = 'feed.example.com'\nupstream = 'feed'\n"
        }
        _ => {
            "[[listener.route]]\nsni = 'dead.example.com'\nupstream = 'dead'\n\
             [[listener.route]]\nsni = 'chat.example.com'\nupstream = 'chat'\n\
             [[listener.route]]\nsni = 'feed.example.com'\nupstream = 'feed'\n"
        }
    }
}

fn furnish(world: &mut World, haste: Haste, workers: usize) -> (Furnished, Plans) {
    let text = draw_config(world.chance());
    let mut config = Config::parse(&text, "a drawn file").expect("a valid configuration");
    for upstream in config.upstreams.iter().filter(|it| it.name != "dead") {
        for backend in &upstream.backends {
            world.backend(backend.address.socket().expect("an address"));
        }
    }
    for rules in &mut config.listeners {
        set_timeouts(rules, haste, world);
        rules.peek_timeout = match haste {
            Haste::Hurried => {
                Duration::from_millis(1) + world.chance().pause(Duration::from_secs(2))
            }
            Haste::Patient | Haste::Swaying | Haste::Draining => PEEK_TIMEOUT,
        };
    }
    let mut listeners: Vec<Listeners> = (0..workers).map(|_| Vec::new()).collect();
    for (rules, at) in config.listeners.iter().zip(0..) {
        for socks in &mut listeners {
            socks.push((at, world.listen_at(rules.listen[0])));
        }
    }
    let plans = draw_clients(world, &config, workers);
    let limits = draw_limits(&mut config, world.chance());
    let is_roomy = world.chance().below(2) == 0;
    let furnished = Furnished {
        config,
        listeners,
        limits,
        buffers: if is_roomy { ROOMY } else { (4, 9) },
        sizes: if is_roomy { (12, 12) } else { (6, 12) },
    };
    (furnished, plans)
}

/// From four addresses, so that some come from one.
fn draw_clients(world: &mut World, config: &Config, workers: usize) -> Plans {
    let mut plans = HashMap::new();
    let faults = *world.faults();
    for number in 0..world.chance().within(1, CLIENTS_MAX) {
        let last = u8::try_from(world.chance().within(1, 4)).expect("small");
        let port = 40_000 + u16::try_from(number).expect("few clients");
        let peer = SocketAddr::from(([10, 1, 0, last], port));
        let at = world.chance().index(config.listeners.len());
        let (plan, opening, script) = client::draw(config, at, peer, &faults, world.chance());
        let listener = at * workers + world.chance().index(workers);
        let pause = world.chance().pause(Duration::from_secs(5));
        world.client_saying(listener, pause, peer, script, opening);
        plans.insert(peer, plan);
    }
    plans
}

/// What came of a world, beside its clients.
struct Seen {
    played: Played,
    records: Vec<Record>,
    /// Bytes that each record's client read.
    got: Vec<u64>,
}

/// Plays one world.
fn play(seed: u64, haste: Haste, workers: usize) -> Seen {
    let _replay = Replay(seed);
    let mut world = World::drawn(seed, demands(haste));
    let (furnished, plans) = furnish(&mut world, haste, workers);
    let calm = furnished.buffers == ROOMY && haste != Haste::Hurried && world.faults().is_none();
    let mut play = Play::new(world, furnished);
    let turns = match haste {
        Haste::Patient | Haste::Swaying => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run(turns);
    let records = play.records();
    let world = play.world.borrow();
    let known = Known {
        world: &world,
        plans: &plans,
        drained: haste != Haste::Patient,
        calm,
    };
    records.iter().for_each(|record| known.check(record));
    check_households(&records, |rules| rules.max_connections_per_ip);
    let got = records.iter().map(|record| known.got(record)).collect();
    Seen {
        played: play.played(),
        records,
        got,
    }
}

/// Every kind of world of one seed.
pub(crate) fn play_seed(seed: u64) {
    for workers in [1, 2] {
        for haste in HASTES {
            play(seed, haste, workers);
        }
    }
}

/// The numbers of the first worker in worlds of all kinds.
pub(crate) fn stats(seeds: u64) -> impl Iterator<Item = Arc<Stats>> {
    let all = (0..seeds).flat_map(|seed| HASTES.map(|haste| (seed, haste)));
    all.flat_map(|(seed, haste)| play(seed, haste, 1).played.stats)
}

#[test]
fn first_bytes_lead_where_they_should_in_every_world() {
    play_all(worlds(), |seed| {
        for haste in HASTES {
            play(seed, haste, 1);
        }
    });
}

#[test]
fn two_workers_lead_first_bytes_where_they_should_and_count_households_together() {
    play_all(worlds(), |seed| {
        for haste in HASTES {
            play(seed, haste, 2);
        }
    });
}

#[test]
fn the_same_first_bytes_lead_to_the_same_in_the_same_world() {
    for seed in 0..10 {
        for workers in [1, 2] {
            let hash = || play(seed, Haste::Patient, workers).played.hash;
            assert_eq!(hash(), hash(), "world {seed} of {workers}");
        }
    }
}

/// How first bytes come, and how they go on.
type Way = (Mode, AcceptProxy, SendProxy, Forwarded);

fn way_of(record: &Record) -> Option<Way> {
    let rules = &record.listener;
    let upstream = &record.config.upstreams[record.upstream()?];
    let is_done = record.summary.outcome.phase == Phase::Done;
    let way = (
        rules.mode,
        rules.proxy_protocol,
        upstream.proxy_protocol,
        rules.forwarded,
    );
    is_done.then_some(way)
}

#[test]
fn the_worlds_reach_every_way_in_and_on_and_every_reply() {
    let (mut ways, mut told) = (Vec::new(), Vec::new());
    for seen in (0..300).map(|seed| play(seed, Haste::Patient, 1)) {
        for (record, got) in seen.records.iter().zip(seen.got) {
            let way = way_of(record).filter(|way| !ways.contains(way));
            ways.extend(way);
            let cause = record.summary.outcome.cause;
            let is_new = !told.contains(&cause);
            told.extend((record.summary.connect.is_none() && got > 0 && is_new).then_some(cause));
        }
    }
    // Three modes, a header or none or either in, none or one of two versions out; forwarded in one mode alone.
    assert_eq!(ways.len(), 3 * 3 * 3 + 3 * 3, "{ways:?}");
    for cause in [
        Cause::NoRoute,
        Cause::PeekTimeout,
        Cause::ConnectRefused,
        Cause::ConnectTimeout,
        Cause::BadHead(Refusal::BareLf),
        Cause::BadHead(Refusal::TooLarge),
    ] {
        assert!(told.contains(&cause), "nobody was told of {cause:?}");
    }
}
