//! `lode bench`: how fast the kernels are here, and whether they compute rightly.
//!
//! Rates drift with the clock and the neighbours, ratios hardly: a kernel and the baseline, the `sha2` crate over whole
//! headers, are measured in short windows by turns, and the medians count. `docs/benchmarking.md` is for whoever reads
//! the figures.

mod answers;
mod chart;
mod compare;
mod crew;
mod cycles;
mod file;
#[cfg(feature = "gpu")]
pub mod gpu;
mod progress;
mod report;
mod run;
mod spread;
mod stop;
pub mod stress;
mod table;
mod variant;
mod verdict;

#[cfg(test)]
mod tests;

pub use answers::Mismatch;
pub use chart::{ChartError, check_place as check_chart, of_comparison, of_report};
pub use compare::{ComparedRow, Comparison, Side};
pub use cycles::Cycles;
pub use file::{FileError, Saved, check_place, load, save};
pub use progress::Progress;
pub use report::{BenchGpu, BenchReport, BenchRow, Beside, Build, GpuFigures, Key, LostKernel};
pub use run::{BenchConfig, BenchError, Step, run};
pub use spread::Spread;
pub use stop::Stop;
pub use variant::{Variant, Work};
pub use verdict::{Change, Verdict};
