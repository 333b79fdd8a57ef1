//! What the operator wants: checked and typed. Built by `cli` and `config` from flags, environment, file and defaults.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use stratum::Secret;
use stratum::url::{PoolUrl, ProxyUrl};

/// Everything that `lode mine` needs to know.
#[derive(Clone, Debug)]
pub struct MineSettings {
    /// Pools in order of preference; empty: the built-in practice pool.
    pub pools: Vec<PoolSettings>,
    /// The CPU backend.
    pub cpu: CpuSettings,
    /// The GPU backends.
    pub gpu: GpuSettings,
    /// The USB ASIC backends.
    pub asic: AsicSettings,
    /// When to stop by itself.
    pub limits: RunLimits,
    /// What is reported, and how.
    pub report: ReportSettings,
}

/// One pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Where it is.
    pub url: PoolUrl,
    /// The user or worker name.
    pub user: String,
    /// The password.
    pub pass: Secret,
    /// A PEM file with the certificate authorities to trust instead of the platform's.
    pub tls_ca: Option<PathBuf>,
    /// The SOCKS5 proxy to go through.
    pub proxy: Option<ProxyUrl>,
    /// Other places that the pool may send us to.
    pub allow_reconnect: Vec<(String, Option<u16>)>,
    /// The difficulty to suggest.
    pub suggest_difficulty: Option<f64>,
    /// The longest pause between two attempts to connect.
    pub retry_pause: Duration,
}

impl PoolSettings {
    /// A pool with nothing set beyond the need.
    pub fn new(url: PoolUrl, user: &str) -> Self {
        Self {
            url,
            user: user.to_owned(),
            pass: Secret::new("x"),
            tls_ca: None,
            proxy: None,
            allow_reconnect: Vec::new(),
            suggest_difficulty: None,
            retry_pause: Duration::from_secs(60),
        }
    }
}

/// The CPU backend.
#[derive(Clone, Debug)]
pub struct CpuSettings {
    /// Threads; `None`: one for each logical CPU that we may use; 0: no CPU mining.
    pub threads: Option<usize>,
    /// `auto`, a kernel's name, or a list of instruction sets to leave out (`-avx512`). Checked.
    pub isa: Option<String>,
    /// The CPUs to run on, one for each thread, reused in order.
    pub affinity: Option<Vec<usize>>,
    /// 0 (gives way to everything) to 5 (as other programs); never real-time.
    pub priority: Option<u8>,
    /// The most CPU time of each thread, in percent: 1 to 100.
    pub limit: u8,
}

impl Default for CpuSettings {
    /// Nothing asked for.
    fn default() -> Self {
        Self { threads: None, isa: None, affinity: None, priority: None, limit: 100 }
    }
}

/// The GPU backends.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuSettings {
    /// Which GPUs to mine with.
    pub choice: GpuChoice,
    /// Whether a GPU that a CPU only plays will do.
    pub allow_cpu: bool,
    /// How hard they work.
    pub intensity: GpuIntensity,
    /// How hot they may become.
    pub heat: HeatSettings,
    /// What single ones do otherwise: the first entry that fits a GPU is its own.
    pub devices: Vec<GpuDevice>,
}

/// What one GPU does otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuDevice {
    /// Which one.
    pub pick: GpuPick,
    /// Whether it mines where it is chosen.
    pub enabled: bool,
    /// How hard it works.
    pub intensity: GpuIntensity,
    /// How hot it may become.
    pub heat: HeatSettings,
}

/// The temperatures that a device is kept at, in °C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeatSettings {
    /// It is slowed down so that it stays here.
    pub target: u8,
    /// It is stopped here.
    pub cutoff: u8,
}

/// Which GPUs to mine with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuChoice {
    /// None.
    None,
    /// All that can be used.
    All,
    /// These.
    Some(Vec<GpuPick>),
}

/// What names a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuPick {
    /// Its place in the list of `lode devices`.
    Index(usize),
    /// Its device key, or a part of its name.
    Name(String),
}

/// How hard a GPU works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuIntensity {
    /// The machine stays pleasant to work at.
    Desktop,
    /// The machine mines.
    Normal,
    /// Nothing else matters.
    Max,
    /// Work of this length at once.
    Target(Duration),
}

/// The USB ASIC backends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AsicSettings {
    /// Whether to take all that surely are ASICs.
    pub all: bool,
    /// Those that are named.
    pub picks: Vec<AsicPick>,
    /// Kinds of devices to emulate, not checked.
    pub emulate: Vec<String>,
}

/// A USB ASIC that is named.
#[derive(Clone, Debug, PartialEq)]
pub struct AsicPick {
    /// Its driver's name, not checked.
    pub driver: String,
    /// Its ports, with commas between, or its serial number.
    pub place: String,
    /// Its clock in MHz.
    pub mhz: Option<f32>,
    /// Its core voltage in mV.
    pub millivolts: Option<u32>,
    /// `false`: it is left out, even where all are taken.
    pub enabled: bool,
}

/// When to stop by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunLimits {
    /// After this many accepted shares.
    pub shares: Option<u64>,
    /// After this long.
    pub time: Option<Duration>,
}

impl RunLimits {
    /// Whether the run ends by itself.
    pub fn is_bounded(self) -> bool {
        self.shares.is_some() || self.time.is_some()
    }
}

/// What is reported, and how.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The form of standard output.
    pub output: OutputFormat,
    /// Whether to colour.
    pub color: bool,
    /// Time between two periodic lines.
    pub interval: Duration,
    /// A file that takes the log as well.
    pub log_file: Option<PathBuf>,
    /// How much to say: below 0 less, above 0 more.
    pub verbosity: i8,
}

/// The form of standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// Lines for people.
    #[default]
    Text,
    /// JSON lines, nothing else on standard output.
    Json,
}

/// `lode pool`: the practice pool alone.
#[derive(Clone, Debug)]
pub struct PoolServerSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Start difficulty.
    pub difficulty: f64,
    /// The file that takes every submit and its verdict.
    pub ledger: Option<PathBuf>,
}

/// `lode bench`.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    /// What to do.
    pub task: BenchTask,
    /// The file that takes a chart of it.
    pub chart: Option<PathBuf>,
    /// Whether to print JSON instead of a table.
    pub json: bool,
    /// Whether to tell no progress.
    pub quiet: bool,
}

/// What `lode bench` does.
#[derive(Clone, Debug)]
pub enum BenchTask {
    /// Measures.
    Measure {
        /// What to measure with.
        cpu: BenchCpu,
        /// Time for each measurement.
        time: Duration,
        /// The file that takes the result.
        save: Option<PathBuf>,
    },
    /// Measures the kernels of GPUs.
    Gpu {
        /// The GPUs.
        gpu: GpuSettings,
        /// The most CPU threads beside them; `None`: one for each logical CPU that we may use.
        threads: Option<NonZero<usize>>,
        /// Time for each measurement.
        time: Duration,
        /// The file that takes the result.
        save: Option<PathBuf>,
    },
    /// Compares two saved results.
    Compare {
        /// The first.
        a: PathBuf,
        /// The second.
        b: PathBuf,
    },
    /// Looks for errors.
    Stress {
        /// What to hash with.
        cpu: BenchCpu,
        /// How long.
        duration: Duration,
    },
}

/// What `lode bench` may use.
#[derive(Clone, Debug)]
pub struct BenchCpu {
    /// The most threads; `None`: one for each logical CPU that we may use.
    pub threads: Option<NonZero<usize>>,
    /// The kernels: `all`, or as [`CpuSettings::isa`]. Checked.
    pub isa: Option<String>,
}
