//! SHA-256d on GPUs.
//!
//! [`Gpus::find`] lists the GPUs of this machine; [`GpuBackend`] hashes on one of them by WGSL [`kernel`]s that a
//! generator writes and measurements choose. One text reaches Vulkan, Metal and DX12. `docs/gpu.md` explains the
//! arithmetic, the choice, and what was tried where.

mod adapter;
mod backend;
mod care;
mod error;
pub mod kernel;
mod pace;
mod pipeline;
mod searcher;
mod selftest;
mod telemetry;
mod tuner;
mod tuning;
mod watched;

pub use adapter::{Gpu, GpuFacts, Gpus, Unusable};
pub use backend::{Fault, FaultHook, GpuBackend, GpuConfig, Step};
pub use care::{HeatLimits, Watch};
pub use error::GpuError;
pub use pace::{Intensity, LONGEST};
pub use searcher::{Search, Searcher};
pub use telemetry::{Reading, Sensor, Telemetry, TelemetryError};
pub use tuner::Trial;
pub use tuning::{Tuning, TuningCache};
pub use watched::Watched;
