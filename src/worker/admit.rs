//! From an accepted socket to a connection: who may come in, and on which worker. Every client that is accepted ends
//! up in exactly one place: turned away here, a connection here, or an arrival at another worker.

use super::handover::Arrival;
use super::{TurnedAway, Worker, listener_tag};
use crate::config::AcceptProxy;
use crate::conn::{self, Accepted, Connection, Household};
use crate::ring::{Errno, Op, Ring, Sock, Time};
use crate::upstream::{Seats, Site};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

impl<R: Ring> Worker<R> {
    pub(super) fn on_accepted(
        &mut self,
        at: u32,
        result: Result<(Sock, SocketAddr), Errno>,
        more: bool,
        now: Time,
    ) {
        let place = at as usize;
        match result {
            Ok((sock, peer)) => self.admit(place, sock, peer, now),
            Err(errno) => {
                self.stats.on_accept_error(errno);
                self.listeners[place].on_error(errno, now, &mut self.ops);
            }
        }
        if !more {
            self.listeners[place].on_disarmed(listener_tag(place), &mut self.ops);
        }
    }

    /// The limits are the accepting worker's to ask; from here on the client has a place, which whoever ends it gives
    /// back.
    fn admit(&mut self, place: usize, sock: Sock, peer: SocketAddr, now: Time) {
        let listener = self.listeners[place].listener;
        if self.drain.is_some() {
            self.stats
                .listener(listener)
                .turn_away(TurnedAway::Draining);
            return self.ops.push(Op::Close { sock, reset: false });
        }
        let site = &self.current.sites[usize::from(listener)];
        if !self.limits.acquire(&site.seats) {
            self.stats.listener(listener).turn_away(TurnedAway::Limit);
            return self.ops.push(Op::Close { sock, reset: true });
        }
        self.listeners[place].on_success();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let rules = &site.rules;
        // Who comes through a proxy is known only after its header.
        let counted = match rules.proxy_protocol {
            AcceptProxy::Off => {
                conn::admit(rules, listener, peer.ip(), self.limits.households(), now)
            }
            AcceptProxy::Optional | AcceptProxy::Required => Ok(false),
        };
        let counted = match counted {
            Ok(counted) => counted,
            Err(rejection) => {
                self.limits.release(&site.seats);
                self.stats.listener(listener).turn_away(rejection.into());
                return self.ops.push(Op::Close { sock, reset: true });
            }
        };
        let arrival = Arrival {
            version: self.version,
            listener,
            sock,
            peer,
            at: now,
            counted,
        };
        let stays = rules.incoming_cpu;
        if stays {
            self.handover.keep();
            self.adopt(arrival, now);
        } else if let Some(arrival) = self.handover.place(arrival) {
            self.adopt(arrival, now);
        }
    }

    /// Hands over what was placed elsewhere in this turn. A worker that has ended takes nothing: its share stays here.
    pub(super) fn hand_over(&mut self, now: Time) {
        if !self.handover.is_pending() {
            return;
        }
        let (sent, kept) = self.handover.send();
        self.stats.handed_over.add(sent);
        for arrival in kept {
            self.adopt(arrival, now);
        }
    }

    /// Makes a connection of a client that is counted here and has its place.
    pub(super) fn adopt(&mut self, arrival: Arrival, now: Time) {
        let Some(current) = self.rules_of(arrival.version).map(Rc::clone) else {
            return self.early.push(arrival);
        };
        let site = Rc::clone(&current.sites[usize::from(arrival.listener)]);
        if self.drain.is_some() {
            let listener = self.stats.listener(site.number);
            listener.turn_away(TurnedAway::Draining);
            return self.turn_away(arrival, &site, false, now);
        }
        if self.connections.is_full() {
            let listener = self.stats.listener(site.number);
            listener.turn_away(TurnedAway::Limit);
            return self.turn_away(arrival, &site, true, now);
        }
        let Arrival {
            sock,
            peer,
            at,
            counted,
            ..
        } = arrival;
        self.stats.accepted.add(1);
        let stats = self.stats.listener(site.number);
        stats.accepted.add(1);
        let meter = Arc::clone(&stats.meter);
        self.accepted += 1;
        // 40 bits of sequence below the worker: below 2^53, so that JSON readers with floating numbers keep it whole.
        let id = u64::from(self.worker) << 40 | self.accepted;
        let key = self.connections.insert_with(|key| {
            Connection::new(
                Accepted {
                    id,
                    key,
                    site,
                    sock,
                    peer,
                    counted,
                    meter,
                },
                &current,
                at,
            )
        });
        let key = key.expect("not full, asked above");
        self.with(key, now, Connection::start);
    }

    fn turn_away(&mut self, arrival: Arrival, site: &Site, reset: bool, now: Time) {
        let Arrival {
            sock,
            peer,
            counted,
            ..
        } = arrival;
        let household = counted.then(|| Household::of(site.number, peer.ip()));
        self.give_back(&site.seats, household, now);
        self.ops.push(Op::Close { sock, reset });
    }

    /// A client that was counted here is over.
    pub(super) fn give_back(&self, listener: &Seats, household: Option<Household>, now: Time) {
        if let Some(household) = household {
            self.limits.households().leave(&household, now);
        }
        self.limits.release(listener);
        self.handover.leave();
    }
}
