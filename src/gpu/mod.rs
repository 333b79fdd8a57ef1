//! Which GPUs are mined with, and why others are not.

#[cfg(feature = "gpu")]
mod choice;

use std::fmt;

use miner_core::backend::HashBackend;
use serde::Serialize;

#[cfg(feature = "gpu")]
pub use choice::{backends, chosen, list};

/// A GPU as `lode devices` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundGpu {
    /// The device key, as everywhere.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The interface that it is reached by.
    pub api: String,
    /// Its driver and the driver's version.
    pub driver: String,
    /// Whether lode mines with it where it is asked to.
    pub usable: bool,
    /// Why not.
    pub why_not: Option<String>,
    /// What its sensors say.
    pub sensors: Option<FoundSensors>,
    /// Why they say nothing, and nobody watches its temperature.
    pub no_sensors: Option<String>,
}

/// Sensors as `lode devices` shows them; what they don't tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FoundSensors {
    /// What they are read by.
    pub source: String,
    /// Temperature in °C.
    pub celsius: Option<f32>,
    /// Power in W.
    pub watts: Option<f32>,
    /// Fan speed in revolutions a minute.
    pub fan_rpm: Option<f32>,
    /// Fan duty in percent.
    pub fan_percent: Option<f32>,
    /// Core clock in MHz.
    pub clock_mhz: Option<f32>,
    /// The part of its time that it is busy, in percent.
    pub utilisation_percent: Option<f32>,
    /// Why it slows itself down.
    pub throttle: Option<String>,
}

impl fmt::Display for FoundSensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = [
            (self.celsius, "°C"),
            (self.watts, "W"),
            (self.fan_rpm, "rpm"),
            (self.fan_percent, "% fan"),
            (self.clock_mhz, "MHz"),
            (self.utilisation_percent, "% busy"),
        ];
        let told = figures.into_iter().filter_map(|(value, unit)| Some(format!("{:.0} {unit}", value?)));
        let throttle = self.throttle.iter().map(|why| format!("slowed down: {why}"));
        let told: Vec<String> = told.chain(throttle).collect();
        write!(f, "{}: {}", self.source, told.join(", "))
    }
}

/// Why a GPU, or any, is not mined with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuProblem {
    /// The code for GPUs was left out.
    #[error("this lode was built without GPUs")]
    NotBuilt,
    /// There is none.
    #[error("no GPU found: {0}")]
    NoGpu(String),
    /// There is none of this number or name.
    #[error("there is no GPU {0}")]
    NoSuch(String),
    /// A `[[device]]` is for none that is there.
    #[error("[[device]] {0} is for no GPU that is there")]
    NoSuchDevice(String),
    /// It was asked for, and its `[[device]]` says no.
    #[error("GPU {0} is switched off by its [[device]]")]
    Disabled(String),
    /// Nothing tells how hot it is. It is mined with all the same.
    #[error("nobody watches the temperature of GPU {names}: {reason}")]
    NoSensor {
        /// The names of those that this holds for.
        names: String,
        /// Why.
        reason: String,
    },
    /// A CPU only plays it.
    #[error("GPU {0} is software")]
    Software(String),
    /// Its driver or its limits don't suffice.
    #[error("GPU {name} cannot be used: {reason}")]
    Unusable {
        /// Its name.
        name: String,
        /// What is lacking.
        reason: String,
    },
}

/// The GPUs to mine with.
#[derive(Default)]
pub struct GpuBackends {
    /// A backend for each.
    pub list: Vec<Box<dyn HashBackend>>,
    /// Whether a card is among them: its driver gets a CPU core. What a CPU plays takes all of them by itself.
    pub cards: bool,
    /// What was asked for and can't be had.
    pub problems: Vec<GpuProblem>,
}

/// Says that there are none in this build, if any were asked for.
#[cfg(not(feature = "gpu"))]
pub fn backends(settings: &crate::settings::GpuSettings) -> GpuBackends {
    let wanted = settings.choice != crate::settings::GpuChoice::None;
    GpuBackends {
        list: Vec::new(),
        cards: false,
        problems: wanted.then_some(GpuProblem::NotBuilt).into_iter().collect(),
    }
}

/// Says that there are none in this build.
///
/// # Errors
/// Always.
#[cfg(not(feature = "gpu"))]
pub fn list() -> Result<Vec<FoundGpu>, GpuProblem> {
    Err(GpuProblem::NotBuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensors_are_shown_as_far_as_they_tell() {
        let mut sensors = FoundSensors {
            source: "amdgpu".to_owned(),
            celsius: Some(70.6),
            watts: Some(203.0),
            clock_mhz: Some(2105.0),
            ..FoundSensors::default()
        };
        assert_eq!(sensors.to_string(), "amdgpu: 71 °C, 203 W, 2105 MHz");
        sensors.throttle = Some("its power limit".to_owned());
        assert!(sensors.to_string().ends_with(", slowed down: its power limit"));
    }
}
