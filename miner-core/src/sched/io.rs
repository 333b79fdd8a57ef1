//! What goes into the scheduler and what comes out.

use std::sync::Arc;

use crate::backend::{BackendEvent, BackendInfo};
use crate::event::MinerEvent;
use crate::job::JobTemplate;
use crate::share::{Share, ShareOutcome};
use crate::types::{BackendId, Generation, ShareId, SourceId};
use crate::work::WorkUnit;

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// A source said something.
    Source(SourceId, SourceEvent),
    /// A backend is ready for work.
    BackendUp(BackendId, Arc<BackendInfo>),
    /// A backend said something.
    Backend(BackendId, BackendEvent),
    /// The operator wants something.
    Command(Command),
}

/// What a source may say.
#[derive(Debug)]
pub enum SourceEvent {
    /// It is connected and authorised. A suspended source is told its newest job before, a source that was down after.
    Up,
    /// Its connection broke: its job stays minable for a while, its shares may still be answered.
    Suspended,
    /// It is given up. Its shares without an outcome must have been resolved by now; what is left is lost.
    Down,
    /// It sent a job. The same job again with a narrower version mask narrows the mask.
    Job(JobTemplate),
    /// A share ended.
    Resolved {
        /// The share.
        share: ShareId,
        /// How it ended.
        outcome: ShareOutcome,
    },
    /// An answer came for a share that was resolved as lost before.
    Late {
        /// The share.
        share: ShareId,
        /// Whether it was a yes.
        accepted: bool,
    },
}

/// What the operator may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop hashing; outstanding work becomes worthless. Shares that are under way still get their outcome.
    Pause,
    /// Start hashing again.
    Resume,
}

/// Something that the driver must do, in order.
#[derive(Debug)]
pub enum Output {
    /// Move the gate to this generation, then wake all backends.
    Advance(Generation),
    /// Hand this unit to the backend. There is room: the scheduler counts credits.
    Feed(BackendId, WorkUnit),
    /// Send this share to its source.
    Submit(SourceId, Arc<Share>),
    /// Tell whoever listens.
    Emit(MinerEvent),
}
