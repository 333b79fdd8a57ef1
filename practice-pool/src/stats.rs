//! What a pool has counted.

use std::collections::BTreeMap;

use crate::verify::Reject;

/// Counters of a pool since it was bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Connections ever accepted; the last one's number.
    pub connections: u64,
    /// Connections open now.
    pub open: usize,
    /// Connections closed at once because too many were open.
    pub turned_away: u64,
    /// Clients dropped because they didn't read what was sent.
    pub slow_readers: u64,
    /// Sessions resumed.
    pub resumed: u64,
    /// Shares accepted.
    pub accepted: u64,
    /// Shares refused, by reason.
    pub rejected: BTreeMap<Reject, u64>,
    /// Sum of the difficulties of the accepted shares' targets; times 4,295,032,833 it is the hashes expected for them.
    pub work: f64,
    /// Highest difficulty of an accepted share's hash.
    pub best: f64,
    /// Blocks found by clients.
    pub blocks: u64,
    /// Height of the block being mined.
    pub height: u32,
    /// Ledger records that could not be written.
    pub unrecorded: u64,
}

impl Stats {
    /// Shares refused for any reason.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}
