//! What needs a GPU, or a software one: kernels against `sha2`, the backend's contract, lost devices.
//!
//! Without any, each test says that it was ignored; with LODE_REQUIRE_GPU=1 it fails. Long ones are ignored too, and run by
//! `scripts/long-checks soak`.

mod contract;
mod hangs;
mod heat;
mod kernels;
mod losses;
mod soak;
mod wrong;

use libtest_mimic::{Arguments, Failed, Trial};
use miner_gpu::kernel::Form;
use miner_gpu::{Gpu, GpuConfig, Gpus, Tuning, Watched};

/// A test with a GPU.
type Test = (&'static str, fn(&Gpu) -> Result<(), Failed>);

fn main() {
    let mut args = Arguments::from_args();
    // A software device uses all cores by itself.
    args.test_threads.get_or_insert(1);
    let gpus = Gpus::find();
    let gpu = gpus.list.iter().find(|gpu| gpu.facts.unusable.is_none());
    let required = std::env::var_os("LODE_REQUIRE_GPU").is_some_and(|value| value == "1");
    let tests = [
        &kernels::TESTS[..],
        &contract::TESTS,
        &losses::TESTS,
        &wrong::TESTS,
        &hangs::TESTS,
        &heat::TESTS,
        &soak::TESTS,
        &soak::LONG,
    ];
    let is_long = |name| soak::LONG.iter().any(|(long, _)| *long == name);
    let trials = tests.concat().into_iter().map(|(name, test)| {
        let (own, nothing) = (gpu.cloned(), gpus.nothing.clone());
        let trial = Trial::test(name, move || match own {
            Some(gpu) => test(&gpu),
            None => Err(format!("LODE_REQUIRE_GPU=1, and there is none: {nothing:?}").into()),
        });
        trial.with_ignored_flag(gpu.is_none() && !required || is_long(name))
    });
    libtest_mimic::run(&args, trials.collect()).exit();
}

/// A GPU to search on whose temperature nobody watches.
fn unwatched(gpu: &Gpu) -> Result<Watched, Failed> {
    Ok(Watched::start(gpu.clone(), &GpuConfig::default())?)
}

/// A tuning that nothing was measured for.
fn tuning(several: Option<u32>) -> Tuning {
    let several = several.map(|midstates| Form { midstates, ..Form::DEFAULT });
    Tuning { single: Form::DEFAULT, several, rate: miner_core::types::HashRate(2e7) }
}
