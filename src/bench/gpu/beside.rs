//! Whether a CPU thread is worth more than the core that it takes from the GPU's driver.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use miner_core::backend::{
    BackendEvent, BackendFeed, EventSink, GenerationGate, HashBackend, Health, HealthState, wire,
};
use miner_core::cpu::Kernels;
use miner_core::job::{Extranonce2, JobId, JobTemplate, Merkle, VersionMask};
use miner_core::types::{
    BlockHash, CompactTarget, Epoch, Generation, HashCount, MerkleRoot, SourceId, Target, WorkId,
};
use miner_core::work::{NonceRange, VersionRange, WorkUnit};
use miner_gpu::{Gpu, GpuBackend, GpuConfig, GpuError, Tuning};

use crate::bench::report::Beside;
use crate::bench::spread::Spread;
use crate::bench::stop::Stop;
use crate::bench::variant::{Variant, Work};

/// Pairs of windows.
const ROUNDS: usize = 5;

/// The shortest and the longest window: each has several units of the GPU.
const WINDOWS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// How often a wish to end is looked for while the GPU gets ready.
const LOOK: Duration = Duration::from_millis(100);

/// Units that a GPU is given at once: as many as in mining.
const DEPTH: usize = 2;

/// Units of the GPU in a second.
const UNITS: f64 = 20.0;

/// The bits of BIP 320.
const ROLLED: VersionMask = VersionMask(0x1fff_e000);

/// Hashes of a CPU thread between two looks at the clock.
const BATCH: u64 = 8192;

/// Rates of the GPU and so many threads together, and with one thread fewer, by turns. `None`: there is nothing to compare,
/// the GPU gave up, or `stop` was asked before the first pair. The inner error: why the GPU was not well, were it for a moment.
pub(super) fn measure(
    gpu: (&Gpu, &GpuConfig),
    tuning: Tuning,
    kernels: Kernels,
    threads: usize,
    duration: Duration,
    stop: &Stop,
) -> io::Result<Result<Option<Beside>, GpuError>> {
    if threads < 2 {
        return Ok(Ok(None));
    }
    let variants = Variant::forms(kernels.rolled.map_or(kernels.plain.isa, |rolled| rolled.isa));
    let variant = variants.last().expect("the plain form is one");
    let mut fed = FedGpu::start(gpu, tuning, duration.clamp(WINDOWS[0], WINDOWS[1]))?;
    let (mut all, mut fewer, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut going = fed.is_warm(stop);
    while going && all.len() < ROUNDS && !stop.is_asked() {
        let pair = fed.window(variant, threads)?.zip(fed.window(variant, threads - 1)?);
        going = pair.is_some();
        if let Some((with_all, with_fewer)) = pair {
            all.push(with_all);
            fewer.push(with_fewer);
            ratios.push(with_all / with_fewer);
        }
    }
    if let Some(why) = fed.end() {
        return Ok(Err(GpuError::Stopped(why)));
    }
    let spreads = Spread::of(all).zip(Spread::of(fewer)).zip(Spread::of(ratios));
    Ok(Ok(spreads.map(|((all_hs, fewer_hs), ratio)| Beside { threads, all_hs, fewer_hs, ratio })))
}

/// A GPU that always has something to do.
struct FedGpu {
    feed: BackendFeed,
    events: Receiver<BackendEvent>,
    thread: thread::JoinHandle<()>,
    units: Units,
    window: Duration,
    /// Why it is not well: too hot, or lost.
    trouble: Option<String>,
}

struct Sink(SyncSender<BackendEvent>);

impl EventSink for Sink {
    fn send(&self, event: BackendEvent) -> bool {
        self.0.send(event).is_ok()
    }
}

impl FedGpu {
    fn start((gpu, config): (&Gpu, &GpuConfig), tuning: Tuning, window: Duration) -> io::Result<Self> {
        let config = GpuConfig { tuning: Some(tuning), ..config.clone() };
        let backend = Box::new(GpuBackend::new(gpu.clone(), config));
        let (sender, events) = sync_channel(64);
        let (port, feed) = wire(DEPTH, Arc::new(Sink(sender)), GenerationGate::default());
        let thread = thread::Builder::new().spawn(move || {
            // A GPU that fails closes its end of the events.
            let _ = backend.run(port);
        })?;
        let units = Units::new(tuning.rate.0 / UNITS);
        let mut fed = Self { feed, events, thread, units, window, trouble: None };
        (0..DEPTH).for_each(|_| fed.more());
        Ok(fed)
    }

    fn more(&mut self) {
        // Where it fails, the events end.
        let _ = self.feed.feed(self.units.next());
    }

    /// Hashes a second of the GPU and some CPU threads. `None`: the GPU failed.
    fn window(&mut self, variant: Variant, threads: usize) -> io::Result<Option<f64>> {
        let window = self.window;
        thread::scope(|scope| {
            let spawn = |seed: usize| {
                thread::Builder::new().spawn_scoped(scope, move || hash(variant, seed as u8, window))
            };
            let threads: Vec<_> = (0..threads).map(spawn).collect::<io::Result<_>>()?;
            self.drain();
            let gpu = self.hash();
            let cpu: f64 =
                threads.into_iter().map(|thread| thread.join().expect("kernels do not panic")).sum();
            Ok(gpu.map(|gpu| gpu + cpu))
        })
    }

    /// Waits for its first hashes. `false`: they do not come, or nobody wants them any more.
    fn is_warm(&mut self, stop: &Stop) -> bool {
        while !stop.is_asked() && self.trouble.is_none() {
            match self.events.recv_timeout(LOOK) {
                Ok(event) if self.on_event(&event) > 0.0 => return true,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        false
    }

    /// What was hashed before the window.
    fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.on_event(&event);
        }
    }

    /// Hashes a second of the GPU in a window.
    fn hash(&mut self) -> Option<f64> {
        let (start, mut hashes) = (Instant::now(), 0.0);
        while let Some(left) = self.window.checked_sub(start.elapsed())
            && self.trouble.is_none()
        {
            match self.events.recv_timeout(left) {
                Ok(event) => hashes += self.on_event(&event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        self.trouble.is_none().then(|| hashes / start.elapsed().as_secs_f64())
    }

    /// Hashes that the event tells of.
    fn on_event(&mut self, event: &BackendEvent) -> f64 {
        match event {
            BackendEvent::Progress { hashes, finished, .. } => {
                if *finished {
                    self.more();
                }
                *hashes as f64
            }
            BackendEvent::Health(Health {
                state: HealthState::Sick | HealthState::Quarantined,
                reason,
                ..
            }) => {
                self.trouble.get_or_insert_with(|| reason.as_deref().unwrap_or("not well").to_owned());
                0.0
            }
            _ => 0.0,
        }
    }

    /// Why it was not well, if so.
    fn end(self) -> Option<String> {
        let Self { feed, events, thread, trouble, .. } = self;
        drop((feed, events));
        // It may hang with its driver.
        drop(thread);
        trouble
    }
}

/// Units without hits.
struct Units {
    job: Arc<JobTemplate>,
    budget: HashCount,
    next: u64,
}

impl Units {
    fn new(hashes: f64) -> Self {
        let job = JobTemplate {
            source: SourceId(0),
            epoch: Epoch(0),
            id: JobId("bench".into()),
            prev: BlockHash([0x5a; 32]),
            version: 0x2000_0000,
            version_mask: ROLLED,
            nbits: CompactTarget::new(0x1700_ffff).expect("it is sound"),
            ntime: 1_700_000_000,
            max_ntime_roll: 0,
            received: Instant::now(),
            merkle: Merkle::Fixed(MerkleRoot([0x33; 32])),
            share_target: Target::from_expected_hashes(1e20),
            clean: true,
        };
        Self { job: Arc::new(job), budget: hashes.max(1.0) as HashCount, next: 0 }
    }

    fn next(&mut self) -> WorkUnit {
        self.next += 1;
        WorkUnit {
            id: WorkId(self.next),
            generation: Generation(0),
            job: Arc::clone(&self.job),
            root: MerkleRoot([0x33; 32]),
            extranonce2: Extranonce2::default(),
            rollable: ROLLED,
            versions: VersionRange { first: 0, count: 4 },
            nonces: NonceRange::FULL,
            ntime: self.job.ntime,
            report_target: self.job.share_target,
            budget: self.budget,
        }
    }
}

/// Hashes a second of one CPU thread in a window.
fn hash(variant: Variant, seed: u8, window: Duration) -> f64 {
    give_way();
    let work = Work::new(&[seed; 80], variant.versions);
    let nonces = BATCH / u64::from(variant.versions);
    let (start, mut nonce, mut hashes, mut hits) = (Instant::now(), 0u32, 0u64, Vec::new());
    while start.elapsed() < window {
        work.scan(variant.isa, nonce, nonces, 0, &mut hits);
        nonce = nonce.wrapping_add(nonces as u32);
        hashes += nonces * u64::from(variant.versions);
    }
    hashes as f64 / start.elapsed().as_secs_f64()
}

/// The calling thread gives way as threads do that mine.
#[cfg(target_os = "linux")]
fn give_way() {
    const NICENESS: i32 = 10;
    // Where the system refuses, it competes evenly.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// Threads that mine are nice on Linux alone.
#[cfg(not(target_os = "linux"))]
fn give_way() {}
