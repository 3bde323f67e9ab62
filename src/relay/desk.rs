//! What TLS needs of a worker: room to work in, and a share of each turn.
//!
//! A handshake step costs as much as relaying a hundred messages, so a turn has few of them: who comes later waits in
//! line, and the messages of established connections pass between two turns' steps.

use crate::base::Key;
use std::collections::VecDeque;

/// One worker's.
#[derive(Debug)]
pub struct Desk {
    /// What is being opened, or gathered to be sealed.
    pub(super) text: Vec<u8>,
    /// What has been sealed: as much of it as whoever sealed says. Longer than that, so that nobody has to clear it.
    pub(super) sealed: Vec<u8>,
    /// Handshake steps left in this turn.
    steps: u32,
    /// Handshakes that wait for a step, oldest first.
    waiting: VecDeque<Key>,
}

/// Handshake steps in one turn. A step with a signature costs 100 to 300 µs with the usual keys, so that a turn full of them stays
/// near the time that a thousand messages take.
const STEPS: u32 = 4;

impl Default for Desk {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            sealed: Vec::new(),
            steps: STEPS,
            waiting: VecDeque::new(),
        }
    }
}

impl Desk {
    /// Whether this handshake may make a step now. If not, it is called when it may.
    pub fn take_step(&mut self, key: Key) -> bool {
        if self.steps == 0 {
            self.waiting.push_back(key);
            return false;
        }
        self.steps -= 1;
        true
    }

    /// Begins a turn's work.
    pub fn begin(&mut self) {
        self.steps = STEPS;
    }

    /// Who may make a step now, if anybody waits and a step is left.
    pub fn next_waiting(&mut self) -> Option<Key> {
        if self.steps == 0 {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Whether a handshake waits for its step.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }
}
