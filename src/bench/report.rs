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
    /// Rate of the `sha2` crate over whole headers on one thread, in hashes a second; `None` if nothing was measured.
    pub baseline_hs: Option<Spread>,
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
