//! The accounts of shares: each share ends exactly once, and is credited to its device, its source and the total.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::share::{LostReason, RejectKind, Share, ShareOutcome};
use crate::snapshot::ShareCounts;
use crate::types::{BackendId, Difficulty, ShareId};

/// Lost shares of one source that are remembered for late answers.
const MAX_LOST: usize = 1000;

impl ShareCounts {
    pub(super) fn find(&mut self, share: &Share) {
        self.found += 1;
        self.pending += 1;
        self.blocks += u64::from(share.is_block);
    }

    pub(super) fn resolve(&mut self, share: &Share, outcome: &ShareOutcome) {
        self.pending -= 1;
        match outcome {
            ShareOutcome::Accepted => {
                self.accepted += 1;
                self.accepted_difficulty += Difficulty::of(share.job.share_target).get();
            }
            ShareOutcome::Rejected(reject) => {
                let kind = RejectKind::ALL.iter().position(|&kind| kind == reject.kind);
                self.rejected[kind.expect("ALL lists every kind")] += 1;
            }
            ShareOutcome::Lost(LostReason::NotSent) => self.lost_not_sent += 1,
            ShareOutcome::Lost(LostReason::NoAnswer) => self.lost_no_answer += 1,
        }
    }
}

/// The shares of one source that have no outcome yet, and those that were lost of late.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pending: BTreeMap<ShareId, (Arc<Share>, Instant)>,
    lost: VecDeque<(ShareId, BackendId, LostReason)>,
}

impl Ledger {
    pub(super) fn open(&mut self, now: Instant, share: Arc<Share>) {
        self.pending.insert(share.id, (share, now));
    }

    /// Ends a share; `None` when it is unknown here or has ended before.
    pub(super) fn close(&mut self, id: ShareId, outcome: &ShareOutcome) -> Option<(Arc<Share>, Instant)> {
        let (share, found) = self.pending.remove(&id)?;
        if let ShareOutcome::Lost(reason) = outcome {
            if self.lost.len() == MAX_LOST {
                self.lost.pop_front();
            }
            self.lost.push_back((id, share.backend, *reason));
        }
        Some((share, found))
    }

    /// Takes note of a late answer; `None` when the share was not lost of late or was answered before.
    pub(super) fn late(&mut self, id: ShareId) -> Option<(BackendId, LostReason)> {
        let i = self.lost.iter().position(|&(lost, ..)| lost == id)?;
        self.lost.remove(i).map(|(_, backend, reason)| (backend, reason))
    }

    /// The shares without an outcome, oldest first.
    pub(super) fn open_ids(&self) -> Vec<ShareId> {
        self.pending.keys().copied().collect()
    }
}
