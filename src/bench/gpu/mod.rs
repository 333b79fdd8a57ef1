//! The kernels of GPUs: those that mining tries at its first start, each checked and measured against the `sha2` crate.
//!
//! First the measurement that mining makes is made, and told kernel by kernel. Then each kernel that came through it gets
//! dispatches as long as mining's, by turns with windows of two threads of `sha2`: a GPU that is software shares its cores
//! with them. Last, CPU threads hash beside the GPU.
//!
//! All of it is under the guard that mining is under. A GPU that has to be stopped is done with; the others go on.

mod baseline;
mod beside;
mod measure;

use std::time::Duration;

use miner_core::cpu::Kernels;
use miner_gpu::kernel::{Form, Kernel};
use miner_gpu::{Gpu, GpuConfig, GpuError, Intensity, Searcher, Trial, Tuning, Watched};

use self::measure::Measured;
use super::answers::{Mismatch, check_sum};
use super::report::{BenchGpu, BenchReport, BenchRow, GpuFigures, LostKernel, now};
use super::run::BenchError;
use super::spread::Spread;
use super::stop::Stop;
use crate::machine::MachineFacts;
use crate::report::format::printable;

/// What to measure.
#[derive(Clone, Debug)]
pub struct GpuBenchConfig {
    /// The GPUs, and how mining would use each: its sensor and limits hold here too.
    pub gpus: Vec<(Gpu, GpuConfig)>,
    /// Time for each kernel.
    pub duration: Duration,
    /// The kernels of the CPU threads that hash beside a GPU, and how many threads there are; `None`: none do.
    pub beside: Option<(Kernels, usize)>,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuStep {
    /// The GPU's name.
    pub name: String,
    /// What is done with it.
    pub work: GpuWork,
    /// The latest rate, in hashes a second; `None` before the first.
    pub rate_hs: Option<f64>,
}

/// What is done with a GPU.
#[derive(Clone, Debug, PartialEq)]
pub enum GpuWork {
    /// It is opened, and its first kernel compiled.
    Opening,
    /// As mining would, kernels are tried; so many were.
    Tuning {
        /// Kernels tried.
        tried: usize,
    },
    /// A kernel is measured.
    Measuring {
        /// Kernels finished.
        done: usize,
        /// Kernels in all.
        rows: usize,
        /// This one, and its versions.
        kernel: String,
    },
    /// CPU threads hash beside it.
    Beside,
}

/// Measures the GPUs, one after the other, until `stop` is asked. `progress` is called before and within all that takes
/// long.
///
/// # Errors
/// There is none, or none gave a figure; no thread is to be had.
pub fn run(
    config: &GpuBenchConfig,
    stop: &Stop,
    mut progress: impl FnMut(&GpuStep),
) -> Result<BenchReport, BenchError> {
    if config.gpus.is_empty() {
        return Err(BenchError::Nothing);
    }
    let mut report = BenchReport::begin(config.duration.as_secs_f64());
    report.window_ms = Intensity::NORMAL.target.as_millis() as u32;
    report.baseline_threads = baseline::THREADS;
    let mut baseline = Vec::new();
    for (gpu, mining) in &config.gpus {
        let thread = |source| BenchError::Thread { threads: 1, source };
        let mut bench = Bench {
            gpu: Watched::start(gpu.clone(), mining).map_err(thread)?,
            mined: (gpu, mining),
            config,
            stop,
            progress: &mut progress,
            found: found(gpu),
            report: &mut report,
            baseline: &mut baseline,
        };
        if let Err(error) = bench.run()? {
            bench.found.problem = Some(printable(&error.to_string()));
        }
        let found = bench.found;
        report.gpus.push(found);
        if stop.is_asked() {
            report.complete = false;
            break;
        }
    }
    report.complete &= report.gpus.iter().all(|gpu| gpu.problem.is_none());
    report.baseline_hs = Spread::of(baseline);
    report.machine = MachineFacts::of_this_machine();
    report.ts = now();
    let problem = |gpu: &BenchGpu| Some(format!("{}: {}", gpu.name, gpu.problem.as_ref()?));
    let problems: Vec<String> = report.gpus.iter().filter_map(problem).collect();
    let nothing = report.rows.is_empty() && report.mismatch.is_none();
    if nothing && !problems.is_empty() { Err(BenchError::Gpu(problems.join("; "))) } else { Ok(report) }
}

/// How a kernel is called in a report: its GPU, how it is written, and its workgroup times the nonces of an invocation.
fn kernel_name(gpu: &BenchGpu, form: &Form) -> String {
    let variant = form.variant;
    let (rotate, ch, maj) = (variant.rotate.name(), variant.choose.name(), variant.majority.name());
    format!("{} {rotate}/{ch}/{maj} {}x{}", gpu.device, form.workgroup, form.nonces)
}

fn found(gpu: &Gpu) -> BenchGpu {
    let facts = &gpu.facts;
    BenchGpu {
        device: printable(&facts.key),
        name: printable(&facts.name),
        api: facts.api.to_owned(),
        driver: printable(format!("{} {}", facts.driver.trim(), facts.driver_info.trim()).trim()),
        software: facts.is_software,
        ..BenchGpu::default()
    }
}

/// Kernels, each with its hashes a second in the measurement that mining makes.
type Rates = Vec<(Form, f64)>;

/// One GPU's part of the run.
struct Bench<'a> {
    gpu: Watched,
    /// The same, for a backend.
    mined: (&'a Gpu, &'a GpuConfig),
    config: &'a GpuBenchConfig,
    stop: &'a Stop,
    progress: &'a mut dyn FnMut(&GpuStep),
    found: BenchGpu,
    report: &'a mut BenchReport,
    baseline: &'a mut Vec<f64>,
}

impl Bench<'_> {
    /// The outer error ends the run, the inner one the GPU's part of it.
    fn run(&mut self) -> Result<Result<(), GpuError>, BenchError> {
        let (tuning, trials) = match self.tune() {
            Ok(tuned) => tuned,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = self.rows(tuning, &trials)? {
            return Ok(Err(error));
        }
        let beside = self.config.beside.zip(tuning).filter(|_| !self.stop.is_asked());
        if let Some(((kernels, threads), tuning)) = beside {
            self.tell(GpuWork::Beside, None);
            let thread = |source| BenchError::Thread { threads, source };
            let duration = self.config.duration;
            let measured = beside::measure(self.mined, tuning, kernels, threads, duration, self.stop);
            return Ok(measured.map_err(thread)?.map(|beside| self.found.beside = beside));
        }
        Ok(Ok(()))
    }

    fn tell(&mut self, work: GpuWork, rate_hs: Option<f64>) {
        (self.progress)(&GpuStep { name: self.found.name.clone(), work, rate_hs });
    }

    /// The measurement that mining makes: what it would take, and the rates of all that came through it.
    fn tune(&mut self) -> Result<(Option<Tuning>, Rates), GpuError> {
        self.tell(GpuWork::Opening, None);
        let (mut rates, mut lost) = (Vec::new(), Vec::new());
        let gpu = self.gpu.clone();
        let tuning = Tuning::of(&gpu, &mut |Trial { form, rate }| {
            let tried = rates.len() + lost.len() + 1;
            let rate_hs = rate.as_ref().ok().map(|rate| rate.0);
            match rate {
                Ok(rate) => rates.push((form, rate.0)),
                Err(error) => lost.push((form, error)),
            }
            self.tell(GpuWork::Tuning { tried }, rate_hs);
            !self.stop.is_asked()
        });
        for (form, error) in lost {
            self.lose(&form, &error);
        }
        Ok((tuning?, rates))
    }

    /// A kernel gives no figure. If it computed wrongly, the whole run did.
    fn lose(&mut self, form: &Form, error: &GpuError) {
        let (kernel, versions) = (kernel_name(&self.found, form), form.midstates);
        let why = printable(&error.to_string());
        if let GpuError::WrongAnswer { .. } = error {
            let wrong = Mismatch { kernel: kernel.clone(), versions, what: why.clone() };
            self.report.mismatch.get_or_insert(wrong);
        }
        self.found.lost.push(LostKernel { kernel, versions, why });
    }

    fn rows(&mut self, tuning: Option<Tuning>, trials: &Rates) -> Result<Result<(), GpuError>, BenchError> {
        let is_chosen = |form: &Form| {
            tuning.is_some_and(|tuning| tuning.single == *form || tuning.several == Some(*form))
        };
        let Some(((first, _), rows)) = trials.first().zip(Some(trials.len())) else { return Ok(Ok(())) };
        let mut searcher = match Searcher::open(&self.gpu, *first) {
            Ok(searcher) => searcher,
            Err(error) => return Ok(Err(error)),
        };
        for (done, (form, tuned_hs)) in trials.iter().enumerate() {
            if self.stop.is_asked() {
                break;
            }
            let kernel = format!("{}, versions {}", kernel_name(&self.found, form), form.midstates);
            let work = GpuWork::Measuring { done, rows, kernel };
            self.tell(work.clone(), None);
            match self.measure(&mut searcher, *form, *tuned_hs, &work)? {
                Ok(measured) => {
                    self.baseline.extend(measured.baseline());
                    let figures = figures(&self.found.device, form, *tuned_hs, is_chosen(form), &measured);
                    self.report.rows.extend(figures.map(|figures| BenchRow {
                        kernel: kernel_name(&self.found, form),
                        versions: form.midstates,
                        ..measured.row(figures)
                    }));
                }
                // Heat is no fault of the kernel's.
                Err(error @ (GpuError::Stopped(_) | GpuError::Held)) => return Ok(Err(error)),
                Err(error) => {
                    self.lose(form, &error);
                    // What is no fault of the kernel's has taken the device down.
                    if !matches!(error, GpuError::Kernel(_) | GpuError::WrongAnswer { .. }) {
                        return Ok(Err(error));
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    /// Checks a kernel, and measures it.
    fn measure(
        &mut self,
        searcher: &mut Searcher,
        form: Form,
        tuned_hs: f64,
        work: &GpuWork,
    ) -> Result<Result<Measured, GpuError>, BenchError> {
        if let Err(error) = prepare(searcher, form) {
            return Ok(Err(error));
        }
        let thread = |source| BenchError::Thread { threads: baseline::THREADS, source };
        let mut measured = Measured::new(form, tuned_hs);
        let until = std::time::Instant::now() + self.config.duration;
        while !self.stop.is_asked() && (measured.is_short() || std::time::Instant::now() < until) {
            let baseline = baseline::window().map_err(thread)?;
            match measured.dispatch(searcher, baseline) {
                Ok(rate) => self.tell(work.clone(), Some(rate)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(match measured.wrong() {
            None => Ok(measured),
            Some(case) => Err(GpuError::WrongAnswer { case, expected: Vec::new(), found: Vec::new() }),
        })
    }
}

/// Compiles a kernel, and asks it known answers and the checksum.
fn prepare(searcher: &mut Searcher, form: Form) -> Result<(), GpuError> {
    searcher.compile(form)?;
    searcher.selftest()?;
    let sum =
        check_sum(form.midstates, |work, start, count| measure::around(searcher, &form, work, start, count))?;
    sum.map_err(|case| GpuError::WrongAnswer { case, expected: Vec::new(), found: Vec::new() })
}

fn figures(
    device: &str,
    form: &Form,
    tuned_hs: f64,
    chosen: bool,
    measured: &Measured,
) -> Option<GpuFigures> {
    let variant = form.variant;
    Some(GpuFigures {
        device: device.to_owned(),
        rotate: variant.rotate.name().to_owned(),
        ch: variant.choose.name().to_owned(),
        maj: variant.majority.name().to_owned(),
        workgroup: form.workgroup,
        nonces: form.nonces,
        operations: Kernel::new(*form).operations(),
        dispatch_ms: measured.dispatch_ms()?,
        tuned_hs,
        chosen,
    })
}
