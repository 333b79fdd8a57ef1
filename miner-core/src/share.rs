//! From a backend's claim to a pool's verdict.

use std::sync::Arc;

use crate::job::{Extranonce2, JobTemplate};
use crate::types::{BackendId, BlockHash, Difficulty, Header, ShareId, WorkId};

/// A backend's claim that a header meets its unit's report target. Untrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The unit that it was found in.
    pub work: WorkId,
    /// Full header version, rolled bits included.
    pub version: u32,
    /// Header time, seconds since 1970.
    pub ntime: u32,
    /// The nonce.
    pub nonce: u32,
}

/// A hit that was hashed again, is inside its lease and meets its own job's share target.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its name in every account.
    pub id: ShareId,
    /// The backend that found it.
    pub backend: BackendId,
    /// The job that it solves; names the source, the epoch and the job id to submit under.
    pub job: Arc<JobTemplate>,
    /// The miner's extranonce.
    pub extranonce2: Extranonce2,
    /// Full header version, rolled bits included.
    pub version: u32,
    /// Header time, seconds since 1970.
    pub ntime: u32,
    /// The nonce.
    pub nonce: u32,
    /// The header's hash by the independent implementation.
    pub hash: BlockHash,
    /// Whether the hash meets the network's target too.
    pub is_block: bool,
}

impl Share {
    /// The difficulty that the hash reached (not the one that was asked for).
    pub fn difficulty(&self) -> Difficulty {
        Difficulty::of(self.hash.to_target())
    }

    /// The header that was hashed.
    pub fn header(&self) -> Header {
        self.job.header(self.job.merkle_root(self.extranonce2), self.version, self.ntime, self.nonce)
    }
}

/// How a share ended. Every share ends exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareOutcome {
    /// The pool said yes.
    Accepted,
    /// The pool said no.
    Rejected(Reject),
    /// No verdict was ever known.
    Lost(LostReason),
}

/// Why no verdict is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostReason {
    /// It never left this machine: the session was gone, or the room for waiting shares.
    NotSent,
    /// It was sent and no answer came, in time or at all. The pool may have counted it.
    NoAnswer,
}

/// A pool's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// What kind of refusal it is, from the code and, failing that, the text.
    pub kind: RejectKind,
    /// The pool's number, where it gave one.
    pub code: Option<i64>,
    /// The pool's words: escaped, and cut to a bounded length, by the protocol.
    pub text: Box<str>,
}

/// The kinds of refusal that pools know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectKind {
    /// The job is no longer (or was never) known to the pool: code 21.
    Stale,
    /// The pool has had this share already: code 22.
    Duplicate,
    /// The hash does not meet the target that the pool applied: code 23.
    LowDifficulty,
    /// The worker is not authorised: code 24.
    Unauthorized,
    /// The pool does not know this session: code 25.
    NotSubscribed,
    /// Anything else.
    Other,
}

impl RejectKind {
    /// All kinds, in the order in which counters hold them.
    pub const ALL: [Self; 6] = [
        Self::Stale,
        Self::Duplicate,
        Self::LowDifficulty,
        Self::Unauthorized,
        Self::NotSubscribed,
        Self::Other,
    ];
}

/// Why a candidate did not become a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Discard {
    /// Its generation has passed, or its source was given up.
    Stale,
    /// No such unit was leased to this backend, or it was retired long ago.
    UnknownWork,
    /// Outside the leased versions, nonces or time.
    OutOfLease,
    /// The hash does not meet the unit's report target: the device computed wrongly.
    HardwareError,
    /// Reported before.
    Duplicate,
    /// A good hit that the pool did not ask for: it only proves the device's rate.
    BelowShareTarget,
}

impl Discard {
    /// All reasons, in the order in which counters hold them.
    pub const ALL: [Self; 6] = [
        Self::Stale,
        Self::UnknownWork,
        Self::OutOfLease,
        Self::HardwareError,
        Self::Duplicate,
        Self::BelowShareTarget,
    ];
}
