//! What the scheduler costs: per lease and per hit, with 1, 100 and 10,000 devices. The cost must not depend on them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use miner_core::backend::{BackendEvent, BackendInfo, BackendKind};
use miner_core::job::{JobId, JobTemplate, Merkle, VersionMask};
use miner_core::sched::{Input, Output, Scheduler, SchedulerConfig, SourceEvent};
use miner_core::share::{Candidate, ShareOutcome};
use miner_core::types::{BackendId, BlockHash, CompactTarget, Epoch, HashRate, ShareId, SourceId, Target};
use miner_core::work::{Granularity, WorkUnit};

const DEVICES: [u16; 3] = [1, 100, 10_000];
const SOURCE: SourceId = SourceId(0);

/// A scheduler with so many devices, each with its queue full.
struct Farm {
    scheduler: Scheduler,
    now: Instant,
    units: Vec<Vec<WorkUnit>>,
    /// Hits made of the oldest unit of each device.
    made: Vec<u128>,
}

impl Farm {
    fn new(devices: u16, share_target: Target) -> Self {
        let now = Instant::now();
        let config = SchedulerConfig { max_hits: f64::MAX, ..SchedulerConfig::default() };
        let mut farm = Self {
            scheduler: Scheduler::new(config, now, [SOURCE]),
            now,
            units: vec![Vec::new(); devices.into()],
            made: vec![0; devices.into()],
        };
        for id in 0..devices {
            farm.handle(Input::BackendUp(BackendId(id), Arc::new(info())));
        }
        farm.handle(Input::Source(SOURCE, SourceEvent::Up));
        farm.handle(Input::Source(SOURCE, SourceEvent::Job(job(now, share_target))));
        assert!(farm.units.iter().all(|units| units.len() == 2), "every device has work");
        farm
    }

    /// Carries an input in; returns the shares that came out.
    fn handle(&mut self, input: Input) -> Option<ShareId> {
        self.scheduler.handle(self.now, input);
        let mut submitted = None;
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Feed(BackendId(id), unit) => self.units[usize::from(id)].push(unit),
                Output::Submit(_, share) => submitted = Some(share.id),
                Output::Advance(_) | Output::Emit(_) => {}
            }
        }
        submitted
    }

    /// A header that no one has reported, by the devices in turn.
    fn next_hit(&mut self, turn: u64) -> (BackendId, Candidate) {
        let device = (turn % self.units.len() as u64) as usize;
        if self.made[device] == self.units[device][0].size() {
            self.finish(device);
            self.made[device] = 0;
        }
        let unit = &self.units[device][0];
        let at = self.made[device];
        self.made[device] += 1;
        let (row, column) =
            ((at / u128::from(unit.nonces.len)) as u32, (at % u128::from(unit.nonces.len)) as u32);
        let version = unit.version_at(unit.versions.first + row);
        let nonce = unit.nonces.start + column;
        (BackendId(device as u16), Candidate { work: unit.id, version, ntime: unit.ntime, nonce })
    }

    /// One device finishes its oldest unit and gets another.
    fn finish(&mut self, device: usize) {
        let unit = self.units[device].remove(0);
        self.now += Duration::from_micros(10);
        let event = BackendEvent::Progress { work: unit.id, hashes: unit.budget, finished: true };
        self.handle(Input::Backend(BackendId(device as u16), event));
        assert_eq!(self.units[device].len(), 2, "a unit for a unit");
    }
}

fn info() -> BackendInfo {
    BackendInfo {
        key: "cpu".into(),
        name: "bench".into(),
        kind: BackendKind::Cpu,
        granularity: Granularity::Nonces { step: 1 << 10, versions: 16 },
        depth: 2,
        expected: HashRate(1e6),
        counts_hashes: true,
        report_floor: None,
    }
}

fn job(received: Instant, share_target: Target) -> JobTemplate {
    JobTemplate {
        source: SOURCE,
        epoch: Epoch(0),
        id: JobId("bench".into()),
        prev: BlockHash([1; 32]),
        version: 0x2000_0000,
        version_mask: VersionMask(0x1fff_e000),
        nbits: CompactTarget::new(0x1703_4219).expect("valid"),
        ntime: 1_700_000_000,
        max_ntime_roll: 600,
        received,
        merkle: Merkle::Coinbase {
            prefix: vec![1; 120].into(),
            suffix: vec![2; 120].into(),
            branch: vec![[3; 32]; 12].into(),
            extranonce1: vec![4; 4].into(),
            extranonce2_size: 4,
        },
        share_target,
        clean: true,
    }
}

fn leases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler/lease");
    group.throughput(Throughput::Elements(1));
    for devices in DEVICES {
        let mut farm = Farm::new(devices, Target::DIFFICULTY_1);
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(devices), |bencher| {
            bencher.iter(|| {
                farm.finish(turn);
                turn = (turn + 1) % usize::from(devices);
            });
        });
    }
}

/// A hit that is checked, becomes a share and is accepted: each time another one.
fn hits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler/hit");
    group.throughput(Throughput::Elements(1));
    for devices in DEVICES {
        // Every hash is a share, so that the search for hits is not measured.
        let mut farm = Farm::new(devices, Target::MAX);
        let (mut found, mut turn) = (0, 0);
        group.bench_function(BenchmarkId::from_parameter(devices), |bencher| {
            bencher.iter_custom(|rounds| {
                let hits: Vec<_> = (0..rounds).map(|round| farm.next_hit(turn + round)).collect();
                turn += rounds;
                let start = Instant::now();
                for (id, candidate) in hits {
                    if let Some(share) =
                        farm.handle(Input::Backend(id, BackendEvent::Hit(black_box(candidate))))
                    {
                        let accepted = SourceEvent::Resolved { share, outcome: ShareOutcome::Accepted };
                        farm.handle(Input::Source(SOURCE, accepted));
                    }
                }
                found += rounds;
                start.elapsed()
            });
        });
        let shares = farm.scheduler.snapshot(farm.now).shares;
        assert_eq!((shares.found, shares.accepted), (found, found), "every hit became an accepted share");
    }
}

criterion_group!(benches, leases, hits);
criterion_main!(benches);
