//! How long a dispatch lasts: long enough to keep the GPU busy, short enough to let go of an old job.

use std::time::Duration;

use crate::pipeline::MAX_DISPATCH;

/// The longest time that a dispatch may be aimed at: drivers reset devices that seem to hang.
pub const LONGEST: Duration = Duration::from_millis(100);

/// The most hashes in the first dispatch, however fast the GPU is said to be: even a slow one ends it before it is
/// held to hang.
const MAX_FIRST: f64 = (1u64 << 27) as f64;

/// Seconds by which the host may oversleep without the GPU running out of work.
const MARGIN: f64 = 0.004;

/// The least hashes to aim at.
const LEAST: f64 = 1024.0;

/// The most dispatches in the ring.
pub(crate) const MAX_DEPTH: usize = 2;

/// How hard a GPU works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intensity {
    /// Time that one dispatch should take, 1 to 100 ms.
    pub target: Duration,
    /// The part of its time that the GPU hashes, above 0 and at most 1.
    pub duty: f64,
}

impl Intensity {
    /// For a machine that someone works at: short dispatches, and time between them for the display.
    pub const DESKTOP: Self = Self { target: Duration::from_millis(7), duty: 0.7 };
    /// For a machine that mines: a new job is taken within about 30 ms.
    pub const NORMAL: Self = Self { target: Duration::from_millis(20), duty: 1.0 };
    /// The least overhead, and the slowest turn to a new job.
    pub const MAX: Self = Self { target: LONGEST, duty: 1.0 };

    /// The same work in a part of the time only.
    pub(crate) fn slowed(&self, duty: f64) -> Self {
        Self { duty: self.duty * duty, ..*self }
    }

    /// Dispatches in the ring: with pauses between them, none waits behind another.
    pub(crate) fn depth(&self) -> usize {
        if self.duty < 1.0 { 1 } else { MAX_DEPTH }
    }

    /// The pause after a dispatch that took so long.
    pub(crate) fn pause(&self, took: Duration) -> Duration {
        took.min(LONGEST).mul_f64((1.0 / self.duty.clamp(0.05, 1.0)) - 1.0)
    }
}

/// Adapts the nonces of a dispatch to the time that the last ones took.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    target: f64,
    hashes: f64,
}

impl Pace {
    /// Begins with a dispatch of about so many hashes.
    pub(crate) fn new(intensity: &Intensity, hashes: u64) -> Self {
        let target = intensity.target.clamp(Duration::from_millis(1), LONGEST).as_secs_f64();
        Self { target, hashes: (hashes as f64).clamp(LEAST, MAX_FIRST) }
    }

    /// Hashes for the next dispatch.
    pub(crate) fn hashes(&self) -> u64 {
        self.hashes as u64
    }

    /// How long a dispatch of so many hashes can run before the next one has to be submitted: half of its time is left
    /// then, and more than the host may oversleep.
    pub(crate) fn lead_of(&self, hashes: u64) -> Duration {
        let expected = self.target * (hashes as f64 / self.hashes).min(1.0);
        Duration::from_secs_f64((expected - MARGIN).min(expected / 2.0).max(0.0))
    }

    /// Learns that a dispatch of so many hashes took so long. Short ones, the ends of units, tell little, unless even
    /// they took too long.
    pub(crate) fn note(&mut self, hashes: u64, took: Duration) {
        let took = took.as_secs_f64();
        if (hashes as f64) < self.hashes / 2.0 && took < self.target {
            return;
        }
        let ratio = (self.target / took.max(1e-6)).clamp(0.5, 2.0);
        self.hashes = (self.hashes * (1.0 + 0.5 * (ratio - 1.0))).clamp(LEAST, 4.0 * MAX_DISPATCH as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_slowed_down_has_one_dispatch_in_flight_and_pauses_between() {
        let took = Duration::from_millis(20);
        assert_eq!((Intensity::NORMAL.slowed(1.0).depth(), Intensity::NORMAL.slowed(0.5).depth()), (2, 1));
        assert_eq!(Intensity::NORMAL.slowed(1.0).pause(took), Duration::ZERO);
        let pause = |intensity: Intensity| intensity.slowed(0.5).pause(took).as_secs_f64();
        assert!((pause(Intensity::NORMAL) - 0.02).abs() < 1e-6);
        assert!((pause(Intensity::DESKTOP) - (0.02 / 0.35 - 0.02)).abs() < 1e-6, "on top of its own pauses");
    }

    #[test]
    fn a_dispatch_comes_within_a_fifth_of_its_target_in_a_quarter_of_a_second() {
        for rate in [1e6, 4e7, 1e9, 1e10] {
            for intensity in [Intensity::DESKTOP, Intensity::NORMAL, Intensity::MAX] {
                let mut pace = Pace::new(&intensity, (rate * intensity.target.as_secs_f64() / 8.0) as u64);
                let mut passed = 0.0;
                while passed < 0.25 {
                    let took = pace.hashes() as f64 / rate;
                    pace.note(pace.hashes(), Duration::from_secs_f64(took));
                    passed += took;
                }
                let error = pace.hashes() as f64 / rate / intensity.target.as_secs_f64() - 1.0;
                assert!(error.abs() < 0.2, "{rate} {intensity:?}: {error}");
            }
        }
    }

    #[test]
    fn short_ends_of_units_and_absurd_times_do_not_derail_it() {
        let mut pace = Pace::new(&Intensity::NORMAL, 1_000_000);
        pace.note(10_000, Duration::from_micros(200));
        assert_eq!(pace.hashes(), 1_000_000);
        (0..1000).for_each(|_| pace.note(u64::MAX, Duration::ZERO));
        assert!(pace.hashes() <= 4 * MAX_DISPATCH);
        (0..1000).for_each(|_| pace.note(u64::MAX, Duration::from_secs(1000)));
        assert!(pace.hashes() >= 1024);
    }

    #[test]
    fn the_next_dispatch_waits_for_half_of_a_long_one_and_not_for_a_short_one() {
        for (target, hashes, lead) in
            [(20, 1_000_000, 10), (20, 250_000, 1), (20, 50_000, 0), (5, 1_000_000, 1), (3, 1_000_000, 0)]
        {
            let intensity = Intensity { target: Duration::from_millis(target), ..Intensity::NORMAL };
            let pace = Pace::new(&intensity, 1_000_000);
            assert_eq!(pace.lead_of(hashes).as_millis(), lead, "{hashes} in {target} ms");
        }
    }

    #[test]
    fn an_absurd_estimate_is_bounded_and_corrects_itself_by_short_pieces() {
        let mut pace = Pace::new(&Intensity::NORMAL, u64::MAX);
        assert!(pace.hashes() as f64 <= MAX_FIRST);
        assert!(Pace::new(&Intensity::NORMAL, 0).hashes() as f64 >= LEAST);
        // Units are much shorter than the estimate: no piece is half as long as it.
        let (rate, unit) = (2e7, 1 << 22);
        for _ in 0..60 {
            let piece = pace.hashes().min(unit);
            pace.note(piece, Duration::from_secs_f64(piece as f64 / rate));
        }
        let error = pace.hashes() as f64 / rate / Intensity::NORMAL.target.as_secs_f64() - 1.0;
        assert!(error.abs() < 0.2, "{error}");
    }

    #[test]
    fn a_desktop_gets_its_share_of_the_time() {
        let pause = Intensity::DESKTOP.pause(Duration::from_millis(7));
        assert!((pause.as_secs_f64() - 0.003).abs() < 1e-6, "{pause:?}");
        assert_eq!(Intensity::NORMAL.pause(Duration::from_millis(20)), Duration::ZERO);
        assert!(Intensity::DESKTOP.pause(Duration::from_secs(60)) <= LONGEST);
    }
}
