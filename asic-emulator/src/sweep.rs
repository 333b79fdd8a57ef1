//! A search over time: places passed at a rate, and what lies at some of them.

use std::time::{Duration, Instant};

/// Longest wait that is worth a deadline.
const FAR: f64 = 1e6;

/// A sweep over `length` places at a rate; with `repeats` it begins anew at the end.
#[derive(Debug, Clone)]
pub(crate) struct Sweep<T> {
    at: Instant,
    /// Places passed.
    passed: f64,
    /// Places a second.
    rate: f64,
    length: f64,
    repeats: bool,
    hits: Vec<(f64, T)>,
    next: usize,
}

impl<T: Clone> Sweep<T> {
    /// Starts at place 0; `hits` are places and what is there, in any order, those beyond the end left out.
    pub(crate) fn new(now: Instant, rate: f64, length: f64, repeats: bool, hits: Vec<(f64, T)>) -> Self {
        let mut sweep = Self { at: now, passed: 0.0, rate, length, repeats, hits: Vec::new(), next: 0 };
        sweep.lay_out(now, length, hits);
        sweep
    }

    /// Changes what lies where; what lies at places already passed is missed.
    pub(crate) fn lay_out(&mut self, now: Instant, length: f64, mut hits: Vec<(f64, T)>) {
        self.settle(now);
        hits.retain(|(place, _)| *place < length);
        hits.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.next = hits.partition_point(|(place, _)| *place < self.passed);
        (self.hits, self.length) = (hits, length);
    }

    /// Goes on at another rate.
    pub(crate) fn set_rate(&mut self, now: Instant, rate: f64) {
        self.settle(now);
        self.rate = rate;
    }

    /// Takes what was come upon by now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<T> {
        self.settle(now);
        if self.repeats && self.next == self.hits.len() && self.passed >= self.length && self.length > 0.0 {
            self.passed %= self.length;
            self.next = 0;
        }
        let (_, hit) = self.hits.get(self.next).filter(|(place, _)| *place < self.passed)?;
        self.next += 1;
        Some(hit.clone())
    }

    /// When the next hit is come upon.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let place = match self.hits.get(self.next) {
            Some((place, _)) => *place,
            None if self.repeats => self.length + self.hits.first()?.0,
            None => return None,
        };
        let wait = (place + 1.0 - self.passed).max(0.0) / self.rate;
        (wait < FAR).then(|| self.at + Duration::from_secs_f64(wait) + Duration::from_nanos(1))
    }

    /// Whether it is under way.
    pub(crate) fn is_running(&mut self, now: Instant) -> bool {
        self.settle(now);
        self.rate > 0.0 && (self.repeats || self.passed < self.length)
    }

    fn settle(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.passed += time * self.rate;
        if !self.repeats {
            self.passed = self.passed.min(self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_hit_comes_when_the_sweep_has_passed_its_place() {
        let start = Instant::now();
        let mut sweep = Sweep::new(start, 10.0, 100.0, false, vec![(59.0, 'b'), (19.0, 'a'), (150.0, 'z')]);
        let due = sweep.next_due().unwrap();
        assert!(due >= at(start, 2.0) && due < at(start, 2.001));
        assert_eq!(sweep.poll(at(start, 1.85)), None);
        assert_eq!(sweep.poll(due), Some('a'));
        assert_eq!(sweep.poll(due), None);
        sweep.set_rate(at(start, 3.0), 100.0);
        assert_eq!(sweep.poll(at(start, 3.31)), Some('b'));
        assert_eq!((sweep.next_due(), sweep.poll(at(start, 99.0))), (None, None));
        assert!(!sweep.is_running(at(start, 99.0)));
    }

    #[test]
    fn a_repeating_sweep_comes_upon_everything_again() {
        let start = Instant::now();
        let mut sweep = Sweep::new(start, 10.0, 10.0, true, vec![(4.0, 'a')]);
        for round in 0..5 {
            let due = sweep.next_due().unwrap();
            assert!(due > at(start, f64::from(round) + 0.49) && due < at(start, f64::from(round) + 0.51));
            assert_eq!(sweep.poll(due), Some('a'));
            assert_eq!(sweep.poll(due), None);
        }
        sweep.set_rate(at(start, 5.0), 0.0);
        assert_eq!(sweep.next_due(), None);
        assert!(!sweep.is_running(at(start, 9.0)));
    }

    #[test]
    fn what_is_laid_behind_is_missed() {
        let start = Instant::now();
        let mut sweep = Sweep::new(start, 1.0, 100.0, false, vec![(50.0, 'a')]);
        sweep.lay_out(at(start, 10.0), 100.0, vec![(5.0, 'x'), (20.0, 'b')]);
        assert_eq!(sweep.poll(at(start, 30.0)), Some('b'));
        assert_eq!(sweep.poll(at(start, 60.0)), None);
    }
}
