//! What every backend owes the scheduler, and what a GPU makes harder.

use libtest_mimic::Failed;
use miner_core::backend::contract_tests::{self, Rig, hits};
use miner_core::share::Candidate;
use miner_core::types::{Target, WorkId};
use miner_core::work::NonceRange;
use miner_gpu::{Gpu, GpuBackend, GpuConfig, Intensity, TuningCache};

use crate::{Test, tuning};

pub(crate) const TESTS: [Test; 4] = [
    ("the_contract_holds_with_versions_rolled", |gpu| contract(gpu, Some(2), Intensity::NORMAL)),
    ("the_contract_holds_one_header_at_a_time_and_on_a_desktop", |gpu| {
        contract(gpu, None, Intensity::DESKTOP)
    }),
    ("more_hits_than_there_is_room_for_are_all_found", more_hits_than_there_is_room_for_are_all_found),
    ("a_start_measures_and_the_next_one_remembers", a_start_measures_and_the_next_one_remembers),
];

fn backend(gpu: &Gpu, config: GpuConfig) -> Box<GpuBackend> {
    Box::new(GpuBackend::new(gpu.clone(), config))
}

fn contract(gpu: &Gpu, several: Option<u32>, intensity: Intensity) -> Result<(), Failed> {
    let config = GpuConfig { tuning: Some(tuning(several)), intensity, ..GpuConfig::default() };
    contract_tests::check(&|| backend(gpu, config.clone()));
    Ok(())
}

fn more_hits_than_there_is_room_for_are_all_found(gpu: &Gpu) -> Result<(), Failed> {
    let config = GpuConfig { tuning: Some(tuning(Some(2))), ..GpuConfig::default() };
    let mut rig = Rig::new(backend(gpu, config));
    // Too many in a dispatch; too many in the least that a dispatch can be.
    for (id, expected) in [(0, 100.0), (1, 8.0)] {
        let mut unit = rig.unit(id, NonceRange { start: 0, len: 1 << 16 }, 3);
        unit.report_target = Target::from_expected_hashes(expected);
        let (size, wanted) = (unit.size(), sorted(hits(&unit)));
        rig.feed(unit);
        let work = rig.finish(WorkId(id));
        assert_eq!(work.hashes, size);
        assert_eq!(sorted(work.hits), wanted);
    }
    rig.close();
    Ok(())
}

fn a_start_measures_and_the_next_one_remembers(gpu: &Gpu) -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("lode-gpu-start-{}", std::process::id()));
    let cache = TuningCache { folder: folder.clone(), build: "test".to_owned() };
    let config = GpuConfig { cache: Some(cache), ..GpuConfig::default() };
    let guess = backend(gpu, config.clone());
    let mut rig = Rig::new(guess.clone());
    let unit = rig.unit(0, NonceRange { start: 0, len: 1 << 18 }, 4);
    let wanted = sorted(hits(&unit));
    rig.feed(unit);
    assert_eq!(sorted(rig.finish(WorkId(0)).hits), wanted);
    rig.close();
    let files = std::fs::read_dir(&folder)?.count();
    let measured = backend(gpu, config);
    std::fs::remove_dir_all(folder)?;
    assert_eq!(files, 1);
    assert_ne!(rate(&measured), rate(&guess), "the rate is no guess any more");
    Ok(())
}

fn rate(backend: &GpuBackend) -> f64 {
    miner_core::backend::HashBackend::info(backend).expected.0
}

fn sorted(mut hits: Vec<Candidate>) -> Vec<Candidate> {
    hits.sort_by_key(|hit| (hit.version, hit.nonce));
    hits
}
