//! Hash counts and rates.

use std::time::Duration;

/// A number of header hashes (double SHA-256 evaluations); one ASIC plane is already 2^48 or more.
pub type HashCount = u128;

/// Header hashes per second: always an estimate, hence a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct HashRate(pub f64);

impl HashRate {
    /// The hashes done at this rate in `duration`.
    pub fn hashes_in(self, duration: Duration) -> f64 {
        self.0 * duration.as_secs_f64()
    }
}

impl std::iter::Sum for HashRate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        Self(rates.map(|rate| rate.0).sum())
    }
}
