//! Cards that become too hot, with the driver hung and without.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use miner_core::backend::HealthState;
use miner_core::backend::contract_tests::{Rig, hits};
use miner_core::types::WorkId;
use miner_core::work::NonceRange;
use miner_gpu::kernel::{Form, Majority};
use miner_gpu::{
    Fault, Gpu, GpuBackend, GpuConfig, GpuError, Reading, Searcher, Sensor, Step, TelemetryError, Tuning,
    TuningCache, Watch, Watched,
};

use crate::{Test, tuning};

pub(crate) const TESTS: [Test; 6] = [
    ("with_the_driver_hung_and_the_card_too_hot_no_dispatch_starts", a_hung_driver),
    ("a_card_that_nears_its_cut_off_works_a_part_of_its_time", a_slowed_card),
    ("a_card_that_is_too_hot_from_the_start_is_not_touched", a_hot_start),
    ("a_card_that_becomes_too_hot_in_its_self_test_is_no_lost_one", a_hot_self_test),
    ("a_card_that_becomes_too_hot_in_its_measurement_has_the_kernel_measured_again", a_hot_measurement),
    ("a_card_that_is_measured_alone_rests_at_its_target_and_ends_at_its_cut_off", a_hot_card_alone),
];

/// A guard looks each millisecond; its word counts for so long that a busy machine does not matter.
const WATCH: Watch = Watch { interval: Duration::from_millis(1), patience: Duration::from_secs(20) };

/// A sensor that says what it is told to.
struct Script {
    celsius: AtomicU32,
    looks: AtomicU32,
}

impl Script {
    fn new(celsius: u32) -> Arc<Self> {
        Arc::new(Self { celsius: AtomicU32::new(celsius), looks: AtomicU32::new(0) })
    }

    fn set(&self, celsius: u32) {
        self.celsius.store(celsius, SeqCst);
    }

    /// Waits for looks that began after this.
    fn seen(&self) {
        let looks = self.looks.load(SeqCst);
        until(|| self.looks.load(SeqCst) >= looks + 10);
    }

    /// Leaves time to come to a dispatch that is held up, and then cools down so fast that the card need not rest.
    fn cools_down(&self) {
        (0..10).for_each(|_| self.seen());
        self.set(75);
        self.seen();
        self.set(30);
    }
}

impl Sensor for Script {
    fn source(&self) -> &str {
        "script"
    }

    fn read(&self) -> Result<Reading, TelemetryError> {
        self.looks.fetch_add(1, SeqCst);
        Ok(Reading { celsius: Some(self.celsius.load(SeqCst) as f32), ..Reading::default() })
    }
}

fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "it does not happen");
        thread::sleep(Duration::from_millis(1));
    }
}

fn rig(gpu: &Gpu, script: &Arc<Script>, meet: impl Fn(Step) + Send + Sync + 'static) -> Rig {
    let config = GpuConfig {
        tuning: Some(tuning(None)),
        sensor: Some(Arc::clone(script) as Arc<dyn Sensor>),
        watch: WATCH,
        faults: Some(Arc::new(move |step| {
            meet(step);
            Fault::None
        })),
        ..GpuConfig::default()
    };
    Rig::new(Box::new(GpuBackend::new(gpu.clone(), config)))
}

/// Feeds a unit and finds all of it searched.
fn works(rig: &mut Rig, id: u64, meanwhile: impl FnOnce(&mut Rig)) {
    let unit = rig.unit(id, NonceRange { start: 0, len: 8 << 16 }, 1);
    let (size, wanted) = (unit.size(), hits(&unit));
    rig.feed(unit);
    meanwhile(rig);
    let mut work = rig.finish(WorkId(id));
    work.hits.sort_by_key(|hit| hit.nonce);
    assert_eq!(work.hits, wanted);
    assert_eq!(work.hashes, size);
}

/// The driver hangs right before a submit; meanwhile the card becomes too hot, and then the driver goes on.
fn a_hung_driver(gpu: &Gpu) -> Result<(), Failed> {
    let script = Script::new(60);
    let (hangs, hung) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let submits = Arc::new(AtomicU32::new(0));
    let of_hook = (Arc::clone(&hangs), Arc::clone(&hung), Arc::clone(&submits));
    let mut rig = rig(gpu, &script, move |step| {
        let (hangs, hung, submits) = &of_hook;
        if step == Step::Submit {
            submits.fetch_add(1, SeqCst);
        }
        if step == Step::Ready {
            hung.store(true, SeqCst);
            until(|| !hangs.load(SeqCst));
        }
    });
    works(&mut rig, 0, |rig| {
        until(|| hung.load(SeqCst));
        script.set(95);
        // Told while the thread that drives the device hangs.
        let too_hot = |rig: &Rig| rig.health.last().is_some_and(|health| health.state == HealthState::Sick);
        while !too_hot(rig) {
            rig.next_event();
        }
        let reason = rig.health.last().and_then(|health| health.reason.clone()).unwrap_or_default();
        assert!(reason.contains("too hot"), "{reason}");
        assert_eq!(submits.load(SeqCst), 0);
        hangs.store(false, SeqCst);
        (0..20).for_each(|_| script.seen());
        assert_eq!(submits.load(SeqCst), 0, "a dispatch started on a card that is too hot");
        script.set(60);
    });
    assert!(submits.load(SeqCst) > 0);
    rig.close();
    Ok(())
}

/// At 89 °C, after 60, a card works some 14 % of its time.
fn a_slowed_card(gpu: &Gpu) -> Result<(), Failed> {
    let script = Script::new(60);
    let mut rig = rig(gpu, &script, |_| ());
    let median = |rig: &mut Rig, first: u64| {
        let mut times: Vec<Duration> = (first..first + 5)
            .map(|id| {
                let unit = rig.unit(id, NonceRange { start: 0, len: 64 << 16 }, 1);
                let start = Instant::now();
                rig.feed(unit);
                rig.finish(WorkId(id));
                start.elapsed()
            })
            .collect();
        times.sort();
        times[2].as_secs_f64()
    };
    let cool = median(&mut rig, 0);
    script.set(89);
    script.seen();
    let slowed = median(&mut rig, 10);
    println!("slowed down, a unit takes {:.1} times as long", slowed / cool);
    assert!(slowed > 2.0 * cool, "{slowed} s at 89 °C, {cool} s at 60 °C");
    rig.close();
    Ok(())
}

fn a_hot_start(gpu: &Gpu) -> Result<(), Failed> {
    let script = Script::new(95);
    let opened = Arc::new(AtomicBool::new(false));
    let of_hook = Arc::clone(&opened);
    let mut rig = rig(gpu, &script, move |_| of_hook.store(true, SeqCst));
    works(&mut rig, 0, |_| {
        (0..5).for_each(|_| script.seen());
        assert!(!opened.load(SeqCst));
        script.set(60);
    });
    rig.close();
    let script = Script::new(95);
    let rig = self::rig(gpu, &script, |_| ());
    script.seen();
    rig.close();
    Ok(())
}

fn a_hot_self_test(gpu: &Gpu) -> Result<(), Failed> {
    let script = Script::new(60);
    let (tests, left) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let of_hook = (Arc::clone(&script), Arc::clone(&tests), Arc::clone(&left));
    let mut rig = rig(gpu, &script, move |step| {
        let (script, tests, left) = &of_hook;
        if matches!(step, Step::SelfTest(_)) && tests.fetch_add(1, SeqCst) == 0 {
            script.set(95);
            script.seen();
            left.store(true, SeqCst);
        }
    });
    works(&mut rig, 0, |rig| {
        while rig.health.last().is_none_or(|health| health.state != HealthState::Sick) {
            rig.next_event();
        }
        until(|| left.load(SeqCst));
        // Time for the self-test to come to its first dispatch.
        (0..100).for_each(|_| script.seen());
        script.set(60);
    });
    assert_eq!(tests.load(SeqCst), 2, "tested again once it had cooled");
    let lost = rig.health.iter().find(|health| {
        health.state == HealthState::Sick
            && !health.reason.as_deref().is_some_and(|why| why.starts_with("too hot"))
    });
    assert_eq!(lost, None, "it was only hot");
    rig.close();
    Ok(())
}

/// Only kernels with one way to write maj are right, and the card becomes too hot for each when it is measured first.
fn a_hot_measurement(gpu: &Gpu) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let script = Script::new(60);
    let seen: Arc<Mutex<(u32, Vec<Form>)>> = Arc::default();
    let (of_hook, sensor) = (Arc::clone(&seen), Arc::clone(&script));
    let config = GpuConfig {
        sensor: Some(Arc::clone(&script) as Arc<dyn Sensor>),
        watch: WATCH,
        cache: Some(TuningCache { folder: folder.path().to_owned(), build: "test".to_owned() }),
        faults: Some(Arc::new(move |step| {
            let mut seen = of_hook.lock().expect("no hook panics");
            match step {
                Step::Open => seen.0 += 1,
                Step::SelfTest(form) if form.variant.majority == Majority::Plain => return Fault::Wrong,
                Step::Measure(form) => {
                    if !seen.1.contains(&form) {
                        sensor.set(95);
                        sensor.seen();
                        let sensor = Arc::clone(&sensor);
                        thread::spawn(move || sensor.cools_down());
                    }
                    seen.1.push(form);
                }
                _ => {}
            }
            Fault::None
        })),
        ..GpuConfig::default()
    };
    let mut rig = Rig::new(Box::new(GpuBackend::new(gpu.clone(), config)));
    works(&mut rig, 0, |_| ());
    let (opened, measured) = seen.lock().expect("no hook panics").clone();
    assert_eq!(opened, 1, "no kernel took the device down");
    for form in &measured {
        let times = measured.iter().filter(|other| *other == form).count();
        assert_eq!(times, 2, "{form}, in {} measurements", measured.len());
    }
    assert!(measured.len() > 2 * 3, "more than may take the device down: {measured:?}");
    let lost = rig.health.iter().filter_map(|health| health.reason.as_deref());
    let lost: Vec<&str> =
        lost.filter(|reason| !reason.contains("too hot") && !reason.contains("target")).collect();
    assert!(lost.is_empty(), "it was only hot: {lost:?}");
    rig.close();
    let remembered = std::fs::read_dir(folder.path())?.next().ok_or("nothing is remembered")??;
    let remembered = std::fs::read_to_string(remembered.path())?;
    assert!(remembered.contains("maj=shared") && !remembered.contains("maj=plain"), "{remembered}");
    Ok(())
}

/// As `lode bench` works with a card: nobody waits until it has cooled down.
fn a_hot_card_alone(gpu: &Gpu) -> Result<(), Failed> {
    let too_hot = |error: Option<GpuError>| match error {
        Some(GpuError::Stopped(why)) => {
            assert!(why.starts_with("too hot: stopped at 90 °C") && why.ends_with("it is at 95 °C"), "{why}")
        }
        other => panic!("{other:?}"),
    };
    let script = Script::new(95);
    let sensor = Some(Arc::clone(&script) as Arc<dyn Sensor>);
    let config = GpuConfig { sensor, watch: WATCH, ..GpuConfig::default() };
    let card = Watched::start(gpu.clone(), &config)?;
    too_hot(Searcher::open(&card, Form::DEFAULT).err());
    too_hot(Tuning::of(&card, &mut |_| true).err());

    // It has a tenth of its time when it was stopped.
    script.set(70);
    script.seen();
    let mut searcher = Searcher::open(&card, Form::DEFAULT)?;
    searcher.selftest()?;
    let (start, mut worked) = (Instant::now(), Duration::ZERO);
    for _ in 0..5 {
        worked += searcher.search(&[[0x5a; 80]], 0, 8 << 16, 0)?.took;
    }
    assert!(start.elapsed() > 3 * worked, "{:?} of {:?}", worked, start.elapsed());

    script.set(95);
    script.seen();
    too_hot(searcher.search(&[[0x5a; 80]], 0, 1 << 16, 0).err());
    too_hot(searcher.selftest().err());
    // What is measured ends, and blames no kernel.
    script.set(70);
    script.seen();
    let mut lost = Vec::new();
    too_hot(
        Tuning::of(&card, &mut |trial| {
            lost.extend(trial.rate.err());
            script.set(95);
            script.seen();
            true
        })
        .err(),
    );
    assert_eq!(lost, []);
    Ok(())
}
