//! The drivers by name: what `--device DRIVER:PORT` may say.

use std::path::PathBuf;

use crate::board::bitaxe::{self, Bitaxe};
use crate::board::compac::{Compac, CompacKind};
use crate::board::place::Place;
use crate::board::stick::{Stick, StickKind};
use crate::board::{Board, BoardSettings, BoundsError};

/// A driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Icarus, Lancelot, Cairnsmore.
    Icarus,
    /// Block Erupter USB.
    Erupter,
    /// AntMiner U1, U2.
    AntMiner,
    /// GekkoScience Compac.
    Compac,
    /// GekkoScience 2Pac.
    TwoPac,
    /// GekkoScience Compac F.
    CompacF,
    /// GekkoScience R909.
    R909,
    /// GekkoScience Compac A1.
    CompacA1,
    /// GekkoScience Compac A2.
    CompacA2,
    /// Bitaxe Gamma under bitaxe-raw.
    BitaxeGamma,
    /// Bitaxe Supra with EMC2101 and TPS546, under bitaxe-raw.
    BitaxeSupra,
    /// Bitaxe Ultra with EMC2101 and TPS546, under bitaxe-raw.
    BitaxeUltra,
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Icarus,
        Self::Erupter,
        Self::AntMiner,
        Self::Compac,
        Self::TwoPac,
        Self::CompacF,
        Self::R909,
        Self::CompacA1,
        Self::CompacA2,
        Self::BitaxeGamma,
        Self::BitaxeSupra,
        Self::BitaxeUltra,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Icarus => "icarus",
            Self::Erupter => "erupter",
            Self::AntMiner => "antminer",
            Self::Compac => "compac",
            Self::TwoPac => "2pac",
            Self::CompacF => "compac-f",
            Self::R909 => "r909",
            Self::CompacA1 => "compac-a1",
            Self::CompacA2 => "compac-a2",
            Self::BitaxeGamma => "bitaxe-gamma",
            Self::BitaxeSupra => "bitaxe-supra",
            Self::BitaxeUltra => "bitaxe-ultra",
        }
    }

    /// The driver of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.name() == name)
    }

    /// Serial ports that its devices have.
    pub fn ports(self) -> usize {
        match self {
            Self::Icarus | Self::Erupter | Self::AntMiner | Self::Compac | Self::TwoPac => 1,
            Self::CompacF | Self::R909 => 1,
            Self::CompacA1 | Self::CompacA2 => 2,
            Self::BitaxeGamma | Self::BitaxeSupra | Self::BitaxeUltra => 2,
        }
    }

    /// The key of its device at a place.
    pub fn key(self, place: &Place) -> String {
        format!("asic:{}:{}", self.name(), place.name())
    }

    /// A device of it.
    ///
    /// # Errors
    /// A setting is out of bounds.
    pub fn board(self, place: Place, settings: BoardSettings) -> Result<Box<dyn Board>, BoundsError> {
        let key = self.key(&place);
        let stick = |kind, place| Ok(Box::new(Stick::new(kind, &key, place, settings)?) as Box<dyn Board>);
        let bitaxe =
            |model, place| Ok(Box::new(Bitaxe::new(model, &key, place, settings)?) as Box<dyn Board>);
        let compac = |kind, place| Ok(Box::new(Compac::new(kind, &key, place, settings)?) as Box<dyn Board>);
        match self {
            Self::CompacF => compac(CompacKind::F, place),
            Self::R909 => compac(CompacKind::R909, place),
            Self::CompacA1 => compac(CompacKind::A1, place),
            Self::CompacA2 => compac(CompacKind::A2, place),
            Self::Icarus => stick(StickKind::Icarus, place),
            Self::Erupter => stick(StickKind::Erupter, place),
            Self::AntMiner => stick(StickKind::AntMiner, place),
            Self::Compac => stick(StickKind::Compac, place),
            Self::TwoPac => stick(StickKind::TwoPac, place),
            Self::BitaxeGamma => bitaxe(bitaxe::GAMMA, place),
            Self::BitaxeSupra => bitaxe(bitaxe::SUPRA, place),
            Self::BitaxeUltra => bitaxe(bitaxe::ULTRA, place),
        }
    }

    /// The ports of a text like `/dev/ttyACM0,/dev/ttyACM1`; `None` where their number is not the driver's.
    pub fn parse_ports(self, text: &str) -> Option<Vec<PathBuf>> {
        let ports: Vec<PathBuf> = text.split(',').map(|port| PathBuf::from(port.trim())).collect();
        let whole = ports.len() == self.ports() && ports.iter().all(|port| !port.as_os_str().is_empty());
        whole.then_some(ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_is_found_by_its_name_and_makes_a_board_of_its_key() {
        for driver in Driver::ALL {
            assert_eq!(Driver::by_name(driver.name()), Some(driver));
            let ports = driver.parse_ports(&["/dev/ttyACM0"].repeat(driver.ports()).join(",")).unwrap();
            let needs = matches!(driver, Driver::BitaxeSupra | Driver::BitaxeUltra);
            let settings = BoardSettings { mhz: needs.then_some(400.0), millivolts: needs.then_some(1100) };
            let info = driver.board(Place::Named(ports), settings).unwrap().info();
            assert!(info.key.starts_with(&format!("asic:{}:ttyACM0", driver.name())), "{}", info.key);
            assert!(info.expected.0 > 1e8 && info.report_floor.is_some());
        }
        assert_eq!(Driver::by_name("bitfury"), None);
    }

    #[test]
    fn ports_are_as_many_as_the_driver_has() {
        assert_eq!(Driver::Icarus.parse_ports("/dev/ttyUSB0"), Some(vec!["/dev/ttyUSB0".into()]));
        assert_eq!(Driver::Icarus.parse_ports("a,b"), None);
        assert_eq!(Driver::BitaxeGamma.parse_ports("a"), None);
        assert_eq!(Driver::BitaxeGamma.parse_ports("a,"), None);
        assert_eq!(Driver::Icarus.parse_ports(""), None);
    }
}
