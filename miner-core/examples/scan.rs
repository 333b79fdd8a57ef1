//! Searches a given number of nonces with one kernel and prints how many hits it found: for tools that count
//! instructions.
//!
//! ```sh
//! cargo run --release -p miner-core --example scan -- avx2 1 4096     # one header, 4,096 nonces
//! cargo run --release -p miner-core --example scan -- avx2 32 128     # 32 versions, 128 nonces each
//! ```

use std::process::ExitCode;

use miner_core::sha256d::{Isa, Prepared, known_blocks};

/// So hard that nothing but the filter is counted.
const LIMIT: u32 = 0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, versions, nonces] = &arguments[..] else {
        eprintln!("usage: scan KERNEL VERSIONS NONCES");
        return ExitCode::from(2);
    };
    let (Ok(versions), Ok(nonces)) = (versions.parse::<u32>(), nonces.parse()) else {
        eprintln!("scan: VERSIONS and NONCES are numbers");
        return ExitCode::from(2);
    };
    let Some(isa) = Isa::by_name(kernel) else {
        eprintln!("scan: this CPU has no kernel {kernel}");
        return ExitCode::from(3);
    };
    let hits = if versions == 1 { plain(isa, nonces) } else { shared(isa, versions, nonces) };
    println!("{hits} hits");
    ExitCode::SUCCESS
}

fn plain(isa: Isa, nonces: u64) -> usize {
    let mut hits = Vec::new();
    isa.scan(&Prepared::from_bytes(&known_blocks()[0].header), 0, nonces, LIMIT, &mut hits);
    hits.len()
}

fn shared(isa: Isa, versions: u32, nonces: u64) -> usize {
    let mut header = known_blocks()[0].header;
    let rolled = (0..versions).map(|i| {
        header[..4].copy_from_slice(&(0x2000_0000 | i << 13).to_le_bytes());
        Prepared::from_bytes(&header)
    });
    let headers: Vec<Prepared> = rolled.collect();
    let mut hits = Vec::new();
    isa.scan_versions(&headers, 0, nonces, LIMIT, &mut hits);
    hits.len()
}
