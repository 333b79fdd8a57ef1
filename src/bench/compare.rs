//! Two results side by side, with what must be known before they are believed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::{BenchReport, BenchRow, Key};
use super::spread::Spread;
use super::verdict::{Change, ENOUGH_WINDOWS};

/// Two results side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// `lode_bench_comparison`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The version of this form.
    pub v: u32,
    /// Where the first comes from.
    pub a: Side,
    /// Where the second comes from.
    pub b: Side,
    /// What differs between them besides the figures, or is wrong with one of them.
    pub notes: Vec<String>,
    /// What both measured.
    pub rows: Vec<ComparedRow>,
    /// What only the first measured.
    pub only_a: Vec<Key>,
    /// What only the second measured.
    pub only_b: Vec<Key>,
}

/// Where one of the results comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The file as it was named.
    pub file: String,
    /// When the run ended.
    pub ts: String,
    /// Version and commit of lode.
    pub build: String,
    /// The processor.
    pub cpu: Option<String>,
}

/// What both results say of one kernel in one form with one number of threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRow {
    /// What it is about.
    #[serde(flatten)]
    pub key: Key,
    /// Rate of the first, in hashes a second.
    pub a_hs: Spread,
    /// Rate of the second.
    pub b_hs: Spread,
    /// What became of the rate.
    pub rate: Change,
    /// What became of the rate over the baseline's: without the drift of the clock and the neighbours.
    pub against_baseline: Change,
}

impl Comparison {
    /// Compares two results, each with the name of its file.
    pub fn of((a_file, a): (&str, &BenchReport), (b_file, b): (&str, &BenchReport)) -> Self {
        let (of_a, mut of_b) = (by_key(a), by_key(b));
        let (mut rows, mut only_a) = (Vec::new(), Vec::new());
        for row in &a.rows {
            let key = row.key();
            match of_b.remove(&key) {
                Some(other) => {
                    let windows = row.windows.min(other.windows);
                    rows.push(ComparedRow {
                        key,
                        a_hs: row.rate_hs,
                        b_hs: other.rate_hs,
                        rate: Change::between(&row.rate_hs, &other.rate_hs, windows),
                        against_baseline: Change::between(&row.ratio, &other.ratio, windows),
                    });
                }
                None => only_a.push(key),
            }
        }
        let only_b = b.rows.iter().map(BenchRow::key).filter(|key| !of_a.contains_key(key)).collect();
        Self {
            kind: "lode_bench_comparison",
            v: super::report::FORM,
            a: Side::of(a_file, a),
            b: Side::of(b_file, b),
            notes: notes(a, b),
            rows,
            only_a,
            only_b,
        }
    }
}

impl Side {
    fn of(file: &str, report: &BenchReport) -> Self {
        Self {
            file: file.to_owned(),
            ts: report.ts.clone(),
            build: format!("{} ({})", report.build.version, report.build.commit),
            cpu: report.machine.cpu.name.clone(),
        }
    }
}

fn by_key(report: &BenchReport) -> BTreeMap<Key, &BenchRow> {
    report.rows.iter().map(|row| (row.key(), row)).collect()
}

/// A fact's name and what both results say of it.
type Told = (&'static str, Option<String>, Option<String>);

/// What differs, then what is wrong.
fn notes(a: &BenchReport, b: &BenchReport) -> Vec<String> {
    let unknown = |fact: Option<String>| fact.unwrap_or_else(|| "unknown".to_owned());
    let differ = [machine(a, b), build(a, b)].into_iter().flatten().filter(|(_, a, b)| a != b);
    let mut notes: Vec<String> =
        differ.map(|(what, a, b)| format!("{what} differs: {} | {}", unknown(a), unknown(b))).collect();
    if a.row_s != b.row_s || a.window_ms != b.window_ms {
        notes.push(format!("time for each row differs: {} s | {} s", a.row_s, b.row_s));
    }
    for (name, report) in [("A", a), ("B", b)] {
        if !report.complete {
            notes.push(format!("{name} is partial: its run was stopped"));
        }
        if let Some(percent) = report.percent_disturbed() {
            notes.push(format!(
                "{name} was disturbed: other programs took up to {percent:.0} % of the CPU time"
            ));
        }
        let few = report.rows.iter().filter(|row| row.windows < ENOUGH_WINDOWS).count();
        if few > 0 {
            notes.push(format!(
                "{name} has {few} of {} rows with fewer than {ENOUGH_WINDOWS} windows: they show no difference",
                report.rows.len()
            ));
        }
        if let Some(wrong) = &report.mismatch {
            notes.push(format!("{name} computed wrongly ({}): its figures mean nothing", wrong.kernel));
        }
        if report.build.profile == "debug" {
            notes.push(format!("{name} is a debug build: its figures say nothing about speed"));
        }
    }
    notes
}

fn machine(a: &BenchReport, b: &BenchReport) -> Vec<Told> {
    let number = |number: Option<usize>| number.map(|number| number.to_string());
    let gpus = |report: &BenchReport| {
        let names = report.gpus.iter().map(|gpu| format!("{}, {} {}", gpu.name, gpu.api, gpu.driver));
        Some(names.collect::<Vec<_>>().join("; ")).filter(|names| !names.is_empty())
    };
    let gpus = (gpus(a), gpus(b));
    let (a, b) = (&a.machine, &b.machine);
    vec![
        ("GPUs", gpus.0, gpus.1),
        ("machine", a.cpu.name.clone(), b.cpu.name.clone()),
        ("number of logical CPUs", number(a.cpu.logical), number(b.cpu.logical)),
        ("microcode", a.cpu.microcode.clone(), b.cpu.microcode.clone()),
        ("governor", a.cpu.governor.clone(), b.cpu.governor.clone()),
        ("operating system's kernel", a.kernel.clone(), b.kernel.clone()),
        ("virtualisation", a.virtualisation.clone(), b.virtualisation.clone()),
    ]
}

fn build(a: &BenchReport, b: &BenchReport) -> Vec<Told> {
    let (a, b) = (&a.build, &b.build);
    let lode =
        |build: &super::Build| Some(format!("{} ({}, {})", build.version, build.commit, build.profile));
    vec![
        ("build", lode(a), lode(b)),
        ("target", Some(a.target.clone()), Some(b.target.clone())),
        ("compiler", Some(a.compiler.clone()), Some(b.compiler.clone())),
    ]
}
