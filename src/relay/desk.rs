//! What TLS needs of a worker: room to work in, and a share of each turn.
//!
//! A handshake step costs as much as relaying many messages, and what a turn sends goes out when the turn is over. So a turn has few
//! of them, by how much else it has to do: who comes later waits in line, and the messages of established connections pass
//! between two turns' steps.

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

/// Handshake steps in a turn that has little else to do. One costs some 50 µs with an ECDSA key, ten times that with RSA. Fewer at a time mean more
/// turns, which costs a handshake nothing that could be measured: 158 µs of CPU with four, 157 with two, 165 with one (`tls-full` of
/// `cargo bench --bench peers`, medians of three).
const STEPS_MIN: u32 = 2;

/// A turn with more to do has a step for so many completions, some 3 µs each: about a fifth of its time at most. With a fixed number, a
/// thousand busy connections, whose turns are long and few, would keep newcomers out.
const COMPLETIONS_PER_STEP: usize = 64;

impl Default for Desk {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            sealed: Vec::new(),
            steps: STEPS_MIN,
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

    /// Begins the work of a turn that has so many completions.
    pub fn begin(&mut self, completions: usize) {
        let share = u32::try_from(completions / COMPLETIONS_PER_STEP).unwrap_or(u32::MAX);
        self.steps = share.max(STEPS_MIN);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key {
            slot,
            generation: 0,
        }
    }

    /// How many of a hundred handshakes make a step in a turn with so many completions.
    fn steps(completions: usize) -> usize {
        let mut desk = Desk::default();
        desk.begin(completions);
        (0..100).filter(|slot| desk.take_step(key(*slot))).count()
    }

    #[test]
    fn handshakes_get_two_steps_in_a_quiet_turn_and_their_share_of_a_busy_one() {
        assert_eq!([0, 1, 128, 191].map(steps), [2; 4]);
        assert_eq!([192, 1_000].map(steps), [3, 15]);
    }

    #[test]
    fn who_waits_goes_before_who_comes() {
        let mut desk = Desk::default();
        desk.begin(0);
        let made = [1, 2, 3, 4, 5].map(|slot| desk.take_step(key(slot)));
        assert_eq!(made, [true, true, false, false, false]);
        assert_eq!(desk.next_waiting(), None);
        desk.begin(0);
        assert_eq!(desk.next_waiting(), Some(key(3)));
        assert!(desk.take_step(key(3)));
        assert_eq!(desk.next_waiting(), Some(key(4)));
        assert!(desk.take_step(key(4)));
        assert_eq!(desk.next_waiting(), None);
        assert!(desk.is_awaited());
    }
}
