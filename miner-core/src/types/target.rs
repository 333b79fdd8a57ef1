//! Targets (exact, 256 bits) and difficulties (floats, for pools and people).

use std::fmt;

use super::BlockHash;

const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
const TWO_POW_256: f64 = TWO_POW_64 * TWO_POW_64 * TWO_POW_64 * TWO_POW_64;

/// The number that a hash must not exceed. Most significant limb first, so that the derived order is numeric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target([u64; 4]);

impl Target {
    /// Every hash meets it.
    pub const MAX: Self = Self([u64::MAX; 4]);
    /// Only the hash zero meets it.
    pub const ZERO: Self = Self([0; 4]);
    /// Difficulty 1 of Stratum V1 ("bdiff"): `0xffff << 208`.
    pub const DIFFICULTY_1: Self = Self([0x0000_0000_ffff_0000, 0, 0, 0]);

    /// Reads a big-endian number.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        let (limbs, _) = bytes.as_chunks::<8>();
        Self(std::array::from_fn(|i| u64::from_be_bytes(limbs[i])))
    }

    /// The number, big-endian.
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *place = limb.to_be_bytes();
        }
        bytes
    }

    /// The target that takes `hashes` tries on average; saturates at both ends. Not exact: for rates, not for pools.
    pub fn from_expected_hashes(hashes: f64) -> Self {
        Difficulty::new(hashes * Self::DIFFICULTY_1.to_f64() / TWO_POW_256).map_or(Self::MAX, Self::from)
    }

    /// The tries that a hit takes on average: `2^256 / (target + 1)`.
    pub fn expected_hashes(self) -> f64 {
        TWO_POW_256 / (self.to_f64() + 1.0)
    }

    /// The most significant 32 bits: the word that a kernel compares in its hot loop.
    pub fn high_word(self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    /// Whether `hash`, as a number, is at most this target.
    pub fn is_met_by(self, hash: &BlockHash) -> bool {
        hash.to_target() <= self
    }

    /// The nearest float, for display and estimates.
    pub fn to_f64(self) -> f64 {
        self.0.iter().fold(0.0, |sum, &limb| sum * TWO_POW_64 + limb as f64)
    }

    fn shl1_or(self, bit: u64) -> Self {
        let [a, b, c, d] = self.0;
        Self([a << 1 | b >> 63, b << 1 | c >> 63, c << 1 | d >> 63, d << 1 | bit])
    }
}

impl From<Difficulty> for Target {
    /// `floor(0xffff * 2^208 / difficulty)`, exactly, from the float's own fraction; saturates at [`Target::MAX`].
    fn from(difficulty: Difficulty) -> Self {
        let bits = difficulty.0.to_bits();
        let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
        // difficulty = mantissa * 2^scale
        let (mantissa, scale) =
            if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
        // The numerator is 0xffff followed by `zeros` zero bits: long division, one bit at a time.
        let zeros = 208 - scale;
        let (mut quotient, mut remainder) = (Self::ZERO, 0u64);
        for place in (0..16 + zeros).rev() {
            remainder = remainder << 1 | u64::from(place >= zeros);
            let bit = remainder >= mantissa;
            if bit {
                remainder -= mantissa;
            }
            if quotient.0[0] >> 63 == 1 {
                return Self::MAX;
            }
            quotient = quotient.shl1_or(u64::from(bit));
        }
        quotient
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A difficulty as pools state it: finite and positive, often fractional. A view of a target, never the thing compared.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Difficulty(f64);

impl Difficulty {
    /// `None` unless `value` is a finite number above zero.
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value > 0.0).then_some(Self(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The difficulty that corresponds to a target, or that a hash reached; difficulty of zero is that of one.
    pub fn of(target: Target) -> Self {
        Self(Target::DIFFICULTY_1.to_f64() / target.to_f64().max(1.0))
    }
}
