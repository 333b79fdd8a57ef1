//! A device, the kernels compiled for it, and dispatches of them.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use wgpu::{
    BindGroup, BindGroupEntry, BindGroupLayout, BindGroupLayoutEntry, BindingType, Buffer, BufferBindingType,
    BufferDescriptor, BufferUsages, ComputePipeline, ComputePipelineDescriptor, DeviceDescriptor,
    ErrorFilter, MapMode, PollError, PollType, Queue, ShaderModuleDescriptor, ShaderSource, ShaderStages,
    SubmissionIndex,
};

use crate::adapter::Gpu;
use crate::care::Gate;
use crate::error::GpuError;
use crate::kernel::{Form, HIT_BYTES, HITS, Kernel};
use crate::pace::Intensity;

/// Workgroups along one dimension of a dispatch, by the specification of every interface.
const MAX_GROUPS: u64 = 65_535;

/// Workgroups in a row where there is more than one row.
const ROW: u64 = 4096;

/// The most nonces in one dispatch.
pub(crate) const MAX_DISPATCH: u64 = 1 << 31;

/// Room for the uniform of any kernel.
const UNIFORM_BYTES: u64 = 512;

/// An open device. It is lost for good once anything with it has failed.
pub(crate) struct Device {
    device: wgpu::Device,
    queue: Queue,
    layout: BindGroupLayout,
    /// Why it was lost, by whoever saw it first.
    lost: Arc<OnceLock<String>>,
    /// Asked at each submit.
    gate: Gate,
}

/// A kernel, compiled.
pub(crate) struct Pipeline {
    pub(crate) kernel: Kernel,
    pipeline: ComputePipeline,
}

/// A run of nonces to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dispatch {
    /// The first nonce: a multiple of the nonces of one invocation.
    pub(crate) first: u32,
    /// How many, as [`fitting`] allows.
    pub(crate) nonces: u64,
    /// Hits have this most significant word or a smaller one.
    pub(crate) limit: u32,
}

/// What a dispatch found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Nonces, each with the index of its midstate.
    pub(crate) hits: Vec<(u32, u32)>,
    /// How many there were: more than `hits` has, if there was no room for all.
    pub(crate) count: u32,
}

impl Found {
    /// Whether hits are missing.
    pub(crate) fn overflowed(&self) -> bool {
        self.count > HITS
    }
}

/// The buffers of one dispatch.
pub(crate) struct Slot {
    uniform: Buffer,
    hits: Buffer,
    read: Buffer,
    group: BindGroup,
    submission: Option<SubmissionIndex>,
    /// Whether its last dispatch was not let start.
    held: bool,
    mapped: Arc<OnceLock<bool>>,
}

impl Device {
    pub(crate) fn open(gpu: &Gpu, gate: Gate) -> Result<Self, GpuError> {
        let descriptor = DeviceDescriptor {
            label: Some("lode"),
            required_limits: wgpu::Limits::downlevel_defaults(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(gpu.adapter.request_device(&descriptor))
            .map_err(|error| GpuError::Open(error.to_string()))?;
        let lost = Arc::new(OnceLock::new());
        let by_error = Arc::clone(&lost);
        // Without a handler, wgpu panics. The first reason is the one that counts.
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let _ = by_error.set(one_line(&error.to_string()));
        }));
        let by_driver = Arc::clone(&lost);
        device.set_device_lost_callback(move |_, message| {
            let _ = by_driver.set(one_line(&message));
        });
        let entry = |binding, ty| BindGroupLayoutEntry {
            binding,
            visibility: ShaderStages::COMPUTE,
            ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &[
                entry(0, BufferBindingType::Uniform),
                entry(1, BufferBindingType::Storage { read_only: false }),
            ],
        });
        Ok(Self { device, queue, layout, lost, gate })
    }

    /// Compiles a kernel; some drivers put the work off until its first dispatch.
    pub(crate) fn compile(&self, form: Form) -> Result<Pipeline, GpuError> {
        let kernel = Kernel::new(form);
        assert!(kernel.uniform_bytes() <= UNIFORM_BYTES, "{form}");
        let invalid = self.device.push_error_scope(ErrorFilter::Validation);
        // What the driver's own compiler says no to.
        let internal = self.device.push_error_scope(ErrorFilter::Internal);
        let module = self.device.create_shader_module(ShaderModuleDescriptor {
            label: None,
            source: ShaderSource::Wgsl(kernel.source().into()),
        });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&self.layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: None,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let internal = pollster::block_on(internal.pop());
        let invalid = pollster::block_on(invalid.pop());
        if let Some(error) = invalid.or(internal) {
            return Err(GpuError::Kernel(one_line(&error.to_string())));
        }
        self.check()?;
        Ok(Pipeline { kernel, pipeline })
    }

    pub(crate) fn slot(&self) -> Slot {
        let buffer = |size, usage| {
            self.device.create_buffer(&BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let uniform = buffer(UNIFORM_BYTES, BufferUsages::UNIFORM | BufferUsages::COPY_DST);
        let hits = buffer(HIT_BYTES, BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST);
        let read = buffer(HIT_BYTES, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.layout,
            entries: &[
                BindGroupEntry { binding: 0, resource: uniform.as_entire_binding() },
                BindGroupEntry { binding: 1, resource: hits.as_entire_binding() },
            ],
        });
        Slot { uniform, hits, read, group, submission: None, held: false, mapped: Arc::default() }
    }

    /// Starts a dispatch with the buffers of a slot that has none running. `false`: the gate lets none start.
    pub(crate) fn submit(
        &self,
        slot: &mut Slot,
        pipeline: &Pipeline,
        words: &[u32],
        dispatch: Dispatch,
    ) -> bool {
        let form = pipeline.kernel.form();
        let (columns, rows) = grid(form, dispatch.nonces);
        let row = columns * form.workgroup;
        let uniform = pipeline.kernel.uniform(words, dispatch.first, row, dispatch.limit);
        self.queue.write_buffer(&slot.uniform, 0, &uniform);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&slot.hits, 0, Some(8));
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &slot.group, &[]);
        pass.dispatch_workgroups(columns, rows, 1);
        drop(pass);
        encoder.copy_buffer_to_buffer(&slot.hits, 0, &slot.read, 0, HIT_BYTES);
        slot.mapped = Arc::default();
        let mapped = Arc::clone(&slot.mapped);
        encoder.map_buffer_on_submit(&slot.read, MapMode::Read, .., move |result| {
            // Called once; a panic here would end the process.
            let _ = mapped.set(result.is_ok());
        });
        let commands = encoder.finish();
        // Asked last: whatever held this thread up before, on a card that is too hot nothing starts.
        slot.held = !self.gate.is_open();
        if !slot.held {
            slot.submission = Some(self.queue.submit([commands]));
        }
        !slot.held
    }

    /// Starts a dispatch, waits for it, and lets the GPU rest as it has to at its temperature. Tells how long it worked, too.
    pub(crate) fn search(
        &self,
        slot: &mut Slot,
        pipeline: &Pipeline,
        words: &[u32],
        dispatch: Dispatch,
        patience: Duration,
    ) -> Result<(Found, Duration), GpuError> {
        let start = Instant::now();
        self.submit(slot, pipeline, words, dispatch);
        let found = self.collect(slot, patience)?;
        let took = start.elapsed();
        thread::sleep(Intensity::NORMAL.slowed(self.gate.duty()).pause(took));
        Ok((found, took))
    }

    /// Waits for the slot's dispatch, but not longer than `patience`.
    pub(crate) fn collect(&self, slot: &mut Slot, patience: Duration) -> Result<Found, GpuError> {
        self.check()?;
        if slot.held {
            return Err(GpuError::Held);
        }
        let wait = PollType::Wait { submission_index: slot.submission.take(), timeout: Some(patience) };
        match self.device.poll(wait) {
            Ok(_) => {}
            Err(PollError::Timeout) => return Err(GpuError::Hang(patience)),
            Err(error) => return Err(self.lost(&error.to_string())),
        }
        self.check()?;
        if slot.mapped.get() != Some(&true) {
            return Err(self.lost("its answer cannot be read"));
        }
        let mapped = slot.read.get_mapped_range(..).map_err(|error| self.lost(&error.to_string()))?;
        let words: Vec<u32> =
            mapped.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        drop(mapped);
        slot.read.unmap();
        let hits = words[2..].chunks_exact(2).take(words[0].min(HITS) as usize);
        Ok(Found { hits: hits.map(|hit| (hit[0].swap_bytes(), hit[1])).collect(), count: words[0] })
    }

    /// Loses the device, as a driver would: for tests.
    pub(crate) fn destroy(&self) {
        self.device.destroy();
    }

    /// Whether nothing has gone wrong so far.
    pub(crate) fn check(&self) -> Result<(), GpuError> {
        self.lost.get().map_or(Ok(()), |reason| Err(GpuError::Lost(reason.clone())))
    }

    fn lost(&self, seen: &str) -> GpuError {
        GpuError::Lost(self.lost.get().cloned().unwrap_or_else(|| one_line(seen)))
    }
}

/// The most nonces up to `want` that one dispatch can try; at least one workgroup's.
pub(crate) fn fitting(form: &Form, want: u64) -> u64 {
    let granule = form.granule();
    let groups = want.min(MAX_DISPATCH) / granule;
    let groups = if groups <= MAX_GROUPS { groups.max(1) } else { groups / ROW * ROW };
    groups * granule
}

/// Workgroups of a dispatch in columns and rows. Panics at what is not [`fitting`]: nonces would go unsearched, and be
/// counted.
fn grid(form: &Form, nonces: u64) -> (u32, u32) {
    assert_eq!(fitting(form, nonces), nonces, "{form}: a grid of whole rows");
    let groups = nonces / form.granule();
    let (columns, rows) = if groups <= MAX_GROUPS { (groups, 1) } else { (ROW, groups / ROW) };
    (columns as u32, rows as u32)
}

/// Drops what is left of a device that does not answer: the driver may wait for it for ever.
pub(crate) fn drop_aside<T: Send + 'static>(remains: T) {
    // Without a thread for it, it is dropped here.
    let _ = thread::Builder::new().name("gpu-drop".to_owned()).spawn(move || drop(remains));
}

/// What a driver says, bounded and on one line.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{MAX_NONCES, MAX_WORKGROUP};

    #[test]
    fn every_dispatch_is_within_the_limits_of_the_grid() {
        let forms = [Form::DEFAULT, Form { workgroup: 32, nonces: 4, ..Form::DEFAULT }, {
            Form { workgroup: MAX_WORKGROUP, nonces: MAX_NONCES, ..Form::DEFAULT }
        }];
        for form in forms {
            for want in [0, 1, 4096, 65_535 * 4096, 65_536 * 4096, 300_000_001, 1 << 30, u64::MAX] {
                let nonces = fitting(&form, want);
                assert!(nonces <= want.max(form.granule()) && nonces <= MAX_DISPATCH, "{form} {want}");
                let (columns, rows) = grid(&form, nonces);
                assert!(u64::from(columns.max(rows)) <= MAX_GROUPS, "{form} {want}: {columns} × {rows}");
                assert_eq!(u64::from(columns) * u64::from(rows) * form.granule(), nonces, "{form} {want}");
            }
        }
    }

    #[test]
    fn what_a_driver_says_is_kept_to_a_line() {
        assert_eq!(one_line("a\n  b\u{7}\tc"), "a b c");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 300);
    }
}
