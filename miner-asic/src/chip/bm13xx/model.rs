//! What tells the models apart.

use std::ops::RangeInclusive;

use miner_core::types::HashRate;
use miner_core::work::Granularity;

use super::pll::PllLimits;

/// Version bits that chips roll themselves: sixteen, from bit 13 on (BIP 320).
pub(super) const ROLL_MASK: u32 = 0x1fff_e000;
/// How far the rolled bits are shifted.
pub(super) const ROLL_SHIFT: u32 = 13;

/// A model of chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// GekkoScience Compac A1, Antminer S19j Pro.
    Bm1362,
    /// Bitaxe Ultra, Antminer S19 XP.
    Bm1366,
    /// Bitaxe Supra, Antminer S21.
    Bm1368,
    /// Bitaxe Gamma, GekkoScience Compac A2, Antminer S21 Pro.
    Bm1370,
    /// GekkoScience Compac F and R909, Bitaxe Max. Midstates are made for it.
    Bm1397,
}

/// A model's constants.
#[derive(Debug)]
pub(super) struct Model {
    /// What it answers from register 0, upper half.
    pub(super) id: u16,
    pub(super) name: &'static str,
    /// Units that each do one try a clock.
    pub(super) small_cores: u32,
    /// Small cores that try as many versions of one nonce side by side; 1 where versions are not rolled.
    pub(super) subcores: u32,
    pub(super) pll: PllLimits,
    /// Clocks that the sources show it at.
    pub(super) mhz: RangeInclusive<f64>,
    /// Whether the divider's own divider is written before each write of the clock.
    pub(super) prewrite: bool,
    pub(super) ids: JobIds,
    /// How far the address of the chip that found it lies above the low end of a nonce, read most significant byte
    /// first; `None`: it is not told.
    pub(super) address_at: Option<u32>,
    /// Faster baud rates: the host's side, and the register and value that set the chips'.
    pub(super) bauds: &'static [(u32, u8, u32)],
}

/// How a job's id is spelled in a job and in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobIds {
    /// Bits 6 to 3, and the subcore in the three bits below them.
    Eight,
    /// Bits 6 to 3; in the answer they are bits 7 to 4, with the subcore in the four below them.
    EightShifted,
    /// Bits 6 to 2, and the midstate in the two bits below them.
    Four,
}

impl JobIds {
    /// Half the number of ids, and how many places lie between two that follow each other.
    pub(super) fn ring(self) -> (usize, usize) {
        match self {
            Self::Eight => (8, 1),
            // Spread over all ids as shipping firmware does.
            Self::EightShifted => (8, 3),
            Self::Four => (16, 1),
        }
    }

    /// The byte of the job in this place of the ring.
    pub(super) fn byte(self, place: usize) -> u8 {
        let step = if self == Self::Four { 4 } else { 8 };
        (place * step % 128) as u8
    }

    /// The place in the ring and the midstate that an answer names.
    pub(super) fn parse(self, byte: u8) -> (usize, usize) {
        let byte = usize::from(byte);
        match self {
            Self::Eight => (byte >> 3, 0),
            Self::EightShifted => (byte >> 4, 0),
            Self::Four => (byte >> 2, byte & 3),
        }
    }
}

impl Chip {
    /// All models.
    pub const ALL: [Self; 5] = [Self::Bm1362, Self::Bm1366, Self::Bm1368, Self::Bm1370, Self::Bm1397];

    /// What it is called.
    pub fn name(self) -> &'static str {
        self.model().name
    }

    /// The pieces of search space that it takes.
    pub fn granularity(self) -> Granularity {
        match self {
            Self::Bm1397 => Granularity::NonceSpaces { max_versions: 4 },
            _ => Granularity::Plane { roll_mask: ROLL_MASK },
        }
    }

    /// What so many of them do at this clock, by their cores.
    pub fn rate(self, chips: u16, mhz: f64) -> HashRate {
        HashRate(f64::from(self.model().small_cores) * f64::from(chips) * mhz * 1e6)
    }

    /// Clocks in MHz that may be asked for.
    pub fn clocks(self) -> RangeInclusive<f64> {
        self.model().mhz.clone()
    }

    /// Whether it rolls versions itself.
    pub(super) fn rolls(self) -> bool {
        self != Self::Bm1397
    }

    pub(super) fn model(self) -> &'static Model {
        match self {
            Self::Bm1362 => &BM1362,
            Self::Bm1366 => &BM1366,
            Self::Bm1368 => &BM1368,
            Self::Bm1370 => &BM1370,
            Self::Bm1397 => &BM1397,
        }
    }
}

const UART: u8 = 0x28;
const FAST: &[(u32, u8, u32)] = &[(1_000_000, UART, 0x1130_0200), (3_000_000, UART, 0x1130_0000)];

static BM1362: Model = Model {
    id: 0x1362,
    name: "BM1362",
    small_cores: 512,
    subcores: 8,
    // 2,000 to 3,125 MHz.
    pll: PllLimits { fb: 160..=250, reference: 2..=2, modern: true },
    mhz: 56.25..=525.0,
    prewrite: true,
    ids: JobIds::Eight,
    address_at: Some(17),
    // Shipping software leaves its link at 115,200 baud.
    bauds: &[],
};

static BM1366: Model = Model {
    id: 0x1366,
    name: "BM1366",
    small_cores: 894,
    subcores: 8,
    pll: PllLimits { fb: 144..=235, reference: 2..=2, modern: true },
    mhz: 56.25..=525.0,
    prewrite: false,
    ids: JobIds::Eight,
    address_at: Some(17),
    bauds: FAST,
};

static BM1368: Model = Model {
    id: 0x1368,
    name: "BM1368",
    small_cores: 1276,
    subcores: 16,
    pll: PllLimits { fb: 144..=235, reference: 2..=2, modern: true },
    mhz: 56.25..=525.0,
    prewrite: false,
    ids: JobIds::EightShifted,
    address_at: None,
    bauds: FAST,
};

static BM1370: Model = Model {
    id: 0x1370,
    name: "BM1370",
    small_cores: 2040,
    subcores: 16,
    pll: PllLimits { fb: 160..=239, reference: 2..=2, modern: true },
    mhz: 56.25..=600.0,
    prewrite: false,
    ids: JobIds::EightShifted,
    address_at: None,
    bauds: FAST,
};

static BM1397: Model = Model {
    id: 0x1397,
    name: "BM1397",
    small_cores: 672,
    subcores: 1,
    pll: PllLimits { fb: 60..=200, reference: 1..=2, modern: false },
    mhz: 56.25..=450.0,
    prewrite: true,
    ids: JobIds::Four,
    // Above it 168 cores of four take ten bits. The source that has counted the nonces of six chips finds it here.
    address_at: Some(14),
    // Its divider stands in the register of miscellaneous controls.
    bauds: &[(1_500_000, 0x18, 0x0000_6131), (3_125_000, 0x18, 0x0000_6031)],
};
