//! Hashes a second of every kernel and, as the baseline, of the `sha2` crate over whole headers. One thread.
//!
//! Each iteration finds the nonce of the genesis block: a kernel that is fast but wrong fails.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use miner_core::sha256d::{Isa, KnownBlock, Prepared, known_blocks};
use miner_core::types::{BlockHash, double_sha256};

const COUNT: u64 = 1 << 14;

fn kernels(criterion: &mut Criterion) {
    let [KnownBlock { header, nonce, hash }, ..] = known_blocks();
    let limit = hash.to_target().high_word();
    let start = nonce.wrapping_sub(5_000);
    let mut group = criterion.benchmark_group("sha256d");
    group.throughput(Throughput::Elements(COUNT));

    for isa in Isa::available() {
        let prepared = Prepared::from_bytes(&header);
        group.bench_function(isa.name(), |bencher| {
            bencher.iter(|| {
                let mut hits = Vec::new();
                isa.scan(&prepared, start, COUNT, limit, &mut hits);
                assert_eq!(hits, [nonce], "{isa}");
            });
        });
    }
    group.bench_function("sha2 crate, whole header", |bencher| {
        bencher.iter(|| {
            let mut header = header;
            let hits: Vec<u32> = (0..COUNT as u32)
                .map(|i| start.wrapping_add(i))
                .filter(|nonce| {
                    header[76..].copy_from_slice(&nonce.to_le_bytes());
                    BlockHash(double_sha256(&header)).to_target().high_word() <= limit
                })
                .collect();
            assert_eq!(hits, [nonce]);
        });
    });
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
