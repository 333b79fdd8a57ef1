//! The state of the miner at one moment, for reporters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{BackendInfo, Health};
use crate::job::JobTemplate;
use crate::share::{Discard, RejectKind};
use crate::types::{BackendId, Difficulty, Generation, HashRate, SourceId};

/// Everything that a reporter may show, taken at one moment.
#[derive(Clone, Debug)]
pub struct MinerSnapshot {
    /// When it was taken.
    pub at: Instant,
    /// Time since the scheduler was made.
    pub uptime: Duration,
    /// The current generation.
    pub generation: Generation,
    /// The source that work comes from.
    pub active: Option<SourceId>,
    /// The job that work comes from.
    pub job: Option<Arc<JobTemplate>>,
    /// Whether hashing is paused by command.
    pub paused: bool,
    /// Rates of all devices together.
    pub rates: Rates,
    /// Accounts of all devices together.
    pub shares: ShareCounts,
    /// Candidates that did not become shares, all devices together.
    pub discards: DiscardCounts,
    /// The hardest share so far.
    pub best: Option<Difficulty>,
    /// Each device that ever was, the ones that went included.
    pub devices: Vec<DeviceSnapshot>,
    /// Each configured source.
    pub sources: Vec<SourceSnapshot>,
}

/// One device.
#[derive(Clone, Debug)]
pub struct DeviceSnapshot {
    /// Its number.
    pub backend: BackendId,
    /// What it is.
    pub info: Arc<BackendInfo>,
    /// Whether it is still there.
    pub present: bool,
    /// What it last said of itself.
    pub health: Health,
    /// Its rates.
    pub rates: Rates,
    /// Its shares.
    pub shares: ShareCounts,
    /// Its candidates that did not become shares.
    pub discards: DiscardCounts,
    /// Good hits reported, shares or not.
    pub hits: u64,
    /// Time in which it was there and had no unit: no job yet, none to be had, paused, or put aside. What passes from
    /// its last hash until a unit is known to be finished is not in it.
    pub idle: Duration,
    /// Hashes reported as done.
    pub hashes: u128,
    /// Leased hashes that were given up: never searched, never leased again.
    pub given_up: u128,
    /// Its hardest share.
    pub best: Option<Difficulty>,
}

/// One source.
#[derive(Clone, Debug)]
pub struct SourceSnapshot {
    /// Its number.
    pub source: SourceId,
    /// Its state.
    pub state: SourceState,
    /// Its shares.
    pub shares: ShareCounts,
    /// The share difficulty of its newest job.
    pub difficulty: Option<Difficulty>,
}

/// The state of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Connected and authorised.
    Up,
    /// Its connection broke a short while ago; its job is still minable.
    Suspended,
    /// Not connected, or given up.
    Down,
}

/// Both rates over all windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Hashes done by time.
    pub counted: Windows<HashRate>,
    /// Work of hits by exposure time.
    pub proven: Windows<ProvenRate>,
}

/// One value for each window; `None` where there is too little to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Windows<T> {
    /// Last 5 seconds.
    pub s5: Option<T>,
    /// Last minute.
    pub m1: Option<T>,
    /// Last 15 minutes.
    pub m15: Option<T>,
    /// Since the start.
    pub average: Option<T>,
}

impl<T> Windows<T> {
    /// What `read` makes of each window.
    pub fn and_then<U>(&self, read: impl Fn(&T) -> Option<U>) -> Windows<U> {
        let Self { s5, m1, m15, average } = self;
        let [s5, m1, m15, average] = [s5, m1, m15, average].map(|window| window.as_ref().and_then(&read));
        Windows { s5, m1, m15, average }
    }
}

/// A rate inferred from hits, with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProvenRate {
    /// The estimate.
    pub rate: HashRate,
    /// Lower bound.
    pub low: HashRate,
    /// Upper bound.
    pub high: HashRate,
}

/// The account of shares: `found = accepted + rejected + lost + pending`, always.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShareCounts {
    /// Shares made.
    pub found: u64,
    /// Shares that the pool accepted.
    pub accepted: u64,
    /// Shares that the pool refused, in the order of [`RejectKind::ALL`].
    pub rejected: [u64; RejectKind::ALL.len()],
    /// Shares that never left.
    pub lost_not_sent: u64,
    /// Shares that left and were not answered.
    pub lost_no_answer: u64,
    /// Shares without an outcome yet.
    pub pending: u64,
    /// Answers that came after their share was booked as lost.
    pub late: u64,
    /// Shares not looked for, because the pool asks for more than may be sent: an estimate.
    pub withheld: f64,
    /// Shares that met the network's target.
    pub blocks: u64,
    /// Sum of the share difficulties (as asked for, not as reached) of accepted shares.
    pub accepted_difficulty: f64,
}

impl ShareCounts {
    /// Refused shares of all kinds.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().sum()
    }

    /// Refused shares of one kind.
    pub fn rejected_as(&self, kind: RejectKind) -> u64 {
        RejectKind::ALL.iter().position(|&k| k == kind).map_or(0, |i| self.rejected[i])
    }

    /// Lost shares, whatever the reason.
    pub fn lost(&self) -> u64 {
        self.lost_not_sent + self.lost_no_answer
    }
}

/// Candidates that did not become shares, in the order of [`Discard::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiscardCounts(pub [u64; Discard::ALL.len()]);

impl DiscardCounts {
    /// Counts one more.
    pub(crate) fn add(&mut self, reason: Discard) {
        if let Some(i) = Discard::ALL.iter().position(|&r| r == reason) {
            self.0[i] += 1;
        }
    }

    /// How many were discarded for this reason.
    pub fn of(&self, reason: Discard) -> u64 {
        Discard::ALL.iter().position(|&r| r == reason).map_or(0, |i| self.0[i])
    }
}
