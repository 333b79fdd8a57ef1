//! How long a GPU still works on a job that has become worthless, against the time of a dispatch.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use miner_core::backend::contract_tests::Rig;
use miner_core::types::{Generation, Target, WorkId};
use miner_core::work::NonceRange;
use miner_gpu::{Fault, Gpu, GpuBackend, GpuConfig, Intensity, Step};

use crate::{Spread, tuning};

/// Job switches at each intensity.
pub(crate) const COUNT: usize = 100;

/// Rounds to find the length of dispatches in.
const WARM: usize = 5;

pub(crate) fn print(gpu: &Gpu, count: usize) {
    println!(
        "\nfrom a job switch to the end of the last dispatch for the old job, over the time of a dispatch"
    );
    let target = |target| Intensity { target: Duration::from_millis(target), ..Intensity::NORMAL };
    for (name, intensity) in [
        ("desktop", Intensity::DESKTOP),
        ("5 ms", target(5)),
        ("10 ms", target(10)),
        ("normal, 20 ms", Intensity::NORMAL),
        ("50 ms", target(50)),
        ("max, 100 ms", Intensity::MAX),
    ] {
        let Switches { windows, dispatches } = Switches::of(gpu, intensity, count);
        let aimed = intensity.target.as_secs_f64() * 1e3;
        let dispatch = Spread::of(dispatches);
        let over = |by: f64| Spread::of(windows.iter().map(|window| window / by).collect());
        let most = windows.iter().copied().fold(0.0, f64::max);
        let windows = Spread::of(windows.clone());
        println!(
            "{name:14} dispatch {dispatch} ms, window {windows} ms, at most {most:.1}; / dispatch {}; / target {}",
            over(dispatch.0[1]),
            over(aimed)
        );
    }
}

/// In milliseconds.
struct Switches {
    windows: Vec<f64>,
    dispatches: Vec<f64>,
}

impl Switches {
    fn of(gpu: &Gpu, intensity: Intensity, count: usize) -> Self {
        // A hook for faults sees each dispatch begin and end.
        let answers: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let seen = Arc::clone(&answers);
        let hook = move |step| {
            if step == Step::Submit {
                seen.lock().expect("nobody panics holding it").push(Instant::now());
            }
            Fault::None
        };
        let config = GpuConfig {
            intensity,
            tuning: Some(tuning(2)),
            faults: Some(Arc::new(hook)),
            ..GpuConfig::default()
        };
        let mut rig = Rig::new(Box::new(GpuBackend::new(gpu.clone(), config)));
        let (mut windows, mut dispatches) = (Vec::new(), Vec::new());
        let mut random = fastrand::Rng::with_seed(7);
        feed(&mut rig, 0);
        for id in 0..(WARM + count) as u64 {
            rig.wait_for_a_hit(WorkId(id));
            // Anywhere within a dispatch.
            let settle = intensity.target * 6 + intensity.target.mul_f64(random.f64());
            thread::sleep(settle);
            answers
                .lock()
                .expect("nobody panics holding it")
                .drain(..)
                .collect::<Vec<_>>()
                .windows(2)
                .skip(2)
                .for_each(|pair| {
                    if id as usize >= WARM {
                        dispatches.push((pair[1] - pair[0]).as_secs_f64() * 1e3);
                    }
                });
            let switch = Instant::now();
            rig.gate.advance(Generation(id + 1));
            feed(&mut rig, id + 1);
            let old = rig.finish(WorkId(id));
            let window = switch.elapsed();
            assert!(old.hashes < 1 << 32, "it was abandoned");
            if id as usize >= WARM {
                windows.push(window.as_secs_f64() * 1e3);
            }
        }
        rig.close();
        Self { windows, dispatches }
    }
}

/// A unit for half an hour.
fn feed(rig: &mut Rig, id: u64) {
    let mut unit = rig.unit(id, NonceRange::FULL, 4);
    unit.generation = Generation(id);
    // Few: nobody hears what is told while this thread sleeps.
    unit.report_target = Target::from_expected_hashes(3e6);
    rig.feed(unit);
}
