//! Which kernel is fastest on this driver: measured, one property at a time.

use std::mem;
use std::time::Duration;

use miner_core::types::HashRate;

use crate::care::once_let;
use crate::error::GpuError;
use crate::kernel::{Choose, Form, Majority, Rotate, Variant};
use crate::pipeline::{Device, Dispatch, Pipeline, Slot, drop_aside, fitting};
use crate::selftest::selftest;
use crate::tuning::Tuning;
use crate::watched::Watched;

/// Time that a measured dispatch should take at least.
const WINDOW: Duration = Duration::from_millis(15);

/// How long a measured dispatch may take before its kernel is held to hang: it was compiled before.
const HANG: Duration = Duration::from_secs(10);

/// Windows that the best kernel so far and its challenger get, in turn.
const ROUNDS: usize = 3;

/// What a challenger has to be faster by.
const MARGIN: f64 = 1.02;

/// Kernels that may take the device down with them in one measurement: with more, it is the device that fails.
const MAX_LOSSES: u32 = 3;

/// What became of one kernel in a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The kernel.
    pub form: Form,
    /// Hashes a second, or why it lost without a figure.
    pub rate: Result<HashRate, GpuError>,
}

/// What a measurement wants of whoever has it made.
pub(crate) trait Workshop {
    /// Opens the device anew: a kernel took the last one down.
    fn open(&mut self) -> Result<Device, GpuError>;

    /// Compiles a kernel, and asks it known answers.
    fn prove(&mut self, device: &Device, form: Form, slot: &mut Slot) -> Result<Pipeline, GpuError>;

    /// Waits until dispatches may start, and says whether to go on; asked before each try of a kernel.
    fn goes_on(&mut self) -> Result<bool, GpuError>;

    /// A kernel was tried.
    fn tried(&mut self, trial: Trial);
}

impl Tuning {
    /// Measures the kernels of a GPU as [`GpuBackend`](crate::GpuBackend) does at its first start, and tells of each;
    /// `told` says whether to go on. `None`: it said no.
    ///
    /// # Errors
    ///
    /// The device cannot be opened, is stopped by its guard or fails again and again, or no kernel is right.
    pub fn of(gpu: &Watched, told: &mut dyn FnMut(Trial) -> bool) -> Result<Option<Self>, GpuError> {
        struct Alone<'a> {
            gpu: &'a Watched,
            told: &'a mut dyn FnMut(Trial) -> bool,
            goes_on: bool,
        }

        impl Workshop for Alone<'_> {
            fn open(&mut self) -> Result<Device, GpuError> {
                self.gpu.open()
            }

            fn prove(&mut self, device: &Device, form: Form, slot: &mut Slot) -> Result<Pipeline, GpuError> {
                let pipeline = device.compile(form)?;
                selftest(device, &pipeline, slot).map(|()| pipeline)
            }

            fn goes_on(&mut self) -> Result<bool, GpuError> {
                if self.goes_on { self.gpu.ready().map(|()| true) } else { Ok(false) }
            }

            fn tried(&mut self, trial: Trial) {
                self.goes_on = (self.told)(trial);
            }
        }

        Self::measure(&mut gpu.open()?, &mut Alone { gpu, told, goes_on: true })
    }

    /// Measures kernels against each other, one property at a time. Takes seconds: every kernel is compiled for it.
    /// Only what the workshop proved takes part; what takes the device down loses, and the device is opened anew.
    /// `None`: the workshop would not go on.
    pub(crate) fn measure(
        device: &mut Device,
        workshop: &mut dyn Workshop,
    ) -> Result<Option<Self>, GpuError> {
        let slot = device.slot();
        let mut contest =
            Contest { device, slot, best: None, workshop, stopped: false, refused: None, losses: 0 };
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
}

/// The best kernel so far.
struct Contest<'a> {
    device: &'a mut Device,
    slot: Slot,
    best: Option<Champion>,
    workshop: &'a mut dyn Workshop,
    stopped: bool,
    /// What was wrong with the first kernel that lost without a measurement.
    refused: Option<GpuError>,
    /// Kernels that took the device down.
    losses: u32,
}

struct Champion {
    pipeline: Pipeline,
    /// Hashes a second.
    rate: f64,
}

impl Champion {
    fn form(&self) -> Form {
        *self.pipeline.kernel.form()
    }
}

impl Contest<'_> {
    fn form(&self) -> Form {
        self.best.as_ref().map_or(Form::DEFAULT, Champion::form)
    }

    fn rate(&self) -> HashRate {
        HashRate(self.best.as_ref().map_or(0.0, |best| best.rate))
    }

    /// Challenges the best kernel with itself, changed. One that the driver refuses, that computes wrongly, or that takes
    /// the device down, loses; one that the gate held up is tried again.
    fn vary(&mut self, change: impl FnOnce(&mut Form)) -> Result<(), GpuError> {
        if self.stopped {
            return Ok(());
        }
        let mut form = self.form();
        change(&mut form);
        let tried = self.once_let(|contest| match contest.challenge(form) {
            Err(GpuError::Held) => Err(GpuError::Held),
            rate => Ok(rate),
        })?;
        let Some(rate) = tried else { return Ok(()) };
        self.workshop.tried(Trial { form, rate: rate.clone().map(HashRate) });
        let Err(error) = rate else { return Ok(()) };
        if !error.is_of_kernel() {
            self.losses += 1;
            if self.losses > MAX_LOSSES {
                return Err(error);
            }
            self.renew()?;
        }
        self.refused.get_or_insert(error);
        Ok(())
    }

    /// `None`: the workshop would not go on.
    fn once_let<T>(
        &mut self,
        step: impl FnMut(&mut Self) -> Result<T, GpuError>,
    ) -> Result<Option<T>, GpuError> {
        let done = once_let(self, |contest| contest.workshop.goes_on(), step)?;
        self.stopped = self.stopped || done.is_none();
        Ok(done)
    }

    /// Hashes a second of the challenger, which is the best one now if they are enough.
    fn challenge(&mut self, form: Form) -> Result<f64, GpuError> {
        let pipeline = self.workshop.prove(self.device, form, &mut self.slot)?;
        let mut nonces = fitting(&form, 1 << 16);
        loop {
            let took = window(self.device, &mut self.slot, &pipeline, nonces)?;
            if took >= WINDOW || nonces >= 1 << 30 {
                break;
            }
            let factor = (WINDOW.as_secs_f64() * 1.2 / took.as_secs_f64().max(1e-6)).clamp(1.5, 16.0);
            nonces = fitting(&form, (nonces as f64 * factor) as u64);
        }
        let mut rate = 0.0f64;
        for _ in 0..ROUNDS {
            rate = rate.max(rate_of(self.device, &mut self.slot, &pipeline, nonces)?);
            if let Some(best) = &mut self.best {
                let hashes = rate * WINDOW.as_secs_f64() / f64::from(best.form().midstates);
                let again = rate_of(self.device, &mut self.slot, &best.pipeline, hashes as u64)?;
                best.rate = best.rate.max(again);
            }
        }
        if self.best.as_ref().is_none_or(|best| rate > best.rate * MARGIN) {
            self.best = Some(Champion { pipeline, rate });
        }
        Ok(rate)
    }

    /// Opens the device anew, with the best kernel so far. Nobody waits for what is left of the last one.
    fn renew(&mut self) -> Result<(), GpuError> {
        let device = self.workshop.open()?;
        let slot = mem::replace(&mut self.slot, device.slot());
        let best = self.best.take();
        let kept = best.as_ref().map(|best| (best.form(), best.rate));
        drop_aside((best, slot, mem::replace(self.device, device)));
        if let Some((form, rate)) = kept {
            let proven =
                self.once_let(|contest| contest.workshop.prove(contest.device, form, &mut contest.slot))?;
            self.best = proven.map(|pipeline| Champion { pipeline, rate });
        }
        Ok(())
    }
}

fn rate_of(device: &Device, slot: &mut Slot, pipeline: &Pipeline, nonces: u64) -> Result<f64, GpuError> {
    let form = pipeline.kernel.form();
    let nonces = fitting(form, nonces);
    let took = window(device, slot, pipeline, nonces)?;
    Ok(nonces as f64 * f64::from(form.midstates) / took.as_secs_f64().max(1e-6))
}

/// The time of one dispatch without hits.
fn window(device: &Device, slot: &mut Slot, pipeline: &Pipeline, nonces: u64) -> Result<Duration, GpuError> {
    let header = [0x5a; 80];
    let words = pipeline.kernel.words(&vec![header; pipeline.kernel.form().midstates as usize]);
    let dispatch = Dispatch { first: 0, nonces, limit: 0 };
    device.search(slot, pipeline, &words, dispatch, HANG).map(|(_, took)| took)
}
