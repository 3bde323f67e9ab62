//! What a client says before its stream is opaque, and what may become of it: the one place where bytes are stored, as a
//! program that peeks at them acts on what they say.

use super::pattern;

/// A client's first bytes. Any other client's are nothing, and go on as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opening {
    /// What it sends first; the pattern of its stream follows.
    pub says: Vec<u8>,
    /// How many of these are not passed on as they are.
    pub kept: usize,
    /// What the backend gets in their place, ahead of the rest. `None` is a byte that the program alone knows.
    pub announced: Vec<Option<u8>>,
    /// It must not get a backend.
    pub unwanted: bool,
    /// What it may be told without a backend: one of these, whole.
    pub replies: Vec<&'static [u8]>,
}

impl Opening {
    /// How much its backend is due, of so many bytes that it gave.
    pub(super) fn passed_on(&self, given: u64) -> u64 {
        match given.checked_sub(self.kept as u64) {
            Some(rest) => self.announced.len() as u64 + rest,
            None => 0,
        }
    }

    /// Fills `bytes` with what the client says from `position` on.
    pub(super) fn fill(&self, stream: u64, position: u64, bytes: &mut [u8]) {
        let says = rest_of(&self.says, position);
        let said = says.len().min(bytes.len());
        let (head, tail) = bytes.split_at_mut(said);
        head.copy_from_slice(&says[..said]);
        pattern::fill(stream, position + said as u64, tail);
    }

    /// The first of `bytes` that is not what the backend is due from `position` on.
    pub(super) fn mismatch(&self, stream: u64, position: u64, bytes: &[u8]) -> Option<usize> {
        let announced = rest_of(&self.announced, position);
        let told = announced.len().min(bytes.len());
        let is_other = |at: &usize| announced[*at].is_some_and(|byte| byte != bytes[*at]);
        if let Some(at) = (0..told).find(is_other) {
            return Some(at);
        }
        if told == bytes.len() {
            return None;
        }
        let given = position + told as u64 - self.announced.len() as u64 + self.kept as u64;
        let said = rest_of(&self.says, given);
        let (head, tail) = bytes[told..].split_at(said.len().min(bytes.len() - told));
        if let Some(at) = (0..head.len()).find(|at| head[*at] != said[*at]) {
            return Some(told + at);
        }
        let at = pattern::mismatch(stream, given + head.len() as u64, tail)?;
        Some(told + head.len() + at)
    }
}

fn rest_of<T>(items: &[T], position: u64) -> &[T] {
    let from = usize::try_from(position).unwrap_or(usize::MAX);
    &items[from.min(items.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening {
            says: b"PROXY\nhead".to_vec(),
            kept: 6,
            announced: vec![Some(b'<'), None, Some(b'>')],
            ..Opening::default()
        }
    }

    /// Forty bytes that its client says, and what its backend is due of them.
    fn passed() -> (Vec<u8>, Vec<u8>) {
        let mut given = vec![0; 40];
        opening().fill(7, 0, &mut given);
        let due = [b"<x>", &given[6..]].concat();
        (given, due)
    }

    #[test]
    fn any_piece_of_what_a_client_says_is_the_same_however_it_is_cut() {
        let (given, _) = passed();
        assert!(given.starts_with(b"PROXY\nhead"));
        for (from, to) in [(0, 4), (4, 40), (10, 20), (9, 11)] {
            let mut piece = vec![0; to - from];
            opening().fill(7, from as u64, &mut piece);
            assert_eq!(piece, given[from..to]);
        }
    }

    #[test]
    fn what_is_kept_is_replaced_and_the_rest_is_passed_on() {
        let (given, due) = passed();
        let opening = opening();
        assert_eq!(opening.passed_on(given.len() as u64), due.len() as u64);
        assert_eq!(opening.passed_on(5), 0, "not all that is kept has come");
        assert_eq!(opening.passed_on(6), 3);
        for (from, to) in [(0, 37), (0, 2), (1, 5), (3, 37), (8, 20)] {
            assert_eq!(opening.mismatch(7, from as u64, &due[from..to]), None);
        }
    }

    #[test]
    fn a_wrong_byte_is_found_wherever_it_is() {
        let (given, due) = passed();
        assert_eq!(opening().mismatch(7, 0, &given), Some(0), "nothing is kept");
        for at in [0, 2, 3, 6, 7, 30] {
            let mut wrong = due.clone();
            wrong[at] ^= 1;
            assert_eq!(opening().mismatch(7, 0, &wrong), Some(at));
        }
        let mut other = due;
        other[1] ^= 1;
        assert_eq!(opening().mismatch(7, 0, &other), None, "any byte will do");
    }
}
