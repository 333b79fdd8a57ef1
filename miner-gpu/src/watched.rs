//! A GPU that something else than a backend works with, under the same guard.

use std::io;
use std::sync::Arc;

use miner_core::backend::{BackendEvent, EventSink};

use crate::adapter::Gpu;
use crate::backend::GpuConfig;
use crate::care::{Guard, Vitals};
use crate::error::GpuError;
use crate::pipeline::Device;

/// A GPU whose temperature is watched as in mining, for tests and measurements. Clones share the guard.
#[derive(Clone)]
pub struct Watched {
    gpu: Gpu,
    guard: Arc<Guard>,
}

impl Watched {
    /// Watches a GPU by the sensor of a configuration and within its limits; without a sensor, nobody does.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(gpu: Gpu, config: &GpuConfig) -> io::Result<Self> {
        let &GpuConfig { ref sensor, heat, watch, .. } = config;
        let nobody: Arc<dyn EventSink> = Arc::new(Nobody);
        let guard = Guard::start(sensor.clone(), heat, watch, Vitals::new(&nobody))?;
        Ok(Self { gpu, guard: Arc::new(guard) })
    }

    /// Opens the device, unless nothing may start.
    pub(crate) fn open(&self) -> Result<Device, GpuError> {
        self.ready()?;
        Device::open(&self.gpu, self.guard.gate().clone())
    }

    /// Waits until dispatches may start, as [`Guard::ready`].
    pub(crate) fn ready(&self) -> Result<(), GpuError> {
        self.guard.ready()
    }
}

/// Nobody is told: who works with the GPU asks.
struct Nobody;

impl EventSink for Nobody {
    fn send(&self, _: BackendEvent) -> bool {
        true
    }
}
