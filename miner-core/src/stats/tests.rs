use std::time::{Duration, Instant};

use super::*;

/// A xorshift generator: the same hits in every run.
struct Random(u64);

impl Random {
    /// Between 0 and 1.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Time to the next hit of a Poisson process.
    fn wait(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.uniform()).ln() / per_second)
    }
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn proven_rates_are_unbiased_and_their_intervals_hold_19_times_in_20() {
    let start = Instant::now();
    let mut random = Random(88_172_645_463_325_252);
    for (per_second, horizon) in [(0.1, 100.0), (0.2, 300.0), (1.0, 30.0), (5.0, 7.3), (20.0, 2.0)] {
        let (runs, mut sum, mut shown, mut held) = (2000, 0.0, 0, 0);
        for _ in 0..runs {
            let mut meter = Meter::new(start);
            meter.start(start);
            let mut time = random.wait(per_second);
            while time < at(horizon) {
                meter.hit(start + time, 1e9);
                time += random.wait(per_second);
            }
            let tally = meter.total_at(start + at(horizon));
            sum += tally.work / tally.exposure / 1e9 / per_second;
            if let Some(proven) = meter.rates(start + at(horizon)).proven.average {
                shown += 1;
                held += u32::from((proven.low.0..=proven.high.0).contains(&(per_second * 1e9)));
            }
        }
        let mean = sum / f64::from(runs);
        assert!((mean - 1.0).abs() < 0.02, "{per_second}/s over {horizon} s: {mean:.3} of the truth");
        let held = f64::from(held) / f64::from(shown);
        assert!((0.93..=0.99).contains(&held), "{per_second}/s over {horizon} s: held in {held:.3}");
    }
}

#[test]
fn windows_follow_the_rate_without_bias() {
    let start = Instant::now();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut meter = Meter::new(start);
    meter.start(start);
    let (mut sums, mut samples, mut time) = ([0.0; 3], 0.0, Duration::ZERO);
    let mut next_look = at(900.0);
    while time < at(40_000.0) {
        time += random.wait(10.0);
        while next_look < time {
            let proven = meter.rates(start + next_look).proven;
            for (sum, window) in sums.iter_mut().zip([proven.s5, proven.m1, proven.m15]) {
                *sum += window.unwrap().rate.0;
            }
            samples += 1.0;
            next_look += at(0.77);
        }
        meter.hit(start + time, 1.0);
    }
    for sum in sums {
        assert!((sum / samples / 10.0 - 1.0).abs() < 0.02, "{}", sum / samples);
    }
}

#[test]
fn counted_rates_are_hashes_by_exposure_time() {
    let start = Instant::now();
    let mut meter = Meter::new(start);
    meter.start(start);
    for second in 1..=100 {
        meter.count(start + at(second.into()), if second <= 50 { 1000.0 } else { 3000.0 });
    }
    let counted = meter.rates(start + at(100.0)).counted;
    let near =
        |rate: Option<crate::types::HashRate>, expected: f64| (rate.unwrap().0 / expected - 1.0).abs() < 0.12;
    assert!(near(counted.s5, 3000.0), "{counted:?}");
    assert!(near(counted.m1, (50.0 * 3000.0 + 9.0 * 1000.0) / 59.0), "{counted:?}");
    assert_eq!(counted.average.unwrap().0, 2000.0);
    assert_eq!(meter.recent_counted(start + at(100.0)), counted.s5);
}

#[test]
fn the_clock_stands_still_without_work() {
    let start = Instant::now();
    let mut meter = Meter::new(start);
    for minute in 0..10 {
        let begun = start + at(60.0 * f64::from(minute));
        meter.start(begun);
        meter.count(begun + at(1.0), 500.0);
        meter.count(begun + at(2.0), 500.0);
        meter.stop(begun + at(2.0));
    }
    let rates = meter.rates(start + at(3600.0));
    assert_eq!(rates.counted.average.unwrap().0, 500.0);
    assert_eq!((rates.counted.s5, rates.counted.m1), (None, None), "nothing to tell of an idle minute");
}

#[test]
fn too_little_says_nothing() {
    let start = Instant::now();
    let mut meter = Meter::new(start);
    meter.start(start);
    meter.count(start + at(1.0), 1e6);
    (0..3).for_each(|_| meter.hit(start + at(1.0), 1e6));
    let rates = meter.rates(start + at(1.0));
    assert_eq!((rates.counted.average, rates.proven.average), (None, None));
    meter.count(start + at(2.0), 1e6);
    meter.hit(start + at(2.0), 1e6);
    let rates = meter.rates(start + at(2.0));
    assert_eq!(rates.counted.average.unwrap().0, 1e6);
    assert_eq!(rates.proven.average.unwrap().rate.0, 2e6);
    assert_eq!(meter.recent_proven(start + at(2.0), 5), None);
    assert_eq!(meter.recent_proven(start + at(2.0), 4).unwrap().0, 2e6);
}

#[test]
fn years_of_silence_and_clocks_that_run_backwards_do_no_harm() {
    let start = Instant::now();
    let mut meter = Meter::new(start + at(10.0));
    meter.start(start);
    meter.count(start + at(12.0), 1.0);
    meter.count(start + at(5.0), 1.0);
    let later = start + at(10.0 * 365.0 * 86_400.0);
    assert!(meter.rates(later).counted.average.unwrap().0 > 0.0);
    assert_eq!(meter.rates(later).counted.m15, None);
}
