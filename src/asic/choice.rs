//! Choosing among the USB ASICs of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miner_asic::backend::AsicConfig;
use miner_asic::board::place::Place;
use miner_asic::board::{Board, BoardSettings};
use miner_asic::discover::{Match, Obstacle, Sighting, look, obstacle_at};
use miner_asic::drivers::Driver;
use miner_asic::guard::GuardList;
use miner_asic::usb::{Cached, Enumerate, Usb, UsbDevice};

use super::plug::Plug;
use super::{AsicBackends, AsicProblem, FoundAsic};
use crate::report::format::printable;
use crate::settings::{AsicPick, AsicSettings};

/// How old what is known of USB may be: devices that are gone look for themselves all the time.
const FRESH: Duration = Duration::from_millis(400);

/// Sets up the ASICs that the settings choose. None is opened yet.
pub fn backends(settings: &AsicSettings, guards: &GuardList) -> AsicBackends {
    backends_on(Arc::new(Cached::new(Usb, FRESH)), settings, guards)
}

/// The same on this USB.
pub fn backends_on(usb: Arc<dyn Enumerate>, settings: &AsicSettings, guards: &GuardList) -> AsicBackends {
    if !settings.all && settings.picks.is_empty() {
        return AsicBackends::default();
    }
    let mut choice = Choice::default();
    let needs_usb = settings.all || settings.picks.iter().any(|pick| !is_port(&pick.place));
    let seen = match needs_usb.then(|| look(&*usb)).transpose() {
        Ok(seen) => seen.unwrap_or_default(),
        Err(error) => {
            choice.problems.push(AsicProblem::Usb(printable(&error.to_string())));
            Vec::new()
        }
    };
    choice.choose(settings, &seen, &usb);
    Plug::begin(choice, settings.all, usb, seen, guards)
}

/// How a device is looked after.
#[cfg(not(debug_assertions))]
pub(super) fn config() -> AsicConfig {
    AsicConfig::default()
}

/// How a device is looked after; what tests have go wrong goes wrong.
#[cfg(debug_assertions)]
pub(super) fn config() -> AsicConfig {
    use miner_asic::backend::Fault;

    use crate::hooks::{Place, What, due};
    let faults = |_| match due(Place::Device) {
        None => Fault::None,
        Some(What::Panic) => Fault::Panic,
        Some(What::Hang) => Fault::Hang,
    };
    AsicConfig { faults: Some(Arc::new(faults)), ..AsicConfig::default() }
}

/// All that are, or may be, ASICs, for `lode devices`.
///
/// # Errors
/// There is none, or the system does not tell.
pub fn list() -> Result<Vec<FoundAsic>, AsicProblem> {
    let seen = look(&Usb).map_err(|error| AsicProblem::Usb(printable(&error.to_string())))?;
    if seen.is_empty() { Err(AsicProblem::None) } else { Ok(seen.iter().map(found).collect()) }
}

fn found(sighting: &Sighting) -> FoundAsic {
    let Sighting { device, is, obstacle } = sighting;
    let ports: Vec<String> = device.ports.iter().map(|port| printable(&port.display().to_string())).collect();
    let driver = if let Match::Sure(driver) = is { Some(*driver) } else { None };
    let how = || {
        let Match::Maybe(drivers) = is else { return None };
        let port = ports.first().map_or("PORT", String::as_str);
        let ways: Vec<String> =
            drivers.iter().map(|driver| format!("--device {}:{port}", driver.name())).collect();
        Some(format!("may be something else, so it is only used if named: {}", ways.join(" or ")))
    };
    FoundAsic {
        key: driver.map(|driver| printable(&format!("asic:{}:{}", driver.name(), device.name()))),
        name: name(device),
        usb_id: format!("{:04x}:{:04x}", device.vendor, device.product_id),
        usable: driver.is_some() && obstacle.is_none(),
        note: obstacle.as_ref().map(ToString::to_string).or_else(how),
        ports,
    }
}

/// A device that is named.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) driver: Driver,
    pub(super) settings: BoardSettings,
    /// `false`: it is left out, even where all are taken.
    pub(super) enabled: bool,
    /// Whether its ports were missing, or not ours to use, when they were last looked at.
    pub(super) missing: bool,
    /// Its ports, with commas between, or its serial number.
    place: String,
}

impl Named {
    /// Its ports, where it is named by these and they are as many as its driver wants.
    pub(super) fn ports(&self) -> Option<Vec<PathBuf>> {
        is_port(&self.place).then(|| self.driver.parse_ports(&self.place)).flatten()
    }

    /// Where it is, what it is called when that is complained of, and what stands in its way.
    fn find(
        &self,
        seen: &[Sighting],
        usb: &Arc<dyn Enumerate>,
    ) -> Result<(Place, String, Option<Obstacle>), AsicProblem> {
        let driver = self.driver;
        if let Some(Sighting { device, obstacle, .. }) = seen.iter().find(|seen| self.is_called(&seen.device))
        {
            return Ok((Place::Usb(Arc::clone(usb), device.clone()), self.place.clone(), obstacle.clone()));
        }
        if let Some(ports) = self.ports() {
            let obstacle = obstacle_at(&ports);
            return Ok((Place::Named(ports), driver.name().to_owned(), obstacle));
        }
        if is_port(&self.place) {
            let (driver, wanted, given) = (driver.name(), driver.ports(), printable(&self.place));
            return Err(AsicProblem::Ports { driver, wanted, given });
        }
        let missing = Obstacle::Missing(self.place.clone());
        Ok((Place::Named(vec![PathBuf::from(&self.place)]), driver.name().to_owned(), Some(missing)))
    }

    /// Whether a device is this one by its own name.
    pub(super) fn is_called(&self, device: &UsbDevice) -> bool {
        self.place == device.name()
    }

    /// Whether a device is this one, by its own name or by one of its ports.
    pub(super) fn is(&self, device: &UsbDevice) -> bool {
        let real = |port: &Path| port.canonicalize().unwrap_or_else(|_| port.to_owned());
        let has =
            |port: &PathBuf| device.ports.iter().any(|other| other == port || real(other) == real(port));
        self.is_called(device) || self.ports().is_some_and(|ports| ports.iter().any(has))
    }
}

/// What was chosen.
#[derive(Default)]
pub(super) struct Choice {
    /// Each once.
    pub(super) boards: Vec<Box<dyn Board>>,
    /// What is wrong with the choice.
    pub(super) problems: Vec<AsicProblem>,
    /// Keys of the boards, and of devices that are named and may still come.
    keys: Vec<String>,
    /// All devices that are named.
    pub(super) named: Vec<Named>,
}

impl Choice {
    /// Chooses among what is seen.
    fn choose(&mut self, settings: &AsicSettings, seen: &[Sighting], usb: &Arc<dyn Enumerate>) {
        for pick in &settings.picks {
            self.pick(pick, seen, usb);
        }
        if settings.all {
            self.all(seen, usb);
        }
    }

    fn pick(&mut self, pick: &AsicPick, seen: &[Sighting], usb: &Arc<dyn Enumerate>) {
        let Some(driver) = Driver::by_name(&pick.driver) else {
            let known = Driver::ALL.map(Driver::name).to_vec();
            return self.problems.push(AsicProblem::NoDriver { name: printable(&pick.driver), known });
        };
        let settings = BoardSettings { mhz: pick.mhz, millivolts: pick.millivolts };
        let (place, enabled) = (pick.place.clone(), pick.enabled);
        let mut named = Named { driver, settings, enabled, missing: false, place };
        if enabled {
            match named.find(seen, usb) {
                Ok((place, name, obstacle)) => {
                    named.missing = obstacle.is_some();
                    let board = self.board(driver, place, settings, true);
                    match obstacle {
                        None => self.boards.extend(board),
                        // What is wrong with its settings is said now.
                        Some(obstacle) if board.is_some() => self.problems.push(unusable(name, &obstacle)),
                        Some(_) => {}
                    }
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        self.named.push(named);
    }

    fn all(&mut self, seen: &[Sighting], usb: &Arc<dyn Enumerate>) {
        let mut any = false;
        for Sighting { device, is, obstacle } in seen {
            any |= !matches!(is, Match::Maybe(_));
            if self.named.iter().any(|named| named.is(device)) {
                continue;
            }
            match (is, obstacle) {
                (Match::Maybe(_), _) => {}
                (_, Some(obstacle)) => self.problems.push(unusable(name(device), obstacle)),
                (Match::Sure(driver), None) => {
                    let place = Place::Usb(Arc::clone(usb), device.clone());
                    let board = self.board(*driver, place, BoardSettings::default(), false);
                    self.boards.extend(board);
                }
                (Match::NotDriven(_), None) => {}
            }
        }
        if !any && self.boards.is_empty() && self.problems.is_empty() {
            self.problems.push(AsicProblem::None);
        }
    }

    /// `by_name`: somebody named it, so that a second time is a mistake.
    fn board(
        &mut self,
        driver: Driver,
        place: Place,
        settings: BoardSettings,
        by_name: bool,
    ) -> Option<Box<dyn Board>> {
        let key = driver.key(&place);
        if self.keys.contains(&key) {
            if by_name {
                self.problems.push(AsicProblem::Twice(printable(&key)));
            }
            return None;
        }
        match driver.board(place, settings) {
            Ok(board) => {
                self.keys.push(key);
                Some(board)
            }
            Err(error) => {
                self.problems.push(AsicProblem::Settings(error.to_string()));
                None
            }
        }
    }
}

/// Whether a place is a port of the system, not the name of a device.
fn is_port(place: &str) -> bool {
    let is_number = |text: &str| text.parse::<u8>().is_ok();
    let windows = place.to_ascii_uppercase().strip_prefix("COM").is_some_and(is_number);
    windows || place.contains(['/', '\\']) || Path::new(place).exists()
}

/// What a device calls itself.
pub(super) fn name(device: &UsbDevice) -> String {
    printable(format!("{} {}", device.manufacturer, device.product).trim())
}

pub(super) fn unusable(device: String, obstacle: &Obstacle) -> AsicProblem {
    AsicProblem::Unusable {
        device: printable(&device),
        obstacle: printable(&obstacle.to_string()),
        denied: matches!(obstacle, Obstacle::Denied(_)),
    }
}

#[cfg(test)]
mod tests {
    use miner_asic::usb::{UsbDevice, UsbError};

    use super::*;

    struct Fake(Vec<UsbDevice>);

    impl Enumerate for Fake {
        fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
            Ok(self.0.clone())
        }
    }

    fn usb() -> Arc<dyn Enumerate> {
        let device = |product: &str, serial: &str, ports: &[&str]| UsbDevice {
            vendor: 0xc0de,
            product_id: 0xcafe,
            manufacturer: "OSMU".to_owned(),
            product: product.to_owned(),
            serial: Some(serial.to_owned()),
            ports: ports.iter().map(Into::into).collect(),
            ..UsbDevice::default()
        };
        let adapter = UsbDevice {
            vendor: 0x0403,
            product_id: 0x6001,
            product: "FT232R".to_owned(),
            ports: vec!["/dev/null".into()],
            ..UsbDevice::default()
        };
        let (gamma, bonanza) =
            (device("Bitaxe", "B1", &["/dev/null", "/dev/null"]), device("BitaxeBonanza", "B2", &[]));
        Arc::new(Fake(vec![gamma, adapter, bonanza]))
    }

    fn pick(driver: &str, place: &str) -> AsicPick {
        AsicPick {
            driver: driver.to_owned(),
            place: place.to_owned(),
            mhz: None,
            millivolts: None,
            enabled: true,
        }
    }

    fn chosen(all: bool, picks: &[AsicPick]) -> (Vec<String>, Vec<String>) {
        let settings = AsicSettings { all, picks: picks.to_vec(), ..AsicSettings::default() };
        let AsicBackends { list, problems, .. } = backends_on(usb(), &settings, &GuardList::default());
        let keys = list.iter().map(|backend| backend.info().key.to_string()).collect();
        (keys, problems.iter().map(ToString::to_string).collect())
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn only_what_is_surely_an_asic_is_taken_unasked() {
        let (keys, problems) = chosen(true, &[]);
        assert_eq!(keys, texts(&["asic:bitaxe-gamma:B1"]));
        assert_eq!(problems, texts(&["OSMU BitaxeBonanza cannot be used: its chip, BZM2, is not supported"]));
        assert_eq!(chosen(false, &[]), (Vec::new(), Vec::new()));
        for named in ["B1", "/dev/null,/dev/null"] {
            let disabled = AsicPick { enabled: false, ..pick("bitaxe-gamma", named) };
            assert_eq!(chosen(true, &[disabled]).0, texts(&[]), "{named}");
        }
        assert_eq!(chosen(true, &[pick("icarus", "/dev/null")]).0, texts(&["asic:icarus:null"]), "not twice");
    }

    #[test]
    fn devices_are_named_by_port_or_by_serial_number() {
        let clocked = AsicPick { mhz: Some(400.0), ..pick("bitaxe-gamma", "B1") };
        let (keys, problems) = chosen(true, &[pick("icarus", "/dev/null"), clocked]);
        assert_eq!(keys, texts(&["asic:icarus:null", "asic:bitaxe-gamma:B1"]));
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn what_was_asked_for_in_vain_is_said() {
        let twice = [pick("icarus", "/dev/null"), pick("icarus", "/dev/null")];
        let fast = AsicPick { mhz: Some(900.0), ..pick("antminer", "/dev/null") };
        let away_and_fast = AsicPick { mhz: Some(900.0), ..pick("antminer", "U1") };
        for (picks, problem) in [
            (&[pick("bitfury", "/dev/x")][..], "there is no ASIC driver `bitfury`"),
            (
                &[pick("bitaxe-gamma", "/dev/ttyACM0")],
                "bitaxe-gamma needs 2 serial ports, not `/dev/ttyACM0`",
            ),
            (&[pick("icarus", "/dev/ttyNOWHERE")], "icarus cannot be used: /dev/ttyNOWHERE is not there"),
            (&[pick("bitaxe-gamma", "B9")], "bitaxe-gamma cannot be used: B9 is not there"),
            (&[away_and_fast], "clock of 900 MHz is refused: AntMiner U1/U2 takes 125 to 500 MHz"),
            (&[fast], "clock of 900 MHz is refused: AntMiner U1/U2 takes 125 to 500 MHz"),
            (&twice, "asic:icarus:null is given twice"),
        ] {
            assert_eq!(chosen(false, picks).1, texts(&[problem]));
        }
    }

    #[test]
    fn what_may_be_an_asic_is_listed_with_how_to_use_it() {
        let found: Vec<FoundAsic> = look(&*usb()).unwrap().iter().map(found).collect();
        assert_eq!(found[0].key.as_deref(), Some("asic:bitaxe-gamma:B1"));
        assert!(found[0].usable && found[0].note.is_none());
        assert_eq!(
            found[1].note.as_deref(),
            Some("may be something else, so it is only used if named: --device icarus:/dev/null")
        );
        assert!(!found[1].usable && !found[2].usable);
        assert_eq!(found[2].note.as_deref(), Some("its chip, BZM2, is not supported"));
    }
}
