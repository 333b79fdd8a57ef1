//! Follows a client's speed with its difficulty.

use std::time::{Duration, Instant};

use crate::config::Vardiff;

/// Shares that are enough to judge a client's speed, give or take a quarter.
const ENOUGH_SHARES: u32 = 18;
/// Share intervals without any share after which the difficulty is too high: chance does that once in 55 times.
const SILENT_INTERVALS: u32 = 4;
/// Least time between two changes.
const MIN_STEP: Duration = Duration::from_secs(1);
/// A change by less than this factor isn't worth a message.
const DEADBAND: f64 = 2.0;

/// Watches the shares of one session.
///
/// Each share counts for the difficulty of its own job, so that shares of older jobs don't disturb the estimate.
#[derive(Debug, Clone)]
pub(crate) struct Retarget {
    settings: Vardiff,
    since: Instant,
    work: f64,
    shares: u32,
}

impl Retarget {
    pub(crate) fn new(settings: Vardiff, now: Instant) -> Self {
        Self { settings, since: now, work: 0.0, shares: 0 }
    }

    /// Counts an accepted share of a job with this difficulty.
    pub(crate) fn on_share(&mut self, difficulty: f64) {
        self.work += difficulty;
        self.shares += 1;
    }

    /// Returns the difficulty to change to, when enough was seen and it is worth it.
    pub(crate) fn poll(&mut self, now: Instant, current: f64) -> Option<f64> {
        let Vardiff { share_interval, max_step, min, max, .. } = self.settings;
        let elapsed = now.saturating_duration_since(self.since);
        if !self.may_judge(elapsed) {
            return None;
        }
        let ideal = self.work / elapsed.as_secs_f64() * share_interval.as_secs_f64();
        *self = Self::new(self.settings, now);
        let next = round(ideal.clamp(current / max_step, current * max_step)).clamp(min, max);
        let worth_it = next >= current * DEADBAND || next <= current / DEADBAND;
        worth_it.then_some(next)
    }

    fn may_judge(&self, elapsed: Duration) -> bool {
        let silent = self.shares == 0 && elapsed >= self.settings.share_interval * SILENT_INTERVALS;
        elapsed >= MIN_STEP && (self.shares >= ENOUGH_SHARES || silent || elapsed >= self.settings.window)
    }
}

/// Rounds to three digits, which people read more easily.
fn round(difficulty: f64) -> f64 {
    format!("{difficulty:.2e}").parse().unwrap_or(difficulty)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes expected for a share of difficulty 1.
    const HASHES: f64 = 4_295_032_833.0;

    /// A miner in virtual time: shares come by chance, at most 10,000 a second.
    struct Miner {
        retarget: Retarget,
        difficulty: f64,
        now: Instant,
        chance: u64,
        changes: u32,
    }

    impl Miner {
        fn new(difficulty: f64, seed: u64) -> Self {
            let now = Instant::now();
            Self {
                retarget: Retarget::new(Vardiff::default(), now),
                difficulty,
                now,
                chance: seed,
                changes: 0,
            }
        }

        /// Mines for a while and returns the shares found.
        fn mine(&mut self, hashes_per_second: f64, time: Duration) -> u32 {
            let end = self.now + time;
            let mut shares = 0;
            while self.now < end {
                let wait = -self.uniform().ln() * self.difficulty * HASHES / hashes_per_second;
                let next = self.now + Duration::from_secs_f64(wait.clamp(1e-4, 1e6));
                // The pool also looks every quarter of a second.
                while self.now + Duration::from_millis(250) < next.min(end) {
                    self.now += Duration::from_millis(250);
                    if self.poll() {
                        break;
                    }
                }
                if self.now + Duration::from_millis(250) >= next.min(end) {
                    self.now = next.min(end);
                    if next <= end {
                        shares += 1;
                        self.retarget.on_share(self.difficulty);
                    }
                    self.poll();
                }
            }
            shares
        }

        fn poll(&mut self) -> bool {
            let next = self.retarget.poll(self.now, self.difficulty);
            if let Some(next) = next {
                assert!(
                    next / self.difficulty <= 8.05 && self.difficulty / next <= 8.05,
                    "rounded to three digits"
                );
                self.difficulty = next;
                self.changes += 1;
            }
            next.is_some()
        }

        fn uniform(&mut self) -> f64 {
            self.chance =
                self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.chance >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        }
    }

    #[test]
    fn every_speed_comes_to_a_share_in_five_seconds() {
        for speed in [1e6, 2e7, 1e9, 5e10, 1e12, 1e14] {
            for seed in 1..=10 {
                let mut miner = Miner::new(0.001, seed);
                miner.mine(speed, Duration::from_secs(120));
                miner.changes = 0;
                let shares = miner.mine(speed, Duration::from_secs(3600));
                // 720 shares are aimed at.
                assert!((480..=1080).contains(&shares), "{speed} H/s, seed {seed}: {shares} shares");
                assert!(miner.changes <= 24, "{speed} H/s, seed {seed}: {} changes", miner.changes);
            }
        }
    }

    #[test]
    fn a_miner_that_slows_down_by_a_million_is_followed_within_five_minutes() {
        for seed in 1..=10 {
            let mut miner = Miner::new(0.001, seed);
            miner.mine(1e13, Duration::from_secs(300));
            miner.mine(1e7, Duration::from_secs(300));
            let shares = miner.mine(1e7, Duration::from_secs(600));
            assert!((60..=240).contains(&shares), "seed {seed}: {shares} shares");
        }
    }

    #[test]
    fn the_difficulty_stays_between_its_bounds() {
        let settings = Vardiff { min: 0.5, max: 2.0, ..Vardiff::default() };
        let start = Instant::now();
        let mut retarget = Retarget::new(settings, start);
        (0..1000).for_each(|_| retarget.on_share(1.0));
        assert_eq!(retarget.poll(start + MIN_STEP, 1.0), Some(2.0));
        assert_eq!(retarget.poll(start + MIN_STEP * 100, 1.0), Some(0.5));
    }

    #[test]
    fn nothing_changes_before_enough_was_seen() {
        let start = Instant::now();
        let mut retarget = Retarget::new(Vardiff::default(), start);
        (0..ENOUGH_SHARES - 1).for_each(|_| retarget.on_share(1.0));
        assert_eq!(retarget.poll(start + MIN_STEP, 1.0), None);
        retarget.on_share(1.0);
        assert_eq!(retarget.poll(start + MIN_STEP / 2, 1.0), None);
        assert_eq!(retarget.poll(start + MIN_STEP, 1.0), Some(8.0));
    }
}
