//! Streams that are bulk and messages by turns: what moves an adaptive half from copying to splicing and back.

use crate::worker::{Haste, play};
use crate::{play_all, worlds};
use ringway::sim::{Appetite, Chance, Script, Step};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Few, as each sends a megabyte or so.
pub(crate) const CLIENTS_MAX: u64 = 3;

/// Longer than anything lasts here.
const PATIENCE: Duration = Duration::from_hours(1);

/// A client, or a backend. Some read slowly, and some do not end in order.
pub(crate) fn script(chance: &mut Chance) -> Script {
    let mut steps = Vec::new();
    for _ in 0..chance.within(1, 4) {
        steps.push(Step::Send(chance.within(300 << 10, 700 << 10)));
        for _ in 0..chance.within(1, 6) {
            let most = chance.pick(&[1, 10, 100]);
            steps.push(Step::Pause(chance.pause(Duration::from_millis(most))));
            steps.push(Step::Send(chance.within(1, 2000)));
        }
    }
    if chance.below(8) == 0 {
        steps.truncate(chance.index(steps.len()));
        let vanish = Step::Vanish(Duration::from_secs(1));
        steps.push(chance.pick(&[Step::Reset, Step::Close, vanish]));
    } else if chance.below(2) == 0 {
        steps.push(Step::AwaitEnd(chance.pause(Duration::from_secs(10))));
    }
    steps.extend([Step::Fin, Step::AwaitEnd(PATIENCE)]);
    let appetite = match chance.below(4) {
        0 => Appetite::Slow {
            most: chance.within(16 << 10, 256 << 10),
            every: chance.pause(Duration::from_millis(10)),
        },
        1 => Appetite::Late(chance.pause(Duration::from_secs(1))),
        _ => Appetite::Eager,
    };
    Script { steps, appetite }
}

#[test]
fn streams_that_sway_switch_thousands_of_times_and_keep_every_rule() {
    let [switches, up, down] = [(); 3].map(|()| AtomicU64::new(0));
    play_all(worlds(), |seed| {
        for stats in play(seed, Haste::Swaying, 1).stats {
            switches.fetch_add(stats.switches.get(), Ordering::Relaxed);
            up.fetch_add(stats.sum(|it| it.meter.up.spliced.get()), Ordering::Relaxed);
            down.fetch_add(
                stats.sum(|it| it.meter.down.spliced.get()),
                Ordering::Relaxed,
            );
        }
    });
    let [switches, up, down] = [switches, up, down].map(AtomicU64::into_inner);
    assert!(
        switches > 4 * worlds() && up > 0 && down > 0,
        "{switches} switches, {up} bytes spliced up, {down} down"
    );
}
