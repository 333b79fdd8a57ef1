//! When to try again.

use std::time::{Duration, Instant};

/// The first pause is at most this long.
const FIRST: Duration = Duration::from_secs(1);
/// No pause is longer, unless told otherwise.
const LONGEST: Duration = Duration::from_secs(60);
/// A connection that lasted this long was a good one: the next pause is a first one again.
const STABLE: Duration = Duration::from_secs(60);
/// Most attempts within [`WINDOW`].
const MAX_ATTEMPTS: usize = 8;
const WINDOW: Duration = Duration::from_secs(60);

/// Exponential pauses with full jitter, from a seed.
///
/// The n-th pause is drawn evenly from nothing to 2^n s, at most 60 s; and no minute ever sees more than eight attempts,
/// however short the draws, unless the longest pause is set shorter than that.
#[derive(Clone, Debug)]
pub struct Backoff {
    longest: Duration,
    failures: u32,
    /// The last attempts, oldest first.
    attempts: std::collections::VecDeque<Instant>,
    state: u64,
}

impl Backoff {
    /// Pauses of at most `longest` (60 s where `None`). Pools should not share a seed, nor miners.
    pub fn new(seed: u64, longest: Option<Duration>) -> Self {
        Self {
            longest: longest.unwrap_or(LONGEST).max(FIRST),
            failures: 0,
            attempts: std::collections::VecDeque::with_capacity(MAX_ATTEMPTS),
            state: seed,
        }
    }

    /// An attempt begins.
    pub fn on_attempt(&mut self, now: Instant) {
        if self.attempts.len() == MAX_ATTEMPTS {
            self.attempts.pop_front();
        }
        self.attempts.push_back(now);
    }

    /// An attempt failed, or its connection ended after `lasted`: when the next may begin.
    pub fn on_end(&mut self, now: Instant, lasted: Duration) -> Instant {
        if lasted >= STABLE {
            self.failures = 0;
        }
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let due = now + ceiling.mul_f64(self.draw());
        match self.attempts.front() {
            Some(&oldest) if self.attempts.len() == MAX_ATTEMPTS => {
                due.max(oldest + WINDOW).min(now + self.longest)
            }
            _ => due,
        }
    }

    /// An even draw from 0..1 (SplitMix64: Steele, Lea, Flood 2014).
    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times, in seconds since the start, of attempts that all fail at once.
    fn attempts(seed: u64, count: usize) -> Vec<f64> {
        let start = Instant::now();
        let (mut backoff, mut now, mut times) = (Backoff::new(seed, None), start, Vec::new());
        for _ in 0..count {
            times.push((now - start).as_secs_f64());
            backoff.on_attempt(now);
            now = backoff.on_end(now, Duration::ZERO);
        }
        times
    }

    #[test]
    fn a_pool_that_closes_at_once_sees_few_attempts() {
        for seed in 0..1_000 {
            let times = attempts(seed, 40);
            for first in &times {
                let minute = times.iter().filter(|&time| (*first..first + 60.0).contains(time));
                assert!(minute.count() <= 8, "seed {seed}");
            }
            assert!(times[1] <= 1.0 && times.windows(2).all(|pair| pair[1] - pair[0] <= 60.0), "seed {seed}");
        }
    }

    #[test]
    fn no_pause_is_longer_than_the_operator_wants() {
        let longest = Duration::from_secs(2);
        let (mut backoff, mut now) = (Backoff::new(3, Some(longest)), Instant::now());
        for _ in 0..100 {
            backoff.on_attempt(now);
            let due = backoff.on_end(now, Duration::ZERO);
            assert!(due <= now + longest);
            now = due;
        }
    }

    #[test]
    fn pauses_differ_and_grow() {
        let mean = |nth: usize| {
            let gap = |seed| {
                let times = attempts(seed, nth + 2);
                times[nth + 1] - times[nth]
            };
            (0..1_000).map(gap).sum::<f64>() / 1_000.0
        };
        assert!((0.45..0.55).contains(&mean(0)), "{}", mean(0));
        assert!((1.8..2.2).contains(&mean(2)), "{}", mean(2));
        assert!(mean(12) > 20.0, "{}", mean(12));
        assert_ne!(attempts(1, 5), attempts(2, 5));
    }

    #[test]
    fn a_stable_connection_starts_over_and_a_short_one_does_not() {
        let start = Instant::now();
        let mut backoff = Backoff::new(7, Some(Duration::from_secs(30)));
        let mut now = start;
        for _ in 0..10 {
            backoff.on_attempt(now);
            now = backoff.on_end(now, Duration::from_secs(59));
        }
        assert!(backoff.failures == 10);
        now += Duration::from_secs(3_600);
        assert!(backoff.on_end(now, Duration::from_secs(60)) <= now + FIRST);
    }
}
