//! A run, its file, its comparison and its chart, from end to end.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miner_core::sha256d::Isa;
use serde_json::{Value, json};

use super::*;
use crate::event::EndReason;

fn config(variants: Vec<Variant>, threads: &[usize]) -> BenchConfig {
    let threads = threads.iter().map(|&threads| NonZero::new(threads).unwrap()).collect();
    BenchConfig { variants, threads, duration: Duration::ZERO }
}

/// Every kernel, plain and over a few versions.
fn variants() -> Vec<Variant> {
    Isa::available().into_iter().flat_map(|isa| [1, 4].map(|versions| Variant { isa, versions })).collect()
}

#[test]
fn every_kernel_is_measured_in_every_form_with_every_number_of_threads() {
    let mut steps: Vec<Step> = Vec::new();
    let report =
        run(&config(variants(), &[1, 2]), &Stop::default(), |step| steps.push(step.clone())).unwrap();
    assert_eq!(report.mismatch, None);
    assert!(report.complete);
    assert_eq!(report.rows.len(), 4 * Isa::available().len());
    steps.retain(|step| step.rate_hs.is_none());
    for (done, (step, row)) in steps.iter().zip(&report.rows).enumerate() {
        assert_eq!((step.done, step.rows), (done, report.rows.len()));
        assert_eq!(Key::new(step.variant, step.threads), row.key());
        assert!(
            row.rate_hs.is_sound() && row.ratio.is_sound() && row.hits > 0 && row.windows >= 3,
            "{row:?}"
        );
        assert_eq!(row.cycles_per_hash.is_some(), report.cycles.source.is_some(), "{row:?}");
    }
    assert_eq!(steps.len(), report.rows.len());
    assert!(report.baseline_hs.unwrap().is_sound());
    let table = report.to_string();
    assert!(table.ends_with("all answers right, checksum 4e256c27"), "{table}");
    assert!(table.contains("portable x4"), "{table}");
}

#[test]
fn a_run_that_is_stopped_tells_what_it_has() {
    let stop = Stop::default();
    let config = BenchConfig { duration: Duration::from_secs(3600), ..config(variants(), &[1]) };
    let mut windows = 0;
    let report = run(&config, &stop, |step| {
        windows += usize::from(step.rate_hs.is_some());
        if windows == 2 {
            stop.ask(EndReason::Interrupted);
        }
    });
    let report = report.unwrap();
    assert!(!report.complete && report.mismatch.is_none());
    assert_eq!((report.rows.len(), report.rows[0].windows), (1, 2));
    assert!(report.to_string().contains("PARTIAL"), "{report}");
}

#[test]
fn a_run_that_is_stopped_at_once_has_nothing() {
    let stop = Stop::default();
    stop.ask(EndReason::Terminated);
    let report = run(&config(variants(), &[1]), &stop, |_| {}).unwrap();
    assert!(!report.complete && report.rows.is_empty() && report.baseline_hs.is_none());
}

#[test]
fn nothing_to_measure_is_an_error() {
    assert!(matches!(run(&config(vec![], &[1]), &Stop::default(), |_| {}), Err(BenchError::Nothing)));
    assert!(matches!(run(&config(variants(), &[]), &Stop::default(), |_| {}), Err(BenchError::Nothing)));
}

/// A result that no machine had to be measured for.
fn report() -> BenchReport {
    let spread = |median: f64| Spread { p10: 0.98 * median, median, p90: 1.02 * median };
    let row = |kernel: &str, versions, threads, mhs: f64| BenchRow {
        kernel: kernel.to_owned(),
        versions,
        threads,
        rate_hs: spread(mhs * 1e6),
        ratio: spread(mhs / 6.0),
        cycles_per_hash: (threads == 1).then(|| spread(3600.0 / mhs)),
        cpu_share: Some(0.99),
        windows: 100,
        windows_left_out: 0,
        hits: 1234,
        gpu: None,
    };
    let mut report = BenchReport::begin(1.0);
    report.ts = "2026-11-22T02:00:00.000Z".to_owned();
    report.build = Build { profile: "release".to_owned(), ..report.build };
    report.cycles = Cycles { source: Some("perf_event_open".to_owned()), reason: None };
    report.machine.cpu.name = Some("Test CPU <1> & \"2\"".to_owned());
    report.baseline_hs = Some(spread(6e6));
    report.rows = vec![row("portable", 1, 1, 3.0), row("avx512", 1, 1, 36.0), row("avx512", 1, 2, 71.0)];
    report.rows.push(row("avx512", 32, 1, 44.0));
    report.rows.push(row("avx512", 32, 2, 87.0));
    report
}

/// One of GPUs.
fn gpu_report() -> BenchReport {
    let spread = |median: f64| Spread { p10: 0.98 * median, median, p90: 1.02 * median };
    let device = "gpu:0000:01:00.0";
    let figures = |chosen| GpuFigures {
        device: device.to_owned(),
        rotate: "const".to_owned(),
        ch: "xor".to_owned(),
        maj: "plain".to_owned(),
        workgroup: 64,
        nonces: 64,
        operations: 2442.0,
        dispatch_ms: spread(20.0),
        tuned_hs: 8.5e9,
        chosen,
    };
    let row = |versions, mhs: f64, chosen| BenchRow {
        kernel: format!("{device} const/xor/plain 64x64"),
        versions,
        threads: 1,
        rate_hs: spread(mhs * 1e6),
        ratio: spread(mhs / 20.0),
        cycles_per_hash: None,
        cpu_share: None,
        windows: 50,
        windows_left_out: 0,
        hits: 3200,
        gpu: Some(figures(chosen)),
    };
    let lost = LostKernel {
        kernel: format!("{device} uniform/xor/plain 64x64"),
        versions: 1,
        why: "no answer for 10 s".to_owned(),
    };
    let beside = Beside { threads: 8, all_hs: spread(8.8e9), fewer_hs: spread(8.7e9), ratio: spread(1.01) };
    let gpu = BenchGpu {
        device: device.to_owned(),
        name: "A card".to_owned(),
        api: "Vulkan".to_owned(),
        driver: "driver 1.0".to_owned(),
        lost: vec![lost],
        problem: Some("lost by its driver: reset".to_owned()),
        beside: Some(beside),
        ..BenchGpu::default()
    };
    let rows = vec![row(1, 8000.0, true), row(2, 8600.0, true), row(4, 8400.0, false)];
    BenchReport { rows, gpus: vec![gpu], baseline_threads: 2, baseline_hs: Some(spread(2e7)), ..report() }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

#[test]
fn the_fastest_kernel_of_a_gpu_comes_first_and_what_is_chosen_is_marked() {
    let table = gpu_report().to_string();
    let place = |text: &str| table.find(text).unwrap_or_else(|| panic!("no {text:?} in\n{table}"));
    assert!(place("gpu:0000:01:00.0  A card, Vulkan driver 1.0") < place("8600.00"), "{table}");
    assert!(place("8600.00") < place("8400.00") && place("8400.00") < place("8000.00"), "{table}");
    assert_eq!(table.matches(" chosen").count(), 2, "{table}");
    for text in [
        "430.00",
        "2442.0",
        "20.0",
        "8500.00",
        "lost: gpu:0000:01:00.0 uniform/xor/plain 64x64, versions 1: no answer",
    ] {
        place(text);
    }
    place("with 8 CPU threads 8800.00 MH/s together, with 7 8700.00: x 1.010");
    place("not everything was measured: lost by its driver");
    place("sha2 crate, 2 threads: 20.00 MH/s");
    assert!(table.ends_with("checksum 4e256c27") && !table.contains("cycles"), "{table}");
}

#[test]
fn results_of_gpus_are_compared_kernel_by_kernel() {
    let other = BenchReport { gpus: vec![], ..gpu_report() };
    let compared = Comparison::of(("a", &gpu_report()), ("b", &other));
    assert_eq!((compared.rows.len(), compared.only_a.len(), compared.only_b.len()), (3, 0, 0));
    assert!(compared.notes.iter().any(|note| note.starts_with("GPUs differs: A card, Vulkan")), "{compared}");
    assert!(compared.to_string().contains("gpu:0000:01:00.0 const/xor/plain 64x64 x2"), "{compared}");
}

#[test]
fn a_result_from_before_there_were_gpus_can_still_be_read() {
    let folder = Folder::new();
    let mut old = serde_json::to_value(report()).unwrap();
    for field in ["baseline_threads", "gpus"] {
        old.as_object_mut().unwrap().remove(field);
    }
    for row in old["rows"].as_array_mut().unwrap() {
        row.as_object_mut().unwrap().remove("gpu");
    }
    assert_eq!(load(&folder.write("old.json", old.to_string())).unwrap(), report());
}

#[test]
fn a_result_survives_its_file() {
    let folder = Folder::new();
    let path = folder.path("result.json");
    save(&path, &gpu_report()).unwrap();
    assert_eq!(load(&path).unwrap(), gpu_report());
    let mut spoilt = serde_json::to_value(gpu_report()).unwrap();
    spoilt["gpus"][0]["beside"]["all_hs"]["p10"] = json!(0);
    let spoilt = folder.write("spoilt.json", spoilt.to_string());
    assert!(matches!(load(&spoilt), Err(FileError::NotAResult { .. })));
    fs::remove_file(spoilt).unwrap();
    save(&path, &report()).unwrap();
    assert_eq!(load(&path).unwrap(), report());
    let newer = BenchReport { row_s: 2.0, ..report() };
    save(&path, &newer).unwrap();
    assert_eq!(load(&path).unwrap(), newer, "a result gives way to a newer one");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1, "nothing else is left behind");
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o400, 0o400);
        symlink(&path, folder.path("link")).unwrap();
        assert_eq!(save(&folder.path("link"), &report()).unwrap(), Saved::Whole);
        assert!(fs::symlink_metadata(folder.path("link")).unwrap().is_symlink(), "a link stays one");
        assert_eq!(load(&path).unwrap(), report());
    }
}

#[test]
fn nothing_and_less_never_take_the_place_of_more() {
    let folder = Folder::new();
    let path = folder.path("result.json");
    let nothing = BenchReport { rows: Vec::new(), ..report() };
    assert_eq!(save(&path, &nothing).unwrap(), Saved::Nothing);
    assert!(!path.exists());
    let partial = |row_s| BenchReport { complete: false, row_s, ..report() };
    for row_s in [1.0, 2.0] {
        assert_eq!(save(&path, &partial(row_s)).unwrap(), Saved::Whole);
        assert_eq!(load(&path).unwrap().row_s, row_s, "a partial one may replace a partial one");
    }
    assert_eq!(save(&path, &report()).unwrap(), Saved::Whole);
    assert_eq!(save(&path, &partial(2.0)).unwrap(), Saved::Kept);
    assert_eq!(save(&path, &nothing).unwrap(), Saved::Nothing);
    assert_eq!(load(&path).unwrap(), report());
    let newer = folder.write("newer", json!({ "type": "lode_bench", "v": 2 }).to_string());
    assert_eq!(save(&newer, &partial(2.0)).unwrap(), Saved::Kept);
}

#[test]
#[cfg(unix)]
fn what_is_checked_is_where_a_link_leads() {
    let folder = Folder::new();
    let target = folder.write("target", "");
    std::os::unix::fs::symlink(&target, folder.path("link")).unwrap();
    let place = file::check_free(&folder.path("link"), "anything", |_| true).unwrap();
    assert_eq!(place, fs::canonicalize(target).unwrap());
}

#[test]
fn what_is_no_result_is_left_alone() {
    let folder = Folder::new();
    for (name, text) in
        [("notes", "dear diary"), ("empty", ""), ("other.json", "{\"type\": \"lode_stress\"}")]
    {
        let path = folder.write(name, text);
        assert!(matches!(check_place(&path), Err(FileError::Occupied { .. })), "{name}");
        assert!(matches!(save(&path, &report()), Err(FileError::Occupied { .. })), "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert!(matches!(check_place(folder.0.path()), Err(FileError::Occupied { .. })));
    assert!(matches!(check_place(&folder.path("no/such/folder")), Err(FileError::Write { .. })));
    assert!(matches!(check_place(&folder.path("notes/below")), Err(FileError::Read { .. })));
    // What a newer lode wrote may be replaced, though it can't be read.
    let newer = folder.write("newer", json!({ "type": "lode_bench", "v": 2 }).to_string());
    assert!(check_place(&newer).is_ok());
    assert!(matches!(load(&newer), Err(FileError::Newer { v: 2, .. })));
}

#[test]
fn hostile_files_are_refused() {
    let folder = Folder::new();
    let why = |text: &[u8]| match load(&folder.write("hostile", text)) {
        Err(FileError::NotAResult { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(report()).unwrap();
        change(&mut value);
        why(value.to_string().as_bytes())
    };
    assert!(why(b"\xff\xfe").contains("UTF-8"));
    assert!(why(&vec![b' '; (1 << 20) + 1]).contains("larger than"));
    assert!(why(&b"[".repeat(100_000)).contains("recursion limit"));
    assert!(why(b"{\"type\": \"lode_bench\", \"v\": 1}").contains("missing field"));
    let text = serde_json::to_string(&report()).unwrap();
    assert!(why(text.replacen("36000000.0", "1e999", 1).as_bytes()).contains("out of range"));
    assert!(why(text.replacen("36000000.0", "NaN", 1).as_bytes()).contains("expected value"));
    for figure in [json!(-1.0), json!(0), json!(1e300), json!(1e-300)] {
        assert!(
            changed(&|value| value["rows"][1]["rate_hs"]["median"] = figure.clone()).contains("row 1 has")
        );
        assert!(
            changed(&|value| value["rows"][1]["cycles_per_hash"]["p90"] = figure.clone()).contains("row 1")
        );
        assert!(changed(&|value| value["baseline_hs"]["p10"] = figure.clone()).contains("baseline_hs"));
    }
    assert!(changed(&|value| value["rows"][0]["rate_hs"]["p10"] = Value::Null).contains("null"));
    assert!(changed(&|value| value["rows"][0]["threads"] = json!(-1)).contains("invalid value"));
    assert!(changed(&|value| value["rows"][0]["threads"] = json!(0)).contains("row 0 lacks"));
    assert!(changed(&|value| value["rows"][0]["windows"] = json!(0)).contains("row 0 lacks"));
    assert!(changed(&|value| value["rows"][1] = value["rows"][0].clone()).contains("row 1 is there twice"));
    assert!(changed(&|value| value["row_s"] = json!(-1)).contains("row_s"));
    assert!(changed(&|value| value["v"] = json!(0)).contains("its form"));
    let row = json!({ "kernel": "x", "versions": 1, "threads": 1, "windows": 1, "windows_left_out": 0, "hits": 1,
                      "rate_hs": { "p10": 1, "median": 1, "p90": 1 }, "ratio": { "p10": 1, "median": 1, "p90": 1 } });
    assert!(changed(&|value| value["rows"] = vec![row.clone(); 1001].into()).contains("more than 1000 rows"));
}

#[test]
#[cfg(unix)]
fn a_pipe_is_refused_without_waiting_for_its_other_end() {
    let path = Path::new("/dev/zero");
    assert!(matches!(load(path), Err(FileError::NotAResult { .. })));
    assert!(matches!(check_place(path), Err(FileError::Occupied { .. })));
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(load(&pipe), Err(FileError::NotAResult { .. })));
    assert!(matches!(check_chart(&pipe), Err(FileError::Occupied { .. })));
}

#[test]
fn words_of_a_file_cannot_take_over_the_terminal() {
    let folder = Folder::new();
    let mut hostile = report();
    hostile.machine.cpu.name = Some("\u{1b}[2J".repeat(1000));
    hostile.rows[0].kernel = "\u{202e}evil".to_owned();
    let path = folder.write("hostile", serde_json::to_string(&hostile).unwrap());
    let loaded = load(&path).unwrap();
    let text = format!("{loaded}\n{}", Comparison::of(("a", &loaded), ("b", &report())));
    assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.len() < 10_000, "{text}");
}

#[test]
fn a_comparison_tells_what_became_of_each_rate_and_what_else_differs() {
    let (a, mut b) = (report(), report());
    let scale = |spread: &mut Spread, by: f64| {
        *spread = Spread { p10: by * spread.p10, median: by * spread.median, p90: by * spread.p90 };
    };
    scale(&mut b.rows[1].rate_hs, 1.2);
    scale(&mut b.rows[2].rate_hs, 0.9);
    scale(&mut b.rows[2].ratio, 0.9);
    b.rows[3].versions = 64;
    b.machine.cpu.name = Some("Another CPU".to_owned());
    b.machine.kernel = Some("Linux 7.0".to_owned());
    b.build.commit = "0123456789ab".to_owned();
    b.rows[0].cpu_share = Some(0.25);
    b.rows[4].windows = 9;
    scale(&mut b.rows[4].rate_hs, 3.0);
    b.complete = false;
    b.mismatch = Some(Mismatch { kernel: "avx2".into(), versions: 1, what: "checksum".into() });
    let comparison = Comparison::of(("before", &a), ("after", &b));
    let verdicts: Vec<_> =
        comparison.rows.iter().map(|row| (row.rate.verdict, row.against_baseline.verdict)).collect();
    let (same, faster, slower) = (Verdict::Same, Verdict::Faster, Verdict::Slower);
    assert_eq!(verdicts, [(same, same), (faster, same), (slower, slower), (same, same)]);
    assert!((comparison.rows[1].rate.ratio - 1.2).abs() < 1e-9);
    assert_eq!(comparison.only_a, [Key { kernel: "avx512".into(), versions: 32, threads: 1 }]);
    assert_eq!(comparison.only_b, [Key { kernel: "avx512".into(), versions: 64, threads: 1 }]);
    let text = comparison.to_string();
    for words in [
        "machine differs: Test CPU <1> & \"2\" | Another CPU",
        "operating system's kernel differs: unknown | Linux 7.0",
        "build differs",
        "B is partial",
        "B was disturbed",
        "B has 1 of 5 rows with fewer than 10 windows",
        "B computed wrongly (avx2)",
        "only in A: avx512 x32 with 1 threads",
        "1.200 faster",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let alike = Comparison::of(("a", &a), ("b", &a));
    assert_eq!((alike.notes.len(), alike.only_a.len(), alike.only_b.len()), (0, 0, 0), "{alike}");
}

#[test]
fn charts_show_every_bar_and_are_well_formed() {
    let folder = Folder::new();
    let path = folder.path("chart.svg");
    of_report(&path, &report()).unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    for text in
        ["hash rate in MH/s", "sha2 crate", "avx512 x32", "87.00 MH/s, 14.50 × sha2", "1 thread", "2 threads"]
    {
        assert!(svg.contains(text), "no {text:?} in\n{svg}");
    }
    assert!(svg.contains("Test CPU &lt;1&gt; &amp;"), "{svg}");
    of_comparison(&path, &Comparison::of(("a", &report()), ("b", &report()))).unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.contains("71.00 MH/s, × 1.000, same") && svg.contains("avx512 x32, 2 thr."), "{svg}");
}

#[test]
fn a_chart_replaces_a_chart_and_nothing_else() {
    let folder = Folder::new();
    let notes = folder.write("notes.svg", "dear diary");
    assert!(matches!(of_report(&notes, &report()), Err(ChartError::File(FileError::Occupied { .. }))));
    assert_eq!(fs::read_to_string(&notes).unwrap(), "dear diary");
    let nothing = BenchReport { rows: vec![], baseline_hs: None, ..report() };
    assert!(matches!(of_report(&folder.path("new.svg"), &nothing), Err(ChartError::Empty)));
    assert!(!folder.path("new.svg").exists());
}

#[test]
fn charts_bear_the_least_and_the_most() {
    let folder = Folder::new();
    for rate in [1e-6, 1.0, 999.9e3, 1e21] {
        let mut odd = report();
        for row in &mut odd.rows {
            row.rate_hs = Spread { p10: rate, median: rate, p90: rate };
        }
        odd.baseline_hs = None;
        of_report(&folder.path("odd.svg"), &odd).unwrap();
    }
}

/// What all forms have in common with `docs/bench.schema.json`; each also has to fail where it is changed.
fn assert_documented(value: &impl serde::Serialize) {
    let schema: Value = serde_json::from_str(include_str!("../../docs/bench.schema.json")).unwrap();
    let check = |value: &Value| crate::report::json::schema::check_by(&schema, value);
    let value = serde_json::to_value(value).unwrap();
    if let Err(why) = check(&value) {
        // The reason is that none of the three fits: ask for the one that was meant.
        let name = value["type"].as_str().unwrap().trim_start_matches("lode_").replace("bench_", "");
        let mut alone = schema.clone();
        alone.as_object_mut().unwrap().remove("oneOf");
        alone["$ref"] = json!(format!("#/$defs/{name}"));
        panic!("{why}: {:?}", crate::report::json::schema::check_by(&alone, &value));
    }
    for key in value.as_object().unwrap().keys() {
        let mut lacking = value.clone();
        lacking.as_object_mut().unwrap().remove(key);
        assert!(check(&lacking).is_err(), "{key} is not required");
    }
    let mut more = value;
    more["surprise"] = json!(1);
    assert!(check(&more).is_err());
}

#[test]
fn the_schema_documents_everything_that_is_printed() {
    let mut full = report();
    full.mismatch = Some(Mismatch { kernel: "avx2".into(), versions: 1, what: "checksum".into() });
    full.machine.celsius = Some(71.5);
    full.machine.cpu.flags = Some(vec!["avx2".into()]);
    full.machine.cpu.caches =
        Some(vec![crate::machine::Cache { level: 1, kind: "data".into(), bytes: 32 << 10, count: 2 }]);
    let mut bare = BenchReport::begin(1.0);
    bare.cycles = Cycles { source: None, reason: Some("none".into()) };
    for report in [&full, &bare, &gpu_report()] {
        assert_documented(report);
        assert_documented(&Comparison::of(("a", &full), ("b", report)));
    }
    let stop = Stop::default();
    let asked = stop.clone();
    let hook: stress::ScanHook = std::sync::Arc::new(move |_, hits: &mut Vec<(u32, u32)>| {
        hits.push((9, 9));
        asked.ask(EndReason::Interrupted);
    });
    let config = stress::StressConfig {
        variants: variants(),
        threads: NonZero::new(1).unwrap(),
        duration: Duration::from_secs(3600),
        hook: Some(hook),
    };
    let report = stress::run(&config, &stop, |_| {}).unwrap();
    assert!(!report.is_sound() && report.threads[0].faults[0].header.is_none());
    assert_documented(&report);
}
