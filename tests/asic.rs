//! `lode` with emulated USB ASICs on pseudo-terminals: shares, accounts, and boards that are safe at every end.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::{Duration, Instant};

use asic_emulator::{Emulator, State};
use practice_pool::Config;
use testkit::device::{argument, emulator, replay};
use testkit::ledger::{Books, Losses, expect_agreement};
use testkit::practice::Practice;
use testkit::process::{Lode, Signal};

const LODE: &str = env!("CARGO_BIN_EXE_lode");
const PATIENCE: Duration = Duration::from_secs(180);

fn config() -> Config {
    Config { difficulty: 1.0, block_interval: Duration::from_secs(3), ..replay() }
}

fn lode(pool: &Practice, args: &[&str]) -> Lode {
    let url = format!("stratum+tcp://{}", pool.addr());
    let mut command = Command::new(LODE);
    command.args(["mine", "--output", "json", "-o", &url, "-u", "w"]).args(args);
    Lode::start(&mut command)
}

fn until(emulator: &Emulator, what: impl Fn(&State) -> bool) -> State {
    let end = Instant::now() + PATIENCE;
    loop {
        let state = emulator.state();
        if what(&state) {
            return state;
        }
        assert!(Instant::now() < end, "{state:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stick_finds_accepted_shares_and_the_accounts_agree() {
    // Fast enough to get to most answers before the next job.
    let emulator = emulator("2pac");
    let pool = Practice::start(config());
    let mut lode = lode(&pool, &["-t", "0", "--device", &argument("2pac", &emulator)]);
    for _ in 0..2 {
        lode.wait_for("share", PATIENCE, |share| {
            share["outcome"] == "accepted"
                && share["device"].as_str().is_some_and(|found_by| found_by.starts_with("asic:2pac:"))
        });
    }
    let ended = lode.signal(Signal::Terminate, PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.account();
    let lines = ended.lines.clone();
    let version = 0x2000_0000;
    let books = Books { lines, pool: 0, records: pool.stop(), version, routes: None, losses: Losses::NONE };
    let account = expect_agreement(&books);
    assert!(account.rejected.is_empty(), "{:?}", account.rejected);
}

#[test]
fn a_board_is_off_after_every_signal() {
    for (signal, code) in [(Signal::Terminate, 0), (Signal::Interrupt, 130), (Signal::HangUp, 0)] {
        let emulator = emulator("gamma");
        let pool = Practice::start(config());
        let lode = lode(&pool, &["-t", "0", "--device", &argument("bitaxe-gamma", &emulator)]);
        let state = until(&emulator, |state| state.hashing);
        assert!(state.powered && state.fan_percent > 0, "{state:?}");
        let ended = lode.signal(signal, PATIENCE);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        // The process is gone: nobody else will do it.
        let state = emulator.state();
        assert!(state.in_reset && !state.powered, "{state:?}");
        pool.stop();
    }
}

#[test]
fn a_stick_mines_beside_the_cpu() {
    let emulator = emulator("compac");
    let pool = Practice::start(config());
    let args = [
        "-t",
        "1",
        "--isa",
        "portable",
        "--report-interval",
        "1s",
        "--device",
        &argument("compac", &emulator),
    ];
    let mut lode = lode(&pool, &args);
    lode.wait_for("snapshot", PATIENCE, |snapshot| {
        let devices = snapshot["devices"].as_array().expect("a list");
        devices.len() == 2 && devices.iter().all(|device| device["hashes"].as_u64() > Some(0))
    });
    assert!(emulator.state().works > 0);
    let ended = lode.signal(Signal::Terminate, PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.account();
    pool.stop();
}

#[test]
fn what_cannot_be_used_is_said_in_one_line() {
    for (device, code, what, advice) in [
        ("icarus:/dev/ttyNOWHERE", 4, "/dev/ttyNOWHERE is not there", "plug it in"),
        ("bitfury:/dev/null", 2, "there is no ASIC driver `bitfury`", "drivers are icarus, erupter"),
        ("bitaxe-gamma:/dev/null", 2, "bitaxe-gamma needs 2 serial ports", "management port first"),
        ("antminer:/dev/null@freq=900", 2, "clock of 900 MHz is refused", "docs/hardware.md"),
        ("erupter:/dev/null@mv=800", 2, "Block Erupter has no core voltage to set", "leave the setting out"),
    ] {
        let output =
            Command::new(LODE).args(["mine", "-t", "0", "--device", device]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{device}: {stderr}");
        assert!(stderr.contains(what) && stderr.contains(advice), "{device}: {stderr}");
    }
}

#[cfg(feature = "emulate")]
#[test]
fn devices_are_emulated_by_a_flag_alone() {
    finds_shares(&["--emulate", "gamma", "--emulate", "2pac"], ["bitaxe-gamma", "2pac"]);
    finds_shares(&["--emulate", "r909,compac-a2"], ["r909", "compac-a2"]);
}

/// With devices of these drivers, in the order of the arguments.
#[cfg(feature = "emulate")]
fn finds_shares(emulate: &[&str], drivers: [&str; 2]) {
    let mut lode = Lode::mine(LODE, &[&["-t", "0"], emulate].concat());
    let start = lode.wait_for("start", PATIENCE, |_| true);
    assert_eq!((&start["practice"], &start["emulated"]), (&true.into(), &true.into()));
    for (number, driver) in (1..).zip(drivers) {
        let key = format!("asic:{driver}:emulated-{number}");
        lode.rewind();
        let up = lode.wait_for("device", PATIENCE, |line| line["event"] == "up" && line["device"] == key);
        assert!(up["name"].as_str().is_some_and(|name| name.starts_with("emulated ")), "{up}");
        lode.wait_for("share", PATIENCE, |share| share["outcome"] == "accepted" && share["device"] == key);
    }
    let ended = lode.signal(Signal::Terminate, PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let account = ended.account();
    assert_eq!((&account["rejected"], &account["withheld"]), (&0.into(), &0.0.into()));
}

#[cfg(not(feature = "emulate"))]
#[test]
fn without_the_feature_the_flag_says_how_to_get_it() {
    for kind in ["gamma", "list"] {
        let output = Command::new(LODE).args(["mine", "--emulate", kind]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.contains("built without emulated devices") && stderr.contains("--features emulate"),
            "{stderr}"
        );
    }
}

#[cfg(feature = "emulate")]
#[test]
fn what_is_emulated_is_listed_and_what_cannot_be_is_said() {
    let run = |args: &[&str]| {
        let output = Command::new(LODE).arg("mine").args(args).output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, list, _) = run(&["--emulate", "list"]);
    assert_eq!(code, Some(0));
    assert!(list.contains("gamma      Bitaxe Gamma: BM1370\n"), "{list}");
    for (args, what, advice) in [
        (&["--emulate", "toaster"][..], "no emulated device `toaster`", "gamma (Bitaxe Gamma: BM1370)"),
        (&["--emulate", "gamma,"], "--emulate is `gamma,`: not a list", "like gamma or 2pac,erupter"),
        (
            &["--emulate", "gamma", "-o", "stratum+tcp://a.example:1", "-u", "w"],
            "and a pool",
            "leave the pool out",
        ),
    ] {
        let (code, _, stderr) = run(args);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(what) && stderr.contains(advice), "{stderr}");
    }
}
