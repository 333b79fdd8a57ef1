//! Bitaxe boards under bitaxe-raw firmware, with an EMC2101 and a TPS546: the Gamma (BM1370), and others like it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::backend::{BackendInfo, BackendKind};

use super::bitaxe_raw::bridge::Bridge;
use super::bitaxe_raw::{Format, Request};
use super::place::Place;
use super::{
    Board, BoardError, BoardSettings, BoundsError, Checkup, Danger, Keeper, Limits, NotSafe, Opened, Reopen,
    Sleep, Telemetry,
};
use crate::chip::bm13xx::{Bm13xx, Bm13xxConfig, Chip, RESET_BAUD};
use crate::chip::{ChipProtocol, TicketMask};
use crate::peripheral::BusError;
use crate::peripheral::emc2101::{self, Emc2101Error};
use crate::peripheral::tps546::{Output, Tps546, Tps546Error};
use crate::transport::{Link, LinkError, SerialLink, Unplugged};

/// The pin that holds the chips in reset while it is low.
const RESET: u8 = 0;
const I2C_HERTZ: u32 = 100_000;
/// What the regulator needs to come up, and the chips after their reset.
const POWER_SETTLES: Duration = Duration::from_millis(500);
const RESET_SETTLES: Duration = Duration::from_millis(200);
/// After a reset the temperature diode tells nothing for a while.
const DIODE_SETTLES: Duration = Duration::from_millis(500);
/// Temperatures in °C that are believed at all.
const BELIEVED: std::ops::RangeInclusive<f32> = 0.0..=120.0;
/// Temperatures in °C from which on chips, and the regulator, are switched off.
const MAX_CHIP: f32 = 80.0;
const MAX_REGULATOR: f32 = 105.0;
/// No board this hot, in °C, is switched on.
const MAX_START: f32 = 60.0;
/// Bad readings, one after the other, that switch the board off.
const BAD_READINGS: u8 = 3;
/// The part of the voltage that it may be off by.
const TOLERANCE: f32 = 0.1;
/// How often switching the voltage off is tried at a time: one lost answer must not leave it on.
const OFF_TRIES: usize = 3;
/// How long switching off takes at worst: a request that can't be written, the port opened anew, and eight requests that are
/// answered only just in time.
const OFF_LIMIT: Duration = Duration::from_secs(12);
/// Fan duty in percent of a board without power.
const IDLE_FAN: u8 = 25;
/// The fan's duty in percent grows with the temperature in °C between these two points.
const FAN_LOW: (f32, f32) = (40.0, 40.0);
const FAN_HIGH: (f32, f32) = (65.0, 100.0);

/// A model of Bitaxe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// What it is called.
    pub name: &'static str,
    /// Its chip.
    pub chip: Chip,
    /// Clock in MHz and core voltage in mV where nothing else is set; `None`: no source names them.
    pub defaults: Option<(f32, u32)>,
    /// Core voltages in mV that may be set.
    pub millivolts: (u32, u32),
}

/// BM1370.
pub const GAMMA: Model = Model {
    name: "Bitaxe Gamma",
    chip: Chip::Bm1370,
    defaults: Some((525.0, 1150)),
    millivolts: (1000, 1250),
};
/// BM1368, on a board with EMC2101 and TPS546.
pub const SUPRA: Model =
    Model { name: "Bitaxe Supra", chip: Chip::Bm1368, defaults: None, millivolts: (1000, 1250) };
/// BM1366, on a board with EMC2101 and TPS546.
pub const ULTRA: Model =
    Model { name: "Bitaxe Ultra", chip: Chip::Bm1366, defaults: None, millivolts: (1000, 1250) };

/// One board.
pub struct Bitaxe {
    model: Model,
    key: Arc<str>,
    /// Where the management port and the data port are.
    place: Place,
    chips: Bm13xxConfig,
    volts: f32,
}

impl Bitaxe {
    /// A board with these settings.
    ///
    /// # Errors
    /// A setting is out of bounds, or needed and not given.
    pub fn new(model: Model, key: &str, place: Place, settings: BoardSettings) -> Result<Self, BoundsError> {
        let default = |what| BoundsError::Needed { what, board: model.name };
        let mhz = settings.mhz.or(model.defaults.map(|(mhz, _)| mhz)).ok_or(default("freq"))?;
        let millivolts = settings.millivolts.or(model.defaults.map(|(_, mv)| mv)).ok_or(default("mv"))?;
        let (low, high) = model.millivolts;
        if !(low..=high).contains(&millivolts) {
            return Err(BoundsError::Outside {
                what: "core voltage",
                value: millivolts as f32,
                unit: "mV",
                board: model.name,
                low: low as f32,
                high: high as f32,
            });
        }
        let chips = Bm13xxConfig {
            chips: Some(1),
            easiest: TicketMask::EASIEST,
            ..Bm13xxConfig::new(model.chip, mhz.into())
        };
        check_clock(&chips, model.name)?;
        Ok(Self { model, key: key.into(), place, chips, volts: millivolts as f32 / 1000.0 })
    }
}

/// Whether chips may be clocked so.
pub(super) fn check_clock(chips: &Bm13xxConfig, board: &'static str) -> Result<(), BoundsError> {
    let clocks = chips.chip.clocks();
    if clocks.contains(&chips.mhz) {
        return Ok(());
    }
    Err(BoundsError::Outside {
        what: "clock",
        value: chips.mhz as f32,
        unit: "MHz",
        board,
        low: *clocks.start() as f32,
        high: *clocks.end() as f32,
    })
}

impl Board for Bitaxe {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            key: Arc::clone(&self.key),
            name: format!("{}, {}", self.model.name, self.model.chip.name()).into(),
            kind: BackendKind::Asic,
            granularity: self.model.chip.granularity(),
            depth: super::DEPTH,
            expected: self.model.chip.rate(1, self.chips.mhz),
            counts_hashes: false,
            report_floor: Some(self.chips.easiest.floor()),
        }
    }

    fn open(&mut self) -> Result<Opened, BoardError> {
        let [control, data] = self.place.ports()?;
        let control = Arc::new(SerialLink::open(&control, RESET_BAUD)?);
        let data = Arc::new(SerialLink::open(&data, RESET_BAUD)?);
        let place = self.place.clone();
        let reopen = move || -> Result<Arc<dyn Link>, LinkError> {
            let [control, _] = place.ports()?;
            Ok(Arc::new(SerialLink::open(&control, RESET_BAUD)?))
        };
        Ok(self.assemble(control, data, Box::new(reopen), super::real_sleep()))
    }
}

impl Bitaxe {
    pub(crate) fn assemble(
        &self,
        control: Arc<dyn Link>,
        data: Arc<dyn Link>,
        reopen: Reopen,
        sleep: Sleep,
    ) -> Opened {
        let chips = self.chips.clone();
        let mhz = chips.mhz as f32;
        let keeper = BitaxeKeeper {
            bridge: Bridge::new(control, Format::V0),
            data: Some(Arc::clone(&data)),
            lost: false,
            reopen,
            volts: self.volts,
            sleep,
            owes: false,
            known: false,
            regulator: None,
            released: None,
            bad: 0,
            fan: None,
        };
        Opened {
            link: data,
            chips: Box::new(move || -> Box<dyn ChipProtocol> {
                Box::new(Bm13xx::new(chips.clone()).expect("its clock was checked"))
            }),
            keeper: Box::new(keeper),
            clock_mhz: Some(mhz),
        }
    }
}

/// What keeps a Bitaxe safe.
struct BitaxeKeeper {
    bridge: Bridge,
    /// `None` once it is of no more use: a port that is held by nobody gets its old name when it comes back.
    data: Option<Arc<dyn Link>>,
    /// The management port is to be opened anew.
    lost: bool,
    reopen: Reopen,
    volts: f32,
    sleep: Sleep,
    /// It has answered, and was not switched off since: it may be on.
    owes: bool,
    /// Its regulator was recognised.
    known: bool,
    /// `Some` while it is on.
    regulator: Option<Tps546>,
    /// When the chips were let out of reset.
    released: Option<Instant>,
    bad: u8,
    /// The duty that the fan was last set to, in percent.
    fan: Option<u8>,
}

impl BitaxeKeeper {
    fn start(&mut self) -> Result<(), BoardError> {
        let data = self.data.clone().ok_or(LinkError::NotFound { path: "the data port".into() })?;
        self.bridge.set_pin(RESET, false).map_err(management)?;
        self.owes = true;
        let frequency = Request::I2cFrequency(I2C_HERTZ);
        self.bridge.ask(&frequency).map_err(management)?;
        emc2101::init(&mut self.bridge).map_err(fan)?;
        self.set_fan(100).map_err(fan)?;
        // A diode without power behind it may read as open: only a temperature that was read counts.
        if let Ok(celsius) = emc2101::chip_celsius(&mut self.bridge)
            && BELIEVED.contains(&celsius)
            && celsius > MAX_START
        {
            return Err(Danger::Hot(celsius).into());
        }
        Tps546::identify(&mut self.bridge).map_err(power)?;
        self.known = true;
        let regulator = Tps546::init(&mut self.bridge, self.volts).map_err(power)?;
        Tps546::on(&mut self.bridge).map_err(power)?;
        (self.sleep)(POWER_SETTLES);
        let output = regulator.output(&mut self.bridge).map_err(power)?;
        self.judge_output(output)?;
        self.regulator = Some(regulator);
        // What the chips said before is not to be taken for an answer.
        data.set_baud(RESET_BAUD)?;
        data.discard_input()?;
        self.bridge.set_pin(RESET, true).map_err(management)?;
        (self.sleep)(RESET_SETTLES);
        self.released = Some(data.now());
        self.bad = 0;
        Ok(())
    }

    fn judge_output(&self, output: Output) -> Result<(), Danger> {
        if let Some(fault) = output.fault {
            return Err(Danger::Regulator(fault.to_owned()));
        }
        if output.celsius >= MAX_REGULATOR {
            return Err(Danger::RegulatorHot(output.celsius));
        }
        if (output.volts - self.volts).abs() > self.volts * TOLERANCE {
            let text = format!("{:.0} mV in place of {:.0} mV", output.volts * 1e3, self.volts * 1e3);
            return Err(Danger::Regulator(text));
        }
        Ok(())
    }

    /// Holds the chips in reset, takes their voltage away, and asks whether it is.
    fn switch_off(&mut self, hot: bool) -> Result<(), Tps546Error> {
        self.open_anew().map_err(BusError::from)?;
        let held = self.bridge.set_pin(RESET, false);
        let mut off = Tps546::off(&mut self.bridge);
        for _ in 1..OFF_TRIES {
            off = off.or_else(|_| Tps546::off(&mut self.bridge));
        }
        self.fan = None;
        // Each step is worth trying whatever became of the others. The fan is not what decides.
        let _ = self.set_fan(if off.is_ok() && !hot { IDLE_FAN } else { 100 });
        match off {
            // There is no such regulator, and there never was: the reset is all that this board has.
            Err(Tps546Error::Bus(BusError::Refused(_)) | Tps546Error::Other(_)) if !self.known => Ok(held?),
            off => off,
        }
    }

    /// Where the management port was lost, looks for it.
    fn open_anew(&mut self) -> Result<(), LinkError> {
        if self.lost {
            self.bridge = Bridge::new((self.reopen)()?, Format::V0);
            self.lost = false;
        }
        Ok(())
    }

    /// Lets go of ports that are of no more use.
    fn lose(&mut self) {
        self.lost = true;
        self.data = None;
        self.bridge = Bridge::new(Arc::new(Unplugged), Format::V0);
    }

    fn set_fan(&mut self, percent: u8) -> Result<(), Emc2101Error> {
        if self.fan != Some(percent) {
            emc2101::set_fan(&mut self.bridge, percent)?;
            self.fan = Some(percent);
        }
        Ok(())
    }

    /// A bad reading: the fan at its full speed, and at the third of them in a row the end.
    fn count(&mut self, danger: Danger) -> Option<Danger> {
        // The fan is not what decides.
        let _ = self.set_fan(100);
        self.bad += 1;
        (self.bad >= BAD_READINGS).then_some(danger)
    }

    fn look(&mut self, telemetry: &mut Telemetry) -> Result<Option<Danger>, String> {
        let celsius = emc2101::chip_celsius(&mut self.bridge);
        telemetry.fan_rpm = emc2101::fan_rpm(&mut self.bridge).ok();
        if let Some(regulator) = self.regulator {
            let output = regulator.output(&mut self.bridge).map_err(|error| error.to_string())?;
            telemetry.millivolts = Some(output.volts * 1e3);
            telemetry.watts = Some(output.volts * output.amperes);
            if let Err(danger) = self.judge_output(output) {
                return Ok(Some(danger));
            }
        }
        let settling =
            self.data.as_ref().zip(self.released).is_some_and(|(data, released)| {
                data.now().saturating_duration_since(released) < DIODE_SETTLES
            });
        if settling {
            return Ok(None);
        }
        let celsius = celsius.map_err(|error| error.to_string())?;
        if !BELIEVED.contains(&celsius) {
            return Err(format!("{celsius} °C can't be"));
        }
        telemetry.celsius = Some(celsius);
        if celsius >= MAX_CHIP {
            return Ok(self.count(Danger::Hot(celsius)));
        }
        self.set_fan(fan_for(celsius)).map_err(|error| error.to_string())?;
        self.bad = 0;
        Ok(None)
    }
}

impl Keeper for BitaxeKeeper {
    fn power_up(&mut self) -> Result<(), BoardError> {
        self.regulator = None;
        self.fan = None;
        self.start()
    }

    fn check(&mut self) -> Checkup {
        let mut telemetry = Telemetry::default();
        let danger = match self.look(&mut telemetry) {
            Ok(danger) => danger,
            Err(problem) => self.count(Danger::Blind(problem)),
        };
        telemetry.fan_percent = self.fan.map(f32::from);
        Checkup { telemetry, danger }
    }

    fn limits(&self) -> Limits {
        Limits { make_safe: OFF_LIMIT, ..Limits::default() }
    }

    fn make_safe(&mut self) -> Result<(), NotSafe> {
        let hot = self.bad > 0;
        self.regulator = None;
        let result = self.switch_off(hot).or_else(|error| {
            if !is_link(&error) || !self.owes {
                return Err(error);
            }
            // Whether it is unplugged is known once its port can't be found.
            self.lose();
            self.switch_off(hot).inspect_err(|error| {
                if is_link(error) {
                    self.lose();
                }
            })
        });
        match result {
            Ok(()) => self.owes = false,
            Err(_) if !self.owes => {}
            Err(Tps546Error::Bus(BusError::Link(error))) if error.is_absence() => {
                return Err(NotSafe::Absent);
            }
            Err(error) => {
                return Err(NotSafe::Failed { part: "voltage regulator", problem: error.to_string() });
            }
        }
        Ok(())
    }
}

fn is_link(error: &Tps546Error) -> bool {
    matches!(error, Tps546Error::Bus(BusError::Link(_)))
}

/// The fan's duty in percent at a temperature in °C.
fn fan_for(celsius: f32) -> u8 {
    let slope = (FAN_HIGH.1 - FAN_LOW.1) / (FAN_HIGH.0 - FAN_LOW.0);
    (FAN_LOW.1 + slope * (celsius - FAN_LOW.0)).clamp(FAN_LOW.1, FAN_HIGH.1).round() as u8
}

fn management(error: BusError) -> BoardError {
    BoardError::of_bus("management port", error)
}

/// A part that is not there makes it another board than those that lode knows how to keep safe.
fn fan(error: Emc2101Error) -> BoardError {
    match error {
        Emc2101Error::Bus(BusError::Refused(_)) | Emc2101Error::Other { .. } => {
            BoardError::Unsupported { part: "fan controller EMC2101", problem: error.to_string() }
        }
        Emc2101Error::Bus(error) => BoardError::of_bus("fan controller", error),
        Emc2101Error::Diode(_) => BoardError::Part { part: "fan controller", problem: error.to_string() },
    }
}

fn power(error: Tps546Error) -> BoardError {
    match error {
        Tps546Error::Bus(BusError::Refused(_)) | Tps546Error::Other(_) => {
            BoardError::Unsupported { part: "voltage regulator TPS546D24A", problem: error.to_string() }
        }
        Tps546Error::Bus(error) => BoardError::of_bus("voltage regulator", error),
        Tps546Error::Mode(_) | Tps546Error::Stuck(_) => {
            BoardError::Part { part: "voltage regulator", problem: error.to_string() }
        }
    }
}

#[cfg(test)]
mod tests;
