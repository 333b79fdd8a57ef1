//! From a backend's claim to a share.

use std::sync::Arc;

use super::leases::Leased;
use super::{Output, Scheduler};
use crate::event::MinerEvent;
use crate::job::{Extranonce2, JobTemplate};
use crate::share::{Candidate, Discard, Share};
use crate::types::{BackendId, BlockHash, ShareId, Target, WorkId};

/// What a genuine hit is worth.
struct Verified {
    job: Arc<JobTemplate>,
    extranonce2: Extranonce2,
    hash: BlockHash,
    report_target: Target,
    current: bool,
    work: WorkId,
}

impl Scheduler {
    pub(super) fn on_hit(&mut self, id: BackendId, candidate: Candidate) {
        if let Err(reason) = self.try_hit(id, candidate) {
            self.discards.add(reason);
            if let Some(device) = self.devices.get_mut(&id) {
                device.discards.add(reason);
            }
            // Ordinary: about one a second from every slow device.
            if reason != Discard::BelowShareTarget {
                self.emit(MinerEvent::CandidateDiscarded { backend: id, reason });
            }
        }
    }

    fn try_hit(&mut self, id: BackendId, candidate: Candidate) -> Result<(), Discard> {
        let hit = self.verify(id, candidate)?;
        self.prove(id, &hit);
        let is_block = hit.job.nbits.target().is_met_by(&hit.hash);
        let source = self.sources.get(hit.job.source).ok_or(Discard::UnknownWork)?;
        let good = hit.current && hit.work >= source.stale_before;
        if !good && !is_block {
            return Err(Discard::Stale);
        }
        if !hit.job.share_target.is_met_by(&hit.hash) {
            return Err(Discard::BelowShareTarget);
        }
        if !source.submitted.insert(hit.hash.low_half()) {
            return Err(Discard::Duplicate);
        }
        let share = Share {
            id: self.next_share,
            backend: id,
            job: hit.job,
            extranonce2: hit.extranonce2,
            version: candidate.version,
            ntime: candidate.ntime,
            nonce: candidate.nonce,
            hash: hit.hash,
            is_block,
        };
        self.next_share = ShareId(share.id.0 + 1);
        self.submit(Arc::new(share));
        Ok(())
    }

    /// Checks a claim against its lease and hashes the header again.
    fn verify(&mut self, id: BackendId, candidate: Candidate) -> Result<Verified, Discard> {
        let Candidate { work, version, ntime, nonce } = candidate;
        let lease = self.leases.get(self.now, id, work, self.config.retention);
        let Leased { unit, seen, .. } = lease.ok_or(Discard::UnknownWork)?;
        if !unit.contains(version, ntime, nonce) {
            return Err(Discard::OutOfLease);
        }
        let hash = unit.header(version, nonce).hash();
        if !unit.report_target.is_met_by(&hash) {
            return Err(Discard::HardwareError);
        }
        if !seen.insert((version, nonce)) {
            return Err(Discard::Duplicate);
        }
        Ok(Verified {
            job: Arc::clone(&unit.job),
            extranonce2: unit.extranonce2,
            hash,
            report_target: unit.report_target,
            current: unit.generation == self.generation,
            work,
        })
    }

    /// Credits a genuine hit to the device's proven rate, and estimates what was withheld beside it.
    fn prove(&mut self, id: BackendId, hit: &Verified) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        let work = hit.report_target.expected_hashes();
        device.hits += 1;
        device.meter.hit(self.now, work);
        self.meter.hit(self.now, work);
        let withheld = (work / hit.job.share_target.expected_hashes() - 1.0).max(0.0);
        device.shares.withheld += withheld;
        self.shares.withheld += withheld;
        if let Some(source) = self.sources.get(hit.job.source) {
            source.shares.withheld += withheld;
        }
    }

    fn submit(&mut self, share: Arc<Share>) {
        let id = share.job.source;
        let (Some(source), Some(device)) = (self.sources.get(id), self.devices.get_mut(&share.backend))
        else {
            return;
        };
        for account in [&mut source.shares, &mut device.shares, &mut self.shares] {
            account.find(&share);
        }
        let difficulty = share.difficulty();
        for best in [&mut device.best, &mut self.best] {
            *best = Some(best.map_or(difficulty, |best| if best < difficulty { difficulty } else { best }));
        }
        source.ledger.open(self.now, Arc::clone(&share));
        self.outputs.push_back(Output::Submit(id, Arc::clone(&share)));
        self.emit(MinerEvent::ShareFound(Arc::clone(&share)));
        if share.is_block {
            self.emit(MinerEvent::BlockFound(share));
        }
    }
}
