//! A board that hashes honestly on the CPU, and whose hardware the test looks at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use miner_core::backend::{BackendInfo, BackendKind};
use miner_core::share::Candidate;
use miner_core::types::{HashCount, HashRate, Target};
use miner_core::work::{Granularity, WorkUnit};

use super::{Board, BoardError, Checkup, Danger, Keeper, Limits, NotSafe, Opened, Telemetry};
use crate::chip::{ChipEvent, ChipFault, ChipProtocol, Transmit};
use crate::transport::LinkError;
use crate::transport::mock::MockLink;

/// Nonces that a chip tries at a time.
const CHUNK: u64 = 20_000;

/// The hardware as it is, and what is to become of it.
#[derive(Debug, Default)]
pub(crate) struct Hardware {
    pub(crate) powered: bool,
    pub(crate) power_ups: u32,
    pub(crate) opened: u32,
    pub(crate) made_safe: u32,
    pub(crate) celsius: f32,
    /// The port is not there.
    pub(crate) gone: bool,
    /// Chips don't answer.
    pub(crate) mute: bool,
    /// Chips find wrong nonces only.
    pub(crate) lies: bool,
    /// The keeper panics at its next look.
    pub(crate) keeper_panics: bool,
    /// The keeper hangs in its next look, until this is taken back.
    pub(crate) keeper_hangs: bool,
    /// How often the board refuses to be switched off before it heeds.
    pub(crate) refuses: u32,
    /// Being switched off makes the keeper panic, so often.
    pub(crate) off_panics: u32,
    /// It has a supply of its own: it goes on when its port is gone.
    pub(crate) own_supply: bool,
}

pub(crate) type Shared = Arc<Mutex<Hardware>>;

pub(crate) struct MockBoard {
    pub(crate) hardware: Shared,
    pub(crate) link: Arc<MockLink>,
    pub(crate) report_floor: Option<Target>,
}

impl MockBoard {
    pub(crate) fn new() -> Self {
        let hardware = Hardware { celsius: 40.0, ..Hardware::default() };
        Self {
            hardware: Arc::new(Mutex::new(hardware)),
            link: Arc::new(MockLink::new(|_| Vec::new())),
            report_floor: None,
        }
    }
}

impl Board for MockBoard {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            key: "asic:mock:0".into(),
            name: "mock".into(),
            kind: BackendKind::Asic,
            granularity: Granularity::Nonces { step: 1, versions: 1 },
            depth: 3,
            expected: HashRate(1e6),
            counts_hashes: true,
            report_floor: self.report_floor,
        }
    }

    fn open(&mut self) -> Result<Opened, BoardError> {
        let mut hardware = self.hardware.lock().unwrap();
        hardware.opened += 1;
        self.link.set_gone(hardware.gone);
        if hardware.gone {
            return Err(LinkError::NotFound { path: "mock".into() }.into());
        }
        let shared = Arc::clone(&self.hardware);
        Ok(Opened {
            link: Arc::clone(&self.link) as _,
            chips: Box::new(move || Box::new(MockChip::new(Arc::clone(&shared)))),
            keeper: Box::new(MockKeeper(Arc::clone(&self.hardware))),
            clock_mhz: Some(500.0),
        })
    }
}

struct MockKeeper(Shared);

impl Keeper for MockKeeper {
    fn power_up(&mut self) -> Result<(), BoardError> {
        let mut hardware = self.0.lock().unwrap();
        if hardware.celsius > 60.0 {
            return Err(Danger::Hot(hardware.celsius).into());
        }
        hardware.powered = true;
        hardware.power_ups += 1;
        Ok(())
    }

    fn check(&mut self) -> Checkup {
        while self.0.lock().unwrap().keeper_hangs {
            std::thread::sleep(Duration::from_millis(1));
        }
        let hardware = self.0.lock().unwrap();
        let (celsius, panics) = (hardware.celsius, hardware.keeper_panics);
        drop(hardware);
        assert!(!panics, "a test asked for it");
        Checkup {
            telemetry: Telemetry { celsius: Some(celsius), ..Telemetry::default() },
            danger: (celsius >= 80.0).then_some(Danger::Hot(celsius)),
        }
    }

    fn check_every(&self) -> Duration {
        Duration::from_millis(5)
    }

    fn limits(&self) -> Limits {
        Limits { check: Duration::from_secs(2), make_safe: Duration::from_secs(2), ..Limits::default() }
    }

    fn make_safe(&mut self) -> Result<(), NotSafe> {
        let mut hardware = self.0.lock().unwrap();
        if hardware.gone && hardware.own_supply {
            return Err(NotSafe::Absent);
        }
        if let Some(left) = hardware.off_panics.checked_sub(1) {
            hardware.off_panics = left;
            drop(hardware);
            panic!("a test asked for it");
        }
        if let Some(left) = hardware.refuses.checked_sub(1) {
            hardware.refuses = left;
            return Err(NotSafe::Failed { part: "switch", problem: "stuck".to_owned() });
        }
        hardware.powered = false;
        hardware.made_safe += 1;
        Ok(())
    }
}

/// Tries every nonce of its units.
struct MockChip {
    hardware: Shared,
    made: Instant,
    started: bool,
    units: VecDeque<(WorkUnit, u64)>,
    events: VecDeque<ChipEvent>,
    transmits: VecDeque<Transmit>,
}

impl MockChip {
    fn new(hardware: Shared) -> Self {
        Self {
            hardware,
            made: Instant::now(),
            started: false,
            units: VecDeque::new(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
        }
    }

    fn finish(&mut self, at: usize, hashes: HashCount) {
        if let Some((unit, _)) = self.units.remove(at) {
            self.events.push_back(ChipEvent::Progress { work: unit.id, hashes, finished: true });
        }
    }

    /// The rest of the unit's first version, or of its last chunk.
    fn hash(&mut self, lies: bool) {
        let Some((unit, done)) = self.units.front_mut() else { return };
        let all = u64::try_from(unit.size()).unwrap();
        let until = all.min(*done + CHUNK);
        for step in *done..until {
            let version = unit.version_at(unit.versions.first + (step / unit.nonces.len) as u32);
            let nonce = unit.nonces.start.wrapping_add((step % unit.nonces.len) as u32);
            let right = unit.report_target.is_met_by(&unit.header(version, nonce).hash());
            if right != lies {
                let candidate = Candidate { work: unit.id, version, ntime: unit.ntime, nonce };
                self.events.push_back(ChipEvent::Nonce { candidate, chip: Some(0) });
                if lies {
                    break;
                }
            }
        }
        let hashes = HashCount::from(until - *done);
        *done = until;
        let finished = until == all || HashCount::from(until) >= unit.budget;
        if finished {
            self.finish(0, hashes);
        } else {
            let work = unit.id;
            self.events.push_back(ChipEvent::Progress { work, hashes, finished: false });
        }
    }
}

impl ChipProtocol for MockChip {
    fn load(&mut self, _: Instant, unit: WorkUnit) {
        self.transmits.push_back(Transmit::Bytes(unit.id.0.to_le_bytes().to_vec()));
        self.units.push_back((unit, 0));
        assert!(self.units.len() <= 3, "more units than its depth");
    }

    fn flush(&mut self, _: Instant, is_stale: &dyn Fn(&WorkUnit) -> bool) {
        while let Some(at) = self.units.iter().position(|(unit, _)| is_stale(unit)) {
            self.finish(at, 0);
        }
    }

    fn handle_bytes(&mut self, _: Instant, _: &[u8]) {}

    fn handle_timeout(&mut self, _: Instant) {
        let Hardware { mute, lies, powered, .. } = *self.hardware.lock().unwrap();
        assert!(powered, "chips are spoken to without power");
        if !std::mem::replace(&mut self.started, true) {
            self.transmits.push_back(Transmit::Bytes(b"start".to_vec()));
            self.transmits.push_back(Transmit::Baud(1_000_000));
            self.events.push_back(if mute {
                ChipEvent::Fault(ChipFault::NoAnswer { doing: "counting chips" })
            } else {
                ChipEvent::Ready { chips: 1 }
            });
        }
        self.hash(lies);
    }

    fn next_deadline(&self) -> Option<Instant> {
        (!self.units.is_empty()).then_some(self.made)
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_event(&mut self) -> Option<ChipEvent> {
        self.events.pop_front()
    }

    fn make_safe(&mut self) {
        self.transmits.push_back(Transmit::Bytes(b"stop".to_vec()));
    }
}
