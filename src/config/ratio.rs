//! Numbers with a fraction: a share of something, or how many times something.

use super::value::{self, Parsed};
use std::fmt;
use std::ops::RangeInclusive;
use toml::de::DeValue;

/// A finite number, not negative.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Ratio(f64);

/// What equality of floating-point numbers lacks is a NaN that equals itself, and none of these is one.
impl Eq for Ratio {}

impl Ratio {
    /// `number`, which is finite and not negative.
    ///
    /// # Panics
    /// On any other.
    pub const fn new(number: f64) -> Self {
        assert!(number.is_finite() && number >= 0.0, "a ratio is a number");
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The nearest number of thousandths.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and the configuration has none above 100"
    )]
    pub fn thousandths(self) -> u32 {
        (self.0 * 1_000.0).round() as u32
    }
}

impl fmt::Display for Ratio {
    /// With a point always, and the fewest digits that read back as the same number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A number of `range`.
pub(super) fn ratio(value: &DeValue, range: RangeInclusive<f64>) -> Parsed<Ratio> {
    let number = value::number(value)?;
    if range.contains(&number) {
        return Ok(Ratio::new(number));
    }
    let (low, high) = range.into_inner();
    Err(format!(
        "{number:?} is out of range; write a number from {low:?} to {high:?}"
    ))
}

/// A number of `range`, or `None` for 0, which is off.
pub(super) fn ratio_or_off(value: &DeValue, range: RangeInclusive<f64>) -> Parsed<Option<Ratio>> {
    if value::number(value)? == 0.0 {
        return Ok(None);
    }
    let found = ratio(value, range).map_err(|message| format!("{message}, or 0 for none"));
    found.map(Some)
}
