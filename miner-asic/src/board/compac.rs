//! GekkoScience devices whose chips can be held in reset: Compac F and R909 (BM1397), Compac A1 (BM1362) and A2 (BM1370).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use miner_core::backend::{BackendInfo, BackendKind};

use super::bitaxe::check_clock;
use super::place::Place;
use super::reset::{Cp2105Latch, FtdiCbus, ResetLine, cbus1};
use super::{
    Board, BoardError, BoardSettings, BoundsError, Checkup, DEPTH, Danger, Keeper, Limits, NotSafe, Opened,
    Sleep, Telemetry, real_sleep,
};
use crate::chip::ChipProtocol;
use crate::chip::bm13xx::{Bm13xx, Bm13xxConfig, Chip, RESET_BAUD};
use crate::peripheral::BusError;
use crate::peripheral::gekko::Controller;
use crate::transport::{Link, LinkError, SerialLink};
use crate::usb::{Control, Enumerate, Usb, UsbControl, UsbDevice, UsbError};

/// How long the line is high before a reset, low for it, and high before the chip is spoken to.
const BEFORE: Duration = Duration::from_millis(30);
const RESET: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_millis(200);
/// The link of BM1397 chips once they are set up.
const FAST_BAUD: u32 = 1_500_000;
/// The voltage in mV that a Compac A1 or A2 is left with.
const A1_SAFE: u32 = 100;
/// Temperature in °C of a Compac A1 or A2 that ends it, and the one above which it is not switched on.
const A1_MAX: f32 = 90.0;
const A1_MAX_START: f32 = 60.0;
/// How long a request to the bridge takes at worst, finding it on USB included, and a command to the controller.
const LINE_LIMIT: Duration = Duration::from_secs(2);
const COMMAND_LIMIT: Duration = Duration::from_secs(2);
/// Bad readings, one after the other, that switch a stick off.
const BAD_READINGS: u8 = 3;

/// A model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompacKind {
    /// Compac F: one BM1397, voltage by a trimmer, no sensors.
    F,
    /// R909: six BM1397, else as Compac F.
    R909,
    /// Compac A1: one BM1362, with a controller for voltage, fan and sensors.
    A1,
    /// Compac A2: one BM1370, with the same controller.
    A2,
}

impl CompacKind {
    fn name(self) -> &'static str {
        match self {
            Self::F => "GekkoScience Compac F",
            Self::R909 => "GekkoScience R909",
            Self::A1 => "GekkoScience Compac A1",
            Self::A2 => "GekkoScience Compac A2",
        }
    }

    fn chip(self) -> Chip {
        match self {
            Self::F | Self::R909 => Chip::Bm1397,
            Self::A1 => Chip::Bm1362,
            Self::A2 => Chip::Bm1370,
        }
    }

    fn chips(self) -> u16 {
        if self == Self::R909 { 6 } else { 1 }
    }

    fn default_mhz(self) -> f32 {
        match self {
            Self::F | Self::R909 => 200.0,
            Self::A1 | Self::A2 => 300.0,
        }
    }

    /// Core voltages in mV that may be set, and the one that is where nothing else is asked for; `None`: not set by USB.
    fn millivolts(self) -> Option<((u32, u32), u32)> {
        match self {
            Self::F | Self::R909 => None,
            Self::A1 => Some(((200, 400), 300)),
            // No source bounds it, so not far above its default.
            Self::A2 => Some(((200, 300), 270)),
        }
    }
}

/// Makes what takes vendor requests to a stick's bridge.
pub type ReachBridge = Arc<dyn Fn() -> Box<dyn Control> + Send + Sync>;

/// One device.
pub struct Compac {
    kind: CompacKind,
    key: Arc<str>,
    place: Place,
    chips: Bm13xxConfig,
    millivolts: u32,
    /// How its bridge is reached, where not by USB.
    bridge: Option<ReachBridge>,
}

impl Compac {
    /// A device with these settings.
    ///
    /// # Errors
    /// A setting is out of bounds, or the device has no such thing.
    pub fn new(
        kind: CompacKind,
        key: &str,
        place: Place,
        settings: BoardSettings,
    ) -> Result<Self, BoundsError> {
        let board = kind.name();
        let millivolts = check_voltage(kind, settings.millivolts)?;
        let mhz = settings.mhz.unwrap_or(kind.default_mhz());
        let (count, baud) = (Some(kind.chips()), (kind.chip() == Chip::Bm1397).then_some(FAST_BAUD));
        let chips = Bm13xxConfig { chips: count, baud, ..Bm13xxConfig::new(kind.chip(), mhz.into()) };
        check_clock(&chips, board)?;
        Ok(Self { kind, key: key.into(), place, chips, millivolts, bridge: None })
    }

    /// The same device, its bridge reached in another way than by USB: an emulated one.
    #[must_use]
    pub fn reached_by(self, bridge: ReachBridge) -> Self {
        Self { bridge: Some(bridge), ..self }
    }

    fn bridge(&self, port: &Path) -> Result<Box<dyn Control>, BoardError> {
        match &self.bridge {
            Some(bridge) => Ok(bridge()),
            None => Ok(Box::new(UsbControl(bridge_of(&self.place, port)?))),
        }
    }

    fn cbus1(&self, port: &Path) -> Result<Box<dyn ResetLine>, BoardError> {
        match &self.bridge {
            Some(bridge) => Ok(Box::new(FtdiCbus(bridge()))),
            None => Ok(cbus1(bridge_of(&self.place, port)?)),
        }
    }

    pub(crate) fn assemble_f(&self, link: Arc<dyn Link>, line: Box<dyn ResetLine>, sleep: Sleep) -> Opened {
        let keeper = FKeeper { line, link: Arc::clone(&link), sleep, released: false };
        self.assemble(link, Box::new(keeper))
    }

    pub(crate) fn assemble_a1(
        &self,
        link: Arc<dyn Link>,
        telemetry: Arc<dyn Link>,
        bridge: Box<dyn Control>,
        sleep: Sleep,
    ) -> Opened {
        let keeper = A1Keeper {
            line: Box::new(Cp2105Latch(bridge)),
            link: Arc::clone(&link),
            controller: Controller::new(telemetry, Arc::clone(&sleep)),
            sleep,
            millivolts: self.millivolts,
            released: false,
            bad: 0,
        };
        self.assemble(link, Box::new(keeper))
    }

    fn assemble(&self, link: Arc<dyn Link>, keeper: Box<dyn Keeper>) -> Opened {
        let chips = self.chips.clone();
        let mhz = chips.mhz as f32;
        Opened {
            link,
            chips: Box::new(move || -> Box<dyn ChipProtocol> {
                Box::new(Bm13xx::new(chips.clone()).expect("its clock was checked"))
            }),
            keeper,
            clock_mhz: Some(mhz),
        }
    }
}

impl Board for Compac {
    fn info(&self) -> BackendInfo {
        let chip = self.chips.chip;
        BackendInfo {
            key: Arc::clone(&self.key),
            name: format!("{}, {}", self.kind.name(), chip.name()).into(),
            kind: BackendKind::Asic,
            granularity: chip.granularity(),
            depth: DEPTH,
            expected: chip.rate(self.kind.chips(), self.chips.mhz),
            counts_hashes: false,
            report_floor: Some(self.chips.easiest.floor()),
        }
    }

    fn open(&mut self) -> Result<Opened, BoardError> {
        match self.kind {
            CompacKind::F | CompacKind::R909 => {
                let [port] = self.place.ports()?;
                let line = self.cbus1(&port)?;
                let link = Arc::new(SerialLink::open(&port, RESET_BAUD)?);
                Ok(self.assemble_f(link, line, real_sleep()))
            }
            CompacKind::A1 | CompacKind::A2 => {
                let [port, telemetry] = self.place.ports()?;
                let bridge = self.bridge(&port)?;
                let link = Arc::new(SerialLink::open(&port, RESET_BAUD)?);
                let telemetry = Arc::new(SerialLink::open(&telemetry, RESET_BAUD)?);
                Ok(self.assemble_a1(link, telemetry, bridge, real_sleep()))
            }
        }
    }
}

/// The core voltage in mV to set, 0 where none can be.
fn check_voltage(kind: CompacKind, asked: Option<u32>) -> Result<u32, BoundsError> {
    let (what, unit, board) = ("core voltage", "mV", kind.name());
    match (kind.millivolts(), asked) {
        (None, None) => Ok(0),
        (None, Some(_)) => Err(BoundsError::NotThere { what, board }),
        (Some(((low, high), default)), asked) => {
            let value = asked.unwrap_or(default);
            if (low..=high).contains(&value) {
                return Ok(value);
            }
            let (value, low, high) = (value as f32, low as f32, high as f32);
            Err(BoundsError::Outside { what, value, unit, board, low, high })
        }
    }
}

/// The USB device that a port belongs to: its reset line hangs there.
fn bridge_of(place: &Place, port: &Path) -> Result<UsbDevice, BoardError> {
    if let Place::Usb(_, device) = place {
        return Ok(device.clone());
    }
    // A link like those below /dev/serial is a name of the port, too.
    let port = port.canonicalize().unwrap_or_else(|_| port.to_owned());
    let devices = Usb.devices().unwrap_or_default();
    devices.into_iter().find(|device| device.ports.contains(&port)).ok_or_else(|| {
        let missing = LinkError::NotFound { path: port.clone() };
        if port.exists() { no_line(&UsbError::Gone) } else { missing.into() }
    })
}

fn no_line(error: &UsbError) -> BoardError {
    BoardError::Part { part: "reset line", problem: error.to_string() }
}

/// The bridge was there when its port was opened.
fn line_lost(error: UsbError) -> BoardError {
    match error {
        UsbError::Gone => LinkError::Vanished { path: "the USB bridge of its reset line".into() }.into(),
        error => no_line(&error),
    }
}

/// Takes chips through a reset, with the host's side as they expect it afterwards. Notes that they were released.
fn reset(
    line: &mut dyn ResetLine,
    link: &dyn Link,
    sleep: &Sleep,
    noted: &mut bool,
) -> Result<(), BoardError> {
    for (released, time) in [(true, BEFORE), (false, RESET), (true, AFTER)] {
        line.set(released).map_err(line_lost)?;
        *noted = true;
        sleep(time);
    }
    link.set_baud(RESET_BAUD)?;
    Ok(link.discard_input()?)
}

/// What keeps a Compac F or an R909 safe: its reset line is all that there is.
struct FKeeper {
    line: Box<dyn ResetLine>,
    link: Arc<dyn Link>,
    sleep: Sleep,
    /// The chip was let out of reset.
    released: bool,
}

impl Keeper for FKeeper {
    fn power_up(&mut self) -> Result<(), BoardError> {
        reset(&mut *self.line, &*self.link, &self.sleep, &mut self.released)
    }

    fn check(&mut self) -> Checkup {
        Checkup::default()
    }

    fn limits(&self) -> Limits {
        Limits { make_safe: LINE_LIMIT, ..Limits::default() }
    }

    fn make_safe(&mut self) -> Result<(), NotSafe> {
        let held = self.line.set(false);
        owed(self.released, held.or_else(absence_is_off).map_err(|error| not_held(&error)))
    }
}

/// What keeps a Compac A1 or A2 safe.
struct A1Keeper {
    line: Box<dyn ResetLine>,
    link: Arc<dyn Link>,
    controller: Controller,
    sleep: Sleep,
    millivolts: u32,
    /// The chip was let out of reset, or given its voltage.
    released: bool,
    bad: u8,
}

impl A1Keeper {
    fn start(&mut self) -> Result<(), BoardError> {
        self.line.set(false).map_err(line_lost)?;
        let version = self.controller.version().map_err(controller)?;
        if !(1..=3).contains(&version) {
            let problem = format!("version {version}");
            return Err(BoardError::Unsupported { part: "controller", problem });
        }
        self.prepare().map_err(controller)??;
        reset(&mut *self.line, &*self.link, &self.sleep, &mut self.released)?;
        self.bad = 0;
        Ok(())
    }

    /// Fan first, then the temperature, then the voltage.
    fn prepare(&mut self) -> Result<Result<(), Danger>, BusError> {
        self.controller.set_fan(100)?;
        match self.controller.readings()?.celsius {
            Some(celsius) if celsius > A1_MAX_START => return Ok(Err(Danger::Hot(celsius))),
            Some(_) => {}
            None => return Ok(Err(Danger::Blind("no temperature".to_owned()))),
        }
        self.controller.set_millivolts(self.millivolts)?;
        self.released = true;
        self.controller.switch(true)?;
        Ok(Ok(()))
    }

    fn count(&mut self, danger: Danger) -> Option<Danger> {
        self.bad += 1;
        (self.bad >= BAD_READINGS).then_some(danger)
    }
}

impl Keeper for A1Keeper {
    fn power_up(&mut self) -> Result<(), BoardError> {
        self.start()
    }

    fn check(&mut self) -> Checkup {
        let readings = match self.controller.readings() {
            Ok(readings) => readings,
            Err(error) => {
                let danger = self.count(Danger::Blind(error.to_string()));
                return Checkup { telemetry: Telemetry::default(), danger };
            }
        };
        let danger = match readings.celsius {
            None => self.count(Danger::Blind("no temperature".to_owned())),
            Some(celsius) if celsius >= A1_MAX => self.count(Danger::Hot(celsius)),
            Some(_) => {
                self.bad = 0;
                None
            }
        };
        let telemetry = Telemetry {
            celsius: readings.celsius,
            millivolts: Some(readings.volts * 1e3),
            fan_rpm: Some(readings.fan_rpm),
            fan_percent: Some(100.0),
            watts: None,
        };
        Checkup { telemetry, danger }
    }

    fn limits(&self) -> Limits {
        Limits { make_safe: LINE_LIMIT + 2 * COMMAND_LIMIT, ..Limits::default() }
    }

    fn make_safe(&mut self) -> Result<(), NotSafe> {
        // Each step is worth trying whatever became of the others. The fan is left running.
        let held = self.line.set(false).or_else(absence_is_off).map_err(|error| not_held(&error));
        let off = self.controller.switch(false);
        let _ = self.controller.set_millivolts(A1_SAFE);
        // The line takes the chip's power away and so does the regulator: one of them is enough.
        owed(self.released, if off.is_ok() { Ok(()) } else { held })
    }
}

/// A stick lives on what USB gives it: one that is gone is off.
fn absence_is_off(error: UsbError) -> Result<(), UsbError> {
    if let UsbError::Gone = error { Ok(()) } else { Err(error) }
}

fn not_held(error: &UsbError) -> NotSafe {
    NotSafe::Failed { part: "reset line", problem: error.to_string() }
}

/// A stick whose chip was never let out of reset was not switched on.
fn owed(released: bool, off: Result<(), NotSafe>) -> Result<(), NotSafe> {
    if released { off } else { Ok(()) }
}

fn controller(error: BusError) -> BoardError {
    BoardError::of_bus("controller", error)
}

#[cfg(test)]
mod tests;
