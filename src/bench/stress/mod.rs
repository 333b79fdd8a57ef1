//! `lode bench --stress`: every thread hashes for a long time, and everything it finds or misses is checked.
//!
//! A thread hashes a small region whose hits the `sha2` crate has counted before, again and again for a fifth of a second,
//! then another. Every scan must give exactly those hits: an unstable overclock shows as a hit that is none, or as one that
//! is missing. The recount costs about a hundredth of the time.

mod region;
mod report;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use miner_core::cpu::allowed_cpus;

use self::region::Region;
pub use self::report::{Errors, Fault, KernelTally, Sample, StressReport, ThreadTally};
use super::crew::{STACK, pin};
use super::run::BenchError;
use super::stop::Stop;
use super::variant::Variant;
use crate::machine::Sensors;

/// Time for a region.
const REGION: Duration = Duration::from_millis(200);

/// The longest turn of a kernel, where there are several.
const TURN: Duration = Duration::from_secs(10);

/// Time between two looks at the threads.
const TICK: Duration = Duration::from_millis(100);

/// Samples of rate and temperature in a whole run, unless that would be more than one a second.
const SAMPLES: u32 = 100;

/// Most faults of a thread that are kept in full.
const MAX_FAULTS: usize = 10;

/// Called by thread `usize` (counted from 0) with the hits of each scan before they are checked: to plant errors.
pub type ScanHook = Arc<dyn Fn(usize, &mut Vec<(u32, u32)>) + Send + Sync>;

/// What to do.
#[derive(Clone)]
pub struct StressConfig {
    /// The kernels in their forms; they take turns.
    pub variants: Vec<Variant>,
    /// The number of threads, one pinned to each CPU in turn.
    pub threads: NonZero<usize>,
    /// How long.
    pub duration: Duration,
    /// Planted errors.
    pub hook: Option<ScanHook>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct StressStep {
    /// Time since the start.
    pub elapsed: Duration,
    /// The whole time.
    pub duration: Duration,
    /// The kernel whose turn it is.
    pub variant: Variant,
    /// Hashes a second since the last step.
    pub rate_hs: f64,
    /// The processor's temperature in °C.
    pub celsius: Option<f64>,
    /// Errors so far.
    pub errors: u64,
}

/// The least time in which each of `variants` kernels has a turn.
pub fn least(variants: usize) -> Duration {
    REGION.saturating_mul(variants as u32)
}

/// Stresses the CPU until the time is over or `stop` is asked; `progress` is called about ten times a second.
///
/// # Errors
/// Nothing to do, or no threads to be had.
pub fn run(
    config: &StressConfig,
    stop: &Stop,
    mut progress: impl FnMut(&StressStep),
) -> Result<StressReport, BenchError> {
    if config.variants.is_empty() {
        return Err(BenchError::Nothing);
    }
    let shared = Shared::new(config, Instant::now());
    let cpus = allowed_cpus().unwrap_or_default();
    let (threads, samples) = thread::scope(|scope| {
        let start = |index: usize| {
            let cpu = cpus.get(index % cpus.len().max(1)).copied();
            let shared = &shared;
            let hash = move || Hasher::new(shared, index, cpu.filter(|&cpu| pin(cpu))).run();
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, hash)
        };
        let threads: io::Result<Vec<_>> = (0..config.threads.get()).map(start).collect();
        let samples = if threads.is_ok() { shared.watch(stop, &mut progress) } else { Vec::new() };
        shared.over.store(true, Ordering::Relaxed);
        let joined = threads?.into_iter().map(|thread| thread.join().expect("kernels do not panic"));
        Ok((joined.collect::<Vec<_>>(), samples))
    })
    .map_err(|source| BenchError::Thread { threads: config.threads.get(), source })?;
    let complete = shared.begin.elapsed() >= config.duration;
    Ok(StressReport::of(config, complete, shared.begin.elapsed(), threads, samples))
}

/// What all threads see.
struct Shared<'a> {
    config: &'a StressConfig,
    begin: Instant,
    turn: Duration,
    over: AtomicBool,
    hashes: AtomicU64,
    errors: AtomicU64,
}

impl<'a> Shared<'a> {
    fn new(config: &'a StressConfig, begin: Instant) -> Self {
        let turn = (config.duration / config.variants.len() as u32).clamp(REGION, TURN);
        Self {
            config,
            begin,
            turn,
            over: AtomicBool::new(false),
            hashes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    /// The place of the kernel whose turn it is.
    fn turn_at(&self, elapsed: Duration) -> usize {
        let turns = elapsed.as_nanos() / self.turn.as_nanos();
        (turns % self.config.variants.len() as u128) as usize
    }

    /// Watches until the end: the samples of rate and temperature.
    fn watch(&self, stop: &Stop, progress: &mut impl FnMut(&StressStep)) -> Vec<Sample> {
        let sensors = Sensors::of_this_machine();
        let every = (self.config.duration / SAMPLES).max(Duration::from_secs(1));
        let mut samples = Vec::new();
        let (mut sampled, mut told) = (Mark::default(), Mark::default());
        loop {
            let left = self.config.duration.saturating_sub(self.begin.elapsed());
            thread::sleep(left.min(TICK));
            let now = Mark { at: self.begin.elapsed(), hashes: self.hashes.load(Ordering::Relaxed) };
            let is_over = stop.is_asked() || now.at >= self.config.duration;
            let (celsius, errors) = (sensors.celsius(), self.errors.load(Ordering::Relaxed));
            let variant = self.config.variants[self.turn_at(told.at)];
            let (elapsed, duration) = (now.at, self.config.duration);
            let step =
                StressStep { elapsed, duration, variant, rate_hs: now.rate_since(told), celsius, errors };
            progress(&step);
            told = now;
            if is_over || now.at - sampled.at >= every {
                let rate_hs = now.rate_since(sampled);
                let clock_mhz = sensors.clock_mhz();
                samples.push(Sample { t_s: now.at.as_secs_f64(), rate_hs, celsius, clock_mhz, errors });
                sampled = now;
            }
            if is_over {
                return samples;
            }
        }
    }
}

/// Hashes done at a time since the start.
#[derive(Clone, Copy, Default)]
struct Mark {
    at: Duration,
    hashes: u64,
}

impl Mark {
    fn rate_since(self, other: Self) -> f64 {
        (self.hashes - other.hashes) as f64 / (self.at - other.at).as_secs_f64().max(1e-3)
    }
}

/// One thread.
struct Hasher<'a> {
    shared: &'a Shared<'a>,
    index: usize,
    tally: ThreadTally,
    regions: u64,
}

impl<'a> Hasher<'a> {
    fn new(shared: &'a Shared<'a>, index: usize, cpu: Option<usize>) -> Self {
        let tally = ThreadTally::new(index, cpu, &shared.config.variants);
        Self { shared, index, tally, regions: 0 }
    }

    fn run(mut self) -> ThreadTally {
        while !self.shared.over.load(Ordering::Relaxed) {
            let turn = self.shared.turn_at(self.shared.begin.elapsed());
            let variant = self.shared.config.variants[turn];
            let region = Region::count(self.index as u64, self.regions, variant.versions);
            self.regions += 1;
            self.hash(turn, variant, &region);
        }
        self.tally
    }

    /// Hashes one region again and again, until the next kernel's turn at most.
    fn hash(&mut self, turn: usize, variant: Variant, region: &Region) {
        let (begin, mut hits) = (Instant::now(), Vec::new());
        let shared = self.shared;
        let goes_on =
            || shared.turn_at(shared.begin.elapsed()) == turn && !shared.over.load(Ordering::Relaxed);
        while begin.elapsed() < REGION && goes_on() {
            hits.clear();
            region.scan(variant.isa, &mut hits);
            if let Some(hook) = &self.shared.config.hook {
                hook(self.index, &mut hits);
            }
            let errors = region.judge(&mut hits);
            self.shared.hashes.fetch_add(region.hashes(), Ordering::Relaxed);
            let kernel = &mut self.tally.kernels[turn];
            kernel.hashes += region.hashes();
            kernel.hits += hits.len() as u64;
            if !errors.is_empty() {
                self.note(turn, variant, region, &errors);
            }
        }
    }

    fn note(&mut self, turn: usize, variant: Variant, region: &Region, errors: &[(Fault, u32, u32)]) {
        self.shared.errors.fetch_add(errors.len() as u64, Ordering::Relaxed);
        let at_s = self.shared.begin.elapsed().as_secs_f64();
        for &(fault, index, nonce) in errors {
            self.tally.kernels[turn].errors.count(fault);
            if self.tally.faults.len() < MAX_FAULTS {
                let header = region.header(index, nonce);
                self.tally.faults.push(report::FaultRecord::new(at_s, &self.tally, variant, fault, header));
            }
        }
    }
}

impl fmt::Debug for StressConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variants, threads, duration, hook } = self;
        let mut text = f.debug_struct("StressConfig");
        text.field("variants", variants).field("threads", threads).field("duration", duration);
        text.field("hook", &hook.is_some()).finish()
    }
}
