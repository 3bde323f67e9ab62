//! The dialing side of an engine: opens the connections, begins what is planned, and ends the run.

use crate::config::{ClientConfig, ClientRole, Direction};
use crate::engine::Engine;
use crate::link::Link;
use crate::roles::{Part, bulk, churn, echo, subscribe, websocket};
use crate::schedule::Schedule;
use crate::tls::Connector;
use crate::websocket::handshake;
use ringway_ring::{DialOptions, Op, Ring, Tag, Time};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Longer than two lost SYNs (1 s, 3 s) and shorter than a person's patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long answers may take after the end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the kernel may take to give back what was shut down: it does so at once.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Dials in flight: below any listener's backlog (somaxconn is 4096), so that no SYN is lost to it.
const DIALS_MAX: usize = 512;

pub(crate) struct Dialer {
    config: ClientConfig,
    phase: Phase,
    ramp: Option<Schedule>,
    /// Connections still to be opened; with connections that come and go, meaningless.
    to_dial: u32,
    /// The number, over all threads, of the next connection, and the step to the one after.
    number: u64,
    step: u64,
    expiries: VecDeque<(Time, Tag)>,
    tls: Option<Connector>,
}

/// Where the run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The connections are being opened.
    Opening,
    /// All are, or have failed; nothing counts yet.
    WarmingUp { until: Time },
    /// The time that the results are about; planned events up to here were `due`, and `taken` of them begun.
    Measuring { until: Time, due: u64, taken: u64 },
    /// Nothing new is begun.
    Ending { until: Time },
    /// Nothing is waited for but the ring.
    Closing { until: Time },
}

impl Dialer {
    /// The share of thread `index` of `threads`.
    pub(crate) fn new(config: ClientConfig, index: u16, threads: u16, now: Time) -> Self {
        let (index32, threads32) = (u32::from(index), u32::from(threads));
        let share =
            config.connections / threads32 + u32::from(index32 < config.connections % threads32);
        let ramp = config
            .ramp
            .map(|rate| Schedule::new(now, rate.shared_by(threads)));
        Self {
            phase: Phase::Opening,
            ramp,
            to_dial: share,
            number: u64::from(index),
            step: u64::from(threads),
            expiries: VecDeque::new(),
            tls: config.tls.as_ref().map(Connector::new),
            config: ClientConfig {
                connections: share,
                ..config
            },
        }
    }

    /// What happens between turns. `stop` ends the run early. Whether turns are still needed.
    pub(crate) fn on_turn<R: Ring>(&mut self, engine: &mut Engine<R>, stop: bool) -> bool {
        let now = engine.now();
        self.expire(engine, now);
        match self.phase {
            Phase::Opening if stop => self.end(engine, now),
            Phase::Opening => self.open(engine, now),
            Phase::WarmingUp { .. } if stop => self.end(engine, now),
            Phase::WarmingUp { until } => {
                if now >= until || self.is_over(engine) {
                    self.measure(engine, now);
                } else {
                    self.load(engine, now);
                }
            }
            Phase::Measuring { until, .. } => {
                if stop || now >= until || self.is_over(engine) {
                    self.end(engine, now);
                } else {
                    self.load(engine, now);
                }
            }
            Phase::Ending { until } => {
                if now >= until {
                    self.phase = Phase::Closing {
                        until: now + CLOSE_TIMEOUT,
                    };
                    engine.with_all(Link::abandon);
                }
            }
            Phase::Closing { until } => {
                assert!(
                    now < until,
                    "{} connections outlive their shutdown",
                    engine.count()
                );
            }
        }
        !matches!(self.phase, Phase::Ending { .. } | Phase::Closing { .. }) || !engine.is_empty()
    }

    /// When the next turn must come at the latest.
    pub(crate) fn wake<R: Ring>(&self, engine: &Engine<R>) -> Option<Time> {
        let planned = match self.phase {
            Phase::Opening => None,
            Phase::WarmingUp { until } | Phase::Measuring { until, .. } => Some(until),
            Phase::Ending { until } => return Some(until),
            Phase::Closing { .. } => return None,
        };
        let ramps = self.phase == Phase::Opening && self.to_dial > 0 && may_dial(engine);
        let ramp = self.ramp.as_ref().filter(|_| ramps).map(Schedule::next);
        let schedule = engine.job.pace.schedule().filter(|_| self.has_room(engine));
        [planned, ramp, schedule.map(Schedule::next)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a planned event could begin: a schedule that waits for an answer is no reason to wake.
    fn has_room<R: Ring>(&self, engine: &Engine<R>) -> bool {
        if self.config.role.is_churn() {
            return engine.count() < self.config.connections as usize && may_dial(engine);
        }
        engine.job.pace.has_idle()
    }

    fn open<R: Ring>(&mut self, engine: &mut Engine<R>, now: Time) {
        if !self.config.role.is_churn() {
            while self.to_dial > 0 && may_dial(engine) {
                if self
                    .ramp
                    .as_mut()
                    .is_some_and(|ramp| ramp.take(now).is_none())
                {
                    return;
                }
                self.to_dial -= 1;
                self.dial(engine, now);
            }
            if self.to_dial > 0 || engine.job.dialing > 0 {
                return;
            }
        }
        engine.job.pace.start(now);
        self.phase = Phase::WarmingUp {
            until: now + self.config.warmup,
        };
        if engine.job.pace.schedule().is_none() {
            self.load(engine, now);
        }
    }

    /// Nothing is left to be measured: every connection was cut, or has had its bytes.
    fn is_over<R: Ring>(&self, engine: &Engine<R>) -> bool {
        engine.is_empty() && !self.config.role.is_churn()
    }

    /// A fixed amount of bytes may be through before the last connection is open.
    pub(crate) fn counts_from_start(&self) -> bool {
        matches!(self.config.role, ClientRole::Bulk { bytes: Some(_), .. })
    }

    /// Begins what is planned.
    fn load<R: Ring>(&mut self, engine: &mut Engine<R>, now: Time) {
        if self.config.role.is_churn() {
            return self.churn(engine, now);
        }
        while let Some((tag, planned)) = engine.take_idle(now) {
            engine.with(tag, |link, cx| link.begin(planned, cx));
        }
    }

    fn churn<R: Ring>(&mut self, engine: &mut Engine<R>, now: Time) {
        while engine.count() < self.config.connections as usize && may_dial(engine) {
            let Some(planned) = engine.job.pace.take(now, &mut engine.stats) else {
                return;
            };
            self.dial(engine, planned);
        }
    }

    fn dial<R: Ring>(&mut self, engine: &mut Engine<R>, planned: Time) {
        let number = self.number;
        self.number += self.step;
        let targets = self.config.targets.len() as u64;
        let target = usize::try_from(number % targets).expect("below the number of targets");
        let peer = self.config.targets[target];
        let now = engine.now();
        let tls = self.tls.as_ref().map(|tls| tls.session(peer));
        let part = self.part(number, peer, planned);
        let tag = engine.add(Link::dialing(part, tls, now));
        engine.job.dialing += 1;
        self.expiries.push_back((now + CONNECT_TIMEOUT, tag));
        engine.ops.push(Op::Dial {
            tag,
            peer,
            options: DialOptions {
                nodelay: self.needs_nodelay(),
                source: self.config.sources.pick(number),
                ..DialOptions::default()
            },
            asking: None,
        });
    }

    fn part(&self, number: u64, peer: SocketAddr, planned: Time) -> Part {
        match &self.config.role {
            ClientRole::Echo { size, .. } => Part::EchoClient(echo::Client::new(number, *size)),
            ClientRole::Subscribe => Part::Subscribe(subscribe::Reader::default()),
            ClientRole::Bulk {
                direction: Direction::Down,
                bytes,
            } => Part::BulkReceive(bulk::Receiver::client(*bytes)),
            ClientRole::Bulk {
                direction: Direction::Up,
                bytes,
            } => Part::BulkSend(bulk::Sender::client(number, *bytes)),
            ClientRole::Churn { size, .. } => {
                Part::ChurnClient(churn::Client::new(number, *size, planned))
            }
            ClientRole::WebSocket {
                path, cookie, size, ..
            } => {
                let request = handshake::request(peer, path, cookie, number);
                Part::WebSocketClient(websocket::Client::new(number, request, *size, planned))
            }
            ClientRole::Hold => Part::HoldClient,
            ClientRole::Stall => Part::Stall,
        }
    }

    /// Only requests of several segments can be held back by Nagle; a system call per connection otherwise wasted.
    fn needs_nodelay(&self) -> bool {
        match self.config.role {
            ClientRole::Echo { size, .. }
            | ClientRole::Churn { size, .. }
            | ClientRole::WebSocket { size, .. } => size > 1024,
            ClientRole::Subscribe
            | ClientRole::Bulk { .. }
            | ClientRole::Hold
            | ClientRole::Stall => false,
        }
    }

    /// Ends dials and handshakes that take too long. The queue is in the order of dialing; answered ones leave it as they reach its
    /// front.
    fn expire<R: Ring>(&mut self, engine: &mut Engine<R>, now: Time) {
        while let Some((expiry, tag)) = self.expiries.front().copied() {
            if engine.is_dialing(tag) && expiry > now {
                return;
            }
            self.expiries.pop_front();
            engine.with(tag, Link::expire);
        }
    }

    fn measure<R: Ring>(&mut self, engine: &mut Engine<R>, now: Time) {
        if !self.counts_from_start() {
            engine.stats.begin(now);
        }
        let schedule = engine.job.pace.schedule();
        self.phase = Phase::Measuring {
            until: now + self.config.seconds,
            due: schedule.map_or(0, |schedule| schedule.due(now)),
            taken: schedule.map_or(0, Schedule::taken),
        };
    }

    fn end<R: Ring>(&mut self, engine: &mut Engine<R>, now: Time) {
        if let Phase::Measuring { until, due, taken } = self.phase {
            let last = now.min(until);
            if engine.job.pace.schedule().is_some() {
                // What a late turn left over was planned for the measured time and belongs to it.
                self.load(engine, last);
            }
            let schedule = engine.job.pace.schedule();
            engine.stats.counters.planned = schedule.map_or(0, |all| all.due(last) - due);
            engine.stats.counters.issued = schedule.map_or(0, |all| all.taken() - taken);
        }
        engine.stats.finish(now);
        engine.job.ending = true;
        self.phase = Phase::Ending {
            until: now + ANSWER_TIMEOUT,
        };
        engine.with_all(Link::wind_down);
    }
}

fn may_dial<R: Ring>(engine: &Engine<R>) -> bool {
    engine.job.dialing < DIALS_MAX
}
