//! Stress runs in small, with and without planted errors.

use std::sync::Mutex;

use miner_core::sha256d::Isa;

use super::*;
use crate::event::EndReason;

fn config(hook: Option<ScanHook>) -> StressConfig {
    let variants =
        Isa::available().into_iter().flat_map(|isa| [1, 4].map(|versions| Variant { isa, versions }));
    StressConfig {
        variants: variants.collect(),
        threads: NonZero::new(2).unwrap(),
        duration: Duration::from_millis(1),
        hook,
    }
}

/// A run whose hook, given thread, number of the scan and hits, says when it is enough, whatever the clock says.
fn run_until(
    hook: impl Fn(usize, u64, &mut Vec<(u32, u32)>) -> bool + Send + Sync + 'static,
) -> StressReport {
    let (stop, count) = (Stop::default(), Mutex::new(0));
    let asked = stop.clone();
    let hook: ScanHook = Arc::new(move |thread, hits: &mut Vec<_>| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if hook(thread, *count, hits) {
            asked.ask(EndReason::Interrupted);
        }
    });
    run(&StressConfig { duration: Duration::from_secs(3600), ..config(Some(hook)) }, &stop, |_| {}).unwrap()
}

#[test]
fn a_sound_machine_shows_no_error() {
    let report = run_until(|_, count, _| count >= 20);
    assert!(report.is_sound() && !report.complete, "{report:?}");
    assert!(report.hashes >= 20 << 14 && report.rate_hs > 0.0);
    assert_eq!(report.threads.len(), 2);
    let text = report.to_string();
    assert!(text.contains("no errors") && text.contains("PARTIAL"), "{text}");
}

#[test]
fn a_hit_that_is_lost_is_an_error_of_its_thread() {
    let report = run_until(|thread, count, hits| {
        if thread == 1 {
            hits.pop();
        }
        thread == 1 && count >= 20
    });
    let missed = report.threads[1].errors().missed;
    assert!(!report.is_sound() && missed > 0, "{report:?}");
    assert_eq!(report.errors, Errors { missed, ..Errors::default() });
    assert_eq!(report.threads[0].errors(), Errors::default());
    let fault = &report.threads[1].faults[0];
    assert_eq!(fault.fault, Fault::Missed);
    assert_eq!(fault.header.as_ref().unwrap().len(), 160);
    assert!(report.threads[1].faults.len() <= MAX_FAULTS);
    assert!(report.to_string().contains("this machine computes wrongly"), "{report}");
}

#[test]
fn one_flipped_bit_is_noticed() {
    let report = run_until(|_, count, hits| {
        if count == 5 {
            hits[0].1 ^= 1 << 20;
        }
        count >= 10
    });
    assert_eq!(report.errors, Errors { wrong: 1, missed: 1, reference: 0 });
}

#[test]
fn time_ends_it() {
    let (config, mut steps) = (config(None), Vec::new());
    let report = run(&config, &Stop::default(), |step| steps.push(step.clone())).unwrap();
    assert!(report.complete && report.errors == Errors::default(), "{report:?}");
    assert!(report.elapsed_s >= config.duration.as_secs_f64());
    assert!(steps.windows(2).all(|pair| pair[0].elapsed < pair[1].elapsed) && !steps.is_empty());
    assert_eq!(
        report.samples.last().map(|sample| sample.t_s),
        Some(steps.last().unwrap().elapsed.as_secs_f64())
    );
}

#[test]
fn turns_are_of_one_length_and_come_round() {
    let config = StressConfig { duration: Duration::from_secs(3600), ..config(None) };
    let (shared, kernels) = (Shared::new(&config, Instant::now()), config.variants.len());
    assert_eq!(shared.turn, TURN);
    for turn in 0..3 * kernels {
        assert_eq!(shared.turn_at(TURN * turn as u32 + TURN / 2), turn % kernels);
    }
}

#[test]
fn a_kernel_that_never_ran_is_named_and_not_sound() {
    let config = config(None);
    let of = |complete, hashes: &[(usize, usize)]| {
        let mut threads: Vec<_> =
            (0..2).map(|thread| ThreadTally::new(thread, None, &config.variants)).collect();
        for &(thread, kernel) in hashes {
            threads[thread].kernels[kernel].hashes = 1;
        }
        StressReport::of(&config, complete, Duration::from_secs(1), threads, Vec::new())
    };
    let all: Vec<_> = (0..config.variants.len()).map(|kernel| (kernel % 2, kernel)).collect();
    let report = of(true, &all);
    assert!(report.is_sound() && !report.to_string().contains("NOT TESTED"), "{report}");
    let report = of(true, &all[..1]);
    assert!(!report.is_sound() && report.to_string().contains("NOT TESTED: portable x4"), "{report}");
    assert!(of(false, &all[..1]).is_sound(), "a run that was stopped promises nothing");
}

#[test]
fn the_least_time_has_a_turn_for_each_kernel() {
    let kernels = config(None).variants.len();
    let config = StressConfig { duration: least(kernels), ..config(None) };
    let shared = Shared::new(&config, Instant::now());
    assert_eq!(shared.turn * kernels as u32, config.duration);
}

#[test]
fn nothing_to_stress_is_an_error() {
    let config = StressConfig { variants: Vec::new(), ..config(None) };
    assert!(matches!(run(&config, &Stop::default(), |_| {}), Err(BenchError::Nothing)));
}
