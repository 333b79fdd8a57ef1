//! The contract between the scheduler and anything that hashes.

#[cfg(any(test, feature = "contract-tests"))]
#[expect(clippy::disallowed_methods, reason = "tests run the backend on a thread and give it jobs of now")]
pub mod contract_tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::share::Candidate;
use crate::types::{Generation, HashCount, HashRate, Target, WorkId};
use crate::work::{Granularity, WorkUnit};

/// A hashing device or a pool of threads. Owns its hardware and its threads; never sees a pool, a job queue or a UI.
///
/// Contract: (1) test yourself with known answers before taking the first unit; (2) look at
/// [`BackendPort::is_stale`] at least every millisecond of hashing, and abandon a stale unit; (3) report every hit at
/// or below `unit.report_target` once, as it is, without judging it; (4) report progress at least once a second and
/// each unit finished exactly once, a stale one too; (5) return `Ok(())` when the port closes; (6) leave the hardware
/// safe on every way out, a panic included.
pub trait HashBackend: Send + 'static {
    /// What it is and how it wants its work. Constant.
    fn info(&self) -> BackendInfo;

    /// Works until the port closes. Runs on its own OS thread.
    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError>;
}

/// What a backend is and how it wants its work.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendInfo {
    /// Device key: `cpu`, `gpu:<PCI id or index>`, `asic:<driver>:<serial or port>`. The same everywhere.
    pub key: Arc<str>,
    /// What a person calls it, e.g. "AMD EPYC, 2 threads, sha-ni".
    pub name: Arc<str>,
    /// The kind of device.
    pub kind: BackendKind,
    /// The pieces of search space that it can take.
    pub granularity: Granularity,
    /// Units it holds at once, the running one included; at least 1.
    ///
    /// A device of depth 1 still finds one more in its port, so that it need not wait for it: see
    /// [`credit`](crate::sched::credit).
    pub depth: u8,
    /// First guess of its rate: a short benchmark or the nominal figure.
    pub expected: HashRate,
    /// `false` where hashes are not counted but inferred from hits (ASICs).
    pub counts_hashes: bool,
    /// The easiest target that the device can report; `None` when it can report any.
    pub report_floor: Option<Target>,
}

/// Kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// CPU threads.
    Cpu,
    /// A GPU.
    Gpu,
    /// An ASIC.
    Asic,
}

/// Why a backend ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A known answer was missed: the device or the code computes wrongly.
    #[error("self-test failed: {0}")]
    SelfTest(String),
    /// The device stopped answering or went away.
    #[error("device lost: {0}")]
    DeviceLost(String),
    /// The device became too hot and was stopped.
    #[error("too hot: {0} °C")]
    Thermal(f32),
    /// The operating system refused something.
    #[error("{context}: {source}")]
    Os {
        /// What was being done.
        context: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its thread panicked.
    #[error("panicked: {0}")]
    Panicked(String),
}

/// Everything that a backend may say.
#[derive(Debug)]
pub enum BackendEvent {
    /// A claim; untrusted.
    Hit(Candidate),
    /// Work done on a unit since the last report of it.
    Progress {
        /// The unit.
        work: WorkId,
        /// Hashes since the last report.
        hashes: HashCount,
        /// The unit is done with: its credit is free. Exactly once a unit.
        finished: bool,
    },
    /// What the device says of itself.
    Health(Health),
    /// The backend has ended. The last event.
    Gone(Result<(), BackendError>),
}

/// What a device says of itself. Unknown is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Overall state.
    pub state: HealthState,
    /// Why the state is not `Ok`.
    pub reason: Option<Arc<str>>,
    /// Temperature in °C.
    pub celsius: Option<f32>,
    /// Power in W.
    pub watts: Option<f32>,
    /// Core voltage in mV.
    pub millivolts: Option<f32>,
    /// Fan speed in revolutions a minute.
    pub fan_rpm: Option<f32>,
    /// Fan duty in percent.
    pub fan_percent: Option<f32>,
    /// Clock in MHz.
    pub clock_mhz: Option<f32>,
    /// Utilisation in percent.
    pub utilisation: Option<f32>,
    /// Why the device runs slower than it could.
    pub throttle: Option<Arc<str>>,
    /// Chips that answer.
    pub chips: Option<u16>,
}

/// States of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// Works as it should.
    #[default]
    Ok,
    /// Works, but not as it should.
    Degraded,
    /// Does not work; is being recovered.
    Sick,
    /// Gets no work until further notice.
    Quarantined,
}

/// The only thing that hot loops share with the rest of the program: which generation is worth working on.
#[derive(Clone, Debug, Default)]
pub struct GenerationGate(Arc<AtomicU64>);

impl GenerationGate {
    /// Makes all units of other generations stale.
    pub fn advance(&self, generation: Generation) {
        self.0.store(generation.0, Ordering::Release);
    }

    /// Whether work of `generation` is worthless.
    #[inline]
    pub fn is_stale(&self, generation: Generation) -> bool {
        self.0.load(Ordering::Acquire) != generation.0
    }
}

/// Where a backend's events go. Implemented by the driver over one bounded channel for each backend.
pub trait EventSink: Send + Sync {
    /// Waits while the driver is behind: back-pressure lands here, never in the scheduler. `false`: shut down.
    fn send(&self, event: BackendEvent) -> bool;
}

type Waker = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// What a backend is at that nobody can interrupt, like a driver's compiler: for whoever waits for its end.
#[derive(Clone, Debug, Default)]
pub struct Busy(Arc<Mutex<Option<&'static str>>>);

impl Busy {
    /// What it is at, as "compiles a kernel"; `None`: it stops when it is told to.
    pub fn get(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what it is at.
    pub fn set(&self, what: Option<&'static str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// A backend's end of the wiring. Blocking by design: backends live on OS threads.
pub struct BackendPort {
    units: Receiver<WorkUnit>,
    events: Arc<dyn EventSink>,
    gate: GenerationGate,
    waker: Waker,
    busy: Busy,
}

/// The driver's end of the wiring. Dropping it closes the port.
pub struct BackendFeed {
    // Dropped in this order: whoever is woken finds the port closed.
    units: SyncSender<WorkUnit>,
    waker: WakeOnDrop,
    busy: Busy,
}

struct WakeOnDrop(Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        if let Some(wake) = self.0.get() {
            wake();
        }
    }
}

/// A unit could not be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The backend holds as many units as it has credit for: the scheduler miscounted.
    #[error("the backend's queue is full")]
    Full,
    /// The backend has ended.
    #[error("the backend has ended")]
    Closed,
}

/// Wires up a backend whose scheduler never has more than `credit` units of it outstanding.
pub fn wire(credit: usize, events: Arc<dyn EventSink>, gate: GenerationGate) -> (BackendPort, BackendFeed) {
    let (sender, units) = sync_channel(credit);
    let (waker, busy) = (Waker::default(), Busy::default());
    (
        BackendPort { units, events, gate, waker: Arc::clone(&waker), busy: busy.clone() },
        BackendFeed { units: sender, waker: WakeOnDrop(waker), busy },
    )
}

impl BackendPort {
    /// Has `wake` called after every feed, every move of the gate and when the port closes: for backends that wait for
    /// something else.
    ///
    /// It runs on the driver's thread and must return at once. Only the first call counts.
    pub fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second waker is a mistake of the backend that costs it only wake-ups.
        let _ = self.waker.set(Box::new(wake));
    }

    /// Waits for the next unit; `None`: shut down.
    pub fn next_unit(&self) -> Option<WorkUnit> {
        self.units.recv().ok()
    }

    /// The next unit if there is one.
    pub fn try_next_unit(&self) -> Result<WorkUnit, TryRecvError> {
        self.units.try_recv()
    }

    /// Waits at most `timeout` for the next unit.
    pub fn next_unit_timeout(&self, timeout: Duration) -> Result<WorkUnit, RecvTimeoutError> {
        self.units.recv_timeout(timeout)
    }

    /// Whether the unit has become worthless.
    #[inline]
    pub fn is_stale(&self, unit: &WorkUnit) -> bool {
        self.gate.is_stale(unit.generation)
    }

    /// The gate, for worker threads.
    pub fn gate(&self) -> &GenerationGate {
        &self.gate
    }

    /// The sink, for worker threads.
    pub fn events(&self) -> &Arc<dyn EventSink> {
        &self.events
    }

    /// Where to note what cannot be interrupted.
    pub fn busy(&self) -> &Busy {
        &self.busy
    }

    /// Tells the scheduler something; waits while it is behind. `false`: shut down.
    pub fn report(&self, event: BackendEvent) -> bool {
        self.events.send(event)
    }
}

impl BackendFeed {
    /// Hands a unit over and wakes the backend. Never waits.
    pub fn feed(&self, unit: WorkUnit) -> Result<(), FeedError> {
        let fed = self.units.try_send(unit).map_err(|error| match error {
            TrySendError::Full(_) => FeedError::Full,
            TrySendError::Disconnected(_) => FeedError::Closed,
        });
        self.wake();
        fed
    }

    /// What the backend is at that nobody can interrupt.
    pub fn busy(&self) -> &Busy {
        &self.busy
    }

    /// Wakes the backend: the gate has moved.
    pub fn wake(&self) {
        if let Some(wake) = self.waker.0.get() {
            wake();
        }
    }
}
