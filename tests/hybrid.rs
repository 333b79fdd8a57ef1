//! A minute of hybrid mining: the CPU and two emulated ASICs of different families at one pool, the fastest some 100 times
//! as fast as the slowest.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asic_emulator::Emulator;
use practice_pool::Config;
use serde_json::Value;
use testkit::device::{argument, emulator, replay};
use testkit::ledger::{Books, Losses, expect_agreement, found_twice};
use testkit::practice::Practice;
use testkit::process::{Lode, Signal};

const LODE: &str = env!("CARGO_BIN_EXE_lode");
const RUN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest part of the time that a device may be without work.
const IDLE: f64 = 0.01;
/// The largest part of the time in which the chips of the fastest may have nothing to hash. A pseudo-terminal of a busy system
/// is late by up to 0.7 s, which lode cannot know of: with nobody else around it is less than [`IDLE`].
const RESTED: f64 = 0.1;
/// How often it is looked whether a chip hashes.
const LOOK: Duration = Duration::from_millis(2);
/// The fastest first.
const DEVICES: [&str; 3] = ["asic:compac:", "asic:antminer:", "cpu"];

/// No job comes twice in a run. Versions are not rolled: so every device gets extranonces of its own, of which the first few have
/// known answers. The difficulty is the least at which lode does not fear a flood: the CPU finds a share every few seconds.
/// What the ASICs find is of difficulty 1 and more in any case.
fn config() -> Config {
    Config { difficulty: 0.04, version_mask: 0, block_interval: Duration::from_secs(10), ..replay() }
}

#[test]
fn a_cpu_and_asics_of_two_families_mine_side_by_side() {
    let (fast, slow) = (emulator("compac"), emulator("u1"));
    let config = config();
    let version = 0x2000_0000;
    let pool = Practice::start(config);
    let url = format!("stratum+tcp://{}", pool.addr());
    let devices = [argument("compac", &fast) + "@freq=100", argument("antminer", &slow) + "@freq=500"];
    let args = ["-o", &url, "-u", "w", "-t", "1", "--cpu-priority", "5"];
    let args = args.into_iter().chain(devices.iter().flat_map(|device| ["--device", device]));
    let mut lode = Lode::start(
        Command::new(LODE).args(["mine", "--output", "json", "--report-interval", "1s"]).args(args),
    );
    let first = lode.wait_for("snapshot", PATIENCE, |snapshot| {
        let devices = snapshot["devices"].as_array().expect("a list");
        devices.len() == DEVICES.len() && devices.iter().all(|device| device["hashes"].as_u64() > Some(0))
    });
    let over = AtomicBool::new(false);
    let rested = std::thread::scope(|scope| {
        let watch = scope.spawn(|| resting(&fast, &over));
        std::thread::sleep(RUN);
        over.store(true, Ordering::Relaxed);
        watch.join().expect("it only looks")
    });
    lode.skip();
    // A CPU that others use as well may be out of luck for a minute.
    let all_found = |snapshot: &Value| DEVICES.iter().all(|name| accepted(snapshot, name) > 0);
    let last = lode.wait_for("snapshot", Duration::from_secs(25), all_found);
    let ended = lode.signal(Signal::Terminate, PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.account();

    for name in DEVICES {
        let idle =
            gained(&first, &last, name, "idle_s") / (number(&last["uptime_s"]) - number(&first["uptime_s"]));
        let (accepted, discards) = (accepted(&last, name), &device(&last, name)["discards"]);
        println!("{name}: {accepted} accepted, idle {:.3} %", 100.0 * idle);
        assert!(idle < IDLE, "{name} was idle for {:.2} % of the time", 100.0 * idle);
        assert_eq!((&discards["duplicate"], &discards["hardware_error"]), (&0.into(), &0.into()), "{name}");
    }
    println!("the chips of the fastest rested for {:.3} % of the time", 100.0 * rested);
    assert!(rested < RESTED, "the chips of the fastest rested for {:.2} % of the time", 100.0 * rested);
    assert_eq!(found_twice(&ended.lines), [""; 0]);
    let (lines, records) = (ended.lines, pool.stop());
    let account =
        expect_agreement(&Books { lines, pool: 0, records, version, routes: None, losses: Losses::NONE });
    println!("{account:?}");
    assert!(account.rejected.is_empty(), "{account:?}");
}

/// The part of the time in which the device's chips had nothing to hash, as a meter at its plug would show it.
fn resting(emulator: &Emulator, over: &AtomicBool) -> f64 {
    let begin = Instant::now();
    let (mut rested, mut before) = (Duration::ZERO, begin);
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let passed = std::mem::replace(&mut before, Instant::now()).elapsed();
        if !emulator.state().hashing {
            rested += passed;
        }
    }
    rested.as_secs_f64() / begin.elapsed().as_secs_f64()
}

fn device<'a>(snapshot: &'a Value, name: &str) -> &'a Value {
    let devices = snapshot["devices"].as_array().expect("a list");
    let named = |device: &&Value| device["device"].as_str().is_some_and(|key| key.starts_with(name));
    devices.iter().find(named).expect("it is there")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn gained(first: &Value, last: &Value, name: &str, field: &str) -> f64 {
    number(&device(last, name)[field]) - number(&device(first, name)[field])
}

fn accepted(snapshot: &Value, name: &str) -> u64 {
    device(snapshot, name)["shares"]["accepted"].as_u64().expect("a count")
}
