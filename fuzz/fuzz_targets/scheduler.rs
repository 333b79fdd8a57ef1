//! Operations on the scheduler, in any order, held against a model of its rules.

#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    miner_core::fuzzing::run(Instant::now(), script);
});
