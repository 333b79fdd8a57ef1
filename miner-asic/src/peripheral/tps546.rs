//! TPS546D24A: a step-down converter for the core voltage, spoken to by PMBus. I2C address 0x24.
//!
//! Command codes are PMBus's own; limits are those of the Bitaxe Gamma.

use super::pmbus::{VoutMode, from_slinear11, to_slinear11};
use super::{BusError, I2c};

/// Its address.
pub const ADDRESS: u8 = 0x24;

const OPERATION: u8 = 0x01;
const ON_OFF_CONFIG: u8 = 0x02;
const CLEAR_FAULTS: u8 = 0x03;
const PHASE: u8 = 0x04;
const VOUT_MODE: u8 = 0x20;
const VOUT_COMMAND: u8 = 0x21;
const VOUT_MAX: u8 = 0x24;
const VOUT_SCALE_LOOP: u8 = 0x29;
const VOUT_MIN: u8 = 0x2b;
const FREQUENCY_SWITCH: u8 = 0x33;
const VIN_ON: u8 = 0x35;
const VIN_OFF: u8 = 0x36;
const VOUT_OV_FAULT_LIMIT: u8 = 0x40;
const VOUT_OV_WARN_LIMIT: u8 = 0x42;
const VOUT_UV_WARN_LIMIT: u8 = 0x43;
const VOUT_UV_FAULT_LIMIT: u8 = 0x44;
const IOUT_OC_FAULT_LIMIT: u8 = 0x46;
const IOUT_OC_WARN_LIMIT: u8 = 0x4a;
const OT_FAULT_LIMIT: u8 = 0x4f;
const OT_WARN_LIMIT: u8 = 0x51;
const VIN_OV_FAULT_LIMIT: u8 = 0x55;
const TON_RISE: u8 = 0x61;
const STATUS_WORD: u8 = 0x79;
const READ_VOUT: u8 = 0x8b;
const READ_IOUT: u8 = 0x8c;
const READ_TEMPERATURE: u8 = 0x8d;
const IC_DEVICE_ID: u8 = 0xad;

const OFF: u8 = 0x00;
const ON: u8 = 0x80;
/// Switched by `OPERATION`, its pin taken into account.
const BY_COMMAND: u8 = 0x1f;
const ALL_PHASES: u8 = 0xff;

const DEVICE_IDS: [[u8; 6]; 3] = [
    [0x54, 0x49, 0x54, 0x6b, 0x24, 0x41],
    [0x54, 0x49, 0x54, 0x6d, 0x24, 0x41],
    [0x54, 0x49, 0x54, 0x6d, 0x24, 0x62],
];

/// What is written as SLINEAR11: kHz, V, A, °C, ms.
const LIMITS: [(u8, f32); 9] = [
    (FREQUENCY_SWITCH, 650.0),
    (VIN_ON, 4.8),
    (VIN_OFF, 4.5),
    (VIN_OV_FAULT_LIMIT, 6.5),
    (VOUT_SCALE_LOOP, 0.25),
    (IOUT_OC_WARN_LIMIT, 25.0),
    (IOUT_OC_FAULT_LIMIT, 30.0),
    (OT_WARN_LIMIT, 105.0),
    (OT_FAULT_LIMIT, 145.0),
];
const RISE_MS: f32 = 3.0;
/// The voltages that it may ever be told to put out.
const VOUT_VOLTS: (f32, f32) = (1.0, 2.0);
/// Limits as parts of the voltage put out.
const VOUT_LIMITS: [(u8, f32); 4] = [
    (VOUT_OV_FAULT_LIMIT, 1.25),
    (VOUT_OV_WARN_LIMIT, 1.16),
    (VOUT_UV_WARN_LIMIT, 0.90),
    (VOUT_UV_FAULT_LIMIT, 0.75),
];

/// Bits of `STATUS_WORD` that mean that it does not do what it was told.
const FAULTS: [(u16, &str); 5] = [
    (1 << 5, "too much voltage"),
    (1 << 4, "too much current"),
    (1 << 3, "too little input voltage"),
    (1 << 2, "too much heat"),
    (1 << 6, "that it is off"),
];

/// What can be wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Tps546Error {
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Another part answers at its address.
    #[error("another part answers: {0:02x?}")]
    Other(Vec<u8>),
    /// It tells voltages in a format that we don't know.
    #[error("unknown format of voltages: mode {0:#04x}")]
    Mode(u8),
    /// What was written did not take.
    #[error("register {0:#04x} does not keep what is written to it")]
    Stuck(u8),
}

/// What it measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// V at its output.
    pub volts: f32,
    /// A at its output, all phases.
    pub amperes: f32,
    /// Its own temperature in °C.
    pub celsius: f32,
    /// The fault that it reports, in words.
    pub fault: Option<&'static str>,
}

/// One that was recognised.
#[derive(Clone, Copy, Debug)]
pub struct Tps546 {
    mode: VoutMode,
}

impl Tps546 {
    /// Makes sure that it is one, switches it off, and sets its limits and its voltage, which are read back.
    ///
    /// # Errors
    /// It is not there, is another part, or does not keep what it is told: then it stays off.
    pub fn init(bus: &mut impl I2c, volts: f32) -> Result<Self, Tps546Error> {
        Self::identify(bus)?;
        Self::off(bus)?;
        bus.write(ADDRESS, &[ON_OFF_CONFIG, BY_COMMAND])?;
        let [mode] = bus.read(ADDRESS, VOUT_MODE)?;
        let regulator = Self { mode: VoutMode::parse(mode).ok_or(Tps546Error::Mode(mode))? };
        for (register, value) in LIMITS {
            write(bus, register, to_slinear11(value))?;
        }
        write(bus, TON_RISE, to_slinear11(RISE_MS))?;
        write(bus, VOUT_MAX, regulator.mode.encode(VOUT_VOLTS.1))?;
        write(bus, VOUT_MIN, regulator.mode.encode(VOUT_VOLTS.0))?;
        write_checked(bus, VOUT_COMMAND, regulator.mode.encode(volts))?;
        let whole = if regulator.mode.relative { 1.0 } else { volts };
        for (register, part) in VOUT_LIMITS {
            write_checked(bus, register, regulator.mode.encode(part * whole))?;
        }
        bus.write(ADDRESS, &[PHASE, ALL_PHASES])?;
        bus.write(ADDRESS, &[CLEAR_FAULTS])?;
        Ok(regulator)
    }

    /// Makes sure that it is one.
    ///
    /// # Errors
    /// It is not there, or is another part.
    pub fn identify(bus: &mut impl I2c) -> Result<(), Tps546Error> {
        let id: [u8; 7] = bus.read(ADDRESS, IC_DEVICE_ID)?;
        let known = id[0] == 6 && DEVICE_IDS.iter().any(|known| known[..] == id[1..]);
        if known { Ok(()) } else { Err(Tps546Error::Other(id.to_vec())) }
    }

    /// Switches the voltage on.
    ///
    /// # Errors
    /// The bus.
    pub fn on(bus: &mut impl I2c) -> Result<(), Tps546Error> {
        Ok(bus.write(ADDRESS, &[OPERATION, ON])?)
    }

    /// Switches the voltage off, and makes sure that it was understood.
    ///
    /// # Errors
    /// The bus, or it is still told to be on.
    pub fn off(bus: &mut impl I2c) -> Result<(), Tps546Error> {
        bus.write(ADDRESS, &[OPERATION, OFF])?;
        let [operation] = bus.read(ADDRESS, OPERATION)?;
        if operation & ON == 0 { Ok(()) } else { Err(Tps546Error::Stuck(OPERATION)) }
    }

    /// What it measures and reports.
    ///
    /// # Errors
    /// The bus.
    pub fn output(self, bus: &mut impl I2c) -> Result<Output, Tps546Error> {
        let status = word(bus, STATUS_WORD)?;
        Ok(Output {
            volts: self.mode.decode(word(bus, READ_VOUT)?),
            amperes: from_slinear11(word(bus, READ_IOUT)?),
            celsius: from_slinear11(word(bus, READ_TEMPERATURE)?),
            fault: FAULTS.iter().find(|(bit, _)| status & bit != 0).map(|(_, words)| *words),
        })
    }
}

fn word(bus: &mut impl I2c, register: u8) -> Result<u16, BusError> {
    Ok(u16::from_le_bytes(bus.read(ADDRESS, register)?))
}

fn write(bus: &mut impl I2c, register: u8, value: u16) -> Result<(), BusError> {
    let [low, high] = value.to_le_bytes();
    bus.write(ADDRESS, &[register, low, high])
}

fn write_checked(bus: &mut impl I2c, register: u8, value: u16) -> Result<(), Tps546Error> {
    write(bus, register, value)?;
    if word(bus, register)? == value { Ok(()) } else { Err(Tps546Error::Stuck(register)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peripheral::mock::MockBus;

    fn bus(mode: u8) -> MockBus {
        let mut bus = MockBus::default();
        let id = [&[6][..], &DEVICE_IDS[1]].concat();
        bus.registers.extend([((ADDRESS, IC_DEVICE_ID), id), ((ADDRESS, VOUT_MODE), vec![mode])]);
        bus
    }

    #[test]
    fn it_is_off_before_anything_is_set_and_set_before_it_is_on() {
        let mut bus = bus(0x17);
        Tps546::init(&mut bus, 1.15).unwrap();
        Tps546::on(&mut bus).unwrap();
        let commands: Vec<&[u8]> = bus.writes.iter().map(|(_, bytes)| &bytes[..]).collect();
        assert_eq!(commands.first(), Some(&&[OPERATION, OFF][..]));
        assert_eq!(commands.last(), Some(&&[OPERATION, ON][..]));
        assert!(commands.contains(&&[VOUT_COMMAND, 0x4d, 0x02][..]));
        // 1.25 × 1.15 V in steps of 1/512 V.
        assert!(commands.contains(&&[VOUT_OV_FAULT_LIMIT, 0xe0, 0x02][..]));
        assert!(commands.contains(&&[CLEAR_FAULTS][..]));
        assert_eq!(bus.registers[&(ADDRESS, IOUT_OC_FAULT_LIMIT)], to_slinear11(30.0).to_le_bytes());
    }

    #[test]
    fn limits_are_parts_of_the_voltage_where_the_mode_says_so() {
        let mut bus = bus(0x97);
        Tps546::init(&mut bus, 1.15).unwrap();
        assert_eq!(bus.registers[&(ADDRESS, VOUT_OV_FAULT_LIMIT)], 640u16.to_le_bytes());
    }

    #[test]
    fn one_that_is_not_what_it_should_be_is_never_switched_on() {
        assert!(matches!(Tps546::init(&mut MockBus::default(), 1.15), Err(Tps546Error::Bus(_))));
        let mut other = bus(0x17);
        other.registers.insert((ADDRESS, IC_DEVICE_ID), vec![6, 0x54, 0x49, 0x54, 0x6b, 0x24, 0x42]);
        assert!(matches!(Tps546::init(&mut other, 1.15), Err(Tps546Error::Other(_))));
        assert!(matches!(Tps546::init(&mut bus(0x57), 1.15), Err(Tps546Error::Mode(0x57))));
        let mut stuck = bus(0x17);
        stuck.registers.insert((ADDRESS, VOUT_COMMAND), vec![0xff, 0xff]);
        stuck.stuck = Some((ADDRESS, VOUT_COMMAND));
        assert!(matches!(Tps546::init(&mut stuck, 1.15), Err(Tps546Error::Stuck(VOUT_COMMAND))));
    }

    #[test]
    fn one_that_stays_on_is_noticed() {
        let mut bus = bus(0x17);
        bus.registers.insert((ADDRESS, OPERATION), vec![ON]);
        bus.stuck = Some((ADDRESS, OPERATION));
        assert!(matches!(Tps546::off(&mut bus), Err(Tps546Error::Stuck(OPERATION))));
        bus.stuck = None;
        Tps546::off(&mut bus).unwrap();
    }

    #[test]
    fn faults_are_told_in_words() {
        let mut bus = bus(0x17);
        let regulator = Tps546::init(&mut bus, 1.15).unwrap();
        for (register, value) in [
            (STATUS_WORD, 0u16),
            (READ_VOUT, 0x024d),
            (READ_IOUT, to_slinear11(12.5)),
            (READ_TEMPERATURE, to_slinear11(50.0)),
        ] {
            bus.registers.insert((ADDRESS, register), value.to_le_bytes().to_vec());
        }
        let output = regulator.output(&mut bus).unwrap();
        assert_eq!(output, Output { volts: 589.0 / 512.0, amperes: 12.5, celsius: 50.0, fault: None });
        for (status, words) in
            [(0x8020u16, "too much voltage"), (0x4010, "too much current"), (0x0040, "that it is off")]
        {
            bus.registers.insert((ADDRESS, STATUS_WORD), status.to_le_bytes().to_vec());
            assert_eq!(regulator.output(&mut bus).unwrap().fault, Some(words));
        }
    }
}
