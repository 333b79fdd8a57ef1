//! Whether the hits bear out the hashes that a device says it does.

use miner_core::snapshot::{ProvenRate, Rates};
use miner_core::types::HashRate;

/// How far beyond the bounds of the 95 % interval the counted rate must lie, in half-widths, to be called a gap.
///
/// The rate line shows the interval each time, so at its plain bounds one look in twenty would cry wolf. One and a
/// half half-widths are about three standard deviations: one look in 370.
const TOLERANCE: f64 = 1.5;

/// A gap between both rates that chance does not explain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gap {
    pub(super) counted: HashRate,
    pub(super) proven: ProvenRate,
}

impl Gap {
    /// The gap over the longest recent window that has both rates, where there is one.
    pub(super) fn of(rates: &Rates) -> Option<Self> {
        let pair = |counted: Option<HashRate>, proven: Option<ProvenRate>| {
            Some(Self { counted: counted?, proven: proven? })
        };
        pair(rates.counted.m15, rates.proven.m15)
            .or_else(|| pair(rates.counted.average, rates.proven.average))
            .filter(|gap| gap.is_beyond_chance())
    }

    /// Whether more is counted than proven: hashes that find nothing.
    pub(super) fn counts_too_much(&self) -> bool {
        self.counted > self.proven.rate
    }

    fn is_beyond_chance(&self) -> bool {
        let ProvenRate { rate, low, high } = self.proven;
        let (above, below) = ((high.0 - rate.0) * TOLERANCE, (rate.0 - low.0) * TOLERANCE);
        self.counted.0 > rate.0 + above || self.counted.0 < rate.0 - below
    }
}

#[cfg(test)]
mod tests {
    use miner_core::snapshot::Windows;

    use super::*;

    fn gap(counted: f64, (low, rate, high): (f64, f64, f64)) -> Option<Gap> {
        let proven = ProvenRate { rate: HashRate(rate), low: HashRate(low), high: HashRate(high) };
        Gap::of(&Rates {
            counted: Windows { average: Some(HashRate(counted)), ..Windows::default() },
            proven: Windows { average: Some(proven), ..Windows::default() },
        })
    }

    #[test]
    fn a_gap_is_what_chance_does_not_explain() {
        for (counted, proven, expected) in [
            (100.0, (90.0, 100.0, 110.0), None),
            (114.0, (90.0, 100.0, 110.0), None),
            (116.0, (90.0, 100.0, 110.0), Some(true)),
            (84.0, (90.0, 100.0, 110.0), Some(false)),
            (0.0, (90.0, 100.0, 110.0), Some(false)),
            (5.0, (1.0, 4.0, 20.0), None),
        ] {
            assert_eq!(gap(counted, proven).map(|gap| gap.counts_too_much()), expected, "{counted}");
        }
    }

    #[test]
    fn the_last_quarter_of_an_hour_goes_before_the_average() {
        let proven = ProvenRate { rate: HashRate(100.0), low: HashRate(90.0), high: HashRate(110.0) };
        let rates = Rates {
            counted: Windows {
                m15: Some(HashRate(100.0)),
                average: Some(HashRate(500.0)),
                ..Windows::default()
            },
            proven: Windows { m15: Some(proven), average: Some(proven), ..Windows::default() },
        };
        assert_eq!(Gap::of(&rates), None);
        assert_eq!(Gap::of(&Rates::default()), None);
    }
}
