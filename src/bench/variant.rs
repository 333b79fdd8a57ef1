//! What is measured: a kernel, plain or over rolled versions.

use std::fmt;

use miner_core::sha256d::{Isa, Prepared};
use miner_core::types::{BlockHash, double_sha256};

/// The lowest of the bits that BIP 320 lets a miner roll.
const FIRST_ROLLED_BIT: u32 = 13;

/// A kernel in one of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The kernel.
    pub isa: Isa,
    /// Versions that it tries at once; 1 for the plain form.
    pub versions: u32,
}

impl Variant {
    /// The kernel in its plain form.
    pub fn plain(isa: Isa) -> Self {
        Self { isa, versions: 1 }
    }

    /// Each kernel in its plain form and, where it gains by several versions, over as many as suit it best.
    pub fn of(isas: &[Isa]) -> Vec<Self> {
        isas.iter().flat_map(|&isa| Self::forms(isa)).collect()
    }

    /// The forms of one kernel, plain first.
    pub fn forms(isa: Isa) -> impl Iterator<Item = Self> {
        let rolled = Some(isa.versions()).filter(|&versions| versions > 1);
        std::iter::once(Self::plain(isa)).chain(rolled.map(|versions| Self { isa, versions }))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.versions {
            1 => self.isa.fmt(f),
            versions => write!(f, "{} with {versions} versions", self.isa),
        }
    }
}

/// Headers that differ in their version only, ready for a kernel.
#[derive(Clone, Debug)]
pub struct Work {
    headers: Vec<[u8; 80]>,
    prepared: Vec<Prepared>,
}

impl Work {
    /// `header` with `versions` versions, its own first; its nonce is ignored.
    pub fn new(header: &[u8; 80], versions: u32) -> Self {
        let rolled = |index: u32| {
            let mut header = *header;
            let version = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            header[..4].copy_from_slice(&(version ^ index << FIRST_ROLLED_BIT).to_le_bytes());
            header
        };
        let headers: Vec<_> = (0..versions).map(rolled).collect();
        let prepared = headers.iter().map(Prepared::from_bytes).collect();
        Self { headers, prepared }
    }

    /// Number of versions.
    pub fn versions(&self) -> u32 {
        self.headers.len() as u32
    }

    /// Has the kernel try `count` nonces from `start` with each version; pushes index of the version and nonce of those
    /// whose hash has a top word of at most `limit`, in the kernel's order.
    pub fn scan(&self, isa: Isa, start: u32, count: u64, limit: u32, hits: &mut Vec<(u32, u32)>) {
        if let [only] = self.prepared.as_slice() {
            let mut nonces = Vec::new();
            isa.scan(only, start, count, limit, &mut nonces);
            hits.extend(nonces.into_iter().map(|nonce| (0, nonce)));
        } else {
            isa.scan_versions(&self.prepared, start, count, limit, hits);
        }
    }

    /// The top word of a hash, by the `sha2` crate; `None` where there is no such version.
    pub fn top_word(&self, index: u32, nonce: u32) -> Option<u32> {
        self.headers.get(index as usize).map(|header| top_word(header, nonce))
    }

    /// The header of a version with a nonce.
    pub fn header(&self, index: u32, nonce: u32) -> Option<[u8; 80]> {
        let mut header = *self.headers.get(index as usize)?;
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        Some(header)
    }
}

/// The most significant word of a header's hash, by the `sha2` crate.
pub(super) fn top_word(header: &[u8; 80], nonce: u32) -> u32 {
    let mut header = *header;
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    BlockHash(double_sha256(&header)).to_target().high_word()
}
