//! Sticks and boards that are nothing but a serial port: the Icarus family.
//!
//! They have no switch for their power and no sensors. A device stops by itself when it has gone through the last work
//! it was given.

use std::sync::Arc;

use miner_core::backend::{BackendInfo, BackendKind};

use super::place::Place;
use super::{Board, BoardError, BoardSettings, BoundsError, Checkup, DEPTH, Keeper, Opened};
use crate::chip::ChipProtocol;
use crate::chip::icarus::{Icarus, IcarusKind};
use crate::transport::SerialLink;

const BAUD: u32 = 115_200;
/// Clocks in MHz of an AntMiner U1 or U2, and the one it is set to where nothing else is.
const ANTMINER_MHZ: (f32, f32) = (125.0, 500.0);
const ANTMINER_DEFAULT: f32 = 250.0;

/// What is behind the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickKind {
    /// Icarus, Lancelot, Cairnsmore.
    Icarus,
    /// Block Erupter USB.
    Erupter,
    /// AntMiner U1, U2.
    AntMiner,
}

impl StickKind {
    fn name(self) -> &'static str {
        match self {
            Self::Icarus => "Icarus",
            Self::Erupter => "Block Erupter",
            Self::AntMiner => "AntMiner U1/U2",
        }
    }
}

/// One stick.
pub struct Stick {
    name: &'static str,
    kind: IcarusKind,
    key: Arc<str>,
    place: Place,
}

impl Stick {
    /// A stick with these settings.
    ///
    /// # Errors
    /// A setting is out of bounds, or the stick has no such thing.
    pub fn new(
        kind: StickKind,
        key: &str,
        place: Place,
        settings: BoardSettings,
    ) -> Result<Self, BoundsError> {
        let name = kind.name();
        if settings.millivolts.is_some() {
            return Err(BoundsError::NotThere { what: "core voltage", board: name });
        }
        let kind = match (kind, settings.mhz) {
            (StickKind::AntMiner, mhz) => {
                let mhz = mhz.unwrap_or(ANTMINER_DEFAULT);
                let (low, high) = ANTMINER_MHZ;
                if !(low..=high).contains(&mhz) {
                    let (what, unit) = ("clock", "MHz");
                    return Err(BoundsError::Outside { what, value: mhz, unit, board: name, low, high });
                }
                IcarusKind::AntMiner { mhz: mhz.into() }
            }
            (_, Some(_)) => return Err(BoundsError::NotThere { what: "clock", board: name }),
            (StickKind::Icarus, None) => IcarusKind::Icarus,
            (StickKind::Erupter, None) => IcarusKind::Erupter,
        };
        Ok(Self { name, kind, key: key.into(), place })
    }
}

impl Board for Stick {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            key: Arc::clone(&self.key),
            name: self.name.into(),
            kind: BackendKind::Asic,
            granularity: self.kind.granularity(),
            depth: DEPTH,
            expected: self.kind.rate(),
            counts_hashes: false,
            report_floor: Some(self.kind.report_floor()),
        }
    }

    fn open(&mut self) -> Result<Opened, BoardError> {
        let [port] = self.place.ports()?;
        let link = Arc::new(SerialLink::open(&port, BAUD)?);
        let kind = self.kind;
        Ok(Opened {
            link,
            chips: Box::new(move || -> Box<dyn ChipProtocol> {
                Box::new(Icarus::new(kind).expect("its clock was checked"))
            }),
            keeper: Box::new(Unguarded),
            clock_mhz: if let IcarusKind::AntMiner { mhz } = kind { Some(mhz as f32) } else { None },
        })
    }
}

/// There is nothing to switch and nothing to read.
struct Unguarded;

impl Keeper for Unguarded {
    fn power_up(&mut self) -> Result<(), BoardError> {
        Ok(())
    }

    fn check(&mut self) -> Checkup {
        Checkup::default()
    }

    fn make_safe(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_held_to_their_bounds() {
        let place = || Place::Named(vec!["/dev/ttyUSB0".into()]);
        let new = |kind, mhz, millivolts| {
            let stick = Stick::new(kind, "asic:x:y", place(), BoardSettings { mhz, millivolts });
            stick.map(|stick| stick.info().expected.0).map_err(|error| error.to_string())
        };
        assert_eq!(new(StickKind::AntMiner, None, None), Ok(2e9));
        assert_eq!(new(StickKind::AntMiner, Some(200.0), None), Ok(1.6e9));
        let refused = "clock of 501 MHz is refused: AntMiner U1/U2 takes 125 to 500 MHz";
        assert_eq!(new(StickKind::AntMiner, Some(501.0), None), Err(refused.to_owned()));
        assert_eq!(
            new(StickKind::Erupter, Some(200.0), None),
            Err("Block Erupter has no clock to set".to_owned())
        );
        assert_eq!(
            new(StickKind::Icarus, None, Some(800)),
            Err("Icarus has no core voltage to set".to_owned())
        );
        assert!(new(StickKind::AntMiner, Some(f32::NAN), None).is_err());
    }
}
