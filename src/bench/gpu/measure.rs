//! One kernel's dispatches, and whether all that they found was right.

use miner_gpu::kernel::Form;
use miner_gpu::{GpuError, Intensity, Searcher};

use crate::bench::answers::LIMIT;
use crate::bench::report::{BenchRow, GpuFigures};
use crate::bench::run::unlikely;
use crate::bench::spread::Spread;
use crate::bench::variant::Work;

/// The fewest pairs of windows, however short the duration.
const MIN_WINDOWS: usize = 3;

/// Hits that a dispatch is expected to have: a quarter of what there is room for.
const HITS: f64 = 64.0;

/// What the windows of a kernel gave.
pub(super) struct Measured {
    form: Form,
    work: Work,
    /// Hashes a second, as far as is known.
    rate: f64,
    nonce: u32,
    pairs: Vec<Pair>,
    hashes: u64,
    hits: u64,
    expected: f64,
    wrong: Option<String>,
}

/// A window of the baseline and a dispatch.
struct Pair {
    baseline: f64,
    rate: f64,
    seconds: f64,
}

impl Measured {
    pub(super) fn new(form: Form, rate: f64) -> Self {
        let work = Work::new(&[0x5a; 80], form.midstates);
        let (hashes, hits) = (0, 0);
        Self { form, work, rate, nonce: 0, pairs: Vec::new(), hashes, hits, expected: 0.0, wrong: None }
    }

    /// Whether there are too few windows yet.
    pub(super) fn is_short(&self) -> bool {
        self.pairs.len() < MIN_WINDOWS
    }

    /// One dispatch as long as mining's, and the baseline's rate just before: hashes a second.
    pub(super) fn dispatch(&mut self, searcher: &mut Searcher, baseline: f64) -> Result<f64, GpuError> {
        let versions = f64::from(self.form.midstates);
        let want = self.rate * Intensity::NORMAL.target.as_secs_f64() / versions;
        let nonces = searcher.fitting(want as u64);
        let hashes = nonces as f64 * versions;
        let limit = (HITS / hashes * 2f64.powi(32)).min(f64::from(u32::MAX)) as u32;
        let headers: Vec<[u8; 80]> =
            (0..self.work.versions()).filter_map(|index| self.work.header(index, 0)).collect();
        let search = searcher.search(&headers, self.nonce, nonces, limit)?;
        let seconds = search.took.as_secs_f64();
        for &(nonce, index) in &search.hits {
            if self.work.top_word(index, nonce).is_none_or(|top| top > limit) {
                self.wrong.get_or_insert(format!("nonce {nonce:#010x} of version {index} is no hit"));
            }
        }
        self.nonce = self.nonce.wrapping_add(nonces as u32);
        self.hashes += hashes as u64;
        self.hits += u64::from(search.count);
        self.expected += hashes * (f64::from(limit) + 1.0) / 2f64.powi(32);
        self.rate = hashes / seconds;
        self.pairs.push(Pair { baseline, rate: self.rate, seconds });
        Ok(self.rate)
    }

    /// A wrong hit, or a number of hits that chance does not give.
    pub(super) fn wrong(&self) -> Option<String> {
        self.wrong.clone().or_else(|| unlikely(self.hits, self.hashes, self.expected))
    }

    /// The baseline's rates.
    pub(super) fn baseline(&self) -> impl Iterator<Item = f64> {
        self.pairs.iter().map(|pair| pair.baseline)
    }

    pub(super) fn dispatch_ms(&self) -> Option<Spread> {
        self.spread(|pair| 1e3 * pair.seconds)
    }

    /// A row that is still without its kernel's name.
    pub(super) fn row(&self, figures: GpuFigures) -> BenchRow {
        let nothing = Spread { p10: 0.0, median: 0.0, p90: 0.0 };
        BenchRow {
            kernel: String::new(),
            versions: self.form.midstates,
            threads: 1,
            rate_hs: self.spread(|pair| pair.rate).unwrap_or(nothing),
            ratio: self.spread(|pair| pair.rate / pair.baseline).unwrap_or(nothing),
            cycles_per_hash: None,
            cpu_share: None,
            windows: self.pairs.len(),
            windows_left_out: 0,
            hits: self.hits,
            gpu: Some(figures),
        }
    }

    fn spread(&self, of: fn(&Pair) -> f64) -> Option<Spread> {
        Spread::of(self.pairs.iter().map(of).collect())
    }
}

/// The hits of the checksum among `count` nonces from `start` on, with each version of the work: a kernel searches whole
/// workgroups, and what lies outside is left out.
pub(super) fn around(
    searcher: &mut Searcher,
    form: &Form,
    work: &Work,
    start: u32,
    count: u64,
) -> Result<Vec<(u32, u32)>, GpuError> {
    let first = start & !(form.nonces - 1);
    let lead = u64::from(start - first);
    let nonces = (lead + count).next_multiple_of(form.granule());
    let mut hits = Vec::new();
    for index in (0..work.versions()).step_by(form.midstates as usize) {
        let headers: Vec<[u8; 80]> =
            (index..index + form.midstates).filter_map(|index| work.header(index, 0)).collect();
        let search = searcher.search(&headers, first, nonces, LIMIT)?;
        let within = |&(nonce, _): &(u32, u32)| u64::from(nonce.wrapping_sub(start)) < count;
        hits.extend(search.hits.into_iter().filter(within).map(|(nonce, place)| (index + place, nonce)));
    }
    Ok(hits)
}
