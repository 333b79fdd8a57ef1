//! Which kernels were found fastest, and where that is remembered.

use std::path::PathBuf;

use miner_core::types::HashRate;

use crate::adapter::GpuFacts;
use crate::kernel::Form;

/// No card comes near so many hashes a second: a remembered rate above it is spoilt.
const MAX_RATE: f64 = 1e13;

/// The kernels for one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// For one header.
    pub single: Form,
    /// For several versions of a header at once, where that is faster.
    pub several: Option<Form>,
    /// Hashes a second of the faster one.
    pub rate: HashRate,
}

impl Tuning {
    /// As lines for the cache.
    fn to_text(self) -> String {
        let several = self.several.map_or_else(|| "none".to_owned(), |form| form.to_string());
        format!("{}\n{several}\n{}\n", self.single, self.rate.0)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let single: Form = lines.next()?.parse().ok()?;
        let several = match lines.next()? {
            "none" => None,
            text => Some(text.parse::<Form>().ok()?),
        };
        let rate: f64 = lines.next()?.parse().ok()?;
        let fits = single.midstates == 1 && several.is_none_or(|form| form.midstates > 1);
        let sound = fits && rate > 0.0 && rate <= MAX_RATE && lines.next().is_none();
        sound.then_some(Self { single, several, rate: HashRate(rate) })
    }
}

/// Where tunings are remembered, each for a GPU, its driver and the build of lode.
#[derive(Clone, Debug)]
pub struct TuningCache {
    /// The folder; it is made when needed.
    pub folder: PathBuf,
    /// What tells this build of lode from others.
    pub build: String,
}

impl TuningCache {
    /// The remembered tuning; `None` where there is none that can be read.
    pub(crate) fn load(&self, gpu: &GpuFacts) -> Option<Tuning> {
        let text = std::fs::read_to_string(self.file(gpu)).ok()?;
        Tuning::from_text(text.strip_prefix(&self.key(gpu))?.strip_prefix('\n')?)
    }

    /// Remembers a tuning. Where it can't, the next start measures again: that is all.
    pub(crate) fn save(&self, gpu: &GpuFacts, tuning: Tuning) {
        let file = self.file(gpu);
        let text = format!("{}\n{}", self.key(gpu), tuning.to_text());
        // Whole or not at all, for whoever reads it meanwhile.
        let draft = file.with_extension(format!("{}.new", std::process::id()));
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::write(&draft, text))
            .and_then(|()| std::fs::rename(&draft, file));
        if written.is_err() {
            let _ = std::fs::remove_file(draft);
        }
    }

    /// Drops the tuning of a GPU.
    pub(crate) fn forget(&self, gpu: &GpuFacts) {
        let _ = std::fs::remove_file(self.file(gpu));
    }

    /// One line: a newline in a driver's words is none here.
    fn key(&self, gpu: &GpuFacts) -> String {
        let GpuFacts { name, api, driver, driver_info, .. } = gpu;
        [name, *api, driver, driver_info, &self.build].join(" | ").replace(char::is_control, " ")
    }

    fn file(&self, gpu: &GpuFacts) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = gpu.name.chars().take(60).map(plain).collect();
        self.folder.join(format!("{name}-{:04x}-{:04x}.tuning", gpu.vendor & 0xffff, gpu.device & 0xffff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu() -> GpuFacts {
        GpuFacts {
            key: "gpu:0".to_owned(),
            name: "A card / ../ with\na strange name".to_owned(),
            pci: None,
            vendor: 1,
            device: 2,
            api: "Vulkan",
            driver: "driver".to_owned(),
            driver_info: "1.0".to_owned(),
            is_software: false,
            unusable: None,
        }
    }

    fn tuning() -> Tuning {
        let several = Form { midstates: 2, ..Form::DEFAULT };
        Tuning { single: Form::DEFAULT, several: Some(several), rate: HashRate(1.25e9) }
    }

    #[test]
    fn a_tuning_is_remembered_for_one_gpu_one_driver_and_one_build() {
        let folder = std::env::temp_dir().join(format!("lode-tuning-{}", std::process::id()));
        let cache = TuningCache { folder: folder.join("made"), build: "1".to_owned() };
        assert_eq!(cache.load(&gpu()), None);
        for tuning in [tuning(), Tuning { several: None, ..tuning() }] {
            cache.save(&gpu(), tuning);
            assert_eq!(cache.load(&gpu()), Some(tuning));
        }
        cache.forget(&gpu());
        assert_eq!(cache.load(&gpu()), None);
        cache.save(&gpu(), tuning());
        let updated = GpuFacts { driver_info: "1.1".to_owned(), ..gpu() };
        assert_eq!(cache.load(&updated), None);
        assert_eq!(TuningCache { build: "2".to_owned(), ..cache.clone() }.load(&gpu()), None);
        assert_eq!(std::fs::read_dir(&cache.folder).unwrap().count(), 1, "no drafts are left");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_spoilt_tuning_is_none() {
        let good = tuning().to_text();
        assert_eq!(Tuning::from_text(&good), Some(tuning()));
        let swapped: Vec<&str> = good.lines().collect();
        let swapped = format!("{}\n{}\n{}\n", swapped[1], swapped[0], swapped[2]);
        for text in ["", "none\nnone\n1\n", &swapped, &format!("{good}x")] {
            assert_eq!(Tuning::from_text(text), None, "{text}");
        }
        for rate in ["NaN", "inf", "1e308", "1.1e13", "0", "-1"] {
            assert_eq!(Tuning::from_text(&good.replace("1250000000", rate)), None, "{rate}");
        }
    }
}
