//! How hot it gets: one body between a heater and a fan.
//!
//! The figures are made up so that a board of one chip behaves as one does: some 17 W at 525 MHz and 1.15 V, 60 °C with the
//! fan at full speed, far beyond 100 °C without. What tests need is that heat follows power, and temperature the fan.

use std::time::{Duration, Instant};

/// K/W with the fan at full speed and at rest.
const RESISTANCE: (f64, f64) = (2.0, 7.0);
/// Watts of a chip for each MHz and square volt.
const WATTS: f64 = 0.0245;
/// Watts of a chip that is powered and does nothing.
const IDLE_WATTS: f64 = 0.5;

/// The temperature of a heatsink over time.
#[derive(Debug)]
pub(crate) struct Thermal {
    celsius: f64,
    ambient: f64,
    time_constant: Duration,
    at: Option<Instant>,
}

impl Thermal {
    pub(crate) fn new() -> Self {
        Self { celsius: 25.0, ambient: 25.0, time_constant: Duration::from_secs(20), at: None }
    }

    pub(crate) fn set_time_constant(&mut self, time_constant: Duration) {
        self.time_constant = time_constant.max(Duration::from_millis(1));
    }

    pub(crate) fn set_ambient(&mut self, celsius: f64) {
        self.ambient = celsius;
    }

    pub(crate) fn set_celsius(&mut self, celsius: f64) {
        self.celsius = celsius;
    }

    pub(crate) fn celsius(&self) -> f64 {
        self.celsius
    }

    /// Lets time pass under a load in watts with the fan at a fraction of its speed.
    pub(crate) fn step(&mut self, now: Instant, watts: f64, fan: f64) {
        let time = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        let (cooled, still) = RESISTANCE;
        let end = self.ambient + watts * (cooled + (still - cooled) * (1.0 - fan).powi(2));
        let left = (-time.as_secs_f64() / self.time_constant.as_secs_f64()).exp();
        self.celsius = end + (self.celsius - end) * left;
    }
}

/// Watts of some chips at a voltage, and at a clock if they hash.
pub(crate) fn watts(chips: usize, volts: f64, megahertz: Option<f64>) -> f64 {
    let dynamic = megahertz.map_or(0.0, |megahertz| WATTS * megahertz * volts * volts);
    if volts > 0.0 { chips as f64 * (IDLE_WATTS + dynamic) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_follows_power_and_fan() {
        let (mut body, now) = (Thermal::new(), Instant::now());
        let load = watts(1, 1.15, Some(525.0));
        assert!((17.0..18.0).contains(&load), "{load}");
        let at = |seconds| now + Duration::from_secs(seconds);
        body.step(now, 0.0, 1.0);
        body.step(at(200), load, 1.0);
        assert!((55.0..65.0).contains(&body.celsius()), "{}", body.celsius());
        body.step(at(400), load, 0.0);
        assert!(body.celsius() > 110.0);
        body.step(at(420), 0.0, 1.0);
        assert!((50.0..80.0).contains(&body.celsius()), "a time constant later: {}", body.celsius());
        body.step(at(900), watts(1, 0.0, None), 0.25);
        assert!((body.celsius() - 25.0).abs() < 0.1);
    }
}
