//! Turns bytes into operations and plays them to the scheduler and to the model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Bytes;
use super::model::Model;
use crate::backend::{BackendError, BackendEvent, BackendInfo, BackendKind, Health, HealthState};
use crate::job::{JobId, JobTemplate, Merkle, VersionMask};
use crate::sched::{Command, Input, Scheduler, SchedulerConfig, SourceEvent};
use crate::share::{Candidate, LostReason, Reject, RejectKind, ShareOutcome};
use crate::snapshot::MinerSnapshot;
use crate::types::{
    BackendId, BlockHash, CompactTarget, Epoch, HashRate, MerkleRoot, ShareId, SourceId, Target, WorkId,
};
use crate::work::{Granularity, WorkUnit};

const SOURCES: u16 = 3;
const BACKENDS: usize = 5;
/// Hashes that are tried for a hit.
const TRIES: u32 = 500;

pub(super) struct World {
    scheduler: Scheduler,
    model: Model,
    now: Instant,
    epoch: u64,
    jobs: u64,
    /// Every claim so far with its backend, to be made again.
    claims: Vec<(BackendId, Candidate)>,
}

impl World {
    pub(super) fn new(start: Instant) -> Self {
        let config = SchedulerConfig::default();
        let sources = || (0..SOURCES).map(SourceId);
        Self {
            model: Model::new(start, config.clone(), sources()),
            scheduler: Scheduler::new(config, start, sources()),
            now: start,
            epoch: 0,
            jobs: 0,
            claims: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, bytes: &mut Bytes<'_>) {
        let operation = bytes.next() % 32;
        match operation {
            0..=3 => self.wait(bytes),
            4 => self.clock_steps_back(),
            5..=7 => self.source_turns(bytes),
            8..=11 => self.job_comes(bytes),
            12..=13 => self.backend_comes(bytes),
            14 => self.backend_leaves(bytes),
            15 => self.backend_says_how_it_is(bytes),
            16..=20 => self.hit_is_found(bytes),
            21..=22 => self.claim_is_wrong(bytes),
            23..=26 => self.progress_is_made(bytes),
            27..=29 => self.share_is_answered(bytes),
            30 => self.answer_is_late(bytes),
            _ => self.operator_wants(bytes),
        }
    }

    pub(super) fn snapshot(&mut self) -> MinerSnapshot {
        self.scheduler.snapshot(self.now)
    }

    fn handle(&mut self, input: Input) {
        self.pass_time();
        self.model.predict(self.now, &input);
        self.scheduler.handle(self.now, input);
        self.observe();
    }

    fn pass_time(&mut self) {
        self.model.predict_timeout(self.now);
        self.scheduler.handle_timeout(self.now);
        self.observe();
        if let Some(deadline) = self.scheduler.next_deadline() {
            assert!(deadline > self.now, "a deadline that has passed would be waited for in a busy loop");
        }
    }

    fn observe(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            self.model.observe(output);
        }
        self.model.check(&self.scheduler.snapshot(self.now));
    }

    fn source(&self, bytes: &mut Bytes<'_>) -> SourceId {
        SourceId(bytes.below(usize::from(SOURCES) + 1) as u16)
    }

    fn backend(&self, bytes: &mut Bytes<'_>) -> BackendId {
        BackendId(bytes.below(BACKENDS) as u16)
    }

    fn wait(&mut self, bytes: &mut Bytes<'_>) {
        let millis = bytes.pick(&[1, 50, 200, 200, 999, 1000, 1000, 5000, 29_000, 31_000, 119_000, 121_000]);
        self.now += Duration::from_millis(millis);
        self.pass_time();
    }

    fn clock_steps_back(&mut self) {
        let Some(earlier) = self.now.checked_sub(Duration::from_secs(5)) else { return };
        self.scheduler.handle_timeout(earlier);
        self.model.predict_timeout(self.now);
        self.observe();
    }

    fn source_turns(&mut self, bytes: &mut Bytes<'_>) {
        let source = self.source(bytes);
        let event = match bytes.below(8) {
            0..=4 => SourceEvent::Up,
            5..=6 => SourceEvent::Suspended,
            _ => SourceEvent::Down,
        };
        self.epoch += u64::from(matches!(event, SourceEvent::Up));
        self.handle(Input::Source(source, event));
    }

    /// Jobs of six contents for each source (fewer than a source remembers), under all circumstances.
    fn job_comes(&mut self, bytes: &mut Bytes<'_>) {
        let source = self.source(bytes);
        let content = bytes.below(6) as u8;
        let size = [4, 1, 0][usize::from(content % 3)];
        let merkle = match size {
            0 => Merkle::Fixed(MerkleRoot([content; 32])),
            extranonce2_size => Merkle::Coinbase {
                prefix: vec![source.0 as u8; 42].into(),
                suffix: vec![content; 20].into(),
                branch: [[9; 32]].into(),
                extranonce1: [source.0 as u8].into(),
                extranonce2_size,
            },
        };
        self.jobs += 1;
        let job = JobTemplate {
            source,
            epoch: Epoch(self.epoch),
            id: JobId(self.jobs.to_string().into()),
            prev: BlockHash([content / 3; 32]),
            version: [0x2000_0000, 0x2000_2000][usize::from(content % 2)],
            version_mask: VersionMask(bytes.pick(&[0xe000, 0xe000, 0x6000, 0x4000, 0])),
            nbits: CompactTarget::new([0x1f00_ffff, 0x2007_ffff, 0x207f_ffff][usize::from(content / 2)])
                .expect("each of these is valid"),
            ntime: 1_700_000_000 + u32::from(bytes.next() % 4),
            max_ntime_roll: bytes.pick(&[0, 2, 600]),
            received: self.now,
            merkle,
            share_target: Target::from_expected_hashes(bytes.pick(&[1.0, 4.0, 30.0, 100.0])),
            clean: bytes.below(4) == 0,
        };
        self.handle(Input::Source(source, SourceEvent::Job(job)));
    }

    fn backend_comes(&mut self, bytes: &mut Bytes<'_>) {
        let id = self.backend(bytes);
        let granularity = match bytes.below(5) {
            0..=1 => {
                Granularity::Nonces { step: bytes.pick(&[1, 16, 256]), versions: bytes.pick(&[1, 2, 64]) }
            }
            2 => Granularity::Nonces { step: 1 << 28, versions: 3 },
            3 => Granularity::NonceSpaces { max_versions: bytes.pick(&[1, 3]) },
            _ => Granularity::Plane { roll_mask: bytes.pick(&[0x1fff_e000, 0x2000, 0]) },
        };
        let expected = HashRate(bytes.pick(&[0.0, 3.0, 20.0, 60.0, 300.0]));
        let floor = bytes.pick(&[0.0, 0.0, 0.0, 8.0, 64.0]);
        let info = BackendInfo {
            key: "asic:test:1".into(),
            name: "test".into(),
            kind: BackendKind::Asic,
            granularity,
            depth: bytes.pick(&[0, 1, 2, 5]),
            expected,
            counts_hashes: bytes.below(2) == 0,
            report_floor: (floor > 0.0).then(|| Target::from_expected_hashes(floor)),
        };
        self.handle(Input::BackendUp(id, Arc::new(info)));
    }

    fn backend_leaves(&mut self, bytes: &mut Bytes<'_>) {
        let id = self.backend(bytes);
        let result = if bytes.below(2) == 0 { Ok(()) } else { Err(BackendError::Panicked("planned".into())) };
        self.handle(Input::Backend(id, BackendEvent::Gone(result)));
    }

    fn backend_says_how_it_is(&mut self, bytes: &mut Bytes<'_>) {
        let states = [HealthState::Ok, HealthState::Degraded, HealthState::Sick, HealthState::Quarantined];
        let health = Health { state: bytes.pick(&states), ..Health::default() };
        self.handle(Input::Backend(self.backend(bytes), BackendEvent::Health(health)));
    }

    /// An honest hit: at the report target, the share target or the network's.
    fn hit_is_found(&mut self, bytes: &mut Bytes<'_>) {
        let Some((backend, unit)) = self.model.some_unit(bytes.next()) else { return };
        let goal = bytes.pick(&[unit.report_target, unit.job.share_target, unit.job.nbits.target()]);
        let goal = goal.min(unit.report_target);
        if let Some(candidate) = find(&unit, goal, bytes.next()) {
            self.claim(backend, candidate);
        }
    }

    fn claim(&mut self, backend: BackendId, candidate: Candidate) {
        self.claims.push((backend, candidate));
        self.handle(Input::Backend(backend, BackendEvent::Hit(candidate)));
    }

    fn claim_is_wrong(&mut self, bytes: &mut Bytes<'_>) {
        let before = match self.claims.len() {
            0 => return,
            claims => self.claims[claims - 1 - usize::from(bytes.next()) % claims.min(16)],
        };
        let (backend, claim) = before;
        let candidate = match bytes.below(8) {
            0..=2 => claim,
            3 => Candidate { nonce: claim.nonce.wrapping_add(1), ..claim },
            4 => {
                Candidate { version: claim.version ^ bytes.pick(&[1, 0x2000, 0x8000, 0x2000_0000]), ..claim }
            }
            5 => Candidate { ntime: claim.ntime + 1, ..claim },
            6 => Candidate { work: WorkId(claim.work.0.wrapping_add(1)), ..claim },
            _ => return self.claim(self.backend(bytes), claim),
        };
        self.claim(backend, candidate);
    }

    fn progress_is_made(&mut self, bytes: &mut Bytes<'_>) {
        let Some((backend, unit)) = self.model.some_unit(bytes.next()) else { return };
        let backend = if bytes.below(16) == 0 { self.backend(bytes) } else { backend };
        let hashes = bytes.pick(&[0, 1, 10, 100, 100, 1000, unit.budget, u128::MAX]);
        let hashes = if unit.budget > 1 << 20 { hashes.min(1000) } else { hashes };
        let finished = bytes.below(2) == 0;
        self.handle(Input::Backend(backend, BackendEvent::Progress { work: unit.id, hashes, finished }));
    }

    fn share_is_answered(&mut self, bytes: &mut Bytes<'_>) {
        let (source, share) = self.some_share(bytes);
        let kind = bytes.pick(&RejectKind::ALL);
        let outcome = match bytes.below(6) {
            0..=2 => ShareOutcome::Accepted,
            3 => ShareOutcome::Rejected(Reject { kind, code: None, text: "no".into() }),
            4 => ShareOutcome::Lost(LostReason::NotSent),
            _ => ShareOutcome::Lost(LostReason::NoAnswer),
        };
        self.handle(Input::Source(source, SourceEvent::Resolved { share, outcome }));
    }

    fn answer_is_late(&mut self, bytes: &mut Bytes<'_>) {
        let (source, share) = self.some_share(bytes);
        self.handle(Input::Source(source, SourceEvent::Late { share, accepted: bytes.below(2) == 0 }));
    }

    /// Mostly a share that there is, of the source that has it.
    fn some_share(&mut self, bytes: &mut Bytes<'_>) -> (SourceId, ShareId) {
        let known = self.model.some_share(bytes.next());
        match bytes.below(16) {
            0 => (self.source(bytes), known.map_or(ShareId(7), |(_, share)| share)),
            1 => (SourceId(0), ShareId(u64::MAX)),
            _ => known.unwrap_or((SourceId(0), ShareId(0))),
        }
    }

    fn operator_wants(&mut self, bytes: &mut Bytes<'_>) {
        let command = if bytes.below(3) == 0 { Command::Pause } else { Command::Resume };
        self.handle(Input::Command(command));
    }
}

/// Searches a unit for a hit, from a place that `seed` names.
fn find(unit: &WorkUnit, goal: Target, seed: u8) -> Option<Candidate> {
    let version = unit.header_versions().nth(usize::from(seed) % unit.versions.count as usize)?;
    let first = u64::from(seed) * 0x0101_0101 % unit.nonces.len;
    let tries = u64::from(TRIES).min(unit.nonces.len - first);
    let nonces = (0..tries).map(|i| unit.nonces.start.wrapping_add((first + i) as u32));
    let nonce = nonces.into_iter().find(|&nonce| goal.is_met_by(&unit.header(version, nonce).hash()))?;
    Some(Candidate { work: unit.id, version, ntime: unit.ntime, nonce })
}
