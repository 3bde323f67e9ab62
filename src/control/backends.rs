//! What control does about backends: has them probed, tells workers when one goes down, and says in the log when failed
//! dials took one out or brought one back.

use super::probe::{self, Id, OnChange, ProbeView, Prober, ProxyHeader, Target, Tls};
use super::state::State;
use super::watches::Watches;
use crate::config::{
    AdminState, Backend, Exchange, HttpRequest, OnDown, Probe, SendProxy, Status,
    Upstream as Settings,
};
use crate::conn::Cause;
use crate::ring::Time;
use crate::upstream::health::{Change, State as Health, Terms};
use crate::upstream::{Member, Upstream};
use crate::wire::banner::{self, Script, Statuses};
use crate::worker::{Message, Post};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often it is looked whether dials took a backend out. The log is for people; workers act at once.
const LOOK: Duration = Duration::from_millis(250);

/// What is shared with whoever changes what the proxy goes by.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) state: Rc<RefCell<State>>,
    /// Says when backends, what is wanted of them, or how they are probed are not what they were.
    pub(super) changed: Rc<Notify>,
    pub(super) watches: Rc<Watches>,
    pub(super) posts: Vec<Post>,
}

/// Probes and watches every backend, for ever. Workers hear of what changes, and who looks at the watches sees what
/// probes find.
///
/// # Panics
/// Outside of a tokio-uring runtime.
pub(super) async fn watch(shared: &Shared, seed: u128) -> Infallible {
    let prober = Prober::new(seed, on_change(shared.clone()));
    tokio::select! {
        never = prober.run() => never,
        never = follow(&prober, shared) => never,
        never = watch_dials(&shared.state) => never,
    }
}

/// Has those probed that are to be probed, as they are to be.
async fn follow(prober: &Prober, shared: &Shared) -> Infallible {
    let mut known: HashMap<(String, String), (Target, Id)> = HashMap::new();
    loop {
        let wanted: HashMap<_, _> = {
            let state = shared.state.borrow();
            let all = state.snapshot.upstreams.iter().flat_map(targets);
            all.map(|it| ((it.upstream.clone(), it.backend.clone()), it))
                .collect()
        };
        known.retain(|names, (target, id)| {
            let stays = wanted.get(names).is_some_and(|it| it.is_probed_as(target));
            if !stays {
                prober.remove(*id);
                shared.watches.set(names, None);
            }
            stays
        });
        for (names, target) in wanted {
            if let Entry::Vacant(place) = known.entry(names) {
                let (id, watch) = prober.add(target.clone());
                shared.watches.set(place.key(), Some(watch));
                place.insert((target, id));
            }
        }
        shared.watches.forget_others(&shared.state.borrow());
        shared.changed.notified().await;
    }
}

fn on_change(shared: Shared) -> OnChange {
    Box::new(move |target: &Target, change: Change, _: &ProbeView| {
        let state = shared.state.borrow();
        let Some((upstream, backend)) = find(&state, target) else {
            return;
        };
        let is_down = change.to == Health::Down;
        backend.set_down(is_down, Time::read_clock());
        if is_down && upstream.settings().on_down == OnDown::Close {
            let over = state.snapshot.config.process.drain_over;
            let evict = || Message::Evict {
                backend: Arc::clone(backend),
                over,
                cause: Cause::BackendDown,
            };
            shared.posts.iter().for_each(|post| post.post(evict()));
        }
    })
}

/// A target's upstream and backend, if they are still there.
fn find<'a>(state: &'a State, target: &Target) -> Option<(&'a Upstream, &'a Arc<Member>)> {
    let upstream = state.upstream(&target.upstream)?;
    let mut backends = upstream.live().members().iter();
    let backend = backends.find(|backend| backend.name() == target.backend)?;
    Some((upstream, backend))
}

/// What of an upstream is probed: every backend that is not in maintenance.
fn targets(upstream: &Upstream) -> Vec<Target> {
    let settings = upstream.settings();
    let Some(probe) = &settings.probe else {
        return Vec::new();
    };
    let target = |(backend, live): (&Backend, &Arc<Member>)| {
        let address = address(backend, probe)?;
        let asked = asked(backend, address);
        Some(Target {
            upstream: settings.name.clone(),
            backend: backend.name.clone(),
            address,
            settings: Arc::new(probe::Settings {
                tls: tls_of(upstream, backend),
                ..settings_of(settings, probe, &asked)
            }),
            initial: live.probed(),
        })
    };
    let all = settings.backends.iter().zip(upstream.live().members());
    all.filter(|(_, live)| live.admin() != AdminState::Maint)
        .filter_map(target)
        .collect()
}

fn address(backend: &Backend, probe: &Probe) -> Option<SocketAddr> {
    let mut address = backend.address.socket()?;
    if let Some(port) = probe.port {
        address.set_port(port.get());
    }
    Some(address)
}

/// What the exchange runs in. A probe that begins a handshake of its own is not to be inside of another one.
fn tls_of(upstream: &Upstream, backend: &Backend) -> Option<Tls> {
    let exchange = &upstream.settings().probe.as_ref()?.exchange;
    let is_hello = matches!(exchange, Exchange::SslHello { .. });
    let client = upstream.tls().filter(|_| !is_hello)?;
    Some(Tls {
        name: client.current().server_name(backend),
        client: Arc::clone(client),
    })
}

/// What a backend is asked for that asks for a host: its own, as far as it has one.
fn asked(backend: &Backend, address: SocketAddr) -> String {
    let host = backend.host.as_ref();
    host.map_or_else(
        || address.to_string(),
        |host| format!("{host}:{}", address.port()),
    )
}

fn settings_of(upstream: &Settings, probe: &Probe, asked: &str) -> probe::Settings {
    let at_least_one = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    probe::Settings {
        script: script(&probe.exchange, asked),
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
        tls: None,
    }
}

fn script(exchange: &Exchange, asked: &str) -> Script {
    let host = |host: &Option<String>| host.clone().unwrap_or_else(|| asked.to_owned());
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
async fn watch_dials(state: &RefCell<State>) -> Infallible {
    let mut seen: Vec<(Arc<Member>, Dials)> = Vec::new();
    let mut version = None;
    loop {
        let now = Time::read_clock();
        {
            let state = state.borrow();
            if version != Some(state.version) {
                seen = with_all(&seen, &state);
                version = Some(state.version);
            }
            for (backend, dials) in &mut seen {
                dials.look(backend, &state, now);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Every backend there is, with what was said of it.
fn with_all(seen: &[(Arc<Member>, Dials)], state: &State) -> Vec<(Arc<Member>, Dials)> {
    let said = |backend: &Arc<Member>| {
        let mut seen = seen.iter();
        let known = seen.find(|(it, _)| Arc::ptr_eq(it, backend));
        known.map_or_else(Dials::default, |(_, dials)| *dials)
    };
    let upstreams = state.snapshot.upstreams.iter();
    let all = upstreams.flat_map(|upstream| upstream.live().members());
    all.map(|backend| (Arc::clone(backend), said(backend)))
        .collect()
}

/// What was last said of a backend's dials.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Dials {
    ejections: u64,
    is_out: bool,
}

impl Dials {
    fn look(&mut self, backend: &Member, state: &State, now: Time) {
        let latest = Self {
            ejections: backend.ejections(),
            is_out: backend.is_out(),
        };
        let before = std::mem::replace(self, latest);
        let (upstream, name) = (&**backend.upstream(), backend.name());
        // Those of a process before this one are counted too, and it has said so.
        if latest.ejections != before.ejections && latest.is_out {
            let settings = state.upstream(upstream).map(Upstream::settings);
            tracing::warn!(
                upstream,
                backend = name,
                failed_in_a_row = settings.map(|settings| settings.max_fails),
                out_for = ?backend.out_for(now),
                times = latest.ejections,
                "dials fail: out"
            );
        } else if before.is_out && !latest.is_out {
            tracing::info!(upstream, backend = name, "dials succeed: in again");
        }
    }
}
