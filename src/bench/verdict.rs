//! Whether two measurements differ by more than they spread.

use std::fmt;

use serde::Serialize;

use super::spread::Spread;

/// With fewer windows, p10 and p90 are hardly more than the least and the most, and stay apart by chance.
pub(super) const ENOUGH_WINDOWS: usize = 10;

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
    /// The ranges overlap, or come from too few windows: no difference is shown.
    Same,
}

impl Change {
    /// From the spread of one figure to that of the other; `windows`: the fewer of theirs.
    pub(super) fn between(first: &Spread, second: &Spread, windows: usize) -> Self {
        let verdict = if windows < ENOUGH_WINDOWS {
            Verdict::Same
        } else if second.p10 > first.p90 {
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
            let change = Change::between(&first, &second, ENOUGH_WINDOWS);
            assert_eq!(change.verdict, verdict, "{second:?}");
            assert_eq!(change.ratio, second.median / 100.0);
        }
    }

    #[test]
    fn a_few_windows_show_no_difference() {
        let spread = |median| Spread { p10: median - 1.0, median, p90: median + 1.0 };
        for (windows, verdict) in [(1, Verdict::Same), (9, Verdict::Same), (10, Verdict::Faster)] {
            let change = Change::between(&spread(100.0), &spread(200.0), windows);
            assert_eq!(change, Change { ratio: 2.0, verdict }, "{windows} windows");
        }
    }
}
