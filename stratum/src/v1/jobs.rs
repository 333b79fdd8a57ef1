//! Jobs and what they are stamped with: extranonce, difficulty, version mask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::job::{JobId, JobTemplate, Merkle, VersionMask};
use miner_core::types::{BlockHash, Difficulty, Epoch, SourceId, Target};

use super::params::{Extranonce, Notify, ParamsError};
use crate::PoolEvent;

/// ntime may be rolled this many seconds; the tightest known pool allows 7,000.
const MAX_NTIME_ROLL: u32 = 600;
/// At most 20 jobs a second are delivered.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Makes jobs, and holds at most one that was not delivered: the newest.
#[derive(Debug)]
pub(super) struct Jobs {
    source: SourceId,
    epoch: Epoch,
    extranonce: Option<Extranonce>,
    difficulty: Difficulty,
    target: Target,
    mask: VersionMask,
    /// A job that came before the subscription did, with the difficulty and the time of its coming.
    early: Option<(Notify, Stamp)>,
    newest: Option<(JobTemplate, Difficulty)>,
    /// The mask that the newest job was delivered with, if it was.
    delivered_mask: Option<VersionMask>,
    pending: Pending,
    delivered_at: Option<Instant>,
    told: Option<Difficulty>,
}

/// What is in force when a job comes.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    received: Instant,
    difficulty: Difficulty,
    target: Target,
}

/// Whether the newest job waits to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    No,
    /// Not before the interval has passed.
    Held,
    /// With the next poll.
    Released,
}

impl Jobs {
    /// Before a pool says anything its difficulty is 1, as for every miner since the first.
    pub(super) fn new(source: SourceId, epoch: Epoch) -> Self {
        let difficulty = Difficulty::of(Target::DIFFICULTY_1);
        Self {
            source,
            epoch,
            extranonce: None,
            difficulty,
            target: Target::DIFFICULTY_1,
            mask: VersionMask::NONE,
            early: None,
            newest: None,
            delivered_mask: None,
            pending: Pending::No,
            delivered_at: None,
            told: None,
        }
    }

    /// A job came. An error leaves the one before in force.
    pub(super) fn on_notify(&mut self, now: Instant, notify: Notify) -> Result<(), ParamsError> {
        let stamp = Stamp { received: now, difficulty: self.difficulty, target: self.target };
        let Some(extranonce) = &self.extranonce else {
            let clean = notify.clean || self.early.as_ref().is_some_and(|(early, _)| early.clean);
            self.early = Some((Notify { clean, ..notify }, stamp));
            return Ok(());
        };
        notify.fits(extranonce)?;
        let mut job = self.template(notify, extranonce.clone(), stamp);
        if self.pending != Pending::No {
            job.clean |= self.newest.as_ref().is_some_and(|(replaced, _)| replaced.clean);
        }
        if self.pending == Pending::No {
            self.pending = Pending::Held;
        }
        self.replace(job, stamp);
        Ok(())
    }

    /// The subscription: what jobs up to now waited for.
    pub(super) fn on_subscribed(&mut self, extranonce: Extranonce) -> Result<(), ParamsError> {
        let early = self.early.take();
        self.extranonce = Some(extranonce.clone());
        let Some((notify, stamp)) = early else { return Ok(()) };
        notify.fits(&extranonce)?;
        self.pending = Pending::Held;
        self.replace(self.template(notify, extranonce, stamp), stamp);
        Ok(())
    }

    /// Another extranonce, for the jobs to come.
    pub(super) fn set_extranonce(&mut self, extranonce: Extranonce) {
        self.extranonce = Some(extranonce);
    }

    /// Another difficulty, for the jobs to come.
    pub(super) fn set_difficulty(&mut self, difficulty: Difficulty) {
        if difficulty != self.difficulty {
            (self.difficulty, self.target) = (difficulty, Target::from(difficulty));
        }
    }

    /// Another version mask. New bits are for the jobs to come, except where the newest was not delivered yet; lost
    /// bits are gone at once, so that the newest job is delivered again, and all earlier work is worthless.
    pub(super) fn set_mask(&mut self, mask: VersionMask) {
        self.mask = mask;
        let Some((job, _)) = &mut self.newest else { return };
        let Some(delivered) = self.delivered_mask else {
            job.version_mask = mask;
            return;
        };
        let left = VersionMask(delivered.0 & mask.0);
        if left != job.version_mask {
            (job.version_mask, job.clean) = (left, true);
            self.pending = Pending::Held;
        }
    }

    /// The mask in force.
    pub(super) fn mask(&self) -> VersionMask {
        self.mask
    }

    /// Lets the newest job go, where one waits and the last went long enough ago.
    pub(super) fn release(&mut self, now: Instant) {
        if self.next_release().is_some_and(|due| due <= now) {
            self.pending = Pending::Released;
            self.delivered_at = Some(now);
        }
    }

    /// When to call [`release`](Self::release).
    pub(super) fn next_release(&self) -> Option<Instant> {
        let (job, _) = self.newest.as_ref().filter(|_| self.pending == Pending::Held)?;
        Some(self.delivered_at.map_or(job.received, |last| last + MIN_INTERVAL))
    }

    /// The released job; before it its difficulty, where that changed.
    pub(super) fn poll(&mut self) -> Option<PoolEvent> {
        let (job, difficulty) = self.newest.as_ref().filter(|_| self.pending == Pending::Released)?;
        if self.told != Some(*difficulty) {
            self.told = Some(*difficulty);
            return Some(PoolEvent::Difficulty(*difficulty));
        }
        self.pending = Pending::No;
        self.delivered_mask = Some(job.version_mask);
        Some(PoolEvent::Job(job.clone()))
    }

    fn replace(&mut self, job: JobTemplate, stamp: Stamp) {
        self.newest = Some((job, stamp.difficulty));
        self.delivered_mask = None;
    }

    fn template(&self, notify: Notify, extranonce: Extranonce, stamp: Stamp) -> JobTemplate {
        JobTemplate {
            source: self.source,
            epoch: self.epoch,
            id: JobId(Arc::from(notify.id)),
            prev: BlockHash(notify.prev),
            version: notify.version,
            version_mask: self.mask,
            nbits: notify.nbits,
            ntime: notify.ntime,
            max_ntime_roll: MAX_NTIME_ROLL,
            received: stamp.received,
            merkle: Merkle::Coinbase {
                prefix: notify.prefix.into(),
                suffix: notify.suffix.into(),
                branch: notify.branch.into(),
                extranonce1: extranonce.first.into(),
                extranonce2_size: extranonce.second_size,
            },
            share_target: stamp.target,
            clean: notify.clean,
        }
    }
}
