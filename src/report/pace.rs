//! How often something may be said.

use std::time::Duration;

use jiff::Timestamp;

/// A tick that comes a little early still counts for its interval.
const SLACK: Duration = Duration::from_millis(100);

/// Picks the snapshots to report: the first one of each interval, by the miner's own uptime.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    interval: Duration,
    due: Duration,
}

impl Pace {
    /// Every `interval`, first after one; zero: always.
    pub(super) fn every(interval: Duration) -> Self {
        Self { interval, due: interval }
    }

    /// Whether a report is due at this uptime; if so, the next is due an interval later.
    pub(super) fn is_due(&mut self, uptime: Duration) -> bool {
        if uptime.saturating_add(SLACK) < self.due {
            return false;
        }
        self.due = self.due.saturating_add(self.interval);
        if self.due <= uptime {
            self.due = uptime.saturating_add(self.interval);
        }
        true
    }
}

/// Lets so many lines through in each window of time and counts the rest.
///
/// Goes by wall-clock time, which only decides what is shown; a clock that steps back opens a new window.
#[derive(Clone, Debug)]
pub(super) struct Flood {
    lines: u32,
    window: Duration,
    start: Option<Timestamp>,
    shown: u32,
    hidden: u64,
}

impl Flood {
    /// At most `lines` in each `window`.
    pub(super) fn new(lines: u32, window: Duration) -> Self {
        Self { lines, window, start: None, shown: 0, hidden: 0 }
    }

    /// Closes the window if it is over, and tells how many lines it had hidden.
    pub(super) fn settle(&mut self, at: Timestamp) -> u64 {
        let open = self
            .start
            .is_some_and(|start| at >= start && at.duration_since(start).unsigned_abs() < self.window);
        if open { 0 } else { self.close() }
    }

    /// Closes the window, and tells how many lines it had hidden.
    pub(super) fn close(&mut self) -> u64 {
        self.start = None;
        self.shown = 0;
        std::mem::take(&mut self.hidden)
    }

    /// Whether a line may be shown at `at`; counts it otherwise. [`Self::settle`] comes first.
    pub(super) fn admit(&mut self, at: Timestamp) -> bool {
        self.start.get_or_insert(at);
        if self.shown < self.lines {
            self.shown += 1;
            true
        } else {
            self.hidden += 1;
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_once_an_interval_whatever_the_snapshots_do() {
        let due = |interval: u64, uptimes: &[u64]| -> Vec<u64> {
            let mut pace = Pace::every(Duration::from_millis(interval));
            uptimes.iter().copied().filter(|&ms| pace.is_due(Duration::from_millis(ms))).collect()
        };
        assert_eq!(due(3000, &[0, 1000, 2000, 3000, 4000, 5000, 6000]), [3000, 6000]);
        assert_eq!(due(3000, &[2990, 5950, 9020, 11_980]), [2990, 5950, 9020, 11_980]);
        assert_eq!(due(1000, &[900_000, 900_100, 901_000]), [900_000, 901_000]);
        assert_eq!(due(0, &[1, 2, 3]), [1, 2, 3]);
    }

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + s).unwrap()
    }

    #[test]
    fn lines_beyond_the_window_are_counted_and_told_after_it() {
        let mut flood = Flood::new(2, Duration::from_secs(1));
        let mut admitted = 0;
        for _ in 0..5 {
            assert_eq!(flood.settle(second(0)), 0);
            admitted += u32::from(flood.admit(second(0)));
        }
        assert_eq!(admitted, 2);
        assert_eq!(flood.settle(second(1)), 3);
        assert_eq!(flood.settle(second(1)), 0);
        assert!(flood.admit(second(1)));
    }

    #[test]
    fn a_clock_that_steps_back_silences_nobody() {
        let mut flood = Flood::new(1, Duration::from_secs(1));
        assert!(flood.admit(second(3600)));
        flood.settle(second(0));
        assert!(flood.admit(second(0)));
    }
}
