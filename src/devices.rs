//! `lode devices`: what can be mined with here, and why something can't.

use std::fmt;
use std::thread::available_parallelism;

use miner_core::cpu::{Kernel, allowed_cpus, measure};
use miner_core::sha256d::Isa;
use serde::Serialize;

use crate::machine;
use crate::report::format;

/// One device as `lode devices` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The device key, as everywhere.
    pub key: String,
    /// What a person calls it.
    pub name: String,
    /// Whether lode can mine with it.
    pub usable: bool,
    /// Logical CPUs that this process may use, by number, where the system tells.
    pub cpus: Option<Vec<usize>>,
    /// Threads used unless told otherwise.
    pub threads: usize,
    /// Kernels that it can run, fastest first, measured on one thread just now.
    pub kernels: Vec<FoundKernel>,
}

/// A kernel and its rate.
#[derive(Clone, Debug, Serialize)]
pub struct FoundKernel {
    /// Its name, as for `--isa`.
    pub isa: &'static str,
    /// Hashes a second on one thread.
    pub rate_hs: f64,
}

/// All devices; takes about 20 ms for each kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Devices {
    /// The devices.
    pub devices: Vec<Found>,
}

impl Devices {
    /// Looks for them.
    pub fn find() -> Self {
        let mut kernels = measure(&Isa::available());
        kernels.sort_by(|a, b| b.rate.0.total_cmp(&a.rate.0));
        let cpu = Found {
            key: "cpu".to_owned(),
            name: machine::cpu_name().unwrap_or_else(|| "CPU".to_owned()),
            usable: true,
            cpus: allowed_cpus(),
            threads: available_parallelism().map_or(1, usize::from),
            kernels: kernels
                .iter()
                .map(|Kernel { isa, rate }| FoundKernel { isa: isa.name(), rate_hs: rate.0 })
                .collect(),
        };
        Self { devices: vec![cpu] }
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for device in &self.devices {
            writeln!(f, "{:8} {}, {} threads", device.key, device.name, device.threads)?;
            for kernel in &device.kernels {
                let rate = format::rate(miner_core::types::HashRate(kernel.rate_hs));
                writeln!(f, "         --isa {:10} {rate} a thread", kernel.isa)?;
            }
        }
        writeln!(f, "GPUs and USB ASICs: this version of lode has no backend for them yet")
    }
}
