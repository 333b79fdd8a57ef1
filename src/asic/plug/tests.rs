use std::path::PathBuf;
use std::time::Duration;

use miner_asic::usb::{UsbDevice, UsbError};

use super::*;
use crate::asic::backends_on;
use crate::settings::{AsicPick, AsicSettings};

#[derive(Default)]
struct Fake(Mutex<Vec<UsbDevice>>);

impl Enumerate for Fake {
    fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

fn gamma(serial: &str) -> UsbDevice {
    UsbDevice {
        vendor: 0xc0de,
        product_id: 0xcafe,
        manufacturer: "OSMU".to_owned(),
        product: "Bitaxe".to_owned(),
        serial: Some(serial.to_owned()),
        ports: ["/dev/null", "/dev/null"].map(PathBuf::from).to_vec(),
        ..UsbDevice::default()
    }
}

/// An adapter that may be anything.
fn adapter(serial: &str, port: &str) -> UsbDevice {
    UsbDevice {
        vendor: 0x0403,
        product_id: 0x6001,
        product: "FT232R".to_owned(),
        serial: Some(serial.to_owned()),
        ports: vec![port.into()],
        ..UsbDevice::default()
    }
}

fn pick(driver: &str, place: &str, enabled: bool) -> AsicPick {
    let (driver, place) = (driver.to_owned(), place.to_owned());
    AsicPick { driver, place, mhz: None, millivolts: None, enabled }
}

/// A run of lode, as far as it looks for devices.
struct Run {
    usb: Arc<Fake>,
    plug: Plug,
    now: Instant,
    at_start: Vec<Box<dyn HashBackend>>,
}

impl Run {
    fn new(all: bool, picks: &[AsicPick], devices: &[UsbDevice]) -> Self {
        let usb = Arc::new(Fake(Mutex::new(devices.to_vec())));
        let settings = AsicSettings { all, picks: picks.to_vec(), ..AsicSettings::default() };
        let found = backends_on(Arc::clone(&usb) as _, &settings, &GuardList::default());
        let plug = found.plug.expect("something may come");
        Self { usb, plug, now: Instant::now(), at_start: found.list }
    }

    /// Has these plugged in for half a minute.
    fn plug_in(&mut self, devices: &[UsbDevice]) -> (Vec<Box<dyn HashBackend>>, Vec<String>) {
        *self.usb.0.lock().unwrap() = devices.to_vec();
        let (mut backends, mut problems) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            self.now += Duration::from_millis(500);
            for news in self.plug.look(self.now) {
                match news {
                    News::Device(backend) => backends.push(backend),
                    News::Problem(problem) => problems.push(problem.to_string()),
                }
            }
        }
        (backends, problems)
    }
}

fn keys(backends: &[Box<dyn HashBackend>]) -> Vec<String> {
    backends.iter().map(|backend| backend.info().key.to_string()).collect()
}

#[test]
fn where_all_are_asked_for_one_that_is_plugged_in_is_taken_once() {
    let mut run = Run::new(true, &[], &[gamma("A")]);
    assert_eq!(keys(&run.at_start), ["asic:bitaxe-gamma:A"]);
    let (b, problems) = run.plug_in(&[gamma("A"), gamma("B"), adapter("F", "/dev/null")]);
    assert_eq!((keys(&b), problems.len()), (vec!["asic:bitaxe-gamma:B".to_owned()], 0));
    for devices in [&[][..], &[gamma("A")], &[], &[gamma("B"), gamma("A")]] {
        let (backends, problems) = run.plug_in(devices);
        assert!(backends.is_empty() && problems.is_empty(), "their backends wait for them");
    }
}

#[test]
fn one_that_was_given_up_is_taken_again_when_it_is_plugged_in_again() {
    let mut run = Run::new(true, &[], &[gamma("A")]);
    run.at_start.clear();
    assert!(run.plug_in(&[gamma("A")]).0.is_empty(), "it never went");
    run.plug_in(&[]);
    assert_eq!(keys(&run.plug_in(&[gamma("A")]).0), ["asic:bitaxe-gamma:A"]);
}

#[test]
fn devices_that_are_switched_off_or_named_otherwise_are_left_alone() {
    let picks = [pick("bitaxe-gamma", "A", false), pick("icarus", "/dev/null", true)];
    let mut run = Run::new(true, &picks, &[]);
    assert_eq!(keys(&run.at_start), ["asic:icarus:null"]);
    let b = UsbDevice { ports: ["/dev/zero", "/dev/zero"].map(PathBuf::from).to_vec(), ..gamma("B") };
    let (backends, problems) = run.plug_in(&[gamma("A"), gamma("C"), b]);
    assert_eq!(keys(&backends), ["asic:bitaxe-gamma:B"], "the port of C is taken");
    assert!(problems.is_empty());
}

#[cfg(unix)]
#[test]
fn a_device_that_is_named_and_not_there_is_taken_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("tty");
    let picks = [
        pick("icarus", port.to_str().unwrap(), true),
        pick("erupter", "S1", true),
        AsicPick { mhz: Some(400.0), ..pick("bitaxe-gamma", "G1", true) },
        pick("compac", "S2", false),
    ];
    let mut run = Run::new(false, &picks, &[]);
    assert!(run.at_start.is_empty());
    assert!(run.plug_in(&[gamma("other"), adapter("S9", "/dev/null")]).0.is_empty());
    let here = [gamma("other"), gamma("G1"), adapter("S1", "/dev/null"), adapter("S2", "/dev/zero")];
    assert_eq!(keys(&run.plug_in(&here).0), ["asic:bitaxe-gamma:G1", "asic:erupter:S1"]);
    std::os::unix::fs::symlink("/dev/null", &port).unwrap();
    let (icarus, _) = run.plug_in(&here);
    assert_eq!(icarus.len(), 1);
    std::fs::remove_file(&port).unwrap();
    assert!(run.plug_in(&[]).0.is_empty());
    std::os::unix::fs::symlink("/dev/null", &port).unwrap();
    assert!(run.plug_in(&here).0.is_empty(), "its backend waits for it");
    drop(icarus);
    assert!(run.plug_in(&here).0.is_empty());
    std::fs::remove_file(&port).unwrap();
    run.plug_in(&here);
    std::os::unix::fs::symlink("/dev/null", &port).unwrap();
    assert_eq!(run.plug_in(&here).0.len(), 1, "it was given up and plugged in again");
}

#[test]
fn why_one_that_is_plugged_in_is_not_used_is_said_once() {
    let mut run = Run::new(true, &[], &[gamma("A")]);
    let bonanza = UsbDevice { product: "BitaxeBonanza".to_owned(), ..gamma("Z") };
    let portless = UsbDevice { ports: Vec::new(), ..gamma("P") };
    let devices = [gamma("A"), bonanza, portless, adapter("F", "/dev/ttyNOWHERE")];
    let (backends, problems) = run.plug_in(&devices);
    assert!(backends.is_empty());
    let chip = "OSMU BitaxeBonanza cannot be used: its chip, BZM2, is not supported";
    let ports = "OSMU Bitaxe cannot be used: the system has made 0 serial ports of it in place of 2";
    assert_eq!(problems, [chip, ports]);
    assert!(run.plug_in(&devices).1.is_empty());
    assert_eq!(keys(&run.plug_in(&[gamma("P")]).0), ["asic:bitaxe-gamma:P"]);
}

#[test]
fn a_thousand_devices_one_after_the_other_are_too_many_and_a_thousand_times_the_same_is_not() {
    let mut run = Run::new(true, &[], &[]);
    let mut told = Vec::new();
    for number in 0..1_000 {
        let (backends, problems) = run.plug_in(&[gamma(&number.to_string())]);
        assert_eq!(backends.len(), usize::from(number < MAX_DEVICES));
        told.extend(problems);
    }
    let [told] = &told[..] else { panic!("said once: {told:?}") };
    assert_eq!(told, "asic:bitaxe-gamma:256 cannot be used: 256 ASICs were plugged in since the start");
    for _ in 0..1_000 {
        // Its backend ended at once.
        assert_eq!(run.plug_in(&[gamma("7")]).0.len(), 1);
        run.plug_in(&[]);
    }
    assert_eq!(run.plug.roster.lock().len(), MAX_DEVICES);
}

#[tokio::test]
async fn the_search_ends_with_whoever_wants_it() {
    let run = Run::new(true, &[], &[]);
    let plug_roster = run.plug.roster.clone();
    let (sender, mut devices) = tokio::sync::mpsc::channel(1);
    drop(run.plug.watch(sender).unwrap());
    assert!(devices.recv().await.is_none(), "the thread has let go of it");
    assert_eq!(Arc::strong_count(&plug_roster.0), 1);
}
