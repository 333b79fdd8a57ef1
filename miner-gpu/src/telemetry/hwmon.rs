//! Sensors as the Linux kernel shows them: files under the card's PCI device, by the kernel's hwmon interface.
//!
//! Units are the interface's: thousandths of a degree, millionths of a watt, Hz.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Reading, Sensor, TelemetryError, sound};

/// A number has few digits.
const MAX_BYTES: u64 = 64;

/// A PWM value that means full speed.
const PWM_FULL: f32 = 255.0;

/// The sensors of one card.
pub(super) struct Hwmon {
    /// The card's PCI device.
    device: PathBuf,
    /// The folder of its sensors.
    folder: PathBuf,
    /// The kernel driver's name.
    name: String,
    temperature: PathBuf,
}

impl Hwmon {
    /// The sensors of the card at this place; `None` where there is no temperature among them.
    pub(super) fn find(root: &Path, place: &str) -> Option<Self> {
        let device = root.join("sys/bus/pci/devices").join(place.to_ascii_lowercase());
        names(&device.join("hwmon")).into_iter().find_map(|name| {
            let folder = device.join("hwmon").join(name);
            let temperature = temperature(&folder)?;
            let name = text(&folder.join("name")).unwrap_or_else(|| "hwmon".to_owned());
            Some(Self { device: device.clone(), folder, name, temperature })
        })
    }

    fn number(&self, file: &str) -> Option<f32> {
        number(&self.folder.join(file)).filter(|&number| number >= 0.0)
    }
}

impl Sensor for Hwmon {
    fn source(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Reading, TelemetryError> {
        let celsius = number(&self.temperature).and_then(|milli| sound(milli / 1e3));
        let watts = self.number("power1_average").or_else(|| self.number("power1_input"));
        let reading = Reading {
            celsius,
            watts: watts.map(|micro| micro / 1e6),
            millivolts: self.number("in0_input"),
            fan_rpm: self.number("fan1_input"),
            fan_percent: self.number("pwm1").map(|pwm| pwm / PWM_FULL * 100.0),
            clock_mhz: self.number("freq1_input").map(|hz| hz / 1e6),
            utilisation: number(&self.device.join("gpu_busy_percent")),
            throttle: None,
        };
        if reading == Reading::default() {
            return Err(TelemetryError::Silent(format!("no number in {}", self.folder.display())));
        }
        Ok(reading)
    }
}

/// The file with the temperature of the chip's edge, which limits are given for, or the first one.
fn temperature(folder: &Path) -> Option<PathBuf> {
    let inputs =
        names(folder).into_iter().filter(|name| name.starts_with("temp") && name.ends_with("_input"));
    let inputs: Vec<PathBuf> = inputs.map(|name| folder.join(name)).collect();
    let is_edge = |input: &&PathBuf| {
        let label = input.to_string_lossy().replace("_input", "_label");
        text(Path::new(&label)).is_some_and(|label| label == "edge")
    };
    inputs.iter().find(is_edge).or_else(|| inputs.first()).cloned()
}

/// The names in a folder, sorted; none where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn text(file: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn number(file: &Path) -> Option<f32> {
    text(file)?.parse().ok().filter(|number: &f32| number.is_finite())
}
