//! Events and snapshots as a real run makes them, for the tests of reporters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use miner_core::backend::{BackendInfo, BackendKind, Health, HealthState};
use miner_core::event::MinerEvent;
use miner_core::job::{Extranonce2, JobId, JobTemplate, Merkle, VersionMask};
use miner_core::share::{Discard, LostReason, Reject, RejectKind, Share, ShareOutcome};
use miner_core::snapshot::{
    DeviceSnapshot, DiscardCounts, MinerSnapshot, ProvenRate, Rates, ShareCounts, SourceSnapshot,
    SourceState, Windows,
};
use miner_core::types::{
    BackendId, BlockHash, CompactTarget, Difficulty, Epoch, Generation, HashRate, ShareId, SourceId, Target,
};
use miner_core::work::Granularity;

use crate::event::{EndReason, Event, EventKind, PoolFacts, PoolNotice, StartFacts};

pub(super) const CPU: BackendId = BackendId(0);
pub(super) const POOL: SourceId = SourceId(0);

/// 2026-01-02 03:04:05 UTC and so many milliseconds.
pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_323_045_000 + ms).unwrap()
}

pub(super) fn event(ms: i64, kind: EventKind) -> Event {
    Event { at: at(ms), kind }
}

pub(super) fn miner(ms: i64, miner_event: MinerEvent) -> Event {
    event(ms, EventKind::Miner(miner_event))
}

pub(super) fn pool(ms: i64, notice: PoolNotice) -> Event {
    event(ms, EventKind::Pool { source: POOL, notice })
}

pub(super) fn started(ms: i64, practice: bool) -> Event {
    let pools =
        vec![PoolFacts { url: "stratum+tcp://127.0.0.1:3333".to_owned(), user: "worker.1".to_owned() }];
    event(
        ms,
        EventKind::Started(Arc::new(StartFacts {
            version: "lode 0.1.0 (release)".to_owned(),
            pools,
            practice,
            emulated: false,
        })),
    )
}

pub(super) fn difficulty(value: f64) -> Difficulty {
    Difficulty::new(value).unwrap()
}

pub(super) fn cpu_info() -> Arc<BackendInfo> {
    Arc::new(BackendInfo {
        key: "cpu".into(),
        name: "AMD EPYC, 2 threads, sha-ni".into(),
        kind: BackendKind::Cpu,
        granularity: Granularity::Nonces { step: 1, versions: 1 },
        depth: 2,
        expected: HashRate(24.5e6),
        counts_hashes: true,
        report_floor: None,
    })
}

pub(super) fn cpu_up(ms: i64) -> Event {
    miner(ms, MinerEvent::BackendUp { backend: CPU, info: cpu_info() })
}

/// A job at height 840,000 and difficulty 16.
pub(super) fn job(id: &str) -> JobTemplate {
    let mut prefix = vec![0u8; 42];
    prefix.extend([3, 0x40, 0xd1, 0x0c]);
    JobTemplate {
        source: POOL,
        epoch: Epoch(1),
        id: JobId(id.into()),
        prev: BlockHash([0xab; 32]),
        version: 0x2000_0000,
        version_mask: VersionMask(0x1fff_e000),
        nbits: CompactTarget::new(0x1703_4219).unwrap(),
        ntime: 0x6620_0000,
        max_ntime_roll: 600,
        received: Instant::now(),
        merkle: Merkle::Coinbase {
            prefix: prefix.into(),
            suffix: [0xff; 8].into(),
            branch: [[0x11; 32]].into(),
            extranonce1: [1, 2, 3, 4].into(),
            extranonce2_size: 4,
        },
        share_target: Target::from(difficulty(16.0)),
        clean: true,
    }
}

pub(super) fn new_job(ms: i64, job: JobTemplate) -> Event {
    let restarted = job.clean;
    miner(ms, MinerEvent::JobAdopted { job: Arc::new(job), generation: Generation(7), restarted })
}

/// A share that reached difficulty 33.
pub(super) fn share(id: u64) -> Share {
    let mut hash = Target::from(difficulty(33.0)).to_be_bytes();
    hash.reverse();
    Share {
        id: ShareId(id),
        backend: CPU,
        job: Arc::new(job("5f3a")),
        extranonce2: Extranonce2 { value: 1, size: 4 },
        version: 0x2000_2000,
        ntime: 0x6620_0001,
        nonce: 0xdead_beef,
        hash: BlockHash(hash),
        is_block: false,
    }
}

pub(super) fn resolved(ms: i64, id: u64, outcome: ShareOutcome) -> Event {
    let latency = Duration::from_micros(31_400);
    miner(ms, MinerEvent::ShareResolved { share: Arc::new(share(id)), outcome, latency })
}

pub(super) fn rejected(kind: RejectKind, code: Option<i64>, text: &str) -> ShareOutcome {
    ShareOutcome::Rejected(Reject { kind, code, text: text.into() })
}

pub(super) fn block(ms: i64) -> Event {
    miner(ms, MinerEvent::BlockFound(Arc::new(Share { is_block: true, ..share(9) })))
}

/// 12 found: 9 accepted, 2 refused, 1 lost; one block.
pub(super) fn counts() -> ShareCounts {
    ShareCounts {
        found: 12,
        accepted: 9,
        rejected: [1, 0, 1, 0, 0, 0],
        lost_no_answer: 1,
        blocks: 1,
        accepted_difficulty: 144.0,
        ..ShareCounts::default()
    }
}

/// Rates after a minute and a half: a quarter of an hour has not passed.
pub(super) fn rates() -> Rates {
    let proven =
        |rate, low, high| Some(ProvenRate { rate: HashRate(rate), low: HashRate(low), high: HashRate(high) });
    let counted = |rate| Some(HashRate(rate));
    Rates {
        counted: Windows { s5: counted(24.51e6), m1: counted(24.4e6), m15: None, average: counted(24.38e6) },
        proven: Windows {
            s5: None,
            m1: proven(23.9e6, 20.1e6, 28.3e6),
            m15: None,
            average: proven(24.2e6, 21.0e6, 27.8e6),
        },
    }
}

pub(super) fn device() -> DeviceSnapshot {
    DeviceSnapshot {
        backend: CPU,
        info: cpu_info(),
        present: true,
        health: Health { celsius: Some(54.3), watts: Some(61.0), ..Health::default() },
        rates: rates(),
        shares: counts(),
        discards: DiscardCounts([2, 0, 0, 1, 0, 40]),
        hits: 52,
        idle: Duration::from_millis(250),
        hashes: 2_194_200_000,
        given_up: 1_000_000,
        best: Some(difficulty(1234.5)),
    }
}

/// The miner after a minute and a half with one CPU and one pool.
pub(super) fn snapshot() -> MinerSnapshot {
    let source = SourceSnapshot {
        source: POOL,
        state: SourceState::Up,
        shares: counts(),
        difficulty: Some(difficulty(16.0)),
    };
    MinerSnapshot {
        at: Instant::now(),
        uptime: Duration::from_secs(90),
        generation: Generation(7),
        active: Some(POOL),
        job: Some(Arc::new(job("5f3a"))),
        paused: false,
        rates: rates(),
        shares: counts(),
        discards: DiscardCounts([2, 0, 0, 1, 0, 40]),
        best: Some(difficulty(1234.5)),
        devices: vec![device()],
        sources: vec![source],
    }
}

pub(super) fn snapshot_event(ms: i64, snapshot: MinerSnapshot) -> Event {
    event(ms, EventKind::Snapshot(Arc::new(snapshot)))
}

pub(super) fn ended(ms: i64, reason: EndReason) -> Event {
    event(ms, EventKind::Ended { reason, snapshot: Arc::new(snapshot()) })
}

/// One event of every kind that reporters know, in an order that a run could have.
pub(super) fn every_kind() -> Vec<Event> {
    let health = Health {
        state: HealthState::Degraded,
        reason: Some("one thread is slow".into()),
        watts: Some(f32::NAN),
        fan_rpm: Some(1200.0),
        ..Health::default()
    };
    vec![
        started(0, true),
        cpu_up(10),
        pool(20, PoolNotice::Connecting { attempt: 1 }),
        pool(30, PoolNotice::Connected { peer: "127.0.0.1:3333".to_owned(), encrypted: false }),
        pool(40, PoolNotice::Ready { resumed: false }),
        miner(41, MinerEvent::SourceUp(POOL)),
        miner(42, MinerEvent::SourceActive(Some(POOL))),
        pool(50, PoolNotice::Difficulty(difficulty(16.0))),
        new_job(60, job("5f3a")),
        miner(900, MinerEvent::RateLearned { backend: CPU, rate: HashRate(24.4e6) }),
        miner(1000, MinerEvent::ShareFound(Arc::new(share(1)))),
        resolved(1031, 1, ShareOutcome::Accepted),
        resolved(1100, 2, rejected(RejectKind::Stale, Some(21), "Job not found")),
        resolved(1200, 3, ShareOutcome::Lost(LostReason::NotSent)),
        resolved(1300, 4, ShareOutcome::Lost(LostReason::NoAnswer)),
        miner(1400, MinerEvent::ShareLate { source: POOL, booked: LostReason::NoAnswer, accepted: true }),
        block(1500),
        miner(1600, MinerEvent::CandidateDiscarded { backend: CPU, reason: Discard::HardwareError }),
        miner(1601, MinerEvent::CandidateDiscarded { backend: CPU, reason: Discard::Stale }),
        miner(1602, MinerEvent::CandidateDiscarded { backend: CPU, reason: Discard::BelowShareTarget }),
        miner(1700, MinerEvent::BackendHealth { backend: CPU, health }),
        miner(1800, MinerEvent::WorkExhausted(POOL)),
        miner(1900, MinerEvent::Withholding { source: POOL, per_second: 1e6 }),
        pool(2000, PoolNotice::Message("maintenance at noon".to_owned())),
        pool(2100, PoolNotice::Warning("unknown method".to_owned())),
        pool(2200, PoolNotice::Reconnect { to: Some("other.example:3333".to_owned()) }),
        miner(2300, MinerEvent::SourceSuspended(POOL)),
        pool(
            2310,
            PoolNotice::Failed {
                error: "connection refused".to_owned(),
                advice: Some("check the port".to_owned()),
                retry_in: Some(Duration::from_millis(2500)),
            },
        ),
        pool(2400, PoolNotice::Failed { error: "not authorised".to_owned(), advice: None, retry_in: None }),
        miner(2410, MinerEvent::SourceDown(POOL)),
        miner(2420, MinerEvent::SourceActive(None)),
        snapshot_event(3000, snapshot()),
        miner(4000, MinerEvent::BackendDown { backend: CPU, error: Some("device lost".into()) }),
        miner(4100, MinerEvent::BackendDown { backend: CPU, error: None }),
        event(4200, EventKind::Draining(EndReason::Interrupted)),
        ended(5000, EndReason::Interrupted),
    ]
}
