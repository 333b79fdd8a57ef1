//! Choosing among the GPUs of this machine.

use std::env::var_os;
use std::path::PathBuf;

use miner_core::backend::HashBackend;
use miner_gpu::{Gpu, GpuBackend, GpuConfig, GpuFacts, Gpus, Intensity, TuningCache};

use super::{FoundGpu, GpuBackends, GpuProblem};
use crate::report::format::printable;
use crate::settings::{GpuChoice, GpuIntensity, GpuPick, GpuSettings};
use crate::version;

/// Sets up the GPUs that the settings choose. None is opened yet.
pub fn backends(settings: &GpuSettings) -> GpuBackends {
    if settings.choice == GpuChoice::None {
        return GpuBackends::default();
    }
    let gpus = Gpus::find();
    let facts: Vec<GpuFacts> = gpus.list.iter().map(|gpu| gpu.facts.clone()).collect();
    let (chosen, mut problems) = choose(settings, &facts);
    if let Some(nothing) = gpus.nothing {
        problems = vec![GpuProblem::NoGpu(nothing)];
    }
    let config = GpuConfig {
        intensity: intensity(settings.intensity),
        cache: cache_folder().map(|folder| TuningCache { folder, build: version::LINE.to_owned() }),
        ..GpuConfig::default()
    };
    let backend = |at: usize| {
        let gpu: Gpu = gpus.list[at].clone();
        Box::new(GpuBackend::new(gpu, config.clone())) as Box<dyn HashBackend>
    };
    GpuBackends { list: chosen.into_iter().map(backend).collect(), problems }
}

/// All GPUs, for `lode devices`.
///
/// # Errors
/// Why there is none.
pub fn list() -> Result<Vec<FoundGpu>, GpuProblem> {
    let gpus = Gpus::find();
    match gpus.nothing {
        Some(nothing) => Err(GpuProblem::NoGpu(nothing)),
        None => Ok(gpus.list.into_iter().map(|gpu| found(&gpu.facts)).collect()),
    }
}

fn found(facts: &GpuFacts) -> FoundGpu {
    let why_not = match facts.unusable {
        Some(reason) => Some(reason.to_string()),
        None if facts.is_software => Some("it is software: --gpu-allow-cpu takes it all the same".to_owned()),
        None => None,
    };
    FoundGpu {
        key: printable(&facts.key),
        name: printable(&facts.name),
        api: facts.api.to_owned(),
        driver: printable(format!("{} {}", facts.driver.trim(), facts.driver_info.trim()).trim()),
        usable: why_not.is_none(),
        why_not,
    }
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
                    problems.push(GpuProblem::NoSuch(match pick {
                        GpuPick::Index(index) => index.to_string(),
                        GpuPick::Name(name) => format!("`{}`", printable(name)),
                    }));
                }
                wanted.extend(found);
            }
            wanted.sort_unstable();
            wanted.dedup();
        }
    }
    let usable = |&at: &usize| {
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
        GpuSettings { choice, allow_cpu, intensity: GpuIntensity::Normal }
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
