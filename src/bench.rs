//! `lode bench`: the rate of each kernel against the `sha2` crate's in the same run, and whether it computes rightly.
//!
//! Rates drift with the clock and the neighbours, ratios hardly: kernel and baseline are measured in short windows by
//! turns, and the medians count.

use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use miner_core::sha256d::{Isa, KnownBlock, Prepared, known_blocks, selftest};
use miner_core::types::{BlockHash, double_sha256};
use serde::Serialize;

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(10);

/// The fewest pairs of windows in a row, however short the duration.
const MIN_WINDOWS: usize = 3;

/// Hits are expected once in 2^12 hashes, and every one is hashed again.
const LIMIT: u32 = 0x000f_ffff;

/// What [`checksum`] of a right kernel is.
const CHECKSUM: u32 = 0x4e25_6c27;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// The kernels.
    pub isas: Vec<Isa>,
    /// The numbers of threads.
    pub threads: Vec<NonZero<usize>>,
    /// Time for each kernel with each number of threads.
    pub duration: Duration,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchProgress {
    /// Rows finished.
    pub done: usize,
    /// Rows in all.
    pub rows: usize,
    /// The kernel that is measured now.
    pub isa: Isa,
    /// The number of threads.
    pub threads: usize,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    /// Rate of the `sha2` crate over whole headers on one thread, in hashes a second; `None` if nothing was measured.
    pub baseline_hs: Option<Spread>,
    /// Each kernel with each number of threads.
    pub rows: Vec<BenchRow>,
    /// The first wrong answer; `None` if all were right.
    pub mismatch: Option<Mismatch>,
}

/// One kernel with one number of threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchRow {
    /// The kernel's name.
    pub isa: &'static str,
    /// The number of threads.
    pub threads: usize,
    /// Rate of all threads together, in hashes a second.
    pub rate_hs: Spread,
    /// Rate over the baseline's in the window before.
    pub ratio: Spread,
    /// Hits that were found and hashed again.
    pub hits: u64,
}

/// A kernel's wrong answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The kernel's name.
    pub isa: &'static str,
    /// What was wrong.
    pub what: String,
}

/// The middle and the width of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// A tenth of the measurements lie below.
    pub p10: f64,
    /// Half of them.
    pub median: f64,
    /// Nine tenths.
    pub p90: f64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No kernel or no number of threads was asked for.
    #[error("nothing to measure")]
    Nothing,
    /// The system refused a thread.
    #[error("cannot start {threads} threads: {source}")]
    Thread {
        /// The number of threads asked for.
        threads: usize,
        /// What the system said.
        source: io::Error,
    },
}

/// Checks every kernel, and measures those that are right with every number of threads; `progress` is called before each row.
pub fn run(config: &BenchConfig, mut progress: impl FnMut(BenchProgress)) -> Result<BenchReport, BenchError> {
    if config.isas.is_empty() || config.threads.is_empty() {
        return Err(BenchError::Nothing);
    }
    let mut report = BenchReport { baseline_hs: None, rows: Vec::new(), mismatch: None };
    let mut sound = config.isas.clone();
    sound.retain(|&isa| match check(isa) {
        Ok(()) => true,
        Err(what) => {
            report.mismatch.get_or_insert(Mismatch { isa: isa.name(), what });
            false
        }
    });
    let (mut baseline, rows) = (Vec::new(), sound.len() * config.threads.len());
    for isa in sound {
        for threads in config.threads.iter().map(|threads| threads.get()) {
            progress(BenchProgress { done: report.rows.len(), rows, isa, threads });
            let measured = measure(isa, threads, config.duration)
                .map_err(|source| BenchError::Thread { threads, source })?;
            let ratios = measured.rates.iter().zip(&measured.baseline).map(|(rate, base)| rate / base);
            report.rows.push(BenchRow {
                isa: isa.name(),
                threads,
                ratio: Spread::of(ratios.collect()),
                hits: measured.hits,
                rate_hs: Spread::of(measured.rates),
            });
            if let Some(what) = measured.wrong {
                report.mismatch.get_or_insert(Mismatch { isa: isa.name(), what });
            }
            baseline.extend(measured.baseline);
        }
    }
    report.baseline_hs = (!baseline.is_empty()).then(|| Spread::of(baseline));
    Ok(report)
}

/// Known answers, and the checksum.
fn check(isa: Isa) -> Result<(), String> {
    selftest(isa).map_err(|error| error.to_string())?;
    match checksum(isa) {
        CHECKSUM => Ok(()),
        other => Err(format!("checksum {other:08x} instead of {CHECKSUM:08x}")),
    }
}

/// FNV-1a over the nonces with hashes of at least 12 leading zero bits, among 16,384 around the nonce of each known block.
fn checksum(isa: Isa) -> u32 {
    known_blocks().iter().fold(0x811c_9dc5, |sum, KnownBlock { header, nonce, .. }| {
        let mut hits = Vec::new();
        isa.scan(&Prepared::from_bytes(header), nonce.wrapping_sub(8192), 16_384, LIMIT, &mut hits);
        fnv(sum, &hits)
    })
}

fn fnv(sum: u32, nonces: &[u32]) -> u32 {
    let bytes = nonces.iter().flat_map(|nonce| nonce.to_le_bytes());
    bytes.fold(sum, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// What the windows gave.
#[derive(Default)]
struct Measured {
    baseline: Vec<f64>,
    rates: Vec<f64>,
    hits: u64,
    wrong: Option<String>,
}

/// Windows of the baseline and of the kernel by turns.
fn measure(isa: Isa, threads: usize, duration: Duration) -> io::Result<Measured> {
    let mut measured = Measured::default();
    let until = Instant::now() + duration;
    while measured.rates.len() < MIN_WINDOWS || Instant::now() < until {
        measured.baseline.push(baseline_window());
        let windows = kernel_windows(isa, threads)?;
        measured.rates.push(windows.iter().map(|window| window.rate).sum());
        for window in windows {
            measured.hits += window.hits.len() as u64;
            if let Some(nonce) = window.first_wrong() {
                measured.wrong.get_or_insert(format!("nonce {nonce:#010x} is no hit"));
            }
        }
    }
    Ok(measured)
}

/// One window on every thread, all starting together.
fn kernel_windows(isa: Isa, threads: usize) -> io::Result<Vec<Window>> {
    let gate = RwLock::new(());
    thread::scope(|scope| {
        let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
        let spawn = |thread| {
            let gate = &gate;
            let run = move || {
                drop(gate.read());
                Window::run(isa, thread as u8)
            };
            thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, run)
        };
        let threads: Vec<_> = (0..threads).map(spawn).collect::<io::Result<_>>()?;
        drop(closed);
        Ok(threads.into_iter().map(|thread| thread.join().expect("kernels do not panic")).collect())
    })
}

/// A kernel's work of [`WINDOW`].
struct Window {
    header: [u8; 80],
    rate: f64,
    hits: Vec<u32>,
}

impl Window {
    fn run(isa: Isa, seed: u8) -> Self {
        const BATCH: u64 = 4096;
        let header = [seed; 80];
        let prepared = Prepared::from_bytes(&header);
        let (mut nonce, mut hits) = (0u32, Vec::with_capacity(64));
        let rate = rate_of(BATCH, || {
            isa.scan(&prepared, nonce, BATCH, LIMIT, &mut hits);
            nonce = nonce.wrapping_add(BATCH as u32);
        });
        Self { header, rate, hits }
    }

    /// A hit that the `sha2` crate does not confirm.
    fn first_wrong(&self) -> Option<u32> {
        self.hits.iter().copied().find(|&nonce| top_word(self.header, nonce) > LIMIT)
    }
}

/// Rate of the `sha2` crate over whole headers in one window.
fn baseline_window() -> f64 {
    const BATCH: u32 = 256;
    let (mut nonce, mut least) = (0u32, u32::MAX);
    let rate = rate_of(BATCH.into(), || {
        for _ in 0..BATCH {
            least = least.min(top_word([0; 80], nonce));
            nonce = nonce.wrapping_add(1);
        }
    });
    // So that the hashes are needed.
    std::hint::black_box(least);
    rate
}

/// The most significant word of a header's hash, by the `sha2` crate.
fn top_word(mut header: [u8; 80], nonce: u32) -> u32 {
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    BlockHash(double_sha256(&header)).to_target().high_word()
}

/// Calls `batch`, which does `hashes`, for [`WINDOW`]: hashes a second.
fn rate_of(hashes: u64, mut batch: impl FnMut()) -> f64 {
    let (start, mut batches) = (Instant::now(), 0u64);
    loop {
        batch();
        batches += 1;
        let elapsed = start.elapsed();
        if elapsed >= WINDOW {
            return (batches * hashes) as f64 / elapsed.as_secs_f64();
        }
    }
}

impl Spread {
    /// Of at least one measurement.
    fn of(mut measurements: Vec<f64>) -> Self {
        measurements.sort_by(f64::total_cmp);
        let at = |part: f64| measurements[((measurements.len() - 1) as f64 * part).round() as usize];
        Self { p10: at(0.1), median: at(0.5), p90: at(0.9) }
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mhs = |hs: f64| hs / 1e6;
        writeln!(f, "{:12} {:>7} {:>10} {:>19} {:>8}", "kernel", "threads", "MH/s", "p10..p90", "x sha2")?;
        let mut row = |kernel: &str, threads: usize, rate: &Spread, ratio: f64| {
            let range = format!("{:.2}..{:.2}", mhs(rate.p10), mhs(rate.p90));
            writeln!(f, "{kernel:12} {threads:>7} {:>10.2} {range:>19} {ratio:>8.2}", mhs(rate.median))
        };
        if let Some(baseline) = &self.baseline_hs {
            row("sha2 crate", 1, baseline, 1.0)?;
        }
        for BenchRow { isa, threads, rate_hs, ratio, .. } in &self.rows {
            row(isa, *threads, rate_hs, ratio.median)?;
        }
        match &self.mismatch {
            None => write!(f, "all answers right, checksum {CHECKSUM:08x}"),
            Some(Mismatch { isa, what }) => write!(f, "WRONG ANSWER from {isa}: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(isas: Vec<Isa>, threads: &[usize]) -> BenchConfig {
        let threads = threads.iter().map(|&threads| NonZero::new(threads).unwrap()).collect();
        BenchConfig { isas, threads, duration: Duration::ZERO }
    }

    #[test]
    fn every_kernel_is_measured_with_every_number_of_threads() {
        let mut steps = Vec::new();
        let report = run(&config(Isa::available(), &[1, 2]), |step| steps.push(step)).unwrap();
        assert_eq!(report.mismatch, None);
        assert_eq!(report.rows.len(), 2 * Isa::available().len());
        for (done, (step, row)) in steps.iter().zip(&report.rows).enumerate() {
            assert_eq!((step.done, step.rows), (done, report.rows.len()));
            assert_eq!((step.isa.name(), step.threads), (row.isa, row.threads));
            assert!(
                row.rate_hs.p10 > 0.0 && row.rate_hs.p10 <= row.rate_hs.median && row.hits > 0,
                "{row:?}"
            );
            assert!(row.rate_hs.median <= row.rate_hs.p90 && row.ratio.median > 0.0, "{row:?}");
        }
        assert!(report.baseline_hs.unwrap().median > 0.0);
        let table = report.to_string();
        assert_eq!(table.lines().count(), 3 + report.rows.len(), "{table}");
        assert!(table.ends_with("all answers right, checksum 4e256c27"), "{table}");
    }

    #[test]
    fn the_checksum_is_what_the_sha2_crate_says() {
        let sum = known_blocks().iter().fold(0x811c_9dc5, |sum, block| {
            let nonces = (0..16_384).map(|i| block.nonce.wrapping_sub(8192).wrapping_add(i));
            let hits: Vec<u32> = nonces.filter(|&nonce| top_word(block.header, nonce) <= LIMIT).collect();
            assert!(hits.contains(&block.nonce));
            fnv(sum, &hits)
        });
        assert_eq!(sum, CHECKSUM, "{sum:#x}");
    }

    #[test]
    fn a_wrong_hit_is_noticed() {
        let mut window = Window::run(Isa::available()[0], 1);
        assert_eq!(window.first_wrong(), None);
        window.hits.push(0);
        assert_eq!(window.first_wrong(), Some(0));
    }

    #[test]
    fn a_mismatch_is_said_in_the_table() {
        let mismatch = Some(Mismatch { isa: "avx2", what: "checksum 1 instead of 2".into() });
        let report = BenchReport { baseline_hs: None, rows: vec![], mismatch };
        assert!(report.to_string().ends_with("WRONG ANSWER from avx2: checksum 1 instead of 2"));
    }

    #[test]
    fn nothing_to_measure_is_an_error() {
        assert!(matches!(run(&config(vec![], &[1]), |_| {}), Err(BenchError::Nothing)));
        assert!(matches!(run(&config(Isa::available(), &[]), |_| {}), Err(BenchError::Nothing)));
    }

    #[test]
    fn a_spread_is_that_of_its_measurements() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { p10: 10.0, median: 50.0, p90: 90.0 });
        assert_eq!(Spread::of(vec![3.0]).p90, 3.0);
    }
}
