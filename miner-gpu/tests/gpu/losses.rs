//! Devices that are lost, hang, or never work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use libtest_mimic::Failed;
use miner_core::backend::contract_tests::{Rig, hits};
use miner_core::backend::{BackendError, HealthState};
use miner_core::types::WorkId;
use miner_core::work::NonceRange;
use miner_gpu::kernel::Form;
use miner_gpu::{Fault, FaultHook, Gpu, GpuBackend, GpuConfig, Step};

use crate::{Test, tuning};

pub(crate) const TESTS: [Test; 4] = [
    ("a_device_lost_at_any_step_is_opened_again_and_no_hit_is_lost", |gpu| recovers(gpu, Fault::Destroy)),
    ("a_device_that_hangs_at_any_step_is_opened_again_and_no_hit_is_lost", |gpu| recovers(gpu, Fault::Hang)),
    ("a_device_that_is_lost_again_and_again_is_quarantined", |gpu| {
        is_quarantined(gpu, Fault::Destroy, |at| at == Step::Open)
    }),
    ("a_device_that_hangs_in_every_self_test_is_quarantined", |gpu| {
        is_quarantined(gpu, Fault::Hang, |at| matches!(at, Step::SelfTest(_)))
    }),
];

fn backend(gpu: &Gpu, faults: FaultHook) -> Box<GpuBackend> {
    let config = GpuConfig {
        tuning: Some(tuning(Some(2))),
        retry: Duration::from_millis(1),
        faults: Some(faults),
        ..GpuConfig::default()
    };
    Box::new(GpuBackend::new(gpu.clone(), config))
}

/// The n-th time that a step is reached, something goes wrong: once each.
fn recovers(gpu: &Gpu, fault: Fault) -> Result<(), Failed> {
    let second = Step::SelfTest(Form { midstates: 2, ..Form::DEFAULT });
    for (step, nth) in
        [(Step::Open, 0), (second, 0), (Step::Submit, 0), (Step::Submit, 3), (Step::Collect, 2)]
    {
        let reached = AtomicU32::new(0);
        let faults: FaultHook = Arc::new(move |at| {
            let now = at == step && reached.fetch_add(1, Relaxed) == nth;
            if now { fault } else { Fault::None }
        });
        let mut rig = Rig::new(backend(gpu, faults));
        for id in 0..3 {
            let unit = rig.unit(id, NonceRange { start: (id as u32) << 20, len: 3 << 16 }, 3);
            let (size, mut wanted) = (unit.size(), hits(&unit));
            rig.feed(unit);
            let mut work = rig.finish(WorkId(id));
            wanted.sort_by_key(|hit| (hit.version, hit.nonce));
            work.hits.sort_by_key(|hit| (hit.version, hit.nonce));
            let case = format!("{fault:?} at {step:?} number {nth}, unit {id}");
            assert_eq!(work.hits, wanted, "{case}");
            assert_eq!(work.hashes, size, "{case}");
        }
        let states: Vec<HealthState> = rig.health.iter().map(|health| health.state).collect();
        assert!(states.ends_with(&[HealthState::Sick, HealthState::Ok]), "{step:?} {nth}: {states:?}");
        rig.close();
    }
    Ok(())
}

fn is_quarantined(gpu: &Gpu, fault: Fault, fails: fn(Step) -> bool) -> Result<(), Failed> {
    let faults = move |at| if fails(at) { fault } else { Fault::None };
    let mut rig = Rig::new(backend(gpu, Arc::new(faults)));
    let unit = rig.unit(0, NonceRange::FULL, 1);
    rig.feed(unit);
    assert_eq!(rig.finish(WorkId(0)).hashes, 0, "its unit is handed back");
    let last = rig.health.last().ok_or("it said nothing of its health")?;
    assert_eq!(last.state, HealthState::Quarantined);
    assert!(last.reason.is_some(), "it says why");
    let losses = rig.health.iter().filter(|health| health.state == HealthState::Sick).count();
    assert_eq!(losses, 4, "it was tried again before");
    let (ended, _) = rig.end();
    assert!(matches!(ended, Err(BackendError::DeviceLost(_))), "{ended:?}");
    Ok(())
}
