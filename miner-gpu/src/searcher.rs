//! One kernel at a time, without a ring and without a backend: for tests and measurements.

use std::time::Duration;

use crate::adapter::Gpu;
use crate::care::Gate;
use crate::error::GpuError;
use crate::kernel::Form;
use crate::pipeline::{Device, Dispatch, Pipeline, Slot, fitting};
use crate::selftest::{FIRST_ANSWER, selftest};

/// An open GPU with one kernel.
pub struct Searcher {
    device: Device,
    pipeline: Pipeline,
    slot: Slot,
    patience: Duration,
}

/// What one dispatch found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Nonces, each with the index of its header, in order; no more than [`HITS`](crate::kernel::HITS).
    pub hits: Vec<(u32, u32)>,
    /// How many there were.
    pub count: u32,
}

impl Searcher {
    /// Opens a GPU and compiles a kernel.
    pub fn open(gpu: &Gpu, form: Form) -> Result<Self, GpuError> {
        let device = Device::open(gpu, Gate::open())?;
        let (pipeline, slot) = (device.compile(form)?, device.slot());
        Ok(Self { device, pipeline, slot, patience: FIRST_ANSWER })
    }

    /// Compiles another kernel.
    pub fn compile(&mut self, form: Form) -> Result<(), GpuError> {
        self.pipeline = self.device.compile(form)?;
        Ok(())
    }

    /// Asks the kernel known answers.
    pub fn selftest(&mut self) -> Result<(), GpuError> {
        selftest(&self.device, &self.pipeline, &mut self.slot)
    }

    /// How long an answer is waited for from now on, instead of a minute. One that did not come leaves the device unusable.
    pub fn be_patient_for(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The most nonces up to `want` that one dispatch can try; at least one workgroup's.
    pub fn fitting(&self, want: u64) -> u64 {
        fitting(self.pipeline.kernel.form(), want)
    }

    /// Tries `nonces` ([fitting](Self::fitting)) from `first` on, past 2^32 to 0, with each of the headers, which may
    /// differ in their versions only. `first` is cut to a multiple of one invocation's nonces.
    pub fn search(
        &mut self,
        headers: &[[u8; 80]],
        first: u32,
        nonces: u64,
        limit: u32,
    ) -> Result<Search, GpuError> {
        let words = self.pipeline.kernel.words(headers);
        let first = first & !(self.pipeline.kernel.form().nonces - 1);
        let nonces = self.fitting(nonces);
        self.device.submit(&mut self.slot, &self.pipeline, &words, Dispatch { first, nonces, limit });
        let mut found = self.device.collect(&mut self.slot, self.patience)?;
        found.hits.sort_unstable();
        Ok(Search { hits: found.hits, count: found.count })
    }
}
