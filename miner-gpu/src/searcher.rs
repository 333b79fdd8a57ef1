//! One kernel at a time, without a ring and without a backend: for tests and measurements.

use std::time::Duration;

use crate::care::once_let;
use crate::error::GpuError;
use crate::kernel::Form;
use crate::pipeline::{Device, Dispatch, Pipeline, Slot, fitting};
use crate::selftest::{FIRST_ANSWER, selftest};
use crate::watched::Watched;

/// An open GPU with one kernel. It rests between dispatches as its temperature wants.
pub struct Searcher {
    gpu: Watched,
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
    /// How long the GPU worked.
    pub took: Duration,
}

impl Searcher {
    /// Opens a GPU and compiles a kernel.
    ///
    /// # Errors
    /// As all that a searcher does: also [`GpuError::Stopped`], where the GPU is or becomes too hot.
    pub fn open(gpu: &Watched, form: Form) -> Result<Self, GpuError> {
        let device = gpu.open()?;
        let (pipeline, slot) = (device.compile(form)?, device.slot());
        Ok(Self { gpu: gpu.clone(), device, pipeline, slot, patience: FIRST_ANSWER })
    }

    /// Compiles another kernel.
    pub fn compile(&mut self, form: Form) -> Result<(), GpuError> {
        self.pipeline = self.device.compile(form)?;
        Ok(())
    }

    /// Asks the kernel known answers.
    pub fn selftest(&mut self) -> Result<(), GpuError> {
        self.once_let(|own| selftest(&own.device, &own.pipeline, &mut own.slot))
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
        let dispatch = Dispatch { first, nonces, limit };
        let (mut found, took) = self.once_let(|own| {
            own.device.search(&mut own.slot, &own.pipeline, &words, dispatch, own.patience)
        })?;
        found.hits.sort_unstable();
        Ok(Search { hits: found.hits, count: found.count, took })
    }

    fn once_let<T>(&mut self, step: impl FnMut(&mut Self) -> Result<T, GpuError>) -> Result<T, GpuError> {
        once_let(self, |own| own.gpu.ready().map(|()| true), step)?.ok_or(GpuError::Held)
    }
}
