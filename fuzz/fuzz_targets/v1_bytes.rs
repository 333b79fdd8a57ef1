//! Bytes of a pool, in pieces and at once.
#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stratum::v1::script::run_bytes(Instant::now(), bytes));
