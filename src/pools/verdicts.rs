//! When a pool's refusals say that it is of no use to us.

use std::time::{Duration, Instant};

use miner_core::share::ShareOutcome;

/// Refusals in a row, over at least [`SPAN`], after which a pool is left.
const LIMIT: u32 = 10;
const SPAN: Duration = Duration::from_secs(60);

/// Counts refusals in a row.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    refused: u32,
    since: Option<Instant>,
}

impl Verdicts {
    /// Counts a verdict; how many refusals in a row there were, once they are too many.
    pub(super) fn count(&mut self, now: Instant, outcome: &ShareOutcome) -> Option<u32> {
        match outcome {
            ShareOutcome::Accepted => *self = Self::default(),
            ShareOutcome::Rejected(_) => self.refused += 1,
            ShareOutcome::Lost(_) => return None,
        }
        let since = *self.since.get_or_insert(now);
        (self.refused >= LIMIT && now >= since + SPAN).then_some(self.refused)
    }
}

#[cfg(test)]
mod tests {
    use miner_core::share::{Reject, RejectKind};

    use super::*;

    fn refusal() -> ShareOutcome {
        ShareOutcome::Rejected(Reject { kind: RejectKind::Other, code: None, text: "no".into() })
    }

    #[test]
    fn a_burst_of_refusals_is_borne_and_a_lasting_row_is_not() {
        let start = Instant::now();
        let mut verdicts = Verdicts::default();
        for _ in 0..50 {
            assert_eq!(verdicts.count(start, &refusal()), None);
        }
        assert_eq!(verdicts.count(start + SPAN, &refusal()), Some(51));
    }

    #[test]
    fn one_accepted_share_starts_the_count_again() {
        let start = Instant::now();
        let mut verdicts = Verdicts::default();
        for i in 0..100 {
            let now = start + Duration::from_secs(10 * i);
            let outcome = if i % 9 == 0 { ShareOutcome::Accepted } else { refusal() };
            assert_eq!(verdicts.count(now, &outcome), None);
        }
    }
}
