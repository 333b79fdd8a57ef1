//! TPS546D24A: the core voltage regulator, a PMBus device at I2C address 24.

use std::collections::BTreeMap;

/// Its I2C address.
pub(super) const ADDRESS: u8 = 0x24;
/// The block that IC_DEVICE_ID reads, after its length.
const DEVICE_ID: [u8; 6] = [0x54, 0x49, 0x54, 0x6b, 0x24, 0x41];
/// VOUT words count 2^-9 V.
const VOUT_MODE: u8 = 0x17;
/// Input voltage of the board.
const VIN: f64 = 5.0;
/// STATUS_IOUT after an overcurrent.
const OVERCURRENT_FAULT: u8 = 0x80;
/// Below this the chips have no core voltage to speak of, in V.
const LEAST: f64 = 0.5;

mod command {
    pub(super) const OPERATION: u8 = 0x01;
    pub(super) const CLEAR_FAULTS: u8 = 0x03;
    pub(super) const VOUT_MODE: u8 = 0x20;
    pub(super) const VOUT_COMMAND: u8 = 0x21;
    pub(super) const STATUS_BYTE: u8 = 0x78;
    pub(super) const STATUS_WORD: u8 = 0x79;
    pub(super) const STATUS_VOUT: u8 = 0x7a;
    pub(super) const STATUS_IOUT: u8 = 0x7b;
    pub(super) const STATUS_CML: u8 = 0x7e;
    pub(super) const READ_VIN: u8 = 0x88;
    pub(super) const READ_VOUT: u8 = 0x8b;
    pub(super) const READ_IOUT: u8 = 0x8c;
    pub(super) const READ_TEMPERATURE: u8 = 0x8d;
    pub(super) const DEVICE_ID: u8 = 0xad;
}

#[derive(Debug)]
pub(super) struct Tps546 {
    registers: BTreeMap<u8, Vec<u8>>,
    pointer: u8,
    /// Switched itself off; OPERATION off and on, or clearing the fault, lets it start again.
    tripped: bool,
    /// How often it does not acknowledge being switched off.
    stays_on: u32,
}

impl Tps546 {
    pub(super) fn new() -> Self {
        Self { registers: BTreeMap::new(), pointer: 0, tripped: false, stays_on: 0 }
    }

    /// Takes a write: a command, and its data. `false`: it is not acknowledged.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let Some((&command, data)) = bytes.split_first() else { return true };
        if command == command::OPERATION && data == [0x00] && self.stays_on > 0 {
            self.stays_on -= 1;
            return false;
        }
        self.pointer = command;
        match command {
            command::CLEAR_FAULTS => self.tripped = false,
            command::OPERATION if data == [0x00] => self.tripped = false,
            _ => {}
        }
        if !data.is_empty() {
            self.registers.insert(command, data.to_vec());
        }
        true
    }

    /// Reads what the last command asked for; nobody drives the bus beyond its end.
    pub(super) fn read(&self, len: usize, amperes: f64, celsius: f64) -> Vec<u8> {
        let mut data = match self.pointer {
            command::VOUT_MODE => vec![VOUT_MODE],
            command::STATUS_BYTE => vec![self.status() as u8],
            command::STATUS_WORD => self.status().to_le_bytes().to_vec(),
            command::STATUS_IOUT if self.tripped => vec![OVERCURRENT_FAULT],
            command::STATUS_VOUT..=command::STATUS_CML => vec![0],
            command::READ_VIN => linear11(VIN).to_le_bytes().to_vec(),
            command::READ_VOUT => ((self.volts() * 512.0).round() as u16).to_le_bytes().to_vec(),
            command::READ_IOUT => linear11(amperes).to_le_bytes().to_vec(),
            command::READ_TEMPERATURE => linear11(celsius).to_le_bytes().to_vec(),
            command::DEVICE_ID => [&[DEVICE_ID.len() as u8][..], &DEVICE_ID].concat(),
            other => self.registers.get(&other).cloned().unwrap_or_default(),
        };
        data.resize(len, 0xff);
        data
    }

    /// The output voltage in V, 0 when off.
    pub(super) fn volts(&self) -> f64 {
        let on = self.registers.get(&command::OPERATION).is_some_and(|data| data[..] == [0x80]);
        let asked = match self.registers.get(&command::VOUT_COMMAND).map(Vec::as_slice) {
            Some(&[low, high]) => f64::from(u16::from_le_bytes([low, high])) / 512.0,
            _ => 0.0,
        };
        if on && !self.tripped { asked } else { 0.0 }
    }

    /// Whether the chips have core voltage.
    pub(super) fn is_on(&self) -> bool {
        self.volts() >= LEAST
    }

    /// Does not heed the next so many commands to switch off.
    pub(super) fn stay_on(&mut self, times: u32) {
        self.stays_on = times;
    }

    /// Switches itself off.
    pub(super) fn trip(&mut self) {
        self.tripped = true;
    }

    fn status(&self) -> u16 {
        const OFF: u16 = 1 << 6;
        const OVERCURRENT: u16 = 1 << 4 | 1 << 14;
        let off = if self.volts() > 0.0 { 0 } else { OFF };
        off | if self.tripped { OVERCURRENT } else { 0 }
    }
}

/// SLINEAR11: 5 bits of exponent, 11 of mantissa, both signed.
fn linear11(value: f64) -> u16 {
    let exponent = (-6i32..=15).find(|exponent| (value / 2f64.powi(*exponent)).abs() < 1023.0).unwrap_or(15);
    let mantissa = (value / 2f64.powi(exponent)).round() as i16;
    ((exponent as u16) & 0x1f) << 11 | (mantissa as u16) & 0x7ff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(word: &[u8]) -> f64 {
        let word = u16::from_le_bytes([word[0], word[1]]);
        let exponent = i32::from((word as i16) >> 11);
        let mantissa = ((word << 5) as i16) >> 5;
        f64::from(mantissa) * 2f64.powi(exponent)
    }

    #[test]
    fn numbers_are_coded_as_pmbus_has_it() {
        for number in [0.0, 5.0, 14.8, 61.5, -12.25, 105.0, 1500.0] {
            assert!(
                (value(&linear11(number).to_le_bytes()) - number).abs() <= number.abs() / 500.0 + 0.01,
                "{number}"
            );
        }
    }

    #[test]
    fn the_output_follows_operation_and_voltage() {
        let mut regulator = Tps546::new();
        assert!(!regulator.is_on());
        regulator.write(&[command::VOUT_COMMAND, 0x4d, 0x02]);
        assert_eq!(regulator.volts(), 0.0);
        regulator.write(&[command::OPERATION, 0x80]);
        assert!(regulator.is_on() && (regulator.volts() - 1.15).abs() < 0.001);
        regulator.write(&[command::READ_VOUT]);
        assert_eq!(regulator.read(2, 0.0, 25.0), [0x4d, 0x02]);
        regulator.trip();
        regulator.write(&[command::STATUS_WORD]);
        assert_eq!((regulator.read(2, 0.0, 25.0), regulator.is_on()), (vec![0x50, 0x40], false));
        regulator.write(&[command::STATUS_IOUT]);
        assert_eq!(regulator.read(1, 0.0, 25.0), [0x80]);
        regulator.write(&[command::CLEAR_FAULTS]);
        regulator.write(&[command::STATUS_IOUT]);
        assert_eq!((regulator.read(1, 0.0, 25.0), regulator.is_on()), (vec![0x00], true));
        regulator.write(&[command::OPERATION, 0x00]);
        regulator.write(&[command::STATUS_WORD]);
        assert_eq!((regulator.read(2, 0.0, 25.0), regulator.is_on()), (vec![0x40, 0x00], false));
    }

    #[test]
    fn it_can_refuse_to_be_switched_off() {
        let mut regulator = Tps546::new();
        regulator.write(&[command::VOUT_COMMAND, 0x4d, 0x02]);
        regulator.write(&[command::OPERATION, 0x80]);
        regulator.stay_on(2);
        let heeded: Vec<bool> = (0..3).map(|_| regulator.write(&[command::OPERATION, 0x00])).collect();
        assert_eq!(heeded, [false, false, true]);
        assert!(!regulator.is_on());
    }

    #[test]
    fn it_identifies_itself_with_a_block() {
        let mut regulator = Tps546::new();
        regulator.write(&[command::DEVICE_ID]);
        assert_eq!(regulator.read(7, 0.0, 25.0), [0x06, 0x54, 0x49, 0x54, 0x6b, 0x24, 0x41]);
        regulator.write(&[0x35, 0x33, 0x00]);
        assert_eq!(regulator.read(2, 0.0, 25.0), [0x33, 0x00]);
        regulator.write(&[0x99]);
        assert_eq!(regulator.read(2, 0.0, 25.0), [0xff, 0xff]);
    }
}
