//! The CPU backend: all hashing threads of this machine as one device.
//!
//! The one shell in this crate: threads, the clock and the calls to the operating system of the backend live here.

#[expect(clippy::disallowed_methods, reason = "a kernel is chosen by its time")]
mod choose;
#[expect(clippy::disallowed_methods, reason = "chunks and reports are paced by the clock")]
mod crew;
mod os;

#[cfg(test)]
mod tests;

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use crate::backend::{BackendError, BackendInfo, BackendKind, BackendPort, HashBackend};
use crate::sha256d::{Isa, selftest};
use crate::types::HashRate;
use crate::work::{Granularity, WorkUnit};
use crew::Crew;

pub use choose::{Kernel, choose, measure};
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
    /// Niceness of the threads: 0 is that of an ordinary program, 19 gives way to everything. At least the process's own.
    ///
    /// Never real-time: that can starve a machine. Linux only; elsewhere threads keep the process's.
    pub niceness: u8,
}

impl Default for CpuConfig {
    /// A thread for every logical CPU that this process may use (its affinity and cgroup quota respected), unpinned,
    /// at niceness 10: everything else runs first, the rest of the miner included.
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Self { threads, affinity: None, niceness: 10 }
    }
}

/// Why the CPU cannot be used as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// More threads than could make sense.
    #[error("{0} hashing threads; at most {MAX_THREADS} are possible")]
    TooManyThreads(usize),
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

/// Called by hashing thread `usize` (counted from 0) before each chunk of a unit, about every half millisecond.
pub type ChunkHook = Arc<dyn Fn(usize, &WorkUnit) + Send + Sync>;

/// The CPU backend.
///
/// Its threads share one unit at a time, claiming about half a millisecond of nonces each; the next unit is ready before
/// the running one is used up.
pub struct CpuBackend {
    config: CpuConfig,
    kernel: Kernel,
    hook: Option<ChunkHook>,
}

impl CpuBackend {
    /// A backend that hashes with `kernel`: see [`choose`].
    pub fn new(config: CpuConfig, kernel: Kernel) -> Result<Self, CpuError> {
        if config.threads.get() > MAX_THREADS {
            return Err(CpuError::TooManyThreads(config.threads.get()));
        }
        if let Some(cpus) = &config.affinity {
            let allowed = allowed_cpus().ok_or(CpuError::NoPinning)?;
            if cpus.is_empty() {
                return Err(CpuError::NoAffinity);
            }
            if let Some(&cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
                return Err(CpuError::NotAllowed { cpu, allowed });
            }
        }
        Ok(Self { config, kernel, hook: None })
    }

    /// Has `hook` called before each chunk: to measure how fast threads turn to a new job, or to make them fail.
    pub fn with_chunk_hook(self, hook: ChunkHook) -> Self {
        Self { hook: Some(hook), ..self }
    }

    /// The kernel that it hashes with.
    pub fn isa(&self) -> Isa {
        self.kernel.isa
    }
}

impl HashBackend for CpuBackend {
    fn info(&self) -> BackendInfo {
        let threads = self.config.threads;
        let plural = if threads.get() == 1 { "" } else { "s" };
        BackendInfo {
            key: "cpu".into(),
            name: format!("CPU, {threads} thread{plural}, {}", self.kernel.isa).into(),
            kind: BackendKind::Cpu,
            granularity: Granularity::Nonces { step: STEP, versions: 1 },
            depth: 2,
            expected: HashRate(self.kernel.rate.0 * threads.get() as f64),
            counts_hashes: true,
            report_floor: None,
        }
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        selftest(self.kernel.isa).map_err(|error| BackendError::SelfTest(error.to_string()))?;
        let crew = Crew::new(self.kernel.isa, self.hook, &port);
        let CpuConfig { threads, affinity, niceness } = &self.config;
        thread::scope(|scope| {
            for index in 0..threads.get() {
                let cpu = affinity.as_ref().map(|cpus| cpus[index % cpus.len()]);
                let thread = thread::Builder::new().name(format!("hash-{index}")).stack_size(STACK);
                let crew = &crew;
                let spawned = thread.spawn_scoped(scope, move || match os::settle(cpu, *niceness) {
                    Ok(()) => crew.work(index),
                    Err(error) => crew.fail(error),
                });
                if let Err(source) = spawned {
                    crew.fail(BackendError::Os { context: "cannot start a hashing thread", source });
                    break;
                }
            }
            crew.feed(&port);
        });
        crew.end()
    }
}
