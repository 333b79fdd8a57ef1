//! `lode bench --gpu` on cards whose sensors are files, and one that NVIDIA's library answers for.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lode::bench::Stop;
use lode::bench::gpu::{GpuBenchConfig, GpuStep, GpuWork, run};
use miner_core::cpu::{Kernel, Kernels};
use miner_core::sha256d::Isa;
use miner_core::types::HashRate;
use miner_gpu::{Gpu, GpuConfig, Gpus, HeatLimits, Telemetry, Watch};

const NVIDIA: u32 = 0x10de;

/// The cards by their places: the first one is NVIDIA's, and its library says 83 °C.
const HOT: &str = "0000:01:00.0";
const WARMING: &str = "0000:02:00.0";
const LATE: &str = "0000:03:00.0";
const COOL: &str = "0000:04:00.0";

/// One card is too hot from the start, one becomes it while its third kernel is measured, one beside the CPU, one never.
pub(crate) fn a_bench_ends_for_hot_cards() {
    let root = tempfile::tempdir().expect("a folder");
    let library = root.path().join("libnvidia-ml.so.1");
    fake_nvml(&library);
    [WARMING, LATE, COOL].into_iter().for_each(|place| is_at(root.path(), place, 40));
    let telemetry = Telemetry::under(root.path().to_owned(), library);
    let plain = Kernel { isa: Isa::available()[0], rate: HashRate(1e6) };
    let config = GpuBenchConfig {
        gpus: [HOT, WARMING, LATE, COOL].map(|place| card(&telemetry, place)).into(),
        duration: Duration::from_millis(30),
        beside: Some((Kernels { plain, rolled: None }, 2)),
    };
    let becomes_hot = |GpuStep { name, work, .. }: &GpuStep| match work {
        GpuWork::Measuring { done: 2, .. } if name == WARMING => is_at(root.path(), WARMING, 95),
        GpuWork::Beside if name == LATE => is_at(root.path(), LATE, 95),
        _ => {}
    };
    let report = run(&config, &Stop::default(), becomes_hot).expect("some cards are measured");
    let [hot, warming, late, cool] = &report.gpus[..] else { panic!("{report:?}") };
    let rows = |place: &str| {
        let own = |key: &str| key.ends_with(place);
        report.rows.iter().filter(|row| row.gpu.as_ref().is_some_and(|gpu| own(&gpu.device))).count()
    };
    let all = rows(COOL);
    assert_eq!((rows(HOT), rows(LATE)), (0, all));
    assert!((2..all).contains(&rows(WARMING)), "{} of {all} kernels", rows(WARMING));
    assert_eq!((&cool.problem, cool.beside.is_some()), (&None, true));
    for (gpu, celsius) in [(hot, 83), (warming, 95), (late, 95)] {
        let problem = gpu.problem.as_deref().unwrap_or_default();
        assert!(problem.starts_with("too hot: stopped at 70 °C"), "{gpu:?}");
        // What the backend tells beside the CPU is as in mining.
        assert!(gpu.name == LATE || problem.ends_with(&format!("it is at {celsius} °C")), "{gpu:?}");
        assert!(gpu.beside.is_none() && gpu.lost.is_empty(), "it was only hot: {gpu:?}");
        let line = format!("not everything was measured: {problem}");
        assert!(report.to_string().contains(&line), "{report}");
    }
    assert!(!report.complete && report.mismatch.is_none());

    let config = GpuBenchConfig { gpus: vec![card(&telemetry, HOT), card(&telemetry, LATE)], ..config };
    let error = run(&config, &Stop::default(), |_| ()).expect_err("none is measured").to_string();
    let named = [HOT, LATE].iter().all(|place| error.contains(&format!("{place}: too hot: stopped")));
    assert!(named, "{error}");
}

/// This machine's GPU as another card, which may become 70 °C hot.
fn card(telemetry: &Telemetry, place: &str) -> (Gpu, GpuConfig) {
    let gpu = Gpus::find().list.into_iter().find(|gpu| gpu.facts.unusable.is_none());
    let mut gpu = gpu.expect("a GPU");
    gpu.facts.key = format!("gpu:{place}");
    gpu.facts.name = place.to_owned();
    gpu.facts.pci = Some(place.to_owned());
    gpu.facts.vendor = if place == HOT { NVIDIA } else { 0x1002 };
    let sensor = telemetry.sensor(&gpu.facts).expect("it has sensors");
    let config = GpuConfig {
        sensor: Some(sensor),
        heat: HeatLimits { target: 60.0, cutoff: 70.0 },
        watch: Watch { interval: Duration::from_millis(2), patience: Duration::from_secs(20) },
        ..GpuConfig::default()
    };
    (gpu, config)
}

/// Has amdgpu's sensor say so.
fn is_at(root: &Path, place: &str, celsius: u32) {
    let folder = root.join("sys/bus/pci/devices").join(place).join("hwmon/hwmon0");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("name"), "amdgpu\n").expect("written");
    fs::write(folder.join("temp1_input"), format!("{celsius}000\n")).expect("written");
}

/// Builds a library that answers as NVIDIA's does.
fn fake_nvml(library: &Path) {
    let source = library.with_extension("c");
    fs::write(&source, include_str!("../../miner-gpu/src/telemetry/fake_nvml.c")).expect("written");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([library, &source]).status();
    assert!(built.expect("a C compiler").success());
}
