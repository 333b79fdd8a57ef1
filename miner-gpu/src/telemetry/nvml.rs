//! Sensors of NVIDIA's cards, by the management library that comes with their driver. Never run on hardware.

use std::path::Path;
use std::sync::Arc;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};

use super::{Reading, Sensor, TelemetryError, sound};

/// The library's file: found by the system's rules.
pub(super) const LIBRARY: &str = if cfg!(windows) { "nvml.dll" } else { "libnvidia-ml.so.1" };

/// Why a card slows itself down, in words; that it idles, or was told its clocks, is no trouble.
const REASONS: [(ThrottleReasons, &str); 6] = [
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "the card is too hot"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "its driver keeps it cool"),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "the power supply's brake"),
    (ThrottleReasons::SW_POWER_CAP, "its power limit"),
    (ThrottleReasons::HW_SLOWDOWN, "the card protects itself"),
    (ThrottleReasons::SYNC_BOOST, "it keeps step with another card"),
];

/// The library, loaded.
pub(super) struct Library(nvml_wrapper::Nvml);

impl Library {
    pub(super) fn load(file: &Path) -> Result<Self, TelemetryError> {
        let loaded = nvml_wrapper::Nvml::builder().lib_path(file.as_os_str()).init();
        loaded.map(Self).map_err(|error| TelemetryError::Library(error.to_string()))
    }
}

/// The sensors of one card.
pub(super) struct Nvml {
    library: Arc<Library>,
    /// Where it sits.
    place: String,
}

impl Nvml {
    pub(super) fn new(library: Arc<Library>, place: &str) -> Self {
        Self { library, place: place.to_owned() }
    }
}

impl Sensor for Nvml {
    fn source(&self) -> &str {
        "NVML"
    }

    fn read(&self) -> Result<Reading, TelemetryError> {
        let card = self.library.0.device_by_pci_bus_id(self.place.as_str());
        let card = card.map_err(|error| TelemetryError::Silent(error.to_string()))?;
        let celsius = card.temperature(TemperatureSensor::Gpu);
        let figure = |value: Result<u32, _>| value.ok().map(|value| value as f32);
        let reading = Reading {
            celsius: celsius.as_ref().ok().and_then(|&celsius| sound(celsius as f32)),
            watts: figure(card.power_usage()).map(|milli| milli / 1e3),
            millivolts: None,
            fan_rpm: figure(card.fan_speed_rpm(0)),
            fan_percent: figure(card.fan_speed(0)),
            clock_mhz: figure(card.clock_info(Clock::Graphics)),
            utilisation: figure(card.utilization_rates().map(|rates| rates.gpu)),
            throttle: card.current_throttle_reasons().ok().and_then(words).map(Into::into),
        };
        match celsius {
            Err(error) if reading == Reading::default() => Err(TelemetryError::Silent(error.to_string())),
            _ => Ok(reading),
        }
    }
}

/// The gravest reason.
fn words(reasons: ThrottleReasons) -> Option<&'static str> {
    REASONS.iter().find(|(reason, _)| reasons.contains(*reason)).map(|(_, words)| *words)
}
