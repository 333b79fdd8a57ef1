//! `lode bench` at its command line: what it writes, what it refuses, and how it ends.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The least that can be measured.
const SHORT: [&str; 7] = ["-t", "1", "--isa", "portable", "--time", "10ms", "-q"];

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lode"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LODE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).arg("bench").args(args);
    command
}

fn bench(folder: &Path, args: &[&str]) -> Ran {
    ran(command(folder, args).output().expect("the binary runs"))
}

fn ran(Output { status, stdout, stderr }: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("lode writes UTF-8");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_result_is_printed_saved_compared_and_drawn() {
    let folder = folder();
    let folder = folder.path();
    let first = bench(folder, &[&SHORT[..], &["--save", "a.json", "--chart", "a.svg"]].concat());
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(
        first.stdout.contains("portable") && first.stdout.contains("all answers right"),
        "{}",
        first.stdout
    );
    assert_eq!(first.stderr, "", "quiet is quiet");
    let second = bench(folder, &[&SHORT[..], &["--save", "b.json", "--json"]].concat());
    let printed: Value = serde_json::from_str(&second.stdout).expect("JSON");
    let saved: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("b.json")).unwrap()).expect("JSON");
    assert_eq!(printed, saved);
    assert_eq!(saved["rows"][0]["kernel"], "portable");
    assert!(fs::read_to_string(folder.join("a.svg")).unwrap().starts_with("<svg"));

    let compared = bench(folder, &["--compare", "a.json", "b.json", "--chart", "c.svg"]);
    assert_eq!(compared.code, Some(0), "{}", compared.stderr);
    assert!(
        compared.stdout.contains("A  a.json: lode") && compared.stdout.contains("portable"),
        "{}",
        compared.stdout
    );
    assert!(folder.join("c.svg").exists());
    let compared = bench(folder, &["--compare", "a.json", "b.json", "--json"]);
    let compared: Value = serde_json::from_str(&compared.stdout).expect("JSON");
    assert_eq!(compared["type"], "lode_bench_comparison");
    assert!(compared["rows"][0]["rate"]["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0));
}

#[test]
fn bad_flags_are_refused_with_what_would_be_right() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["-t", "0"], &["--threads is `0`", "a whole number from 1 to 1024"]),
        (&["-t", "-1"], &["--threads is `-1`", "a whole number"]),
        (&["--time", "-1"], &["--time is `-1`"]),
        (&["--time", "0"], &["--time is `0`", "10ms to"]),
        (&["--isa", "mmx"], &["--isa is `mmx`", "known are portable"]),
        (&["--stress", "soon"], &["--stress is `soon`", "10m"]),
        (&["--stress", "0"], &["--stress is `0`", "1s to"]),
        (&["--stress", "1000d"], &["--stress is `1000d`"]),
        (&["--stress", "1m", "--save", "x"], &["--save", "cannot be used with"]),
        (&["--stress", "1m", "--compare", "x", "y"], &["cannot be used with"]),
        (&["--compare", "x"], &["--compare <A> <B>"]),
        (&["--compare", "x", "y", "-t", "1"], &["cannot be used with"]),
        (&["--compare", "x", "y"], &["cannot read x", "help:"]),
        (&["--save", ""], &["--save is", "empty"]),
        (&["--save", "no/such/folder"], &["cannot write no/such/folder", "folder that exists"]),
        (&["--chart", "."], &["exists and is no SVG", "another name"]),
        (&["extra"], &["unexpected argument"]),
    ];
    let folder = folder();
    for (args, words) in cases {
        let ran = bench(folder.path(), args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        for word in *words {
            assert!(ran.stderr.contains(word), "{args:?}: no {word:?} in\n{}", ran.stderr);
        }
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_file_that_is_no_result_is_neither_replaced_nor_compared() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("diary"), "dear diary").unwrap();
    // Known before any time is spent.
    let refused = bench(folder, &["--time", "1h", "--save", "diary"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("diary exists and is no result file"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(folder.join("diary")).unwrap(), "dear diary");
    let refused = bench(folder, &["--compare", "diary", "diary"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("is no result of `lode bench`"), "{}", refused.stderr);
}

#[test]
fn a_result_that_cannot_be_written_is_printed_all_the_same() {
    let folder = folder();
    let folder = folder.path();
    // The chart finds the result in its place, which was free when the run began.
    let ran = bench(folder, &[&SHORT[..], &["--save", "same", "--chart", "same"]].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("same exists and is no SVG"), "{}", ran.stderr);
    assert!(ran.stdout.contains("all answers right") && ran.stdout.contains("`lode mine` takes"));
    assert!(fs::read_to_string(folder.join("same")).unwrap().contains("lode_bench"));
}

#[test]
fn a_flag_for_measuring_beats_the_variable_for_stressing() {
    let folder = folder();
    let mut measured = command(folder.path(), &SHORT);
    let measured = ran(measured.env("LODE_BENCH_STRESS", "1h").output().expect("the binary runs"));
    assert_eq!(measured.code, Some(0), "{}", measured.stderr);
    assert!(measured.stdout.contains("checksum"), "{}", measured.stdout);
}

#[test]
fn a_short_stress_test_passes_and_tells_of_each_thread() {
    let folder = folder();
    let report = bench(folder.path(), &["--stress", "1s", "--isa", "portable", "-t", "2", "--json", "-q"]);
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!(report["type"], "lode_stress");
    assert_eq!(report["threads"].as_array().map(Vec::len), Some(2));
    assert_eq!((&report["errors"]["wrong"], &report["errors"]["missed"]), (&0.into(), &0.into()));
    assert_eq!(report["threads"][0]["kernels"][0]["kernel"], "portable");
}

/// Sends Ctrl-C to a run as soon as it listens for it.
#[cfg(target_os = "linux")]
fn interrupted(folder: &Path, args: &[&str]) -> Ran {
    use std::process::Stdio;
    let child = command(folder, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the binary runs");
    let status = format!("/proc/{}/status", child.id());
    let listens = || {
        let status = fs::read_to_string(&status).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux tells");
        u64::from_str_radix(caught.trim(), 16).expect("a mask") >> 1 & 1 == 1
    };
    while !listens() {
        std::thread::yield_now();
    }
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(sent.expect("there is a shell").success());
    ran(child.wait_with_output().expect("it ends"))
}

#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_ends_a_run_with_what_was_measured_so_far() {
    let folder = folder();
    let folder = folder.path();
    let measured = interrupted(folder, &["--time", "1h", "-t", "1", "--json"]);
    assert_eq!(measured.code, Some(130), "{}", measured.stderr);
    let report: Value = serde_json::from_str(&measured.stdout).expect("JSON");
    assert_eq!((&report["complete"], &report["mismatch"]), (&false.into(), &Value::Null));
    let stressed = interrupted(folder, &["--stress", "1h"]);
    assert_eq!(stressed.code, Some(130), "{}", stressed.stderr);
    assert!(stressed.stdout.contains("PARTIAL"), "{}", stressed.stdout);
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_that_was_ended_leaves_the_result_of_one_that_was_not() {
    let folder = folder();
    let folder = folder.path();
    assert_eq!(bench(folder, &[&SHORT[..], &["--save", "a.json"]].concat()).code, Some(0));
    let before = fs::read_to_string(folder.join("a.json")).unwrap();
    let ended = interrupted(folder, &["--time", "1h", "-t", "1", "--save", "a.json"]);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let words = ["a.json holds a complete result", "a.json is not written"];
    assert!(words.iter().any(|words| ended.stderr.contains(words)), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(folder.join("a.json")).unwrap(), before);
}
