//! The world outside of the program: clients, backends, the network between, descriptors, and the clock.

use super::actor::{Actor, Appetite, Script, Step};
use super::agenda::{Agenda, Happening};
use super::chance::Chance;
use super::faults::Faults;
use super::opening::Opening;
use super::tcp::{Fin, Side, Tcp};
use super::trace::Trace;
use super::tunnel::{Manners, Secret, Tunnel};
use crate::ring::{Completion, Errno, Event, Lane, Sock, SockRef, Tag, Time};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What the checkers hold the program to, beyond what always holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demands {
    /// Bytes that the program may hold of one direction: received, not yet sent on.
    pub held_max: u64,
    /// Connections whose two ends behave must deliver everything, both ways, with both FINs, and a reset must arrive
    /// as a reset. (What is told to those who get no backend must always be whole.) Off where the program has reasons of its own to end a connection (timeouts, a drain).
    pub whole: bool,
    /// Turns after which the world should have come to its end.
    pub turns_max: u64,
}

impl Default for Demands {
    fn default() -> Self {
        Self {
            held_max: 256 * 1024,
            whole: true,
            turns_max: 1_000_000,
        }
    }
}

/// What a dialing connection will be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Pending(Result<(), Errno>),
    Given(Result<(), Errno>),
}

/// Where a connection stands, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// A client that will come to this listener.
    Planned { listener: usize },
    /// In the program's accept queue.
    Queued,
    /// The program dials it.
    Dialing(Verdict),
    /// The program has its descriptor.
    Held,
    /// The program closed it, or never got it.
    Gone,
}

/// A connection between an actor and the program.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) tcp: Tcp,
    pub(super) actor: Actor,
    /// Its actor's TLS, if it speaks that.
    pub(super) tunnel: Option<Box<Tunnel>>,
    pub(super) stage: Stage,
    /// The actor's address.
    pub(super) address: SocketAddr,
    /// The actor means to end it in order.
    pub(super) orderly: bool,
    /// The actor reads whatever comes.
    pub(super) eager: bool,
    /// The other side of the program, as its tags tell.
    pub(super) partner: Option<usize>,
    /// What the actor says first.
    pub(super) opening: Opening,
    /// Where the actor connected to, if it is a client.
    pub(super) local: SocketAddr,
    /// What the program told it without a backend, if it began to.
    pub(super) told: Option<Vec<u8>>,
    /// When the program sent FIN after that, or closed.
    pub(super) let_go: Option<Time>,
    /// When the program closed it.
    pub(super) closed: Option<Time>,
    heard: Time,
}

/// How one end of a connection went, as its actor knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fate {
    /// The actor meant to end in order, and never reset.
    pub orderly: bool,
    /// It sent FIN only after it had read the other side's.
    pub answered: bool,
    /// Bytes that the program received from it.
    pub given: u64,
    /// Bytes that it read.
    pub got: u64,
    /// Where it is, seen from the program.
    pub address: SocketAddr,
    /// When the program last heard of bytes moving here, before it sent FIN or the connection was reset.
    pub heard: Time,
}

/// One connect(2) of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dialed {
    /// To whom.
    pub peer: SocketAddr,
    /// Which ring's, from 0 in the order in which they were made.
    pub ring: usize,
    /// The op's.
    pub tag: Tag,
    /// How many connections to that peer the program had then, this one included: dialed, or open.
    pub open: usize,
    /// When the program learned that it failed, and why.
    pub failed: Option<(Time, Errno)>,
}

impl Conn {
    fn fate(&self) -> Fate {
        Fate {
            orderly: self.orderly,
            answered: self.actor.has_answered(),
            given: self.given(),
            got: self.got(),
            address: self.address,
            heard: self.heard,
        }
    }

    /// Nothing more will happen to it.
    pub(super) fn is_over(&self) -> bool {
        self.actor.has_ended() && self.stage == Stage::Gone
    }
}

/// What a descriptor's number stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fd {
    Listener(usize),
    Conn(usize),
    /// A descriptor that does nothing but become readable (the program's mailbox).
    Bell {
        rung: u64,
    },
}

#[derive(Debug)]
pub(super) struct Listener {
    /// What clients connect to.
    pub(super) address: SocketAddr,
    pub(super) queue: VecDeque<usize>,
    pub(super) open: bool,
    pub(super) shut: bool,
}

/// Everything that one seed decides. Shared by the ring that the program turns and the test that looks on.
#[derive(Debug)]
pub struct World {
    seed: u64,
    pub(super) demands: Demands,
    pub(super) faults: Faults,
    pub(super) chance: Chance,
    pub(super) agenda: Agenda,
    pub(super) trace: Trace,
    pub(super) conns: Vec<Conn>,
    pub(super) listeners: Vec<Listener>,
    pub(super) backends: HashMap<SocketAddr, Option<Script>>,
    secrets: HashMap<SocketAddr, (Secret, Manners)>,
    dials: Vec<Dialed>,
    /// By number; the lowest free one is given out, as kernels do, so that numbers come again soon.
    fds: Vec<Option<Fd>>,
    /// By ring, slot and generation.
    owners: HashMap<(usize, u32, u32), [Option<usize>; 2]>,
    rings: usize,
    /// Since when the program may cut its replies short.
    pub(super) haste: Option<Time>,
    /// The narrowest window, as a power of two.
    narrowest: u64,
}

/// The first number that a world gives out; 0 to 2 are taken in any process.
const FIRST_FD: usize = 3;

impl World {
    /// An empty world with these faults.
    pub fn new(seed: u64, faults: Faults, demands: Demands) -> Self {
        Self {
            seed,
            demands,
            faults,
            chance: Chance::new(seed),
            agenda: Agenda::default(),
            trace: Trace::new(),
            conns: Vec::new(),
            listeners: Vec::new(),
            backends: HashMap::new(),
            secrets: HashMap::new(),
            dials: Vec::new(),
            fds: Vec::new(),
            owners: HashMap::new(),
            rings: 0,
            haste: None,
            narrowest: 9,
        }
    }

    /// An empty world whose faults come from the seed too.
    pub fn drawn(seed: u64, demands: Demands) -> Self {
        let faults = Faults::draw(&mut Chance::new(seed ^ 0x0fa0_17f0_0fa0_17f0));
        Self::new(seed, faults, demands)
    }

    /// One ring more looks at this world; its number.
    pub(super) fn join(&mut self) -> usize {
        self.rings += 1;
        self.rings - 1
    }

    /// Whether several rings look at this world: the time is then not one's own to spend.
    pub(super) fn is_shared(&self) -> bool {
        self.rings > 1
    }

    /// Chance for what the test decides about this world.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// From now on the network holds 64 KiB of each direction, or more: enough to be bulk.
    pub fn widen(&mut self) {
        self.narrowest = 16;
    }

    /// What goes wrong here.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The virtual clock.
    pub fn now(&self) -> Time {
        self.agenda.now()
    }

    /// One number for everything that happened so far.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// A listening socket of the program's; clients name it by its turn, from 0.
    pub fn listen(&mut self) -> Sock {
        self.listen_at(SocketAddr::from(([198, 51, 100, 1], 80)))
    }

    /// A listening socket of the program's at this address.
    pub fn listen_at(&mut self, address: SocketAddr) -> Sock {
        let listener = self.listeners.len();
        self.listeners.push(Listener {
            address,
            queue: VecDeque::new(),
            open: true,
            shut: false,
        });
        Sock::simulated(self.open_fd(Fd::Listener(listener)))
    }

    /// A descriptor that becomes readable with [`ring_bell`](Self::ring_bell), as an eventfd does. It stays open.
    pub fn bell(&mut self) -> SockRef {
        SockRef::simulated(self.open_fd(Fd::Bell { rung: 0 }))
    }

    /// Makes a bell readable.
    ///
    /// # Panics
    /// When the number is no bell's.
    pub fn ring_bell(&mut self, bell: SockRef) {
        match self.fd_mut(bell.number()) {
            Some(Fd::Bell { rung }) => *rung += 1,
            Some(Fd::Listener(_) | Fd::Conn(_)) | None => panic!("{bell:?} is not a bell"),
        }
    }

    /// From now on the program may end connections for reasons of its own, and throw away what it receives; what is
    /// over must be whole. From `haste` on it may cut short even what it tells those that it refuses.
    ///
    /// # Panics
    /// When a connection that is over is not, with the line that replays the world.
    pub fn excuse(&mut self, haste: Time) {
        self.check_deliveries();
        self.haste = Some(self.haste.map_or(haste, |known| known.min(haste)));
        self.demands.whole = false;
        self.let_discard();
    }

    /// From now on the program may throw away what it receives: it ends connections for reasons of its own, and reads on so
    /// that nobody is reset for what was not read.
    pub fn let_discard(&mut self) {
        self.demands.held_max = u64::MAX;
    }

    /// Lets everything else happen once the program has ended.
    pub fn settle(&mut self) {
        while let Some(next) = self.agenda.next() {
            self.agenda.jump(next);
            self.run_due();
        }
    }

    /// How the connection of a client went, and its backend's, when it got one.
    pub fn fate(&self, client: SocketAddr) -> Option<(Fate, Option<Fate>)> {
        let it = self.conns.iter().find(|conn| conn.address == client)?;
        let backend = it.partner.map(|partner| self.conns[partner].fate());
        Some((it.fate(), backend))
    }

    /// A backend where each connection draws a script of its own.
    pub fn backend(&mut self, address: SocketAddr) {
        self.backends.insert(address, None);
    }

    /// A backend where each connection plays this script.
    pub fn backend_playing(&mut self, address: SocketAddr, script: Script) {
        self.backends.insert(address, Some(script));
    }

    /// From now on the backend at this address speaks TLS.
    pub fn secure(&mut self, address: SocketAddr, secret: Secret, manners: Manners) {
        self.secrets.insert(address, (secret, manners));
    }

    /// Nobody listens there any more: dials are refused, and connections that are open go on.
    pub fn no_backend(&mut self, address: SocketAddr) {
        self.backends.remove(&address);
    }

    /// Every dial of the program so far, in order.
    pub fn dials(&self) -> &[Dialed] {
        &self.dials
    }

    /// Whom a dial was for, as far as is known: by an op on the client's own socket, before or after.
    pub fn dialed_for(&self, dial: &Dialed) -> Option<SocketAddr> {
        let client = self.client_of(dial.ring, dial.tag)?;
        Some(self.conns[client].address)
    }

    /// A client that comes to the listener after `pause`, with a drawn script.
    pub fn client(&mut self, listener: usize, pause: Duration) {
        let script = Script::draw_client(&mut self.chance, &self.faults);
        self.client_playing(listener, pause, script);
    }

    /// A client that comes to the listener after `pause` and plays this script.
    pub fn client_playing(&mut self, listener: usize, pause: Duration, script: Script) {
        let number = u32::try_from(self.conns.len()).expect("fewer than 2^24 connections");
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
        let address = SocketAddr::new(IpAddr::V4(ip), 40_000);
        self.client_saying(listener, pause, address, script, Opening::default());
    }

    /// A client that comes to the listener after `pause`, from an address that no other has, and says something first:
    /// the first bytes that its script sends.
    pub fn client_saying(
        &mut self,
        listener: usize,
        pause: Duration,
        address: SocketAddr,
        script: Script,
        opening: Opening,
    ) {
        let conn = self.add_conn(script, address, Stage::Planned { listener }, opening);
        self.conns[conn].local = self.listeners[listener].address;
        self.agenda.after(pause, Happening::Act { conn });
    }

    /// A client that comes to the listener after `pause` and plays this script in TLS.
    pub fn client_in_tls(
        &mut self,
        listener: usize,
        pause: Duration,
        script: Script,
        secret: &Secret,
        manners: Manners,
    ) -> SocketAddr {
        let conn = self.conns.len();
        self.client_playing(listener, pause, script);
        self.veil(conn, secret, manners);
        self.conns[conn].address
    }

    /// The actor of this connection, which has not begun, speaks TLS.
    fn veil(&mut self, conn: usize, secret: &Secret, manners: Manners) {
        let chance = Chance::new(self.chance.below(u64::MAX));
        let tunnel = Tunnel::new(secret, manners, chance);
        let it = &mut self.conns[conn];
        it.orderly &= tunnel.is_sound();
        it.tunnel = Some(Box::new(tunnel));
    }

    /// Whether every actor has ended.
    pub fn is_over(&self) -> bool {
        self.conns.iter().all(|conn| conn.actor.has_ended())
    }

    /// Numbers of the descriptors that the program has open, listeners and bells included.
    pub fn open_fds(&self) -> usize {
        self.fds.iter().flatten().count()
    }

    /// Ends the test, telling how to see this again.
    pub(super) fn fail(&self, what: fmt::Arguments<'_>) -> ! {
        panic!(
            "{what}, at {}\n{}",
            self.agenda.now(),
            replay_line(self.seed)
        );
    }

    pub(super) fn add_conn(
        &mut self,
        script: Script,
        address: SocketAddr,
        stage: Stage,
        opening: Opening,
    ) -> usize {
        let conn = self.conns.len();
        let chance = &mut self.chance;
        let latency = chance.pause(Duration::from_millis(40));
        let mut window = || 1 << chance.within(self.narrowest, 18);
        let tcp = Tcp::new(conn, latency, window(), window());
        let (orderly, eager) = (script.is_orderly(), script.is_eager());
        self.conns.push(Conn {
            tcp,
            actor: Actor::new(script),
            tunnel: None,
            stage,
            address,
            orderly,
            eager,
            partner: None,
            opening,
            local: address,
            told: None,
            let_go: None,
            closed: None,
            heard: Time::default(),
        });
        if let Some((secret, manners)) = self.secrets.get(&address).cloned() {
            self.veil(conn, &secret, manners);
        }
        conn
    }

    pub(super) fn open_fd(&mut self, fd: Fd) -> i32 {
        let free = self
            .fds
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.fds.push(None);
                self.fds.len() - 1
            });
        self.fds[free] = Some(fd);
        i32::try_from(free + FIRST_FD).expect("few descriptors")
    }

    fn fd_index(number: i32) -> Option<usize> {
        usize::try_from(number).ok()?.checked_sub(FIRST_FD)
    }

    fn fd_mut(&mut self, number: i32) -> Option<&mut Fd> {
        self.fds.get_mut(Self::fd_index(number)?)?.as_mut()
    }

    /// What an open descriptor is.
    pub(super) fn fd(&self, number: i32) -> Option<Fd> {
        *self.fds.get(Self::fd_index(number)?)?
    }

    /// The connection that the program has under this number.
    pub(super) fn held(&self, number: i32) -> Option<usize> {
        match self.fd(number)? {
            Fd::Conn(conn) => (self.conns[conn].stage == Stage::Held).then_some(conn),
            Fd::Listener(_) | Fd::Bell { .. } => None,
        }
    }

    pub(super) fn close_fd(&mut self, number: i32) {
        if let Some(index) = Self::fd_index(number) {
            self.fds[index] = None;
        }
    }

    /// Bytes that the program's end sent and the other end's kernel has not got.
    pub(super) fn unarrived(&self, conn: usize) -> u64 {
        let pipe = self.conns[conn].tcp.outgoing(Side::Program);
        pipe.written - pipe.arrived
    }

    /// shutdown(2) of the program's end.
    pub(super) fn shutdown(&mut self, conn: usize, both: bool) {
        self.on_fin(conn);
        self.conns[conn]
            .tcp
            .shutdown(Side::Program, both, &mut self.agenda);
    }

    /// A connection that the program never asked for: its peer resets it at once.
    pub(super) fn ghost(&mut self, address: SocketAddr) -> Sock {
        let script = Script {
            steps: vec![Step::Reset],
            appetite: Appetite::Eager,
        };
        let conn = self.add_conn(script, address, Stage::Held, Opening::default());
        self.conns[conn].actor.start(conn, &mut self.agenda);
        Sock::simulated(self.open_fd(Fd::Conn(conn)))
    }

    /// Connections whose actors have not ended.
    pub(super) fn waiting(&self) -> Vec<usize> {
        (0..self.conns.len())
            .filter(|conn| !self.conns[*conn].actor.has_ended())
            .collect()
    }

    /// Bytes left this end's receive buffer or entered its send buffer: the actor may have something to do.
    pub(super) fn nudge(&mut self, conn: usize) {
        if !self.conns[conn].actor.has_ended() {
            self.agenda.after(Duration::ZERO, Happening::Act { conn });
        }
    }

    /// The program dials.
    pub(super) fn on_dial(&mut self, ring: usize, tag: Tag, peer: SocketAddr) {
        let is_open =
            |it: &&Conn| it.address == peer && matches!(it.stage, Stage::Dialing(_) | Stage::Held);
        let open = self.conns.iter().filter(is_open).count() + 1;
        self.dials.push(Dialed {
            peer,
            ring,
            tag,
            open,
            failed: None,
        });
    }

    /// The program is told by one of its rings that a dial failed.
    fn on_dial_failed(&mut self, ring: usize, tag: Tag, errno: Errno) {
        let now = self.now();
        let mut dials = self.dials.iter_mut().rev();
        if let Some(dial) = dials.find(|it| it.ring == ring && it.tag == tag) {
            dial.failed = Some((now, errno));
        }
    }

    /// The program is told by one of its rings that bytes moved, or that a dial failed.
    pub(super) fn hear(&mut self, ring: usize, completion: &Completion) {
        if let Event::Dialed {
            result: Err(errno), ..
        } = completion.event
        {
            self.on_dial_failed(ring, completion.tag, errno);
        }
        let moved = match &completion.event {
            Event::Received {
                result: Ok(lease), ..
            } => !lease.is_empty(),
            Event::Sent { result, .. } => result.is_ok(),
            Event::Spliced { taken, given, .. } => taken + given > 0,
            Event::Received { result: Err(_), .. }
            | Event::Accepted { .. }
            | Event::Unsent { .. }
            | Event::Dialed { .. }
            | Event::Polled { .. } => false,
        };
        let now = self.now();
        let Tag {
            lane,
            slot,
            generation,
        } = completion.tag;
        let Some(conn) = self
            .owners
            .get(&(ring, slot, generation))
            .and_then(|ends| ends[end_of(lane)])
        else {
            return;
        };
        let it = &mut self.conns[conn];
        let open = it.tcp.outgoing(Side::Program).fin == Fin::Unsent;
        if moved && open && !it.tcp.is_dead(Side::Program) {
            it.heard = now;
        }
    }

    /// The program sends something to this connection.
    pub(super) fn on_send(&mut self, conn: usize) {
        if self.is_alone(conn) && !self.conns[conn].opening.replies.is_empty() {
            self.conns[conn].told.get_or_insert_default();
        }
    }

    /// The program is about to send FIN to this connection, or to close it.
    pub(super) fn on_fin(&mut self, conn: usize) {
        let now = self.now();
        let it = &mut self.conns[conn];
        if it.told.is_some() {
            it.let_go.get_or_insert(now);
        }
    }

    /// Which client of the program the op with this tag is for, as far as is known.
    pub(super) fn client_of(&self, ring: usize, tag: Tag) -> Option<usize> {
        self.owners.get(&(ring, tag.slot, tag.generation))?[end_of(Lane::A)]
    }

    /// Whether nobody has heard of it: it has no backend, or one that was reset before a byte moved, or with one of the
    /// two TLS was never agreed on.
    pub(super) fn is_alone(&self, conn: usize) -> bool {
        self.conns[conn].partner.is_none_or(|partner| {
            let partner = &self.conns[partner];
            if !partner.is_agreed() || !self.conns[conn].is_agreed() {
                return true;
            }
            let sent = partner.tcp.outgoing(Side::Program);
            let moved = sent.written + partner.tcp.incoming(Side::Program).read;
            partner.stage == Stage::Gone && moved == 0 && sent.fin == Fin::Unsent
        })
    }

    /// Learns from the tag of an op of this ring which connection of the program this is the end of.
    pub(super) fn name(&mut self, ring: usize, tag: Tag, conn: usize) {
        let lane = end_of(tag.lane);
        let ends = self
            .owners
            .entry((ring, tag.slot, tag.generation))
            .or_default();
        match ends[lane] {
            Some(known) if known == conn => return,
            Some(other) if lane == 0 => {
                self.fail(format_args!(
                    "slot {} generation {} owns connection {conn} and owned {other} before: a generation came twice",
                    tag.slot, tag.generation
                ));
            }
            Some(_) | None => ends[lane] = Some(conn),
        }
        if let [Some(a), Some(b)] = *ends {
            self.conns[a].partner = Some(b);
            self.conns[b].partner = Some(a);
            self.check_wanted(a);
        }
    }
}

fn end_of(lane: Lane) -> usize {
    match lane {
        Lane::A => 0,
        Lane::B => 1,
    }
}

/// How to see a world again.
pub fn replay_line(seed: u64) -> String {
    format!("sim world {seed}; again: RINGWAY_SIM_SEED={seed} cargo test --test sim -- replay")
}
