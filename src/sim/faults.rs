//! What kernels and peers do to a program, and how often: each world draws its own odds from its seed, so that some
//! worlds are calm, some do one thing wrong all the time, and some do everything wrong.

use super::chance::{Chance, Odds};

/// The odds of each fault. Every one of them is something that a real kernel may answer at that place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// A receive or send that moves fewer bytes than it could, down to one.
    pub short: Odds,
    /// ENOBUFS although buffers are free.
    pub no_buffers: Odds,
    /// No pipe for a splice, although the pool has some.
    pub no_pipe: Odds,
    /// A splice that stops early, as if its budget were used up or its source dry.
    pub early: Odds,
    /// A multishot that ends for no reason, as after an overflow of the completion queue.
    pub overflow: Odds,
    /// EMFILE, ENFILE or ECONNABORTED from an accept.
    pub accept: Odds,
    /// EMFILE or EADDRNOTAVAIL from a dial.
    pub dial: Odds,
    /// A backend that refuses the connection.
    pub refuse: Odds,
    /// A backend that never answers a connect.
    pub silence: Odds,
    /// A connect that takes seconds.
    pub slow_dial: Odds,
    /// A peer that resets, at any byte of either direction.
    pub reset: Odds,
    /// A peer that closes without reading what it was sent.
    pub abandon: Odds,
    /// A peer whose host is gone without a word.
    pub vanish: Odds,
    /// A peer that reads slowly, through a small window, or for a long while not at all.
    pub slow_reader: Odds,
    /// An op that the kernel begins late, although it could at once.
    pub late_start: Odds,
    /// A completion that is delivered a while after it happened.
    pub late_completion: Odds,
    /// A cancel that loses its race.
    pub cancel_loses: Odds,
    /// A completion for an earlier owner of a slot, with a buffer or a socket in it.
    pub stale: Odds,
    /// A turn that returns nothing, early.
    pub spurious: Odds,
}

impl Faults {
    /// A calm world: everything that could go well does.
    pub fn none() -> Self {
        Self::default()
    }

    /// What this world does wrong. One in eight is calm.
    pub fn draw(chance: &mut Chance) -> Self {
        let temper = chance.below(8);
        let mut odds = |most: u64| {
            let on = match temper {
                0 => false,
                1..=5 => chance.below(3) == 0,
                _ => true,
            };
            if !on {
                return Odds::NEVER;
            }
            // Rare faults find other bugs than constant ones: spread over orders of magnitude.
            let scale = most >> chance.below(5);
            Odds::of_1024(u16::try_from(1 + chance.below(scale.max(1))).expect("odds under 1,024"))
        };
        Self {
            short: odds(900),
            no_buffers: odds(300),
            no_pipe: odds(300),
            early: odds(600),
            overflow: odds(300),
            accept: odds(400),
            dial: odds(300),
            refuse: odds(400),
            silence: odds(200),
            slow_dial: odds(300),
            reset: odds(500),
            abandon: odds(400),
            vanish: odds(300),
            slow_reader: odds(500),
            late_start: odds(300),
            late_completion: odds(400),
            cancel_loses: odds(800),
            stale: odds(200),
            spurious: odds(300),
        }
    }

    /// Whether no fault can happen.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_are_calm_and_hostile_in_every_mix() {
        let drawn: Vec<_> = (0..200)
            .map(|seed| Faults::draw(&mut Chance::new(seed)))
            .collect();
        assert!(drawn.iter().any(Faults::is_none));
        assert!(
            drawn
                .iter()
                .any(|f| f.short == Odds::NEVER && f.reset != Odds::NEVER)
        );
        assert!(
            drawn
                .iter()
                .any(|f| f.stale != Odds::NEVER && f.silence != Odds::NEVER)
        );
    }
}
