//! How much work a unit holds and which hits of it are reported.

use std::time::Duration;

use super::devices::Device;
use crate::types::{HashCount, HashRate, Target};

/// The scheduler's settings. The defaults are right for every mix of devices that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// How long one unit should keep its device busy.
    pub slice: Duration,
    /// The same before the device's pace is known: short, so that a wrong first guess is soon replaced.
    pub first_slice: Duration,
    /// Hits a second that a device reports at least, so that its proven rate shows, as long as all devices together
    /// stay below `max_hits`.
    pub min_hits: f64,
    /// Hits a second that all devices together report at most.
    pub max_hits: f64,
    /// How long the job of a source with a broken connection stays minable.
    pub suspension: Duration,
    /// How long late hits of a finished unit are still honoured: serial lines and GPU read-backs lag.
    pub retention: Duration,
    /// Header hashes of submitted shares that are remembered, so that none is submitted twice. The default lasts for over
    /// four minutes at `max_hits`, far beyond `retention`.
    pub submitted: usize,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            slice: Duration::from_secs(1),
            first_slice: Duration::from_millis(200),
            min_hits: 1.0,
            max_hits: 64.0,
            suspension: Duration::from_secs(120),
            retention: Duration::from_secs(30),
            submitted: 1 << 14,
        }
    }
}

/// What report targets depend on: the rate and the number of all devices.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowd {
    pub(super) rate: f64,
    pub(super) devices: usize,
}

impl Crowd {
    /// Brings a device's part in the sum up to date.
    pub(super) fn count_in(&mut self, device: &mut Device) {
        let part = device.contribution();
        self.rate = (self.rate + part.0 - device.counted_in.0).max(0.0);
        device.counted_in = part;
    }
}

impl SchedulerConfig {
    /// Hashes for one unit: `pace` × slice.
    pub(super) fn want(&self, pace: HashRate, measured: bool) -> HashCount {
        let slice = if measured { self.slice } else { self.first_slice };
        (pace.hashes_in(slice) as HashCount).max(1)
    }

    /// The report target of a device: the pool's, eased until the device can be measured, hardened until all devices
    /// together stay below `max_hits`, and never easier than the device can report.
    pub(super) fn report_target(
        &self,
        share: Target,
        floor: Option<Target>,
        rate: HashRate,
        crowd: Crowd,
    ) -> Target {
        let hits = self.hits_per_second(share, crowd);
        let target = if hits > self.max_hits {
            share.min(Target::from_expected_hashes(crowd.rate / self.max_hits))
        } else {
            let spare = (self.max_hits - hits) / crowd.devices.max(1) as f64;
            share.max(Target::from_expected_hashes(rate.0 / spare.min(self.min_hits)))
        };
        floor.map_or(target, |floor| target.min(floor))
    }

    /// Hits a second of all devices at the pool's own target.
    pub(super) fn hits_per_second(&self, share: Target, crowd: Crowd) -> f64 {
        crowd.rate / share.expected_hashes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Difficulty;

    fn target(difficulty: f64) -> Target {
        Difficulty::new(difficulty).unwrap().into()
    }

    fn report(share: f64, floor: Option<f64>, rate: f64, crowd: f64, devices: usize) -> Target {
        let crowd = Crowd { rate: crowd, devices };
        SchedulerConfig::default().report_target(target(share), floor.map(target), HashRate(rate), crowd)
    }

    #[test]
    fn slow_devices_report_easier_hits_and_never_harder_ones_than_the_pool_wants() {
        let eased = report(1e6, None, 1e6, 1e6, 1);
        assert!((1e6 / eased.expected_hashes() - 1.0).abs() < 1e-6, "one hit a second");
        // 1 TH/s meets difficulty 10 more often than once a second: the pool's target stands, to the last bit
        assert_eq!(report(10.0, None, 1e12, 1e12, 1), target(10.0));
    }

    #[test]
    fn ten_thousand_slow_devices_stay_below_the_flood_limit_together() {
        let eased = report(1e6, None, 1e6, 1e10, 10_000);
        assert!(1e10 / eased.expected_hashes() < 64.001);
    }

    #[test]
    fn what_is_left_below_the_flood_limit_is_shared_out_to_slow_devices() {
        // 60 of 64 hits a second are the pool's: ten devices share the other four.
        let share = target(1.0).expected_hashes();
        let eased = report(1.0, None, share / 100.0, 60.0 * share, 10);
        assert!((share / 100.0 / eased.expected_hashes() / 0.4 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn floods_harden_to_64_hits_a_second_shared_by_rate() {
        for (rate, crowd) in [(1e6, 1e12), (1e12, 1e12), (5e11, 1e12)] {
            let hardened = report(1e-12, None, rate, crowd, 3);
            assert!((crowd / hardened.expected_hashes() / 64.0 - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_device_is_never_asked_for_easier_hits_than_it_can_report() {
        assert_eq!(report(1e6, Some(256.0), 1e6, 1e6, 1), target(256.0));
        assert_eq!(report(1.0, Some(256.0), 1e6, 1e6, 1), target(256.0));
    }

    #[test]
    fn a_guess_of_nothing_still_makes_a_unit() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(SchedulerConfig::default().want(HashRate(rate), true), 1);
        }
        assert_eq!(SchedulerConfig::default().want(HashRate(f64::INFINITY), true), u128::MAX);
    }
}
