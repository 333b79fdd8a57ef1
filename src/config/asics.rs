//! The USB ASICs that are named one by one, and their settings.

use super::devices::{is_asic, refuse};
use super::error::ConfigError;
use super::file::{ConfigFile, Entries};
use super::layers::Layers;
use super::origin::Origin;
use super::setting::{
    ASIC, DEVICE, DEVICE_CUTOFF, DEVICE_ENABLED, DEVICE_FREQ, DEVICE_INTENSITY, DEVICE_KEY, DEVICE_MV,
    DEVICE_TARGET, EMULATE, Setting,
};
use super::value::{self, ValueError};
use crate::cli::AsicFlags;
use crate::settings::{AsicPick, AsicSettings};

/// Most devices by flags or a variable: more than a machine has USB addresses.
const MAX_DEVICES: usize = 256;
/// Most emulated devices: each hashes a little when work comes.
const MAX_EMULATED: usize = 64;

/// The ASICs in force.
pub(super) fn asics(layers: &mut Layers<'_>, flags: &AsicFlags, file: &ConfigFile) -> AsicSettings {
    let emulate = emulated(layers, &flags.emulate);
    let all = layers.pick_or_default(&ASIC, flags.asic.as_deref(), Some(&file.asic), value::asics);
    let drafts = drafts(layers, &flags.device, file);
    if drafts.len() > MAX_DEVICES {
        layers.errors.push(ConfigError::TooManyDevices { given: drafts.len(), limit: MAX_DEVICES });
        return AsicSettings { all, emulate, ..AsicSettings::default() };
    }
    let mut picks = Vec::new();
    for draft in drafts {
        layers.pool = draft.number;
        picks.extend(pick(layers, draft));
    }
    layers.pool = 0;
    AsicSettings { all, picks, emulate }
}

/// The kinds of devices to emulate.
fn emulated(layers: &mut Layers<'_>, flags: &[String]) -> Vec<String> {
    let flag = (!flags.is_empty()).then(|| flags.join(","));
    let kinds =
        layers.pick(&EMULATE, flag.as_deref(), None, value::kinds).map_or(Vec::new(), |(kinds, _)| kinds);
    if kinds.len() > MAX_EMULATED {
        layers.errors.push(ConfigError::TooManyDevices { given: kinds.len(), limit: MAX_EMULATED });
    }
    kinds
}

/// An ASIC as it was named.
struct Draft<'a> {
    /// Its place among the flags, in the variable, or among the file's tables of all devices, from 1.
    number: usize,
    text: String,
    origin: Origin,
    /// What stands beside its key in the file.
    entries: Option<&'a Entries>,
}

/// The devices of the strongest layer that names any.
fn drafts<'a>(layers: &mut Layers<'_>, flags: &[String], file: &'a ConfigFile) -> Vec<Draft<'a>> {
    let named = |texts: Vec<String>, origin: Origin| {
        let draft = |(number, text)| Draft { number, text, origin: origin.clone(), entries: None };
        (1..).zip(texts).map(draft).collect()
    };
    if !flags.is_empty() {
        return named(flags.to_vec(), Origin::Flag(DEVICE.flag));
    }
    if let Some(texts) = layers.env(&DEVICE) {
        return named(texts.split_whitespace().map(str::to_owned).collect(), Origin::Env(DEVICE.env));
    }
    let table = |(number, (entries, _)): (usize, &'a (Entries, _))| {
        let key = entries.get(DEVICE_KEY.name).filter(|key| is_asic(&key.text))?;
        let origin = Origin::File(key.spot.clone());
        Some(Draft { number, text: key.text.clone(), origin, entries: Some(entries) })
    };
    (1..).zip(&file.devices).filter_map(table).collect()
}

fn pick(layers: &mut Layers<'_>, draft: Draft<'_>) -> Option<AsicPick> {
    let Draft { text, origin, entries, .. } = draft;
    let setting = if entries.is_some() { &DEVICE_KEY } else { &DEVICE };
    let mut pick = match value::device(&text) {
        Ok(pick) => pick,
        Err(problem) => {
            layers.reject(setting, &text, problem, origin);
            return None;
        }
    };
    layers.record(setting, Some(&text), origin);
    if let Some(entries) = entries {
        refuse(layers, entries, &[&DEVICE_INTENSITY, &DEVICE_TARGET, &DEVICE_CUTOFF], "an ASIC");
        let mhz = of_device(layers, &DEVICE_FREQ, entries, value::megahertz);
        let millivolts = of_device(layers, &DEVICE_MV, entries, value::millivolts);
        pick.mhz = mhz.or(pick.mhz);
        pick.millivolts = millivolts.or(pick.millivolts);
        pick.enabled = layers.pick_or_default(&DEVICE_ENABLED, None, Some(entries), value::yes_or_no);
    }
    Some(pick)
}

/// A setting that stands beside a device's key in the file.
fn of_device<T>(
    layers: &mut Layers<'_>,
    setting: &'static Setting,
    entries: &Entries,
    read: impl Fn(&str) -> Result<T, ValueError>,
) -> Option<T> {
    let entry = entries.get(setting.name)?;
    let origin = Origin::File(entry.spot.clone());
    match read(&entry.text) {
        Ok(value) => {
            layers.record(setting, Some(&entry.text), origin);
            Some(value)
        }
        Err(problem) => {
            layers.reject(setting, &entry.text, problem, origin);
            None
        }
    }
}
