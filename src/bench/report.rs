//! What a run found: the result that is printed, saved and compared.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::answers::Mismatch;
use super::cycles::Cycles;
use super::spread::Spread;
use super::variant::Variant;
use crate::machine::MachineFacts;
use crate::version;

/// What a result calls itself.
pub(super) const TYPE: &str = "lode_bench";

/// The version of its form. It grows when a field goes away or changes its meaning.
pub(super) const FORM: u32 = 1;

/// A run's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// `lode_bench`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of this form.
    pub v: u32,
    /// When the run ended: RFC 3339, UTC.
    pub ts: String,
    /// Whether everything that was to be measured was.
    pub complete: bool,
    /// The lode that ran.
    pub build: Build,
    /// The machine, right after the last window.
    pub machine: MachineFacts,
    /// Whether core cycles were counted.
    pub cycles: Cycles,
    /// Length of a window in milliseconds.
    pub window_ms: u32,
    /// Time for each row in seconds.
    pub row_s: f64,
    /// Rate of the `sha2` crate, in hashes a second: over whole headers on one thread or, beside GPUs, over what follows
    /// the first block on two; `None` if nothing was measured.
    pub baseline_hs: Option<Spread>,
    /// Threads of the baseline.
    #[serde(default = "one")]
    pub baseline_threads: usize,
    /// The GPUs that were measured; none where the CPU was.
    #[serde(default)]
    pub gpus: Vec<BenchGpu>,
    /// Each kernel in each form with each number of threads.
    pub rows: Vec<BenchRow>,
    /// The checksum over what plain kernels find around known blocks, 8 digits.
    pub checksum: String,
    /// The first wrong answer; `None` if all were right.
    pub mismatch: Option<Mismatch>,
}

/// One kernel in one form with one number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    /// The kernel's name.
    pub kernel: String,
    /// Versions tried at once; 1 for the plain form.
    pub versions: u32,
    /// The number of threads.
    pub threads: usize,
    /// Rate of all threads together, in hashes a second.
    pub rate_hs: Spread,
    /// Rate over the baseline's in the window before.
    pub ratio: Spread,
    /// Core cycles for each hash of each thread, where they could be counted.
    pub cycles_per_hash: Option<Spread>,
    /// The part of the windows' time that the threads got from the system; the rest went to other programs.
    pub cpu_share: Option<f64>,
    /// Windows that count.
    pub windows: usize,
    /// Windows that do not, because other programs ran in them.
    pub windows_left_out: usize,
    /// Hits that were found and hashed again.
    pub hits: u64,
    /// What there is to say of a GPU's kernel only.
    #[serde(default)]
    pub gpu: Option<GpuFigures>,
}

/// A GPU that was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchGpu {
    /// Its device key.
    pub device: String,
    /// Its name.
    pub name: String,
    /// The interface that it is reached by.
    pub api: String,
    /// Its driver and the driver's version.
    pub driver: String,
    /// Whether a CPU only plays it.
    pub software: bool,
    /// Kernels that lost without a figure.
    pub lost: Vec<LostKernel>,
    /// Why not everything was measured, if so.
    pub problem: Option<String>,
    /// What CPU threads add to it; `None` where that was not measured.
    pub beside: Option<Beside>,
}

/// A kernel that its driver refused, that computed wrongly, or that took the device down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostKernel {
    /// The kernel.
    pub kernel: String,
    /// Versions tried at once.
    pub versions: u32,
    /// What was wrong.
    pub why: String,
}

/// A GPU and the CPU at work at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// CPU threads where none is left out.
    pub threads: usize,
    /// Rate of the GPU and all threads together, in hashes a second.
    pub all_hs: Spread,
    /// Rate of the GPU and one thread fewer.
    pub fewer_hs: Spread,
    /// The first over the second, by turns.
    pub ratio: Spread,
}

/// What there is to say of a GPU's kernel only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuFigures {
    /// The key of the device that it ran on.
    pub device: String,
    /// How rotations, Ch and Maj are written.
    pub rotate: String,
    /// See `rotate`.
    pub ch: String,
    /// See `rotate`.
    pub maj: String,
    /// Invocations in a workgroup.
    pub workgroup: u32,
    /// Nonces of an invocation.
    pub nonces: u32,
    /// Operations for each hash.
    pub operations: f64,
    /// Length of a dispatch in milliseconds.
    pub dispatch_ms: Spread,
    /// Rate in the measurement that mining chooses by, in hashes a second.
    pub tuned_hs: f64,
    /// Whether that measurement chose it.
    pub chosen: bool,
}

fn one() -> usize {
    1
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// The kernel's name.
    pub kernel: String,
    /// Versions tried at once.
    pub versions: u32,
    /// The number of threads.
    pub threads: usize,
}

/// A build of lode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The version.
    pub version: String,
    /// The commit, or `unknown`.
    pub commit: String,
    /// The target.
    pub target: String,
    /// The profile: `debug` figures mean nothing.
    pub profile: String,
    /// The compiler.
    pub compiler: String,
}

impl Build {
    /// This one.
    pub fn this() -> Self {
        Self {
            version: version::SHORT.to_owned(),
            commit: version::COMMIT.to_owned(),
            target: version::TARGET.to_owned(),
            profile: version::PROFILE.to_owned(),
            compiler: version::COMPILER.to_owned(),
        }
    }
}

impl BenchReport {
    /// A report of nothing yet.
    pub(super) fn begin(row_s: f64) -> Self {
        Self {
            kind: TYPE.to_owned(),
            v: FORM,
            ts: now(),
            complete: true,
            build: Build::this(),
            machine: MachineFacts::default(),
            cycles: Cycles::probe(),
            window_ms: super::crew::WINDOW.as_millis() as u32,
            row_s,
            baseline_hs: None,
            baseline_threads: 1,
            gpus: Vec::new(),
            rows: Vec::new(),
            checksum: format!("{:08x}", super::answers::CHECKSUM),
            mismatch: None,
        }
    }
}

impl BenchRow {
    /// What the row is about.
    pub fn key(&self) -> Key {
        Key { kernel: self.kernel.clone(), versions: self.versions, threads: self.threads }
    }
}

impl Beside {
    /// Whether it can be one.
    pub(super) fn is_sound(&self) -> bool {
        self.threads > 1 && [self.all_hs, self.fewer_hs, self.ratio].iter().all(Spread::is_sound)
    }
}

impl Key {
    pub(super) fn new(variant: Variant, threads: usize) -> Self {
        Self { kernel: variant.isa.name().to_owned(), versions: variant.versions, threads }
    }

    /// The kernel and its form, in a few letters.
    pub fn form(&self) -> String {
        if self.versions == 1 { self.kernel.clone() } else { format!("{} x{}", self.kernel, self.versions) }
    }
}

/// The wall-clock time.
pub(super) fn now() -> String {
    format!("{:.3}", Timestamp::now())
}
