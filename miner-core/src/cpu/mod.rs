//! The CPU backend: all hashing threads of this machine as one device.
//!
//! The one shell in this crate: threads, the clock and the calls to the operating system of the backend live here.

#[expect(clippy::disallowed_methods, reason = "a kernel is chosen by its time")]
mod choose;
#[expect(clippy::disallowed_methods, reason = "chunks, reports and sleeps are paced by the clock")]
mod crew;
mod duty;
mod os;

#[cfg(test)]
mod tests;

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use crate::backend::{BackendError, BackendInfo, BackendKind, BackendPort, HashBackend};
use crate::sha256d::selftest;
use crate::types::HashRate;
use crate::work::{Granularity, WorkUnit};
use crew::Crew;

pub use choose::{Kernel, KernelRates, Kernels, choose, measure, measure_siblings};
pub use os::allowed_cpus;

/// The most hashing threads.
const MAX_THREADS: usize = 4096;

/// Stack of a hashing thread in bytes.
const STACK: usize = 256 << 10;

/// Nonces are leased in multiples of this: whole vectors for every kernel.
const STEP: u64 = 64;

/// The most versions that a unit may have. Only kernels that share a message schedule gain by more than one.
const MAX_VERSIONS: u32 = 64;

/// How the CPU is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuConfig {
    /// Hashing threads, at most 4096.
    pub threads: NonZero<usize>,
    /// The logical CPUs to pin the threads to, in turn; `None` leaves it to the system.
    pub affinity: Option<Vec<usize>>,
    /// How much the threads give way to others.
    pub priority: Priority,
    /// The most CPU time that each thread uses, in percent of the time that passes: 1 to 100.
    pub limit: u8,
}

impl Default for CpuConfig {
    /// A thread for every logical CPU that this process may use (its affinity and cgroup quota respected), unpinned,
    /// at niceness 10 and without a limit: everything else runs first, the rest of the miner included.
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Self { threads, affinity: None, priority: Priority::Nice(10), limit: 100 }
    }
}

impl CpuConfig {
    /// Whether this machine and this process can do as asked.
    pub fn check(&self) -> Result<(), CpuError> {
        if self.threads.get() > MAX_THREADS {
            return Err(CpuError::TooManyThreads(self.threads.get()));
        }
        if !(1..=100).contains(&self.limit) {
            return Err(CpuError::Limit(self.limit));
        }
        let Some(cpus) = &self.affinity else { return Ok(()) };
        let allowed = allowed_cpus().ok_or(CpuError::NoPinning)?;
        if cpus.is_empty() {
            return Err(CpuError::NoAffinity);
        }
        match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            Some(&cpu) => Err(CpuError::NotAllowed { cpu, allowed }),
            None => Ok(()),
        }
    }
}

/// How much hashing threads give way to others. Never real-time: that can starve a machine.
///
/// Linux only; elsewhere threads keep the process's priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// They run only where nobody else wants to (`SCHED_IDLE`).
    Idle,
    /// A niceness: 0 is that of an ordinary program, 19 gives way to almost everything. At least the process's own.
    Nice(u8),
}

/// Why the CPU cannot be used as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// More threads than could make sense.
    #[error("{0} hashing threads; at most {MAX_THREADS} are possible")]
    TooManyThreads(usize),
    /// A share of the time that no thread can use.
    #[error("a CPU limit of {0} %; 1 to 100 % are possible")]
    Limit(u8),
    /// The list of CPUs to pin threads to is empty.
    #[error("no CPU to pin threads to")]
    NoAffinity,
    /// The system cannot pin threads, or lode does not know how.
    #[error("threads cannot be pinned to CPUs on this system")]
    NoPinning,
    /// The process may not use this CPU, or the machine has none of this number.
    #[error("CPU {cpu} is not among those that this process may use: {allowed:?}")]
    NotAllowed {
        /// The CPU asked for.
        cpu: usize,
        /// Those that are possible.
        allowed: Vec<usize>,
    },
}

/// Called by hashing thread `usize` (counted from 0) before each chunk of a unit, about every quarter of a millisecond.
pub type ChunkHook = Arc<dyn Fn(usize, &WorkUnit) + Send + Sync>;

/// The CPU backend.
///
/// Its threads share one unit at a time, claiming about a quarter of a millisecond of nonces each; the next unit is ready
/// before the running one is used up.
pub struct CpuBackend {
    config: CpuConfig,
    kernels: Kernels,
    hook: Option<ChunkHook>,
}

impl CpuBackend {
    /// A backend that hashes with one kernel, or with those that [`choose`] found.
    pub fn new(config: CpuConfig, kernels: impl Into<Kernels>) -> Result<Self, CpuError> {
        config.check()?;
        Ok(Self { config, kernels: kernels.into(), hook: None })
    }

    /// Has `hook` called before each chunk: to measure how fast threads turn to a new job, or to make them fail.
    pub fn with_chunk_hook(self, hook: ChunkHook) -> Self {
        Self { hook: Some(hook), ..self }
    }

    fn name(&self) -> String {
        let CpuConfig { threads, limit, .. } = &self.config;
        let Kernels { plain, rolled } = &self.kernels;
        let plural = if threads.get() == 1 { "" } else { "s" };
        let mut name = format!("CPU, {threads} thread{plural}, {}", plain.isa);
        if let Some(rolled) = rolled.filter(|rolled| rolled.isa != plain.isa) {
            name += &format!(" ({} where versions may be rolled)", rolled.isa);
        }
        if *limit < 100 {
            name += &format!(", at most {limit} % of the time");
        }
        name
    }
}

impl HashBackend for CpuBackend {
    fn info(&self) -> BackendInfo {
        let CpuConfig { threads, limit, .. } = &self.config;
        let Kernels { plain, rolled } = self.kernels;
        BackendInfo {
            key: "cpu".into(),
            name: self.name().into(),
            kind: BackendKind::Cpu,
            granularity: Granularity::Nonces {
                step: STEP,
                versions: rolled.map_or(1, |rolled| rolled.isa.versions()),
            },
            depth: 2,
            // Whether versions may be rolled is for the jobs to say.
            expected: HashRate(plain.rate.0 * threads.get() as f64 * f64::from(*limit) / 100.0),
            counts_hashes: true,
            report_floor: None,
        }
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        let Kernels { plain, rolled } = self.kernels;
        for kernel in std::iter::once(plain).chain(rolled) {
            selftest(kernel.isa).map_err(|error| BackendError::SelfTest(error.to_string()))?;
        }
        let CpuConfig { threads, affinity, priority, limit } = &self.config;
        let crew = Crew::new(self.kernels, *limit, self.hook, port);
        thread::scope(|scope| {
            for index in 0..threads.get() {
                let cpu = affinity.as_ref().map(|cpus| cpus[index % cpus.len()]);
                let thread = thread::Builder::new().name(format!("hash-{index}")).stack_size(STACK);
                let crew = &crew;
                let spawned = thread.spawn_scoped(scope, move || match os::settle(cpu, *priority) {
                    Ok(()) => crew.work(index),
                    Err(error) => crew.fail(error),
                });
                if let Err(source) = spawned {
                    crew.fail(BackendError::Os { context: "cannot start a hashing thread", source });
                    break;
                }
            }
            crew.feed();
        });
        crew.end()
    }
}
