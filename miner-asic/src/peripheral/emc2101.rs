//! EMC2101: a fan controller that also measures the chip's own temperature diode. I2C address 0x4C.

use super::{BusError, I2c};

/// Its address.
pub const ADDRESS: u8 = 0x4c;

const INTERNAL: u8 = 0x00;
const EXTERNAL_HIGH: u8 = 0x01;
const CONFIGURATION: u8 = 0x03;
const EXTERNAL_LOW: u8 = 0x10;
const IDEALITY: u8 = 0x17;
const BETA: u8 = 0x18;
const TACH_LOW: u8 = 0x46;
const TACH_HIGH: u8 = 0x47;
const FAN_CONFIGURATION: u8 = 0x4a;
const FAN: u8 = 0x4c;
const PRODUCT: u8 = 0xfd;
const MAKER: u8 = 0xfe;

/// In the configuration: the tachometer's input is on.
const TACH_INPUT: u8 = 0x04;
/// The fan is driven by pulse width, as the register says.
const PULSE_WIDTH: u8 = 0x23;
/// Full speed of the fan.
const FAN_FULL: u8 = 63;
/// Revolutions a minute times the tachometer's count.
const TACH: f32 = 5_400_000.0;
const DIODE_OPEN: u16 = 0x3f8;
const DIODE_SHORT: u16 = 0x3ff;

/// What can be wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Emc2101Error {
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Another part answers at its address.
    #[error("another part answers: maker {maker:#04x}, product {product:#04x}")]
    Other {
        /// Its maker's number.
        maker: u8,
        /// Its product's number.
        product: u8,
    },
    /// The chip's temperature diode is not connected, or shorted.
    #[error("the chip's temperature diode is {0}")]
    Diode(&'static str),
}

/// Makes sure that it is one, and sets it up for the diode of a Bitaxe Gamma and a fan with four wires.
///
/// # Errors
/// It is not there, or is another part.
pub fn init(bus: &mut impl I2c) -> Result<(), Emc2101Error> {
    let [maker] = bus.read(ADDRESS, MAKER)?;
    let [product] = bus.read(ADDRESS, PRODUCT)?;
    if maker != 0x5d || !matches!(product, 0x16 | 0x28) {
        return Err(Emc2101Error::Other { maker, product });
    }
    let [configuration] = bus.read(ADDRESS, CONFIGURATION)?;
    for (register, value) in [
        (CONFIGURATION, configuration | TACH_INPUT),
        (FAN_CONFIGURATION, PULSE_WIDTH),
        (IDEALITY, 0x24),
        (BETA, 0x00),
    ] {
        bus.write(ADDRESS, &[register, value])?;
    }
    Ok(())
}

/// Sets the fan, in percent of its full speed.
///
/// # Errors
/// The bus.
pub fn set_fan(bus: &mut impl I2c, percent: u8) -> Result<(), Emc2101Error> {
    let value = u16::from(percent.min(100)) * u16::from(FAN_FULL) / 100;
    Ok(bus.write(ADDRESS, &[FAN, value as u8])?)
}

/// The fan's speed in revolutions a minute; 0: it stands still.
///
/// # Errors
/// The bus.
pub fn fan_rpm(bus: &mut impl I2c) -> Result<f32, Emc2101Error> {
    // Reading the low byte holds the high one.
    let [low] = bus.read(ADDRESS, TACH_LOW)?;
    let [high] = bus.read(ADDRESS, TACH_HIGH)?;
    Ok(rpm(high, low))
}

/// The temperature of the chip in °C.
///
/// # Errors
/// The bus, or the diode.
pub fn chip_celsius(bus: &mut impl I2c) -> Result<f32, Emc2101Error> {
    let [high] = bus.read(ADDRESS, EXTERNAL_HIGH)?;
    let [low] = bus.read(ADDRESS, EXTERNAL_LOW)?;
    external_celsius(high, low)
}

/// Its own temperature in °C.
///
/// # Errors
/// The bus.
pub fn own_celsius(bus: &mut impl I2c) -> Result<f32, Emc2101Error> {
    let [celsius] = bus.read(ADDRESS, INTERNAL)?;
    Ok(f32::from(celsius.cast_signed()))
}

fn rpm(high: u8, low: u8) -> f32 {
    match u16::from_be_bytes([high, low]) {
        0 | u16::MAX => 0.0,
        count => TACH / f32::from(count),
    }
}

/// Eleven bits, two's complement, in steps of 0.125 °C.
fn external_celsius(high: u8, low: u8) -> Result<f32, Emc2101Error> {
    let word = u16::from_be_bytes([high, low]);
    match word >> 5 {
        DIODE_OPEN => Err(Emc2101Error::Diode("open")),
        DIODE_SHORT => Err(Emc2101Error::Diode("shorted")),
        _ => Ok(f32::from(word.cast_signed() >> 5) * 0.125),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peripheral::mock::MockBus;

    #[test]
    fn readings_mean_what_was_measured() {
        assert_eq!(external_celsius(0x2d, 0x20).unwrap(), 45.125);
        assert_eq!(external_celsius(0xff, 0xe0).unwrap(), -0.125);
        assert!(matches!(external_celsius(0x7f, 0x00), Err(Emc2101Error::Diode("open"))));
        assert!(matches!(external_celsius(0x7f, 0xe0), Err(Emc2101Error::Diode("shorted"))));
        assert_eq!(rpm(0x05, 0x20).floor(), 4115.0);
        assert_eq!((rpm(0xff, 0xff), rpm(0, 0)), (0.0, 0.0));
    }

    #[test]
    fn it_is_set_up_after_it_was_recognised() {
        let mut bus = MockBus::default();
        bus.registers.extend([((ADDRESS, MAKER), vec![0x5d]), ((ADDRESS, PRODUCT), vec![0x28])]);
        bus.registers.insert((ADDRESS, CONFIGURATION), vec![0x40]);
        init(&mut bus).unwrap();
        set_fan(&mut bus, 100).unwrap();
        set_fan(&mut bus, 25).unwrap();
        let writes: Vec<Vec<u8>> = bus.writes.iter().map(|(_, bytes)| bytes.clone()).collect();
        let wanted: [&[u8]; 6] =
            [&[0x03, 0x44], &[0x4a, 0x23], &[0x17, 0x24], &[0x18, 0x00], &[0x4c, 63], &[0x4c, 15]];
        assert_eq!(writes, wanted);
    }

    #[test]
    fn another_part_is_left_alone() {
        let mut bus = MockBus::default();
        bus.registers.extend([((ADDRESS, MAKER), vec![0x41]), ((ADDRESS, PRODUCT), vec![0x28])]);
        assert!(matches!(init(&mut bus), Err(Emc2101Error::Other { maker: 0x41, product: 0x28 })));
        assert!(bus.writes.is_empty());
        assert!(matches!(init(&mut MockBus::default()), Err(Emc2101Error::Bus(_))));
    }
}
