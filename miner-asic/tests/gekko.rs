//! GekkoScience devices with a reset line, on emulated ones: real pseudo-terminals, real timing, honest hashes.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod rig;

use std::time::Duration;

use asic_emulator::{Fault, State};
use miner_asic::board::BoardSettings;
use miner_core::backend::HealthState;
use rig::Rig;

const DEFAULT: BoardSettings = BoardSettings { mhz: None, millivolts: None };
/// Soon reached.
const SLOW: BoardSettings = BoardSettings { mhz: Some(62.5), millivolts: None };

/// What the device does at work, and what after its end.
///
/// Nothing acknowledges work, and none is given out twice: where a busy machine tears a frame apart, another try counts.
fn finds_it(name: &str) -> (State, State) {
    for _ in 0..4 {
        let mut rig = Rig::start(name, name, DEFAULT);
        let found = rig.pass_until(Duration::from_secs(35), |rig| !rig.shares.is_empty());
        assert!(rig.shares.iter().all(|share| share.nonce == rig.nonce));
        let (at_work, ended) = (rig.emulator.state(), rig.end());
        if found {
            return (at_work, ended);
        }
    }
    panic!("it is not found");
}

#[test]
fn an_r909_finds_it_and_is_left_in_reset() {
    let (at_work, ended) = finds_it("r909");
    assert!(at_work.chips == 6 && at_work.megahertz == 200.0 && !at_work.in_reset, "{at_work:?}");
    assert!(ended.in_reset && ended.is_safe(), "{ended:?}");
}

#[test]
fn a_compac_a2_finds_it_and_is_left_without_power() {
    let (at_work, ended) = finds_it("compac-a2");
    assert!(at_work.powered && at_work.millivolts == 270 && at_work.fan_percent == 100, "{at_work:?}");
    assert!(ended.in_reset && !ended.powered && ended.fan_percent == 100, "{ended:?}");
}

#[test]
fn an_r909_of_five_chips_is_not_worked_with() {
    let mut rig = Rig::start("r909", "r909", SLOW);
    rig.emulator.inject(Fault::Dead { chip: 4 });
    let reason = rig.until_health(HealthState::Quarantined);
    assert!(reason.starts_with("5 chips answer where 6 are expected"), "{reason}");
    assert!(rig.end().in_reset);
}

#[test]
fn an_a1_taken_for_an_a2_is_left_without_power() {
    let mut rig = Rig::start("compac-a1", "compac-a2", SLOW);
    let reason = rig.until_health(HealthState::Quarantined);
    assert!(reason.contains("a chip says it is a BM1362, not a BM1370"), "{reason}");
    assert!(!rig.end().powered);
}

#[test]
fn heat_and_a_broken_thermometer_end_a_compac_a2() {
    for (faults, says) in [
        (&[Fault::Ambient(130.0), Fault::Temperature(95.0)][..], "too hot: "),
        (&[Fault::SensorOpen(true)], "its sensors can't be read"),
    ] {
        let mut rig = Rig::start("compac-a2", "compac-a2", SLOW);
        rig.until_health(HealthState::Ok);
        faults.iter().for_each(|fault| rig.emulator.inject(*fault));
        let reason = rig.until_health(HealthState::Quarantined);
        assert!(reason.starts_with(says), "{reason}");
        assert!(!rig.emulator.state().powered);
        rig.end();
    }
}

#[test]
fn devices_that_were_unplugged_are_worked_with_again() {
    for name in ["r909", "compac-a2"] {
        let mut rig = Rig::start(name, name, SLOW);
        rig.until_health(HealthState::Ok);
        rig.emulator.unplug();
        let reason = rig.until_health(HealthState::Sick);
        assert!(reason.ends_with("waiting for it"), "{reason}");
        rig.emulator.replug().unwrap();
        rig.follow_ports();
        rig.until_health(HealthState::Ok);
        assert!(rig.end().is_safe());
    }
}
