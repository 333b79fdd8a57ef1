//! Hashes a second of every kernel, plain and with a schedule shared by several versions, and, as the baseline, of the
//! `sha2` crate (release 0.10) over whole headers. One thread.
//!
//! Each iteration finds the nonce of the genesis block: a kernel that is fast but wrong fails. For ratios on a machine that
//! does other things too, see the bench `windows`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use miner_core::sha256d::{Isa, KnownBlock, Prepared, known_blocks};
use sha2_baseline::{Digest, Sha256};

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
    for isa in Isa::available().into_iter().filter(|isa| isa.versions() > 1) {
        let versions = isa.versions();
        let mut rolled = header;
        let mut headers: Vec<Prepared> = (0..versions - 1)
            .map(|version| {
                rolled[..4].copy_from_slice(&(0x2000_0000 | version << 13).to_le_bytes());
                Prepared::from_bytes(&rolled)
            })
            .collect();
        headers.push(Prepared::from_bytes(&header));
        let nonces = COUNT / u64::from(versions);
        group.throughput(Throughput::Elements(nonces * u64::from(versions)));
        group.bench_function(format!("{isa}, {versions} versions"), |bencher| {
            bencher.iter(|| {
                let mut hits = Vec::new();
                isa.scan_versions(&headers, nonce.wrapping_sub(100), nonces, limit, &mut hits);
                assert_eq!(hits, [(versions - 1, nonce)], "{isa}");
            });
        });
    }
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("sha2 crate, whole header", |bencher| {
        bencher.iter(|| {
            let mut header = header;
            let hits: Vec<u32> = (0..COUNT as u32)
                .map(|i| start.wrapping_add(i))
                .filter(|nonce| {
                    header[76..].copy_from_slice(&nonce.to_le_bytes());
                    let hash = Sha256::digest(Sha256::digest(header));
                    u32::from_le_bytes([hash[28], hash[29], hash[30], hash[31]]) <= limit
                })
                .collect();
            assert_eq!(hits, [nonce]);
        });
    });
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
