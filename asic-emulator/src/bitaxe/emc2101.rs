//! EMC2101: fan controller and thermometer at I2C address 4C.

/// Its I2C address.
pub(super) const ADDRESS: u8 = 0x4c;
/// Tachometer pulses: 5,400,000 over this is the speed in rpm.
const TACH_CLOCK: f64 = 5_400_000.0;
/// Speed of the fan at full setting, in rpm.
const FULL_RPM: f64 = 6000.0;
/// Bit of the configuration that makes the pin a tachometer's.
const TACH_IN: u8 = 0x04;
/// What the external temperature reads without a diode.
const DIODE_OPEN: i16 = 0x3f8;
/// The largest fan setting.
const FULL: f64 = 63.0;

#[derive(Debug)]
pub(super) struct Emc2101 {
    registers: [u8; 256],
    pointer: u8,
    stuck: bool,
    diode_open: bool,
}

impl Emc2101 {
    pub(super) fn new() -> Self {
        let mut registers = [0; 256];
        (registers[0xfd], registers[0xfe]) = (0x16, 0x5d);
        Self { registers, pointer: 0, stuck: false, diode_open: false }
    }

    /// Takes a write: the register, and values for it and those after it.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let Some((&register, values)) = bytes.split_first() else { return };
        self.pointer = register;
        for (place, &value) in (register..=u8::MAX).zip(values) {
            if !matches!(place, 0x00 | 0x01 | 0x10 | 0x46 | 0x47 | 0xfd..) {
                self.registers[usize::from(place)] = value;
            }
        }
    }

    /// Reads from where the last write pointed.
    pub(super) fn read(&self, len: usize, celsius: f64) -> Vec<u8> {
        (0..len).map(|i| self.register(self.pointer.wrapping_add(i as u8), celsius)).collect()
    }

    /// How fast the fan is told to turn, 0 to 1.
    pub(super) fn setting(&self) -> f64 {
        (f64::from(self.registers[0x4c] & 0x3f) / FULL).min(1.0)
    }

    /// How fast it turns.
    pub(super) fn fan(&self) -> f64 {
        if self.stuck { 0.0 } else { self.setting() }
    }

    pub(super) fn set_stuck(&mut self, stuck: bool) {
        self.stuck = stuck;
    }

    pub(super) fn set_diode_open(&mut self, open: bool) {
        self.diode_open = open;
    }

    fn register(&self, register: u8, celsius: f64) -> u8 {
        // Steps of an eighth, left-aligned in two bytes.
        let steps = (celsius * 8.0).round().clamp(-512.0, 1015.0) as i16;
        let external = if self.diode_open { DIODE_OPEN } else { steps } << 5;
        let [high, low] = external.to_be_bytes();
        let [tach_high, tach_low] = self.tach().to_be_bytes();
        match register {
            // The air at the controller is cooler than the chip.
            0x00 => (25.0 + (celsius - 25.0) / 4.0).round() as i8 as u8,
            0x01 => high,
            0x10 => low,
            0x46 => tach_low,
            0x47 => tach_high,
            _ => self.registers[usize::from(register)],
        }
    }

    fn tach(&self) -> u16 {
        let counts = TACH_CLOCK / (FULL_RPM * self.fan());
        let connected = self.registers[0x03] & TACH_IN != 0;
        if connected && counts < f64::from(u16::MAX) { counts as u16 } else { u16::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_identifies_itself_and_measures() {
        let mut chip = Emc2101::new();
        let mut read = |register: u8, len, celsius| {
            chip.write(&[register]);
            chip.read(len, celsius)
        };
        assert_eq!(read(0xfe, 1, 0.0), [0x5d]);
        assert_eq!(read(0xfd, 1, 0.0), [0x16]);
        assert_eq!((read(0x01, 1, 45.125), read(0x10, 1, 45.125)), (vec![0x2d], vec![0x20]));
        assert_eq!((read(0x01, 1, -0.5), read(0x10, 1, -0.5)), (vec![0xff], vec![0x80]));
        chip.set_diode_open(true);
        chip.write(&[0x01]);
        assert_eq!(chip.read(1, 45.0), [0x7f]);
    }

    #[test]
    fn the_fan_follows_its_setting_and_the_tachometer_the_fan() {
        let mut chip = Emc2101::new();
        chip.write(&[0x4c, 63]);
        let rpm = |chip: &mut Emc2101| {
            chip.write(&[0x46]);
            let tach = chip.read(2, 25.0);
            5_400_000 / u32::from(u16::from_le_bytes([tach[0], tach[1]]))
        };
        assert_eq!(rpm(&mut chip), 82, "no tachometer before it is switched on");
        chip.write(&[0x03, 0x04]);
        assert_eq!(rpm(&mut chip), 6000);
        chip.write(&[0x4c, 16]);
        assert!((0.24..0.26).contains(&chip.fan()));
        chip.set_stuck(true);
        assert_eq!((rpm(&mut chip), chip.fan()), (82, 0.0));
        chip.write(&[0xfe, 0]);
        assert_eq!(chip.read(1, 0.0), [0x5d], "an id cannot be written");
    }
}
