use std::sync::mpsc::Receiver;

use super::*;
use crate::board::Board;
use crate::board::mock::{Hardware, MockBoard, Shared as Mock};

/// A guard over a mock board, and what is told of it.
struct Bench {
    guards: Guards,
    guard: Option<Guard>,
    hardware: Mock,
    notices: Receiver<Notice>,
    _events: Arc<dyn EventSink>,
}

/// Whoever tells it something waits until the test is over.
struct Deaf(Mutex<Receiver<()>>);

impl EventSink for Deaf {
    fn send(&self, _: BackendEvent) -> bool {
        let _ = self.0.lock().unwrap().recv();
        false
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(Duration::from_secs(3600), channel().1)
    }

    fn with(hang: Duration, deaf: Receiver<()>) -> Self {
        let (tell, notices) = channel();
        let guards = Guards::telling(move |notice| drop(tell.send(notice)));
        let mut board = MockBoard::new();
        let hardware = Arc::clone(&board.hardware);
        let keeper = board.open().unwrap().keeper;
        let events: Arc<dyn EventSink> = Arc::new(Deaf(Mutex::new(deaf)));
        let guard = Guard::start("asic:mock:0".into(), keeper, hang, &guards.list(), &events).unwrap();
        Self { guards, guard: Some(guard), hardware, notices, _events: events }
    }

    fn guard(&self) -> &Guard {
        self.guard.as_ref().unwrap()
    }

    fn set(&self, change: impl FnOnce(&mut Hardware)) {
        change(&mut self.hardware.lock().unwrap());
    }

    fn is_powered(&self) -> bool {
        self.hardware.lock().unwrap().powered
    }

    /// Waits for what is told next.
    fn next_told(&self) -> String {
        self.notices.recv_timeout(Duration::from_secs(30)).expect("something is told").to_string()
    }

    fn told(&self) -> Vec<String> {
        self.notices.try_iter().map(|notice| notice.to_string()).collect()
    }
}

/// Waits for what another thread is about to do.
fn until(what: impl Fn() -> bool) {
    for _ in 0..30_000 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it does not happen");
}

const REFUSED: &str =
    "asic:mock:0 could not be switched off: switch: stuck; pull its power plug, or let lode try on";

#[test]
fn a_board_that_refuses_is_tried_until_it_is_off_and_not_switched_on_meanwhile() {
    let bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.set(|hardware| (hardware.refuses, hardware.celsius) = (u32::MAX, 90.0));
    assert_eq!(bench.next_told(), REFUSED);
    until(|| bench.hardware.lock().unwrap().refuses < u32::MAX - 1);
    let error = bench.guard().power_up().unwrap_err();
    assert_eq!(error.to_string(), "it could not be switched off before: switch: stuck");
    assert!(bench.is_powered());
    assert_eq!(bench.guard().trip(), Some(Trip::Danger(Danger::Hot(90.0))));
    bench.set(|hardware| (hardware.refuses, hardware.celsius) = (0, 40.0));
    assert_eq!(bench.next_told(), "asic:mock:0 is off now", "the other tries were not told");
    assert!(!bench.is_powered());
    bench.guard().power_up().unwrap();
    assert!(bench.is_powered());
}

#[test]
fn the_end_of_the_program_waits_until_a_board_that_refuses_is_off() {
    let bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.set(|hardware| hardware.refuses = 4);
    assert!(bench.guards.list().make_all_safe(Haste::Patient));
    assert!(!bench.is_powered());
    let told = bench.told();
    assert_eq!(told.first().map(String::as_str), Some(REFUSED));
    // After 0.25, 0.5, 1 and 2 s.
    assert!(told[1].starts_with("switching 1 board off: this may take "), "{told:?}");
    assert_eq!(told[2..], ["asic:mock:0 is off now"]);
}

#[test]
fn what_is_left_on_is_named_once_and_tried_further() {
    let bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.set(|hardware| hardware.refuses = u32::MAX);
    assert!(!bench.guards.list().make_all_safe(Haste::Hurried));
    let told = bench.told();
    assert_eq!(told.last().unwrap(), "asic:mock:0 may be left on: switch: stuck; pull its power plug");
    let begun = Instant::now();
    assert!(!bench.guards.list().make_all_safe(Haste::Patient));
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits twice");
    assert_eq!(bench.told(), [""; 0]);
    bench.set(|hardware| hardware.refuses = 0);
    until(|| !bench.is_powered());
    until(|| bench.guards.list().count() == 0);
}

#[test]
fn a_board_with_its_own_supply_is_not_taken_for_off_because_it_is_unplugged() {
    let mut bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.set(|hardware| (hardware.own_supply, hardware.gone) = (true, true));
    // Its driver lets go of it.
    bench.guard = None;
    assert_eq!(bench.guards.list().count(), 1);
    let words = "it is unplugged from USB, but has a power supply of its own; pull its power plug";
    assert_eq!(
        bench.next_told(),
        format!("asic:mock:0 could not be switched off: {words}, or let lode try on")
    );
    let begun = Instant::now();
    assert!(!bench.guards.list().make_all_safe(Haste::Patient));
    assert!(begun.elapsed() < Duration::from_secs(1), "there is nothing to wait for");
    assert_eq!(bench.told(), [format!("asic:mock:0 may be left on: {words}")]);
    assert!(bench.is_powered());
    bench.set(|hardware| hardware.gone = false);
    until(|| !bench.is_powered());
}

#[test]
fn a_guard_that_is_blocked_is_noticed_by_the_driver_and_by_the_end() {
    let bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.set(|hardware| hardware.keeper_hangs = true);
    until(|| bench.guard().trip() == Some(Trip::Stuck));
    assert!(matches!(bench.guard().power_up(), Err(BoardError::Stuck)));
    assert_eq!(bench.guard().trouble(), Some(Trouble::Stuck));
    assert!(!bench.guards.list().make_all_safe(Haste::Hurried));
    let told = bench.told();
    let left = "asic:mock:0 may be left on: the thread that guards it does not answer; pull its power plug";
    assert_eq!(told.last().unwrap(), left);
    bench.set(|hardware| hardware.keeper_hangs = false);
    until(|| !bench.is_powered());
    until(|| bench.guard().is_finished());
    assert_eq!(bench.guard().trouble(), None);
}

#[test]
fn a_panic_while_switching_off_is_a_vain_try() {
    let mut bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.set(|hardware| hardware.off_panics = 1);
    bench.guard = None;
    until(|| !bench.is_powered());
    assert!(bench.told()[0].contains("could not be switched off: driver: it panicked"));
}

#[test]
fn a_panic_of_the_keeper_ends_the_guard_but_not_before_the_board_is_off() {
    let bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.set(|hardware| (hardware.keeper_panics, hardware.refuses) = (true, 1));
    until(|| bench.guard().trip() == Some(Trip::Unguarded));
    until(|| bench.guard().is_finished());
    assert!(!bench.is_powered());
    assert!(matches!(bench.guard().power_up(), Err(BoardError::Unguarded)));
}

#[test]
fn a_guard_waits_for_nobody_who_is_told_that_the_driver_hangs() {
    let (over, deaf) = channel();
    let bench = Bench::with(Duration::from_millis(20), deaf);
    bench.guard().power_up().unwrap();
    until(|| matches!(bench.guard().trip(), Some(Trip::Hung(_))));
    assert!(!bench.is_powered());
    // The driver is back.
    bench.guard().power_up().unwrap();
    assert!(bench.guards.list().make_all_safe(Haste::Patient));
    assert!(!bench.is_powered());
    drop(over);
}

#[test]
fn the_end_of_a_driver_waits_until_its_board_was_tried() {
    let mut bench = Bench::new();
    bench.guard().power_up().unwrap();
    bench.guard = None;
    assert!(!bench.is_powered());
    assert_eq!(bench.told(), [""; 0]);
}
