//! The machine that lode runs on, as its operating system tells it.

pub mod cgroup;
mod facts;
mod sensors;
pub mod topology;
mod tree;

#[cfg(test)]
mod tests;

pub use facts::{Cache, CpuFacts, MachineFacts};
pub use sensors::Sensors;

use crate::report::format;

/// The processor's name; `None` where the system does not tell.
pub fn cpu_name() -> Option<String> {
    let facts = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = facts.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?;
    Some(format::printable(line.1.trim()))
}
