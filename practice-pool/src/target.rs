//! 256-bit numbers, difficulty and double SHA-256.
//!
//! Written here once more, apart from the miner's own arithmetic, so that the pool cannot share a mistake with the miner
//! it judges.

use std::fmt;

use sha2::{Digest, Sha256};

/// A 256-bit unsigned number, kept big-endian so that the derived order is the numeric order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U256([u8; 32]);

/// A number that is no difficulty, or compact bits that encode no target.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// The difficulty is zero, negative, infinite or not a number.
    #[error("difficulty {0} is not a finite number above zero")]
    Difficulty(f64),
    /// The compact form is negative, zero or beyond 256 bits.
    #[error("nbits {0:08x} encodes no target")]
    Nbits(u32),
}

/// Hashes the parts, as if they were one text, with SHA-256 twice; the digest is in internal byte order.
pub fn sha256d(parts: &[&[u8]]) -> [u8; 32] {
    let mut first = Sha256::new();
    for part in parts {
        first.update(part);
    }
    Sha256::digest(first.finalize()).into()
}

impl U256 {
    /// The largest number, which every hash meets as a target.
    pub const MAX: Self = Self([0xff; 32]);

    /// Reads big-endian bytes, the order in which hashes and targets are displayed.
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads little-endian bytes, the order in which a digest of [`sha256d`] is a number.
    pub fn from_le_bytes(mut bytes: [u8; 32]) -> Self {
        bytes.reverse();
        Self(bytes)
    }

    /// Returns the big-endian bytes.
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Returns the little-endian bytes, the internal order of a hash.
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }

    /// Converts a pool difficulty (bdiff) into the exact target `floor(0xffff * 2^208 / difficulty)`, at most 2^256 - 1.
    ///
    /// # Errors
    /// [`TargetError::Difficulty`] unless `difficulty` is finite and above zero.
    pub fn from_difficulty(difficulty: f64) -> Result<Self, TargetError> {
        if !difficulty.is_finite() || difficulty <= 0.0 {
            return Err(TargetError::Difficulty(difficulty));
        }
        let (fraction, exponent) = decompose(difficulty);
        let shift = 208 - exponent;
        if shift < 0 {
            let numerator = 0xffff_u64.checked_shr(shift.unsigned_abs()).unwrap_or(0);
            return Ok(Self::from_u64(numerator / fraction));
        }
        Ok(divide_shifted(0xffff, shift.unsigned_abs(), fraction))
    }

    /// Expands the compact form of block headers ("nbits") into the network target; bits below one fall off.
    ///
    /// # Errors
    /// [`TargetError::Nbits`] for a negative or zero mantissa or too large a target.
    pub fn from_nbits(nbits: u32) -> Result<Self, TargetError> {
        let exponent = (nbits >> 24) as usize;
        let mantissa = nbits & 0x007f_ffff;
        let mut bytes = [0; 32];
        for (i, byte) in mantissa.to_le_bytes().into_iter().take(3).enumerate() {
            match (exponent + i).checked_sub(3) {
                Some(place) if place < 32 => bytes[31 - place] = byte,
                Some(_) if byte != 0 => return Err(TargetError::Nbits(nbits)),
                _ => {}
            }
        }
        if nbits & 0x0080_0000 != 0 || mantissa == 0 {
            return Err(TargetError::Nbits(nbits));
        }
        Ok(Self(bytes))
    }

    /// Returns the difficulty of a hash (or target) of this value: `0xffff * 2^208 / self`, infinite for zero.
    pub fn difficulty(self) -> f64 {
        let value = self.0.iter().fold(0.0, |sum, &byte| sum * 256.0 + f64::from(byte));
        65535.0 * 2f64.powi(208) / value
    }

    fn from_u64(value: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&value.to_be_bytes());
        Self(bytes)
    }
}

/// Splits a positive finite number into an integer fraction and a power of two, exactly.
fn decompose(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = i32::try_from(bits >> 52).expect("a positive f64 has 11 exponent bits and no sign");
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

/// Divides `value * 2^shift` by a divisor below 2^53, bit by bit; a quotient beyond 256 bits is [`U256::MAX`].
fn divide_shifted(value: u16, shift: u32, divisor: u64) -> U256 {
    let mut quotient = [0u8; 32];
    let mut remainder = 0u64;
    for place in (0..16 + shift).rev() {
        let bit = if place >= shift { u64::from(value >> (place - shift)) & 1 } else { 0 };
        remainder = remainder << 1 | bit;
        if remainder < divisor {
            continue;
        }
        remainder -= divisor;
        if place >= 256 {
            return U256::MAX;
        }
        quotient[31 - place as usize / 8] |= 1 << (place % 8);
    }
    U256(quotient)
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U256({self})")
    }
}
