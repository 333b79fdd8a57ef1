//! Choosing among the USB ASICs of this machine.

use std::sync::Arc;

use miner_asic::backend::{AsicBackend, AsicConfig};
use miner_asic::board::place::Place;
use miner_asic::board::{Board, BoardSettings};
use miner_asic::discover::{Match, Obstacle, Sighting, look, obstacle_at};
use miner_asic::drivers::Driver;
use miner_asic::guard::GuardList;
use miner_asic::usb::{Enumerate, Usb};
use miner_core::backend::HashBackend;

use super::{AsicBackends, AsicProblem, FoundAsic};
use crate::report::format::printable;
use crate::settings::{AsicPick, AsicSettings};

/// Sets up the ASICs that the settings choose. None is opened yet.
pub fn backends(settings: &AsicSettings, guards: &GuardList) -> AsicBackends {
    let (boards, problems) = choose(settings, &(Arc::new(Usb) as Arc<dyn Enumerate>));
    let backend = |board| Box::new(AsicBackend::new(board, config(), guards.clone())) as Box<dyn HashBackend>;
    AsicBackends { list: boards.into_iter().map(backend).collect(), problems }
}

#[cfg(not(debug_assertions))]
fn config() -> AsicConfig {
    AsicConfig::default()
}

/// What tests have go wrong goes wrong.
#[cfg(debug_assertions)]
fn config() -> AsicConfig {
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
        name: printable(format!("{} {}", device.manufacturer, device.product).trim()),
        usb_id: format!("{:04x}:{:04x}", device.vendor, device.product_id),
        usable: driver.is_some() && obstacle.is_none(),
        note: obstacle.as_ref().map(ToString::to_string).or_else(how),
        ports,
    }
}

/// The boards, each once, and what is wrong with the choice.
fn choose(settings: &AsicSettings, usb: &Arc<dyn Enumerate>) -> (Vec<Box<dyn Board>>, Vec<AsicProblem>) {
    let mut choice = Choice { boards: Vec::new(), problems: Vec::new(), keys: Vec::new() };
    let needs_usb = settings.all || settings.picks.iter().any(|pick| !is_port(&pick.place));
    let seen = match needs_usb.then(|| look(&**usb)).transpose() {
        Ok(seen) => seen.unwrap_or_default(),
        Err(error) => {
            choice.problems.push(AsicProblem::Usb(printable(&error.to_string())));
            Vec::new()
        }
    };
    for pick in &settings.picks {
        choice.pick(pick, &seen, usb);
    }
    if settings.all {
        choice.all(&seen, usb);
    }
    (choice.boards, choice.problems)
}

struct Choice {
    boards: Vec<Box<dyn Board>>,
    problems: Vec<AsicProblem>,
    keys: Vec<String>,
}

impl Choice {
    fn pick(&mut self, pick: &AsicPick, seen: &[Sighting], usb: &Arc<dyn Enumerate>) {
        let Some(driver) = Driver::by_name(&pick.driver) else {
            let known = Driver::ALL.map(Driver::name).to_vec();
            return self.problems.push(AsicProblem::NoDriver { name: printable(&pick.driver), known });
        };
        if !pick.enabled {
            // As `found` names it: known already, so that it is not taken with all the others.
            return self.keys.push(format!("asic:{}:{}", driver.name(), pick.place));
        }
        let settings = BoardSettings { mhz: pick.mhz, millivolts: pick.millivolts };
        let named = |device: &Sighting| device.device.name() == pick.place;
        let place = match seen.iter().find(|sighting| named(sighting)) {
            Some(sighting) => {
                if let Some(obstacle) = &sighting.obstacle {
                    return self.problems.push(unusable(pick.place.clone(), obstacle));
                }
                Place::Usb(Arc::clone(usb), sighting.device.clone())
            }
            None => match driver.parse_ports(&pick.place) {
                Some(ports) => {
                    if let Some(obstacle) = obstacle_at(&ports) {
                        return self.problems.push(unusable(driver.name().to_owned(), &obstacle));
                    }
                    Place::Named(ports)
                }
                None => {
                    let (driver, wanted, given) = (driver.name(), driver.ports(), printable(&pick.place));
                    return self.problems.push(AsicProblem::Ports { driver, wanted, given });
                }
            },
        };
        self.add(driver, place, settings, true);
    }

    fn all(&mut self, seen: &[Sighting], usb: &Arc<dyn Enumerate>) {
        let mut any = false;
        for Sighting { device, is, obstacle } in seen {
            any |= !matches!(is, Match::Maybe(_));
            let name = || printable(format!("{} {}", device.manufacturer, device.product).trim());
            match (is, obstacle) {
                (Match::Maybe(_), _) => {}
                (_, Some(obstacle)) => self.problems.push(unusable(name(), obstacle)),
                (Match::Sure(driver), None) => {
                    let place = Place::Usb(Arc::clone(usb), device.clone());
                    self.add(*driver, place, BoardSettings::default(), false);
                }
                (Match::NotDriven(_), None) => {}
            }
        }
        if !any && self.boards.is_empty() && self.problems.is_empty() {
            self.problems.push(AsicProblem::None);
        }
    }

    /// `by_name`: somebody named it, so that a second time is a mistake.
    fn add(&mut self, driver: Driver, place: Place, settings: BoardSettings, by_name: bool) {
        let key = driver.key(&place);
        if self.keys.contains(&key) {
            if by_name {
                self.problems.push(AsicProblem::Twice(printable(&key)));
            }
            return;
        }
        match driver.board(place, settings) {
            Ok(board) => {
                self.keys.push(key);
                self.boards.push(board);
            }
            Err(error) => self.problems.push(AsicProblem::Settings(error.to_string())),
        }
    }
}

fn unusable(device: String, obstacle: &Obstacle) -> AsicProblem {
    AsicProblem::Unusable {
        device: printable(&device),
        obstacle: printable(&obstacle.to_string()),
        denied: matches!(obstacle, Obstacle::Denied(_)),
    }
}

/// Whether a place is a port of the system, not the name of a device.
fn is_port(place: &str) -> bool {
    place.contains(['/', '\\']) || place.to_ascii_uppercase().starts_with("COM")
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
        let (boards, problems) = choose(&settings, &usb());
        let keys = boards.iter().map(|board| board.info().key.to_string()).collect();
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
        let disabled = AsicPick { enabled: false, ..pick("bitaxe-gamma", "B1") };
        assert_eq!(chosen(true, &[disabled]).0, texts(&[]));
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
        for (picks, problem) in [
            (&[pick("bitfury", "/dev/x")][..], "there is no ASIC driver `bitfury`"),
            (
                &[pick("bitaxe-gamma", "/dev/ttyACM0")],
                "bitaxe-gamma needs 2 serial ports, not `/dev/ttyACM0`",
            ),
            (&[pick("icarus", "/dev/ttyNOWHERE")], "icarus cannot be used: /dev/ttyNOWHERE is not there"),
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
