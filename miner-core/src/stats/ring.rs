//! A sliding window of fixed memory.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::Duration;

/// What happened in one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Seconds during which the device had work.
    pub(super) exposure: f64,
    /// Hashes reported as done, and in how many reports.
    pub(super) hashes: f64,
    pub(super) reports: u32,
    /// Work that hits stand for, the sum of its squares, and how many hits.
    pub(super) work: f64,
    pub(super) squares: f64,
    pub(super) hits: u32,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.exposure += other.exposure;
        self.hashes += other.hashes;
        self.reports = self.reports.saturating_add(other.reports);
        self.work += other.work;
        self.squares += other.squares;
        self.hits = self.hits.saturating_add(other.hits);
    }
}

/// The last `length` stretches of `width` each, the running one included.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    width: Duration,
    length: usize,
    /// The number of the newest stretch, counted from the origin of time.
    newest: u128,
    tallies: VecDeque<Tally>,
}

impl Ring {
    pub(super) fn new(width: Duration, length: usize) -> Self {
        Self { width, length, newest: 0, tallies: VecDeque::from([Tally::default()]) }
    }

    /// The tally of the stretch around `at`, which must not lie before any earlier `at`.
    pub(super) fn at(&mut self, at: Duration) -> &mut Tally {
        let number = at.as_nanos() / self.width.as_nanos();
        for _ in 0..(number - self.newest).min(self.length as u128) {
            if self.tallies.len() == self.length {
                self.tallies.pop_front();
            }
            self.tallies.push_back(Tally::default());
        }
        self.newest = number;
        self.tallies.back_mut().expect("a ring starts with one tally and swaps them one by one")
    }

    /// Books the time from `from` to `to` as exposure.
    pub(super) fn expose(&mut self, from: Duration, to: Duration) {
        let window = self.width * self.length as u32;
        let mut from = from.max(to.saturating_sub(window));
        while from < to {
            let left = self.width.as_nanos() - from.as_nanos() % self.width.as_nanos();
            let end = to.min(from + Duration::from_nanos_u128(left));
            self.at(from).exposure += (end - from).as_secs_f64();
            from = end;
        }
    }

    /// Everything within the window that ends at `at`.
    pub(super) fn sum(&mut self, at: Duration) -> Tally {
        self.at(at);
        let mut sum = Tally::default();
        self.tallies.iter().for_each(|&tally| sum += tally);
        sum
    }
}
