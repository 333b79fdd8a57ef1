//! Emulated USB ASICs, to try lode without a device: models on pseudo-terminals, driven by the drivers for real ones.

use std::sync::Arc;
use std::time::Duration;

use asic_emulator::{Emulator, KNOWN_ANSWERS, KnownAnswers, Line, PRESETS, preset};
use miner_asic::backend::{AsicBackend, AsicConfig};
use miner_asic::board::compac::{Compac, CompacKind};
use miner_asic::board::place::Place;
use miner_asic::board::{Board, BoardSettings, BoundsError};
use miner_asic::drivers::Driver;
use miner_asic::guard::GuardList;
use miner_asic::usb::{Control, Enumerate, UsbDevice, UsbError, VendorRequest};
use miner_core::backend::{BackendError, BackendInfo, BackendPort, HashBackend};
use miner_core::work::Granularity;
use practice_pool::{Config, Replay};

use super::{AsicProblem, Emulation};

/// What can be emulated, and its driver.
const KINDS: [(&str, Driver); 12] = [
    ("icarus", Driver::Icarus),
    ("erupter", Driver::Erupter),
    ("u1", Driver::AntMiner),
    ("compac", Driver::Compac),
    ("2pac", Driver::TwoPac),
    ("compac-f", Driver::CompacF),
    ("r909", Driver::R909),
    ("compac-a1", Driver::CompacA1),
    ("compac-a2", Driver::CompacA2),
    ("gamma", Driver::BitaxeGamma),
    ("ultra", Driver::BitaxeUltra),
    ("supra", Driver::BitaxeSupra),
];

/// What can be emulated: its name, and what it stands for.
///
/// # Errors
/// Never, where this is built.
pub fn kinds() -> Result<Vec<(&'static str, &'static str)>, AsicProblem> {
    let known = |name: &str| KINDS.iter().any(|(kind, _)| *kind == name);
    Ok(PRESETS.into_iter().filter(|(name, _)| known(name)).collect())
}

/// Plugs one device in for each name; `None` where there is no name.
///
/// # Errors
/// There is no such kind, or the system has no pseudo-terminal left.
pub fn start(kinds: &[String], guards: &GuardList) -> Result<Option<Emulation>, AsicProblem> {
    let answers = Arc::new(KnownAnswers::read(KNOWN_ANSWERS).expect("the tests read it"));
    let device = |(number, kind): (usize, &String)| {
        let known = KINDS.into_iter().find(|(name, _)| name == kind);
        let (name, driver) = known.ok_or_else(|| AsicProblem::NoKind(kind.clone()))?;
        plug_in(name, driver, number, &answers, guards)
    };
    let mut list: Vec<Box<dyn HashBackend>> = (1..).zip(kinds).map(device).collect::<Result<_, _>>()?;
    // The first in line gets the extranonce2 under which most answers are known; fast ones come to others soon enough.
    list.sort_by(|a, b| a.info().expected.0.total_cmp(&b.info().expected.0));
    let pool = pool(&list);
    Ok((!list.is_empty()).then_some(Emulation { list, pool }))
}

fn plug_in(
    name: &str,
    driver: Driver,
    number: usize,
    answers: &Arc<KnownAnswers>,
    guards: &GuardList,
) -> Result<Box<dyn HashBackend>, AsicProblem> {
    let model = preset(name, Arc::clone(answers)).expect("every kind is a preset: a test looks");
    let emulator = Emulator::start(model).map_err(|error| AsicProblem::Emulator(error.to_string()))?;
    let emulator = Arc::new(emulator);
    let board = board(driver, number, &emulator).expect("the settings are within bounds: a test looks");
    let config = AsicConfig { silence: Duration::MAX, ..AsicConfig::default() };
    let backend = AsicBackend::new(board, config, guards.clone());
    Ok(Box::new(Emulated { backend, emulator }))
}

fn board(driver: Driver, number: usize, emulator: &Arc<Emulator>) -> Result<Box<dyn Board>, BoundsError> {
    let device = UsbDevice {
        serial: Some(format!("emulated-{number}")),
        ports: emulator.ports(),
        ..UsbDevice::default()
    };
    let place = Place::Usb(Arc::new(Socket(device.clone())), device);
    let settings = match driver {
        // Without bounds that a source states, their driver wants to be told.
        Driver::BitaxeSupra | Driver::BitaxeUltra => {
            BoardSettings { mhz: Some(400.0), millivolts: Some(1150) }
        }
        _ => BoardSettings::default(),
    };
    let kind = match driver {
        Driver::CompacF => CompacKind::F,
        Driver::R909 => CompacKind::R909,
        Driver::CompacA1 => CompacKind::A1,
        Driver::CompacA2 => CompacKind::A2,
        _ => return driver.board(place, settings),
    };
    let emulator = Arc::clone(emulator);
    let compac = Compac::new(kind, &driver.key(&place), place, settings)?;
    Ok(Box::new(compac.reached_by(Arc::new(move || Box::new(Lines(Arc::clone(&emulator)))))))
}

/// The practice pool that serves what the devices can find.
fn pool(devices: &[Box<dyn HashBackend>]) -> Config {
    let config = Config::replaying(Replay::read(KNOWN_ANSWERS).expect("the tests read it"));
    // Answers are known for the version that jobs come with. Devices that don't roll it would share each extranonce2 out
    // among themselves by versions: without consent to that, each gets an extranonce2 of its own.
    let rolls = |granularity| match granularity {
        Granularity::NonceSpaces { max_versions } => max_versions > 1,
        Granularity::Nonces { .. } | Granularity::Plane { .. } => true,
    };
    let version_mask =
        if devices.iter().any(|device| rolls(device.info().granularity)) { config.version_mask } else { 0 };
    Config { version_mask, ..config }
}

/// An emulated device; it is unplugged when its backend has ended.
struct Emulated {
    backend: AsicBackend,
    emulator: Arc<Emulator>,
}

impl HashBackend for Emulated {
    fn info(&self) -> BackendInfo {
        let info = self.backend.info();
        BackendInfo { name: format!("emulated {}", info.name).into(), ..info }
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        let Self { backend, emulator } = *self;
        let ended = Box::new(backend).run(port);
        drop(emulator);
        ended
    }
}

/// Where one device is plugged in for good.
struct Socket(UsbDevice);

impl Enumerate for Socket {
    fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
        Ok(vec![self.0.clone()])
    }
}

/// A bridge's lines, moved by the requests that move them on hardware.
struct Lines(Arc<Emulator>);

impl Control for Lines {
    fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError> {
        let line = match (request.request, request.value, &request.data[..]) {
            (0x0b, 0x20f2, []) => Line::Cbus1 { high: true },
            (0x0b, 0x20f0, []) => Line::Cbus1 { high: false },
            (0xff, 0x37e1, &[mask, state]) => Line::Latch { mask, state },
            _ => return Err(UsbError::Request("it is emulated, and knows no such line".to_owned())),
        };
        self.0.set_line(line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use miner_asic::guard::Guards;

    use super::*;

    fn start(kinds: &[&str]) -> Result<Option<Emulation>, AsicProblem> {
        let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        super::start(&kinds, &Guards::default().list())
    }

    #[test]
    fn every_kind_that_is_listed_can_be_started_and_says_that_it_is_emulated() {
        let kinds: Vec<&str> = kinds().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(kinds.len(), KINDS.len());
        let Emulation { list, pool } = start(&kinds).unwrap().unwrap();
        pool.validate().unwrap();
        let infos: Vec<BackendInfo> = list.iter().map(|device| device.info()).collect();
        assert!(infos.is_sorted_by(|a, b| a.expected.0 <= b.expected.0));
        for (number, (_, driver)) in (1..).zip(&KINDS) {
            let key = format!("asic:{}:emulated-{number}", driver.name());
            let info = infos.iter().find(|info| *info.key == key).unwrap();
            assert!(info.name.starts_with("emulated "), "{}", info.name);
        }
        assert!(start(&[]).unwrap().is_none());
    }

    #[test]
    fn a_kind_that_there_is_not_is_named() {
        let error = |kinds: &[&str]| start(kinds).err().unwrap();
        assert_eq!(error(&["gamma", "toaster"]), AsicProblem::NoKind("toaster".to_owned()));
    }

    #[test]
    fn versions_are_rolled_only_where_a_device_rolls_them() {
        let mask = |kinds: &[&str]| start(kinds).unwrap().unwrap().pool.version_mask;
        assert_eq!(mask(&["2pac", "erupter"]), 0);
        assert_ne!(mask(&["2pac", "gamma"]), 0);
        assert_ne!(mask(&["compac-f"]), 0);
    }
}
