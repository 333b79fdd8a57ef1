//! Number formats of PMBus (Power System Management Protocol Specification, part II).

/// A value as SLINEAR11: 11 bits of signed mantissa under 5 bits of signed exponent, as finely as it fits.
pub fn to_slinear11(value: f32) -> u16 {
    let mut exponent = -16i32;
    while exponent < 15 && (value * (-exponent as f32).exp2()).round().abs() > 1023.0 {
        exponent += 1;
    }
    let mantissa = (value * (-exponent as f32).exp2()).round() as i16;
    (exponent as u16 & 0x1f) << 11 | (mantissa as u16 & 0x7ff)
}

/// The value of an SLINEAR11 word.
pub fn from_slinear11(word: u16) -> f32 {
    let exponent = word.cast_signed() >> 11;
    let mantissa = (word << 5).cast_signed() >> 5;
    f32::from(mantissa) * f32::from(exponent).exp2()
}

/// How voltages are written: `VOUT_MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoutMode {
    exponent: i8,
    /// Whether limits are told as parts of the voltage, not in volts.
    pub relative: bool,
}

impl VoutMode {
    /// `None` unless the mode is ULINEAR16.
    pub fn parse(mode: u8) -> Option<Self> {
        let exponent = (mode << 3).cast_signed() >> 3;
        (mode & 0x60 == 0).then_some(Self { exponent, relative: mode & 0x80 != 0 })
    }

    /// A value as ULINEAR16 with this exponent.
    pub fn encode(self, value: f32) -> u16 {
        (value * f32::from(-self.exponent).exp2()).round() as u16
    }

    /// The value of a word.
    pub fn decode(self, word: u16) -> f32 {
        f32::from(word) * f32::from(self.exponent).exp2()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn voltages_are_multiples_of_the_exponent() {
        let mode = VoutMode::parse(0x17).unwrap();
        assert!(!mode.relative);
        assert_eq!(mode.encode(1.15), 0x024d);
        assert_eq!(mode.decode(0x024c), 588.0 / 512.0);
        assert!(VoutMode::parse(0x97).unwrap().relative);
        assert_eq!(VoutMode::parse(0x40), None, "another format");
    }

    proptest! {
        #[test]
        fn slinear11_keeps_three_digits(value in -30_000.0f32..30_000.0) {
            let back = from_slinear11(to_slinear11(value));
            prop_assert!((back - value).abs() <= value.abs() / 1000.0 + 1e-4, "{value} became {back}");
        }
    }
}
