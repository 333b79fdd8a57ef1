//! A GPU as a [`HashBackend`]: on its own thread, with its own device, recovered when that is lost.

mod session;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::backend::{BackendError, BackendInfo, BackendKind, BackendPort, HashBackend, HealthState};
use miner_core::types::HashRate;
use miner_core::work::Granularity;

use crate::adapter::Gpu;
use crate::care::{Guard, HeatLimits, Vitals, Watch};
use crate::error::GpuError;
use crate::kernel::Form;
use crate::pace::Intensity;
use crate::telemetry::Sensor;
use crate::tuning::{Tuning, TuningCache};
use session::{Choice, Session};
use work::Work;

/// Nonces are leased in multiples of this: whole workgroups of every kernel.
const STEP: u64 = 1 << 16;

/// The most versions that a unit may have: whole groups for every kernel.
const MAX_VERSIONS: u32 = 4;

/// The first guess of a rate that was never measured, in hashes a second.
const FIRST_GUESS: f64 = 1e8;

/// Losses of a device, one soon after the other, after which it is given up.
const MAX_LOSSES: u32 = 5;

/// A device that worked for so long has recovered from its losses.
const STEADY: Duration = Duration::from_secs(60);

/// How a GPU is to be used.
#[derive(Clone)]
pub struct GpuConfig {
    /// How hard it works.
    pub intensity: Intensity,
    /// What tells its temperature; `None`: nobody watches it.
    pub sensor: Option<Arc<dyn Sensor>>,
    /// The temperatures that it is kept at.
    pub heat: HeatLimits,
    /// How its temperature is watched.
    pub watch: Watch,
    /// Where its tuning is remembered; `None` measures at every start.
    pub cache: Option<TuningCache>,
    /// The kernels to use, where they are not to be chosen by measurement.
    pub tuning: Option<Tuning>,
    /// The pause before a lost device is opened again; it doubles with each loss.
    pub retry: Duration,
    /// What is to go wrong: for tests.
    pub faults: Option<FaultHook>,
}

impl Default for GpuConfig {
    fn default() -> Self {
        Self {
            intensity: Intensity::NORMAL,
            sensor: None,
            heat: HeatLimits::default(),
            watch: Watch::default(),
            cache: None,
            tuning: None,
            retry: Duration::from_secs(1),
            faults: None,
        }
    }
}

impl fmt::Debug for GpuConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { intensity, sensor, heat, watch, cache, tuning, retry, faults } = self;
        f.debug_struct("GpuConfig")
            .field("intensity", intensity)
            .field("sensor", &sensor.as_ref().map(|sensor| sensor.source()))
            .field("heat", heat)
            .field("watch", watch)
            .field("cache", cache)
            .field("tuning", tuning)
            .field("retry", retry)
            .field("faults", &faults.is_some())
            .finish()
    }
}

/// Says what goes wrong at a step.
pub type FaultHook = Arc<dyn Fn(Step) -> Fault + Send + Sync>;

/// Where something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The device was opened.
    Open,
    /// A kernel is about to be asked known answers.
    SelfTest(Form),
    /// A kernel that gave known answers is about to be measured.
    Measure(Form),
    /// A dispatch is about to be submitted.
    Ready,
    /// A dispatch was submitted.
    Submit,
    /// A dispatch is about to be waited for.
    Collect,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The device is lost, as a driver loses it.
    Destroy,
    /// The device seems to answer no more.
    Hang,
    /// A known answer is missed, as by a kernel that the driver compiled wrongly.
    Wrong,
}

/// One GPU.
#[derive(Clone, Debug)]
pub struct GpuBackend {
    gpu: Gpu,
    config: GpuConfig,
    choice: Choice,
    info: BackendInfo,
}

impl GpuBackend {
    /// Sets a GPU up; the device is opened when it runs.
    pub fn new(gpu: Gpu, config: GpuConfig) -> Self {
        let remembered = || config.cache.as_ref()?.load(&gpu.facts);
        let choice = match config.tuning {
            Some(tuning) => Choice::Settled(tuning),
            None => remembered().map_or(Choice::Open, Choice::Remembered),
        };
        let rate = match choice {
            Choice::Open => FIRST_GUESS,
            Choice::Remembered(tuning) | Choice::Settled(tuning) => tuning.rate.0,
        };
        let rate = rate * config.intensity.duty;
        let info = BackendInfo {
            key: gpu.facts.key.as_str().into(),
            name: gpu.facts.name.as_str().into(),
            kind: BackendKind::Gpu,
            granularity: Granularity::Nonces { step: STEP, versions: MAX_VERSIONS },
            depth: 2,
            expected: HashRate(rate),
            counts_hashes: true,
            report_floor: None,
        };
        Self { gpu, config, choice, info }
    }
}

impl HashBackend for GpuBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        let GpuConfig { ref sensor, heat, watch, .. } = self.config;
        let guard = Guard::start(sensor.clone(), heat, watch, Vitals::new(port.events()))
            .map_err(|source| BackendError::Os { context: "cannot watch its temperature", source })?;
        self.work(&port, &guard)
    }
}

impl GpuBackend {
    /// Searches with one device after the other until the port closes, or none will do it.
    fn work(&self, port: &BackendPort, guard: &Guard) -> Result<(), BackendError> {
        let mut choice = self.choice;
        let mut losses = Losses::default();
        let mut work = Work::new(port);
        loop {
            if !guard.wait(|pause| work.rest(pause)) {
                return Ok(());
            }
            let loss = match self.session(guard, &mut choice, &mut work) {
                Ok(()) => return Ok(()),
                Err(Loss { error: GpuError::Held, .. }) => continue,
                Err(loss) => loss,
            };
            losses.note(&loss);
            let error = loss.error;
            let last = losses.count >= MAX_LOSSES || matches!(error, GpuError::WrongAnswer { .. });
            let state = if last { HealthState::Quarantined } else { HealthState::Sick };
            guard.vitals().device(state, Some(&error.to_string()));
            if last {
                // The next start measures anew: its kernels may be what the device fails at.
                self.config.cache.iter().for_each(|cache| cache.forget(&self.gpu.facts));
                work.abandon();
                return Err(error.into());
            }
            if !work.rest(losses.pause(self.config.retry)) {
                return Ok(());
            }
        }
    }

    /// From the opening of the device to the end of the port, or of the device.
    fn session(&self, guard: &Guard, choice: &mut Choice, work: &mut Work<'_>) -> Result<(), Loss> {
        // No driver can be told to stop its compiler.
        work.port().busy().set(Some("is compiling a kernel"));
        let opened = Session::open(&self.gpu, &self.config, guard, choice, work);
        work.port().busy().set(None);
        let Some(mut session) = opened? else { return Ok(()) };
        guard.vitals().device(HealthState::Ok, None);
        let started = Instant::now();
        let ended = session.run(work);
        let worked = started.elapsed();
        session.give_back(work);
        if let Err(GpuError::Hang(_)) = ended {
            session.drop_aside();
        }
        ended.map_err(|error| Loss { error, worked })
    }
}

/// The end of a device.
#[derive(Debug)]
struct Loss {
    error: GpuError,
    /// How long it had searched: what it took to open and to test tells nothing.
    worked: Duration,
}

impl From<GpuError> for Loss {
    /// It was lost before it searched.
    fn from(error: GpuError) -> Self {
        Self { error, worked: Duration::ZERO }
    }
}

/// Losses of the device that came soon after each other.
#[derive(Debug, Default)]
struct Losses {
    count: u32,
}

impl Losses {
    fn note(&mut self, loss: &Loss) {
        self.count = if loss.worked >= STEADY { 1 } else { self.count + 1 };
    }

    fn pause(&self, first: Duration) -> Duration {
        first * (1 << (self.count.saturating_sub(1)).min(6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::FIRST_ANSWER;

    #[test]
    fn only_searching_makes_up_for_losses() {
        let mut losses = Losses::default();
        for _ in 0..MAX_LOSSES {
            losses.note(&Loss::from(GpuError::Hang(FIRST_ANSWER)));
        }
        assert_eq!(losses.count, MAX_LOSSES, "hangs in the self-test, of a minute each");
        losses.note(&Loss { error: GpuError::Lost(String::new()), worked: STEADY });
        assert_eq!(losses.count, 1);
    }
}
