//! Which kernel is fastest on this driver: measured, and remembered.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use miner_core::types::HashRate;

use crate::adapter::GpuFacts;
use crate::error::GpuError;
use crate::kernel::{Choose, Form, Majority, Rotate, Variant};
use crate::pipeline::{Device, Dispatch, Pipeline, Slot, fitting};
use crate::selftest::FIRST_ANSWER;

/// No card comes near so many hashes a second: a remembered rate above it is spoilt.
const MAX_RATE: f64 = 1e13;

/// Time that a measured dispatch should take at least.
const WINDOW: Duration = Duration::from_millis(15);

/// Windows that the best kernel so far and its challenger get, in turn.
const ROUNDS: usize = 3;

/// What a challenger has to be faster by.
const MARGIN: f64 = 1.02;

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
    /// Measures kernels against each other, one property at a time. Takes seconds: every kernel is compiled for it.
    /// Only what `prove` compiled and found right takes part. `None`: `goes_on`, asked before each of them, said no.
    pub(crate) fn measure(
        device: &Device,
        prove: &Prove<'_>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>, GpuError> {
        let slot = device.slot();
        let mut contest = Contest { device, slot, best: None, prove, goes_on, stopped: false, refused: None };
        contest.vary(|_| ())?;
        let Variant { rotate, choose, majority } = Form::DEFAULT.variant;
        for rotate in Rotate::ALL.into_iter().filter(|&other| other != rotate) {
            contest.vary(|form| form.variant.rotate = rotate)?;
        }
        for choose in Choose::ALL.into_iter().filter(|&other| other != choose) {
            contest.vary(|form| form.variant.choose = choose)?;
        }
        for majority in Majority::ALL.into_iter().filter(|&other| other != majority) {
            contest.vary(|form| form.variant.majority = majority)?;
        }
        for workgroup in [128, 256] {
            contest.vary(|form| form.workgroup = workgroup)?;
        }
        for nonces in [16, 128] {
            contest.vary(|form| form.nonces = nonces)?;
        }
        if let (None, Some(error), false) = (&contest.best, contest.refused.take(), contest.stopped) {
            return Err(error);
        }
        let single = contest.form();
        for midstates in [2, 4] {
            contest.vary(|form| form.midstates = midstates)?;
        }
        let fastest = contest.form();
        let several = (fastest.midstates > 1).then_some(fastest);
        let tuning = Self { single, several, rate: contest.rate() };
        Ok((!contest.stopped).then_some(tuning))
    }

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

/// Compiles a kernel, and asks it known answers.
pub(crate) type Prove<'a> = dyn Fn(Form, &mut Slot) -> Result<Pipeline, GpuError> + 'a;

/// The best kernel so far.
struct Contest<'a> {
    device: &'a Device,
    slot: Slot,
    best: Option<Champion>,
    prove: &'a Prove<'a>,
    goes_on: &'a mut dyn FnMut() -> bool,
    stopped: bool,
    /// What was wrong with the first kernel that lost without a measurement.
    refused: Option<GpuError>,
}

struct Champion {
    pipeline: Pipeline,
    /// Hashes a second.
    rate: f64,
}

impl Contest<'_> {
    fn form(&self) -> Form {
        self.best.as_ref().map_or(Form::DEFAULT, |best| *best.pipeline.kernel.form())
    }

    fn rate(&self) -> HashRate {
        HashRate(self.best.as_ref().map_or(0.0, |best| best.rate))
    }

    /// Challenges the best kernel with itself, changed. One that the driver refuses, or that computes wrongly, loses.
    fn vary(&mut self, change: impl FnOnce(&mut Form)) -> Result<(), GpuError> {
        let mut form = self.form();
        change(&mut form);
        match self.challenge(form) {
            Err(error) if error.is_of_kernel() => {
                self.refused.get_or_insert(error);
                Ok(())
            }
            other => other,
        }
    }

    fn challenge(&mut self, form: Form) -> Result<(), GpuError> {
        self.stopped = self.stopped || !(self.goes_on)();
        if self.stopped {
            return Ok(());
        }
        let pipeline = (self.prove)(form, &mut self.slot)?;
        let mut nonces = fitting(&form, 1 << 16);
        loop {
            let took = self.window(&pipeline, nonces)?;
            if took >= WINDOW || nonces >= 1 << 30 {
                break;
            }
            let factor = (WINDOW.as_secs_f64() * 1.2 / took.as_secs_f64().max(1e-6)).clamp(1.5, 16.0);
            nonces = fitting(&form, (nonces as f64 * factor) as u64);
        }
        let mut rate = 0.0f64;
        let mut best = self.best.take();
        for _ in 0..ROUNDS {
            rate = rate.max(self.rate_of(&pipeline, nonces)?);
            if let Some(best) = &mut best {
                let hashes = rate * WINDOW.as_secs_f64() / f64::from(best.pipeline.kernel.form().midstates);
                best.rate = best.rate.max(self.rate_of(&best.pipeline, hashes as u64)?);
            }
        }
        let wins = best.as_ref().is_none_or(|best| rate > best.rate * MARGIN);
        self.best = if wins { Some(Champion { pipeline, rate }) } else { best };
        Ok(())
    }

    fn rate_of(&mut self, pipeline: &Pipeline, nonces: u64) -> Result<f64, GpuError> {
        let form = pipeline.kernel.form();
        let nonces = fitting(form, nonces);
        let took = self.window(pipeline, nonces)?;
        Ok(nonces as f64 * f64::from(form.midstates) / took.as_secs_f64().max(1e-6))
    }

    /// The time of one dispatch without hits.
    fn window(&mut self, pipeline: &Pipeline, nonces: u64) -> Result<Duration, GpuError> {
        let header = [0x5a; 80];
        let words = pipeline.kernel.words(&vec![header; pipeline.kernel.form().midstates as usize]);
        let start = Instant::now();
        self.device.submit(&mut self.slot, pipeline, &words, Dispatch { first: 0, nonces, limit: 0 });
        self.device.collect(&mut self.slot, FIRST_ANSWER)?;
        Ok(start.elapsed())
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
