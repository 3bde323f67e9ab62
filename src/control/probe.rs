//! Active probes: asks backends at intervals whether they are well, and says when that changes. Runs on the control
//! thread, inside its runtime, and touches no connection: who is told ([`Prober::new`]) decides what a change means.
//!
//! One probe of a backend at a time, [`IN_FLIGHT_MAX`] of all together; what is due beyond that waits its turn. Probes are
//! spread over their interval by a hash of the target, drift apart by jitter, and fall due in grains of
//! [`GRAIN`], so that a thousand a second are fifty wake-ups. `docs/probes.md` tells what each kind does.
//!
//! Sockets are plain ones that wait in the runtime's epoll. tokio-uring's cannot be used: 0.5 has no way to take an op
//! back, so a connect that nobody answers would keep its descriptor for the two minutes that the kernel tries.

mod exchange;
mod hello;
mod pace;
mod roster;
mod stream;
mod tls;
mod view;

pub use hello::{BadHost, client_hello};
pub use pace::GRAIN;
pub use roster::Id;
pub use tls::Tls;
pub use view::{Last, ProbeView, Verdict, Watch};

use crate::ring::Time;
use crate::upstream::health::{Change, State, Terms};
use crate::wire::banner::{Reason, Script};
use exchange::Exchange;
use roster::Roster;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Probes under way at once, of all targets together: each holds a descriptor and a local port.
pub const IN_FLIGHT_MAX: usize = 256;

/// How the backends of an upstream are probed.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// What is said and heard.
    pub script: Script,
    /// From one probe's begin to the next one's.
    pub interval: Duration,
    /// For all of a probe, the connection included.
    pub timeout: Duration,
    /// How many in a row change the state.
    pub terms: Terms,
    /// How far an interval may be longer or shorter, as a part of it: 0 to 1.
    pub jitter: f64,
    /// What a backend that expects it is told first: that the connection is nobody's but ours.
    pub proxy_header: ProxyHeader,
    /// What the exchange runs in, after the header. None: nothing but the connection.
    pub tls: Option<Tls>,
}

/// The PROXY protocol header of a connection of the proxy's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// None.
    Off,
    /// `PROXY UNKNOWN`: version 1 has no other word for it.
    V1,
    /// LOCAL.
    V2,
}

/// One address to be probed.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// The upstream's name.
    pub upstream: String,
    /// The backend's name.
    pub backend: String,
    /// Where to connect to, with the port of the probe if it has one of its own.
    pub address: SocketAddr,
    /// How.
    pub settings: Arc<Settings>,
    /// Its state before the first verdict: what the operator wants, or what was known of it before a reload.
    pub initial: State,
}

impl Target {
    /// Whether a probe of one is a probe of the other, whatever state they begin in.
    pub fn is_probed_as(&self, other: &Self) -> bool {
        self.address == other.address && self.settings == other.settings
    }
}

/// What is called when a target goes up or down, from within the prober's task. It may add and remove targets.
pub type OnChange = Box<dyn Fn(&Target, Change, &ProbeView)>;

/// Probes targets, as long as [`run`](Self::run) is polled inside a tokio-uring runtime. Copies are the same prober.
#[derive(Clone)]
pub struct Prober(Rc<Shared>);

struct Shared {
    roster: RefCell<Roster>,
    on_change: OnChange,
    chance: RefCell<oorandom::Rand64>,
    /// Rung when something is due before `asleep_until`.
    bell: Notify,
    /// What `run` waits for; `None` is for ever.
    asleep_until: Cell<Option<Time>>,
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roster = self.0.roster.borrow();
        f.debug_tuple("Prober").field(&*roster).finish()
    }
}

impl Prober {
    /// One without targets. Jitter and nonces come from the `seed`.
    pub fn new(seed: u128, on_change: OnChange) -> Self {
        Self(Rc::new(Shared {
            roster: RefCell::default(),
            on_change,
            chance: RefCell::new(oorandom::Rand64::new(seed)),
            bell: Notify::new(),
            asleep_until: Cell::new(None),
        }))
    }

    /// Begins to probe a target: for the first time within its interval, or within the faster one if it is down.
    pub fn add(&self, target: Target) -> (Id, Arc<Watch>) {
        let now = Time::read_clock();
        let mut roster = self.0.roster.borrow_mut();
        let (id, watch, due) = roster.add(target, now);
        drop(roster);
        self.wake_for(due);
        (id, watch)
    }

    /// Ends to probe a target. A probe under way ends without anybody being told.
    pub fn remove(&self, id: Id) {
        self.0.roster.borrow_mut().remove(id);
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.0.roster.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins probes as they fall due, for ever.
    ///
    /// # Panics
    /// Outside of a tokio-uring runtime.
    pub async fn run(&self) -> Infallible {
        loop {
            let now = Time::read_clock();
            self.begin_due(now);
            let next = self.0.roster.borrow().next_due();
            self.0.asleep_until.set(next);
            tokio::select! {
                () = sleep_until(next, now) => {}
                () = self.0.bell.notified() => {}
            }
        }
    }

    fn begin_due(&self, now: Time) {
        let mut roster = self.0.roster.borrow_mut();
        while let Some((id, target)) = roster.begin(now) {
            tokio_uring::spawn(self.clone().probe(id, target));
        }
    }

    /// One probe, from the connection to the farewell. It is told of before the farewell, which may take time.
    async fn probe(self, id: Id, target: Rc<Target>) {
        let nonce = self.nonce();
        let began = Time::read_clock();
        let mut exchange = Exchange::new(&target);
        let verdict = exchange.verdict(nonce).await;
        self.on_verdict(id, &target, verdict, began);
        exchange.leave().await;
        self.on_left(id, began);
    }

    fn on_verdict(&self, id: Id, target: &Target, verdict: Verdict, began: Time) {
        let now = Time::read_clock();
        let last = Last {
            verdict,
            duration: now - began,
            at: now,
        };
        let mut roster = self.0.roster.borrow_mut();
        let Some((change, view)) = roster.on_probed(id, last) else {
            return;
        };
        drop(roster);
        log(target, change, &view);
        (self.0.on_change)(target, change, &view);
    }

    fn on_left(&self, id: Id, began: Time) {
        let chance = self.0.chance.borrow_mut().rand_float();
        let now = Time::read_clock();
        let due = self.0.roster.borrow_mut().on_left(id, began, now, chance);
        due.into_iter().for_each(|due| self.wake_for(due));
    }

    /// Has `run` look again if it would sleep beyond this.
    fn wake_for(&self, due: Time) {
        if self.0.asleep_until.get().is_none_or(|until| due < until) {
            self.0.bell.notify_one();
        }
    }

    fn nonce(&self) -> [u8; 16] {
        let mut chance = self.0.chance.borrow_mut();
        let halves = [chance.rand_u64(), chance.rand_u64()];
        let whole = u128::from(halves[0]) << 64 | u128::from(halves[1]);
        whole.to_be_bytes()
    }
}

async fn sleep_until(due: Option<Time>, now: Time) {
    match due {
        Some(due) => tokio::time::sleep(due - now).await,
        None => std::future::pending().await,
    }
}

/// One line for each change.
fn log(target: &Target, change: Change, view: &ProbeView) {
    let (upstream, backend) = (&target.upstream, &target.backend);
    let (from, to) = (change.from.word(), change.to.word());
    let (probe, streak) = (target.settings.script.word(), view.streak.len());
    let reason = view.error().map(Reason::as_str);
    let took = view.last.as_ref().map(|last| last.duration);
    let took = took.unwrap_or_default();
    match change.to {
        State::Up => {
            tracing::info!(upstream, backend, from, to, probe, streak, ?took, "health");
        }
        State::Down => {
            tracing::warn!(
                upstream,
                backend,
                from,
                to,
                reason,
                probe,
                streak,
                ?took,
                "health"
            );
        }
    }
}
