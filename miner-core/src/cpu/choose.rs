//! Which kernels are fastest here: measured, not ranked.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::os;
use crate::sha256d::{Isa, IsaChoice, Prepared, SelfTestError, selftest};
use crate::types::HashRate;

/// Windows that each form of a kernel gets, in turn with the others.
const ROUNDS: usize = 8;

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(2);

/// A kernel and how fast one thread of it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// The kernel.
    pub isa: Isa,
    /// Hashes a second on one thread.
    pub rate: HashRate,
}

/// What was measured of a kernel: hashes a second on one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelRates {
    /// The kernel.
    pub isa: Isa,
    /// One version at a time, with [`Isa::scan`].
    pub plain: HashRate,
    /// [`Isa::versions`] at a time, with [`Isa::scan_versions`]; `None` where the kernel gains nothing by several.
    pub rolled: Option<HashRate>,
}

/// The kernels to hash with: one where the source allows no rolling of versions, one where it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernels {
    /// For units of one version.
    pub plain: Kernel,
    /// For units of several versions; `None` where several are no faster than one.
    pub rolled: Option<Kernel>,
}

impl Kernels {
    /// The fastest of those measured, in each form; `None` where nothing was measured.
    pub fn fastest(rates: &[KernelRates]) -> Option<Self> {
        let fastest =
            |kernels: &mut dyn Iterator<Item = Kernel>| kernels.max_by(|x, y| x.rate.0.total_cmp(&y.rate.0));
        let plain = fastest(&mut rates.iter().map(|of| Kernel { isa: of.isa, rate: of.plain }))?;
        let mut rolled = rates.iter().filter_map(|of| Some(Kernel { isa: of.isa, rate: of.rolled? }));
        Some(Self { plain, rolled: fastest(&mut rolled).filter(|rolled| rolled.rate.0 > plain.rate.0) })
    }

    /// What a unit of this many versions is searched with.
    pub(super) fn isa_for(&self, versions: usize) -> Isa {
        self.rolled.filter(|_| versions > 1).unwrap_or(self.plain).isa
    }
}

impl From<Kernel> for Kernels {
    /// One kernel, one version at a time.
    fn from(plain: Kernel) -> Self {
        Self { plain, rolled: None }
    }
}

/// The fastest of the chosen kernels that pass their self-test; the error is of the last that failed.
///
/// Measures in this thread, which a kernel that crashes or hangs takes with it.
pub fn choose(choice: &IsaChoice) -> Result<Kernels, SelfTestError> {
    let (mut sound, mut failure) = (Vec::new(), None);
    for &isa in choice.candidates() {
        match selftest(isa) {
            Ok(()) => sound.push(isa),
            Err(error) => failure = Some(error),
        }
    }
    let kernels = Kernels::fastest(&measure(&sound));
    kernels.ok_or_else(|| failure.expect("a choice is never empty: what did not pass has failed"))
}

/// Measures kernels against each other on this thread: each form gets short windows in turn, and the best one counts.
///
/// Takes less than 20 ms for each form.
pub fn measure(isas: &[Isa]) -> Vec<KernelRates> {
    let none = |&isa: &Isa| {
        let rolled = (isa.versions() > 1).then_some(HashRate(0.0));
        KernelRates { isa, plain: HashRate(0.0), rolled }
    };
    let mut kernels: Vec<KernelRates> = isas.iter().map(none).collect();
    for _ in 0..ROUNDS {
        for KernelRates { isa, plain, rolled } in &mut kernels {
            plain.0 = plain.0.max(Load::plain(*isa).run(WINDOW));
            if let Some(rolled) = rolled {
                rolled.0 = rolled.0.max(Load::rolled(*isa).run(WINDOW));
            }
        }
    }
    kernels
}

/// How much faster two logical CPUs hash together than the first alone: 1 where the second gains nothing, 2 at best.
///
/// Takes about 35 ms, during which two threads keep both busy. Fails where threads can't be pinned to them.
pub fn measure_siblings(isa: Isa, cpus: [usize; 2]) -> io::Result<f64> {
    let start = Barrier::new(2);
    let hash = |number: usize| {
        let pinned = os::pin(cpus[number]);
        let mut best = [0f64; 2];
        for _ in 0..ROUNDS {
            for threads in [1, 2] {
                start.wait();
                if number < threads {
                    best[threads - 1] = best[threads - 1].max(Load::plain(isa).run(WINDOW));
                }
            }
        }
        pinned.map(|()| best)
    };
    let [first, second] = thread::scope(|scope| {
        let threads = [0, 1].map(|number| scope.spawn(move || hash(number)));
        threads.map(|thread| thread.join().expect("kernels do not panic"))
    });
    let ([alone, first], [_, second]) = (first?, second?);
    Ok((first + second) / alone)
}

/// A header's worth of work without end.
struct Load {
    isa: Isa,
    headers: Vec<Prepared>,
}

impl Load {
    fn plain(isa: Isa) -> Self {
        Self { isa, headers: vec![Prepared::from_bytes(&[0x5a; 80])] }
    }

    fn rolled(isa: Isa) -> Self {
        let header = |version: u32| {
            let mut header = [0x5a; 80];
            header[..4].copy_from_slice(&version.to_le_bytes());
            Prepared::from_bytes(&header)
        };
        Self { isa, headers: (0..isa.versions()).map(|index| header(0x2000_0000 | index << 13)).collect() }
    }

    /// Hashes a second over one window.
    fn run(&self, window: Duration) -> f64 {
        const BATCH: u64 = 4096;
        let versions = self.headers.len() as u64;
        let nonces = (BATCH / versions).next_multiple_of(self.isa.lanes().into());
        let (mut plain, mut rolled) = (Vec::new(), Vec::new());
        let (start, mut nonce, mut hashes) = (Instant::now(), 0u32, 0u64);
        loop {
            match &self.headers[..] {
                [header] => self.isa.scan(header, nonce, nonces, 0, &mut plain),
                headers => self.isa.scan_versions(headers, nonce, nonces, 0, &mut rolled),
            }
            nonce = nonce.wrapping_add(nonces as u32);
            hashes += nonces * versions;
            let elapsed = start.elapsed();
            if elapsed >= window {
                return hashes as f64 / elapsed.as_secs_f64();
            }
        }
    }
}
