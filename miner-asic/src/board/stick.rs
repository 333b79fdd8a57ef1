//! Sticks and boards that are nothing but a serial port: the Icarus family, and sticks with BM1384.
//!
//! They have no switch for their power and no sensors. A device stops by itself when it has gone through the last work
//! it was given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::backend::{BackendInfo, BackendKind};

use super::place::Place;
use super::{
    Board, BoardError, BoardSettings, BoundsError, Checkup, DEPTH, Keeper, Limits, NotSafe, Opened, Reopen,
};
use crate::chip::bm1384::{self, Bm1384, Bm1384Config};
use crate::chip::icarus::{Icarus, IcarusKind};
use crate::chip::{ChipProtocol, TicketMask, Transmit};
use crate::transport::{Link, LinkError, SerialLink};

const BAUD: u32 = 115_200;
/// How long telling chips to stop takes at worst, on a port that is opened anew.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Clocks in MHz of an AntMiner U1 or U2.
const ANTMINER_MHZ: (f32, f32) = (125.0, 500.0);
/// Clocks in MHz where nothing else is set.
const ANTMINER_DEFAULT: f32 = 250.0;
const COMPAC_DEFAULT: f32 = 150.0;

/// What is behind the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickKind {
    /// Icarus, Lancelot, Cairnsmore.
    Icarus,
    /// Block Erupter USB.
    Erupter,
    /// AntMiner U1, U2.
    AntMiner,
    /// GekkoScience Compac: one BM1384.
    Compac,
    /// GekkoScience 2Pac: two BM1384.
    TwoPac,
}

impl StickKind {
    fn name(self) -> &'static str {
        match self {
            Self::Icarus => "Icarus",
            Self::Erupter => "Block Erupter",
            Self::AntMiner => "AntMiner U1/U2",
            Self::Compac => "GekkoScience Compac",
            Self::TwoPac => "GekkoScience 2Pac",
        }
    }

    /// Clocks in MHz that may be set, and the one that is; `None`: its clock is what it is.
    fn clocks(self) -> Option<((f32, f32), f32)> {
        match self {
            Self::Icarus | Self::Erupter => None,
            Self::AntMiner => Some((ANTMINER_MHZ, ANTMINER_DEFAULT)),
            Self::Compac | Self::TwoPac => {
                let (low, high) = (*bm1384::CLOCKS.start() as f32, *bm1384::CLOCKS.end() as f32);
                Some(((low, high), COMPAC_DEFAULT))
            }
        }
    }
}

/// The chips of a stick.
#[derive(Clone, Debug)]
enum Chips {
    Icarus(IcarusKind),
    Bm1384(Bm1384Config, u16),
}

impl Chips {
    fn new(kind: StickKind, mhz: f32) -> Self {
        let mhz = f64::from(mhz);
        let bm1384 = |count| Self::Bm1384(Bm1384Config { chips: Some(count), mhz }, count);
        match kind {
            StickKind::Icarus => Self::Icarus(IcarusKind::Icarus),
            StickKind::Erupter => Self::Icarus(IcarusKind::Erupter),
            StickKind::AntMiner => Self::Icarus(IcarusKind::AntMiner { mhz }),
            StickKind::Compac => bm1384(1),
            StickKind::TwoPac => bm1384(2),
        }
    }

    fn protocol(&self) -> Box<dyn ChipProtocol> {
        const CHECKED: &str = "its clock was checked";
        match self {
            Self::Icarus(kind) => Box::new(Icarus::new(*kind).expect(CHECKED)),
            Self::Bm1384(config, _) => Box::new(Bm1384::new(config.clone()).expect(CHECKED)),
        }
    }
}

/// One stick.
pub struct Stick {
    name: &'static str,
    chips: Chips,
    mhz: Option<f32>,
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
        let mhz = match (kind.clocks(), settings.mhz) {
            (None, Some(_)) => return Err(BoundsError::NotThere { what: "clock", board: name }),
            (None, None) => None,
            (Some(((low, high), default)), mhz) => {
                let value = mhz.unwrap_or(default);
                if !(low..=high).contains(&value) {
                    let (what, unit) = ("clock", "MHz");
                    return Err(BoundsError::Outside { what, value, unit, board: name, low, high });
                }
                Some(value)
            }
        };
        let chips = Chips::new(kind, mhz.unwrap_or_default());
        Ok(Self { name, chips, mhz, key: key.into(), place })
    }
}

impl Board for Stick {
    fn info(&self) -> BackendInfo {
        let (granularity, expected) = match &self.chips {
            Chips::Icarus(kind) => (kind.granularity(), kind.rate()),
            Chips::Bm1384(config, count) => (config.granularity(), config.rate(*count)),
        };
        BackendInfo {
            key: Arc::clone(&self.key),
            name: self.name.into(),
            kind: BackendKind::Asic,
            granularity,
            depth: DEPTH,
            expected,
            counts_hashes: false,
            report_floor: Some(TicketMask::EASIEST.floor()),
        }
    }

    fn open(&mut self) -> Result<Opened, BoardError> {
        let place = self.place.clone();
        Ok(self.assemble(open(&self.place)?, Box::new(move || open(&place))))
    }
}

impl Stick {
    pub(crate) fn assemble(&self, link: Arc<dyn Link>, reopen: Reopen) -> Opened {
        let chips = self.chips.clone();
        let keeper = StickKeeper {
            link: Some(Arc::clone(&link)),
            reopen,
            stop: stop(chips.protocol()),
            started: false,
        };
        Opened {
            link,
            chips: Box::new(move || chips.protocol()),
            keeper: Box::new(keeper),
            clock_mhz: self.mhz,
        }
    }
}

fn open(place: &Place) -> Result<Arc<dyn Link>, LinkError> {
    let [port] = place.ports()?;
    Ok(Arc::new(SerialLink::open(&port, BAUD)?))
}

/// What stops chips that were started, by frames alone.
fn stop(mut chips: Box<dyn ChipProtocol>) -> Vec<u8> {
    chips.handle_timeout(Instant::now());
    while chips.poll_transmit().is_some() {}
    chips.make_safe();
    let transmits = std::iter::from_fn(|| chips.poll_transmit());
    let bytes = transmits.filter_map(|transmit| match transmit {
        Transmit::Bytes(bytes) => Some(bytes),
        Transmit::Baud(_) => None,
    });
    bytes.flatten().collect()
}

/// There is nothing to switch and nothing to read: all that is left is to tell the chips to stop.
struct StickKeeper {
    /// `None` where it failed.
    link: Option<Arc<dyn Link>>,
    reopen: Reopen,
    stop: Vec<u8>,
    /// Chips may have been given work.
    started: bool,
}

impl StickKeeper {
    fn stop(&mut self) -> Result<(), LinkError> {
        let link = match self.link.take() {
            Some(link) => link,
            None => (self.reopen)()?,
        };
        link.write(&self.stop)?;
        self.link = Some(link);
        Ok(())
    }
}

impl Keeper for StickKeeper {
    fn power_up(&mut self) -> Result<(), BoardError> {
        let link = self.link.as_ref().ok_or(LinkError::NotFound { path: "the port".into() })?;
        link.discard_input()?;
        self.started = true;
        Ok(())
    }

    fn check(&mut self) -> Checkup {
        Checkup::default()
    }

    fn limits(&self) -> Limits {
        Limits { make_safe: STOP_LIMIT, ..Limits::default() }
    }

    fn make_safe(&mut self) -> Result<(), NotSafe> {
        if self.stop.is_empty() || !self.started {
            return Ok(());
        }
        // Whether it is unplugged is known once its port can't be found. It lives on what USB gives it: then it has stopped.
        let stopped = self.stop().or_else(|error| if error.is_absence() { self.stop() } else { Err(error) });
        match stopped {
            Err(error) if !matches!(error, LinkError::NotFound { .. }) => {
                Err(NotSafe::Failed { part: "chips", problem: error.to_string() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::transport::mock::{Done, MockLink};

    #[test]
    fn a_stick_is_told_to_stop_until_it_took_it_or_is_gone() {
        let link = Arc::new(MockLink::new(|_| Vec::new()));
        let found: Arc<Mutex<Option<Arc<MockLink>>>> = Arc::default();
        let (first, again) = (Arc::clone(&link), Arc::clone(&found));
        let reopen = move || -> Result<Arc<dyn Link>, LinkError> {
            let found = again.lock().unwrap().clone();
            found.map(|link| link as _).ok_or(LinkError::NotFound { path: "mock".into() })
        };
        let mut keeper =
            StickKeeper { link: Some(first), reopen: Box::new(reopen), stop: vec![7], started: false };
        assert_eq!(keeper.make_safe(), Ok(()));
        assert_eq!(link.done(), [], "it was never started");
        keeper.power_up().unwrap();
        assert_eq!(keeper.make_safe(), Ok(()));
        assert_eq!(link.done(), [Done::Wrote(vec![7])]);
        link.set_gone(true);
        assert_eq!(keeper.make_safe(), Ok(()), "its port can't be found any more");
        *found.lock().unwrap() = Some(Arc::clone(&link));
        let failed = NotSafe::Failed { part: "chips", problem: "mock has vanished".to_owned() };
        assert_eq!(keeper.make_safe(), Err(failed), "its port is there, and fails");
        link.set_gone(false);
        assert_eq!(keeper.make_safe(), Ok(()));
        assert_eq!(link.done().len(), 2);
    }

    #[test]
    fn settings_are_held_to_their_bounds() {
        let place = || Place::Named(vec!["/dev/ttyUSB0".into()]);
        let new = |kind, mhz, millivolts| {
            let stick = Stick::new(kind, "asic:x:y", place(), BoardSettings { mhz, millivolts });
            stick.map(|stick| stick.info().expected.0).map_err(|error| error.to_string())
        };
        assert_eq!(new(StickKind::AntMiner, None, None), Ok(2e9));
        assert_eq!(new(StickKind::AntMiner, Some(200.0), None), Ok(1.6e9));
        assert_eq!(new(StickKind::TwoPac, Some(150.0), None), Ok(16.5e9));
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
