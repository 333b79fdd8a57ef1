//! Whether two measurements differ by more than they spread.

use std::fmt;

use serde::Serialize;

use super::spread::Spread;

/// What became of a figure from one result to the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The second median over the first.
    pub ratio: f64,
    /// Whether that is more than chance.
    pub verdict: Verdict,
}

/// Whether the second is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nine tenths of its windows are above nine tenths of the first one's.
    Faster,
    /// The other way round.
    Slower,
    /// The ranges overlap: no difference is shown.
    Same,
}

impl Change {
    pub(super) fn between(first: &Spread, second: &Spread) -> Self {
        let verdict = if second.p10 > first.p90 {
            Verdict::Faster
        } else if second.p90 < first.p10 {
            Verdict::Slower
        } else {
            Verdict::Same
        };
        Self { ratio: second.median / first.median, verdict }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "same",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_where_the_ranges_stay_apart() {
        let spread = |p10, median, p90| Spread { p10, median, p90 };
        let first = spread(95.0, 100.0, 105.0);
        for (second, verdict) in [
            (spread(106.0, 110.0, 120.0), Verdict::Faster),
            (spread(104.0, 110.0, 120.0), Verdict::Same),
            (spread(105.0, 110.0, 120.0), Verdict::Same),
            (spread(80.0, 90.0, 96.0), Verdict::Same),
            (spread(80.0, 90.0, 94.0), Verdict::Slower),
            (first, Verdict::Same),
            // Wide spreads show no difference, however far apart the medians are.
            (spread(50.0, 200.0, 300.0), Verdict::Same),
        ] {
            let change = Change::between(&first, &second);
            assert_eq!(change.verdict, verdict, "{second:?}");
            assert_eq!(change.ratio, second.median / 100.0);
        }
    }
}
