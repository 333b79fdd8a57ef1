//! Bytes of BM13xx chips, in pieces and at once.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| miner_asic::chip::script::run_replies(bytes));
