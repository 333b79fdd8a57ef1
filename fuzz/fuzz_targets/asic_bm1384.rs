//! Scripts of chips, units and time, on a chain of BM1384.
#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| miner_asic::chip::script::run_bm1384(Instant::now(), bytes));
