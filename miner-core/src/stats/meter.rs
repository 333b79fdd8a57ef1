//! The rates of one device, or of all of them.

use std::time::{Duration, Instant};

use super::interval::proven;
use super::ring::{Ring, Tally};
use crate::snapshot::{ProvenRate, Rates, Windows};
use crate::types::HashRate;

/// Below this many hits nothing is said about a proven rate: its interval would span a factor of ten.
const MIN_HITS: u32 = 4;
/// Below this many reports nothing is said about a counted rate.
const MIN_REPORTS: u32 = 2;

/// Measures the counted and the proven rate over exposure time, in about 3 kB whatever comes in.
///
/// Windows are rings of 10, 20 and 30 stretches, so "5 s" covers between 4.5 s and 5 s.
#[derive(Clone, Debug)]
pub struct Meter {
    origin: Instant,
    /// Up to when exposure has been booked; `None` while there is no work.
    running: Option<Duration>,
    latest: Duration,
    s5: Ring,
    m1: Ring,
    m15: Ring,
    total: Tally,
}

impl Meter {
    /// A meter whose clock stands still until [`Meter::start`].
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            running: None,
            latest: Duration::ZERO,
            s5: Ring::new(Duration::from_millis(500), 10),
            m1: Ring::new(Duration::from_secs(3), 20),
            m15: Ring::new(Duration::from_secs(30), 30),
            total: Tally::default(),
        }
    }

    /// The device has work from now on.
    pub fn start(&mut self, now: Instant) {
        let now = self.advance(now);
        self.running = Some(now);
    }

    /// The device has no work from now on.
    pub fn stop(&mut self, now: Instant) {
        self.advance(now);
        self.running = None;
    }

    /// The device reported `hashes` as done.
    pub fn count(&mut self, now: Instant, hashes: f64) {
        self.book(now, Tally { hashes, reports: 1, ..Tally::default() });
    }

    /// A good hit came that takes `work` hashes on average.
    pub fn hit(&mut self, now: Instant, work: f64) {
        self.book(now, Tally { work, squares: work * work, hits: 1, ..Tally::default() });
    }

    /// The rates over all windows.
    pub fn rates(&mut self, now: Instant) -> Rates {
        let tallies = self.tallies(now);
        Rates { counted: tallies.and_then(counted), proven: tallies.and_then(proven_rate) }
    }

    /// The newest counted rate that rests on enough reports.
    pub fn recent_counted(&mut self, now: Instant) -> Option<HashRate> {
        let Windows { s5, m1, average, .. } = self.tallies(now);
        let short = s5.filter(|tally| tally.reports >= 2 * MIN_REPORTS).as_ref().and_then(counted);
        short.or_else(|| counted(&m1?)).or_else(|| counted(&average?))
    }

    /// The newest proven rate that rests on at least `hits` hits.
    pub fn recent_proven(&mut self, now: Instant, hits: u32) -> Option<HashRate> {
        let Windows { m1, m15, average, .. } = self.tallies(now);
        let enough = [m1, m15, average].into_iter().flatten().find(|tally| tally.hits >= hits)?;
        proven_rate(&enough).map(|proven| proven.rate)
    }

    #[cfg(test)]
    pub(super) fn total_at(&mut self, now: Instant) -> Tally {
        self.advance(now);
        self.total
    }

    fn tallies(&mut self, now: Instant) -> Windows<Tally> {
        let now = self.advance(now);
        Windows {
            s5: Some(self.s5.sum(now)),
            m1: Some(self.m1.sum(now)),
            m15: Some(self.m15.sum(now)),
            average: Some(self.total),
        }
    }

    fn book(&mut self, now: Instant, tally: Tally) {
        let now = self.advance(now);
        for ring in [&mut self.s5, &mut self.m1, &mut self.m15] {
            *ring.at(now) += tally;
        }
        self.total += tally;
    }

    /// Books the exposure up to `now` and returns the time since the origin; time never runs backwards.
    fn advance(&mut self, now: Instant) -> Duration {
        let now = now.saturating_duration_since(self.origin).max(self.latest);
        self.latest = now;
        if let Some(since) = self.running {
            for ring in [&mut self.s5, &mut self.m1, &mut self.m15] {
                ring.expose(since, now);
            }
            self.total.exposure += (now - since).as_secs_f64();
            self.running = Some(now);
        }
        now
    }
}

fn counted(tally: &Tally) -> Option<HashRate> {
    (tally.reports >= MIN_REPORTS && tally.exposure > 0.0).then(|| HashRate(tally.hashes / tally.exposure))
}

fn proven_rate(tally: &Tally) -> Option<ProvenRate> {
    (tally.hits >= MIN_HITS && tally.exposure > 0.0)
        .then(|| proven(tally.work, tally.squares, tally.exposure))
}
