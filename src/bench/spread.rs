//! The middle and the width of repeated measurements.

use serde::{Deserialize, Serialize};

/// The middle and the width of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// A tenth of the measurements lie below.
    pub p10: f64,
    /// Half of them.
    pub median: f64,
    /// Nine tenths.
    pub p90: f64,
}

impl Spread {
    /// Of measurements; `None` where there are none.
    pub fn of(mut measurements: Vec<f64>) -> Option<Self> {
        measurements.sort_by(f64::total_cmp);
        let last = measurements.len().checked_sub(1)?;
        let at = |part: f64| measurements[(last as f64 * part).round() as usize];
        Some(Self { p10: at(0.1), median: at(0.5), p90: at(0.9) })
    }

    /// Whether it can be one of rates or ratios: above zero, in order, and within what any machine could reach.
    pub(super) fn is_sound(&self) -> bool {
        self.p10 >= 1e-6 && self.p10 <= self.median && self.median <= self.p90 && self.p90 <= 1e21
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_its_measurements() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(spread, Some(Spread { p10: 10.0, median: 50.0, p90: 90.0 }));
        assert_eq!(Spread::of(vec![3.0]).unwrap().p90, 3.0);
        assert_eq!(Spread::of(vec![]), None);
    }
}
