use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::discover::{look, recognise};
use crate::usb::mock::MockUsb;

fn gamma(serial: &str, ports: &[&str]) -> UsbDevice {
    UsbDevice {
        vendor: 0xc0de,
        product_id: 0xcafe,
        manufacturer: "OSMU".to_owned(),
        product: "Bitaxe".to_owned(),
        serial: Some(serial.to_owned()),
        ports: ports.iter().map(Into::into).collect(),
        ..UsbDevice::default()
    }
}

const READY: &[&str] = &["/dev/null", "/dev/null"];

/// A machine, and what is told of its devices as time passes.
struct Desk {
    usb: MockUsb,
    watch: Watch,
    now: Instant,
}

impl Desk {
    fn new(devices: &[UsbDevice]) -> Self {
        let usb = MockUsb::new(devices.to_vec());
        let now = Instant::now();
        let watch = Watch::new(now, look(&usb).unwrap());
        Self { usb, watch, now }
    }

    /// Has these plugged in, and looks as often as the watch asks for.
    fn pass(&mut self, seconds: f64, devices: &[UsbDevice]) -> Vec<String> {
        self.usb.set(devices.to_vec());
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut told = Vec::new();
        while self.now < end {
            let seen = look(&self.usb).unwrap();
            told.extend(self.watch.look(self.now, seen).iter().map(text));
            self.now += self.watch.pause();
        }
        told
    }
}

fn text(change: &Change) -> String {
    match change {
        Change::Appeared(sighting) => format!("{} appeared", sighting.device.name()),
        Change::Hindered(sighting) => {
            format!("{}: {}", sighting.device.name(), sighting.obstacle.as_ref().unwrap())
        }
        Change::Vanished(device) => format!("{} vanished", device.name()),
    }
}

#[test]
fn a_device_is_told_of_once_and_again_after_it_was_away() {
    let mut desk = Desk::new(&[gamma("A", READY)]);
    let (both, first) = ([gamma("A", READY), gamma("B", READY)], [gamma("A", READY)]);
    assert!(desk.pass(10.0, &first).is_empty(), "it was there from the start");
    assert_eq!(desk.pass(10.0, &both), ["B appeared"]);
    assert_eq!(desk.pass(10.0, &first), ["B vanished"]);
    assert_eq!(desk.pass(10.0, &both), ["B appeared"]);
    assert_eq!(desk.pass(10.0, &both[1..]), ["A vanished"]);
}

#[test]
fn a_device_that_flickers_is_neither_new_nor_gone() {
    let mut desk = Desk::new(&[gamma("A", READY)]);
    for _ in 0..20 {
        assert!(desk.pass(1.0, &[]).is_empty());
        assert!(desk.pass(0.5, &[gamma("A", READY), gamma("B", READY)]).is_empty());
    }
    assert_eq!(desk.pass(3.0, &[gamma("A", READY), gamma("B", READY)]), ["B appeared"]);
}

#[test]
fn ports_that_come_later_are_waited_for() {
    let mut desk = Desk::new(&[]);
    assert!(desk.pass(1.0, &[gamma("A", &[])]).is_empty());
    assert!(desk.pass(1.0, &[gamma("A", &READY[1..])]).is_empty());
    assert!(desk.pass(1.0, &[gamma("A", &["/dev/null", "/dev/ttyNOWHERE"])]).is_empty());
    assert_eq!(desk.pass(2.0, &[gamma("A", READY)]), ["A appeared"]);
}

#[test]
fn what_stays_in_the_way_is_told_once_and_may_still_go() {
    let mut desk = Desk::new(&[]);
    let missing = [gamma("A", &["/dev/null", "/dev/ttyNOWHERE"])];
    assert!(desk.pass(6.0, &missing).is_empty());
    assert_eq!(desk.pass(60.0, &missing), ["A: /dev/ttyNOWHERE is not there"]);
    assert_eq!(desk.pass(5.0, &[gamma("A", READY)]), ["A appeared"]);
    let bonanza = UsbDevice { product: "BitaxeBonanza".to_owned(), ..gamma("Z", READY) };
    let told = desk.pass(4.0, &[gamma("A", READY), bonanza]);
    assert_eq!(told, ["Z: its chip, BZM2, is not supported"]);
}

#[test]
fn what_stood_in_the_way_from_the_start_is_told_when_it_has_gone() {
    let mut desk = Desk::new(&[gamma("A", &[])]);
    assert!(desk.pass(60.0, &[gamma("A", &[])]).is_empty());
    assert_eq!(desk.pass(5.0, &[gamma("A", READY)]), ["A appeared"]);
}

#[test]
fn a_flood_of_devices_fills_no_memory() {
    let mut desk = Desk::new(&[]);
    for round in 0..20 {
        let many: Vec<UsbDevice> = (0..100).map(|i| gamma(&format!("{round}-{i}"), READY)).collect();
        desk.pass(0.5, &many);
        assert!(desk.watch.known.len() <= MAX_KNOWN);
    }
    desk.pass(10.0, &[]);
    assert!(desk.watch.known.is_empty());
}

#[test]
fn a_bell_rings_after_a_while_and_when_its_thread_is_woken() {
    Bell::new().wait(Duration::ZERO);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| Bell::new().wait(Duration::from_secs(3600)));
        waiting.thread().unpark();
    });
}

/// What one look saw: for each device whether it is there, and whether something is in its way.
type Scene = (u64, [Option<bool>; 3]);

fn scenes() -> impl Strategy<Value = Vec<Scene>> {
    let device = prop_oneof![3 => Just(Some(false)), 1 => Just(Some(true)), 2 => Just(None)];
    let scene = (0u64..3_000, [device.clone(), device.clone(), device]);
    // Most things stay as they are from one look to the next.
    proptest::collection::vec((scene, 1usize..6), 1..40).prop_map(|runs| {
        runs.into_iter().flat_map(|(scene, times)| std::iter::repeat_n(scene, times)).collect()
    })
}

fn sighting(number: usize, hindered: bool) -> Sighting {
    let device = gamma(&number.to_string(), if hindered { &[] } else { READY });
    let is = recognise(&device).unwrap();
    let obstacle = hindered.then_some(Obstacle::NoPorts { got: 0, wanted: 2 });
    Sighting { device, is, obstacle }
}

/// What is known of a device from all the scenes up to now, without a watch.
#[derive(Clone, Copy, Default)]
struct Past {
    /// Since when every look saw it as it is in the last one.
    same_for: Duration,
    last: Option<bool>,
    appeared: bool,
}

proptest! {
    #[test]
    fn each_device_appears_when_it_is_steady_and_vanishes_when_it_is_gone(scenes in scenes()) {
        let mut now = Instant::now();
        let mut watch = Watch::new(now, Vec::new());
        let mut past: [Past; 3] = Default::default();
        for (pause, scene) in scenes {
            let pause = Duration::from_millis(pause);
            now += pause;
            let here = |(number, state): (usize, &Option<bool>)| Some(sighting(number, (*state)?));
            let changes = watch.look(now, scene.iter().enumerate().filter_map(here).collect());
            let mut told: BTreeMap<String, &Change> = BTreeMap::new();
            for change in &changes {
                let device = match change {
                    Change::Appeared(sighting) | Change::Hindered(sighting) => &sighting.device,
                    Change::Vanished(device) => device,
                };
                prop_assert!(told.insert(device.name(), change).is_none(), "two changes at once");
            }
            for (number, (past, &state)) in past.iter_mut().zip(&scene).enumerate() {
                past.same_for = if past.last == state { past.same_for + pause } else { Duration::ZERO };
                past.last = state;
                let told = told.get(&number.to_string());
                let steady = state == Some(false) && past.same_for >= STEADY;
                let gone = state.is_none() && past.same_for >= GONE;
                let appears = steady && !past.appeared;
                prop_assert_eq!(matches!(told, Some(Change::Appeared(_))), appears);
                past.appeared |= appears;
                let vanishes = gone && past.appeared;
                if vanishes {
                    prop_assert!(matches!(told, Some(Change::Vanished(_))));
                }
                past.appeared &= !gone;
                if let Some(Change::Hindered(_)) = told {
                    prop_assert!(state == Some(true) && !past.appeared && past.same_for >= PATIENCE);
                }
            }
        }
        watch.look(now, Vec::new());
        watch.look(now + GONE, Vec::new());
        prop_assert!(watch.known.is_empty(), "what is gone is forgotten");
    }
}
