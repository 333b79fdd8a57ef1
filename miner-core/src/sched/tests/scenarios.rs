use super::*;
use crate::backend::HealthState;
use crate::share::{Candidate, Discard, Reject, RejectKind, Share};

pub(super) const CPU: BackendId = BackendId(0);
const ASIC: BackendId = BackendId(1);
const BACKUP: SourceId = SourceId(1);
pub(super) const EASY: Granularity = Granularity::Nonces { step: 16, versions: 4 };

/// A scheduler, its clock, and all that it said.
pub(super) struct Desk {
    pub(super) scheduler: Scheduler,
    pub(super) now: Instant,
    pub(super) outputs: Vec<Output>,
}

impl Desk {
    /// Two sources that are down, and one slow device.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let scheduler = Scheduler::new(SchedulerConfig::default(), now, [SOURCE, BACKUP]);
        let mut desk = Self { scheduler, now, outputs: Vec::new() };
        desk.input(Input::BackendUp(CPU, Arc::new(info(EASY, 100.0))));
        desk
    }

    /// The same, with work from the first source.
    pub(super) fn mining() -> Self {
        let mut desk = Self::new();
        desk.source(SOURCE, SourceEvent::Up);
        desk.job(SOURCE, |_| {});
        desk
    }

    pub(super) fn input(&mut self, input: Input) {
        self.scheduler.handle(self.now, input);
        self.outputs.extend(std::iter::from_fn(|| self.scheduler.poll()));
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.scheduler.handle_timeout(self.now);
        self.outputs.extend(std::iter::from_fn(|| self.scheduler.poll()));
    }

    pub(super) fn source(&mut self, id: SourceId, event: SourceEvent) {
        self.input(Input::Source(id, event));
    }

    /// An easy job: one hash in ten is a share, one in sixty a block.
    pub(super) fn job(&mut self, id: SourceId, change: impl FnOnce(&mut JobTemplate)) {
        let mut job = JobTemplate {
            share_target: Target::from_expected_hashes(10.0),
            nbits: CompactTarget::new(0x2004_4444).unwrap(),
            ..job(self.now)
        };
        change(&mut job);
        self.source(id, SourceEvent::Job(job));
    }

    pub(super) fn backend(&mut self, id: BackendId, event: BackendEvent) {
        self.input(Input::Backend(id, event));
    }

    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(super) fn units(&mut self) -> Vec<(BackendId, WorkUnit)> {
        let units = |output| match output {
            Output::Feed(id, unit) => Some((id, unit)),
            _ => None,
        };
        self.take().into_iter().filter_map(units).collect()
    }

    pub(super) fn unit(&mut self) -> WorkUnit {
        self.units().swap_remove(0).1
    }

    pub(super) fn events(&mut self) -> Vec<MinerEvent> {
        let event = |output| match output {
            Output::Emit(event) => Some(event),
            _ => None,
        };
        self.take().into_iter().filter_map(event).collect()
    }

    fn advances(&mut self) -> usize {
        self.take().iter().filter(|output| matches!(output, Output::Advance(_))).count()
    }

    fn hit(&mut self, candidate: Candidate) -> Option<Arc<Share>> {
        self.take();
        self.backend(CPU, BackendEvent::Hit(candidate));
        let share = |output: &Output| match output {
            Output::Submit(_, share) => Some(Arc::clone(share)),
            _ => None,
        };
        self.outputs.iter().find_map(share)
    }

    pub(super) fn finish(&mut self, unit: &WorkUnit, hashes: u128) {
        self.backend(CPU, BackendEvent::Progress { work: unit.id, hashes, finished: true });
    }

    fn discards(&mut self, reason: Discard) -> u64 {
        self.scheduler.snapshot(self.now).discards.of(reason)
    }
}

/// The `n`-th hit of a unit: block or no block.
fn find(unit: &WorkUnit, block: bool, n: usize) -> Candidate {
    let nonces = (0..unit.nonces.len).map(|i| unit.nonces.start + i as u32);
    let mut all =
        unit.header_versions().flat_map(|version| nonces.clone().map(move |nonce| (version, nonce)));
    let hit = |&(version, nonce): &(u32, u32)| {
        let hash = unit.header(version, nonce).hash();
        unit.job.share_target.is_met_by(&hash) && unit.job.nbits.target().is_met_by(&hash) == block
    };
    let (version, nonce) = all.by_ref().filter(hit).nth(n).expect("the unit holds so many hits");
    Candidate { work: unit.id, version, ntime: unit.ntime, nonce }
}

/// A device with some hits in each unit.
fn large() -> Desk {
    let mut desk = Desk::new();
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.input(Input::BackendUp(CPU, Arc::new(info(EASY, 1500.0))));
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |job| job.share_target = Target::from_expected_hashes(30.0));
    desk
}

#[test]
fn a_hit_becomes_a_share_and_ends_once() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    let share = desk.hit(find(&unit, false, 0)).unwrap();
    assert_eq!((share.backend, share.is_block, share.ntime), (CPU, false, unit.ntime));
    desk.wait(3);
    desk.take();
    for _ in 0..2 {
        desk.source(SOURCE, SourceEvent::Resolved { share: share.id, outcome: ShareOutcome::Accepted });
    }
    let resolved = desk.events();
    let [MinerEvent::ShareResolved { latency, outcome: ShareOutcome::Accepted, .. }] = &resolved[..] else {
        panic!("{resolved:?}")
    };
    assert_eq!(*latency, Duration::from_secs(3));
    let snapshot = desk.scheduler.snapshot(desk.now);
    assert_eq!((snapshot.shares.found, snapshot.shares.accepted, snapshot.shares.pending), (1, 1, 0));
    let difficulty = Difficulty::of(unit.job.share_target).get();
    assert_eq!(snapshot.shares.accepted_difficulty, difficulty, "as asked for, not as reached");
    assert_eq!(
        (snapshot.best, snapshot.devices[0].best),
        (Some(share.difficulty()), Some(share.difficulty()))
    );
    assert_eq!(snapshot.uptime, Duration::from_secs(3));
}

#[test]
fn the_best_share_is_the_hardest_so_far() {
    let mut desk = large();
    let unit = desk.unit();
    let mut difficulties = Vec::new();
    for n in 0..6 {
        difficulties.push(desk.hit(find(&unit, false, n)).unwrap().difficulty().get());
        let best = difficulties.iter().copied().reduce(f64::max);
        let snapshot = desk.scheduler.snapshot(desk.now);
        assert_eq!(snapshot.best.map(Difficulty::get), best);
        assert_eq!(snapshot.devices[0].best.map(Difficulty::get), best);
    }
    assert!(!difficulties.is_sorted() && !difficulties.iter().rev().is_sorted(), "{difficulties:?}");
}

#[test]
fn shares_are_pending_until_they_have_an_outcome() {
    let mut desk = large();
    let unit = desk.unit();
    let first = desk.hit(find(&unit, false, 0)).unwrap().id;
    desk.hit(find(&unit, false, 1)).unwrap();
    assert_eq!(desk.scheduler.pending_shares(), 2);
    desk.source(SOURCE, SourceEvent::Resolved { share: first, outcome: ShareOutcome::Accepted });
    assert_eq!(desk.scheduler.pending_shares(), 1);
}

#[test]
fn a_share_that_was_lost_may_be_answered_late_once() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    let share = desk.hit(find(&unit, false, 0)).unwrap().id;
    desk.take();
    desk.source(SOURCE, SourceEvent::Late { share, accepted: true });
    assert!(desk.take().is_empty(), "it is not lost");
    let lost = ShareOutcome::Lost(LostReason::NoAnswer);
    desk.source(SOURCE, SourceEvent::Resolved { share, outcome: lost });
    desk.take();
    desk.source(SOURCE, SourceEvent::Late { share, accepted: true });
    desk.source(SOURCE, SourceEvent::Late { share, accepted: true });
    let late = desk.events();
    assert!(matches!(
        late[..],
        [MinerEvent::ShareLate { source: SOURCE, booked: LostReason::NoAnswer, accepted: true }]
    ));
    let shares = desk.scheduler.snapshot(desk.now).shares;
    assert_eq!((shares.lost(), shares.late, shares.accepted), (1, 1, 0));
}

#[test]
fn rejections_are_counted_by_kind() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    let share = desk.hit(find(&unit, false, 0)).unwrap().id;
    let reject = Reject { kind: RejectKind::LowDifficulty, code: Some(23), text: "low".into() };
    desk.source(SOURCE, SourceEvent::Resolved { share, outcome: ShareOutcome::Rejected(reject) });
    let shares = desk.scheduler.snapshot(desk.now).shares;
    assert_eq!((shares.rejected_as(RejectKind::LowDifficulty), shares.rejected_total()), (1, 1));
}

#[test]
fn claims_that_are_not_true_are_told_apart() {
    let mut desk = large();
    let unit = desk.unit();
    let good = find(&unit, false, 0);
    let wrong_hash = (0..).find(|&i| {
        let version = unit.version_at(unit.versions.first);
        !unit.report_target.is_met_by(&unit.header(version, unit.nonces.start + i).hash())
    });
    let wrong = Candidate {
        version: unit.version_at(unit.versions.first),
        nonce: unit.nonces.start + wrong_hash.unwrap(),
        ..good
    };
    assert!(desk.hit(good).is_some());
    for (candidate, reason) in [
        (good, Discard::Duplicate),
        (wrong, Discard::HardwareError),
        (Candidate { ntime: good.ntime + 1, ..good }, Discard::OutOfLease),
        (Candidate { version: good.version ^ 0x2000_0000, ..good }, Discard::OutOfLease),
        (Candidate { work: WorkId(u64::MAX), ..good }, Discard::UnknownWork),
    ] {
        let before = desk.discards(reason);
        assert!(desk.hit(candidate).is_none());
        assert_eq!(desk.discards(reason), before + 1, "{reason:?}");
        let told =
            |e: &MinerEvent| matches!(e, MinerEvent::CandidateDiscarded { reason: r, .. } if *r == reason);
        assert!(desk.events().iter().any(told), "{reason:?}");
    }
}

#[test]
fn late_hits_of_a_finished_unit_are_good_for_thirty_seconds() {
    let mut desk = large();
    let unit = desk.unit();
    desk.finish(&unit, 1);
    desk.wait(30);
    assert!(desk.hit(find(&unit, false, 0)).is_some());
    desk.wait(1);
    assert!(desk.hit(find(&unit, false, 1)).is_none());
    assert_eq!(desk.discards(Discard::UnknownWork), 1);
}

#[test]
fn stale_hits_stay_here_but_blocks_go_out() {
    let mut desk = large();
    let unit = desk.unit();
    desk.job(SOURCE, |job| job.prev = BlockHash([2; 32]));
    assert_eq!(desk.advances(), 1, "another previous block, clean or not");
    assert!(desk.hit(find(&unit, false, 0)).is_none());
    assert_eq!(desk.discards(Discard::Stale), 1);
    let block = desk.hit(find(&unit, true, 0)).unwrap();
    assert!(block.is_block && Arc::ptr_eq(&block.job, &unit.job));
    assert!(desk.events().iter().any(|event| matches!(event, MinerEvent::BlockFound(_))));
    assert_eq!(desk.scheduler.snapshot(desk.now).shares.blocks, 1);
}

#[test]
fn the_generation_moves_for_what_makes_work_worthless_and_for_nothing_else() {
    type Change = fn(&mut JobTemplate);
    let cases: [(Change, usize); 5] = [
        (|job| job.id = JobId("2".into()), 0),
        (|job| job.ntime += 30, 0),
        (|job| job.clean = true, 1),
        (|job| job.prev = BlockHash([2; 32]), 1),
        (|job| job.version_mask = VersionMask(0x1fff_0000), 1),
    ];
    for (i, (change, advances)) in cases.into_iter().enumerate() {
        let mut desk = Desk::mining();
        desk.take();
        desk.job(SOURCE, change);
        let outputs = desk.take();
        let advance = outputs.iter().position(|output| matches!(output, Output::Advance(_)));
        let feed = outputs.iter().position(|output| matches!(output, Output::Feed(..)));
        assert_eq!(advance.is_some(), advances == 1, "case {i}");
        assert!(advance <= feed || feed.is_none(), "case {i}: the gate moves before units are fed");
        let adopted = outputs.iter().find_map(|output| match output {
            Output::Emit(MinerEvent::JobAdopted { restarted, generation, .. }) => {
                Some((*restarted, *generation))
            }
            _ => None,
        });
        let generation = desk.scheduler.snapshot(desk.now).generation;
        assert_eq!(adopted, Some((advances == 1, generation)), "case {i}");
    }
}

#[test]
fn fail_over_and_fail_back_change_the_source_and_keep_running_work() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    desk.source(BACKUP, SourceEvent::Up);
    desk.source(SOURCE, SourceEvent::Suspended);
    assert_eq!(desk.scheduler.snapshot(desk.now).active, Some(SOURCE), "the backup has no job yet");
    desk.job(BACKUP, |job| job.prev = BlockHash([7; 32]));
    assert_eq!(desk.scheduler.snapshot(desk.now).active, Some(BACKUP));
    assert_eq!(desk.advances(), 0);
    desk.source(SOURCE, SourceEvent::Up);
    assert_eq!(desk.scheduler.snapshot(desk.now).active, Some(SOURCE));
    assert_eq!(desk.advances(), 0, "a fail-back is like a job that is not clean");
    assert!(desk.hit(find(&unit, false, 0)).is_some());
    desk.finish(&unit, 1);
    assert_eq!(desk.unit().job.source, SOURCE);
}

#[test]
fn a_broken_connection_leaves_its_job_minable_for_two_minutes() {
    let mut desk = Desk::mining();
    desk.wait(7);
    desk.source(SOURCE, SourceEvent::Suspended);
    desk.take();
    assert_eq!(desk.scheduler.next_deadline(), Some(desk.now + Duration::from_secs(120)));
    desk.wait(119);
    assert_eq!((desk.scheduler.snapshot(desk.now).active, desk.advances()), (Some(SOURCE), 0));
    desk.wait(1);
    let outputs = desk.take();
    assert!(matches!(outputs[..], [Output::Advance(_), Output::Emit(MinerEvent::SourceActive(None))]));
    assert_eq!(desk.scheduler.next_deadline(), None);
    desk.source(SOURCE, SourceEvent::Up);
    assert_eq!(desk.scheduler.snapshot(desk.now).active, Some(SOURCE), "resumed, with the job that it had");
}

#[test]
fn giving_a_source_up_ends_its_shares_and_its_work() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    desk.hit(find(&unit, false, 0)).unwrap();
    desk.take();
    desk.source(SOURCE, SourceEvent::Down);
    let events = desk.events();
    assert!(matches!(
        events[..],
        [
            MinerEvent::ShareResolved { outcome: ShareOutcome::Lost(LostReason::NoAnswer), .. },
            MinerEvent::SourceDown(SOURCE),
            MinerEvent::SourceActive(None)
        ]
    ));
    assert!(desk.hit(find(&unit, false, 1)).is_none());
    assert_eq!(desk.discards(Discard::Stale), 1);
    desk.job(SOURCE, |_| {});
    assert!(desk.units().is_empty(), "no jobs from a source that is down");
}

#[test]
fn a_backup_that_goes_takes_its_running_work_along() {
    let mut desk = Desk::new();
    desk.source(BACKUP, SourceEvent::Up);
    desk.job(BACKUP, |_| {});
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |job| job.id = JobId("preferred".into()));
    assert_eq!(desk.units().len(), 2, "the queue is full of the backup's work");
    desk.source(BACKUP, SourceEvent::Down);
    let outputs = desk.take();
    let advance = outputs.iter().position(|output| matches!(output, Output::Advance(_))).unwrap();
    let fed = outputs.iter().skip(advance).filter(|output| matches!(output, Output::Feed(..))).count();
    assert_eq!(fed, 2, "the device goes on with the preferred source's");
    desk.source(BACKUP, SourceEvent::Up);
    desk.take();
    desk.source(BACKUP, SourceEvent::Down);
    assert_eq!(desk.advances(), 0, "now it took nothing along");
}

#[test]
fn a_pause_stops_and_a_resume_starts() {
    let mut desk = Desk::mining();
    let units = desk.units();
    desk.input(Input::Command(Command::Pause));
    desk.input(Input::Command(Command::Pause));
    assert!(desk.scheduler.snapshot(desk.now).paused);
    assert_eq!(desk.advances(), 1);
    for (done, (_, unit)) in units.iter().enumerate() {
        assert_eq!(desk.scheduler.held_units(), units.len() - done);
        desk.finish(unit, 1);
    }
    assert_eq!(desk.scheduler.held_units(), 0);
    assert!(desk.units().is_empty());
    desk.input(Input::Command(Command::Resume));
    assert!(!desk.units().is_empty());
}

#[test]
fn a_device_that_went_keeps_its_counters_and_finds_them_again() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    let share = desk.hit(find(&unit, false, 0)).unwrap().id;
    desk.take();
    let error = BackendError::DeviceLost("unplugged".into());
    desk.backend(CPU, BackendEvent::Gone(Err(error)));
    let events = desk.events();
    let [MinerEvent::BackendDown { error: Some(error), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(&**error, "device lost: unplugged");
    desk.source(SOURCE, SourceEvent::Resolved { share, outcome: ShareOutcome::Accepted });
    assert!(desk.hit(find(&unit, false, 1)).is_none(), "it has ended");
    desk.input(Input::BackendUp(CPU, Arc::new(info(EASY, 100.0))));
    assert_eq!(desk.units().len(), 2);
    let snapshot = desk.scheduler.snapshot(desk.now);
    assert_eq!(
        (snapshot.devices.len(), snapshot.devices[0].shares.accepted, snapshot.shares.accepted),
        (1, 1, 1)
    );
    assert_eq!(snapshot.devices[0].given_up, 2 * unit.size(), "both of the units that it had");
}

#[test]
fn a_quarantined_device_gets_no_work_until_it_is_well() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    let health = |state| BackendEvent::Health(Health { state, ..Health::default() });
    desk.backend(CPU, health(HealthState::Quarantined));
    desk.backend(CPU, health(HealthState::Quarantined));
    let told = desk.events().iter().filter(|event| matches!(event, MinerEvent::BackendHealth { .. })).count();
    assert_eq!(told, 1, "told when it changes");
    desk.finish(&unit, 1);
    assert!(desk.units().is_empty());
    desk.backend(CPU, health(HealthState::Ok));
    assert_eq!(desk.units().len(), 1);
}

#[test]
fn nobody_holds_back_hits_for_a_device_that_does_not_work() {
    let mut desk = Desk::mining();
    desk.input(Input::BackendUp(ASIC, Arc::new(info(EASY, 1e12))));
    let mut held = Vec::new();
    let mut next = |desk: &mut Desk, health| {
        desk.backend(ASIC, BackendEvent::Health(Health { state: health, ..Health::default() }));
        held.extend(desk.units());
        for (_, unit) in held.drain(..) {
            desk.finish(&unit, 0);
        }
        let (_, unit) = desk.units().into_iter().find(|(id, _)| *id == CPU).expect("the CPU works");
        let all = unit.report_target == unit.job.share_target;
        held.push((CPU, unit));
        all
    };
    assert!(!next(&mut desk, HealthState::Ok), "a flood is to be expected");
    assert!(next(&mut desk, HealthState::Sick));
    assert!(!next(&mut desk, HealthState::Degraded));
    assert!(next(&mut desk, HealthState::Quarantined));
    desk.backend(ASIC, BackendEvent::Gone(Ok(())));
    assert!(next(&mut desk, HealthState::Ok), "it has gone");
}

#[test]
fn exhaustion_is_told_once_a_job_and_each_second_opens_more() {
    let mut desk = Desk::new();
    let plane = info(Granularity::Plane { roll_mask: 0 }, 1e12);
    desk.input(Input::BackendUp(ASIC, Arc::new(plane)));
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.source(SOURCE, SourceEvent::Up);
    let fixed = |job: &mut JobTemplate| {
        job.merkle = Merkle::Fixed(crate::types::MerkleRoot([1; 32]));
        job.max_ntime_roll = 2;
    };
    desk.job(SOURCE, fixed);
    let exhausted = |desk: &mut Desk| {
        let outputs = desk.take();
        let told = |output: &&Output| matches!(output, Output::Emit(MinerEvent::WorkExhausted(SOURCE)));
        let fed = outputs.iter().filter(|output| matches!(output, Output::Feed(..))).count();
        (outputs.iter().filter(told).count(), fed)
    };
    assert_eq!(exhausted(&mut desk), (1, 1), "one plane, and the queue holds two");
    assert_eq!(desk.scheduler.next_deadline(), Some(desk.now + Duration::from_secs(1)));
    desk.wait(1);
    assert_eq!(exhausted(&mut desk), (0, 1));
    assert_eq!(desk.scheduler.next_deadline(), None, "the queue is full");
    desk.backend(ASIC, BackendEvent::Progress { work: WorkId(0), hashes: 0, finished: true });
    assert_eq!(exhausted(&mut desk), (0, 0));
    desk.wait(1);
    assert_eq!(exhausted(&mut desk), (0, 1));
    desk.backend(ASIC, BackendEvent::Progress { work: WorkId(1), hashes: 0, finished: true });
    assert_eq!(desk.scheduler.next_deadline(), None, "ntime has rolled as far as it may");
    desk.job(SOURCE, |job| job.id = JobId("2".into()));
    assert_eq!(exhausted(&mut desk), (0, 1));
}

#[test]
fn a_flood_is_told_once_and_estimated() {
    let mut desk = Desk::new();
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.input(Input::BackendUp(CPU, Arc::new(info(EASY, 1e6))));
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |job| job.share_target = Target::from_expected_hashes(1000.0));
    let withholding = |desk: &mut Desk| {
        let told = |event: &MinerEvent| match event {
            MinerEvent::Withholding { per_second, .. } => Some(*per_second),
            _ => None,
        };
        desk.events().iter().filter_map(told).collect::<Vec<_>>()
    };
    let unit = desk.outputs.iter().find_map(|output| match output {
        Output::Feed(_, unit) => Some(unit.clone()),
        _ => None,
    });
    let unit = unit.unwrap();
    assert!((unit.report_target.expected_hashes() / (1e6 / 64.0) - 1.0).abs() < 1e-6);
    assert!((withholding(&mut desk)[..] == [1000.0]));
    desk.finish(&unit, 0);
    assert_eq!(withholding(&mut desk), [0.0; 0]);
    let hit = (0..unit.nonces.len as u32).map(|i| unit.nonces.start + i).find(|&nonce| {
        unit.report_target.is_met_by(&unit.header(unit.version_at(unit.versions.first), nonce).hash())
    });
    let version = unit.version_at(unit.versions.first);
    let hit = Candidate { work: unit.id, version, ntime: unit.ntime, nonce: hit.unwrap() };
    assert!(desk.hit(hit).is_some());
    let withheld = desk.scheduler.snapshot(desk.now).shares.withheld;
    assert!((withheld - (1e6 / 64.0 / 1000.0 - 1.0)).abs() < 1e-3, "{withheld}");
    desk.take();
    desk.job(SOURCE, |job| job.share_target = Target::from_expected_hashes(500.0));
    desk.finish(&unit, 0);
    let second = WorkId(unit.id.0 + 1);
    desk.backend(CPU, BackendEvent::Progress { work: second, hashes: 0, finished: true });
    assert_eq!(withholding(&mut desk), [2000.0], "the pool asks for something else now");
}

#[test]
fn a_measured_rate_replaces_the_guess_and_is_told_once() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    assert_eq!(unit.size(), 64, "100 H/s × 200 ms, in steps of 16 × 4 versions");
    for _ in 0..2 {
        desk.now += Duration::from_millis(500);
        desk.backend(CPU, BackendEvent::Progress { work: unit.id, hashes: 10, finished: false });
    }
    desk.finish(&unit, 0);
    let second = desk.outputs.iter().find_map(|output| match output {
        Output::Feed(_, unit) => Some(unit.clone()),
        _ => None,
    });
    assert_eq!(second.unwrap().size(), 64, "20 H/s × 1 s");
    let learned = |event: &MinerEvent| matches!(event, MinerEvent::RateLearned { rate: HashRate(20.0), .. });
    assert_eq!(desk.events().iter().filter(|event| learned(event)).count(), 1);
    let snapshot = desk.scheduler.snapshot(desk.now);
    assert_eq!(snapshot.rates.counted.average, Some(HashRate(20.0)));
    assert_eq!(snapshot.devices[0].rates.counted.average, Some(HashRate(20.0)));
    assert_eq!((snapshot.devices[0].hashes, snapshot.devices[0].given_up), (20, 44));
}

#[test]
fn units_of_several_versions_last_about_a_second_and_shrink_to_one_without_consent() {
    let mut desk = Desk::new();
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.input(Input::BackendUp(CPU, Arc::new(info(Granularity::Nonces { step: 64, versions: 64 }, 6e7))));
    desk.source(SOURCE, SourceEvent::Up);
    let mut running = Vec::new();
    for (mask, versions) in [(0x1fff_e000, 64), (0x0001_e000, 16), (0x0000_2000, 2), (0, 1)] {
        desk.job(SOURCE, |job| {
            job.version_mask = VersionMask(mask);
            job.prev.0[0] = versions;
            job.clean = true;
        });
        let unit = desk.unit();
        assert_eq!(unit.versions.count, u32::from(versions), "{mask:x}");
        // The first units are short: a fifth of a second.
        let seconds = unit.size() as f64 / 6e7;
        assert!((0.2..0.201).contains(&seconds), "{mask:x}: {seconds} s");
        let header = unit.version_at(unit.versions.first + unit.versions.count - 1);
        assert_eq!(header & !mask, unit.job.version, "{mask:x}");
        for stale in std::mem::replace(&mut running, vec![unit.id, WorkId(unit.id.0 + 1)]) {
            desk.backend(CPU, BackendEvent::Progress { work: stale, hashes: 0, finished: true });
        }
    }
}

#[test]
fn a_unit_that_would_last_too_long_is_cut_short_where_there_is_plenty() {
    let mut desk = Desk::new();
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.input(Input::BackendUp(CPU, Arc::new(info(Granularity::NonceSpaces { max_versions: 4 }, 1e6))));
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |_| {});
    let unit = desk.unit();
    assert_eq!((unit.size(), unit.budget), (1 << 32, 200_000));
    desk.job(SOURCE, |job| {
        job.merkle = Merkle::Fixed(crate::types::MerkleRoot([1; 32]));
        job.clean = true;
    });
    let unit = desk.unit();
    assert_eq!((unit.size(), unit.budget), (1 << 32, 1 << 32), "every nonce counts in a small space");
}

#[test]
fn content_that_comes_back_goes_on_where_it_was() {
    let mut desk = Desk::mining();
    let starts =
        |units: &[(BackendId, WorkUnit)]| units.iter().map(|(_, unit)| unit.nonces.start).collect::<Vec<_>>();
    let before = desk.units();
    desk.job(SOURCE, |job| {
        job.merkle = Merkle::Fixed(crate::types::MerkleRoot([1; 32]));
        job.clean = true;
    });
    before.iter().for_each(|(_, unit)| desk.finish(unit, 1));
    desk.take();
    desk.job(SOURCE, |job| job.clean = true);
    assert_eq!((starts(&before), starts(&desk.units())), (vec![0, 16], vec![32, 48]));
}

#[test]
fn a_slow_device_is_not_overtaken_in_a_small_space() {
    let mut desk = Desk::new();
    for id in 1..4 {
        desk.input(Input::BackendUp(BackendId(id), Arc::new(BackendInfo { depth: 3, ..info(EASY, 100.0) })));
    }
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |_| {});
    let turns: Vec<_> = desk.units().into_iter().map(|(BackendId(id), _)| id).collect();
    assert_eq!(turns, [0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 3], "in turns");
}
