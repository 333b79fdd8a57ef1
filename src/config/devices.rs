//! `[[device]]`: what one GPU does otherwise than the others, or an ASIC (see [`asics`](super::asics)).

use super::error::{ConfigError, Notice};
use super::file::{ConfigFile, Entries};
use super::layers::Layers;
use super::origin::Origin;
use super::setting::{
    DEVICE_CUTOFF, DEVICE_ENABLED, DEVICE_FREQ, DEVICE_INTENSITY, DEVICE_KEY, DEVICE_MV, DEVICE_TARGET,
    Setting,
};
use super::value::{self, ValueError};
use crate::settings::{GpuDevice, GpuIntensity, GpuPick, HeatSettings};

/// Most tables: more than a machine has devices.
const MAX_DEVICES: usize = 256;

/// The least distance from the target to the cut-off, in °C: nearer, a card would be stopped again and again.
const LEAST_DISTANCE: u8 = 5;

/// A setting of a whole kind of devices, and where it was given.
pub(super) struct General<T> {
    pub(super) setting: &'static Setting,
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// What holds for all GPUs.
pub(super) struct AllGpus {
    pub(super) intensity: General<GpuIntensity>,
    pub(super) target: General<u8>,
    pub(super) cutoff: General<u8>,
}

impl AllGpus {
    /// Their temperatures, checked.
    pub(super) fn heat(&self, layers: &mut Layers<'_>) -> HeatSettings {
        let given = [&self.target, &self.cutoff].into_iter().find(|given| !is_default(&given.origin));
        let at = given.map_or(Origin::Default, |given| given.origin.clone());
        heat(layers, self.target.value, self.cutoff.value, at)
    }
}

/// Refuses more tables than a machine has devices, whatever kinds of devices they are for.
pub(super) fn limit_tables(layers: &mut Layers<'_>, file: &mut ConfigFile) {
    let given = file.devices.len();
    if given > MAX_DEVICES {
        layers.errors.push(ConfigError::TooManyDevices { given, limit: MAX_DEVICES });
        file.devices.clear();
    }
}

/// Whether a key is one of `asic:DRIVER:PLACE`, `DRIVER:PLACE`: what has a colon and is no key of a GPU.
pub(super) fn is_asic(key: &str) -> bool {
    key.contains(':') && !key.trim().starts_with("gpu:")
}

/// Refuses keys of a table that its kind of device does not have.
pub(super) fn refuse(
    layers: &mut Layers<'_>,
    entries: &Entries,
    settings: &[&'static Setting],
    kind: &'static str,
) {
    for setting in settings {
        if let Some(entry) = entries.get(setting.name) {
            let at = Origin::File(entry.spot.clone());
            layers.reject(setting, &entry.text, ValueError::OtherKind(kind), at);
        }
    }
}

/// The tables of GPUs, in order: the first that fits a GPU is its own.
pub(super) fn gpu_devices(layers: &mut Layers<'_>, file: &ConfigFile, all: &AllGpus) -> Vec<GpuDevice> {
    let mut devices: Vec<GpuDevice> = Vec::new();
    for (number, (entries, header)) in (1..).zip(&file.devices) {
        layers.pool = number;
        let Some(entry) = entries.get(DEVICE_KEY.name) else {
            layers.errors.push(ConfigError::NoDeviceKey { at: header.clone() });
            continue;
        };
        if is_asic(&entry.text) {
            continue;
        }
        let at = Origin::File(entry.spot.clone());
        refuse(layers, entries, &[&DEVICE_FREQ, &DEVICE_MV], "a GPU");
        let Some((pick, _)) = layers.pick(&DEVICE_KEY, None, Some(entries), gpu_key) else { continue };
        if devices.iter().any(|other| other.pick == pick) {
            layers.reject(&DEVICE_KEY, &entry.text, ValueError::Twice, at);
            continue;
        }
        devices.push(gpu_device(layers, pick, entries, at, all));
    }
    layers.pool = 0;
    devices
}

/// A device key as `--gpu` takes it, for one GPU.
fn gpu_key(text: &str) -> Result<GpuPick, ValueError> {
    match value::gpu_picks(text.trim())?.as_slice() {
        [pick] if text != "cpu" => Ok(pick.clone()),
        _ => Err(ValueError::DeviceKey),
    }
}

fn gpu_device(
    layers: &mut Layers<'_>,
    pick: GpuPick,
    entries: &Entries,
    at: Origin,
    all: &AllGpus,
) -> GpuDevice {
    let enabled = layers.pick_or_default(&DEVICE_ENABLED, None, Some(entries), value::yes_or_no);
    let intensity = own(layers, &DEVICE_INTENSITY, entries, &all.intensity, value::intensity);
    let target = own(layers, &DEVICE_TARGET, entries, &all.target, value::temp_target);
    let cutoff = own(layers, &DEVICE_CUTOFF, entries, &all.cutoff, value::temp_cutoff);
    let given = [&DEVICE_TARGET, &DEVICE_CUTOFF].into_iter().any(|key| entries.contains_key(key.name));
    // What is wrong with what holds for all GPUs is said once.
    let heat = if given { heat(layers, target, cutoff, at) } else { HeatSettings { target, cutoff } };
    GpuDevice { pick, enabled, intensity, heat }
}

/// What a table says, unless it says nothing, or a flag or variable beats it.
fn own<T: Copy>(
    layers: &mut Layers<'_>,
    setting: &'static Setting,
    entries: &Entries,
    all: &General<T>,
    read: impl Fn(&str) -> Result<T, ValueError>,
) -> T {
    let Some(entry) = entries.get(setting.name) else { return all.value };
    let (Origin::Flag(by) | Origin::Env(by)) = all.origin else {
        return layers.pick(setting, None, Some(entries), read).map_or(all.value, |(value, _)| value);
    };
    if let Err(problem) = read(&entry.text) {
        layers.reject(setting, &entry.text, problem, Origin::File(entry.spot.clone()));
    }
    layers.notices.push(Notice::BeatenTable { by, key: setting.name, number: layers.pool });
    layers.record_beaten(setting, all.setting);
    all.value
}

fn heat(layers: &mut Layers<'_>, target: u8, cutoff: u8, at: Origin) -> HeatSettings {
    if cutoff < target + LEAST_DISTANCE {
        layers.errors.push(ConfigError::HeatLimits { target, cutoff, distance: LEAST_DISTANCE, at });
    }
    HeatSettings { target, cutoff }
}

fn is_default(origin: &Origin) -> bool {
    matches!(origin, Origin::Default)
}
