//! Choosing among the GPUs of this machine.

use std::env::var_os;
use std::path::PathBuf;

use miner_core::backend::HashBackend;
use miner_gpu::{
    Gpu, GpuBackend, GpuConfig, GpuFacts, Gpus, HeatLimits, Intensity, Telemetry, TelemetryError, TuningCache,
};

use super::{FoundGpu, FoundSensors, GpuBackends, GpuProblem};
use crate::report::format::printable;
use crate::settings::{GpuChoice, GpuDevice, GpuIntensity, GpuPick, GpuSettings, HeatSettings};
use crate::version;

/// Sets up the GPUs that the settings choose. None is opened yet.
pub fn backends(settings: &GpuSettings) -> GpuBackends {
    if settings.choice == GpuChoice::None {
        return GpuBackends::default();
    }
    let (chosen, problems) = chosen(settings);
    let cache = cache_folder().map(|folder| TuningCache { folder, build: version::LINE.to_owned() });
    let cards = chosen.iter().any(|(gpu, _)| !gpu.facts.is_software);
    let backend = |(gpu, config)| -> Box<dyn HashBackend> {
        Box::new(GpuBackend::new(gpu, GpuConfig { cache: cache.clone(), ..config }))
    };
    GpuBackends { list: chosen.into_iter().map(backend).collect(), cards, problems }
}

/// The GPUs that the settings choose, how each is to be used, and what is wrong with the choice.
pub fn chosen(settings: &GpuSettings) -> (Vec<(Gpu, GpuConfig)>, Vec<GpuProblem>) {
    let Picked { facts, gpus, mut problems } = picked(settings);
    let telemetry = Telemetry::default();
    let mut chosen = Vec::new();
    for (at, gpu) in gpus {
        let sensor = telemetry.sensor(&gpu.facts);
        if let (Err(reason), false) = (&sensor, gpu.facts.is_software) {
            note_no_sensor(&mut problems, printable(&gpu.facts.name), printable(&reason.to_string()));
        }
        let config = GpuConfig { sensor: sensor.ok(), ..configured(settings, at, &facts) };
        chosen.push((gpu, config));
    }
    (chosen, problems)
}

/// What the settings say of this GPU: its own table, or else what holds for all.
fn configured(settings: &GpuSettings, at: usize, gpus: &[GpuFacts]) -> GpuConfig {
    let own = own(settings, at, gpus);
    let HeatSettings { target, cutoff } = own.map_or(settings.heat, |own| own.heat);
    GpuConfig {
        intensity: intensity(own.map_or(settings.intensity, |own| own.intensity)),
        heat: HeatLimits { target: target.into(), cutoff: cutoff.into() },
        ..GpuConfig::default()
    }
}

/// GPUs that settings chose.
struct Picked {
    /// Of all GPUs.
    facts: Vec<GpuFacts>,
    /// The chosen ones and where each is among all.
    gpus: Vec<(usize, Gpu)>,
    problems: Vec<GpuProblem>,
}

fn picked(settings: &GpuSettings) -> Picked {
    let gpus = Gpus::find();
    let facts: Vec<GpuFacts> = gpus.list.iter().map(|gpu| gpu.facts.clone()).collect();
    let (chosen, mut problems) = choose(settings, &facts);
    if let Some(nothing) = gpus.nothing {
        problems = vec![GpuProblem::NoGpu(nothing)];
    }
    let gpus = chosen.into_iter().map(|at| (at, gpus.list[at].clone())).collect();
    Picked { facts, gpus, problems }
}

/// Says once what holds for several.
fn note_no_sensor(problems: &mut Vec<GpuProblem>, name: String, why: String) {
    let known = problems.iter_mut().find_map(|problem| match problem {
        GpuProblem::NoSensor { names, reason } if *reason == why => Some(names),
        _ => None,
    });
    match known {
        Some(names) => *names += &format!(", {name}"),
        None => problems.push(GpuProblem::NoSensor { names: name, reason: why }),
    }
}

/// The table of this GPU, if it has one.
fn own<'a>(settings: &'a GpuSettings, at: usize, gpus: &[GpuFacts]) -> Option<&'a GpuDevice> {
    settings.devices.iter().find(|device| matching(&device.pick, gpus).contains(&at))
}

/// All GPUs, for `lode devices`.
///
/// # Errors
/// Why there is none.
pub fn list() -> Result<Vec<FoundGpu>, GpuProblem> {
    let gpus = Gpus::find();
    match gpus.nothing {
        Some(nothing) => Err(GpuProblem::NoGpu(nothing)),
        None => {
            let telemetry = Telemetry::default();
            Ok(gpus.list.into_iter().map(|gpu| found(&gpu.facts, &telemetry)).collect())
        }
    }
}

fn found(facts: &GpuFacts, telemetry: &Telemetry) -> FoundGpu {
    let why_not = match facts.unusable {
        Some(reason) => Some(reason.to_string()),
        None if facts.is_software => Some("it is software: --gpu-allow-cpu takes it all the same".to_owned()),
        None => None,
    };
    let (sensors, no_sensors) = match sensors(facts, telemetry) {
        Ok(sensors) => (Some(sensors), None),
        Err(error) => (None, Some(printable(&error.to_string()))),
    };
    FoundGpu {
        key: printable(&facts.key),
        name: printable(&facts.name),
        api: facts.api.to_owned(),
        driver: printable(format!("{} {}", facts.driver.trim(), facts.driver_info.trim()).trim()),
        usable: why_not.is_none(),
        why_not,
        sensors,
        no_sensors,
    }
}

fn sensors(facts: &GpuFacts, telemetry: &Telemetry) -> Result<FoundSensors, TelemetryError> {
    let sensor = telemetry.sensor(facts)?;
    let reading = sensor.read()?;
    Ok(FoundSensors {
        source: printable(sensor.source()),
        celsius: reading.celsius,
        watts: reading.watts,
        fan_rpm: reading.fan_rpm,
        fan_percent: reading.fan_percent,
        clock_mhz: reading.clock_mhz,
        utilisation_percent: reading.utilisation,
        throttle: reading.throttle.map(|why| printable(&why)),
    })
}

/// The places of the chosen GPUs, each once, and what is wrong with the choice.
fn choose(settings: &GpuSettings, gpus: &[GpuFacts]) -> (Vec<usize>, Vec<GpuProblem>) {
    let mut problems = Vec::new();
    let mut wanted: Vec<usize> = Vec::new();
    match &settings.choice {
        GpuChoice::None => {}
        GpuChoice::All => wanted.extend(0..gpus.len()),
        GpuChoice::Some(picks) => {
            for pick in picks {
                let found = matching(pick, gpus);
                if found.is_empty() {
                    problems.push(GpuProblem::NoSuch(shown(pick)));
                }
                wanted.extend(found);
            }
            wanted.sort_unstable();
            wanted.dedup();
        }
    }
    for device in settings.devices.iter().filter(|device| matching(&device.pick, gpus).is_empty()) {
        problems.push(GpuProblem::NoSuchDevice(shown(&device.pick)));
    }
    let usable = |&at: &usize| {
        if own(settings, at, gpus).is_some_and(|own| !own.enabled) {
            let asked_for = settings.choice != GpuChoice::All;
            problems.extend(asked_for.then(|| GpuProblem::Disabled(printable(&gpus[at].name))));
            return false;
        }
        let facts = &gpus[at];
        let name = || printable(&facts.name);
        let problem = match facts.unusable {
            Some(reason) => GpuProblem::Unusable { name: name(), reason: reason.to_string() },
            None if facts.is_software && !settings.allow_cpu => GpuProblem::Software(name()),
            None => return true,
        };
        problems.push(problem);
        false
    };
    wanted.retain(usable);
    (wanted, problems)
}

fn shown(pick: &GpuPick) -> String {
    match pick {
        GpuPick::Index(index) => index.to_string(),
        GpuPick::Name(name) => format!("`{}`", printable(name)),
    }
}

fn matching(pick: &GpuPick, gpus: &[GpuFacts]) -> Vec<usize> {
    let matches = |at: &usize| match pick {
        GpuPick::Index(index) => at == index,
        GpuPick::Name(name) => {
            let gpu = &gpus[*at];
            gpu.key == *name || gpu.name.to_lowercase().contains(&name.to_lowercase())
        }
    };
    (0..gpus.len()).filter(matches).collect()
}

fn intensity(intensity: GpuIntensity) -> Intensity {
    match intensity {
        GpuIntensity::Desktop => Intensity::DESKTOP,
        GpuIntensity::Normal => Intensity::NORMAL,
        GpuIntensity::Max => Intensity::MAX,
        GpuIntensity::Target(target) => Intensity { target, ..Intensity::NORMAL },
    }
}

/// Where tunings are remembered; `None` where the user has no such place.
fn cache_folder() -> Option<PathBuf> {
    let var = |name| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = if cfg!(windows) {
        var("LOCALAPPDATA")?
    } else if cfg!(target_os = "macos") {
        var("HOME")?.join("Library/Caches")
    } else {
        var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))?
    };
    folder.is_absolute().then(|| folder.join("lode").join("gpu"))
}

#[cfg(test)]
mod tests {
    use miner_gpu::Unusable;

    use super::*;

    fn gpu(name: &str, is_software: bool, unusable: Option<Unusable>) -> GpuFacts {
        GpuFacts {
            key: format!("gpu:{}", name.len()),
            name: name.to_owned(),
            pci: None,
            vendor: 0,
            device: 0,
            api: "Vulkan",
            driver: String::new(),
            driver_info: String::new(),
            is_software,
            unusable,
        }
    }

    fn settings(choice: GpuChoice, allow_cpu: bool) -> GpuSettings {
        let heat = HeatSettings { target: 80, cutoff: 90 };
        GpuSettings { choice, allow_cpu, intensity: GpuIntensity::Normal, heat, devices: Vec::new() }
    }

    fn device(pick: GpuPick, enabled: bool) -> GpuDevice {
        let heat = HeatSettings { target: 60, cutoff: 70 };
        GpuDevice { pick, enabled, intensity: GpuIntensity::Desktop, heat }
    }

    #[test]
    fn the_first_table_that_fits_a_gpu_is_its_own() {
        let gpus =
            [gpu("Radeon RX 6800", false, None), gpu("Radeon VII", false, None), gpu("Arc", false, None)];
        let name = |name: &str| GpuPick::Name(name.to_owned());
        let mut settings = settings(GpuChoice::All, false);
        settings.devices = vec![
            device(GpuPick::Index(1), false),
            device(name("radeon"), true),
            device(name("gpu:99"), true),
        ];
        let enabled = |at| own(&settings, at, &gpus).map(|own| own.enabled);
        assert_eq!([0, 1, 2].map(enabled), [Some(true), Some(false), None]);
        let heat = |at| configured(&settings, at, &gpus).heat;
        let (own, of_all) =
            (HeatLimits { target: 60.0, cutoff: 70.0 }, HeatLimits { target: 80.0, cutoff: 90.0 });
        assert_eq!([0, 1, 2].map(heat), [own, own, of_all]);
        assert_eq!(configured(&settings, 0, &gpus).intensity, Intensity::DESKTOP);
        let unknown = GpuProblem::NoSuchDevice("`gpu:99`".to_owned());
        assert_eq!(choose(&settings, &gpus), (vec![0, 2], vec![unknown.clone()]));
        settings.choice = GpuChoice::Some(vec![GpuPick::Index(1)]);
        let off = GpuProblem::Disabled("Radeon VII".to_owned());
        assert_eq!(choose(&settings, &gpus), (vec![], vec![unknown, off]));
    }

    #[test]
    fn what_holds_for_several_cards_is_said_once() {
        let mut problems = vec![GpuProblem::NotBuilt];
        for (name, reason) in [("A", "x"), ("B", "x"), ("C", "y")] {
            note_no_sensor(&mut problems, name.to_owned(), reason.to_owned());
        }
        let said: Vec<String> = problems[1..].iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2);
        assert!(said[0].ends_with("GPU A, B: x") && said[1].ends_with("GPU C: y"), "{said:?}");
    }

    #[test]
    fn what_is_chosen_can_be_used_and_what_was_asked_for_in_vain_is_said() {
        let gpus = [
            gpu("Radeon RX 6800", false, None),
            gpu("Radeon RX 7900", false, None),
            gpu("ancient card", false, Some(Unusable::NoCompute)),
            gpu("llvmpipe", true, None),
        ];
        let name = |name: &str| GpuPick::Name(name.to_owned());
        let some = |picks: &[GpuPick]| GpuChoice::Some(picks.to_vec());
        let old =
            || GpuProblem::Unusable { name: "ancient card".into(), reason: Unusable::NoCompute.to_string() };
        let software = || GpuProblem::Software("llvmpipe".into());
        let cases: [(GpuChoice, bool, &[usize], &[GpuProblem]); 7] = [
            (GpuChoice::None, false, &[], &[]),
            (GpuChoice::All, false, &[0, 1], &[old(), software()]),
            (GpuChoice::All, true, &[0, 1, 3], &[old()]),
            (some(&[name("radeon"), GpuPick::Index(1)]), false, &[0, 1], &[]),
            (some(&[name("gpu:12"), GpuPick::Index(9)]), true, &[], &[GpuProblem::NoSuch("9".into()), old()]),
            (some(&[GpuPick::Index(3)]), false, &[], &[software()]),
            (some(&[name("Arc"), GpuPick::Index(3)]), true, &[3], &[GpuProblem::NoSuch("`Arc`".into())]),
        ];
        for (choice, allow_cpu, chosen, problems) in cases {
            let (found, said) = choose(&settings(choice.clone(), allow_cpu), &gpus);
            assert_eq!((&found[..], &said[..]), (chosen, problems), "{choice:?}");
        }
    }
}
