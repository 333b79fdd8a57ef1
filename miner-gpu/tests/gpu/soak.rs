//! A thousand jobs, a hundred devices: nothing is lost, nothing piles up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use libtest_mimic::Failed;
use miner_core::backend::HealthState;
use miner_core::backend::contract_tests::{Rig, hits};
use miner_core::share::Candidate;
use miner_core::types::{Generation, WorkId};
use miner_core::work::{NonceRange, WorkUnit};
use miner_gpu::{Fault, Gpu, GpuBackend, GpuConfig, Intensity, Step};

use crate::{Test, tuning};

pub(crate) const TESTS: [Test; 1] =
    [("a_thousand_job_switches_lose_and_repeat_nothing", a_thousand_job_switches)];

/// For `scripts/long-checks`: each rebuild compiles its kernels.
pub(crate) const LONG: [Test; 1] = [("memory_does_not_grow_with_rebuilt_devices", rebuilt_devices)];

const SWITCHES: u64 = 1000;

fn a_thousand_job_switches(gpu: &Gpu) -> Result<(), Failed> {
    let intensity = Intensity { target: Duration::from_millis(2), ..Intensity::NORMAL };
    let config = GpuConfig { tuning: Some(tuning(Some(2))), intensity, ..GpuConfig::default() };
    let mut rig = Rig::new(Box::new(GpuBackend::new(gpu.clone(), config)));
    let mut random = fastrand::Rng::with_seed(3);
    let mut last: Option<WorkUnit> = None;
    for switch in 1..=SWITCHES {
        rig.gate.advance(Generation(switch));
        // Every tenth job lives long enough for its unit to be searched to the end.
        let lives = switch % 10 == 0;
        let nonces = if lives { NonceRange { start: 1 << 20, len: 1 << 16 } } else { NonceRange::FULL };
        let mut unit = rig.unit(switch, nonces, if lives { 3 } else { 4 });
        unit.generation = Generation(switch);
        rig.feed(unit.clone());
        if let Some(stale) = last.take() {
            let work = rig.finish(stale.id);
            assert!(work.hashes < stale.size(), "it was abandoned");
            check(&stale, work.hits);
        }
        if lives {
            // A unit that is finished takes no more events: its account is whole.
            let work = rig.finish(unit.id);
            assert_eq!(work.hashes, unit.size());
            assert_eq!(sorted(work.hits), sorted(hits(&unit)), "job {switch}");
        } else {
            if random.bool() {
                rig.wait_for_a_hit(unit.id);
            }
            last = Some(unit);
        }
    }
    rig.close();
    Ok(())
}

/// Each a hit, and none twice.
fn check(unit: &WorkUnit, found: Vec<Candidate>) {
    let found = sorted(found);
    assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "a hit of unit {} was told twice", unit.id);
    for hit in found {
        let hash = unit.header(hit.version, hit.nonce).hash();
        assert!(unit.report_target.is_met_by(&hash), "{hit:?}");
    }
}

fn sorted(mut hits: Vec<Candidate>) -> Vec<Candidate> {
    hits.sort_by_key(|hit| (hit.version, hit.nonce));
    hits
}

/// Devices lost by one backend before it is given up.
const LOSSES: u32 = 4;

fn rebuilt_devices(gpu: &Gpu) -> Result<(), Failed> {
    let (mut rebuilds, mut at_20) = (0, 0);
    while rebuilds < 100 {
        rebuilds += lose_devices(gpu);
        if rebuilds == 20 {
            at_20 = resident()?;
        }
    }
    let at_100 = resident()?;
    println!("{} KiB after 20 rebuilds, {} KiB after 100", at_20 >> 10, at_100 >> 10);
    assert!(at_20 > 0 && at_100 as f64 <= at_20 as f64 * 1.05, "{at_20} bytes grew to {at_100}");
    Ok(())
}

/// How many devices were opened again; everything is searched all the same.
fn lose_devices(gpu: &Gpu) -> u32 {
    let submits = AtomicU32::new(0);
    let faults = move |at| {
        let lost = at == Step::Submit && {
            let nth = submits.fetch_add(1, Relaxed);
            nth % 3 == 2 && nth / 3 < LOSSES
        };
        if lost { Fault::Destroy } else { Fault::None }
    };
    let config = GpuConfig {
        tuning: Some(tuning(Some(2))),
        retry: Duration::from_millis(1),
        faults: Some(Arc::new(faults)),
        intensity: Intensity { target: Duration::from_millis(1), ..Intensity::NORMAL },
        ..GpuConfig::default()
    };
    let mut rig = Rig::new(Box::new(GpuBackend::new(gpu.clone(), config)));
    let unit = rig.unit(0, NonceRange { start: 0, len: 1 << 20 }, 3);
    let (size, wanted) = (unit.size(), sorted(hits(&unit)));
    rig.feed(unit);
    let work = rig.finish(WorkId(0));
    assert_eq!((work.hashes, sorted(work.hits)), (size, wanted));
    let sick = |health: &&miner_core::backend::Health| health.state == HealthState::Sick;
    let losses = rig.health.iter().filter(sick).count();
    rig.close();
    assert_eq!(losses, LOSSES as usize);
    LOSSES
}

/// Bytes of memory that this process has in use.
#[cfg(target_os = "linux")]
fn resident() -> Result<u64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// Not asked for here.
#[cfg(not(target_os = "linux"))]
fn resident() -> Result<u64, Failed> {
    Ok(1)
}
