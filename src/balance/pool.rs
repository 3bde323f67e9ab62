//! Backends of a test: a [`View`] whose every answer the test sets.

use super::View;

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) weights: Vec<u16>,
    pub(super) open: Vec<u64>,
    pub(super) down: Vec<bool>,
}

impl Pool {
    /// All up and idle.
    pub(super) fn new(weights: &[u16]) -> Self {
        Self {
            weights: weights.to_vec(),
            open: vec![0; weights.len()],
            down: vec![false; weights.len()],
        }
    }

    pub(super) fn equal(count: usize) -> Self {
        Self::new(&vec![1; count])
    }

    /// Takes down those that `is_down` names.
    pub(super) fn without(mut self, is_down: impl Fn(usize) -> bool) -> Self {
        self.down = (0..self.weights.len()).map(is_down).collect();
        self
    }

    /// A connection that stays.
    pub(super) fn connect(&mut self, at: u16) {
        self.open[usize::from(at)] += 1;
    }

    /// What the usable ones weigh together.
    pub(super) fn weight_up(&self) -> u64 {
        let up = self.weights.iter().zip(&self.down);
        up.filter(|(_, down)| !**down)
            .map(|(&weight, _)| u64::from(weight))
            .sum()
    }
}

impl View for Pool {
    fn backends(&self) -> u16 {
        u16::try_from(self.weights.len()).unwrap()
    }

    fn weight(&self, at: u16) -> u16 {
        self.weights[usize::from(at)]
    }

    fn open(&self, at: u16) -> u64 {
        self.open[usize::from(at)]
    }

    fn is_usable(&self, at: u16) -> bool {
        !self.down[usize::from(at)]
    }
}

/// `count` weights, from the lightest to the heaviest.
pub(super) fn mixed(count: usize) -> Vec<u16> {
    (0..count).map(|n| [1, 2, 5, 256][n % 4]).collect()
}
