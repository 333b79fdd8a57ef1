//! `lode bench`: measuring, comparing, stressing.

use std::fmt::Display;
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::time::{Duration, Instant};

use lode::bench::stress::{self, StressConfig, StressStep};
use lode::bench::{self, BenchConfig, Comparison, Progress, Step, Stop, Variant};
use lode::cpu::CpuSetup;
use lode::cpu::choice::Choice;
use lode::explain::{Exit, Explain, Explanation};
use lode::mine::MineError;
use lode::report::format;
use lode::settings::{BenchCpu, BenchSettings, BenchTask, CpuSettings};
use miner_core::cpu::{CpuConfig, Kernel, Kernels};
use miner_core::sha256d::IsaChoice;
use miner_core::types::HashRate;
use serde::Serialize;

use super::to_json;
use crate::print;

/// `lode bench`.
pub(crate) fn bench(settings: BenchSettings) -> Result<Exit, Explanation> {
    let BenchSettings { task, chart, json, quiet } = settings;
    let (chart, manner) = (chart.as_deref(), Manner { json, quiet });
    match task {
        BenchTask::Measure { cpu, time, save } => measure(&cpu, time, save.as_deref(), chart, manner),
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
    let mut printed = manner.print(&report);
    if !manner.json && !stop.is_asked() {
        printed = print(&format!("\n`lode mine` takes {}\n", choose_as_mining(cpu)?.describe()));
    }
    save.map_or(Ok(()), |path| bench::save(path, &report)).map_err(|error| error.explain())?;
    if !report.rows.is_empty() {
        chart.map_or(Ok(()), |path| bench::of_report(path, &report)).map_err(|error| error.explain())?;
    }
    Ok(exit(report.mismatch.is_none(), printed, &stop))
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
    let variants = if takes_turns(cpu.isa.as_deref()) {
        Variant::of(choice.candidates())
    } else {
        mined(choose_as_mining(cpu)?.kernels)
    };
    let config = StressConfig { variants, threads: threads(cpu), duration, hook: None };
    let (stop, mut progress) = (stop()?, Progress::new(manner.quiet, Instant::now()));
    let report = stress::run(&config, &stop, |step| progress.show(Instant::now(), || stressing(step)));
    progress.end();
    let report = report.map_err(|error| error.explain())?;
    Ok(exit(report.is_sound(), manner.print(&report), &stop))
}

/// What `lode mine` would choose.
fn choose_as_mining(cpu: &BenchCpu) -> Result<Choice, Explanation> {
    let isa = cpu.isa.clone().filter(|isa| isa != "all");
    let setup = CpuSetup::new(&CpuSettings { isa, ..CpuSettings::default() }, false);
    let choice = setup.and_then(|setup| Ok(setup.choose()?));
    choice.map_err(|error| error.explain())
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
    use lode::event::EndReason;

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
    fn kernels_take_turns_where_they_are_named() {
        for (isa, turns) in [(None, false), (Some("auto"), false), (Some("-avx512"), false)] {
            assert_eq!(takes_turns(isa), turns, "{isa:?}");
        }
        assert!(takes_turns(Some("all")) && takes_turns(Some("avx2,avx512")));
    }
}
