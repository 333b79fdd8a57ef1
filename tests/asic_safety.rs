//! `lode` with an emulated Bitaxe: however the program ends, and whatever goes wrong in it, the board is off in the end; and
//! where it can't be switched off, that is said.
#![cfg(all(target_os = "linux", debug_assertions))]

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use asic_emulator::{Emulator, Fault, KNOWN_ANSWERS, KnownAnswers, State, preset};
use practice_pool::{Config, Replay};
use testkit::mischief::is_verdict;
use testkit::practice::{Practice, quiet};
use testkit::process::{Ended, Lode, Signal};
use testkit::wire::{Fate, Way, Wire};

const LODE: &str = env!("CARGO_BIN_EXE_lode");
const PATIENCE: Duration = Duration::from_secs(120);
/// How `src/hooks.rs` is told what to have go wrong.
const FAULT: &str = "LODE_TEST_FAULT";

/// Emulated devices tell some frames apart by milliseconds of silence: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A Bitaxe at work.
struct Bench {
    _alone: MutexGuard<'static, ()>,
    emulator: Emulator,
    pool: Practice,
    wire: Wire,
    lode: Lode,
    /// The planned fault strikes once this is there.
    trigger: PathBuf,
}

impl Bench {
    /// Starts lode with a planned fault, and waits until the board hashes.
    fn start(fault: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = KnownAnswers::read(KNOWN_ANSWERS).expect("known answers");
        let device = preset("gamma", Arc::new(answers)).expect("a preset");
        let emulator = Emulator::start(device).expect("pseudo-terminals");
        let replay = Some(Arc::new(Replay::read(KNOWN_ANSWERS).expect("jobs")));
        let block_interval = Duration::from_secs(3);
        let pool = Practice::start(Config { difficulty: 1.0, block_interval, replay, ..quiet() });
        let wire = Wire::to(pool.addr());
        // At a difficulty that suits the board none of the known answers would be a share.
        wire.tamper(|way, line| if suggests(way, line) { Fate::Drop } else { Fate::Pass });
        let trigger = testkit::scratch("trigger");
        let ports: Vec<String> = emulator.ports().iter().map(|port| port.display().to_string()).collect();
        let mut command = Command::new(LODE);
        command.args(["mine", "--output", "json", "-t", "0", "--report-interval", "1s", "-u", "w"]);
        command.args(["-o", &format!("stratum+tcp://{}", wire.addr())]);
        command.args(["--device", &format!("bitaxe-gamma:{}", ports.join(","))]);
        if !fault.is_empty() {
            command.env(FAULT, format!("{fault}:{}", trigger.display()));
        }
        let lode = Lode::start(&mut command).that_may_panic();
        let bench = Self { _alone: alone, emulator, pool, wire, lode, trigger };
        let state = bench.until(|state| state.hashing);
        assert!(state.powered && !state.in_reset, "{state:?}");
        bench
    }

    /// Has the planned fault strike.
    fn strike(&self) {
        std::fs::write(&self.trigger, "").expect("a file can be written");
    }

    fn until(&self, what: impl Fn(&State) -> bool) -> State {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.emulator.state();
            if what(&state) {
                return state;
            }
            assert!(Instant::now() < end, "{state:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until lode has ended.
    fn end(self) -> (Ended, State) {
        let Self { emulator, pool, lode, _alone, .. } = self;
        let ended = lode.end(PATIENCE);
        // The process is gone: nobody else will do it.
        let state = emulator.state();
        pool.stop();
        (ended, state)
    }

    #[track_caller]
    fn ends_safely(self, code: i32, said: &[&str]) -> Ended {
        let (ended, state) = self.end();
        assert!(!state.powered && state.in_reset, "{state:?}\n{}", ended.stderr);
        ended.expect(code, said)
    }
}

fn suggests(way: Way, line: &[u8]) -> bool {
    way == Way::ToPool && String::from_utf8_lossy(line).contains("mining.suggest_difficulty")
}

trait Expect {
    fn expect(self, code: i32, said: &[&str]) -> Self;
}

impl Expect for Ended {
    #[track_caller]
    fn expect(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for text in said {
            assert!(self.stderr.contains(text), "no {text:?} in\n{}", self.stderr);
        }
        self
    }
}

#[test]
fn the_board_is_off_after_a_second_signal_while_answers_are_waited_for() {
    let mut bench = Bench::start("");
    bench.wire.tamper(
        |way, line| if is_verdict(way, line) || suggests(way, line) { Fate::Drop } else { Fate::Pass },
    );
    // A share that will never be answered is waited for at the end.
    bench.lode.wait_for("snapshot", PATIENCE, |snapshot| snapshot["shares"]["pending"].as_u64() > Some(0));
    bench.lode.send(Signal::Terminate);
    std::thread::sleep(Duration::from_secs(1));
    assert!(bench.lode.is_running(), "it waits for the answer");
    bench.lode.send(Signal::Terminate);
    bench.ends_safely(130, &[]);
}

#[test]
fn the_board_is_off_after_a_panic_of_the_driver() {
    let bench = Bench::start("driver-panic");
    bench.strike();
    bench.ends_safely(101, &["panicked"]);
}

#[test]
fn the_board_is_off_after_a_panic_of_the_device_s_thread() {
    let bench = Bench::start("device-panic");
    bench.strike();
    let ended = bench.ends_safely(4, &["panicked"]);
    ended.account();
}

#[test]
fn the_board_is_off_when_the_driver_hangs_and_the_program_ends() {
    let bench = Bench::start("driver-hang");
    bench.strike();
    bench.ends_safely(1, &["lode hangs: its boards are switched off"]);
}

#[test]
fn two_signals_end_a_driver_that_hangs() {
    let bench = Bench::start("driver-hang");
    bench.strike();
    // The driver looks at least at each report.
    std::thread::sleep(Duration::from_secs(2));
    bench.lode.send(Signal::Interrupt);
    bench.lode.send(Signal::Interrupt);
    let ended = bench.ends_safely(130, &[]);
    assert!(ended.of_type("end").next().is_none(), "the driver said goodbye");
}

#[test]
fn the_board_is_off_when_its_thread_hangs_and_the_rest_goes_on() {
    let mut bench = Bench::start("device-hang");
    bench.strike();
    bench.until(|state| !state.powered && state.in_reset);
    bench.lode.wait_for("device", PATIENCE, |device| {
        let reason = device["health"]["reason"].as_str().unwrap_or_default();
        reason.starts_with("its driver gave no sign of life")
    });
    bench.lode.send(Signal::Terminate);
    bench.ends_safely(0, &[]);
}

#[test]
fn a_board_that_refuses_at_first_is_off_at_the_end() {
    let bench = Bench::start("");
    bench.emulator.inject(Fault::StaysOn(5));
    bench.lode.send(Signal::Terminate);
    let refused = "could not be switched off: voltage regulator: refused with code 0x10; pull its power plug";
    bench.ends_safely(0, &[refused, "is off now"]);
}

#[test]
fn a_board_that_refuses_is_off_after_a_second_signal_too() {
    let bench = Bench::start("");
    bench.emulator.inject(Fault::StaysOn(5));
    bench.lode.send(Signal::Interrupt);
    bench.lode.send(Signal::Interrupt);
    bench.ends_safely(130, &["could not be switched off", "is off now"]);
}

#[test]
fn a_board_that_can_not_be_switched_off_is_named_and_the_program_ends_with_1() {
    let bench = Bench::start("");
    bench.emulator.inject(Fault::StaysOn(u32::MAX));
    bench.lode.send(Signal::Terminate);
    let (ended, state) = bench.end();
    assert!(state.powered && state.in_reset && !state.hashing, "the chips are in reset at least: {state:?}");
    ended.expect(1, &["switching 1 board off: this may take", "may be left on: voltage regulator: refused"]);
}

#[test]
fn an_unplugged_board_that_hashes_on_is_named_and_not_waited_for() {
    let mut bench = Bench::start("");
    bench.emulator.unplug();
    bench.lode.wait_for("device", PATIENCE, |device| {
        let reason = device["health"]["reason"].as_str().unwrap_or_default();
        reason.contains("has a power supply of its own") && reason.ends_with("waiting for it")
    });
    bench.lode.send(Signal::Terminate);
    let (ended, state) = bench.end();
    assert!(state.powered && state.hashing, "{state:?}");
    let ended =
        ended.expect(1, &["may be left on: it is unplugged from USB, but has a power supply of its own"]);
    assert!(ended.took < Duration::from_secs(6), "{:?}", ended.took);
}
