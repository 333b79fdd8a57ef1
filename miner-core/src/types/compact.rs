//! nbits, the compact form of the network's target.

use std::fmt;

use super::Target;

/// A checked compact target ("nbits"): one byte of exponent, three of mantissa, as in Bitcoin's headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompactTarget {
    bits: u32,
    target: Target,
}

/// Why a number is no compact target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactTargetError {
    /// The sign bit of the mantissa is set.
    #[error("nbits {0:08x} is negative")]
    Negative(u32),
    /// The value does not fit 256 bits.
    #[error("nbits {0:08x} exceeds 256 bits")]
    Overflow(u32),
    /// The mantissa is zero: nothing could ever meet it.
    #[error("nbits {0:08x} is zero")]
    Zero(u32),
}

impl CompactTarget {
    /// Decodes `bits` as Bitcoin Core does (`arith_uint256::SetCompact`).
    pub fn new(bits: u32) -> Result<Self, CompactTargetError> {
        let exponent = bits >> 24;
        let mantissa = bits & 0x007f_ffff;
        if mantissa == 0 {
            return Err(CompactTargetError::Zero(bits));
        }
        let value = if exponent <= 3 { mantissa >> (8 * (3 - exponent)) } else { mantissa };
        if value != 0 && bits & 0x0080_0000 != 0 {
            return Err(CompactTargetError::Negative(bits));
        }
        let mut bytes = [0; 32];
        // The mantissa's last byte stands `exponent - 3` bytes above the number's least significant one.
        let shift = exponent.saturating_sub(3) as usize;
        for (i, byte) in value.to_le_bytes().into_iter().enumerate().filter(|&(_, byte)| byte != 0) {
            let place = 31usize.checked_sub(shift + i).ok_or(CompactTargetError::Overflow(bits))?;
            bytes[place] = byte;
        }
        Ok(Self { bits, target: Target::from_be_bytes(bytes) })
    }

    /// The number as it stands in the header.
    pub fn to_u32(self) -> u32 {
        self.bits
    }

    /// The 256-bit target that it stands for.
    pub fn target(self) -> Target {
        self.target
    }
}

impl fmt::Display for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.bits)
    }
}

impl fmt::Debug for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
