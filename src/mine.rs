//! `lode mine`: puts the parts together, runs them, and says how it went.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use miner_core::backend::HashBackend;
use miner_core::sched::SchedulerConfig;
use tokio::sync::mpsc;

use crate::asic::{self, AsicBackends, AsicProblem, GuardList, Haste, Plug, Watching};
use crate::bus::Bus;
use crate::cpu::{CpuSetup, SetupError as CpuSetupError};
use crate::driver::{Arrivals, Driver, End};
use crate::event::{EndReason, EventKind, PoolFacts, StartFacts};
use crate::explain::{Exit, Explain, Explanation};
use crate::gpu::{self, GpuBackends, GpuProblem};
use crate::overseer::Overseer;
use crate::pools::{Pools, SetupError};
use crate::practice;
use crate::report;
use crate::settings::{MineSettings, PoolSettings};
use crate::version;

/// How long all reports together may take to be written at the end.
const REPORT_PATIENCE: Duration = Duration::from_secs(1);

/// Why mining could not start.
#[derive(Debug, thiserror::Error)]
pub enum MineError {
    /// No device is to be used, or none can be.
    #[error("no device to mine with")]
    NoDevice,
    /// The CPU cannot mine.
    #[error(transparent)]
    Cpu(#[from] CpuSetupError),
    /// The GPUs asked for cannot be used, and there is no other device.
    #[error(transparent)]
    Gpu(#[from] GpuProblem),
    /// The ASICs asked for cannot be used.
    #[error(transparent)]
    Asic(#[from] AsicProblem),
    /// The practice pool cannot start.
    #[error("the practice pool cannot start")]
    Practice(#[from] practice_pool::PoolError),
    /// A pool cannot be tried as it is set up.
    #[error(transparent)]
    Pool(#[from] SetupError),
    /// Reports cannot be written.
    #[error(transparent)]
    Report(#[from] report::ReportError),
    /// The operating system refuses something.
    #[error("{context}")]
    Os {
        /// What was being done.
        context: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Mines as the settings say until a limit, a signal or the loss of all devices ends it.
pub fn run(settings: MineSettings) -> Result<Exit, MineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| MineError::Os { context: "cannot start the I/O runtime", source })?;
    let bounded = settings.limits.is_bounded();
    // Dropped on every way out, a panic included: boards are safe before the process is gone.
    let guards = asic::guards();
    let end = runtime.block_on(mine(settings, &guards.list()));
    let safe = guards.list().make_all_safe(Haste::Patient);
    let end = end?;
    // A task that waits for a dead network must not hold up the end.
    runtime.shutdown_background();
    Ok(if safe { exit(&end, bounded) } else { Exit::Failed })
}

async fn mine(settings: MineSettings, guards: &GuardList) -> Result<End, MineError> {
    let (mut devices, plug) = devices(&settings, guards)?;
    let replay = devices.replay.take();
    let mut config = SchedulerConfig::default();
    if replay.is_some() {
        // Emulated chips are fast by name alone: their hits are no flood, and the few that there are must be seen, again
        // each time that their job comes round.
        (config.max_hits, config.submitted) = (f64::INFINITY, 0);
    }
    let bus = Bus::default();
    let reporters = report::start(&settings.report, &bus)?;
    let practice = settings.pools.is_empty();
    let emulated = replay.is_some();
    let pools =
        if practice { vec![practice::start(replay.unwrap_or_default()).await?] } else { settings.pools };
    bus.emit(EventKind::Started(Arc::new(StartFacts {
        version: version::LINE.to_owned(),
        pools: pools.iter().map(facts).collect(),
        practice,
        emulated,
    })));
    let (_overseer, stop) = Overseer::start(guards.clone())
        .map_err(|source| MineError::Os { context: "cannot listen for signals", source })?;
    let pools = Pools::start(pools, &bus)?;
    let (arrivals, preparing) = prepare(devices)
        .map_err(|source| MineError::Os { context: "cannot start a thread for the devices", source })?;
    let (newcomers, _watching) = watch(plug)
        .map_err(|source| MineError::Os { context: "cannot start a thread that looks for devices", source })?
        .unzip();
    let driver = Driver::with_config(config, arrivals, pools, bus, settings.limits, settings.report.interval);
    let end = driver.joined_by(newcomers).run(stop).await;
    let deadline = tokio::time::Instant::now() + REPORT_PATIENCE;
    for reporter in reporters {
        reporter.finish(deadline.saturating_duration_since(tokio::time::Instant::now())).await;
    }
    if end.reason == EndReason::NoDevice {
        // No device is left, so this one has come or failed; a panic has been told.
        preparing.join().unwrap_or(Ok(()))?;
    }
    Ok(end)
}

/// The devices to mine with.
struct Devices {
    asics: Vec<Box<dyn HashBackend>>,
    gpus: Vec<Box<dyn HashBackend>>,
    cpu: Option<CpuSetup>,
    /// What the practice pool is to be for emulated ones to find anything.
    replay: Option<practice_pool::Config>,
}

/// Finds them. What was asked for and can't be had is only said, as long as there is another; a mistake in naming it
/// ends the start.
fn devices(settings: &MineSettings, guards: &GuardList) -> Result<(Devices, Option<Plug>), MineError> {
    let emulation = asic::emulate::start(&settings.asic.emulate, guards)?;
    let (mut asics, replay) = emulation.map_or_else(Default::default, |it| (it.list, Some(it.pool)));
    let AsicBackends { list, problems: asic_problems, plug } = asic::backends(&settings.asic, guards);
    if let Some(mistake) = asic_problems.iter().find(|problem| problem.explain().exit == Exit::Usage) {
        return Err(mistake.clone().into());
    }
    asics.extend(list);
    let GpuBackends { list: gpus, cards, problems } = gpu::backends(&settings.gpu);
    let cpu = match settings.cpu.threads {
        Some(0) => None,
        _ => Some(CpuSetup::new(&settings.cpu, cards)?),
    };
    if cpu.is_none() && gpus.is_empty() && asics.is_empty() {
        let asic = asic_problems.into_iter().next().map(MineError::Asic);
        let gpu = problems.into_iter().next().map(MineError::Gpu);
        return Err(asic.or(gpu).unwrap_or(MineError::NoDevice));
    }
    let explained = problems.iter().map(Explain::explain).chain(asic_problems.iter().map(Explain::explain));
    for Explanation { what, advice, .. } in explained {
        tracing::warn!("{what}: {}", advice.unwrap_or_default());
    }
    Ok((Devices { asics, gpus, cpu, replay }, plug))
}

/// Starts to look for devices that are plugged in from now on, if any are to be taken.
fn watch(plug: Option<Plug>) -> std::io::Result<Option<(Arrivals, Watching)>> {
    let start = |plug: Plug| {
        let (sender, newcomers) = mpsc::channel(1);
        Ok((newcomers, plug.watch(sender)?))
    };
    plug.map(start).transpose()
}

/// Makes them ready beside everything else: kernels may have to be measured while pools are connected to.
fn prepare(devices: Devices) -> std::io::Result<(Arrivals, JoinHandle<Result<(), CpuSetupError>>)> {
    let (sender, arrivals) = mpsc::channel::<Box<dyn HashBackend>>(1);
    let preparing = std::thread::Builder::new().name("prepare".to_owned()).spawn(move || {
        let no_asics = devices.asics.is_empty();
        for device in devices.asics {
            // Mining may have ended meanwhile.
            let _ = sender.blocking_send(device);
        }
        // Kernels are measured while no GPU works: its driver keeps a CPU busy.
        let cpu = devices.cpu.map(|cpu| cpu.backend()).transpose();
        if let (Err(error), false) = (&cpu, devices.gpus.is_empty() && no_asics) {
            let Explanation { what, advice, .. } = error.explain();
            tracing::error!("the CPU does not mine: {what}: {}", advice.unwrap_or_default());
        }
        let (cpu, failure) = match cpu {
            Ok(cpu) => (cpu, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let cpu = cpu.map(|cpu| Box::new(cpu) as Box<dyn HashBackend>);
        for device in cpu.into_iter().chain(devices.gpus) {
            // Mining may have ended meanwhile.
            let _ = sender.blocking_send(device);
        }
        failure
    })?;
    Ok((arrivals, preparing))
}

fn facts(pool: &PoolSettings) -> PoolFacts {
    PoolFacts { url: pool.url.to_string(), user: pool.user.clone() }
}

fn exit(end: &End, bounded: bool) -> Exit {
    match end.reason {
        EndReason::Interrupted => Exit::Interrupted,
        EndReason::NoDevice => Exit::NoDevice,
        EndReason::SharesReached | EndReason::TimeLimit if bounded && !end.had_job => Exit::NoJob,
        EndReason::SharesReached | EndReason::TimeLimit | EndReason::Terminated => Exit::Ok,
    }
}
