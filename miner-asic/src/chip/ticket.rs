//! The ticket mask: how many zero bits beyond the first 32 a hash needs for its nonce to be sent.

use miner_core::types::Target;

/// A mask that lets one hash in 2^(32 + bits) pass: difficulty 2^bits, roughly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketMask(u8);

impl TicketMask {
    /// Difficulty 1: every hash with 32 zero bits.
    pub const EASIEST: Self = Self(0);

    /// The mask of a difficulty; `None` unless it is a power of two below 2^32.
    pub fn of_difficulty(difficulty: u32) -> Option<Self> {
        difficulty.is_power_of_two().then(|| Self(difficulty.trailing_zeros() as u8))
    }

    /// The hardest mask that still lets everything pass that meets `target`.
    pub fn for_target(target: Target) -> Self {
        let bytes = target.to_be_bytes();
        let first = bytes.iter().position(|&byte| byte != 0);
        let zeros = first.map_or(256, |first| 8 * first as u32 + bytes[first].leading_zeros());
        Self(zeros.clamp(32, 63) as u8 - 32)
    }

    /// The easiest target that a chip with this mask reports all hits of.
    pub fn floor(self) -> Target {
        let mut bytes = [0xff; 32];
        let zeros = 32 + usize::from(self.0);
        bytes[..zeros / 8].fill(0);
        bytes[zeros / 8] = 0xff >> (zeros % 8);
        Target::from_be_bytes(bytes)
    }

    /// The mask of a chip that takes only eight bits of it, as they are: difficulty − 1, at most 255.
    pub(super) fn low_byte(self) -> u8 {
        (1u32 << self.0.min(8)).wrapping_sub(1) as u8
    }

    /// The register's value: difficulty − 1, the bits of each byte reversed.
    pub fn register(self) -> u32 {
        let mask = (1u32 << self.0) - 1;
        u32::from_be_bytes(mask.to_be_bytes().map(u8::reverse_bits))
    }
}
