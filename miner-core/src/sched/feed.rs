//! Handing out work: rate-proportional slices to whoever has credit.

use std::sync::Arc;
use std::time::Duration;

use super::{Output, Scheduler};
use crate::event::MinerEvent;
use crate::types::{BackendId, HashRate, SourceId, Target, WorkId};
use crate::work::WorkUnit;

impl Scheduler {
    /// Feeds everyone in the line, in turns, so that a deep queue does not starve the others of a small space.
    pub(super) fn feed(&mut self) {
        let Some(source) = self.active.filter(|_| !self.paused) else { return };
        while let Some(id) = self.line.pop_front() {
            let Some(device) = self.devices.get_mut(&id) else { continue };
            if !device.has_credit() {
                device.waiting = false;
            } else if self.feed_one(source, id) {
                self.line.push_back(id);
            } else {
                self.starved.push(id);
                self.on_exhausted(source);
            }
        }
    }

    /// Cuts a unit for a backend with credit; `false` when there is none for it.
    fn feed_one(&mut self, source: SourceId, id: BackendId) -> bool {
        let (now, generation) = (self.now, self.generation);
        let (pace, measured) = self.weigh(id);
        let Some(device) = self.devices.get_mut(&id) else { return false };
        let Some(feeder) = self.sources.get(source) else { return false };
        let Some(space) = feeder.space() else { return false };
        let want = self.config.want(pace, measured);
        let Some(lease) = space.lease(now, want, device.info.granularity) else { return false };
        let job = Arc::clone(space.job());
        let size = lease.size();
        let cut = space.is_rich() && size > 2 * want;
        let unit = WorkUnit {
            id: self.next_work,
            generation,
            root: lease.root,
            extranonce2: lease.extranonce2,
            rollable: lease.rollable,
            versions: lease.versions,
            nonces: lease.nonces,
            ntime: lease.ntime,
            report_target: self.config.report_target(
                job.share_target,
                device.info.report_floor,
                device.rate,
                self.crowd,
            ),
            budget: if cut { want } else { size },
            job,
        };
        self.next_work = WorkId(unit.id.0 + 1);
        feeder.live += 1;
        if device.current == 0 {
            device.begin(now);
            self.meter.start(now);
            self.busy += 1;
        }
        device.current += 1;
        device.held += 1;
        self.tell_withholding(source, unit.job.share_target);
        self.leases.insert(id, unit.clone());
        self.outputs.push_back(Output::Feed(id, unit));
        true
    }

    /// Brings a backend's rate and its part in the sum of all up to date; returns its pace and whether that is measured.
    pub(super) fn weigh(&mut self, id: BackendId) -> (HashRate, bool) {
        let Some(device) = self.devices.get_mut(&id) else { return (HashRate::default(), false) };
        let (pace, measured) = device.pace(self.now);
        device.rate = device.best_rate(self.now, pace);
        self.crowd.count_in(device);
        if measured && !std::mem::replace(&mut device.learned, true) {
            self.emit(MinerEvent::RateLearned { backend: id, rate: pace });
        }
        (pace, measured)
    }

    fn on_exhausted(&mut self, id: SourceId) {
        let now = self.now;
        let Some(source) = self.sources.get(id) else { return };
        let Some(job) = source.job.as_ref() else { return };
        // Each second opens another ntime, until it has rolled as far as it may: then only a new job helps.
        let age = now.saturating_duration_since(job.received).as_secs();
        self.refill_at =
            (age < u64::from(job.max_ntime_roll)).then(|| job.received + Duration::from_secs(age + 1));
        if !std::mem::replace(&mut source.exhausted_told, true) {
            self.emit(MinerEvent::WorkExhausted(id));
        }
    }

    /// Says once a share target that hits are being withheld; forgets it when the flood is clearly over.
    fn tell_withholding(&mut self, id: SourceId, share: Target) {
        let per_second = self.config.hits_per_second(share, self.crowd);
        let limit = self.config.max_hits;
        let Some(source) = self.sources.get(id) else { return };
        if per_second > limit && source.withholding != Some(share) {
            source.withholding = Some(share);
            self.emit(MinerEvent::Withholding { source: id, per_second });
        } else if per_second < limit / 2.0 {
            source.withholding = None;
        }
    }
}
