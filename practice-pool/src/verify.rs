//! The check of one share, from bytes alone: coinbase, merkle root, header, hash, target.

use std::sync::Arc;

use crate::chain::Job;
use crate::target::{U256, sha256d};

/// How far a share's time may lie after its job's, in seconds, as ckpool has it.
pub const NTIME_AHEAD: u32 = 7000;

/// What one client was told by one `mining.notify`, with everything then in force for it.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The part that all clients share.
    pub job: Arc<Job>,
    /// Coinbase before the extranonce.
    pub coinb1: Vec<u8>,
    /// Coinbase after the extranonce.
    pub coinb2: Vec<u8>,
    /// The client's extranonce1 when the job was sent.
    pub extranonce1: Vec<u8>,
    /// Bytes of extranonce2 the client must send.
    pub extranonce2_size: usize,
    /// Difficulty in force when the job was sent.
    pub difficulty: f64,
    /// Target of that difficulty.
    pub target: U256,
}

/// The fields of a share, as submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The extranonce2 bytes in the order they stand in the coinbase.
    pub extranonce2: Vec<u8>,
    /// Header time in unix seconds.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Version bits of BIP 310, absent when the client sent five parameters.
    pub version_bits: Option<u32>,
}

/// A header rebuilt from a job and a submission.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Header version with the rolled bits.
    pub version: u32,
    /// The 80 bytes that were hashed.
    pub header: [u8; 80],
    /// The hash as a number; it displays as explorers show it.
    pub hash: U256,
    /// Whether the hash meets the job's network target.
    pub is_block: bool,
}

/// Why a share was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reject {
    /// The connection sent no `mining.subscribe`.
    #[error("Not subscribed")]
    NotSubscribed,
    /// The worker is not authorized on this connection.
    #[error("Unauthorized worker")]
    Unauthorized,
    /// The parameters are not five or six strings of the right kind.
    #[error("Invalid parameters")]
    Malformed,
    /// No such job was sent to this client, or it was forgotten.
    #[error("Job not found")]
    JobNotFound,
    /// A new block made the job worthless.
    #[error("Stale")]
    Stale,
    /// The extranonce2 hasn't the length that was granted.
    #[error("Invalid extranonce2 size")]
    Extranonce2Size,
    /// The time lies before the job's or more than [`NTIME_AHEAD`] after it.
    #[error("Ntime out of range")]
    NtimeOutOfRange,
    /// Version bits outside the granted mask, or without any grant.
    #[error("Invalid version mask")]
    VersionBits,
    /// The same header was accepted before.
    #[error("Duplicate share")]
    Duplicate,
    /// The hash is above the target.
    #[error("Low difficulty share")]
    LowDifficulty,
    /// The client sent more shares on one block than the pool remembers.
    #[error("Too many shares")]
    TooMany,
}

impl Reject {
    /// The number that pools give with the reason.
    pub const fn code(self) -> i32 {
        match self {
            Self::JobNotFound | Self::Stale => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorized => 24,
            Self::NotSubscribed => 25,
            Self::Malformed
            | Self::Extranonce2Size
            | Self::NtimeOutOfRange
            | Self::VersionBits
            | Self::TooMany => 20,
        }
    }
}

/// Checks the fields of a submission against its job and rebuilds the header, which may still miss the target.
///
/// `mask` is the version-rolling mask granted to the client, `None` without a grant.
///
/// # Errors
/// The first of [`Reject::Extranonce2Size`], [`Reject::NtimeOutOfRange`] and [`Reject::VersionBits`] that applies.
pub fn rebuild(work: &Assignment, mask: Option<u32>, submission: &Submission) -> Result<Share, Reject> {
    if submission.extranonce2.len() != work.extranonce2_size {
        return Err(Reject::Extranonce2Size);
    }
    if !(work.job.ntime..=work.job.ntime.saturating_add(NTIME_AHEAD)).contains(&submission.ntime) {
        return Err(Reject::NtimeOutOfRange);
    }
    let version = rolled_version(work.job.version, mask, submission.version_bits)?;
    let coinbase = sha256d(&[&work.coinb1, &work.extranonce1, &submission.extranonce2, &work.coinb2]);
    let root = work.job.branches.iter().fold(coinbase, |root, branch| sha256d(&[&root, branch]));
    let header = header_bytes(&work.job, version, root, submission);
    let hash = U256::from_le_bytes(sha256d(&[&header]));
    let is_block = U256::from_nbits(work.job.nbits).is_ok_and(|network| hash <= network);
    Ok(Share { version, header, hash, is_block })
}

/// Checks everything that can be known of one share alone, the target included.
///
/// # Errors
/// As [`rebuild`], and [`Reject::LowDifficulty`] when the hash meets neither the share's nor the network's target.
pub fn check(work: &Assignment, mask: Option<u32>, submission: &Submission) -> Result<Share, Reject> {
    let share = rebuild(work, mask, submission)?;
    if share.is_good(work) { Ok(share) } else { Err(Reject::LowDifficulty) }
}

impl Share {
    /// Whether the hash meets the job's target; a block is good whatever the target.
    pub fn is_good(&self, work: &Assignment) -> bool {
        self.is_block || self.hash <= work.target
    }
}

/// Puts submitted bits into the job's version by BIP 310: `(version & !mask) | (bits & mask)`.
fn rolled_version(version: u32, mask: Option<u32>, bits: Option<u32>) -> Result<u32, Reject> {
    match (mask, bits) {
        (_, None) => Ok(version),
        (Some(mask), Some(bits)) if bits & !mask == 0 => Ok(version & !mask | bits),
        (_, Some(_)) => Err(Reject::VersionBits),
    }
}

fn header_bytes(job: &Job, version: u32, root: [u8; 32], submission: &Submission) -> [u8; 80] {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&version.to_le_bytes());
    header[4..36].copy_from_slice(&job.prev);
    header[36..68].copy_from_slice(&root);
    header[68..72].copy_from_slice(&submission.ntime.to_le_bytes());
    header[72..76].copy_from_slice(&job.nbits.to_le_bytes());
    header[76..].copy_from_slice(&submission.nonce.to_le_bytes());
    header
}
