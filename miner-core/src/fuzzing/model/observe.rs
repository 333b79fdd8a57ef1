//! What came out of the scheduler, held against what had to come.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Entry, Held, Model, hash, versions};
use crate::event::MinerEvent;
use crate::job::JobTemplate;
use crate::sched::{Output, credit};
use crate::share::{LostReason, Share, ShareOutcome};
use crate::snapshot::{MinerSnapshot, ShareCounts};
use crate::types::{BackendId, SourceId};
use crate::work::{NonceRange, WorkUnit};

/// What came out.
impl Model {
    pub(in crate::fuzzing) fn observe(&mut self, output: Output) {
        match output {
            Output::Advance(generation) => {
                assert!(self.must_advance, "R6: the generation moves without need");
                assert!(generation > self.generation);
                self.must_advance = false;
                self.generation = generation;
                self.units.values_mut().for_each(|held| held.stale = true);
            }
            Output::Feed(id, unit) => self.on_feed(id, unit),
            Output::Submit(source, share) => self.on_submit(source, share),
            Output::Emit(MinerEvent::Withholding { source, per_second }) => {
                assert!(per_second > self.config.max_hits, "nothing is to be withheld");
                if let Some(source) = self.sources.get_mut(&source) {
                    source.withholding = source.job.as_ref().map(|job| job.share_target);
                }
            }
            Output::Emit(_) => {}
        }
    }

    fn on_feed(&mut self, id: BackendId, unit: WorkUnit) {
        assert!(!self.must_advance, "R6: the gate moves before new units are fed");
        assert!(!self.paused && unit.generation == self.generation);
        let source = self.active.expect("work comes from the active source");
        let feeder = &self.sources[&source];
        let job = feeder.job.as_ref().expect("the active source has a job");
        assert_eq!((unit.job.source, &unit.job.id), (source, &job.id), "work comes from the newest job");
        let backend = &self.backends[&id];
        assert!(backend.present && !backend.quarantined, "no work for who can't do it");
        assert_eq!(unit.root, job.merkle_root(unit.extranonce2));
        assert_eq!(unit.rollable.0 & (!job.version_mask.0 | job.version), 0, "only bits that may be rolled");
        assert!(unit.budget >= 1 && unit.budget <= unit.size());
        let age = (self.now - job.received).as_secs().min(job.max_ntime_roll.into()) as u32;
        assert!(
            (job.ntime..=job.ntime + age).contains(&unit.ntime),
            "ntime keeps to the time that has passed"
        );
        let floor = backend.info.report_floor;
        assert!(floor.is_none_or(|floor| unit.report_target <= floor));
        let hard = unit.report_target < job.share_target;
        let excused = floor == Some(unit.report_target) || feeder.withholding == Some(job.share_target);
        assert!(!hard || excused, "R8: hits that the pool wants are not looked for");
        let (counts, id_of_unit) = (backend.info.counts_hashes, unit.id);
        self.lease(source, &unit);
        let held = Held {
            unit,
            backend: id,
            counts,
            stale: false,
            done: 0,
            finished: None,
            orphan: false,
            hits: HashSet::new(),
        };
        assert!(self.units.insert(id_of_unit, held).is_none(), "a unit's name is never used again");
        if let Some(backend) = self.backends.get_mut(&id) {
            backend.live.insert(id_of_unit);
        }
        self.check_credit(id);
    }

    /// R3: a queue of current units, and another of stale ones.
    fn check_credit(&self, id: BackendId) {
        let info = &self.backends[&id].info;
        let (current, held) = self.held(id);
        assert!(current <= usize::from(info.depth).max(2), "R3: {current} current units");
        assert!(held <= credit(info), "R3: {held} units");
    }

    /// Unfinished units of a backend: of this generation, and all.
    fn held(&self, id: BackendId) -> (usize, usize) {
        let live = &self.backends[&id].live;
        (live.iter().filter(|work| self.is_current(&self.units[work])).count(), live.len())
    }

    /// R4: no two leases overlap, ever.
    fn lease(&mut self, source: SourceId, unit: &WorkUnit) {
        let same =
            |known: &Arc<JobTemplate>| known.source == source && known.same_content_but_ntime(&unit.job);
        let content = self.contents.iter().position(same).unwrap_or_else(|| {
            self.contents.push(Arc::clone(&unit.job));
            self.contents.len() - 1
        });
        let (new, run) = (versions(unit), unit.nonces);
        let end = |run: NonceRange| u64::from(run.start) + run.len;
        assert!(run.len >= 1 && end(run) <= 1 << 32 && !new.is_empty());
        let plane = (source, content, unit.ntime, unit.extranonce2.value);
        let boxes = self.boxes.entry(plane).or_default();
        for (old, other) in boxes.iter() {
            let apart = end(run) <= other.start.into() || end(*other) <= run.start.into();
            let overlaps = !apart && old.iter().any(|version| new.contains(version));
            assert!(!overlaps, "R4: {plane:?}: {new:x?} × {run:?} overlaps {old:x?} × {other:?}");
        }
        boxes.push((new, run));
    }

    /// R5: what leaves is what was claimed, and good.
    fn on_submit(&mut self, source: SourceId, share: Arc<Share>) {
        let claim = self.must_submit.take().expect("R5, R6: a share leaves that must not");
        let Held { unit, backend, .. } = &self.units[&claim.work];
        assert_eq!((share.backend, source), (*backend, unit.job.source));
        assert!(Arc::ptr_eq(&share.job, &unit.job), "R5: its own job");
        assert_eq!(share.extranonce2, unit.extranonce2);
        assert_eq!((share.version, share.ntime, share.nonce), (claim.version, claim.ntime, claim.nonce));
        assert_eq!(share.hash.0, hash(unit, share.version, share.ntime, share.nonce));
        assert!(unit.job.share_target.is_met_by(&share.hash));
        assert_eq!(share.is_block, unit.job.nbits.target().is_met_by(&share.hash));
        assert!(self.submitted.insert((source, share.hash.0)), "the same header twice");
        let entry = Entry { share: Arc::clone(&share), outcome: None, late: false };
        assert!(self.shares.insert(share.id, entry).is_none(), "a share's name is never used again");
    }
}

/// What must hold after every step.
impl Model {
    pub(in crate::fuzzing) fn check(&self, snapshot: &MinerSnapshot) {
        assert!(!self.must_advance, "R6: the generation had to move");
        assert!(self.must_submit.is_none(), "R6, R8: a good share was dropped: {:?}", self.must_submit);
        assert_eq!(
            (snapshot.generation, snapshot.active, snapshot.paused),
            (self.generation, self.active, self.paused)
        );
        for (id, source) in &self.sources {
            let shown =
                snapshot.sources.iter().find(|shown| shown.source == *id).expect("every source is shown");
            assert_eq!(shown.state, source.state);
            self.check_account(&shown.shares, |share| share.job.source == *id);
        }
        self.check_account(&snapshot.shares, |_| true);
        assert_eq!(snapshot.devices.len(), self.backends.len(), "devices that went are shown too");
        let mut withheld = 0.0;
        for shown in &snapshot.devices {
            let backend = &self.backends[&shown.backend];
            assert_eq!((shown.present, shown.hits), (backend.present, backend.hits));
            assert_eq!(shown.discards, backend.discards);
            self.check_account(&shown.shares, |share| share.backend == shown.backend);
            assert_eq!((shown.hashes, shown.given_up), (backend.hashes, backend.given_up));
            withheld += shown.shares.withheld;
            self.check_fed(shown.backend);
        }
        for sum in
            [withheld, snapshot.shares.withheld, snapshot.sources.iter().map(|s| s.shares.withheld).sum()]
        {
            assert!((sum - self.withheld).abs() <= 1e-6 * self.withheld, "{sum} withheld");
        }
    }

    /// R7: found = accepted + rejected + lost + pending, each as it really was.
    fn check_account(&self, shown: &ShareCounts, of: impl Fn(&Share) -> bool) {
        let mut counts = ShareCounts { withheld: shown.withheld, ..ShareCounts::default() };
        for entry in self.shares.values().filter(|entry| of(&entry.share)) {
            counts.found += 1;
            counts.blocks += u64::from(entry.share.is_block);
            counts.late += u64::from(entry.late);
            match &entry.outcome {
                None => counts.pending += 1,
                Some(ShareOutcome::Accepted) => counts.accepted += 1,
                Some(ShareOutcome::Rejected(reject)) => counts.rejected[reject.kind as usize] += 1,
                Some(ShareOutcome::Lost(LostReason::NotSent)) => counts.lost_not_sent += 1,
                Some(ShareOutcome::Lost(LostReason::NoAnswer)) => counts.lost_no_answer += 1,
            }
        }
        counts.accepted_difficulty = shown.accepted_difficulty;
        assert_eq!(*shown, counts, "R7");
        assert_eq!(shown.found, shown.accepted + shown.rejected_total() + shown.lost() + shown.pending, "R7");
    }

    /// Nobody stands idle where there is plenty of work.
    fn check_fed(&self, id: BackendId) {
        let backend = &self.backends[&id];
        let job = self.active.and_then(|id| self.sources[&id].job.as_ref());
        let rich = job.is_some_and(|job| job.extranonce2_size() == 4);
        if rich && !self.paused && backend.present && !backend.quarantined {
            let (current, held) = self.held(id);
            let full = current == usize::from(backend.info.depth).max(2) || held == credit(&backend.info);
            assert!(full, "{id} holds {current} of {held} units and is not fed");
        }
    }
}
