//! What control does about backends: has them probed, tells workers when one goes down, and says in the log when failed
//! dials took one out or brought one back.

use super::probe::{self, OnChange, ProbeView, Prober, ProxyHeader, Target, Watch};
use crate::config::{
    Address, AdminState, Backend, Exchange, HttpRequest, InitialHealth, OnDown, Probe, SendProxy,
    Status, Upstream as Settings,
};
use crate::ring::Time;
use crate::upstream::health::{Change, State, Terms};
use crate::upstream::{Snapshot, Upstream};
use crate::wire::banner::{self, Script, Statuses};
use crate::worker::{Message, Post};
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether dials took a backend out. The log is for people; workers act at once.
const LOOK: Duration = Duration::from_millis(250);

/// What is known of each backend that is probed, by the names of its upstream and its own.
#[derive(Default, Debug)]
pub(super) struct Watches(RefCell<HashMap<(String, String), Arc<Watch>>>);

impl Watches {
    /// What is known of a backend; `None` if it is not probed.
    pub(super) fn view(&self, upstream: &str, backend: &str) -> Option<ProbeView> {
        let watches = self.0.borrow();
        let watch = watches.get(&(upstream.to_owned(), backend.to_owned()))?;
        Some(watch.view())
    }

    fn add(&self, target: (String, String), watch: Arc<Watch>) {
        self.0.borrow_mut().insert(target, watch);
    }
}

/// Probes and watches every backend of a snapshot, for ever. Workers hear of what changes through `posts`, and who
/// looks at `watches` sees what probes find.
///
/// # Panics
/// Outside of a tokio-uring runtime.
pub(super) async fn watch(
    snapshot: &Snapshot,
    posts: &[Post],
    watches: &Watches,
    seed: u128,
) -> Infallible {
    let told = Rc::new((snapshot.clone(), posts.to_vec()));
    let prober = Prober::new(seed, on_change(told));
    for target in snapshot.upstreams.iter().flat_map(targets) {
        let names = (target.upstream.clone(), target.backend.clone());
        let (_, watch) = prober.add(target);
        watches.add(names, watch);
    }
    tokio::select! {
        never = prober.run() => never,
        never = watch_dials(snapshot) => never,
    }
}

fn on_change(told: Rc<(Snapshot, Vec<Post>)>) -> OnChange {
    Box::new(move |target: &Target, change: Change, _: &ProbeView| {
        let (snapshot, posts) = &*told;
        let Some((place, at)) = place_of(snapshot, target) else {
            return;
        };
        let upstream = &snapshot.upstreams[usize::from(place)];
        let is_down = change.to == State::Down;
        upstream.live().set_down(at, is_down, Time::read_clock());
        if is_down && upstream.settings().on_down == OnDown::Close {
            let over = snapshot.config.process.drain_over;
            let evict = || Message::Evict {
                upstream: place,
                backend: at,
                over,
            };
            posts.iter().for_each(|post| post.post(evict()));
        }
    })
}

/// The places of a target's upstream and backend in the configuration.
fn place_of(snapshot: &Snapshot, target: &Target) -> Option<(u16, u16)> {
    let upstreams = snapshot.config.upstreams.iter().zip(0..);
    let (settings, place) = upstreams
        .into_iter()
        .find(|(settings, _)| settings.name == target.upstream)?;
    let mut backends = settings.backends.iter().zip(0..);
    let (_, at) = backends.find(|(backend, _)| backend.name == target.backend)?;
    Some((place, at))
}

/// What of an upstream is probed: every backend that is not in maintenance.
fn targets(upstream: &Upstream) -> Vec<Target> {
    let settings = upstream.settings();
    let Some(probe) = &settings.probe else {
        return Vec::new();
    };
    let target = |backend: &Backend| {
        let address = address(backend, probe)?;
        Some(Target {
            upstream: settings.name.clone(),
            backend: backend.name.clone(),
            address,
            settings: Arc::new(settings_of(settings, probe, address)),
            initial: match probe.initial {
                InitialHealth::Up => State::Up,
                InitialHealth::Down => State::Down,
            },
        })
    };
    let wanted = |backend: &&Backend| backend.state != AdminState::Maint;
    settings
        .backends
        .iter()
        .filter(wanted)
        .filter_map(target)
        .collect()
}

fn address(backend: &Backend, probe: &Probe) -> Option<SocketAddr> {
    let mut address = match &backend.address {
        Address::Socket(address) => *address,
        Address::Name { .. } | Address::Srv(_) => return None,
    };
    if let Some(port) = probe.port {
        address.set_port(port.get());
    }
    Some(address)
}

fn settings_of(upstream: &Settings, probe: &Probe, address: SocketAddr) -> probe::Settings {
    let at_least_one = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    probe::Settings {
        script: script(&probe.exchange, address),
        interval: probe.interval,
        timeout: probe.timeout,
        terms: Terms {
            rise: at_least_one(probe.rise),
            fall: at_least_one(probe.fall),
        },
        jitter: probe.jitter.get(),
        proxy_header: match upstream.proxy_protocol {
            SendProxy::Off => ProxyHeader::Off,
            SendProxy::V1 => ProxyHeader::V1,
            SendProxy::V2 => ProxyHeader::V2,
        },
    }
}

fn script(exchange: &Exchange, address: SocketAddr) -> Script {
    let host = |host: &Option<String>| host.clone().unwrap_or_else(|| address.to_string());
    match exchange {
        Exchange::Tcp => Script::Tcp,
        Exchange::Http {
            request,
            expect_status,
        } => Script::Http {
            request: match request {
                HttpRequest::Get { path, host: asked } => banner::http_request(path, &host(asked)),
                HttpRequest::Raw(bytes) => bytes.clone(),
            },
            expect: expect_status
                .iter()
                .map(|status| statuses(*status))
                .collect(),
        },
        Exchange::SslHello { host } => Script::SslHello {
            hello: probe::client_hello(host.as_deref().unwrap_or_default())
                .expect("the configuration has checked the name"),
        },
        Exchange::Smtp => Script::Smtp,
        Exchange::Mysql => Script::Mysql,
        Exchange::Pop3 => Script::Pop3,
        Exchange::Imap => Script::Imap,
        Exchange::Pgsql => Script::Pgsql,
        Exchange::Redis => Script::Redis,
        Exchange::Websocket {
            path,
            host: asked,
            expect,
        } => Script::WebSocket {
            path: path.clone(),
            host: host(asked),
            expect: expect.clone(),
        },
        Exchange::SendExpect { send, expect } => Script::SendExpect {
            send: send.clone(),
            expect: expect.clone(),
        },
    }
}

const fn statuses(status: Status) -> Statuses {
    match status {
        Status::Class(digit) => Statuses::Class(digit),
        Status::Exact(code) => Statuses::Code(code),
    }
}

/// Says in the log when failed dials took a backend out, and when it is in again.
async fn watch_dials(snapshot: &Snapshot) -> Infallible {
    let mut seen: Vec<Vec<Dials>> = snapshot
        .upstreams
        .iter()
        .map(|upstream| vec![Dials::default(); upstream.settings().backends.len()])
        .collect();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = Time::read_clock();
        for (upstream, seen) in snapshot.upstreams.iter().zip(&mut seen) {
            for (seen, at) in seen.iter_mut().zip(0..) {
                seen.look(upstream, at, now);
            }
        }
    }
}

/// What was last said of a backend's dials.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Dials {
    ejections: u64,
    is_out: bool,
}

impl Dials {
    fn look(&mut self, upstream: &Upstream, at: u16, now: Time) {
        let live = upstream.live();
        let latest = Self {
            ejections: live.ejections(at),
            is_out: live.is_out(at),
        };
        let before = std::mem::replace(self, latest);
        let settings = upstream.settings();
        let (upstream, backend) = (&settings.name, &upstream.backend(at).name);
        if latest.ejections != before.ejections {
            tracing::warn!(
                upstream,
                backend,
                failed_in_a_row = settings.max_fails,
                out_for = ?live.out_for(at, now),
                times = latest.ejections,
                "dials fail: out"
            );
        } else if before.is_out && !latest.is_out {
            tracing::info!(upstream, backend, "dials succeed: in again");
        }
    }
}
