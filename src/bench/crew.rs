//! Threads that measure window after window together.

use std::io;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use miner_core::cpu::allowed_cpus;

use super::answers::LIMIT;
use super::cycles::Counter;
use super::variant::{Variant, Work, top_word};

/// Length of a window: short against the drift of the clock, long against the waking of a thread.
pub(super) const WINDOW: Duration = Duration::from_millis(5);

/// Stack of a hashing thread in bytes.
pub(super) const STACK: usize = 256 << 10;

/// Hashes between two looks at the clock.
const BATCH: u64 = 8192;

/// What one thread did in a window.
pub(super) struct Window {
    pub(super) hashes: u64,
    pub(super) seconds: f64,
    /// The part of those seconds that the thread was given, where the system tells.
    pub(super) share: Option<f64>,
    pub(super) cycles: Option<u64>,
    pub(super) hits: u64,
    /// The first hit that the `sha2` crate does not confirm.
    pub(super) wrong: Option<String>,
}

impl Window {
    /// In hashes a second.
    pub(super) fn rate(&self) -> f64 {
        self.hashes as f64 / self.seconds
    }

    /// Seconds that the thread was given, where the system tells.
    pub(super) fn given(&self) -> Option<f64> {
        self.share.map(|share| share * self.seconds)
    }
}

enum Order {
    Baseline,
    Kernel,
}

/// Threads that wait for orders.
pub(super) struct Crew {
    orders: Vec<Sender<Order>>,
    windows: Receiver<Window>,
}

impl Crew {
    /// Has `lead` command a crew of `threads` threads.
    ///
    /// A single thread, and as many as there are CPUs, are pinned to one CPU each; anything between is left to the system,
    /// which knows better which CPUs share a core.
    pub(super) fn lead<T>(variant: Variant, threads: usize, lead: impl FnOnce(&Self) -> T) -> io::Result<T> {
        let cpus = allowed_cpus().filter(|cpus| threads == 1 || threads == cpus.len()).unwrap_or_default();
        let gate = Barrier::new(threads);
        thread::scope(|scope| {
            let (done, windows) = channel();
            let mut orders = Vec::with_capacity(threads);
            for index in 0..threads {
                let (order, received) = channel();
                let (cpu, done, gate) = (cpus.get(index).copied(), done.clone(), &gate);
                let serve = move || {
                    if let Some(cpu) = cpu {
                        pin(cpu);
                    }
                    Worker::new(variant, index as u8).serve(&received, gate, &done);
                };
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, serve)?;
                orders.push(order);
            }
            Ok(lead(&Self { orders, windows }))
        })
    }

    /// A window of the baseline, on the first thread alone.
    pub(super) fn baseline(&self) -> Window {
        self.order(0, Order::Baseline);
        self.receive()
    }

    /// A window of the kernel on every thread at once.
    pub(super) fn kernel(&self) -> Vec<Window> {
        (0..self.orders.len()).for_each(|index| self.order(index, Order::Kernel));
        self.orders.iter().map(|_| self.receive()).collect()
    }

    fn order(&self, index: usize, order: Order) {
        self.orders[index].send(order).expect("threads wait for orders as long as there is a crew");
    }

    fn receive(&self) -> Window {
        self.windows.recv().expect("every order is answered")
    }
}

struct Worker {
    variant: Variant,
    work: Work,
    /// Nonces go on from window to window, so that no hash is tried twice.
    nonce: u32,
    counter: Option<Counter>,
}

impl Worker {
    fn new(variant: Variant, seed: u8) -> Self {
        let work = Work::new(&[seed; 80], variant.versions);
        Self { variant, work, nonce: 0, counter: Counter::open().ok() }
    }

    fn serve(&mut self, orders: &Receiver<Order>, gate: &Barrier, done: &Sender<Window>) {
        for order in orders {
            let window = match order {
                Order::Baseline => baseline(),
                Order::Kernel => {
                    gate.wait();
                    self.kernel()
                }
            };
            // Nobody waits any more where the lead has ended.
            let _ = done.send(window);
        }
    }

    fn kernel(&mut self) -> Window {
        let (isa, versions) = (self.variant.isa, self.work.versions());
        let nonces = BATCH / u64::from(versions);
        let (work, nonce) = (&self.work, &mut self.nonce);
        let mut hits = Vec::with_capacity(256);
        let mut scan = || {
            timed(nonces * u64::from(versions), || {
                work.scan(isa, *nonce, nonces, LIMIT, &mut hits);
                *nonce = nonce.wrapping_add(nonces as u32);
            })
        };
        let ((hashes, seconds, share), cycles) = match &mut self.counter {
            Some(counter) => counter.during(scan),
            None => (scan(), None),
        };
        let is_wrong =
            |&(index, nonce): &(u32, u32)| work.top_word(index, nonce).is_none_or(|top| top > LIMIT);
        let wrong = hits.iter().copied().find(is_wrong);
        let wrong = wrong.map(|(index, nonce)| format!("nonce {nonce:#010x} of version {index} is no hit"));
        Window { hashes, seconds, share, cycles, hits: hits.len() as u64, wrong }
    }
}

/// The `sha2` crate over whole headers.
fn baseline() -> Window {
    const BATCH: u32 = 256;
    let (mut nonce, mut least) = (0u32, u32::MAX);
    let (hashes, seconds, share) = timed(BATCH.into(), || {
        for _ in 0..BATCH {
            least = least.min(top_word(&[0; 80], nonce));
            nonce = nonce.wrapping_add(1);
        }
    });
    // So that the hashes are needed.
    std::hint::black_box(least);
    Window { hashes, seconds, share, cycles: None, hits: 0, wrong: None }
}

/// Calls `batch`, which does `hashes`, for [`WINDOW`]: hashes, seconds, and the part of these that the thread was given.
fn timed(hashes: u64, mut batch: impl FnMut()) -> (u64, f64, Option<f64>) {
    let (start, given, mut batches) = (Instant::now(), cpu_time(), 0u64);
    loop {
        batch();
        batches += 1;
        let elapsed = start.elapsed();
        if elapsed >= WINDOW {
            let given = given.zip(cpu_time()).map(|(before, after)| after.saturating_sub(before));
            let share = given.map(|given| given.as_secs_f64() / elapsed.as_secs_f64());
            return (batches * hashes, elapsed.as_secs_f64(), share);
        }
    }
}

/// CPU time of the calling thread.
#[cfg(target_os = "linux")]
fn cpu_time() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::ThreadCPUTime).try_into().ok()
}

/// CPU time of the calling thread: not asked for here.
#[cfg(not(target_os = "linux"))]
fn cpu_time() -> Option<Duration> {
    None
}

/// Keeps the calling thread on one CPU; where the system refuses, it stays where it is put.
#[cfg(target_os = "linux")]
pub(super) fn pin(cpu: usize) -> bool {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

/// Keeps the calling thread on one CPU; where the system refuses, it stays where it is put.
#[cfg(not(target_os = "linux"))]
pub(super) fn pin(_cpu: usize) -> bool {
    false
}
