//! What happened, for whoever reports it. The core knows none of the readers.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BackendInfo, Health};
use crate::job::JobTemplate;
use crate::share::{Discard, LostReason, Share, ShareOutcome};
use crate::types::{BackendId, Generation, HashRate, SourceId};

/// One thing that happened in the core.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MinerEvent {
    /// Work now comes from this job.
    JobAdopted {
        /// The job; names its source.
        job: Arc<JobTemplate>,
        /// The generation of the work that follows.
        generation: Generation,
        /// Whether all earlier work became worthless.
        restarted: bool,
    },
    /// A share was found and goes to its source.
    ShareFound(Arc<Share>),
    /// A share ended.
    ShareResolved {
        /// The share.
        share: Arc<Share>,
        /// How it ended.
        outcome: ShareOutcome,
        /// Time from found to resolved.
        latency: Duration,
    },
    /// An answer came for a share that had been booked as lost: counted apart, changes nothing else.
    ShareLate {
        /// The source that answered.
        source: SourceId,
        /// What the share had been booked as.
        booked: LostReason,
        /// Whether the late answer was a yes.
        accepted: bool,
    },
    /// A hit met the network's target.
    BlockFound(Arc<Share>),
    /// A candidate did not become a share. Not told of hits below the pool's target, which are ordinary.
    CandidateDiscarded {
        /// The backend that reported it.
        backend: BackendId,
        /// Why.
        reason: Discard,
    },
    /// A backend is ready for work.
    BackendUp {
        /// Its number.
        backend: BackendId,
        /// What it is.
        info: Arc<BackendInfo>,
    },
    /// A backend's state changed.
    BackendHealth {
        /// Its number.
        backend: BackendId,
        /// What it says of itself.
        health: Health,
    },
    /// A backend has ended.
    BackendDown {
        /// Its number.
        backend: BackendId,
        /// The error that ended it; `None` when it was told to stop.
        error: Option<Arc<str>>,
    },
    /// A source is connected and authorised.
    SourceUp(SourceId),
    /// A source's connection broke; its job stays good for a while.
    SourceSuspended(SourceId),
    /// A source was given up: its work is worthless.
    SourceDown(SourceId),
    /// Work now comes from this source, or from none.
    SourceActive(Option<SourceId>),
    /// A job's search space is used up for at least one backend. Told once a job.
    WorkExhausted(SourceId),
    /// The pool asks for more shares a second than may be sent: only the hardest are looked for.
    Withholding {
        /// The source.
        source: SourceId,
        /// Expected shares a second at the pool's own target.
        per_second: f64,
    },
    /// Work for a backend is sized by this rate from now on (a first measurement replaced the guess).
    RateLearned {
        /// The backend.
        backend: BackendId,
        /// Its rate.
        rate: HashRate,
    },
}
