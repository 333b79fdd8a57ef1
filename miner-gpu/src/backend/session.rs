//! One device from its opening to its loss: a ring of dispatches.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use miner_core::backend::HealthState;

use super::work::{Piece, Work};
use super::{Fault, GpuConfig, Step};
use crate::adapter::Gpu;
use crate::care::{Guard, once_let};
use crate::error::GpuError;
use crate::kernel::{Form, Kernel};
use crate::pace::{Intensity, MAX_DEPTH, Pace};
use crate::pipeline::{Device, Dispatch, Pipeline, Slot, drop_aside, fitting};
use crate::selftest::selftest;
use crate::tuner::{Trial, Workshop};
use crate::tuning::Tuning;

/// How long a dispatch may take before the device is held to hang: a hundred times its longest target.
const HANG: Duration = Duration::from_secs(10);

/// How long an idle session waits for a unit before it looks again whether its device is there.
const LOOK: Duration = Duration::from_millis(500);

/// Which kernels to use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    /// Those that a measurement will name.
    Open,
    /// Those that were remembered: measured again should they fail.
    Remembered(Tuning),
    /// These: units are prepared for them.
    Settled(Tuning),
}

/// Kernels that have given known answers.
struct Proven {
    tuning: Tuning,
    single: Pipeline,
    several: Option<Pipeline>,
}

/// A device, its kernels compiled and tested.
pub(super) struct Session<'a> {
    config: &'a GpuConfig,
    guard: &'a Guard,
    device: Device,
    single: Pipeline,
    several: Option<Pipeline>,
    idle: Vec<Slot>,
    running: VecDeque<Running>,
    pace: Pace,
    /// When the last dispatch ended.
    last: Instant,
}

struct Running {
    piece: Piece,
    slot: Slot,
    /// How many headers it searches at once.
    headers: u64,
    submitted: Instant,
}

impl<'a> Session<'a> {
    /// Opens the device, chooses kernels for it unless that is done, and asks them known answers. `None`: the port
    /// closed meanwhile.
    pub(super) fn open(
        gpu: &Gpu,
        config: &'a GpuConfig,
        guard: &'a Guard,
        choice: &mut Choice,
        work: &mut Work<'_>,
    ) -> Result<Option<Self>, GpuError> {
        let mut bench = Bench { gpu, config, guard, work };
        let mut device = bench.open()?;
        let Proven { tuning, single, several } = match bench.choose(&mut device, choice) {
            Ok(Some(proven)) => proven,
            Ok(None) => return Ok(None),
            Err(error) => {
                if let GpuError::Hang(_) = error {
                    drop_aside(device);
                }
                return Err(error);
            }
        };
        // An eighth of the target: the first guess may be wrong, and each dispatch corrects it.
        let hashes = tuning.rate.hashes_in(config.intensity.target) / 8.0;
        let pace = Pace::new(&config.intensity, hashes as u64);
        work.use_kernels(&single.kernel, several.as_ref().map(|several| &several.kernel));
        let idle = (0..MAX_DEPTH).map(|_| device.slot()).collect();
        let (running, last) = (VecDeque::new(), Instant::now());
        Ok(Some(Self { config, guard, device, single, several, idle, running, pace, last }))
    }

    /// Searches until the port closes, or the device fails.
    pub(super) fn run(&mut self, work: &mut Work<'_>) -> Result<(), GpuError> {
        loop {
            let mut open = work.take_in();
            while open {
                let early = self.early();
                if !early.is_zero() {
                    open = work.wait(early);
                } else if !self.submit_next(work)? {
                    break;
                }
            }
            if !self.running.is_empty() {
                self.collect_oldest(work)?;
            } else if open && !self.guard.gate().is_open() {
                if !self.cool_down(work)? {
                    return Ok(());
                }
            } else if !open || !work.wait(LOOK) {
                return Ok(());
            } else {
                self.device.check()?;
            }
        }
    }

    /// Gives the pieces back that were not searched to their end.
    pub(super) fn give_back(&mut self, work: &mut Work<'_>) {
        self.running.iter().for_each(|running| work.take_back(running.piece));
    }

    /// Lets go of it without waiting for its device.
    pub(super) fn drop_aside(self) {
        let Session { device, single, several, idle, running, .. } = self;
        drop_aside((single, several, idle, running, device));
    }

    /// Waits until dispatches may start again. `false`: the port is closed.
    fn cool_down(&mut self, work: &mut Work<'_>) -> Result<bool, GpuError> {
        let open = self.guard.wait(|pause| work.rest(pause));
        self.guard.vitals().device(HealthState::Ok, None);
        self.device.check().map(|()| open)
    }

    /// How long the next dispatch can wait: what was submitted can't be called back should the job change.
    fn early(&self) -> Duration {
        let full = self.running.len() >= self.intensity().depth();
        let (Some(Running { piece, headers, submitted, .. }), false) = (self.running.back(), full) else {
            return Duration::ZERO;
        };
        let began = (*submitted).max(self.last);
        self.pace.lead_of(piece.nonces * headers).saturating_sub(began.elapsed())
    }

    /// `false`: the ring is full, there is nothing to search, or nothing may start.
    fn submit_next(&mut self, work: &mut Work<'_>) -> Result<bool, GpuError> {
        let gate = self.guard.gate();
        if self.running.len() >= self.intensity().depth() || !gate.is_open() {
            return Ok(false);
        }
        let Some(mut slot) = self.idle.pop() else { return Ok(false) };
        let fit = |kernel: &Kernel, nonces| fitting(kernel.form(), nonces);
        let Some(piece) = work.next_piece(self.pace.hashes(), fit) else {
            self.idle.push(slot);
            return Ok(false);
        };
        let (group, limit) = work.of(&piece);
        let pipeline = self.several.as_ref().filter(|_| group.several).unwrap_or(&self.single);
        let headers = u64::from(pipeline.kernel.form().midstates);
        let dispatch = Dispatch { first: piece.first, nonces: piece.nonces, limit };
        let ready = self.config.meet(Step::Ready, &self.device);
        if ready.is_err() || !self.device.submit(&mut slot, pipeline, &group.words, dispatch) {
            self.idle.push(slot);
            work.take_back(piece);
            return ready.map(|()| false);
        }
        self.running.push_back(Running { piece, slot, headers, submitted: Instant::now() });
        self.config.meet(Step::Submit, &self.device)?;
        Ok(true)
    }

    fn collect_oldest(&mut self, work: &mut Work<'_>) -> Result<(), GpuError> {
        self.config.meet(Step::Collect, &self.device)?;
        let Some(oldest) = self.running.front_mut() else { return Ok(()) };
        let found = self.device.collect(&mut oldest.slot, HANG)?;
        let Some(Running { piece, slot, headers, submitted }) = self.running.pop_front() else {
            return Ok(());
        };
        // It began when it was submitted, or when the one before it ended.
        let now = Instant::now();
        let took = now - submitted.max(self.last);
        self.last = now;
        self.pace.note(piece.nonces * headers, took);
        self.idle.push(slot);
        work.done(piece, &found);
        let pause = self.intensity().pause(took);
        if !pause.is_zero() {
            // Of a closed port, the next round learns too.
            work.rest(pause);
        }
        Ok(())
    }

    /// How hard the GPU works at its temperature.
    fn intensity(&self) -> Intensity {
        self.config.intensity.slowed(self.guard.gate().duty())
    }
}

/// What kernels are proven and measured with.
struct Bench<'a, 'w, 'p> {
    gpu: &'a Gpu,
    config: &'a GpuConfig,
    guard: &'a Guard,
    work: &'w mut Work<'p>,
}

impl Bench<'_, '_, '_> {
    /// Compiles the chosen kernels and asks them known answers; measures, where none are chosen or those that were
    /// remembered fail. Only what has passed is remembered. `None`: the port closed meanwhile.
    fn choose(&mut self, device: &mut Device, choice: &mut Choice) -> Result<Option<Proven>, GpuError> {
        if let Choice::Remembered(tuning) | Choice::Settled(tuning) = *choice {
            let remembered = matches!(choice, Choice::Remembered(_));
            match self.both(device, tuning) {
                // A card that is too hot to be asked has not failed.
                Err(error) if remembered && !matches!(error, GpuError::Held) => {
                    self.config.cache.iter().for_each(|cache| cache.forget(&self.gpu.facts));
                    *choice = Choice::Open;
                    if !error.is_of_kernel() {
                        return Err(error);
                    }
                }
                proven => {
                    let proven = proven?;
                    *choice = Choice::Settled(tuning);
                    return Ok(Some(proven));
                }
            }
        }
        let Some(tuning) = Tuning::measure(device, self)? else { return Ok(None) };
        let proven = once_let(self, Self::goes_on, |bench| bench.both(device, tuning))?;
        let Some(proven) = proven else { return Ok(None) };
        self.config.cache.iter().for_each(|cache| cache.save(&self.gpu.facts, tuning));
        *choice = Choice::Settled(tuning);
        Ok(Some(proven))
    }

    fn both(&self, device: &Device, tuning: Tuning) -> Result<Proven, GpuError> {
        let mut slot = device.slot();
        let single = self.compile(device, tuning.single, &mut slot)?;
        let several = tuning.several.map(|form| self.compile(device, form, &mut slot)).transpose()?;
        Ok(Proven { tuning, single, several })
    }

    fn compile(&self, device: &Device, form: Form, slot: &mut Slot) -> Result<Pipeline, GpuError> {
        let pipeline = device.compile(form)?;
        self.config.meet(Step::SelfTest(form), device)?;
        selftest(device, &pipeline, slot).map(|()| pipeline)
    }
}

impl Workshop for Bench<'_, '_, '_> {
    fn open(&mut self) -> Result<Device, GpuError> {
        let device = Device::open(self.gpu, self.guard.gate().clone())?;
        match self.config.meet(Step::Open, &device) {
            Ok(()) => Ok(device),
            Err(error) => {
                drop_aside(device);
                Err(error)
            }
        }
    }

    fn prove(&mut self, device: &Device, form: Form, slot: &mut Slot) -> Result<Pipeline, GpuError> {
        let pipeline = self.compile(device, form, slot)?;
        self.config.meet(Step::Measure(form), device).map(|()| pipeline)
    }

    fn goes_on(&mut self) -> Result<bool, GpuError> {
        let Self { guard, work, .. } = self;
        Ok(work.take_in() && guard.wait(|pause| work.rest(pause)))
    }

    fn tried(&mut self, _: Trial) {}
}

impl GpuConfig {
    /// Asks the hook of tests what goes wrong here.
    fn meet(&self, step: Step, device: &Device) -> Result<(), GpuError> {
        match self.faults.as_ref().map(|faults| faults(step)) {
            None | Some(Fault::None) => Ok(()),
            Some(Fault::Destroy) => {
                device.destroy();
                Ok(())
            }
            Some(Fault::Hang) => Err(GpuError::Hang(HANG)),
            Some(Fault::Wrong) => {
                let (case, expected, found) = (format!("a fault at {step:?}"), Vec::new(), Vec::new());
                Err(GpuError::WrongAnswer { case, expected, found })
            }
        }
    }
}
