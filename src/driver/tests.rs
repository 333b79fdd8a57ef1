use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use miner_core::backend::{BackendError, BackendEvent, BackendInfo, BackendKind, BackendPort, Health};
use miner_core::share::Candidate;
use miner_core::types::HashRate;
use miner_core::work::Granularity;
use stratum::url::PoolUrl;

use super::*;
use crate::settings::PoolSettings;

/// A device that does nothing but end, or not even that.
struct Idle {
    ends: bool,
}

impl HashBackend for Idle {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            key: "cpu".into(),
            name: "idle".into(),
            kind: BackendKind::Cpu,
            granularity: Granularity::Nonces { step: 1, versions: 1 },
            depth: 1,
            expected: HashRate(1.0),
            counts_hashes: true,
            report_floor: None,
        }
    }

    fn run(self: Box<Self>, _: BackendPort) -> Result<(), BackendError> {
        if self.ends {
            panic!("on purpose");
        }
        loop {
            std::thread::park();
        }
    }
}

/// A device that says nothing of its unit before that is worthless.
struct Terse {
    began: Sender<()>,
}

impl HashBackend for Terse {
    fn info(&self) -> BackendInfo {
        Idle { ends: false }.info()
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        while let Some(unit) = port.next_unit() {
            let _ = self.began.send(());
            while !port.is_stale(&unit) {
                std::thread::yield_now();
            }
            port.report(BackendEvent::Progress { work: unit.id, hashes: 1, finished: true });
        }
        Ok(())
    }
}

/// A device that never pauses to say how it is.
struct Talker;

impl HashBackend for Talker {
    fn info(&self) -> BackendInfo {
        Idle { ends: false }.info()
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        while port.report(BackendEvent::Health(Health::default())) {}
        Ok(())
    }
}

/// A device that hashes a little and goes.
struct Visitor {
    hashed: Arc<AtomicU64>,
}

impl HashBackend for Visitor {
    fn info(&self) -> BackendInfo {
        BackendInfo { key: "asic:visitor:1".into(), expected: HashRate(1e6), ..Idle { ends: false }.info() }
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        let Some(unit) = port.next_unit() else { return Ok(()) };
        let (version, work) = (unit.version_at(unit.versions.first), unit.id);
        let hashes = unit.nonces.len.min(2_000);
        for nonce in (unit.nonces.start..).take(hashes as usize) {
            if unit.report_target.is_met_by(&unit.header(version, nonce).hash()) {
                port.report(BackendEvent::Hit(Candidate { work, version, ntime: unit.ntime, nonce }));
            }
        }
        self.hashed.fetch_add(hashes, Ordering::Relaxed);
        port.report(BackendEvent::Progress { work, hashes: hashes.into(), finished: false });
        Err(BackendError::DeviceLost("unplugged".to_owned()))
    }
}

/// A driver of these devices whose only pool refuses to talk.
fn driver(devices: Vec<Box<dyn HashBackend>>) -> Driver {
    expecting(at_once(devices))
}

fn at_once(devices: Vec<Box<dyn HashBackend>>) -> Arrivals {
    let (sender, arrivals) = mpsc::channel(4);
    for device in devices {
        assert!(sender.try_send(device).is_ok());
    }
    arrivals
}

/// The same for devices that are still to come.
fn expecting(arrivals: Arrivals) -> Driver {
    let bus = Bus::default();
    let url = PoolUrl { tls: false, host: "127.0.0.1".to_owned(), port: 1 };
    let pools = Pools::start(vec![PoolSettings::new(url, "me")], &bus).unwrap();
    Driver::new(arrivals, pools, bus, RunLimits::default(), Duration::from_secs(60))
}

#[tokio::test]
async fn without_a_device_there_is_nothing_to_wait_for() {
    let (_stop, stopped) = mpsc::channel(1);
    let end = driver(Vec::new()).run(stopped).await;
    assert_eq!((end.reason, end.had_job), (EndReason::NoDevice, false));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_still_being_made_ready_is_waited_for() {
    let (sender, arrivals) = mpsc::channel(1);
    let (_stop, stopped) = mpsc::channel(1);
    let run = tokio::spawn(expecting(arrivals).run(stopped));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!run.is_finished());
    drop(sender);
    assert_eq!(run.await.unwrap().reason, EndReason::NoDevice);
}

#[tokio::test]
async fn the_last_device_that_panics_ends_the_run() {
    let (_stop, stopped) = mpsc::channel(1);
    let end = driver(vec![Box::new(Idle { ends: true })]).run(stopped).await;
    assert_eq!(end.reason, EndReason::NoDevice);
}

#[tokio::test]
async fn a_device_that_does_not_stop_does_not_hold_up_the_end() {
    let (stop, stopped) = mpsc::channel(1);
    stop.try_send(EndReason::Terminated).unwrap();
    let end = driver(vec![Box::new(Idle { ends: false })]).run(stopped).await;
    assert_eq!(end.reason, EndReason::Terminated);
}

#[tokio::test]
async fn the_final_account_waits_for_what_the_devices_did_last() {
    let (began, begun) = channel();
    let (stop, stopped) = mpsc::channel(1);
    let bus = Bus::default();
    let mut events = bus.subscribe();
    let pools =
        Pools::start(vec![crate::practice::start(practice_pool::Config::default()).await.unwrap()], &bus)
            .unwrap();
    let devices: Vec<Box<dyn HashBackend>> = vec![Box::new(Terse { began })];
    let driver = Driver::new(at_once(devices), pools, bus, RunLimits::default(), Duration::from_secs(60));
    std::thread::spawn(move || {
        begun.recv().unwrap();
        stop.blocking_send(EndReason::Terminated).unwrap();
    });
    driver.run(stopped).await;
    let hashes = loop {
        if let EventKind::Ended { snapshot, .. } = &events.recv().await.unwrap().kind {
            break snapshot.devices[0].hashes;
        }
    };
    assert!(hashes > 0, "nothing was counted");
}

#[tokio::test]
async fn a_device_that_never_pauses_stops_no_timer() {
    let (_stop, stopped) = mpsc::channel(1);
    let mut driver = driver(vec![Box::new(Talker)]);
    driver.state = State::Mining { next_report: now(), until: Some(now() + Duration::from_millis(50)) };
    let end = tokio::time::timeout(Duration::from_secs(30), driver.run(stopped)).await;
    assert_eq!(end.unwrap().reason, EndReason::TimeLimit);
}

#[tokio::test]
async fn devices_that_may_be_plugged_in_are_not_waited_for() {
    let (_stop, stopped) = mpsc::channel(1);
    let (_sender, newcomers) = mpsc::channel(1);
    let end = driver(Vec::new()).joined_by(Some(newcomers)).run(stopped).await;
    assert_eq!(end.reason, EndReason::NoDevice);
}

#[tokio::test]
async fn a_thousand_visits_of_a_device_make_one_account_and_every_share_counts() {
    let config =
        practice_pool::Config { difficulty: 1e-5, vardiff: None, ..practice_pool::Config::default() };
    let pool = practice_pool::Pool::bind(config).await.unwrap();
    let (address, judge) = (pool.local_addr(), pool.handle());
    tokio::spawn(pool.run(std::future::pending()));
    let url = PoolUrl { tls: false, host: address.ip().to_string(), port: address.port() };
    let bus = Bus::default();
    let mut events = bus.subscribe();
    let pools = Pools::start(vec![PoolSettings::new(url, "me")], &bus).unwrap();
    let ((_others, arrivals), (sender, newcomers)) = (mpsc::channel(1), mpsc::channel(1));
    let driver = Driver::new(arrivals, pools, bus, RunLimits::default(), Duration::from_secs(60));
    let (stop, stopped) = mpsc::channel(1);
    let run = tokio::spawn(driver.joined_by(Some(newcomers)).run(stopped));
    let hashed = Arc::new(AtomicU64::new(0));
    let visit = || Box::new(Visitor { hashed: Arc::clone(&hashed) }) as Box<dyn HashBackend>;
    sender.try_send(visit()).ok().unwrap();
    let (mut visits, mut accepted) = (0, 0);
    let snapshot = loop {
        match &events.recv().await.unwrap().kind {
            EventKind::Miner(MinerEvent::BackendDown { backend, .. }) => {
                assert_eq!(backend.0, 0);
                visits += 1;
                if visits < 1_000 {
                    sender.try_send(visit()).ok().unwrap();
                } else {
                    stop.try_send(EndReason::Terminated).unwrap();
                }
            }
            EventKind::Miner(MinerEvent::ShareResolved { outcome: ShareOutcome::Accepted, .. }) => {
                accepted += 1
            }
            EventKind::Ended { snapshot, .. } => break Arc::clone(snapshot),
            _ => {}
        }
    };
    run.await.unwrap();
    assert!(accepted > 0);
    assert_eq!(judge.stats().accepted, accepted);
    let [device] = &snapshot.devices[..] else { panic!("{} devices", snapshot.devices.len()) };
    assert_eq!(device.hashes, u128::from(hashed.load(Ordering::Relaxed)));
    assert_eq!((device.shares.accepted, device.shares.found), (accepted, accepted));
    assert_eq!(device.shares, snapshot.shares);
}
