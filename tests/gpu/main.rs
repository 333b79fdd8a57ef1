//! `lode` with a GPU, or a software one: shares, accounts, choices.
//!
//! Without any, each test says that it was ignored; with LODE_REQUIRE_GPU=1 it fails.

mod heat;
mod losses;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use practice_pool::Config;
use serde_json::Value;
use testkit::ledger::{Books, Losses, expect_agreement};
use testkit::practice::{Practice, quiet};
use testkit::process::{Lode, Signal};

const LODE: &str = env!("CARGO_BIN_EXE_lode");

/// A first start on a software GPU compiles a dozen kernels.
const PATIENCE: Duration = Duration::from_secs(240);

type Test = (&'static str, fn());

const TESTS: [Test; 10] = [
    ("a_gpu_alone_finds_shares_and_the_accounts_agree", || mine(&["-t", "0"], &["gpu:"])),
    ("a_gpu_and_the_cpu_share_one_job_and_the_accounts_agree", || mine(&["-t", "1"], &["gpu:", "cpu"])),
    ("a_gpu_lost_at_any_step_comes_back_and_the_accounts_agree", losses::lost_alone),
    ("a_gpu_lost_beside_the_cpu_comes_back_and_the_accounts_agree", losses::lost_beside_the_cpu),
    ("an_interrupt_while_a_kernel_is_compiled_is_no_error", an_interrupt_while_a_kernel_is_compiled),
    ("a_bench_of_a_gpu_measures_checks_and_saves_every_kernel", a_bench_measures_every_kernel),
    ("a_bench_of_several_gpus_ends_for_those_that_are_too_hot", heat::a_bench_ends_for_hot_cards),
    ("a_bench_of_a_gpu_that_is_not_there_is_refused", a_bench_without_its_gpu_is_refused),
    ("a_software_gpu_is_listed_and_left_out", a_software_gpu_is_listed_and_left_out),
    ("a_gpu_that_is_not_there_is_said_and_the_others_mine_on", a_gpu_that_is_not_there_is_said),
];

fn main() {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(1);
    let there = !devices()["gpus"].as_array().expect("a list").is_empty();
    let required = std::env::var_os("LODE_REQUIRE_GPU").is_some_and(|value| value == "1");
    let trials = TESTS.map(|(name, test)| {
        let trial = Trial::test(name, move || {
            if !there {
                return Err(Failed::from("LODE_REQUIRE_GPU=1, and `lode devices` lists no GPU"));
            }
            test();
            Ok(())
        });
        trial.with_ignored_flag(!there && !required)
    });
    libtest_mimic::run(&args, trials.into()).exit();
}

fn devices() -> Value {
    let output = Command::new(LODE).args(["devices", "--json"]).output().expect("the binary starts");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The tuning of the first start serves the others.
fn cache() -> PathBuf {
    std::env::temp_dir().join(format!("lode-gpu-tests-{}", std::process::id()))
}

/// Mines with all GPUs until each kind of device has an accepted share.
fn mine(args: &[&str], devices: &[&str]) {
    let config = Config { difficulty: 1e-3, ..quiet() };
    let version = config.version;
    let pool = Practice::start(config);
    let url = format!("stratum+tcp://{}", pool.addr());
    let mut command = Command::new(LODE);
    command.args(["mine", "--output", "json", "-o", &url, "-u", "w", "--gpu", "all", "--gpu-allow-cpu"]);
    let mut lode = Lode::start(command.args(args).env("XDG_CACHE_HOME", cache()));
    for device in devices {
        for _ in 0..3 {
            lode.wait_for("share", PATIENCE, |share| {
                share["outcome"] == "accepted"
                    && share["device"].as_str().is_some_and(|found_by| found_by.starts_with(device))
            });
        }
        lode.rewind();
    }
    let ended = lode.signal(Signal::Terminate, PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.account();
    let lines = ended.lines.clone();
    // What a dispatch finds that outlasts the end is stale, and nothing else may be discarded.
    let wrong = lines.iter().find(|line| line["type"] == "discard" && line["reason"] != "stale");
    assert!(wrong.is_none(), "{wrong:?}");
    let books = Books { lines, pool: 0, records: pool.stop(), version, routes: None, losses: Losses::NONE };
    let account = expect_agreement(&books);
    assert!(account.rejected.is_empty(), "{:?}", account.rejected);
}

/// Ctrl-C at several moments of a first start, which has every kernel to compile.
fn an_interrupt_while_a_kernel_is_compiled() {
    for tenths in 0..6 {
        let empty = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(LODE);
        command.args(["mine", "--output", "json", "-t", "0", "--gpu", "all", "--gpu-allow-cpu"]);
        let mut lode = Lode::start(command.env("XDG_CACHE_HOME", empty.path()));
        lode.wait_for("device", PATIENCE, |device| device["event"] == "up");
        std::thread::sleep(Duration::from_millis(100 * tenths));
        let ended = lode.signal(Signal::Interrupt, PATIENCE);
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
    }
}

fn a_software_gpu_is_listed_and_left_out() {
    let devices = devices();
    let gpus = devices["gpus"].as_array().expect("a list");
    let keys: Vec<_> = gpus.iter().filter_map(|gpu| gpu["key"].as_str()).collect();
    assert!(keys.iter().all(|key| key.starts_with("gpu:")), "{keys:?}");
    for gpu in gpus {
        assert_eq!(gpu["usable"] == true, gpu["why_not"].is_null(), "{gpu}");
        assert_eq!(gpu["sensors"].is_null(), gpu["no_sensors"].is_string(), "{gpu}");
    }
    if gpus.iter().all(|gpu| gpu["usable"] == false) {
        let output =
            Command::new(LODE).args(["mine", "-t", "0", "--gpu", "all"]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(stderr.contains("--gpu-allow-cpu"), "{stderr}");
    }
}

fn a_gpu_that_is_not_there_is_said() {
    let run = |args: &[&str]| {
        let output = Command::new(LODE)
            .args(["mine", "--gpu", "200", "--isa", "portable"])
            .args(args)
            .output()
            .expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = run(&["-t", "0"]);
    assert_eq!(code, Some(4), "{stderr}");
    let (code, more) = run(&["-t", "1", "--shares", "1"]);
    assert_eq!(code, Some(0), "{more}");
    for said in [stderr, more] {
        assert!(said.contains("there is no GPU 200") && said.contains("lode devices"), "{said}");
    }
}

fn a_bench_measures_every_kernel() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(LODE)
        .args(["bench", "--gpu", "--gpu-allow-cpu", "--time", "50ms", "--json", "--save", "gpu.json"])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", cache())
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let saved = std::fs::read_to_string(folder.path().join("gpu.json")).expect("it was saved");
    assert_eq!(report, serde_json::from_str::<Value>(&saved).expect("JSON"));
    assert_eq!((&report["mismatch"], &report["complete"]), (&Value::Null, &Value::Bool(true)), "{report}");
    let (rows, gpus) = (report["rows"].as_array().expect("rows"), report["gpus"].as_array().expect("GPUs"));
    for gpu in gpus {
        let own: Vec<&Value> = rows.iter().filter(|row| row["gpu"]["device"] == gpu["device"]).collect();
        assert_eq!(own.len(), 10, "{report}");
        assert!((1..=2).contains(&own.iter().filter(|row| row["gpu"]["chosen"] == true).count()), "{report}");
        for row in own {
            let of = |field: &str| row[field]["median"].as_f64().unwrap_or(0.0);
            assert!(of("rate_hs") > 0.0 && of("ratio") > 0.0 && row["hits"].as_u64() > Some(0), "{row}");
            assert!(
                row["gpu"]["operations"].as_f64().is_some_and(|ops| (2000.0..2443.0).contains(&ops)),
                "{row}"
            );
        }
    }
}

fn a_bench_without_its_gpu_is_refused() {
    for (args, code, said) in [
        (&["--gpu", "200"][..], 4, "there is no GPU 200"),
        (&["--gpu", "none"], 4, "--gpu none"),
        (&["--gpu", "5-2"], 2, "--gpu is `5-2`"),
        (&["--gpu", "all", "--isa", "avx2"], 2, "cannot be used with"),
        (&["--gpu-allow-cpu"], 2, "--gpu"),
        (&["--gpu-temp-target", "70"], 2, "--gpu"),
        (&["--gpu", "all", "--gpu-temp-target", "88"], 2, "less than 5 °C below the cut-off"),
        (&["--gpu", "all", "--config", "no-such.toml"], 2, "no-such.toml"),
    ] {
        let output = Command::new(LODE).arg("bench").args(args).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(said) && output.stdout.is_empty(), "{args:?}: {stderr}");
    }
}
