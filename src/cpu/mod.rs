//! The CPU as a device: which kernels it hashes with, on how many threads, and where.

pub mod cache;
pub mod choice;
pub mod plan;
pub mod probe;

use std::path::{Path, PathBuf};
use std::time::Duration;

use miner_core::cpu::{CpuBackend, CpuError, allowed_cpus};
use miner_core::sha256d::{IsaChoice, IsaError};

use self::cache::Cache;
use self::choice::{Choice, NoKernel};
use self::plan::{Plan, Room};
use self::probe::Prober;
use crate::machine::cgroup;
use crate::machine::topology::Topology;
use crate::settings::CpuSettings;

/// Why the CPU cannot mine.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It cannot be used as asked.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The kernels asked for cannot be used here.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// No kernel works.
    #[error(transparent)]
    NoKernel(#[from] NoKernel),
}

/// The CPU, checked against what is wanted of it.
#[derive(Clone, Debug)]
pub struct CpuSetup {
    settings: CpuSettings,
    kernels: IsaChoice,
    room: Room,
}

impl CpuSetup {
    /// Looks at the machine, and refuses what it can't do. Quick. `others`: whether devices will mine as well whose drivers
    /// need a core.
    pub fn new(settings: &CpuSettings, others: bool) -> Result<Self, SetupError> {
        let kernels = settings.isa.as_deref().map_or_else(|| Ok(IsaChoice::auto()), IsaChoice::parse)?;
        let room = Room::of_machine(others);
        Plan::new(settings, &room).config.check()?;
        Ok(Self { settings: settings.clone(), kernels, room })
    }

    /// Chooses the kernels: at once where they are known or there is no choice, else within about a second.
    pub fn choose(&self) -> Result<Choice, NoKernel> {
        // Where nothing can be started, nothing will be.
        let prober = Prober::of_this_program()
            .unwrap_or_else(|_| Prober { program: PathBuf::from("lode"), patience: Duration::ZERO });
        let default = self.settings.threads.is_none() && self.settings.affinity.is_none();
        let pair = self.room.topology.siblings().filter(|_| default);
        let cache = Cache::of_user();
        Choice::make(self.kernels.candidates(), pair, &prober, cache.as_ref())
    }

    /// How the CPU is used with the kernels chosen.
    pub fn plan(&self, choice: &Choice) -> Plan {
        Plan::new(&self.settings, &Room { siblings: choice.siblings, ..self.room.clone() })
    }

    /// Chooses, says what and why, and makes the backend.
    pub fn backend(&self) -> Result<CpuBackend, SetupError> {
        let choice = self.choose()?;
        for failure in &choice.failed {
            tracing::warn!("a kernel is left out: {failure}");
        }
        let Plan { config, why } = self.plan(&choice);
        tracing::info!("kernel {}; {} threads, {why}", choice.describe(), config.threads);
        Ok(CpuBackend::new(config, choice.kernels)?)
    }
}

impl Room {
    /// What this machine leaves to this process.
    pub fn of_machine(others: bool) -> Self {
        let root = Path::new("/");
        let all = || (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
        let topology = Topology::read(root, &allowed_cpus().unwrap_or_else(all));
        Self { topology, quota: cgroup::quota(root), siblings: None, others }
    }
}
