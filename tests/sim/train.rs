//! A train of messages: what one turn receives for one socket leaves in one send.

use ringway::config::{Backend, Config, Listener, Log, Process, Upstream};
use ringway::ring::{
    Buffers, Completion, Event, Lane, Lease, Op, Ops, Ring, Sock, SockRef, Tag, Time, Until,
};
use ringway::upstream::Snapshot;
use ringway::worker::{Board, Ear, Handover, Journal, Limits, Mailbox, Setup, Stats, Worker};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// A ring that notes every op and answers what it is told to.
struct Scripted {
    buffers: Buffers,
    script: Rc<RefCell<Script>>,
}

#[derive(Default)]
struct Script {
    asked: Vec<Op>,
    /// What the next turn brings: events, and bytes received.
    coming: Vec<Completion>,
    bytes: Vec<(Tag, Vec<u8>)>,
}

impl Ring for Scripted {
    fn now(&self) -> Time {
        Time::default()
    }

    fn turn(&mut self, ops: &mut Ops, _: Until, done: &mut Vec<Completion>) -> io::Result<()> {
        let mut script = self.script.borrow_mut();
        script.asked.extend(ops.drain());
        done.append(&mut script.coming);
        for (tag, bytes) in script.bytes.drain(..) {
            let lease = self.buffers.write(&bytes).expect("buffers enough");
            let event = Event::Received {
                result: Ok(lease),
                more: true,
                nonempty: true,
            };
            done.push(Completion { tag, event });
        }
        Ok(())
    }

    fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    fn overflows(&self) -> u64 {
        0
    }
}

/// A worker that relays one connection.
struct Relay {
    worker: Worker<Scripted>,
    script: Rc<RefCell<Script>>,
    tag: Tag,
}

impl Relay {
    fn new() -> Self {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        let config = Config {
            process: Process::default(),
            log: Log::default(),
            admin: None,
            listeners: vec![Listener::new("l".into(), Vec::new(), 0)],
            upstreams: vec![Upstream::new("u".into(), vec![Backend::new(address)])],
        };
        let (post, mailbox) = Mailbox::simulated(SockRef::simulated(4));
        let setup = Setup {
            worker: 0,
            limits: Arc::new(Limits::new(0)),
            snapshot: Snapshot::new(Arc::new(config)),
            listeners: vec![Ear {
                door: 0,
                listener: 0,
                sock: Sock::simulated(3),
            }],
            connections_max: 8,
            mailbox,
            handover: Handover::new(0, Arc::new(Board::new(1)), vec![post]),
            stats: Arc::new(Stats::default()),
            journal: Journal::into(std::sync::mpsc::sync_channel(1).0),
        };
        let script = Rc::<RefCell<Script>>::default();
        let ring = Scripted {
            buffers: Buffers::new(64, 256),
            script: Rc::clone(&script),
        };
        let mut worker = Worker::new(ring, setup);
        worker.turn().expect("a scripted ring never fails");
        let mut relay = Self {
            worker,
            script,
            tag: Tag {
                lane: Lane::A,
                slot: 0,
                generation: 0,
            },
        };
        relay.connect(address);
        relay
    }

    /// A client comes, and its backend answers.
    fn connect(&mut self, address: SocketAddr) {
        let accept = |op: &Op| matches!(op, Op::Accept { .. }).then(|| tag_of(op));
        let tag = self.asked().iter().find_map(accept).flatten();
        let result = Ok((Sock::simulated(5), address));
        let more = true;
        self.bring(tag, Event::Accepted { result, more });
        let dial = |op: &Op| matches!(op, Op::Dial { .. }).then(|| tag_of(op));
        let tag = self.asked().iter().find_map(dial).flatten();
        let result = Ok(Sock::simulated(6));
        self.bring(
            tag,
            Event::Dialed {
                result,
                local: None,
            },
        );
        self.tag = tag.expect("it dialed");
    }

    fn bring(&mut self, tag: Option<Tag>, event: Event) {
        let tag = tag.expect("it asked");
        self.script
            .borrow_mut()
            .coming
            .push(Completion { tag, event });
        self.turn();
    }

    /// One turn for what comes, one for what is asked in answer.
    fn turn(&mut self) {
        for _ in 0..2 {
            self.worker.turn().expect("a scripted ring never fails");
        }
    }

    fn asked(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.script.borrow_mut().asked)
    }

    /// The client's bytes, in so many receives of one turn; the sends that follow.
    fn receive(&mut self, pieces: &[&[u8]]) -> Vec<Lease> {
        let tag = Tag {
            lane: Lane::A,
            ..self.tag
        };
        let bytes = pieces.iter().map(|piece| (tag, piece.to_vec()));
        self.script.borrow_mut().bytes.extend(bytes);
        self.turn();
        self.sends()
    }

    fn sends(&mut self) -> Vec<Lease> {
        let send = |op| match op {
            Op::Send { lease, tag, .. } if tag == self.tag => Some(lease),
            _ => None,
        };
        let asked = std::mem::take(&mut self.script.borrow_mut().asked);
        asked.into_iter().filter_map(send).collect()
    }

    /// The send went out.
    fn sent(&mut self, bytes: u32) -> Vec<Lease> {
        let event = Event::Sent {
            result: Ok(bytes),
            rest: Lease::EMPTY,
        };
        self.bring(Some(self.tag), event);
        self.sends()
    }
}

fn tag_of(op: &Op) -> Option<Tag> {
    match op {
        Op::Accept { tag, .. } | Op::Dial { tag, .. } => Some(*tag),
        _ => None,
    }
}

#[test]
fn what_one_turn_receives_leaves_in_one_send_and_what_comes_meanwhile_in_the_next() {
    let mut relay = Relay::new();
    let train: [&[u8]; 5] = [b"five ", b"messages ", b"of ", b"one ", b"turn"];
    let first = relay.receive(&train);
    assert_eq!(first.iter().map(Lease::len).collect::<Vec<_>>(), [25]);
    // While that one is under way nothing overtakes it.
    for _ in 0..3 {
        assert!(relay.receive(&train).is_empty());
    }
    let second = relay.sent(25);
    assert_eq!(second.iter().map(Lease::len).collect::<Vec<_>>(), [75]);
    // Their buffers, and the worker's sockets, are numbers here, and nobody's to give back.
    std::mem::forget((first, second, relay.worker));
}
