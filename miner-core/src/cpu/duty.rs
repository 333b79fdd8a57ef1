//! A cap on the CPU time of a thread: it hashes in bursts and sleeps in between.

use std::time::Duration;

/// How long a burst and the sleep after it take together, where a burst is longer than a chunk.
const PERIOD: Duration = Duration::from_millis(50);

/// Keeps the CPU time of one thread to a share of the time that passes.
///
/// What is used beyond the share is owed, and grows during a burst. A sleep pays it back; one that lasts too long leaves
/// something in hand for the next burst. No more than one period's share is ever in hand: a thread that had nothing
/// to do does not make up for it.
#[derive(Debug)]
pub(super) struct DutyCycle {
    /// Above 0, at most 1.
    share: f64,
    /// Seconds of CPU time; below 0: in hand.
    owed: f64,
    now: Duration,
    used: Duration,
}

impl DutyCycle {
    /// From `now` on, with `used` of CPU time gone before, at most `percent` (1 to 100) of the time.
    pub(super) fn new(percent: u8, now: Duration, used: Duration) -> Self {
        Self { share: f64::from(percent.clamp(1, 100)) / 100.0, owed: 0.0, now, used }
    }

    /// How long to sleep, if it is time to. `now` runs on during sleeps, `used` counts the CPU time of the thread.
    pub(super) fn pause(&mut self, now: Duration, used: Duration) -> Option<Duration> {
        let passed = now.saturating_sub(self.now).as_secs_f64();
        let worked = used.saturating_sub(self.used).as_secs_f64();
        (self.now, self.used) = (now, used);
        let period = PERIOD.as_secs_f64() * self.share;
        self.owed = (self.owed + worked - self.share * passed).max(-period);
        // What is owed after a whole burst that began with nothing.
        let burst = period * (1.0 - self.share);
        (self.share < 1.0 && self.owed >= burst).then(|| Duration::from_secs_f64(self.owed / self.share))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A thread in virtual time: chunks of `chunk`, of which the CPU gives it `given` of the time, and sleeps that last
    /// `late` too long. Returns the share that it used and the longest time from one burst to the next.
    fn run(percent: u8, chunk: Duration, given: f64, late: Duration) -> (f64, Duration) {
        let (mut now, mut used) = (Duration::from_secs(7), Duration::from_secs(3));
        let mut duty = DutyCycle::new(percent, now, used);
        let (start, before) = (now, used);
        let (mut burst, mut longest) = (now, Duration::ZERO);
        while now - start < Duration::from_secs(20) {
            used += chunk;
            now += chunk.div_f64(given);
            if let Some(pause) = duty.pause(now, used) {
                now += pause + late;
                longest = longest.max(now - burst);
                burst = now;
            }
        }
        ((used - before).div_duration_f64(now - start), longest)
    }

    #[test]
    fn the_share_holds_within_a_tenth_of_a_point_and_the_period_below_100_ms() {
        for percent in 1..=99 {
            for chunk in [50, 250, 900].map(Duration::from_micros) {
                let (share, longest) = run(percent, chunk, 1.0, Duration::from_micros(60));
                assert!((100.0 * share - f64::from(percent)).abs() < 0.1, "{percent} %, {chunk:?}: {share}");
                assert!(longest <= Duration::from_millis(100), "{percent} %, {chunk:?}: {longest:?}");
            }
        }
    }

    #[test]
    fn a_thread_without_a_limit_never_sleeps() {
        let mut duty = DutyCycle::new(100, Duration::ZERO, Duration::ZERO);
        for millis in 1..10_000 {
            let now = Duration::from_millis(millis);
            assert_eq!(duty.pause(now, now), None);
        }
    }

    #[test]
    fn time_without_work_is_not_made_up_for() {
        let mut duty = DutyCycle::new(50, Duration::ZERO, Duration::ZERO);
        let hour = Duration::from_secs(3600);
        assert_eq!(duty.pause(hour, Duration::ZERO), None);
        let millis = |millis| hour + Duration::from_millis(millis);
        let slept = (1..100).find_map(|at| duty.pause(millis(at), Duration::from_millis(at)));
        assert!(slept.is_some(), "a burst after an hour of nothing must end within two periods");
    }

    proptest! {
        #[test]
        fn whatever_others_take_and_however_late_it_wakes_the_share_is_not_passed(
            percent in 1u8..=99,
            chunk in 20u64..2000,
            given in 0.05f64..=1.0,
            late in 0u64..30_000,
        ) {
            let micros = Duration::from_micros;
            let (share, _) = run(percent, micros(chunk), given, micros(late));
            let share = 100.0 * share;
            prop_assert!(share < f64::from(percent) + 0.5, "{} %", share);
            // What the others leave, and what a thread misses by waking too late, are the only reasons for less.
            let possible = f64::from(percent).min(100.0 * given);
            prop_assert!(late > 5000 || share > possible - 1.0 || given < f64::from(percent) / 80.0, "{} %", share);
        }
    }
}
