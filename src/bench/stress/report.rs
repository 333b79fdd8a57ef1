//! What a stress run found.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::StressConfig;
use crate::bench::report::{Build, FORM, now};
use crate::bench::variant::Variant;
use crate::machine::MachineFacts;
use crate::report::format;

/// A run's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StressReport {
    /// `lode_stress`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The version of this form.
    pub v: u32,
    /// When the run ended: RFC 3339, UTC.
    pub ts: String,
    /// Whether it went on for as long as it was to.
    pub complete: bool,
    /// The lode that ran.
    pub build: Build,
    /// The machine, right after the run.
    pub machine: MachineFacts,
    /// How long it was to be, in seconds.
    pub duration_s: f64,
    /// How long it was.
    pub elapsed_s: f64,
    /// All hashes; each one's being a hit or not was compared with the `sha2` crate.
    pub hashes: u64,
    /// Rate over the whole run, in hashes a second.
    pub rate_hs: f64,
    /// Errors of all threads.
    pub errors: Errors,
    /// What each thread did.
    pub threads: Vec<ThreadTally>,
    /// Rate and temperature over time.
    pub samples: Vec<Sample>,
}

/// What one thread did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadTally {
    /// Its number, from 0.
    pub thread: usize,
    /// The CPU that it was pinned to.
    pub cpu: Option<usize>,
    /// What it did with each kernel.
    pub kernels: Vec<KernelTally>,
    /// Its first errors.
    pub faults: Vec<FaultRecord>,
}

/// What one thread did with one kernel in one form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelTally {
    /// The kernel's name.
    pub kernel: String,
    /// Versions tried at once.
    pub versions: u32,
    /// Hashes.
    pub hashes: u64,
    /// Hits reported.
    pub hits: u64,
    /// Errors.
    pub errors: Errors,
}

/// Errors by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Reported, and no hit.
    pub wrong: u64,
    /// A hit, and not reported.
    pub missed: u64,
    /// The `sha2` crate contradicted itself.
    pub reference: u64,
}

/// A kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Reported, and no hit.
    Wrong,
    /// A hit, and not reported.
    Missed,
    /// The `sha2` crate contradicted itself.
    Reference,
}

/// One error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultRecord {
    /// Seconds since the start.
    pub t_s: f64,
    /// The CPU, where the thread was pinned to one.
    pub cpu: Option<usize>,
    /// The kernel's name.
    pub kernel: String,
    /// Versions tried at once.
    pub versions: u32,
    /// What kind.
    pub fault: Fault,
    /// The header with its nonce: 80 bytes in hex; `None` where the version reported was never asked for.
    pub header: Option<String>,
}

/// How fast and how hot it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub t_s: f64,
    /// Hashes a second since the sample before.
    pub rate_hs: f64,
    /// The hottest of the processor's sensors, in °C.
    pub celsius: Option<f64>,
    /// The mean clock of the CPUs that are on, in MHz.
    pub clock_mhz: Option<f64>,
    /// Errors so far.
    pub errors: u64,
}

impl StressReport {
    pub(super) fn of(
        config: &StressConfig,
        complete: bool,
        elapsed: Duration,
        threads: Vec<ThreadTally>,
        samples: Vec<Sample>,
    ) -> Self {
        let kernels = || threads.iter().flat_map(|thread| &thread.kernels);
        let hashes: u64 = kernels().map(|kernel| kernel.hashes).sum();
        Self {
            kind: "lode_stress",
            v: FORM,
            ts: now(),
            complete,
            build: Build::this(),
            machine: MachineFacts::of_this_machine(),
            duration_s: config.duration.as_secs_f64(),
            elapsed_s: elapsed.as_secs_f64(),
            hashes,
            rate_hs: hashes as f64 / elapsed.as_secs_f64().max(1e-3),
            errors: kernels().map(|kernel| kernel.errors).fold(Errors::default(), Errors::plus),
            threads,
            samples,
        }
    }

    /// Whether nothing was wrong, and a run that was not stopped tested every kernel.
    pub fn is_sound(&self) -> bool {
        self.errors.all() == 0 && (!self.complete || self.not_tested().is_empty())
    }

    /// The kernels that no thread came to.
    fn not_tested(&self) -> Vec<String> {
        let idle = |place: &usize| self.threads.iter().all(|thread| thread.kernels[*place].hashes == 0);
        let names: Vec<String> = self.kernels().iter().map(KernelTally::form).collect();
        (0..names.len()).filter(idle).map(|place| names[place].clone()).collect()
    }

    /// All threads have the same kernels in the same order.
    fn kernels(&self) -> &[KernelTally] {
        self.threads.first().map(|thread| thread.kernels.as_slice()).unwrap_or_default()
    }
}

impl ThreadTally {
    pub(super) fn new(thread: usize, cpu: Option<usize>, variants: &[Variant]) -> Self {
        let tally = |variant: &Variant| KernelTally {
            kernel: variant.isa.name().to_owned(),
            versions: variant.versions,
            hashes: 0,
            hits: 0,
            errors: Errors::default(),
        };
        Self { thread, cpu, kernels: variants.iter().map(tally).collect(), faults: Vec::new() }
    }

    /// Errors with all kernels.
    pub fn errors(&self) -> Errors {
        self.kernels.iter().map(|kernel| kernel.errors).fold(Errors::default(), Errors::plus)
    }
}

impl KernelTally {
    fn form(&self) -> String {
        match self.versions {
            1 => self.kernel.clone(),
            versions => format!("{} x{versions}", self.kernel),
        }
    }
}

impl Errors {
    pub(super) fn count(&mut self, fault: Fault) {
        match fault {
            Fault::Wrong => self.wrong += 1,
            Fault::Missed => self.missed += 1,
            Fault::Reference => self.reference += 1,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            wrong: self.wrong + other.wrong,
            missed: self.missed + other.missed,
            reference: self.reference + other.reference,
        }
    }

    /// All kinds together.
    pub fn all(self) -> u64 {
        self.wrong + self.missed + self.reference
    }
}

impl FaultRecord {
    pub(super) fn new(
        t_s: f64,
        of: &ThreadTally,
        variant: Variant,
        fault: Fault,
        header: Option<[u8; 80]>,
    ) -> Self {
        let hex = |header: [u8; 80]| header.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            t_s,
            cpu: of.cpu,
            kernel: variant.isa.name().to_owned(),
            versions: variant.versions,
            fault,
            header: header.map(hex),
        }
    }
}

impl fmt::Display for StressReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |hs: f64| format::rate(miner_core::types::HashRate(hs));
        let elapsed = format::duration(Duration::from_secs_f64(self.elapsed_s));
        writeln!(
            f,
            "{:>7} {:>4} {:>12} {:>9} {:>9} {:>9}",
            "thread", "CPU", "rate", "wrong", "missed", "reference"
        )?;
        for thread in &self.threads {
            let hashes: u64 = thread.kernels.iter().map(|kernel| kernel.hashes).sum();
            let cpu = thread.cpu.map_or_else(|| format::UNKNOWN.to_owned(), |cpu| cpu.to_string());
            let (rate, errors) = (rate(hashes as f64 / self.elapsed_s), thread.errors());
            let Errors { wrong, missed, reference } = errors;
            writeln!(f, "{:>7} {cpu:>4} {rate:>12} {wrong:>9} {missed:>9} {reference:>9}", thread.thread)?;
        }
        let names: Vec<String> = self.kernels().iter().map(KernelTally::form).collect();
        writeln!(f, "{elapsed}, {}, {}", names.join(" and "), rate(self.rate_hs))?;
        if let [first, .., last] = self.samples.as_slice() {
            writeln!(f, "rate at first {}, at last {}", rate(first.rate_hs), rate(last.rate_hs))?;
        }
        let hottest = self.samples.iter().filter_map(|sample| sample.celsius).max_by(f64::total_cmp);
        if let Some(hottest) = hottest {
            writeln!(f, "hottest {hottest:.0} °C")?;
        }
        if !self.complete {
            writeln!(f, "PARTIAL: stopped before the time was over")?;
        }
        let not_tested = self.not_tested();
        if !not_tested.is_empty() {
            writeln!(f, "NOT TESTED: {}", not_tested.join(" and "))?;
        }
        let hits: u64 =
            self.threads.iter().flat_map(|thread| &thread.kernels).map(|kernel| kernel.hits).sum();
        match self.errors.all() {
            0 if hits == 0 => write!(f, "nothing was checked"),
            0 => write!(f, "no errors: {hits} hits, none wrong and none missing"),
            errors => {
                let plural = if errors == 1 { "" } else { "S" };
                write!(
                    f,
                    "{errors} ERROR{plural}: this machine computes wrongly; undo any overclocking, check its cooling"
                )
            }
        }
    }
}
