//! What differs between the chips that speak the 55 AA frames.

/// A chip of the 55 AA family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChipKind {
    /// BM1362: Antminer S19j Pro, GekkoScience Compac A1.
    Bm1362,
    /// BM1366: Antminer S19k Pro and S19 XP, Bitaxe Ultra.
    Bm1366,
    /// BM1368: Antminer S21, Bitaxe Supra.
    Bm1368,
    /// BM1370: Antminer S21 Pro, Bitaxe Gamma.
    Bm1370,
    /// BM1397: Antminer S17, GekkoScience Compac F; takes midstates instead of headers.
    Bm1397,
}

impl ChipKind {
    /// The first three bytes of register 0; the fourth is the address.
    pub(crate) fn id(self) -> [u8; 3] {
        match self {
            Self::Bm1362 => [0x13, 0x62, 0x03],
            Self::Bm1366 => [0x13, 0x66, 0x00],
            Self::Bm1368 => [0x13, 0x68, 0x00],
            Self::Bm1370 => [0x13, 0x70, 0x00],
            Self::Bm1397 => [0x13, 0x97, 0x18],
        }
    }

    /// Hashes a clock.
    pub(super) fn small_cores(self) -> f64 {
        match self {
            Self::Bm1362 => 512.0,
            Self::Bm1366 => 894.0,
            Self::Bm1368 => 1276.0,
            Self::Bm1370 => 2040.0,
            Self::Bm1397 => 672.0,
        }
    }

    /// Versions that a core tries at once.
    pub(super) fn subcores(self) -> u32 {
        match self {
            Self::Bm1362 | Self::Bm1366 => 8,
            Self::Bm1368 | Self::Bm1370 => 16,
            Self::Bm1397 => 1,
        }
    }

    /// Bits of a nonce, read most significant first, that a core counts through; those above them name the core.
    pub(super) fn counter_bits(self) -> u32 {
        match self {
            // 168 cores of four: eight bits and two.
            Self::Bm1397 => 22,
            _ => 25,
        }
    }

    /// Whether jobs are headers, in which the chip rolls the version; otherwise they are midstates.
    pub(super) fn takes_headers(self) -> bool {
        self != Self::Bm1397
    }

    /// Byte 7 of a nonce's frame: which job, and which subcore found it.
    pub(super) fn result_header(self, job: u8, subcore: u8) -> u8 {
        match self {
            Self::Bm1362 | Self::Bm1366 => job & 0xf8 | subcore & 0x07,
            Self::Bm1368 | Self::Bm1370 => (job >> 3 & 0x0f) << 4 | subcore & 0x0f,
            Self::Bm1397 => job & 0xfc | subcore & 0x03,
        }
    }

    /// The clock in MHz by the PLL register, `None` where it does not lock.
    pub(crate) fn megahertz(self, [_, fb, reference, post]: [u8; 4]) -> Option<f64> {
        let stored = [post >> 4 & 7, post & 7].map(f64::from);
        let [p1, p2] = if self == Self::Bm1397 { stored } else { stored.map(|divider| divider + 1.0) };
        let feedback = match self {
            Self::Bm1366 | Self::Bm1368 => 144..=235,
            Self::Bm1370 => 160..=239,
            Self::Bm1362 => 16..=250,
            Self::Bm1397 => 1..=255,
        };
        let megahertz = 25.0 * f64::from(fb) / (f64::from(reference) * p1 * p2);
        (feedback.contains(&fb) && megahertz.is_finite()).then_some(megahertz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, of_family};

    #[test]
    fn clocks_are_those_of_published_registers() {
        for (family, kind) in [("bm1370", ChipKind::Bm1370), ("bm1362", ChipKind::Bm1362)] {
            for vector in of_family(family).iter().filter(|vector| vector["expect"]["mhz"].is_number()) {
                let register = bytes(&vector["register"]).try_into().unwrap();
                let expected = vector["expect"]["mhz"].as_f64().unwrap();
                assert!((kind.megahertz(register).unwrap() - expected).abs() < 1e-9, "{}", vector["name"]);
            }
        }
        assert_eq!(ChipKind::Bm1366.megahertz([0x40, 0xa2, 0x02, 0x55]), Some(56.25));
        for register in [[0x40, 0xf0, 0x02, 0x35], [0x40, 0xa0, 0x02, 0x25]] {
            assert_eq!(ChipKind::Bm1397.megahertz(register), Some(200.0));
        }
        assert_eq!(ChipKind::Bm1370.megahertz([0; 4]), None);
        assert_eq!(ChipKind::Bm1397.megahertz([0x40, 0xf0, 0x00, 0x35]), None);
    }
}
