//! `lode bench --gpu`.

use std::num::NonZero;
use std::path::Path;
use std::time::{Duration, Instant};

use lode::bench::gpu::{self as bench, GpuBenchConfig, GpuStep, GpuWork};
use lode::bench::{Progress, check_chart, check_place};
use lode::cpu::CpuSetup;
use lode::explain::{Exit, Explain, Explanation};
use lode::gpu::{GpuProblem, chosen};
use lode::report::format;
use lode::settings::{CpuSettings, GpuSettings};
use miner_core::cpu::CpuConfig;
use miner_core::types::HashRate;

use super::{Manner, exit, stop, write};
use crate::complain;

/// What to measure, and where the result goes.
pub(super) struct Task<'a> {
    pub(super) gpu: &'a GpuSettings,
    pub(super) threads: Option<NonZero<usize>>,
    pub(super) time: Duration,
    pub(super) save: Option<&'a Path>,
    pub(super) chart: Option<&'a Path>,
}

pub(super) fn measure(task: &Task<'_>, manner: Manner) -> Result<Exit, Explanation> {
    let Task { gpu, threads, time, save, chart } = task;
    // Before the time is spent.
    save.map_or(Ok(()), check_place).map_err(|error| error.explain())?;
    chart.map_or(Ok(()), check_chart).map_err(|error| error.explain())?;
    let (gpus, problems) = chosen(gpu);
    if gpus.is_empty() {
        let problem = problems.into_iter().next();
        return Err(problem.unwrap_or_else(|| GpuProblem::NoGpu("--gpu none".to_owned())).explain());
    }
    for problem in problems {
        complain(&problem.explain().to_string());
    }
    let threads = threads.unwrap_or(CpuConfig::default().threads).get();
    // Where the CPU cannot mine, nothing does beside the GPU.
    let beside = CpuSetup::new(&CpuSettings::default(), false).and_then(|setup| Ok(setup.choose()?));
    let config =
        GpuBenchConfig { gpus, duration: *time, beside: beside.ok().map(|choice| (choice.kernels, threads)) };
    let (stop, mut progress) = (stop()?, Progress::new(manner.quiet, Instant::now()));
    let report = bench::run(&config, &stop, |step| progress.show(Instant::now(), || telling(step)));
    progress.end();
    let report = report.map_err(|error| error.explain())?;
    if manner.json {
        // The table says so itself.
        report.gpus.iter().filter_map(|gpu| Some((gpu, gpu.problem.as_ref()?))).for_each(|(gpu, problem)| {
            complain(&format!("not everything was measured of {}: {problem}", gpu.name));
        });
    }
    Ok(exit(report.mismatch.is_none(), write(&report, *save, *chart, manner), &stop))
}

fn telling(GpuStep { name, work, rate_hs }: &GpuStep) -> String {
    let rate = rate_hs.map_or_else(String::new, |rate| format!(": {}", format::rate(HashRate(rate))));
    match work {
        GpuWork::Opening => format!("opening {name}"),
        GpuWork::Tuning { tried } => format!("tuning {name}, kernel {tried}{rate}"),
        GpuWork::Measuring { done, rows, kernel } => {
            format!("measuring {} of {rows}: {kernel}{rate}", done + 1)
        }
        GpuWork::Beside => format!("measuring {name} with the CPU beside it"),
    }
}
