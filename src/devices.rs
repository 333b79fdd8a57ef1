//! `lode devices`: what can be mined with here, and why something can't.

use std::fmt;

use miner_core::cpu::{KernelRates, allowed_cpus};
use miner_core::types::HashRate;
use serde::Serialize;

use crate::asic::{self, FoundAsic};
use crate::cpu::{CpuSetup, SetupError};
use crate::gpu::{self, FoundGpu};
use crate::machine;
use crate::report::format;
use crate::settings::CpuSettings;

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
    /// How it is used unless told otherwise; `None` where it can't be.
    pub usage: Option<Usage>,
    /// Kernels that it can run, fastest first.
    pub kernels: Vec<FoundKernel>,
    /// What can't be used, and why.
    pub problems: Vec<String>,
}

/// How a CPU is used unless told otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// Hashing threads.
    pub threads: usize,
    /// Why so many.
    pub threads_why: String,
    /// The most of the time that each of them hashes, in percent.
    pub limit_percent: u8,
    /// The kernel.
    pub isa: &'static str,
    /// The kernel where versions may be rolled; `None` where nothing is gained by that.
    pub rolled_isa: Option<&'static str>,
    /// The kernels, and why it is these.
    pub kernel: String,
}

/// A kernel and its rates.
#[derive(Clone, Debug, Serialize)]
pub struct FoundKernel {
    /// Its name.
    pub isa: &'static str,
    /// Hashes a second on one thread.
    pub rate_hs: f64,
    /// The same where versions may be rolled; `None` where the kernel gains nothing by it.
    pub rolled_rate_hs: Option<f64>,
}

/// All devices.
#[derive(Clone, Debug, Serialize)]
pub struct Devices {
    /// The devices.
    pub devices: Vec<Found>,
    /// The GPUs.
    pub gpus: Vec<FoundGpu>,
    /// Why there are no GPUs, where there are none.
    pub no_gpu: Option<String>,
    /// The USB ASICs, and what may be one.
    pub asics: Vec<FoundAsic>,
    /// Why there are no USB ASICs, where there are none.
    pub no_asic: Option<String>,
}

impl Devices {
    /// Looks for them. Kernels that were never measured here are measured: about 60 ms for each.
    pub fn find() -> Self {
        let mut cpu = Found {
            key: "cpu".to_owned(),
            name: machine::cpu_name().unwrap_or_else(|| "CPU".to_owned()),
            usable: false,
            cpus: allowed_cpus(),
            usage: None,
            kernels: Vec::new(),
            problems: Vec::new(),
        };
        if let Err(error) = cpu.look() {
            cpu.problems.push(error.to_string());
        }
        let (gpus, no_gpu) = match gpu::list() {
            Ok(gpus) => (gpus, None),
            Err(problem) => (Vec::new(), Some(problem.to_string())),
        };
        let (asics, no_asic) = match asic::list() {
            Ok(asics) => (asics, None),
            Err(problem) => (Vec::new(), Some(problem.to_string())),
        };
        Self { devices: vec![cpu], gpus, no_gpu, asics, no_asic }
    }
}

impl Found {
    fn look(&mut self) -> Result<(), SetupError> {
        let setup = CpuSetup::new(&CpuSettings::default(), false)?;
        let choice = setup.choose()?;
        let plan = setup.plan(&choice);
        self.usable = true;
        self.usage = Some(Usage {
            threads: plan.config.threads.get(),
            threads_why: plan.why,
            limit_percent: plan.config.limit,
            isa: choice.kernels.plain.isa.name(),
            rolled_isa: choice.kernels.rolled.map(|rolled| rolled.isa.name()),
            kernel: choice.describe(),
        });
        self.problems = choice.failed.iter().map(ToString::to_string).collect();
        let found = |KernelRates { isa, plain, rolled }: &KernelRates| FoundKernel {
            isa: isa.name(),
            rate_hs: plain.0,
            rolled_rate_hs: rolled.map(|rate| rate.0),
        };
        self.kernels = choice.rates.iter().map(found).collect();
        self.kernels.sort_by(|a, b| b.best().total_cmp(&a.best()));
        Ok(())
    }
}

impl FoundKernel {
    fn best(&self) -> f64 {
        self.rolled_rate_hs.unwrap_or(0.0).max(self.rate_hs)
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for device in &self.devices {
            writeln!(f, "{:8} {}", device.key, device.name)?;
            if let Some(Usage { threads, threads_why, limit_percent, kernel, .. }) = &device.usage {
                let limit = match limit_percent {
                    100 => String::new(),
                    limit => format!(" at most {limit} % of the time"),
                };
                writeln!(f, "         {threads} threads{limit}: {threads_why}")?;
                writeln!(f, "         kernel {kernel}")?;
            }
            for kernel in &device.kernels {
                let rate = |rate| format::rate(HashRate(rate));
                write!(f, "         {:18} {} a thread", kernel.isa, rate(kernel.rate_hs))?;
                match kernel.rolled_rate_hs {
                    Some(rolled) => writeln!(f, ", {} where versions may be rolled", rate(rolled))?,
                    None => writeln!(f)?,
                }
            }
            for problem in &device.problems {
                writeln!(f, "         not usable: {problem}")?;
            }
        }
        for (index, gpu) in self.gpus.iter().enumerate() {
            writeln!(f, "{:8} {}, {} {}", gpu.key, gpu.name, gpu.api, gpu.driver)?;
            match &gpu.why_not {
                None => writeln!(f, "         --gpu {index}")?,
                Some(why) => writeln!(f, "         --gpu {index}: not used, {why}")?,
            }
            match (&gpu.sensors, &gpu.no_sensors) {
                (Some(sensors), _) => writeln!(f, "         sensors by {sensors}")?,
                (None, Some(why)) => writeln!(f, "         no sensors: {why}")?,
                (None, None) => {}
            }
        }
        if let Some(why) = &self.no_gpu {
            writeln!(f, "gpu      none: {why}")?;
        }
        for asic in &self.asics {
            let FoundAsic { key, name, usb_id, ports, usable, note } = asic;
            let ports = if ports.is_empty() { "no port".to_owned() } else { ports.join(", ") };
            writeln!(f, "{:8} {name}, {usb_id}, {ports}", key.as_deref().unwrap_or("asic?"))?;
            match (note, key) {
                (Some(note), _) => writeln!(f, "         not used: {note}")?,
                (None, Some(key)) if *usable => writeln!(f, "         --asic all, or --device {key}")?,
                (None, _) => {}
            }
        }
        match &self.no_asic {
            Some(why) => writeln!(f, "asic     none: {why}"),
            None => Ok(()),
        }
    }
}
