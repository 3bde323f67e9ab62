//! What probes say of a backend, counted as HAProxy counts: one integer between 0 and `rise + fall - 1`, and up is from
//! `rise` on. A pass that reaches `rise` goes to the top, a failure that falls below it goes to the bottom. So one good
//! probe makes up for all failures of a backend that was not down yet, and one bad probe undoes all passes of one that
//! was not up yet. Knows no clock and no socket: [`control`](crate::control) asks after each probe.

use std::fmt;
use std::num::NonZeroU32;

/// What a backend is to those who choose one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Takes connections.
    Up,
    /// Takes none, as long as another one does.
    Down,
}

impl State {
    /// The word for logs and status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How many probes in a row change a backend's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Passes that bring it up.
    pub rise: NonZeroU32,
    /// Failures that take it down.
    pub fall: NonZeroU32,
}

impl Terms {
    /// The highest level. In 64 bits, because two 32-bit numbers are added.
    fn top(self) -> u64 {
        u64::from(self.rise.get()) + u64::from(self.fall.get()) - 1
    }
}

/// Probes in a row that said the same. Counts on where nothing depends on it any more, so that a status page can say
/// "39 in a row".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Streak {
    /// There was no probe yet.
    #[default]
    None,
    /// So many passed.
    Passed(u64),
    /// So many failed.
    Failed(u64),
}

impl Streak {
    /// How many, whichever.
    pub const fn len(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Passed(count) | Self::Failed(count) => count,
        }
    }

    /// Whether there was no probe yet.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    fn then(self, passed: bool) -> Self {
        match (self, passed) {
            (Self::Passed(count), true) => Self::Passed(count + 1),
            (Self::Failed(count), false) => Self::Failed(count + 1),
            (Self::None | Self::Failed(_), true) => Self::Passed(1),
            (Self::None | Self::Passed(_), false) => Self::Failed(1),
        }
    }
}

/// A backend went up or down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// What it was.
    pub from: State,
    /// What it is now.
    pub to: State,
}

/// The health of one backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    terms: Terms,
    /// At most [`Terms::top`]; up is `rise` and above.
    level: u64,
    streak: Streak,
}

impl Health {
    /// Before the first probe: as if `initial` had been settled by probes.
    pub fn new(terms: Terms, initial: State) -> Self {
        let level = match initial {
            State::Up => terms.top(),
            State::Down => 0,
        };
        Self {
            terms,
            level,
            streak: Streak::None,
        }
    }

    /// Counts a probe. Says so when that changes the state.
    pub fn on_probe(&mut self, passed: bool) -> Option<Change> {
        let from = self.state();
        self.streak = self.streak.then(passed);
        self.level = if passed {
            self.raised()
        } else {
            self.lowered()
        };
        let to = self.state();
        (from != to).then_some(Change { from, to })
    }

    /// Up or down.
    pub fn state(&self) -> State {
        if self.level >= self.rise() {
            State::Up
        } else {
            State::Down
        }
    }

    /// Whether the state may be about to change: the last probe spoke against it, but not yet often enough. Then the
    /// next one should come sooner.
    pub fn in_transition(&self) -> bool {
        self.level != 0 && self.level != self.terms.top()
    }

    /// Probes in a row that said the same, the last one included.
    pub fn streak(&self) -> Streak {
        self.streak
    }

    fn rise(&self) -> u64 {
        u64::from(self.terms.rise.get())
    }

    fn raised(&self) -> u64 {
        if self.level + 1 >= self.rise() {
            self.terms.top()
        } else {
            self.level + 1
        }
    }

    fn lowered(&self) -> u64 {
        if self.level > self.rise() {
            self.level - 1
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests;
