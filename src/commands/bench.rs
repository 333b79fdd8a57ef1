//! `lode bench`: measuring, comparing, stressing.

#[cfg(feature = "gpu")]
mod gpu;

use std::fmt::Display;
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::time::{Duration, Instant};

use lode::bench::stress::{self, StressConfig, StressStep};
use lode::bench::{self, BenchConfig, BenchReport, Comparison, Progress, Saved, Step, Stop, Variant};
use lode::cpu::choice::{Choice, Failure, NoKernel};
use lode::cpu::probe::ProbeError;
use lode::cpu::{CpuSetup, SetupError};
use lode::explain::{Exit, Explain, Explanation};
use lode::mine::MineError;
use lode::report::format;
use lode::settings::{BenchCpu, BenchSettings, BenchTask, CpuSettings};
use miner_core::cpu::{CpuConfig, Kernel, Kernels};
use miner_core::sha256d::IsaChoice;
use miner_core::types::HashRate;
use serde::Serialize;

use super::to_json;
use crate::{complain, print};

/// `lode bench`.
pub(crate) fn bench(settings: BenchSettings) -> Result<Exit, Explanation> {
    let BenchSettings { task, chart, json, quiet } = settings;
    let (chart, manner) = (chart.as_deref(), Manner { json, quiet });
    match task {
        BenchTask::Measure { cpu, time, save } => measure(&cpu, time, save.as_deref(), chart, manner),
        #[cfg(feature = "gpu")]
        BenchTask::Gpu { gpu, threads, time, save } => {
            gpu::measure(&gpu::Task { gpu: &gpu, threads, time, save: save.as_deref(), chart }, manner)
        }
        #[cfg(not(feature = "gpu"))]
        BenchTask::Gpu { .. } => Err(lode::gpu::GpuProblem::NotBuilt.explain()),
        BenchTask::Compare { a, b } => compare(&a, &b, chart, manner),
        BenchTask::Stress { cpu, duration } => stress(&cpu, duration, manner),
    }
}

/// How things are told.
#[derive(Clone, Copy)]
struct Manner {
    json: bool,
    quiet: bool,
}

impl Manner {
    fn print(self, result: &(impl Display + Serialize)) -> Exit {
        print(&if self.json { to_json(result) } else { format!("{result}\n") })
    }
}

fn measure(
    cpu: &BenchCpu,
    time: Duration,
    save: Option<&Path>,
    chart: Option<&Path>,
    manner: Manner,
) -> Result<Exit, Explanation> {
    // Before the time is spent.
    save.map_or(Ok(()), bench::check_place).map_err(|error| error.explain())?;
    chart.map_or(Ok(()), bench::check_chart).map_err(|error| error.explain())?;
    let mut threads = vec![NonZero::<usize>::MIN, threads(cpu)];
    threads.dedup();
    let variants = Variant::of(choice(cpu)?.candidates());
    let config = BenchConfig { variants, threads, duration: time };
    let (stop, mut progress) = (stop()?, Progress::new(manner.quiet, Instant::now()));
    let report = bench::run(&config, &stop, |step| progress.show(Instant::now(), || measuring(step)));
    progress.end();
    let report = report.map_err(|error| error.explain())?;
    let mut printed = write(&report, save, chart, manner);
    if !manner.json && !stop.is_asked() {
        let taken = match choose_as_mining(cpu) {
            Ok(choice) => format!("takes {}", choice.describe()),
            Err(error) => format!("could not choose: {error}"),
        };
        printed = worse(printed, print(&format!("\n`lode mine` {taken}\n")));
    }
    Ok(exit(report.mismatch.is_none(), printed, &stop))
}

/// Prints a result, saves it and draws it, as far as that was asked for; says what fails.
fn write(report: &BenchReport, save: Option<&Path>, chart: Option<&Path>, manner: Manner) -> Exit {
    let mut printed = manner.print(report);
    for failed in [save.map(|path| keep(path, report)), chart.map(|path| draw(path, report))] {
        if let Some(Err(explanation)) = failed {
            complain(&explanation.to_string());
            printed = worse(printed, explanation.exit);
        }
    }
    printed
}

/// Saves a result, or says why not.
fn keep(path: &Path, report: &BenchReport) -> Result<(), Explanation> {
    let name = || format::printable(&path.display().to_string());
    match bench::save(path, report).map_err(|error| error.explain())? {
        Saved::Whole => {}
        Saved::Nothing => complain(&format!("nothing was measured: {} is not written", name())),
        Saved::Kept => {
            complain(&format!("{} holds a complete result: this partial one does not replace it", name()));
        }
    }
    Ok(())
}

fn draw(path: &Path, report: &BenchReport) -> Result<(), Explanation> {
    if report.rows.is_empty() {
        return Ok(());
    }
    bench::of_report(path, report).map_err(|error| error.explain())
}

/// What failed stays failed.
fn worse(first: Exit, second: Exit) -> Exit {
    if first == Exit::Ok { second } else { first }
}

fn compare(a: &Path, b: &Path, chart: Option<&Path>, manner: Manner) -> Result<Exit, Explanation> {
    chart.map_or(Ok(()), bench::check_chart).map_err(|error| error.explain())?;
    let load = |path| bench::load(path).map_err(|error| error.explain());
    let (first, second) = (load(a)?, load(b)?);
    let name = |path: &Path| format::printable(&path.display().to_string());
    let comparison = Comparison::of((&name(a), &first), (&name(b), &second));
    let printed = manner.print(&comparison);
    chart.map_or(Ok(()), |path| bench::of_comparison(path, &comparison)).map_err(|error| error.explain())?;
    Ok(printed)
}

fn stress(cpu: &BenchCpu, duration: Duration, manner: Manner) -> Result<Exit, Explanation> {
    let choice = choice(cpu)?;
    let (variants, failed) = if takes_turns(cpu.isa.as_deref()) {
        (Variant::of(choice.candidates()), Vec::new())
    } else {
        let Choice { kernels, failed, .. } = choose_as_mining(cpu).map_err(|error| unusable(&error))?;
        (mined(kernels), failed)
    };
    check_duration(duration, variants.len())?;
    for failure in &failed {
        complain(&format!("a kernel is left out of the stress test: {failure}"));
    }
    let config = StressConfig { variants, threads: threads(cpu), duration, hook: None };
    let (stop, mut progress) = (stop()?, Progress::new(manner.quiet, Instant::now()));
    let report = stress::run(&config, &stop, |step| progress.show(Instant::now(), || stressing(step)));
    progress.end();
    let report = report.map_err(|error| error.explain())?;
    let is_sound = report.is_sound() && !failed.iter().any(is_unsound);
    Ok(exit(is_sound, manner.print(&report), &stop))
}

/// Each kernel is to have its turn.
fn check_duration(duration: Duration, kernels: usize) -> Result<(), Explanation> {
    let least = stress::least(kernels);
    if duration >= least {
        return Ok(());
    }
    let what =
        format!("--stress is {:.1} s: too short for {kernels} kernels to take turns", duration.as_secs_f64());
    let advice = format!("give at least {} s, or name fewer kernels by --isa", least.as_secs_f64().ceil());
    Err(Explanation { what, place: None, advice: Some(advice), exit: Exit::Usage })
}

/// A kernel that computes wrongly or crashes tells of the machine; one that could not be measured, of nothing.
fn is_unsound(failure: &Failure) -> bool {
    matches!(failure.error, ProbeError::Wrong(_) | ProbeError::Crashes(_) | ProbeError::Nonsense)
}

/// What `lode mine` would choose.
fn choose_as_mining(cpu: &BenchCpu) -> Result<Choice, SetupError> {
    let isa = cpu.isa.clone().filter(|isa| isa != "all");
    let setup = CpuSetup::new(&CpuSettings { isa, ..CpuSettings::default() }, false);
    setup.and_then(|setup| Ok(setup.choose()?))
}

/// Where every kernel failed, how they did counts as in a stress test.
fn unusable(error: &SetupError) -> Explanation {
    let mut explanation = error.explain();
    if matches!(error, SetupError::NoKernel(NoKernel(failed)) if failed.iter().any(is_unsound)) {
        explanation.exit = Exit::Mismatch;
    }
    explanation
}

/// The forms of kernels that mining uses.
fn mined(Kernels { plain, rolled }: Kernels) -> Vec<Variant> {
    let rolled = rolled.map(|Kernel { isa, .. }| Variant { isa, versions: isa.versions() });
    std::iter::once(Variant::plain(plain.isa)).chain(rolled).collect()
}

/// Kernels that were named take turns; of those that were not left out, the fastest runs.
fn takes_turns(isa: Option<&str>) -> bool {
    isa.is_some_and(|isa| isa != "auto" && !isa.starts_with('-'))
}

fn choice(cpu: &BenchCpu) -> Result<IsaChoice, Explanation> {
    match cpu.isa.as_deref() {
        None | Some("all") => Ok(IsaChoice::auto()),
        Some(text) => IsaChoice::parse(text).map_err(|error| error.explain()),
    }
}

fn threads(cpu: &BenchCpu) -> NonZero<usize> {
    cpu.threads.unwrap_or(CpuConfig::default().threads)
}

fn stop() -> Result<Stop, Explanation> {
    let failed = |source: io::Error| MineError::Os { context: "cannot listen for signals", source }.explain();
    Stop::on_signals().map_err(failed)
}

/// Wrong answers count more than anything else, then what was written, then why it ended.
fn exit(is_sound: bool, printed: Exit, stop: &Stop) -> Exit {
    match (is_sound, printed) {
        (false, _) => Exit::Mismatch,
        (true, Exit::Ok) => stop.exit(),
        (true, failed) => failed,
    }
}

fn measuring(step: &Step) -> String {
    let Step { done, rows, variant, threads, rate_hs } = step;
    let plural = if *threads == 1 { "" } else { "s" };
    let rate = rate_hs.map_or_else(String::new, |rate| format!(": {}", format::rate(HashRate(rate))));
    format!("measuring {} of {rows}: {variant}, {threads} thread{plural}{rate}", done + 1)
}

fn stressing(step: &StressStep) -> String {
    let StressStep { elapsed, duration, variant, rate_hs, celsius, errors } = step;
    let (elapsed, duration) = (format::duration(*elapsed), format::duration(*duration));
    let celsius = celsius.map_or_else(String::new, |celsius| format!(", {celsius:.0} °C"));
    let rate = format::rate(HashRate(*rate_hs));
    format!("{elapsed} of {duration}: {variant}, {rate}{celsius}, {errors} errors")
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use lode::event::EndReason;
    use miner_core::sha256d::Isa;

    use super::*;

    #[test]
    fn wrong_answers_count_more_than_how_it_ended() {
        let stop = Stop::default();
        assert_eq!(exit(true, Exit::Ok, &stop), Exit::Ok);
        assert_eq!(exit(true, Exit::Failed, &stop), Exit::Failed);
        assert_eq!(exit(false, Exit::Failed, &stop), Exit::Mismatch);
        stop.ask(EndReason::Interrupted);
        assert_eq!(exit(true, Exit::Ok, &stop), Exit::Interrupted);
        assert_eq!(exit(false, Exit::Ok, &stop), Exit::Mismatch);
    }

    #[test]
    fn what_failed_stays_failed() {
        assert_eq!(worse(Exit::Ok, Exit::Ok), Exit::Ok);
        assert_eq!(worse(Exit::Ok, Exit::Usage), Exit::Usage);
        assert_eq!(worse(Exit::Failed, Exit::Ok), Exit::Failed);
    }

    #[test]
    fn a_kernel_that_computes_wrongly_or_crashes_is_not_sound() {
        let is_unsound = |error| is_unsound(&Failure { isa: Isa::available()[0], error });
        assert!(is_unsound(ProbeError::Wrong("nonce 7".to_owned())));
        assert!(is_unsound(ProbeError::Crashes(ExitStatus::default())));
        assert!(is_unsound(ProbeError::Nonsense));
        assert!(!is_unsound(ProbeError::Hangs(Duration::from_secs(1))));
        assert!(!is_unsound(ProbeError::Failed("why".to_owned())));
        let none = |error| NoKernel(vec![Failure { isa: Isa::available()[0], error }]).into();
        assert_eq!(unusable(&none(ProbeError::Nonsense)).exit, Exit::Mismatch);
        assert_eq!(unusable(&none(ProbeError::Failed("why".to_owned()))).exit, Exit::NoDevice);
    }

    #[test]
    fn a_time_too_short_for_all_kernels_is_refused_with_one_that_is_not() {
        let short = check_duration(Duration::from_secs(1), 6).unwrap_err();
        assert_eq!(short.exit, Exit::Usage);
        assert!(short.to_string().contains("give at least 2 s"), "{short}");
        assert!(check_duration(Duration::from_secs(2), 6).is_ok());
        assert!(check_duration(Duration::from_secs(1), 5).is_ok());
    }

    #[test]
    fn kernels_take_turns_where_they_are_named() {
        for (isa, turns) in [(None, false), (Some("auto"), false), (Some("-avx512"), false)] {
            assert_eq!(takes_turns(isa), turns, "{isa:?}");
        }
        assert!(takes_turns(Some("all")) && takes_turns(Some("avx2,avx512")));
    }
}
