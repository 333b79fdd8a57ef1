//! Keeping a GPU cool: a thermostat slows it down, and a cut-off stops it whatever else hangs.
//!
//! A [`Guard`] thread of its own reads the sensor and holds a [`Gate`], which is asked where a dispatch is submitted and
//! nowhere before. What it grants lasts for [`Watch::patience`] only: a guard that hangs in its sensor, or dies, stops
//! the GPU too.

mod gate;
mod guard;
mod thermostat;
mod vitals;

use std::time::Duration;

pub(crate) use gate::Gate;
pub(crate) use guard::Guard;
pub(crate) use vitals::Vitals;

/// Degrees below the cut-off that a GPU must cool down to before it works again.
const HYSTERESIS: f32 = 10.0;

/// The temperatures that a GPU is kept at, in °C.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeatLimits {
    /// It is slowed down so that it stays here.
    pub target: f32,
    /// It is stopped here, until it is 10 °C cooler; above the target.
    pub cutoff: f32,
}

impl Default for HeatLimits {
    /// 80 °C, where fans are loud and makers' own limits still some degrees away; 90 °C, where those begin.
    fn default() -> Self {
        Self { target: 80.0, cutoff: 90.0 }
    }
}

impl HeatLimits {
    /// Where a GPU that was stopped works again.
    pub(crate) fn resume(&self) -> f32 {
        self.cutoff - HYSTERESIS
    }
}

/// How a temperature is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Time between two looks at the sensor.
    pub interval: Duration,
    /// How long a look counts: without another, no dispatch starts.
    pub patience: Duration,
}

impl Default for Watch {
    /// Twice a second; 2 s.
    fn default() -> Self {
        Self { interval: Duration::from_millis(500), patience: Duration::from_secs(2) }
    }
}
