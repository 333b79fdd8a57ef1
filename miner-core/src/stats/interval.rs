//! Confidence intervals of a Poisson rate.

use crate::snapshot::ProvenRate;
use crate::types::HashRate;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// The rate behind hits that stand for `work` hashes in `seconds`, with its exact-method 95 % interval.
///
/// Hits are a Poisson process, so the interval is the gamma one (Garwood 1936). Hits found at unlike targets weigh
/// unlike: `(Σ work)² / Σ work²` is the number of equal hits that would say as much.
pub(super) fn proven(work: f64, squares: f64, seconds: f64) -> ProvenRate {
    let hits = work * work / squares;
    let rate = work / seconds;
    let scaled = |degrees: f64, z: f64| HashRate(rate * chi_square(degrees, z) / (2.0 * hits));
    ProvenRate { rate: HashRate(rate), low: scaled(2.0 * hits, -Z), high: scaled(2.0 * hits + 2.0, Z) }
}

/// The quantile of the chi-square distribution at normal deviate `z` (Wilson and Hilferty 1931), within 2 % from 8
/// degrees of freedom on.
fn chi_square(degrees: f64, z: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + z * spread.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_tables() {
        // degrees of freedom, 2.5 % and 97.5 % quantiles (any table of the distribution)
        for (degrees, low, high) in
            [(8.0, 2.1797, 17.5345), (20.0, 9.5908, 34.1696), (100.0, 74.2219, 129.5612)]
        {
            assert!((chi_square(degrees, -Z) / low - 1.0).abs() < 0.02, "{degrees}");
            assert!((chi_square(degrees, Z) / high - 1.0).abs() < 0.02, "{degrees}");
        }
    }

    #[test]
    fn unequal_hits_widen_the_interval() {
        let equal = proven(10.0, 10.0, 1.0);
        let unequal = proven(10.0, 40.0, 1.0);
        assert_eq!(equal.rate, unequal.rate);
        assert!(unequal.low < equal.low && equal.high < unequal.high);
    }
}
