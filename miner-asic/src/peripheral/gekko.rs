//! The controller of a GekkoScience Compac A1 or A2: core voltage, fan and sensors, on a serial port of its own.
//!
//! Commands are two bytes; each is echoed by its first, or answered. The controller wants a pause between them.

use std::sync::Arc;
use std::time::Duration;

use super::BusError;
use crate::board::Sleep;
use crate::transport::Link;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause that it wants after each command.
const PAUSE: Duration = Duration::from_millis(100);
/// Millivolts for each step of the voltage.
const MV_PER_STEP: u32 = 5;
/// The highest reading that is a temperature; beyond it is at least 125 °C.
const MAX_READING: u8 = 218;
const TOO_HOT: f32 = 125.0;

/// What the controller measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readings {
    /// V at the chip.
    pub volts: f32,
    /// The hotter of its sensors in °C; `None` where none of them works.
    pub celsius: Option<f32>,
    /// Revolutions a minute of the fan.
    pub fan_rpm: f32,
}

/// The controller.
pub struct Controller {
    link: Arc<dyn Link>,
    sleep: Sleep,
}

impl Controller {
    /// The controller behind this link.
    pub fn new(link: Arc<dyn Link>, sleep: Sleep) -> Self {
        Self { link, sleep }
    }

    /// Its version: 1 to 3 are known.
    ///
    /// # Errors
    /// The link, or silence.
    pub fn version(&mut self) -> Result<u8, BusError> {
        let [version] = self.ask(*b"?v")?;
        Ok(version >> 4)
    }

    /// Sets the core voltage in mV, up to 500.
    ///
    /// # Errors
    /// The link, or no echo.
    pub fn set_millivolts(&mut self, millivolts: u32) -> Result<(), BusError> {
        let steps = u8::try_from(millivolts / MV_PER_STEP).unwrap_or(u8::MAX).min(100);
        self.tell(*b"V", steps)
    }

    /// Switches the regulator.
    ///
    /// # Errors
    /// The link, or no echo.
    pub fn switch(&mut self, on: bool) -> Result<(), BusError> {
        self.tell(*b"B", if on { b'O' } else { b'-' })
    }

    /// Sets the fan in percent.
    ///
    /// # Errors
    /// The link, or no echo.
    pub fn set_fan(&mut self, percent: u8) -> Result<(), BusError> {
        self.tell(*b"F", percent.min(100))
    }

    /// What it measures.
    ///
    /// # Errors
    /// The link, or silence.
    pub fn readings(&mut self) -> Result<Readings, BusError> {
        Ok(readings(self.ask(*b"G.")?))
    }

    fn tell(&mut self, [command]: [u8; 1], value: u8) -> Result<(), BusError> {
        let [echo] = self.ask([command, value])?;
        if echo == command { Ok(()) } else { Err(BusError::Refused(echo)) }
    }

    fn ask<const N: usize>(&mut self, command: [u8; 2]) -> Result<[u8; N], BusError> {
        self.link.discard_input()?;
        self.link.write(&command)?;
        let mut answer = Vec::with_capacity(N);
        let until = self.link.now() + PATIENCE;
        while answer.len() < N {
            if self.link.now() >= until {
                return Err(BusError::Silent(PATIENCE.as_millis()));
            }
            let mut buffer = [0; 16];
            let count = self.link.read(&mut buffer)?;
            answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        (self.sleep)(PAUSE);
        let got = answer.len();
        answer.try_into().map_err(|_| BusError::Length { wanted: N, got })
    }
}

/// Input voltage and current, output voltage and current, two temperatures, tachometer.
fn readings([_, _, volts, _, first, second, tach]: [u8; 7]) -> Readings {
    let celsius = [first, second].into_iter().filter_map(celsius).reduce(f32::max);
    Readings { volts: f32::from(volts) * 2.048 / 255.0 / 2.0, celsius, fan_rpm: f32::from(tach) * 30.0 }
}

fn celsius(reading: u8) -> Option<f32> {
    match reading {
        0 => None,
        1..=MAX_READING => Some(f32::from(reading) * 175.0 / 218.0 - 50.0),
        _ => Some(TOO_HOT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::mock::{Done, MockLink};

    #[test]
    fn readings_mean_what_other_software_showed_for_them() {
        let read = readings([0xd5, 0x00, 0x6e, 0x00, 0x78, 0x00, 0x00]);
        assert_eq!((read.volts * 1e4).round(), 4417.0);
        assert_eq!(read.celsius.map(|celsius| (celsius * 100.0).round()), Some(4633.0));
        assert_eq!(readings([0; 7]).celsius, None, "no sensor works");
        assert_eq!(
            readings([0, 0, 0, 0, 1, 219, 2]),
            Readings { volts: 0.0, celsius: Some(125.0), fan_rpm: 60.0 }
        );
    }

    #[test]
    fn commands_are_those_that_were_seen() {
        let link = Arc::new(MockLink::new(|command| match command {
            b"?v" => vec![0x10],
            b"G." => vec![0xd5, 0, 0x6e, 0, 0x78, 0, 0],
            other => vec![other[0]],
        }));
        let mut controller = Controller::new(Arc::clone(&link) as _, Arc::new(|_| {}));
        assert_eq!(controller.version().unwrap(), 1);
        controller.set_millivolts(300).unwrap();
        controller.switch(true).unwrap();
        controller.switch(false).unwrap();
        controller.set_fan(100).unwrap();
        controller.readings().unwrap();
        let wrote: Vec<Done> = ["3f76", "563c", "424f", "422d", "4664", "472e"]
            .iter()
            .map(|bytes| Done::Wrote(hex::decode(bytes).unwrap()))
            .collect();
        assert_eq!(link.done(), wrote);
    }

    #[test]
    fn another_echo_is_a_refusal() {
        let link = Arc::new(MockLink::new(|_| vec![b'?']));
        let mut controller = Controller::new(link, Arc::new(|_| {}));
        assert!(matches!(controller.switch(true), Err(BusError::Refused(b'?'))));
    }
}
