//! Which GPUs are mined with, and why others are not.

#[cfg(feature = "gpu")]
mod choice;

use miner_core::backend::HashBackend;
use serde::Serialize;

#[cfg(feature = "gpu")]
pub use choice::{backends, list};

/// A GPU as `lode devices` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundGpu {
    /// The device key, as everywhere.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The interface that it is reached by.
    pub api: String,
    /// Its driver and the driver's version.
    pub driver: String,
    /// Whether lode mines with it where it is asked to.
    pub usable: bool,
    /// Why not.
    pub why_not: Option<String>,
}

/// Why a GPU, or any, is not mined with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuProblem {
    /// The code for GPUs was left out.
    #[error("this lode was built without GPUs")]
    NotBuilt,
    /// There is none.
    #[error("no GPU found: {0}")]
    NoGpu(String),
    /// There is none of this number or name.
    #[error("there is no GPU {0}")]
    NoSuch(String),
    /// A CPU only plays it.
    #[error("GPU {0} is software")]
    Software(String),
    /// Its driver or its limits don't suffice.
    #[error("GPU {name} cannot be used: {reason}")]
    Unusable {
        /// Its name.
        name: String,
        /// What is lacking.
        reason: String,
    },
}

/// The GPUs to mine with.
#[derive(Default)]
pub struct GpuBackends {
    /// A backend for each.
    pub list: Vec<Box<dyn HashBackend>>,
    /// What was asked for and can't be had.
    pub problems: Vec<GpuProblem>,
}

/// Says that there are none in this build, if any were asked for.
#[cfg(not(feature = "gpu"))]
pub fn backends(settings: &crate::settings::GpuSettings) -> GpuBackends {
    let wanted = settings.choice != crate::settings::GpuChoice::None;
    GpuBackends { list: Vec::new(), problems: wanted.then_some(GpuProblem::NotBuilt).into_iter().collect() }
}

/// Says that there are none in this build.
///
/// # Errors
/// Always.
#[cfg(not(feature = "gpu"))]
pub fn list() -> Result<Vec<FoundGpu>, GpuProblem> {
    Err(GpuProblem::NotBuilt)
}
