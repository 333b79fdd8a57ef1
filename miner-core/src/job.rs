//! What a source asks us to solve.

use std::sync::Arc;
use std::time::Instant;

use crate::types::{BlockHash, CompactTarget, Epoch, Header, MerkleRoot, SourceId, Target, double_sha256};

/// A source's name for a job; opaque to everything but the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub Arc<str>);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A template for many headers. Immutable once built; shared by `Arc`.
///
/// A difficulty, an extranonce or a version mask that changes later applies to later jobs: what was in force when
/// the job came is frozen in it.
#[derive(Clone, Debug)]
pub struct JobTemplate {
    /// The source that sent it.
    pub source: SourceId,
    /// The connection that it came over.
    pub epoch: Epoch,
    /// The source's name for it, unique within the epoch.
    pub id: JobId,
    /// Hash of the block to build on.
    pub prev: BlockHash,
    /// Base version: its set bits are never cleared.
    pub version: u32,
    /// Bits that the source allows to be rolled (BIP 310); zero when none.
    pub version_mask: VersionMask,
    /// The network's target.
    pub nbits: CompactTarget,
    /// Seconds since 1970 at which the source made the job.
    pub ntime: u32,
    /// The most seconds that may ever be added to `ntime`, however old the job is (0 = never roll).
    pub max_ntime_roll: u32,
    /// When the job came: ntime may run ahead by the whole seconds passed since.
    pub received: Instant,
    /// Where the merkle root comes from.
    pub merkle: Merkle,
    /// The threshold for submitting a share.
    pub share_target: Target,
    /// Whether the source declared all earlier jobs worthless.
    pub clean: bool,
}

/// Where a job's merkle root comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merkle {
    /// The miner builds the coinbase: prefix, extranonce1, extranonce2, suffix (Stratum V1, V2 extended channels).
    Coinbase {
        /// Coinbase bytes before the extranonces ("coinb1"), without witness.
        prefix: Box<[u8]>,
        /// Coinbase bytes after them ("coinb2").
        suffix: Box<[u8]>,
        /// Merkle branch of the coinbase, from the leaf up, internal byte order.
        branch: Box<[[u8; 32]]>,
        /// The source's part of the extranonce.
        extranonce1: Box<[u8]>,
        /// Bytes of the miner's part, 1..=16.
        extranonce2_size: u8,
    },
    /// The root is given (Stratum V2 standard channels).
    Fixed(MerkleRoot),
}

/// The miner's part of the extranonce: a counter of 1..=16 bytes, serialised little-endian (1 = `01000000`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extranonce2 {
    /// The count.
    pub value: u128,
    /// Its length in bytes; 0 where the merkle root is fixed.
    pub size: u8,
}

impl Extranonce2 {
    /// The bytes that go into the coinbase and into the submit.
    pub fn to_bytes(self) -> Vec<u8> {
        self.value.to_le_bytes()[..usize::from(self.size.min(16))].to_vec()
    }
}

impl JobTemplate {
    /// The merkle root for one extranonce2 (ignored where the root is fixed).
    pub fn merkle_root(&self, extranonce2: Extranonce2) -> MerkleRoot {
        match &self.merkle {
            Merkle::Fixed(root) => *root,
            Merkle::Coinbase { prefix, suffix, branch, extranonce1, .. } => {
                let coinbase = [prefix, extranonce1, &extranonce2.to_bytes()[..], suffix].concat();
                MerkleRoot(branch.iter().fold(double_sha256(&coinbase), |node, sibling| {
                    let mut pair = [0; 64];
                    pair[..32].copy_from_slice(&node);
                    pair[32..].copy_from_slice(sibling);
                    double_sha256(&pair)
                }))
            }
        }
    }

    /// The header for one point of the search space.
    pub fn header(&self, root: MerkleRoot, version: u32, ntime: u32, nonce: u32) -> Header {
        Header { version, prev: self.prev, root, ntime, nbits: self.nbits, nonce }
    }

    /// Length of extranonce2 in bytes; 0 where the merkle root is fixed.
    pub fn extranonce2_size(&self) -> u8 {
        match &self.merkle {
            Merkle::Fixed(_) => 0,
            Merkle::Coinbase { extranonce2_size, .. } => *extranonce2_size,
        }
    }

    /// The version bits that may be set in a header: in the mask and clear in the base version.
    pub fn rollable(&self) -> VersionMask {
        VersionMask(self.version_mask.0 & !self.version)
    }

    /// Whether everything that is hashed is equal, so that a search of one continues as a search of the other.
    ///
    /// The mask is not hashed: what it allows only bounds the search.
    pub fn same_content(&self, other: &Self) -> bool {
        self.ntime == other.ntime && self.same_content_but_ntime(other)
    }

    /// Whether everything that is hashed is equal, or becomes so when ntime is rolled.
    pub fn same_content_but_ntime(&self, other: &Self) -> bool {
        (self.prev, self.version, self.nbits) == (other.prev, other.version, other.nbits)
            && self.merkle == other.merkle
    }

    /// The height of the block to be found, where the coinbase states it (BIP 34: from version 2 on).
    pub fn height(&self) -> Option<u32> {
        if self.version < 2 {
            return None;
        }
        let Merkle::Coinbase { prefix, .. } = &self.merkle else { return None };
        // version (4), input count (1), null outpoint (36), script length (1), then the height as the first push
        let script = prefix.get(42..)?;
        match *script.first()? {
            opcode @ 0x51..=0x60 => Some(u32::from(opcode - 0x50)),
            length @ 1..=4 => {
                let bytes = script.get(1..=usize::from(length))?;
                let height = bytes.iter().rev().fold(0u64, |sum, &byte| sum * 256 + u64::from(byte));
                u32::try_from(height).ok().filter(|&height| height < 500_000_000)
            }
            _ => None,
        }
    }
}

/// A set of header version bits (BIP 310, BIP 320).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VersionMask(pub u32);

impl VersionMask {
    /// No bits.
    pub const NONE: Self = Self(0);

    /// How many versions the bits can spell, at most 2^31.
    pub fn count(self) -> u32 {
        1 << self.0.count_ones().min(31)
    }

    /// The `index`-th version: `index` spread over these bits, on top of `base`.
    ///
    /// The bits must be clear in `base` (see [`JobTemplate::rollable`]): base bits are never cleared.
    pub fn version_at(self, base: u32, index: u32) -> u32 {
        let (mut version, mut bits, mut index) = (base, self.0, index);
        while bits != 0 {
            let lowest = bits & bits.wrapping_neg();
            if index & 1 == 1 {
                version |= lowest;
            }
            index >>= 1;
            bits ^= lowest;
        }
        version
    }

    /// The index of `version` over `base`; `None` when it differs from `base` outside these bits.
    pub fn index_of(self, base: u32, version: u32) -> Option<u32> {
        if (version ^ base) & !self.0 != 0 {
            return None;
        }
        let (mut index, mut bits, mut place) = (0, self.0, 0);
        while bits != 0 {
            let lowest = bits & bits.wrapping_neg();
            index |= u32::from(version & lowest != 0) << place;
            place += 1;
            bits ^= lowest;
        }
        (index < self.count()).then_some(index)
    }
}

impl std::fmt::Display for VersionMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests;
