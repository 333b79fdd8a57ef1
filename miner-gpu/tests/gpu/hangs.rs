//! Kernels that take the device down while they are measured, or after they were remembered.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use libtest_mimic::Failed;
use miner_core::backend::HealthState;
use miner_core::backend::contract_tests::{Rig, hits};
use miner_core::types::WorkId;
use miner_core::work::NonceRange;
use miner_gpu::kernel::{Choose, Form, Rotate};
use miner_gpu::{Fault, FaultHook, Gpu, GpuBackend, GpuConfig, GpuError, Searcher, Step, TuningCache};

use crate::{Test, unwatched};

pub(crate) const TESTS: [Test; 2] = [
    ("a_kernel_that_takes_the_device_down_loses_alone_or_is_forgotten", bad_kernels_lose),
    ("an_answer_that_does_not_come_in_time_is_a_hang", late_answers_are_hangs),
];

/// One start after the other, with one cache.
fn bad_kernels_lose(gpu: &Gpu) -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("lode-gpu-hangs-{}", std::process::id()));
    // Nothing is remembered yet. One challenger hangs in its self-test, one loses the device while it is measured.
    let last = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&last);
    let faults = move |at| match at {
        Step::SelfTest(Form { variant, .. }) if variant.choose == Choose::Or => Fault::Hang,
        Step::Measure(Form { variant, .. }) if variant.rotate == Rotate::Uniform => Fault::Destroy,
        Step::Measure(Form { midstates: 4, .. }) => {
            seen.fetch_add(1, Relaxed);
            Fault::None
        }
        _ => Fault::None,
    };
    let states = mines(gpu, &folder, Arc::new(faults));
    assert_eq!(states, [HealthState::Ok], "the device itself is well");
    assert!(last.load(Relaxed) > 0, "the measurement went on to its last kernel");
    let measured = fs::read_to_string(&files(&folder)?[0])?;
    assert!(measured.contains("rotate=const ch=xor") && !measured.contains("ch=or"), "{measured}");

    // What was remembered hangs, or loses the device: it is forgotten before anything is measured, and measured once.
    for fault in [Fault::Hang, Fault::Destroy] {
        let (reached, place) = (AtomicU32::new(0), folder.clone());
        let faults = move |at| match at {
            Step::SelfTest(_) if reached.fetch_add(1, Relaxed) == 0 => fault,
            Step::Measure(form) if form == Form::DEFAULT => {
                assert_eq!(files(&place).map_or(0, |files| files.len()), 0, "it is still there");
                Fault::None
            }
            // The rest need not be measured again.
            Step::SelfTest(form) if form == Form::DEFAULT => Fault::None,
            Step::SelfTest(_) => Fault::Wrong,
            _ => Fault::None,
        };
        let states = mines(gpu, &folder, Arc::new(faults));
        assert_eq!(states, [HealthState::Sick, HealthState::Ok], "{fault:?}");
        assert_eq!(files(&folder)?.len(), 1, "what was measured anew is remembered");
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}

/// Searches a unit to its end with a cache, and returns what was said of the device's health.
fn mines(gpu: &Gpu, folder: &Path, faults: FaultHook) -> Vec<HealthState> {
    let cache = TuningCache { folder: folder.to_owned(), build: "test".to_owned() };
    let config = GpuConfig {
        cache: Some(cache),
        retry: Duration::from_millis(1),
        faults: Some(faults),
        ..GpuConfig::default()
    };
    let mut rig = Rig::new(Box::new(GpuBackend::new(gpu.clone(), config)));
    let unit = rig.unit(0, NonceRange { start: 0, len: 1 << 18 }, 2);
    let mut wanted = hits(&unit);
    rig.feed(unit);
    let mut found = rig.finish(WorkId(0)).hits;
    wanted.sort_by_key(|hit| (hit.version, hit.nonce));
    found.sort_by_key(|hit| (hit.version, hit.nonce));
    assert_eq!(found, wanted);
    let states = rig.health.iter().map(|health| health.state).collect();
    rig.close();
    states
}

/// By the clock, with a dispatch that is in truth only long.
fn late_answers_are_hangs(gpu: &Gpu) -> Result<(), Failed> {
    let mut searcher = Searcher::open(&unwatched(gpu)?, Form::DEFAULT)?;
    // The driver compiles it here.
    searcher.selftest()?;
    let patience = Duration::from_millis(1);
    searcher.be_patient_for(patience);
    let late = searcher.search(&[[0x5a; 80]], 0, 1 << 26, 0);
    assert_eq!(late, Err(GpuError::Hang(patience)));
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}
