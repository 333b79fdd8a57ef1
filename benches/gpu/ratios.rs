//! The backend against two threads of `sha2` 0.10, and against its kernel without a backend.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use miner_core::backend::contract_tests::{Rig, hits};
use miner_core::types::Target;
use miner_core::work::{NonceRange, WorkUnit};
use miner_gpu::kernel::{Form, MIDSTATES};
use miner_gpu::{Gpu, GpuBackend, GpuConfig, Intensity, LONGEST, Searcher, Watched};
use sha2_baseline::{Digest, Sha256};

use crate::{Spread, tuning};

/// How often each has its turn.
pub(crate) const ROUNDS: usize = 15;

/// How long a turn is.
const WINDOW: Duration = Duration::from_secs(1);

/// How long dispatches of the bare kernel are: nothing is lost between two of the longest; and as the backend's, so that what
/// their length costs is told apart from what the backend does.
const BARE: [Duration; 2] = [LONGEST, Intensity::NORMAL.target];

/// Threads of the baseline.
const THREADS: usize = 2;

/// Hashes for a hit, so that every window has some.
const EXPECTED: f64 = 100_000.0;

/// What was hashed in a window.
struct Window {
    hashes: f64,
    wall: f64,
    /// CPU time of this process, the driver's threads included.
    cpu: f64,
}

impl Window {
    fn during(work: impl FnOnce() -> u128) -> Self {
        let (start, used) = (Instant::now(), cpu_time());
        let hashes = work() as f64;
        Self { hashes, wall: start.elapsed().as_secs_f64(), cpu: cpu_time() - used }
    }

    fn rate(&self) -> f64 {
        self.hashes / self.wall
    }

    fn per_cpu_second(&self) -> f64 {
        self.hashes / self.cpu
    }
}

pub(crate) fn print(gpu: &Gpu, rounds: usize) {
    let mut backends = MIDSTATES.map(|midstates| Backend::new(gpu, midstates));
    let mut kernels = MIDSTATES.map(|midstates| Bare::new(gpu, midstates));
    let (mut baseline, mut of_backends, mut of_kernels) =
        (Vec::new(), [(); 3].map(|()| vec![]), [(); 3].map(|()| BARE.map(|_| vec![])));
    for _ in 0..rounds {
        baseline.push(sha2());
        for (which, backend) in backends.iter_mut().enumerate() {
            of_backends[which].push(backend.window());
            for (length, windows) in BARE.into_iter().zip(&mut of_kernels[which]) {
                windows.push(kernels[which].window(length));
            }
        }
    }
    backends.into_iter().for_each(|backend| backend.rig.close());
    let mhs = |windows: &[Window]| Spread::of(windows.iter().map(|window| window.rate() / 1e6).collect());
    let ratio = |windows: &[Window], others: &[Window], of: fn(&Window) -> f64| {
        Spread::of(windows.iter().zip(others).map(|(window, other)| of(window) / of(other)).collect())
    };
    println!("{rounds} rounds of {WINDOW:?} each: median (p10..p90)");
    let per_cpu =
        |windows: &[Window]| Spread::of(windows.iter().map(|window| window.per_cpu_second() / 1e6).collect());
    println!(
        "sha2 0.10, midstate, 2 threads    {} MH/s, {} a CPU second",
        mhs(&baseline),
        per_cpu(&baseline)
    );
    for (which, midstates) in MIDSTATES.into_iter().enumerate() {
        let backend = &of_backends[which];
        println!(
            "midstates {midstates}: backend              {} MH/s, {} a CPU second",
            mhs(backend),
            per_cpu(backend)
        );
        println!("  / sha2                          {}", ratio(backend, &baseline, Window::rate));
        println!("  / sha2, by CPU time             {}", ratio(backend, &baseline, Window::per_cpu_second));
        for (length, kernel) in BARE.into_iter().zip(&of_kernels[which]) {
            println!("  / bare kernel, {length:5?}            {}", ratio(backend, kernel, Window::rate));
            println!("  the same by CPU time            {}", ratio(backend, kernel, Window::per_cpu_second));
        }
    }
}

/// Two threads that keep the state after the first block, and hash the rest for every nonce.
fn sha2() -> Window {
    let gate = Barrier::new(THREADS);
    Window::during(|| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|index| {
                    scope.spawn({
                        let gate = &gate;
                        move || {
                            gate.wait();
                            sha2_thread(index as u8)
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("hashing does not panic")).sum()
        })
    })
}

fn sha2_thread(seed: u8) -> u128 {
    const BATCH: u32 = 4096;
    let header = [seed; 80];
    let midstate = Sha256::new_with_prefix(&header[..64]);
    let mut tail: [u8; 16] = header[64..].try_into().expect("80 - 64 is 16");
    let (start, target, mut nonce, mut hits) = (Instant::now(), target(), 0u32, 0u64);
    while start.elapsed() < WINDOW {
        for _ in 0..BATCH {
            tail[12..].copy_from_slice(&nonce.to_le_bytes());
            let first = midstate.clone().chain_update(tail).finalize();
            let hash = Sha256::digest(first);
            hits +=
                u64::from(u32::from_le_bytes([hash[28], hash[29], hash[30], hash[31]]) <= target.high_word());
            nonce += 1;
        }
    }
    check_count(hits, nonce.into());
    nonce.into()
}

struct Backend {
    rig: Rig,
    midstates: u32,
    rate: f64,
    next: u64,
}

impl Backend {
    fn new(gpu: &Gpu, midstates: u32) -> Self {
        let config = GpuConfig { tuning: Some(tuning(midstates)), ..GpuConfig::default() };
        let rig = Rig::new(Box::new(GpuBackend::new(gpu.clone(), config)));
        let mut backend = Self { rig, midstates, rate: 4e7, next: 0 };
        // Every hit of a small unit, then a window to get warm.
        let unit = backend.unit(NonceRange { start: 0, len: 1 << 17 });
        let wanted = hits(&unit);
        let id = unit.id;
        backend.rig.feed(unit);
        let mut found = backend.rig.finish(id).hits;
        found.sort_by_key(|hit| (hit.version, hit.nonce));
        assert_eq!(found, wanted);
        backend.window();
        backend
    }

    fn unit(&mut self, nonces: NonceRange) -> WorkUnit {
        let mut unit = self.rig.unit(self.next, nonces, self.midstates);
        unit.report_target = target();
        self.next += 1;
        unit
    }

    fn window(&mut self) -> Window {
        let mut unit = self.unit(NonceRange::FULL);
        unit.budget = (self.rate * WINDOW.as_secs_f64()) as u128;
        let (id, copy) = (unit.id, unit.clone());
        let mut work = None;
        let window = Window::during(|| {
            self.rig.feed(unit);
            work.insert(self.rig.finish(id)).hashes
        });
        self.rate = window.rate();
        let work = work.expect("it was just inserted");
        assert!(work.hashes >= copy.budget);
        for hit in &work.hits {
            let version = copy
                .header_versions()
                .find(|&version| version == hit.version)
                .expect("a version of the unit");
            assert!(copy.report_target.is_met_by(&copy.header(version, hit.nonce).hash()), "{hit:?}");
        }
        check_count(work.hits.len() as u64, work.hashes);
        window
    }
}

/// The kernel alone, one dispatch after the other.
struct Bare {
    searcher: Searcher,
    headers: Vec<[u8; 80]>,
    rate: f64,
    nonce: u32,
}

impl Bare {
    fn new(gpu: &Gpu, midstates: u32) -> Self {
        let form = Form { midstates, ..Form::DEFAULT };
        let unwatched = Watched::start(gpu.clone(), &GpuConfig::default()).expect("nothing is started");
        let mut searcher = Searcher::open(&unwatched, form).expect("the GPU opens");
        searcher.selftest().expect("the kernel is right");
        let header = |version: u32| {
            let mut header = [0x5a; 80];
            header[..4].copy_from_slice(&(0x2000_0000 | version << 13).to_le_bytes());
            header
        };
        let mut bare = Self { searcher, headers: (0..midstates).map(header).collect(), rate: 4e7, nonce: 0 };
        for length in BARE {
            bare.window(length);
        }
        bare
    }

    fn window(&mut self, length: Duration) -> Window {
        let midstates = self.headers.len() as f64;
        let nonces = self.searcher.fitting((self.rate * length.as_secs_f64() / midstates) as u64);
        let (mut hits, start) = (0, Instant::now());
        let window = Window::during(|| {
            let mut hashes = 0;
            while start.elapsed() < WINDOW {
                let search = self.searcher.search(&self.headers, self.nonce, nonces, target().high_word());
                hits += u64::from(search.expect("the GPU works").count);
                self.nonce = self.nonce.wrapping_add(nonces as u32);
                hashes += u128::from(nonces) * self.headers.len() as u128;
            }
            hashes
        });
        self.rate = window.rate();
        check_count(hits, window.hashes as u128);
        window
    }
}

fn target() -> Target {
    Target::from_expected_hashes(EXPECTED)
}

/// Panics at a number of hits that chance does not give.
fn check_count(hits: u64, hashes: u128) {
    let expected = hashes as f64 / EXPECTED;
    assert!(
        (hits as f64 - expected).abs() <= 8.0 * (expected + 8.0).sqrt(),
        "{hits} hits in {hashes} hashes"
    );
}

#[cfg(target_os = "linux")]
fn cpu_time() -> f64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Not asked for here: ratios by CPU time mean nothing.
#[cfg(not(target_os = "linux"))]
fn cpu_time() -> f64 {
    f64::NAN
}
