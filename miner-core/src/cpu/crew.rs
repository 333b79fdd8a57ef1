//! The hashing threads and the units that they share.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::duty::DutyCycle;
use super::{ChunkHook, Kernels, MAX_VERSIONS, STEP, os};
use crate::backend::{
    BackendError, BackendEvent, BackendPort, EventSink, GenerationGate, Health, HealthState,
};
use crate::sha256d::Prepared;
use crate::share::Candidate;
use crate::types::HashCount;
use crate::work::WorkUnit;

/// How long a chunk should take: a move of the gate is noticed after no more.
const CHUNK: Duration = Duration::from_micros(250);

/// Time between two reports of a unit's progress.
const REPORT: Duration = Duration::from_millis(300);

/// How often the feeding thread looks for itself, for it is not woken when the crew has failed.
const LOOK: Duration = Duration::from_millis(250);

/// Panics after which the backend ends.
const MAX_PANICS: usize = 10;

/// What all hashing threads share.
pub(super) struct Crew {
    kernels: Kernels,
    /// The most CPU time of a thread, in percent.
    limit: u8,
    hook: Option<ChunkHook>,
    gate: GenerationGate,
    events: Arc<dyn EventSink>,
    born: Instant,
    queue: Mutex<Queue>,
    /// The queue has grown, or the crew is to stop.
    changed: Condvar,
    stopped: AtomicBool,
    panics: AtomicUsize,
    failure: Mutex<Option<BackendError>>,
}

/// Where units come in and wait.
struct Queue {
    port: BackendPort,
    /// Units not yet used up, the oldest first: the running one and those that wait. Their number is bounded by credit.
    units: VecDeque<Arc<Running>>,
}

/// A unit that threads work on. Whoever lets go of the last reference reports it finished.
struct Running {
    unit: WorkUnit,
    headers: Box<[Prepared]>,
    /// Nonces to try with each header, fewer than the unit has if its budget says so.
    nonces: u64,
    /// Nonces handed out; may run past `nonces`.
    cursor: AtomicU64,
    /// Hashes done that no report has told of yet.
    unreported: AtomicU64,
    /// When the last report was due, in microseconds since the crew was born.
    reported: AtomicU64,
}

/// A hashing thread's own.
struct Worker {
    index: usize,
    /// The size of its next chunk in hashes.
    chunk: u64,
    /// Time spent in chunks.
    busy: Duration,
    duty: DutyCycle,
}

impl Crew {
    pub(super) fn new(kernels: Kernels, limit: u8, hook: Option<ChunkHook>, port: BackendPort) -> Self {
        Self {
            kernels,
            limit,
            hook,
            gate: port.gate().clone(),
            events: Arc::clone(port.events()),
            born: Instant::now(),
            queue: Mutex::new(Queue { port, units: VecDeque::new() }),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            panics: AtomicUsize::new(0),
            failure: Mutex::default(),
        }
    }

    /// Keeps the queue filled until the port closes or the crew fails, then stops the crew.
    ///
    /// A thread that runs out of work looks into the port itself, so that nobody waits for this one, which the system may
    /// keep off the CPUs for some milliseconds while they hash. This one is for when all of them wait, and for the end.
    pub(super) fn feed(&self) {
        let feeder = std::thread::current();
        self.queue().port.set_waker(move || feeder.unpark());
        while !self.stopped.load(Relaxed) {
            if !self.take_in(&mut self.queue()) {
                break;
            }
            std::thread::park_timeout(LOOK);
        }
        self.stop();
    }

    /// Moves units from the port to the queue; `false`: it is closed, and all that it held is in the queue.
    fn take_in(&self, queue: &mut Queue) -> bool {
        loop {
            match queue.port.try_next_unit() {
                Ok(unit) => {
                    queue.units.push_back(Arc::new(Running::new(unit, self.micros(Instant::now()))));
                    self.changed.notify_all();
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// The life of hashing thread `index`.
    pub(super) fn work(&self, index: usize) {
        let used = os::cpu_time().unwrap_or_default();
        let duty = DutyCycle::new(self.limit, Instant::now() - self.born, used);
        let mut worker = Worker { index, chunk: STEP, busy: Duration::ZERO, duty };
        while let Some(running) = self.join() {
            let search = AssertUnwindSafe(|| self.search(&mut worker, &running));
            if let Err(panic) = catch_unwind(search) {
                running.give_up();
                self.on_panic(index, &*panic);
            }
            self.leave(running);
        }
    }

    /// Ends the crew with an error; the first one counts.
    pub(super) fn fail(&self, error: BackendError) {
        lock(&self.failure).get_or_insert(error);
        self.stop();
    }

    /// The end, when all threads have gone.
    pub(super) fn end(self) -> Result<(), BackendError> {
        let left = std::mem::take(&mut self.queue().units);
        left.into_iter().filter_map(Arc::into_inner).for_each(|running| self.finish(&running));
        lock(&self.failure).take().map_or(Ok(()), Err)
    }

    /// Waits for a unit to work on; `None`: stop.
    fn join(&self) -> Option<Arc<Running>> {
        let mut queue = self.queue();
        loop {
            if self.stopped.load(Relaxed) {
                return None;
            }
            if queue.units.is_empty() {
                self.take_in(&mut queue);
            }
            if let Some(running) = queue.units.front() {
                return Some(Arc::clone(running));
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing is left to claim of this unit. The last thread to find out reports it.
    fn leave(&self, running: Arc<Running>) {
        let mut queue = self.queue();
        if queue.units.front().is_some_and(|front| Arc::ptr_eq(front, &running)) {
            queue.units.pop_front();
        }
        drop(queue);
        if let Some(running) = Arc::into_inner(running) {
            self.finish(&running);
        }
    }

    /// Claims and searches chunks until the unit is used up or worthless.
    fn search(&self, worker: &mut Worker, running: &Running) {
        let Running { unit, headers, .. } = running;
        let mut hits = Vec::new();
        let mut start = Instant::now();
        while !self.stopped.load(Relaxed) && !self.gate.is_stale(unit.generation) {
            let Some((first, nonces)) = running.claim(self.nonces(worker.chunk, headers.len())) else {
                return;
            };
            if let Some(hook) = &self.hook {
                hook(worker.index, unit);
            }
            self.scan(running, first, nonces, &mut hits);
            hits.drain(..).for_each(|(header, nonce)| self.on_hit(running, header, nonce));
            let hashes = nonces * headers.len() as u64;
            running.unreported.fetch_add(hashes, Relaxed);

            let end = Instant::now();
            worker.chunk = paced(worker.chunk, hashes, end - start);
            worker.busy += end - start;
            self.report_if_due(running, end);
            start = if self.rest(worker, end) { Instant::now() } else { end };
        }
    }

    /// Nonces in a chunk of about `hashes`: whole vectors, so that none ends in the portable kernel.
    fn nonces(&self, hashes: u64, versions: usize) -> u64 {
        hashes.div_ceil(versions as u64).next_multiple_of(self.kernels.isa_for(versions).lanes().into())
    }

    fn scan(&self, running: &Running, first: u32, nonces: u64, hits: &mut Vec<(u32, u32)>) {
        let Running { unit, headers, .. } = running;
        let (isa, limit) = (self.kernels.isa_for(headers.len()), unit.report_target.high_word());
        if let [header] = &headers[..] {
            let mut plain = Vec::new();
            isa.scan(header, first, nonces, limit, &mut plain);
            hits.extend(plain.into_iter().map(|nonce| (0, nonce)));
        } else {
            isa.scan_versions(headers, first, nonces, limit, hits);
        }
    }

    /// Sleeps if the limit asks for it.
    fn rest(&self, worker: &mut Worker, now: Instant) -> bool {
        if self.limit >= 100 {
            return false;
        }
        let used = os::cpu_time().unwrap_or(worker.busy);
        let pause = worker.duty.pause(now - self.born, used);
        pause.map(std::thread::sleep).is_some()
    }

    /// `high_word` lets a little more pass than the target does.
    fn on_hit(&self, running: &Running, header: u32, nonce: u32) {
        let Running { unit, headers, .. } = running;
        if unit.report_target.is_met_by(&headers[header as usize].hash(nonce)) {
            let version = unit.version_at(unit.versions.first + header);
            self.send(BackendEvent::Hit(Candidate { work: unit.id, version, ntime: unit.ntime, nonce }));
        }
    }

    fn on_panic(&self, index: usize, panic: &(dyn Any + Send)) {
        let said = panic.downcast_ref::<&str>().copied();
        let said =
            said.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let reason = format!("hashing thread {index} panicked: {said}");
        if self.panics.fetch_add(1, Relaxed) + 1 >= MAX_PANICS {
            return self.fail(BackendError::Panicked(reason));
        }
        let health =
            Health { state: HealthState::Degraded, reason: Some(reason.into()), ..Health::default() };
        self.send(BackendEvent::Health(health));
    }

    /// One thread of those that come by after [`REPORT`] tells the sum of all.
    fn report_if_due(&self, running: &Running, now: Instant) {
        let (now, last) = (self.micros(now), running.reported.load(Relaxed));
        let due = now.saturating_sub(last) >= REPORT.as_micros() as u64;
        if due && running.reported.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            self.report(running, false);
        }
    }

    fn finish(&self, running: &Running) {
        self.report(running, true);
    }

    fn report(&self, running: &Running, finished: bool) {
        let hashes = HashCount::from(running.unreported.swap(0, Relaxed));
        self.send(BackendEvent::Progress { work: running.unit.id, hashes, finished });
    }

    fn send(&self, event: BackendEvent) {
        if !self.events.send(event) {
            self.stop();
        }
    }

    /// Has every thread end with its chunk.
    fn stop(&self) {
        // Under the lock, so that no thread is between its look at `stopped` and its wait.
        let _queue = self.queue();
        self.stopped.store(true, Relaxed);
        self.changed.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    fn micros(&self, at: Instant) -> u64 {
        at.duration_since(self.born).as_micros() as u64
    }
}

impl Running {
    fn new(unit: WorkUnit, now: u64) -> Self {
        // A unit outside the granularity is given up unsearched.
        let fits = (1..=MAX_VERSIONS).contains(&unit.versions.count);
        let headers: Box<[Prepared]> = if fits {
            unit.header_versions().map(|version| Prepared::new(&unit.header(version, 0))).collect()
        } else {
            Box::default()
        };
        let budget = unit.budget.div_ceil(headers.len().max(1) as u128);
        let nonces = budget.min(u128::from(unit.nonces.len)) as u64;
        Self {
            nonces: if fits { nonces.next_multiple_of(STEP).min(unit.nonces.len) } else { 0 },
            unit,
            headers,
            cursor: AtomicU64::new(0),
            unreported: AtomicU64::new(0),
            reported: AtomicU64::new(now),
        }
    }

    /// The next `want` nonces or what is left of them: the first and how many.
    fn claim(&self, want: u64) -> Option<(u32, u64)> {
        let from = self.cursor.fetch_add(want, Relaxed);
        let count = self.nonces.checked_sub(from).filter(|&left| left > 0)?.min(want);
        Some((self.unit.nonces.start.wrapping_add(from as u32), count))
    }

    /// Leaves nothing to claim.
    fn give_up(&self) {
        self.cursor.fetch_max(self.nonces, Relaxed);
    }
}

/// The size of the next chunk in hashes, if `hashes` took `elapsed`; at most twice the last one.
fn paced(chunk: u64, hashes: u64, elapsed: Duration) -> u64 {
    let fitting = hashes as f64 * CHUNK.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    (fitting as u64).clamp(STEP, chunk.saturating_mul(2))
}

/// A panic under a lock leaves nothing half done here: the lock goes on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
