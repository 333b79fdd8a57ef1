//! How much memory mining takes.

use std::time::Duration;

use testkit::process::{Lode, Signal};

const LODE: &str = env!("CARGO_BIN_EXE_lode");
/// The bound that is promised, and a loose one for code that is not optimised; KiB.
const BOUND: u64 = if cfg!(debug_assertions) { 64 * 1024 } else { 25 * 1024 };

fn peak_after(time: Duration) -> u64 {
    let mut lode = Lode::mine(LODE, &["-t", "2"]);
    lode.wait_for_accepted(Duration::from_secs(30));
    std::thread::sleep(time);
    let peak = lode.peak_memory();
    assert_eq!(lode.signal(Signal::Terminate, Duration::from_secs(10)).code, Some(0));
    println!(
        "VmHWM after {time:?}: {peak} KiB of {BOUND} KiB{}",
        if cfg!(debug_assertions) { ", in a debug build" } else { "" }
    );
    peak
}

#[test]
fn mining_with_the_practice_pool_takes_little_memory() {
    assert!(peak_after(Duration::from_secs(5)) <= BOUND);
}

#[test]
#[ignore = "long: run by scripts/long-checks"]
fn a_minute_of_mining_takes_little_memory() {
    assert!(peak_after(Duration::from_secs(60)) <= BOUND);
}
