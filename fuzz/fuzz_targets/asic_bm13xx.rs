//! Scripts of chips, units and time, on chains of BM1362 to BM1397.
#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| miner_asic::chip::script::run_bm13xx(Instant::now(), bytes));
