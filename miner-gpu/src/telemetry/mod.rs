//! What a GPU's own sensors say: read by NVIDIA's management library, or from the kernel's hwmon files.

mod hwmon;
mod nvml;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::adapter::GpuFacts;
use hwmon::Hwmon;
use nvml::{Library, Nvml};

/// PCI vendor id of NVIDIA.
const NVIDIA: u32 = 0x10de;

/// Sensors of one GPU.
pub trait Sensor: Send + Sync {
    /// What they are read by: `NVML`, or the name of a kernel driver.
    fn source(&self) -> &str;

    /// Reads them. Takes milliseconds, or for ever where a driver hangs.
    ///
    /// # Errors
    /// Why nothing at all can be read.
    fn read(&self) -> Result<Reading, TelemetryError>;
}

/// What sensors said at one moment; what they don't tell is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Temperature of the chip in °C.
    pub celsius: Option<f32>,
    /// Power of the card in W.
    pub watts: Option<f32>,
    /// Core voltage in mV.
    pub millivolts: Option<f32>,
    /// Fan speed in revolutions a minute.
    pub fan_rpm: Option<f32>,
    /// Fan duty in percent.
    pub fan_percent: Option<f32>,
    /// Core clock in MHz.
    pub clock_mhz: Option<f32>,
    /// The part of its time that it is busy, in percent.
    pub utilisation: Option<f32>,
    /// Why the card slows itself down.
    pub throttle: Option<Arc<str>>,
}

/// Why sensors cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// Sensors are found by the place of their card.
    #[error("its driver does not tell where it sits")]
    NoPlace,
    /// NVIDIA's library is not there, or not usable.
    #[error("NVIDIA's management library cannot be used: {0}")]
    Library(String),
    /// The kernel's driver has no hwmon files.
    #[error("its kernel driver has no sensors")]
    NoHwmon,
    /// No sensors are known on this system.
    #[error("lode reads no sensors of this card on this system")]
    Unsupported,
    /// Sensors that are there tell nothing.
    #[error("its sensors cannot be read: {0}")]
    Silent(String),
}

/// Finds the sensors of GPUs.
pub struct Telemetry {
    root: PathBuf,
    library: PathBuf,
    /// Loaded once, where the first card needs it.
    nvml: OnceLock<Result<Arc<Library>, TelemetryError>>,
}

impl Default for Telemetry {
    /// Those of this machine.
    fn default() -> Self {
        Self::under("/".into(), nvml::LIBRARY.into())
    }
}

impl Telemetry {
    /// Sensors whose files lie under `root`, and NVIDIA's `library`.
    pub fn under(root: PathBuf, library: PathBuf) -> Self {
        Self { root, library, nvml: OnceLock::new() }
    }

    /// The sensors of a GPU.
    ///
    /// # Errors
    /// Why it has none that can be read.
    pub fn sensor(&self, gpu: &GpuFacts) -> Result<Arc<dyn Sensor>, TelemetryError> {
        let place = gpu.pci.as_deref().filter(|place| is_place(place)).ok_or(TelemetryError::NoPlace)?;
        if let Some(hwmon) = Hwmon::find(&self.root, place) {
            return Ok(Arc::new(hwmon));
        }
        match gpu.vendor {
            NVIDIA => {
                let loaded = self.nvml.get_or_init(|| Library::load(&self.library).map(Arc::new));
                Ok(Arc::new(Nvml::new(Arc::clone(loaded.as_ref().map_err(Clone::clone)?), place)))
            }
            _ if cfg!(target_os = "linux") => Err(TelemetryError::NoHwmon),
            _ => Err(TelemetryError::Unsupported),
        }
    }
}

/// Whether a driver's word is a place on the bus, like `0000:01:00.0`: it becomes a part of a path.
fn is_place(text: &str) -> bool {
    text.contains(':')
        && text.len() <= 16
        && text.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.')
        && !text.contains("..")
}

/// A temperature, unless it is what a sensor says that is not connected.
fn sound(celsius: f32) -> Option<f32> {
    Some(celsius).filter(|&celsius| celsius != 0.0 && (-50.0..150.0).contains(&celsius))
}

#[cfg(test)]
mod tests;
