//! Boards on emulated devices: real pseudo-terminals, real timing, honest hashes, and the real scheduler.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod rig;

use std::time::Duration;

use asic_emulator::{Armed, Fault, Stranger, StrangerKind};
use miner_asic::board::BoardSettings;
use miner_core::backend::HealthState;
use rig::{Rig, device};

const DEFAULT: BoardSettings = BoardSettings { mhz: None, millivolts: None };
const SET: BoardSettings = BoardSettings { mhz: Some(400.0), millivolts: Some(1150) };

/// The device finds what there is to find, and the scheduler, which hashes it again, believes it.
///
/// Nothing acknowledges work, and none is given out twice: there is one try.
fn finds_it(preset: &str, driver: &str, settings: BoardSettings) {
    let mut rig = Rig::start(preset, driver, settings);
    assert_eq!(rig.share().nonce, rig.nonce);
    rig.end();
}

#[test]
fn an_icarus_finds_it() {
    finds_it("icarus", "icarus", DEFAULT);
}

#[test]
fn an_erupter_finds_it() {
    finds_it("erupter", "erupter", DEFAULT);
}

#[test]
fn an_antminer_u1_finds_it() {
    finds_it("u1", "antminer", DEFAULT);
}

#[test]
fn a_compac_finds_it() {
    finds_it("compac", "compac", DEFAULT);
}

#[test]
fn a_2pac_finds_it() {
    finds_it("2pac", "2pac", DEFAULT);
}

#[test]
fn a_compac_f_finds_it() {
    finds_it("compac-f", "compac-f", DEFAULT);
}

#[test]
fn a_compac_a1_finds_it() {
    finds_it("compac-a1", "compac-a1", DEFAULT);
}

#[test]
fn a_bitaxe_gamma_finds_it() {
    finds_it("gamma", "bitaxe-gamma", DEFAULT);
}

#[test]
fn a_bitaxe_supra_finds_it() {
    finds_it("supra", "bitaxe-supra", SET);
}

#[test]
fn a_bitaxe_ultra_finds_it() {
    finds_it("ultra", "bitaxe-ultra", SET);
}

#[test]
fn devices_with_a_switch_are_switched_off_at_the_end() {
    for (preset, driver) in [("gamma", "bitaxe-gamma"), ("compac-f", "compac-f"), ("compac-a1", "compac-a1")]
    {
        let mut rig = Rig::start(preset, driver, DEFAULT);
        rig.until_health(HealthState::Ok);
        assert!(!rig.emulator.state().in_reset, "{preset}");
        let state = rig.end();
        assert!(state.in_reset && state.is_safe(), "{preset}: {state:?}");
    }
}

#[test]
fn another_chip_than_the_driver_s_is_refused_and_left_without_power() {
    let mut rig = Rig::start("supra", "bitaxe-gamma", DEFAULT);
    let reason = rig.until_health(HealthState::Quarantined);
    assert!(reason.contains("1368"), "{reason}");
    rig.until_safe();
    assert!(!rig.end().powered);
}

#[test]
fn overheating_switches_a_gamma_off() {
    let mut rig = Rig::start("gamma", "bitaxe-gamma", DEFAULT);
    rig.share();
    rig.emulator.inject(Fault::Ambient(120.0));
    rig.emulator.inject(Fault::Temperature(95.0));
    let reason = rig.until_health(HealthState::Quarantined);
    assert!(reason.starts_with("too hot: "), "{reason}");
    assert!(!rig.emulator.state().powered);
    rig.end();
}

#[test]
fn a_regulator_that_trips_ends_a_gamma() {
    let mut rig = Rig::start("gamma", "bitaxe-gamma", DEFAULT);
    rig.share();
    rig.emulator.inject(Fault::RegulatorTrip);
    let reason = rig.until_health(HealthState::Quarantined);
    assert!(reason.starts_with("its voltage regulator reports"), "{reason}");
    assert!(rig.end().is_safe());
}

#[test]
fn a_broken_thermometer_ends_a_gamma() {
    let mut rig = Rig::start("gamma", "bitaxe-gamma", DEFAULT);
    rig.share();
    rig.emulator.inject(Fault::SensorOpen(true));
    let reason = rig.until_health(HealthState::Quarantined);
    assert!(reason.starts_with("its sensors can't be read"), "{reason}");
    assert!(!rig.end().powered);
}

#[test]
fn a_plug_that_was_pulled_is_waited_for_and_worked_with_again() {
    for (preset, driver) in [("icarus", "icarus"), ("gamma", "bitaxe-gamma")] {
        let mut rig = Rig::start(preset, driver, DEFAULT);
        rig.until_health(HealthState::Ok);
        rig.emulator.unplug();
        let reason = rig.until_health(HealthState::Sick);
        assert!(reason.ends_with("waiting for it"), "{reason}");
        rig.emulator.replug().unwrap();
        rig.follow_ports();
        rig.until_health(HealthState::Ok);
        rig.end();
    }
}

#[test]
fn broken_frames_bring_no_wrong_share() {
    for (preset, driver) in [("icarus", "icarus"), ("gamma", "bitaxe-gamma")] {
        let mut rig = Rig::start(preset, driver, DEFAULT);
        rig.until_health(HealthState::Ok);
        for fault in [
            Fault::Garbage(40),
            Fault::TruncateNext,
            Fault::CorruptNext,
            Fault::WrongNonceNext,
            Fault::WrongJobNext,
            Fault::DuplicateNext,
            Fault::LateNext(Duration::from_millis(300)),
        ] {
            rig.emulator.inject(fault);
            rig.pass(Duration::from_millis(700));
            // The scheduler has hashed each of them by itself.
            assert!(rig.shares.len() <= 1, "{fault:?} on {preset}");
            assert!(rig.shares.iter().all(|share| share.nonce == rig.nonce));
        }
        rig.end();
    }
}

/// A sample on real ports of what is tried at every step in virtual time.
#[test]
fn faults_on_the_way_to_work_are_recovered_from() {
    let (now, soon) = (Duration::ZERO, Duration::from_millis(5));
    for (preset, driver, nth, plan) in [
        ("erupter", "erupter", 0, vec![(now, Fault::TruncateNext)]),
        ("compac", "compac", 0, vec![(now, Fault::CorruptNext)]),
        ("compac-f", "compac-f", 5, vec![(now, Fault::Hang), (soon, Fault::Recover)]),
    ] {
        let mut rig = Rig::start_on(Box::new(Armed::new(device(preset), nth, plan)), driver);
        rig.until_health(HealthState::Ok);
        rig.end();
    }
}

#[test]
fn a_plug_pulled_in_mid_frame_is_waited_for() {
    let armed = Armed::new(device("compac"), 0, vec![(Duration::ZERO, Fault::UnplugNext)]);
    let mut rig = Rig::start_on(Box::new(armed), "compac");
    let reason = rig.until_health(HealthState::Sick);
    assert!(reason.ends_with("waiting for it"), "{reason}");
    rig.emulator.replug().unwrap();
    rig.follow_ports();
    rig.until_health(HealthState::Ok);
    rig.end();
}

#[test]
fn what_is_no_asic_is_put_aside_with_a_reason() {
    for (driver, kind) in [("erupter", StrangerKind::Modem), ("2pac", StrangerKind::Babbler)] {
        let mut rig = Rig::start_on(Box::new(Stranger::new(kind, 1)), driver);
        let reason = rig.until_health(HealthState::Quarantined);
        assert!(reason.ends_with("switched off for 15 s"), "{driver} on a {kind:?}: {reason}");
        rig.end();
    }
}

#[test]
fn a_device_that_hangs_is_recovered_once_it_answers_again() {
    let mut rig = Rig::start("icarus", "icarus", DEFAULT);
    rig.emulator.inject(Fault::Hang);
    rig.until_health(HealthState::Sick);
    rig.emulator.inject(Fault::Recover);
    rig.share();
    rig.end();
}
