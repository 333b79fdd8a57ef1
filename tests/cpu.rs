//! The CPU as a device of the real binary: which kernels it takes, what it refuses, and that limits hold.

use std::path::Path;
use std::process::{Command, Output};

use miner_core::sha256d::Isa;
use serde_json::Value;

const LODE: &str = env!("CARGO_BIN_EXE_lode");

/// lode without settings, with its cache below `home`.
fn lode(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(LODE);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LODE_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env_remove("XDG_CACHE_HOME").args(args).output().expect("lode runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `lode devices` says of the CPU.
fn cpu(home: &Path) -> Value {
    let output = lode(home, &["devices", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let devices: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    devices["devices"][0].clone()
}

fn kernel(cpu: &Value) -> &str {
    cpu["usage"]["kernel"].as_str().expect("it is usable")
}

#[test]
fn kernels_are_measured_once_and_again_if_what_was_kept_is_broken() {
    if Isa::available().len() == 1 {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let first = cpu(home.path());
    assert!(kernel(&first).ends_with("measured just now"), "{first}");
    let second = cpu(home.path());
    assert!(kernel(&second).ends_with("measured by an earlier run"), "{second}");
    assert_eq!(first["kernels"], second["kernels"]);
    let mut files = std::fs::read_dir(home.path().join(".cache/lode")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "one file");
    std::fs::write(&file, "{\"cpu\":").unwrap();
    assert!(kernel(&cpu(home.path())).ends_with("measured just now"));
    assert!(kernel(&cpu(home.path())).ends_with("measured by an earlier run"));
}

#[test]
fn without_a_folder_to_keep_them_kernels_are_measured_each_time() {
    if Isa::available().len() == 1 {
        return;
    }
    for _ in 0..2 {
        assert!(kernel(&cpu(Path::new("/proc/no/such/folder"))).ends_with("measured just now"));
        assert!(kernel(&cpu(Path::new("relative"))).ends_with("measured just now"));
    }
}

#[test]
fn every_kernel_is_listed_with_its_rate_and_the_chosen_one_is_the_fastest() {
    let home = tempfile::tempdir().unwrap();
    let cpu = cpu(home.path());
    let kernels = cpu["kernels"].as_array().unwrap();
    let mut names: Vec<_> = kernels.iter().map(|kernel| kernel["isa"].as_str().unwrap()).collect();
    let fastest = kernels
        .iter()
        .max_by(|a, b| a["rate_hs"].as_f64().unwrap().total_cmp(&b["rate_hs"].as_f64().unwrap()));
    assert!(kernel(&cpu).starts_with(fastest.unwrap()["isa"].as_str().unwrap()), "{cpu}");
    names.sort_unstable();
    let mut all: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    all.sort_unstable();
    assert_eq!(names, all);
    assert_eq!(cpu["problems"], serde_json::json!([]));
    assert!(cpu["usage"]["threads"].as_u64().unwrap() >= 1 && cpu["usage"]["threads_why"].is_string());
}

#[test]
fn a_probe_answers_in_one_line_of_work() {
    let home = tempfile::tempdir().unwrap();
    for isa in Isa::available() {
        let output = lode(home.path(), &["probe-kernel", isa.name()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["rates"]["isa"], isa.name());
        assert!(answer["rates"]["plain_hs"].as_f64().unwrap() > 0.0);
    }
    let output = lode(home.path(), &["probe-kernel", "quantum"]);
    assert!(text(&output.stdout).contains("no such kernel"), "{}", text(&output.stdout));
    assert!(!text(&lode(home.path(), &["--help"]).stdout).contains("probe"), "it is nobody's business");
}

#[test]
fn what_the_machine_cannot_do_is_refused_with_what_it_can() {
    let home = tempfile::tempdir().unwrap();
    let mut cases = vec![(vec!["--isa", "avx3"], vec!["unknown instruction set \"avx3\"", "portable"])];
    if cfg!(target_os = "linux") {
        cases.push((vec!["--cpu-affinity", "1023"], vec!["CPU 1023 is not among those", "--cpu-affinity"]));
    }
    for (args, words) in cases {
        let output = lode(home.path(), &[&["mine"], &args[..]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?}: no {word:?} in {said}");
        }
        assert!(output.stdout.is_empty(), "nothing is started");
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "long: run by scripts/long-checks"]
fn a_limit_holds_within_two_points() {
    use std::time::{Duration, Instant};

    use testkit::process::{Lode, Signal};

    for percent in [10, 25, 50, 75, 90] {
        let mut lode =
            Lode::mine(LODE, &["-t", "1", "--cpu-limit", &format!("{percent}%"), "--cpu-priority", "5"]);
        lode.wait_for_accepted(Duration::from_secs(60));
        let (start, before) = (Instant::now(), lode.hashing_time());
        std::thread::sleep(Duration::from_secs(10));
        let used = lode.hashing_time() - before;
        let share = 100.0 * used.div_duration_f64(start.elapsed());
        assert_eq!(lode.signal(Signal::Terminate, Duration::from_secs(10)).code, Some(0));
        println!("--cpu-limit {percent}%: {share:.2} % of 10 s");
        assert!((share - f64::from(percent)).abs() <= 2.0, "{percent} %: {share}");
    }
}
