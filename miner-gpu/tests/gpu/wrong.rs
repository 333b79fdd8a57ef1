//! Kernels that the driver compiles wrongly.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::Failed;
use miner_core::backend::contract_tests::{Rig, hits};
use miner_core::backend::{BackendError, HealthState};
use miner_core::types::WorkId;
use miner_core::work::NonceRange;
use miner_gpu::kernel::{Form, Majority};
use miner_gpu::{Fault, Gpu, GpuBackend, GpuConfig, Step, TuningCache};

use crate::Test;

pub(crate) const TESTS: [Test; 1] =
    [("a_wrong_kernel_loses_whether_measured_or_remembered", wrong_kernels_lose)];

/// One start after the other, with one cache.
fn wrong_kernels_lose(gpu: &Gpu) -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("lode-gpu-wrong-{}", std::process::id()));
    let plain = |form: Form| form.variant.majority == Majority::Plain;
    let shared = |form: Form| form.variant.majority == Majority::Shared;
    // The form to begin with is wrong, and so are most that come of it.
    mines(gpu, &folder, plain);
    let measured = remembered(&folder)?;
    assert!(measured.contains("maj=shared") && !measured.contains("maj=plain"), "{measured}");
    // What was remembered is wrong.
    mines(gpu, &folder, shared);
    let measured = remembered(&folder)?;
    assert!(measured.contains("maj=plain") && !measured.contains("maj=shared"), "{measured}");
    // All are wrong.
    let mut rig = Rig::new(backend(gpu, &folder, |_| true));
    let unit = rig.unit(0, NonceRange { start: 0, len: 1 << 16 }, 1);
    rig.feed(unit);
    assert_eq!(rig.finish(WorkId(0)).hashes, 0, "its unit is handed back");
    assert_eq!(rig.health.last().map(|health| health.state), Some(HealthState::Quarantined));
    let (ended, _) = rig.end();
    assert!(matches!(ended, Err(BackendError::SelfTest(_))), "{ended:?}");
    assert_eq!(files(&folder)?.len(), 0, "nothing wrong is remembered");
    fs::remove_dir_all(folder)?;
    Ok(())
}

fn mines(gpu: &Gpu, folder: &Path, wrong: fn(Form) -> bool) {
    let mut rig = Rig::new(backend(gpu, folder, wrong));
    let unit = rig.unit(0, NonceRange { start: 0, len: 1 << 18 }, 2);
    let mut wanted = hits(&unit);
    rig.feed(unit);
    let mut found = rig.finish(WorkId(0)).hits;
    wanted.sort_by_key(|hit| (hit.version, hit.nonce));
    found.sort_by_key(|hit| (hit.version, hit.nonce));
    assert_eq!(found, wanted);
    assert!(rig.health.iter().all(|health| health.state == HealthState::Ok), "{:?}", rig.health);
    rig.close();
}

fn backend(gpu: &Gpu, folder: &Path, wrong: fn(Form) -> bool) -> Box<GpuBackend> {
    let cache = TuningCache { folder: folder.to_owned(), build: "test".to_owned() };
    let faults = move |at| match at {
        Step::SelfTest(form) if wrong(form) => Fault::Wrong,
        _ => Fault::None,
    };
    let config = GpuConfig { cache: Some(cache), faults: Some(Arc::new(faults)), ..GpuConfig::default() };
    Box::new(GpuBackend::new(gpu.clone(), config))
}

fn remembered(folder: &Path) -> Result<String, Failed> {
    let files = files(folder)?;
    assert_eq!(files.len(), 1, "{files:?}");
    Ok(fs::read_to_string(&files[0])?)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}
