//! The GPU backend on a software GPU: against the `sha2` crate, against its bare kernel, at a job switch, at a start.
//!
//! A software GPU hashes on the CPU's own cores, so that everything here is measured against something that used the
//! same cores a moment before or after: two threads of `sha2` 0.10, or the kernel without a backend around it. Every
//! answer is checked. The driver's vectors are as wide as `LP_NATIVE_VECTOR_WIDTH` says when it is loaded, so that each
//! width is measured by a process of its own, which this one starts.
//!
//! ```sh
//! cargo bench --bench gpu                       # everything
//! cargo bench --bench gpu -- ratios 256 31      # 31 rounds with vectors of 256 bits only
//! cargo bench --bench gpu -- switches 200       # 200 job switches at each intensity
//! cargo bench --bench gpu -- start 9            # 9 starts
//! ```

mod ratios;
mod start;
mod switches;

use std::fmt;
use std::process::Command;

use miner_gpu::kernel::Form;
use miner_gpu::{Gpu, Gpus, Tuning};

/// Widths of vectors to measure, in bits.
const WIDTHS: [&str; 2] = ["256", "512"];

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let count = numbers.iter().copied().find(|number| !WIDTHS.contains(&&*number.to_string()));
    let widths: Vec<&str> =
        WIDTHS.into_iter().filter(|width| arguments.iter().any(|argument| argument == width)).collect();
    let asked = |what: &str| {
        let named = |name| arguments.iter().any(|argument| argument == name);
        named(what) || !["ratios", "switches", "start", "child"].into_iter().any(named)
    };
    if arguments.iter().any(|argument| argument == "child") {
        return ratios::print(&gpu(), count.unwrap_or(ratios::ROUNDS));
    }
    if asked("ratios") {
        let widths = if widths.is_empty() { &WIDTHS } else { &widths[..] };
        widths.iter().for_each(|width| with_vectors(width, count));
    }
    if asked("switches") {
        switches::print(&gpu(), count.unwrap_or(switches::COUNT));
    }
    if asked("start") {
        start::print(count.unwrap_or(start::COUNT));
    }
}

/// Measures the ratios in a process whose driver is told how wide its vectors are.
fn with_vectors(width: &str, count: Option<usize>) {
    println!("\nvectors of {width} bits");
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program);
    child.args(["child".to_owned()]).args(count.map(|count| count.to_string()));
    let status = child.env("LP_NATIVE_VECTOR_WIDTH", width).status().expect("this program starts");
    assert!(status.success(), "{status}");
}

/// The first GPU that can be mined with.
fn gpu() -> Gpu {
    let gpus = Gpus::find();
    let gpu = gpus.list.into_iter().find(|gpu| gpu.facts.unusable.is_none());
    let gpu = gpu.unwrap_or_else(|| panic!("no GPU, and none in software: {:?}", gpus.nothing));
    println!("{}", gpu.facts);
    gpu
}

/// Kernels that nothing was measured for: for one header, and for several if there are more than one.
fn tuning(midstates: u32) -> Tuning {
    let several = (midstates > 1).then_some(Form { midstates, ..Form::DEFAULT });
    Tuning { single: Form::DEFAULT, several, rate: miner_core::types::HashRate(4e7) }
}

/// The middle and the tenths of some figures.
struct Spread([f64; 3]);

impl Spread {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        Self([0.1, 0.5, 0.9].map(|part| figures[((figures.len() - 1) as f64 * part).round() as usize]))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, median, high] = self.0;
        write!(f, "{median:8.3} ({low:.3}..{high:.3})")
    }
}
