//! The measuring: every kernel in every form with every number of threads, each against the baseline.

use std::io;
use std::num::NonZero;
use std::time::{Duration, Instant};

use super::answers::{LIMIT, Mismatch, check};
use super::crew::{Crew, Window};
use super::report::{BenchReport, BenchRow, Key, now};
use super::spread::Spread;
use super::stop::Stop;
use super::variant::Variant;
use crate::machine::MachineFacts;

/// The fewest pairs of windows in a row, however short the duration.
const MIN_WINDOWS: usize = 3;

/// Below this part of its time, a window was disturbed by other programs.
const UNDISTURBED: f64 = 0.95;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// The kernels in their forms.
    pub variants: Vec<Variant>,
    /// The numbers of threads.
    pub threads: Vec<NonZero<usize>>,
    /// Time for each row.
    pub duration: Duration,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Rows finished.
    pub done: usize,
    /// Rows in all.
    pub rows: usize,
    /// What is measured now.
    pub variant: Variant,
    /// The number of threads.
    pub threads: usize,
    /// The latest rate, in hashes a second; `None` before the first window.
    pub rate_hs: Option<f64>,
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
    /// No GPU gave a figure: their names, each with what was wrong with it.
    #[error("{0}")]
    Gpu(String),
}

/// Checks every kernel, and measures those that are right with every number of threads until `stop` is asked.
///
/// `progress` is called before each row and after each of its windows. The report of a run that was stopped holds the
/// rows that were begun and is not complete.
///
/// # Errors
/// Nothing to do, or no threads to be had.
pub fn run(
    config: &BenchConfig,
    stop: &Stop,
    mut progress: impl FnMut(&Step),
) -> Result<BenchReport, BenchError> {
    if config.variants.is_empty() || config.threads.is_empty() {
        return Err(BenchError::Nothing);
    }
    let mut report = BenchReport::begin(config.duration.as_secs_f64());
    let mut sound = config.variants.clone();
    sound.retain(|&variant| check(variant).map_err(|wrong| report.mismatch.get_or_insert(wrong)).is_ok());
    let plan: Vec<(Variant, usize)> = sound
        .iter()
        .flat_map(|&variant| config.threads.iter().map(move |threads| (variant, threads.get())))
        .collect();
    let mut baseline = Vec::new();
    for (done, &(variant, threads)) in plan.iter().enumerate() {
        let mut step = Step { done, rows: plan.len(), variant, threads, rate_hs: None };
        progress(&step);
        let told = |rate| {
            step.rate_hs = Some(rate);
            progress(&step);
        };
        let measured = measure(variant, threads, config.duration, stop, told)
            .map_err(|source| BenchError::Thread { threads, source })?;
        if stop.is_asked() {
            report.complete = false;
        }
        report.rows.extend(measured.row(variant, threads));
        if let Some(what) = measured.wrong() {
            report.mismatch.get_or_insert(Mismatch::new(variant, what));
        }
        baseline.extend(measured.counted().iter().map(|pair| pair.baseline));
        if stop.is_asked() {
            break;
        }
    }
    report.baseline_hs = Spread::of(baseline);
    report.machine = MachineFacts::of_this_machine();
    report.ts = now();
    Ok(report)
}

/// What the windows of a row gave.
#[derive(Default)]
struct Measured {
    pairs: Vec<Pair>,
    hashes: u64,
    hits: u64,
    wrong: Option<String>,
}

/// A window of the baseline and one of the kernel.
struct Pair {
    baseline: f64,
    rate: f64,
    cycles_per_hash: Option<f64>,
    /// The least part of its time that a thread was given, where the system tells.
    share: Option<f64>,
    /// Time of all windows, in seconds of threads.
    seconds: f64,
    /// How much of it the threads were given.
    given: Option<f64>,
}

/// Windows of the baseline and of the kernel by turns.
fn measure(
    variant: Variant,
    threads: usize,
    duration: Duration,
    stop: &Stop,
    mut told: impl FnMut(f64),
) -> io::Result<Measured> {
    Crew::lead(variant, threads, |crew| {
        let mut measured = Measured::default();
        let until = Instant::now() + duration;
        while !stop.is_asked() && (measured.pairs.len() < MIN_WINDOWS || Instant::now() < until) {
            told(measured.add(&crew.baseline(), crew.kernel()));
        }
        measured
    })
}

impl Measured {
    /// A window of the baseline and those of all threads: their rate together.
    fn add(&mut self, baseline: &Window, windows: Vec<Window>) -> f64 {
        let rate = windows.iter().map(Window::rate).sum();
        let hashes: u64 = windows.iter().map(|window| window.hashes).sum();
        let cycles: Option<u64> = windows.iter().map(|window| window.cycles).sum();
        let all = || windows.iter().chain([baseline]);
        let shares: Option<Vec<f64>> = all().map(|window| window.share).collect();
        let (seconds, given) = (all().map(|window| window.seconds).sum(), all().map(Window::given).sum());
        self.pairs.push(Pair {
            baseline: baseline.rate(),
            rate,
            cycles_per_hash: cycles.map(|cycles| cycles as f64 / hashes as f64),
            share: shares.and_then(|shares| shares.into_iter().min_by(f64::total_cmp)),
            seconds,
            given,
        });
        self.hashes += hashes;
        for window in windows {
            self.hits += window.hits;
            self.wrong = self.wrong.take().or(window.wrong);
        }
        rate
    }

    /// The pairs that were not disturbed; all of them where those are too few.
    fn counted(&self) -> Vec<&Pair> {
        let is_undisturbed = |pair: &&Pair| pair.share.is_none_or(|share| share >= UNDISTURBED);
        let counted: Vec<&Pair> = self.pairs.iter().filter(is_undisturbed).collect();
        if counted.len() < MIN_WINDOWS { self.pairs.iter().collect() } else { counted }
    }

    fn row(&self, variant: Variant, threads: usize) -> Option<BenchRow> {
        let counted = self.counted();
        let spread = |of: fn(&Pair) -> f64| Spread::of(counted.iter().map(|pair| of(pair)).collect());
        let cycles: Vec<f64> = counted.iter().filter_map(|pair| pair.cycles_per_hash).collect();
        let given: Option<f64> = self.pairs.iter().map(|pair| pair.given).sum();
        let seconds: f64 = self.pairs.iter().map(|pair| pair.seconds).sum();
        let Key { kernel, versions, threads } = Key::new(variant, threads);
        Some(BenchRow {
            kernel,
            versions,
            threads,
            rate_hs: spread(|pair| pair.rate)?,
            ratio: spread(|pair| pair.rate / pair.baseline)?,
            // Counted in most windows, or not to be trusted.
            cycles_per_hash: Some(cycles)
                .filter(|cycles| 2 * cycles.len() > counted.len())
                .and_then(Spread::of),
            cpu_share: given.map(|given| given / seconds),
            windows: counted.len(),
            windows_left_out: self.pairs.len() - counted.len(),
            hits: self.hits,
            gpu: None,
        })
    }

    /// A wrong hit, or a number of hits that chance does not give.
    fn wrong(&self) -> Option<String> {
        if self.wrong.is_some() {
            return self.wrong.clone();
        }
        let expected = self.hashes as f64 * (f64::from(LIMIT) + 1.0) / 2f64.powi(32);
        unlikely(self.hits, self.hashes, expected)
    }
}

/// Says so where chance does not give this number of hits: hits are independent, so their number strays from the expected
/// one by its root; eight times that is once in 10^15.
pub(super) fn unlikely(hits: u64, hashes: u64, expected: f64) -> Option<String> {
    let off = (hits as f64 - expected).abs();
    (off > 8.0 * (expected + 8.0).sqrt())
        .then(|| format!("{hits} hits among {hashes} hashes, {expected:.0} are to be expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(hashes: u64, hits: u64) -> Measured {
        Measured { hashes, hits, ..Measured::default() }
    }

    #[test]
    fn a_number_of_hits_that_chance_does_not_give_is_noticed() {
        let hashes = 1 << 32;
        assert_eq!(measured(hashes, 1 << 20).wrong(), None);
        assert_eq!(measured(hashes, (1 << 20) + 4_000).wrong(), None);
        // One lane of sixteen that finds nothing.
        assert!(
            measured(hashes, (1 << 20) / 16 * 15).wrong().is_some_and(|what| what.contains("1048576 are"))
        );
        assert!(measured(hashes, 0).wrong().is_some());
        assert_eq!(measured(4096, 0).wrong(), None);
        assert_eq!(measured(0, 0).wrong(), None);
    }

    fn pair(rate: f64, share: f64, cycles_per_hash: Option<f64>) -> Pair {
        Pair { baseline: 1.0, rate, cycles_per_hash, share: Some(share), seconds: 1.0, given: Some(share) }
    }

    fn row(pairs: Vec<Pair>) -> BenchRow {
        let variant = Variant::plain(miner_core::sha256d::Isa::available()[0]);
        Measured { pairs, ..Measured::default() }.row(variant, 1).unwrap()
    }

    #[test]
    fn cycles_that_were_counted_now_and_then_are_no_figure() {
        let counted = |count| (0..4).map(|i| pair(2.0, 1.0, (i < count).then_some(99.0))).collect();
        assert_eq!(row(counted(2)).cycles_per_hash, None);
        assert_eq!(row(counted(3)).cycles_per_hash.unwrap().median, 99.0);
    }

    #[test]
    fn the_cpu_share_is_that_of_all_the_time_of_all_threads() {
        let window = |seconds, share| Window {
            hashes: 1,
            seconds,
            share: Some(share),
            cycles: None,
            hits: 0,
            wrong: None,
        };
        let mut measured = Measured::default();
        measured.add(&window(1.0, 1.0), vec![window(1.0, 1.0), window(2.0, 0.25)]);
        measured.add(&window(1.0, 1.0), vec![window(1.0, 1.0), window(4.0, 0.5)]);
        let variant = Variant::plain(miner_core::sha256d::Isa::available()[0]);
        // 2.5 of 4 seconds, then 4 of 6.
        assert_eq!(measured.row(variant, 2).unwrap().cpu_share, Some(0.65));
    }

    #[test]
    fn windows_in_which_other_programs_ran_are_left_out() {
        let disturbed = || (0..5).map(|_| pair(1.0, 0.5, None));
        let quiet = |count| (0..count).map(|_| pair(2.0, 1.0, None));
        let row_of = |count| row(disturbed().chain(quiet(count)).collect());
        let mixed = row_of(5);
        assert_eq!((mixed.rate_hs.p10, mixed.rate_hs.p90), (2.0, 2.0));
        assert_eq!((mixed.windows, mixed.windows_left_out, mixed.cpu_share), (5, 5, Some(0.75)));
        // Two are too few to stand for all.
        let busy = row_of(2);
        assert_eq!((busy.windows, busy.windows_left_out, busy.rate_hs.median), (7, 0, 1.0));
    }
}
