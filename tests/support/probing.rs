//! A prober on a thread of its own, as in the program, and what it was told to tell.

use super::wait;
use ringway::control::probe::{Id, Prober, ProxyHeader, Settings, Target, Watch};
use ringway::upstream::health::{Change, State, Terms};
use ringway::wire::banner::Script;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Long enough for a machine that does other things besides, short enough to be waited for.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(400);

/// What a prober said: backend, change, and the last error.
pub(crate) type Told = (String, Change, Option<String>);

enum Order {
    Add(Target, std::sync::mpsc::Sender<(Id, Arc<Watch>)>),
    Remove(Id, std::sync::mpsc::Sender<()>),
}

/// A running prober. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Probing {
    orders: Option<UnboundedSender<Order>>,
    told: Arc<Mutex<Vec<Told>>>,
    thread: Option<JoinHandle<()>>,
}

/// A target of it.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    pub(crate) id: Id,
    pub(crate) watch: Arc<Watch>,
}

impl Probing {
    pub(crate) fn start() -> Self {
        let (orders, taken) = unbounded_channel();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let thread = std::thread::spawn(move || tokio_uring::start(probe(taken, telling)));
        Self {
            orders: Some(orders),
            told,
            thread: Some(thread),
        }
    }

    /// Adds a target.
    pub(crate) fn add(&self, target: Target) -> Probed {
        let (answer, answered) = std::sync::mpsc::channel();
        self.order(Order::Add(target, answer));
        let (id, watch) = answered.recv_timeout(wait::PATIENCE).unwrap();
        Probed { id, watch }
    }

    /// Removes a target.
    pub(crate) fn remove(&self, id: Id) {
        let (answer, answered) = std::sync::mpsc::channel();
        self.order(Order::Remove(id, answer));
        answered.recv_timeout(wait::PATIENCE).unwrap();
    }

    /// All it said so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().unwrap();
        assert!(orders.send(order).is_ok(), "the prober has ended");
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = self.thread.take().unwrap().join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the prober panicked"
        );
    }
}

async fn probe(mut orders: UnboundedReceiver<Order>, told: Arc<Mutex<Vec<Told>>>) {
    let on_change = move |target: &Target, change, view: &ringway::control::probe::ProbeView| {
        let error = view.error().map(ToString::to_string);
        told.lock()
            .unwrap()
            .push((target.backend.clone(), change, error));
    };
    let prober = Prober::new(7, Box::new(on_change));
    let obey = async {
        // A test that has ended listens no more.
        while let Some(order) = orders.recv().await {
            match order {
                Order::Add(target, answer) => {
                    let _ = answer.send(prober.add(target));
                }
                Order::Remove(id, answer) => {
                    prober.remove(id);
                    let _ = answer.send(());
                }
            }
        }
    };
    tokio::select! {
        never = prober.run() => match never {},
        () = obey => {}
    }
}

/// A target that is probed often: rise 2, fall 2, down at first.
pub(crate) fn target(script: Script, address: SocketAddr) -> Target {
    let two = NonZeroU32::new(2).unwrap();
    Target {
        upstream: "u".into(),
        backend: script.word().into(),
        address,
        settings: Arc::new(Settings {
            script,
            interval: Duration::from_millis(50),
            timeout: TIMEOUT,
            terms: Terms {
                rise: two,
                fall: two,
            },
            jitter: 0.1,
            proxy_header: ProxyHeader::Off,
            tls: None,
        }),
        initial: State::Down,
    }
}

/// The same with other settings.
pub(crate) fn with(mut target: Target, change: impl FnOnce(&mut Settings)) -> Target {
    change(Arc::make_mut(&mut target.settings));
    target
}

impl Probed {
    /// Waits until probes have brought it up.
    #[track_caller]
    pub(crate) fn await_up(&self) {
        wait::until_some("probes bring it up", || {
            let view = self.watch.view();
            (view.state == State::Up && view.error().is_none()).then_some(())
        });
    }

    /// Waits until probes have taken it down and the last one failed for this reason.
    #[track_caller]
    pub(crate) fn await_down(&self, reason: &str) {
        let mut seen = None;
        let deadline = wait::now() + wait::PATIENCE;
        loop {
            let view = self.watch.view();
            let error = view.error().map(ToString::to_string);
            if view.state == State::Down && error.as_deref() == Some(reason) {
                return;
            }
            seen = error.or(seen);
            assert!(
                wait::now() < deadline,
                "not down for \"{reason}\" but {seen:?}: {view:?}"
            );
            wait::tick();
        }
    }
}
