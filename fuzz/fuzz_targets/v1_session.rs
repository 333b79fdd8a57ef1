//! Scripts of a pool's messages, shares and time.
#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stratum::v1::script::run_script(Instant::now(), bytes));
