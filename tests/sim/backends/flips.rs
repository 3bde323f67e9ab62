//! What becomes of a world's backends, and when: probes that fail and pass, an operator who changes his mind, nobody who
//! listens for a while, and all of it at once.

use ringway::config::AdminState;
use ringway::sim::Chance;
use std::ops::Range;
use std::time::Duration;

/// Clients come in the first five seconds, and some stay a little longer.
const SPAN: Duration = Duration::from_secs(7);

/// What changes, of a backend by its number in the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flip {
    /// The operator wants something else of it.
    Admin(usize, AdminState),
    /// Probes say that it is down, or that it is not.
    Down(usize, bool),
    /// It listens, or refuses connections.
    Listens(usize, bool),
}

/// When, from the beginning.
pub(crate) type Planned = (Duration, Flip);

/// Everything that happens in a world whose upstreams have these backends, in order.
pub(crate) fn draw(upstreams: &[Range<usize>], chance: &mut Chance) -> Vec<Planned> {
    let mut all = Vec::new();
    for upstream in upstreams {
        for backend in upstream.clone() {
            all.extend(draw_one(backend, chance));
        }
        if chance.below(3) == 0 {
            all.extend(draw_blackout(upstream, chance));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

fn draw_one(backend: usize, chance: &mut Chance) -> Vec<Planned> {
    match chance.below(6) {
        0 => flapping(chance, |is_off| Flip::Down(backend, is_off)),
        1 => flapping(chance, |is_off| Flip::Listens(backend, !is_off)),
        2 => {
            let all = [AdminState::Ready, AdminState::Drain, AdminState::Maint];
            let times: Vec<_> = (0..chance.within(1, 8)).map(|_| moment(chance)).collect();
            let mut change = |at| (at, Flip::Admin(backend, chance.pick(&all)));
            times.into_iter().map(&mut change).collect()
        }
        3 => draw_crash(backend, chance).into(),
        _ => Vec::new(),
    }
}

/// Off and on by turns.
fn flapping(chance: &mut Chance, flip: impl Fn(bool) -> Flip) -> Vec<Planned> {
    let mut at = moment(chance);
    let period = Duration::from_millis(20) + chance.pause(Duration::from_secs(1));
    let times = 2 * chance.within(1, 8);
    (0..times)
        .map(|n| {
            at += Duration::from_millis(1) + chance.pause(period);
            (at, flip(n % 2 == 0))
        })
        .collect()
}

/// It stops to listen, and later comes back; probes find out after a while each time.
fn draw_crash(backend: usize, chance: &mut Chance) -> [Planned; 4] {
    let mut at = moment(chance);
    let all = [
        Flip::Listens(backend, false),
        Flip::Down(backend, true),
        Flip::Listens(backend, true),
        Flip::Down(backend, false),
    ];
    all.map(|flip| {
        at += chance.pause(Duration::from_secs(2));
        (at, flip)
    })
}

/// All go down at one moment, and come back one after the other.
fn draw_blackout(upstream: &Range<usize>, chance: &mut Chance) -> Vec<Planned> {
    let begins = moment(chance);
    let deaf = chance.below(2) == 0;
    let mut all = Vec::new();
    for backend in upstream.clone() {
        let ends = begins + chance.pause(Duration::from_secs(3));
        all.extend([(begins, true), (ends, false)].map(|(at, off)| (at, Flip::Down(backend, off))));
        if deaf {
            let listens = |(at, it)| (at, Flip::Listens(backend, it));
            all.extend([(begins, false), (ends, true)].map(listens));
        }
    }
    all
}

/// Early ones as likely as late ones, by order of magnitude; half of them anywhere.
fn moment(chance: &mut Chance) -> Duration {
    if chance.below(2) == 0 {
        return chance.pause(SPAN);
    }
    let nanos = u64::try_from(SPAN.as_nanos()).expect("seconds");
    Duration::from_nanos(chance.below(nanos))
}
