//! Devices that are plugged in and out while lode mines: emulated ones, on pseudo-terminals and a USB of the test's own.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use asic_emulator::{Emulator, KNOWN_ANSWERS, KnownAnswers, preset};
use lode::asic::{self, Guards};
use lode::bus::Bus;
use lode::driver::{Driver, End};
use lode::event::{EndReason, Event, EventKind};
use lode::pools::Pools;
use lode::settings::{AsicPick, AsicSettings, PoolSettings, RunLimits};
use miner_asic::usb::{Enumerate, UsbDevice, UsbError};
use miner_core::backend::{Health, HealthState};
use miner_core::event::MinerEvent;
use miner_core::share::ShareOutcome;
use miner_core::snapshot::{DeviceSnapshot, MinerSnapshot};
use practice_pool::{Config, Replay};
use stratum::url::PoolUrl;
use testkit::ledger::{Books, Losses, expect_agreement};
use testkit::practice::{Practice, quiet};
use testkit::process::{Lode, Signal};
use tokio::sync::{broadcast, mpsc};

const LODE: &str = env!("CARGO_BIN_EXE_lode");
const PATIENCE: Duration = Duration::from_secs(180);

/// Threads and files are counted for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device that finds what is known to lie in the jobs of [`pool`].
fn emulator(name: &str) -> Emulator {
    let answers = KnownAnswers::read(KNOWN_ANSWERS).expect("known answers");
    Emulator::start(preset(name, Arc::new(answers)).expect("a preset")).expect("pseudo-terminals")
}

fn pool() -> Practice {
    let replay = Arc::new(Replay::read(KNOWN_ANSWERS).expect("jobs"));
    let block_interval = Duration::from_secs(5);
    Practice::start(Config { difficulty: 1.0, block_interval, replay: Some(replay), ..quiet() })
}

/// A pool of one job, in which there is something to find under most of the first extranonces, at its own version.
fn pool_of_one_job() -> Practice {
    let replay = Arc::new(Replay::read(KNOWN_ANSWERS).expect("jobs"));
    Practice::start(Config { difficulty: 1.0, version_mask: 0, replay: Some(replay), ..quiet() })
}

/// USB as the test has it: an emulated device is on it while it is plugged in.
#[derive(Default)]
struct Desk(Mutex<Vec<(UsbDevice, Arc<Emulator>)>>);

impl Desk {
    fn put(&self, ids: (u16, u16), names: [&str; 2], serial: &str, emulator: &Arc<Emulator>) {
        let device = UsbDevice {
            vendor: ids.0,
            product_id: ids.1,
            manufacturer: names[0].to_owned(),
            product: names[1].to_owned(),
            serial: Some(serial.to_owned()),
            ..UsbDevice::default()
        };
        self.0.lock().expect("no panic").push((device, Arc::clone(emulator)));
    }
}

impl Enumerate for Desk {
    fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
        let devices = self.0.lock().expect("no panic");
        let there = |(device, emulator): &(UsbDevice, Arc<Emulator>)| {
            let ports = emulator.ports();
            (!ports.is_empty()).then(|| UsbDevice { ports, ..device.clone() })
        };
        Ok(devices.iter().filter_map(there).collect())
    }
}

const GAMMA: ((u16, u16), [&str; 2]) = ((0xc0de, 0xcafe), ["OSMU", "Bitaxe"]);
const ADAPTER: ((u16, u16), [&str; 2]) = ((0x10c4, 0xea60), ["Silicon Labs", "CP2102"]);

/// lode at work, but for its command line and its reports.
struct Mining {
    events: broadcast::Receiver<Arc<Event>>,
    stop: mpsc::Sender<EndReason>,
    thread: JoinHandle<End>,
}

impl Mining {
    fn start(usb: Arc<Desk>, asics: AsicSettings, pool: SocketAddr) -> Self {
        let bus = Bus::default();
        let events = bus.subscribe();
        let (stop, stopped) = mpsc::channel(2);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let guards = Guards::default();
            runtime.block_on(async {
                let found = asic::backends_on(usb, &asics, &guards.list());
                let url = PoolUrl { tls: false, host: pool.ip().to_string(), port: pool.port() };
                let pools = Pools::start(vec![PoolSettings::new(url, "w")], &bus).expect("a pool");
                // Kept open: there is some other device, so that the run goes on without ASICs.
                let (others, arrivals) = mpsc::channel(8);
                for device in found.list {
                    others.send(device).await.expect("there is room");
                }
                let (sender, newcomers) = mpsc::channel(1);
                let _watching = found.plug.expect("something may come").watch(sender).expect("a thread");
                let second = Duration::from_secs(1);
                let driver = Driver::new(arrivals, pools, bus, RunLimits::default(), second);
                driver.joined_by(Some(newcomers)).run(stopped).await
            })
        });
        Self { events, stop, thread }
    }

    /// Waits for an event.
    fn until(&mut self, what: &str, is_it: impl Fn(&EventKind) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !self.next(end, what).is_some_and(|event| is_it(&event.kind)) {}
    }

    /// Waits for a state of the whole.
    fn until_all(&mut self, what: &str, is_it: impl Fn(&[DeviceSnapshot]) -> bool) {
        self.until(what, |event| matches!(event, EventKind::Snapshot(all) if is_it(&all.devices)));
    }

    /// Waits until each of so many devices says that it works.
    fn until_healthy(&mut self, devices: usize) {
        let end = Instant::now() + PATIENCE;
        let mut states = vec![Health { state: HealthState::Sick, ..Health::default() }; devices];
        while states.iter().any(|health| health.state != HealthState::Ok) {
            let Some(event) = self.next(end, &format!("{states:?}")) else { continue };
            if let EventKind::Miner(MinerEvent::BackendHealth { backend, health }) = &event.kind {
                states[usize::from(backend.0)] = health.clone();
            }
        }
    }

    fn next(&mut self, end: Instant, what: &str) -> Option<Arc<Event>> {
        loop {
            assert!(Instant::now() < end, "waited in vain: {what}");
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => return None,
                Err(error @ broadcast::error::TryRecvError::Closed) => panic!("{what}: {error}"),
                Err(broadcast::error::TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Ends it; the final account.
    fn end(mut self) -> Arc<MinerSnapshot> {
        self.stop.blocking_send(EndReason::Terminated).expect("it runs");
        let end = Instant::now() + PATIENCE;
        let last = loop {
            if let Some(EventKind::Ended { snapshot, .. }) =
                self.next(end, "the end").as_deref().map(|e| &e.kind)
            {
                break Arc::clone(snapshot);
            }
        };
        assert_eq!(self.thread.join().expect("no panic").reason, EndReason::Terminated);
        last
    }
}

fn named(picks: &[(&str, &str)]) -> Vec<AsicPick> {
    let pick = |&(driver, place): &(&str, &str)| AsicPick {
        driver: driver.to_owned(),
        place: place.to_owned(),
        mhz: None,
        millivolts: None,
        enabled: true,
    };
    picks.iter().map(pick).collect()
}

#[test]
fn what_is_plugged_in_at_run_time_is_mined_with() {
    let _alone = alone();
    let (pool, usb) = (pool_of_one_job(), Arc::new(Desk::default()));
    let asics = AsicSettings { all: true, picks: named(&[("2pac", "S1")]), ..AsicSettings::default() };
    let mut mining = Mining::start(Arc::clone(&usb) as _, asics, pool.addr());
    mining.until_all("nothing", <[_]>::is_empty);
    let [stick, other, gamma] = ["2pac", "erupter", "gamma"].map(|name| Arc::new(emulator(name)));
    usb.put(ADAPTER.0, ADAPTER.1, "S1", &stick);
    usb.put(ADAPTER.0, ADAPTER.1, "S2", &other);
    mining.until_all("a share of the stick's", |devices| {
        devices.iter().any(|device| &*device.info.key == "asic:2pac:S1" && device.shares.accepted > 0)
    });
    usb.put(GAMMA.0, GAMMA.1, "B1", &gamma);
    mining.until_all("both at work", |devices| {
        let keys = devices.iter().map(|device| &*device.info.key);
        keys.eq(["asic:2pac:S1", "asic:bitaxe-gamma:B1"])
            && devices.iter().all(|device| device.health.chips.is_some())
    });
    assert_eq!(other.state().works, 0, "nobody named it");
    assert!(gamma.state().powered && !gamma.state().in_reset, "{:?}", gamma.state());
    let last = mining.end();
    assert_eq!(last.shares.accepted, last.devices.iter().map(|device| device.shares.accepted).sum::<u64>());
    let state = gamma.state();
    assert!(state.in_reset && !state.powered, "the guard took it in: {state:?}");
    pool.stop();
}

#[test]
fn the_program_waits_for_a_port_that_is_named_and_not_there() {
    let _alone = alone();
    let (pool, emulator, folder) =
        (pool_of_one_job(), emulator("2pac"), tempfile::tempdir().expect("a folder"));
    let port = folder.path().join("stick");
    let device = format!("2pac:{}", port.display());
    let url = format!("stratum+tcp://{}", pool.addr());
    let mut command = Command::new(LODE);
    command.args(["mine", "--output", "json", "-o", &url, "-u", "w", "--report-interval", "1s"]);
    command.args(["-t", "1", "--isa", "portable", "--device", &device]);
    let mut lode = Lode::start(&mut command);
    lode.wait_for("snapshot", PATIENCE, |snapshot| {
        snapshot["devices"].as_array().is_some_and(|all| all.len() == 1)
    });
    std::os::unix::fs::symlink(&emulator.ports()[0], &port).expect("a link");
    lode.wait_for("share", PATIENCE, |share| {
        share["outcome"] == "accepted"
            && share["device"].as_str().is_some_and(|found_by| found_by.starts_with("asic:2pac:"))
    });
    let ended = lode.signal(Signal::Terminate, PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("stick is not there: plug it in"), "{}", ended.stderr);
    assert!(ended.stderr.contains("stick is plugged in: mining with it"), "{}", ended.stderr);
    ended.account();
    let lines = ended.lines.clone();
    let version = 0x2000_0000;
    let books = Books { lines, pool: 0, records: pool.stop(), version, routes: None, losses: Losses::NONE };
    expect_agreement(&books);
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    threads: usize,
    files: usize,
    /// KiB of memory.
    memory: u64,
}

impl Held {
    /// While all of these work.
    fn with(working: &[Arc<Emulator>]) -> Self {
        let end = Instant::now() + PATIENCE;
        while !working.iter().all(|emulator| emulator.state().hashing) {
            assert!(Instant::now() < end, "they do not work");
            std::thread::sleep(Duration::from_millis(5));
        }
        let count = |folder: &str| fs::read_dir(folder).expect("Linux tells").count();
        let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
        Self {
            threads: count("/proc/self/task"),
            files: count("/proc/self/fd"),
            memory: memory.expect("Linux tells"),
        }
    }

    fn most(self, other: Self) -> Self {
        let [threads, files] = [self.threads.max(other.threads), self.files.max(other.files)];
        Self { threads, files, memory: self.memory.max(other.memory) }
    }

    fn least(self, other: Self) -> Self {
        let [threads, files] = [self.threads.min(other.threads), self.files.min(other.files)];
        Self { threads, files, memory: self.memory.min(other.memory) }
    }
}

/// Plugs sticks in and out, all at once, and compares what is held while they work.
fn cycles(sticks: usize, rounds: usize, some: usize) {
    let _alone = alone();
    let (pool, usb) = (pool(), Arc::new(Desk::default()));
    let serials: Vec<String> = (0..sticks).map(|number| format!("E{number}")).collect();
    let picks: Vec<_> = serials.iter().map(|serial| ("erupter", serial.as_str())).collect();
    let asics = AsicSettings { all: true, picks: named(&picks), ..AsicSettings::default() };
    let mut mining = Mining::start(Arc::clone(&usb) as _, asics, pool.addr());
    let emulators: Vec<Arc<Emulator>> = (0..sticks).map(|_| Arc::new(emulator("erupter"))).collect();
    for (serial, emulator) in serials.iter().zip(&emulators) {
        usb.put(ADAPTER.0, ADAPTER.1, serial, emulator);
    }
    mining.until_all("all of them", |devices| {
        devices.len() == sticks && devices.iter().all(|device| device.health.chips == Some(1))
    });
    let mut held = Vec::new();
    for _ in 0..rounds {
        for emulator in &emulators {
            emulator.unplug();
        }
        std::thread::sleep(Duration::from_millis(20));
        for emulator in &emulators {
            emulator.replug().expect("pseudo-terminals");
        }
        mining.until_healthy(sticks);
        held.push(Held::with(&emulators));
    }
    // One that is being recovered holds less, or more, for a moment: so several rounds are looked at.
    let before = held[..some].iter().copied().reduce(Held::most).expect("there are some");
    let after = held[rounds - some..].iter().copied().reduce(Held::least).expect("there are some");
    println!("{} times unplugged and plugged in: {before:?}, then {after:?}", sticks * rounds);
    assert!(after.threads <= before.threads && after.files <= before.files, "{before:?}, then {after:?}");
    assert!(after.memory <= before.memory + 2 * 1024, "{before:?}, then {after:?}");
    mining.until("a share", |event| {
        let accepted = |outcome: &ShareOutcome| *outcome == ShareOutcome::Accepted;
        matches!(event, EventKind::Miner(MinerEvent::ShareResolved { outcome, .. }) if accepted(outcome))
    });
    let last = mining.end();
    assert_eq!(last.devices.len(), sticks);
    let sum = |count: fn(&DeviceSnapshot) -> u64| last.devices.iter().map(count).sum::<u64>();
    assert_eq!(last.shares.found, sum(|device| device.shares.found));
    assert_eq!(last.shares.accepted, sum(|device| device.shares.accepted));
    assert_eq!(last.shares.found, last.shares.accepted + last.shares.rejected_total() + last.shares.lost());
    let records = pool.stop();
    let accepted = records.iter().filter(|record| record.verdict == practice_pool::Verdict::Accepted).count();
    assert_eq!(accepted as u64, last.shares.accepted);
}

#[test]
fn devices_that_are_unplugged_and_plugged_in_leave_nothing_behind() {
    cycles(3, 6, 2);
}

#[test]
#[ignore = "long: run by scripts/long-checks"]
fn a_thousand_devices_that_are_unplugged_and_plugged_in_leave_nothing_behind() {
    cycles(8, 125, 10);
}
