//! Which kernel is fastest here: measured, not ranked.

use std::time::{Duration, Instant};

use crate::sha256d::{Isa, IsaChoice, Prepared, SelfTestError, selftest};
use crate::types::HashRate;

/// Windows that each kernel gets, in turn with the others.
const ROUNDS: usize = 7;

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

/// The fastest of the chosen kernels that pass their self-test; the error is of the last that failed.
///
/// Takes about 20 ms for each candidate and keeps one CPU busy: to be called beside the connecting, not before it.
pub fn choose(choice: &IsaChoice) -> Result<Kernel, SelfTestError> {
    let (mut sound, mut failure) = (Vec::new(), None);
    for &isa in choice.candidates() {
        match selftest(isa) {
            Ok(()) => sound.push(isa),
            Err(error) => failure = Some(error),
        }
    }
    let fastest = measure(&sound).into_iter().max_by(|x, y| x.rate.0.total_cmp(&y.rate.0));
    fastest.ok_or_else(|| failure.expect("a choice is never empty: what did not pass has failed"))
}

/// Measures kernels against each other on one thread: each gets short windows in turn, and the best one counts.
pub fn measure(isas: &[Isa]) -> Vec<Kernel> {
    let header = Prepared::from_bytes(&[0x5a; 80]);
    let mut kernels: Vec<Kernel> = isas.iter().map(|&isa| Kernel { isa, rate: HashRate(0.0) }).collect();
    for _ in 0..ROUNDS {
        for kernel in &mut kernels {
            kernel.rate.0 = kernel.rate.0.max(window(kernel.isa, &header));
        }
    }
    kernels
}

/// Hashes a second in one window.
fn window(isa: Isa, header: &Prepared) -> f64 {
    const BATCH: u64 = 1024;
    let mut hits = Vec::new();
    let (start, mut nonce, mut hashes) = (Instant::now(), 0u32, 0u64);
    loop {
        isa.scan(header, nonce, BATCH, 0, &mut hits);
        nonce = nonce.wrapping_add(BATCH as u32);
        hashes += BATCH;
        let elapsed = start.elapsed();
        if elapsed >= WINDOW {
            return hashes as f64 / elapsed.as_secs_f64();
        }
    }
}
