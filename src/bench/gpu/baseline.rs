//! What GPUs are measured against: the `sha2` crate on two threads, on any machine, with the first block hashed once.

use std::hint::black_box;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Threads of the baseline.
pub(super) const THREADS: usize = 2;

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(20);

/// Hashes a second of all threads together.
pub(super) fn window() -> io::Result<f64> {
    thread::scope(|scope| {
        let spawn = |seed: usize| thread::Builder::new().spawn_scoped(scope, move || rate(seed as u8));
        let threads: Vec<_> = (0..THREADS).map(spawn).collect::<io::Result<_>>()?;
        Ok(threads.into_iter().map(|thread| thread.join().expect("hashing does not panic")).sum())
    })
}

fn rate(seed: u8) -> f64 {
    const BATCH: u32 = 512;
    let header = [seed; 80];
    let midstate = Sha256::new_with_prefix(&header[..64]);
    let mut tail: [u8; 16] = header[64..].try_into().expect("80 less 64 is 16");
    let (start, mut nonce, mut least) = (Instant::now(), 0u32, [u8::MAX; 32]);
    loop {
        for _ in 0..BATCH {
            tail[12..].copy_from_slice(&nonce.to_le_bytes());
            let hash = Sha256::digest(midstate.clone().chain_update(tail).finalize());
            least = least.min(hash.into());
            nonce = nonce.wrapping_add(1);
        }
        let elapsed = start.elapsed();
        if elapsed >= WINDOW {
            // So that the hashes are needed.
            black_box(least);
            return f64::from(nonce) / elapsed.as_secs_f64();
        }
    }
}
