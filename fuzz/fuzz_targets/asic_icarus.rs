//! Scripts of answers, units and time, on devices of the Icarus family.
#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| miner_asic::chip::script::run_icarus(Instant::now(), bytes));
