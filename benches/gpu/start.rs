//! From the start of the process to the first accepted share of the GPU, with its kernels measured before and without.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::Spread;

/// Starts.
pub(crate) const COUNT: usize = 7;

pub(crate) fn print(count: usize) {
    let home = tempfile::tempdir().expect("a folder");
    let first = first_share(home.path());
    let starts = (0..count).map(|_| first_share(home.path())).collect();
    println!("\nfrom the start of lode with the GPU alone to its first accepted share, in seconds");
    println!("without a tuning {first:8.3}");
    println!("with a tuning    {}", Spread::of(starts));
}

/// Seconds from the start: every hash before it is the GPU's.
fn first_share(home: &Path) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lode"));
    command.args(["mine", "-t", "0", "--gpu", "all", "--gpu-allow-cpu", "--output", "json", "--shares", "1"]);
    command.env("HOME", home).env("XDG_CACHE_HOME", home.join("cache")).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().expect("lode starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut seconds = None;
    for line in lines {
        let line: Value = serde_json::from_str(&line.expect("it is text")).expect("it is JSON");
        if line["type"] == "share" && line["outcome"] == "accepted" {
            seconds.get_or_insert(start.elapsed().as_secs_f64());
            assert!(line["device"].as_str().is_some_and(|device| device.starts_with("gpu:")), "{line}");
        }
    }
    assert!(child.wait().expect("it is our child").success());
    seconds.expect("lode ends with its first share")
}
