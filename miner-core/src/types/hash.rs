//! Hashes and the 80-byte block header.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{CompactTarget, Target};

/// Double SHA-256 by the `sha2` crate: the reference path, never one of our kernels.
pub fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// A block hash in internal byte order: the order SHA-256 gives it, read as a little-endian number.
///
/// `Display` and `Debug` print it reversed, as explorers and pools show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(pub [u8; 32]);

impl BlockHash {
    /// The hash as the 256-bit number that is compared with a target.
    pub fn to_target(self) -> Target {
        let mut bytes = self.0;
        bytes.reverse();
        Target::from_be_bytes(bytes)
    }

    /// The half that holds no leading zeros whatever the difficulty: enough to tell hits apart.
    pub fn low_half(self) -> u128 {
        self.0[..16].iter().rev().fold(0, |sum, &byte| sum << 8 | u128::from(byte))
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A merkle root in internal byte order, as it stands in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MerkleRoot(pub [u8; 32]);

/// A block header; the only place where its layout is written down.
///
/// 80 bytes: version (4, LE), previous hash (32), merkle root (32), ntime (4, LE), nbits (4, LE), nonce (4, LE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Block version, rolled bits included.
    pub version: u32,
    /// Hash of the previous block.
    pub prev: BlockHash,
    /// Merkle root over the block's transactions.
    pub root: MerkleRoot,
    /// Seconds since 1970.
    pub ntime: u32,
    /// The network's target, compact.
    pub nbits: CompactTarget,
    /// The number that is searched for.
    pub nonce: u32,
}

impl Header {
    /// The 80 bytes that are hashed.
    pub fn to_bytes(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[0..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(&self.prev.0);
        bytes[36..68].copy_from_slice(&self.root.0);
        bytes[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.nbits.to_u32().to_le_bytes());
        bytes[76..80].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// The header's hash by the independent implementation (`sha2`).
    pub fn hash(&self) -> BlockHash {
        BlockHash(double_sha256(&self.to_bytes()))
    }
}
