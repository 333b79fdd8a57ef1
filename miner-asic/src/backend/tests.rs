use std::sync::atomic::{AtomicBool, Ordering};

use miner_core::backend::contract_tests::{self, Rig};
use miner_core::types::{Target, WorkId};
use miner_core::work::NonceRange;

use super::*;
use crate::board::mock::{MockBoard, Shared};
use crate::guard::{Guards, Haste};
use crate::transport::mock::{Done, MockLink};

/// A backend over a mock board, and its hardware.
struct Bench {
    guards: Guards,
    hardware: Shared,
    link: Arc<MockLink>,
}

impl Bench {
    fn new(config: AsicConfig) -> (Self, Box<AsicBackend>) {
        Self::with(MockBoard::new(), config)
    }

    fn with(board: MockBoard, config: AsicConfig) -> (Self, Box<AsicBackend>) {
        let guards = Guards::default();
        let bench = Self { guards, hardware: Arc::clone(&board.hardware), link: Arc::clone(&board.link) };
        let backend = AsicBackend::new(Box::new(board), config, bench.guards.list());
        (bench, Box::new(backend))
    }

    fn is_safe(&self) -> bool {
        !self.hardware.lock().unwrap().powered
    }

    /// Waits for what another thread is about to do.
    fn until(&self, what: impl Fn(&Self) -> bool) {
        for _ in 0..30_000 {
            if what(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("it does not happen");
    }
}

fn config() -> AsicConfig {
    AsicConfig::default()
}

/// Feeds a unit that takes for ever.
fn feed_long(rig: &mut Rig, id: u64) {
    let mut unit = rig.unit(id, NonceRange::FULL, 1);
    unit.report_target = Target::from_expected_hashes(5_000.0);
    rig.feed(unit);
}

#[test]
fn the_contract_of_backends_holds() {
    contract_tests::check(&|| {
        let (bench, backend) = Bench::new(config());
        // The list outlives the bench: here nobody ends the program.
        std::mem::forget(bench.guards);
        backend
    });
}

#[test]
fn the_board_is_powered_for_work_and_switched_off_at_the_end() {
    let (bench, backend) = Bench::new(config());
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    assert!(!bench.is_safe());
    rig.close();
    assert!(bench.is_safe());
    let done = bench.link.done();
    assert_eq!(done[..2], [Done::Wrote(b"start".to_vec()), Done::Baud(1_000_000)]);
    assert_eq!(done.last(), Some(&Done::Wrote(b"stop".to_vec())));
}

#[test]
fn a_panic_of_the_driving_thread_switches_the_board_off() {
    let faults: FaultHook = Arc::new(|step| if step == Step::Nonce { Fault::Panic } else { Fault::None });
    let (bench, backend) = Bench::new(AsicConfig { faults: Some(faults), ..config() });
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    bench.until(|bench| bench.hardware.lock().unwrap().power_ups == 1);
    bench.until(Bench::is_safe);
    bench.until(|bench| bench.guards.list().count() == 0);
}

#[test]
fn a_driving_thread_that_hangs_for_ever_has_the_board_switched_off_and_said() {
    let faults: FaultHook = Arc::new(|step| if step == Step::Nonce { Fault::Hang } else { Fault::None });
    let hang = Duration::from_millis(50);
    let (bench, backend) = Bench::new(AsicConfig { faults: Some(faults), hang, ..config() });
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    bench.until(|bench| bench.hardware.lock().unwrap().power_ups == 1);
    bench.until(Bench::is_safe);
    while rig.health.last().is_none_or(|health| health.state != HealthState::Quarantined) {
        rig.next_event();
    }
    let reason = rig.health.last().unwrap().reason.clone().unwrap();
    assert!(reason.starts_with("its driver gave no sign of life for 0."), "{reason}");
}

#[test]
fn the_end_of_the_program_switches_off_even_a_board_whose_driver_hangs() {
    let hung = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&hung);
    let faults: FaultHook = Arc::new(move |step| {
        let hangs = step == Step::Nonce;
        seen.fetch_or(hangs, Ordering::Release);
        if hangs { Fault::Hang } else { Fault::None }
    });
    let hang = Duration::from_secs(3600);
    let (bench, backend) = Bench::new(AsicConfig { faults: Some(faults), hang, ..config() });
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    bench.until(|_| hung.load(Ordering::Acquire));
    assert!(!bench.is_safe());
    let Bench { guards, hardware, .. } = bench;
    drop(guards);
    assert!(!hardware.lock().unwrap().powered);
}

#[test]
fn nothing_is_switched_on_after_the_end_of_the_program() {
    let (bench, backend) = Bench::new(config());
    let list = bench.guards.list();
    assert!(list.make_all_safe(Haste::Hurried));
    Rig::new(backend).close();
    assert_eq!(bench.hardware.lock().unwrap().power_ups, 0);
}

#[test]
fn heat_switches_the_board_off_and_puts_it_aside() {
    let (bench, backend) = Bench::new(config());
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    bench.hardware.lock().unwrap().celsius = 81.0;
    bench.until(Bench::is_safe);
    while rig.health.last().is_none_or(|health| health.state != HealthState::Quarantined) {
        rig.next_event();
    }
    let reason = rig.health.last().unwrap().reason.clone().unwrap();
    assert_eq!(&*reason, "too hot: 81 °C: switched off for 15 s");
    rig.close();
    assert_eq!(bench.hardware.lock().unwrap().power_ups, 1);
}

#[test]
fn a_guard_that_panics_leaves_the_board_off() {
    let (bench, backend) = Bench::new(config());
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    bench.hardware.lock().unwrap().keeper_panics = true;
    bench.until(Bench::is_safe);
    bench.hardware.lock().unwrap().keeper_panics = false;
    // It is recovered with a new guard.
    rig.finish(WorkId(0));
    feed_long(&mut rig, 1);
    rig.wait_for_a_hit(WorkId(1));
    assert_eq!(bench.hardware.lock().unwrap().power_ups, 2);
    rig.close();
    assert!(bench.is_safe());
}

#[test]
fn an_unplugged_device_is_waited_for_and_works_again() {
    let (bench, backend) = Bench::new(config());
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    bench.hardware.lock().unwrap().gone = true;
    bench.link.set_gone(true);
    rig.finish(WorkId(0));
    while rig.health.last().is_none_or(|health| health.state != HealthState::Sick) {
        rig.next_event();
    }
    assert_eq!(rig.health.last().unwrap().reason.as_deref(), Some("mock has vanished: waiting for it"));
    assert!(bench.is_safe());
    bench.hardware.lock().unwrap().gone = false;
    feed_long(&mut rig, 1);
    rig.wait_for_a_hit(WorkId(1));
    rig.close();
}

/// The next health that is told in this state.
fn health_in(rig: &mut Rig, state: HealthState) -> String {
    rig.health.clear();
    while rig.health.last().is_none_or(|health| health.state != state) {
        rig.next_event();
    }
    rig.health.last().unwrap().reason.as_deref().unwrap_or_default().to_owned()
}

#[test]
fn an_unplugged_board_with_its_own_supply_is_switched_off_when_it_is_back_before_anything_else() {
    let (bench, backend) = Bench::new(config());
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    {
        let mut hardware = bench.hardware.lock().unwrap();
        (hardware.own_supply, hardware.gone) = (true, true);
    }
    bench.link.set_gone(true);
    rig.finish(WorkId(0));
    while rig.health.last().is_none_or(|health| {
        health.reason.as_deref().is_none_or(|reason| !reason.contains("power supply of its own"))
    }) {
        rig.next_event();
    }
    assert!(!bench.is_safe(), "it hashes on");
    bench.hardware.lock().unwrap().gone = false;
    bench.until(Bench::is_safe);
    feed_long(&mut rig, 1);
    rig.wait_for_a_hit(WorkId(1));
    assert_eq!(bench.hardware.lock().unwrap().opened, 2);
    rig.close();
    assert!(bench.is_safe());
}

#[test]
fn a_board_that_could_not_be_switched_off_gets_no_work_until_it_is_off() {
    let (bench, backend) = Bench::new(config());
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    bench.hardware.lock().unwrap().refuses = 2;
    // What makes the driver open it anew.
    bench.link.set_gone(true);
    let reason = health_in(&mut rig, HealthState::Quarantined);
    assert_eq!(reason, "could not be switched off: switch: stuck; pull its power plug");
    assert_eq!(bench.hardware.lock().unwrap().opened, 1);
    let reason = health_in(&mut rig, HealthState::Sick);
    assert_eq!(reason, "mock has vanished: waiting for it");
    assert!(bench.is_safe());
    feed_long(&mut rig, 1);
    rig.wait_for_a_hit(WorkId(1));
    rig.close();
    assert!(bench.is_safe());
}

#[test]
fn a_board_whose_guard_is_blocked_gets_no_work_and_says_so() {
    let (bench, backend) = Bench::new(config());
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    bench.hardware.lock().unwrap().keeper_hangs = true;
    let reason = health_in(&mut rig, HealthState::Quarantined);
    assert_eq!(reason, "the thread that guards it does not answer, so it may be on: pull its power plug");
    let last = bench.link.done().last().cloned();
    assert_eq!(last, Some(Done::Wrote(b"stop".to_vec())), "chips are told to stop all the same");
    // Nothing waits for the guard at the end either.
    rig.close();
    bench.hardware.lock().unwrap().keeper_hangs = false;
    bench.until(Bench::is_safe);
}

#[test]
fn chips_that_do_not_answer_are_initialised_again_then_reset_then_put_aside() {
    let (bench, backend) = Bench::new(config());
    bench.hardware.lock().unwrap().mute = true;
    let mut rig = Rig::new(backend);
    while rig.health.last().is_none_or(|health| health.state != HealthState::Quarantined) {
        rig.next_event();
    }
    let reason = rig.health.last().unwrap().reason.clone().unwrap();
    assert_eq!(&*reason, "no answer while counting chips: switched off for 15 s");
    bench.until(Bench::is_safe);
    let (opened, power_ups) = {
        let hardware = bench.hardware.lock().unwrap();
        (hardware.opened, hardware.power_ups)
    };
    assert_eq!((opened, power_ups), (2, 3), "initialised twice, then reset");
    rig.close();
}

#[test]
fn a_device_that_only_lies_is_recovered_and_its_claims_are_passed_on() {
    let floor = Some(Target::from_expected_hashes(5_000.0));
    let (bench, backend) = Bench::with(MockBoard { report_floor: floor, ..MockBoard::new() }, config());
    bench.hardware.lock().unwrap().lies = true;
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    assert!(rig.finish(WorkId(0)).hits.len() >= 16);
    while rig.health.last().is_none_or(|health| health.state != HealthState::Sick) {
        rig.next_event();
    }
    assert_eq!(rig.health.last().unwrap().reason.as_deref(), Some("16 of the last 16 nonces were wrong"));
    rig.close();
    assert!(bench.is_safe());
}

#[test]
fn a_board_without_work_is_switched_off_until_there_is_some() {
    let (bench, backend) = Bench::new(AsicConfig { idle: Duration::from_millis(20), ..config() });
    let mut rig = Rig::new(backend);
    bench.until(|bench| bench.hardware.lock().unwrap().made_safe > 0);
    assert!(bench.is_safe());
    feed_long(&mut rig, 0);
    rig.wait_for_a_hit(WorkId(0));
    assert!(!bench.is_safe());
    rig.close();
    assert_eq!(bench.hardware.lock().unwrap().power_ups, 2);
}

#[test]
fn what_was_measured_is_told() {
    let (bench, backend) = Bench::new(AsicConfig { warm: 35.0, ..config() });
    let mut rig = Rig::new(backend);
    feed_long(&mut rig, 0);
    while rig.health.last().is_none_or(|health| health.celsius.is_none()) {
        rig.next_event();
    }
    let health = rig.health.last().unwrap().clone();
    assert_eq!((health.state, health.reason.as_deref()), (HealthState::Degraded, Some("hot: 40 °C")));
    assert_eq!((health.clock_mhz, health.chips), (Some(500.0), Some(1)));
    rig.close();
    assert!(bench.is_safe());
}

#[test]
fn a_thousand_plug_cycles_leave_nothing_behind() {
    let (bench, first) = Bench::new(config());
    drop(first);
    for _ in 0..1000 {
        let (hardware, link) = (Arc::clone(&bench.hardware), Arc::clone(&bench.link));
        let board = MockBoard { hardware, link, report_floor: None };
        Rig::new(Box::new(AsicBackend::new(Box::new(board), config(), bench.guards.list()))).close();
    }
    assert_eq!(bench.guards.list().count(), 0);
    assert!(bench.is_safe());
    assert_eq!(Arc::strong_count(&bench.hardware), 1);
}
