//! The contract of [`HashBackend`] as tests that any backend can be put through.
//!
//! For backends whose granularity is [`Granularity::Nonces`]. Each check makes a backend, feeds it as a scheduler would
//! and panics where it breaks the contract. Nothing is timed but hangs: an answer that takes a minute is none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{
    BackendError, BackendEvent, BackendFeed, BackendInfo, EventSink, GenerationGate, HashBackend, wire,
};
use crate::job::{Extranonce2, JobId, JobTemplate, Merkle, VersionMask};
use crate::share::Candidate;
use crate::types::{
    BlockHash, CompactTarget, Epoch, Generation, HashCount, MerkleRoot, SourceId, Target, WorkId,
};
use crate::work::{Granularity, NonceRange, VersionRange, WorkUnit};

const HANG: Duration = Duration::from_secs(60);

/// Makes the backend under test.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn HashBackend>;

/// All checks.
pub fn check(make: Make<'_>) {
    finds_every_hit_once_and_counts_every_hash(make);
    finishes_many_small_units(make);
    keeps_to_the_budget(make);
    abandons_stale_units(make);
    ends_when_the_port_closes(make);
}

/// Every hit of every unit is reported once and nothing else; progress sums to the unit; it is finished once.
pub fn finds_every_hit_once_and_counts_every_hash(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let step = rig.step();
    let len = 40_000u64.next_multiple_of(step);
    let starts = [0, step, (1 << 16) - step, (1 << 31) - step, (1 << 32) - len];
    for (id, start) in (0..).zip(starts) {
        let unit = rig.unit(id, NonceRange { start: start as u32, len }, rig.versions().min(3));
        let wanted = hits(&unit);
        assert!(!wanted.is_empty(), "the target is easy");
        let size = unit.size();
        rig.feed(unit);
        let work = rig.finish(WorkId(id));
        assert_eq!(work.hashes, size, "hashes of a unit from nonce {start:#x}");
        assert_eq!(sorted(work.hits), sorted(wanted), "hits of a unit from nonce {start:#x}");
    }
    rig.close();
}

/// Units of the least size, as many at a time as the backend holds.
pub fn finishes_many_small_units(make: Make<'_>) {
    const UNITS: u64 = 300;
    let mut rig = Rig::new(make());
    let (step, depth) = (rig.step(), u64::from(rig.info.depth));
    for id in 0..UNITS {
        let unit = rig.unit(id, NonceRange { start: (id * step) as u32, len: step }, 1);
        rig.feed(unit);
        if id >= depth - 1 {
            assert_eq!(rig.finish(WorkId(id + 1 - depth)).hashes, step.into());
        }
    }
    (UNITS + 1 - depth..UNITS).for_each(|id| assert_eq!(rig.finish(WorkId(id)).hashes, step.into()));
    rig.close();
}

/// A unit is finished after about its budget, not after its whole box.
pub fn keeps_to_the_budget(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let mut unit = rig.unit(0, NonceRange::FULL, 1);
    unit.budget = 100_000;
    rig.feed(unit);
    let work = rig.finish(WorkId(0));
    assert!(work.hashes >= 100_000, "only {} hashes", work.hashes);
    assert!(work.hashes < 1 << 31, "{} hashes", work.hashes);
    rig.close();
}

/// When the gate moves, the running unit and those that wait are finished early, and new work is taken.
pub fn abandons_stale_units(make: Make<'_>) {
    let mut rig = Rig::new(make());
    for generation in 1..4 {
        rig.gate.advance(Generation(generation));
        rig.feed.wake();
        let ids = 100 * generation..100 * generation + u64::from(rig.info.depth);
        for id in ids.clone() {
            let mut unit = rig.unit(id, NonceRange::FULL, 1);
            unit.generation = Generation(generation);
            unit.report_target = Target::from_expected_hashes(50_000.0);
            rig.feed(unit);
        }
        rig.wait_for_a_hit(WorkId(ids.start));
        rig.gate.advance(Generation(generation + 1));
        rig.feed.wake();
        for id in ids {
            let hashes = rig.finish(WorkId(id)).hashes;
            assert!(hashes < 1 << 32, "unit {id} was not abandoned");
        }
    }
    rig.close();
}

/// The port closes in the middle of a unit.
pub fn ends_when_the_port_closes(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let mut unit = rig.unit(0, NonceRange::FULL, 1);
    unit.report_target = Target::from_expected_hashes(50_000.0);
    rig.feed(unit);
    rig.wait_for_a_hit(WorkId(0));
    rig.close();
    Rig::new(make()).close();
}

/// What a backend has said of one unit.
#[derive(Debug, Default)]
pub struct Work {
    /// The hits, as they came.
    pub hits: Vec<Candidate>,
    /// The hashes of all reports.
    pub hashes: HashCount,
    /// Whether it was reported finished.
    pub finished: bool,
}

/// A backend at work and the other end of its wires.
pub struct Rig {
    /// What the backend said of itself.
    pub info: BackendInfo,
    /// Which generation is worth working on.
    pub gate: GenerationGate,
    /// What it said of each unit.
    pub works: BTreeMap<WorkId, Work>,
    /// What it said of its health.
    pub health: Vec<super::Health>,
    feed: BackendFeed,
    events: Receiver<BackendEvent>,
    thread: JoinHandle<Result<(), BackendError>>,
}

struct Sink(SyncSender<BackendEvent>);

impl EventSink for Sink {
    fn send(&self, event: BackendEvent) -> bool {
        self.0.send(event).is_ok()
    }
}

impl Rig {
    /// Starts a backend.
    pub fn new(backend: Box<dyn HashBackend>) -> Self {
        let info = backend.info();
        assert_eq!(info, backend.info(), "info is constant");
        assert!(info.depth >= 1);
        let (sender, events) = sync_channel(64);
        let gate = GenerationGate::default();
        let (port, feed) = wire(info.depth.into(), Arc::new(Sink(sender)), gate.clone());
        let thread = std::thread::spawn(move || backend.run(port));
        Self { info, gate, works: BTreeMap::new(), health: Vec::new(), feed, events, thread }
    }

    fn step(&self) -> u64 {
        match self.info.granularity {
            Granularity::Nonces { step, .. } => step,
            other => panic!("these checks are for runs of nonces, not for {other:?}"),
        }
    }

    fn versions(&self) -> u32 {
        match self.info.granularity {
            Granularity::Nonces { versions, .. } => versions,
            _ => 1,
        }
    }

    /// A unit of generation 0 with an easy target, over a job of its own.
    pub fn unit(&self, id: u64, nonces: NonceRange, versions: u32) -> WorkUnit {
        let easy = Target::from_expected_hashes(1000.0);
        let unit = WorkUnit {
            id: WorkId(id),
            generation: Generation(0),
            job: Arc::new(job(id)),
            root: MerkleRoot([0x33; 32]),
            extranonce2: Extranonce2::default(),
            rollable: VersionMask(0x1fff_e000),
            versions: VersionRange { first: 5, count: versions },
            nonces,
            ntime: 1_700_000_000,
            report_target: self.info.report_floor.map_or(easy, |floor| floor.min(easy)),
            budget: 0,
        };
        WorkUnit { budget: unit.size(), ..unit }
    }

    /// Hands a unit over.
    pub fn feed(&mut self, unit: WorkUnit) {
        let id = unit.id;
        assert!(self.works.insert(id, Work::default()).is_none(), "unit {id} was fed before");
        self.feed.feed(unit).expect("the backend takes units while it has credit");
    }

    /// Waits until the unit is finished.
    pub fn finish(&mut self, id: WorkId) -> Work {
        while !self.works[&id].finished {
            self.next_event();
        }
        self.works.remove(&id).expect("it was looked up")
    }

    /// Waits until a hit of the unit is reported.
    pub fn wait_for_a_hit(&mut self, id: WorkId) {
        while self.works[&id].hits.is_empty() {
            self.next_event();
        }
    }

    /// Closes the port and waits for the backend to end, as it should.
    pub fn close(self) {
        let (ended, _) = self.end();
        assert!(ended.is_ok(), "{ended:?}");
    }

    /// Closes the port and waits for the backend to end: how it did, and what it said of the units not asked for yet.
    pub fn end(mut self) -> (Result<(), BackendError>, BTreeMap<WorkId, Work>) {
        let (_, dead) = wire(1, Arc::new(Sink(sync_channel(1).0)), GenerationGate::default());
        drop(std::mem::replace(&mut self.feed, dead));
        loop {
            match self.events.recv_timeout(HANG) {
                Ok(event) => self.note(event),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the backend hangs"),
            }
        }
        (self.thread.join().expect("a backend does not panic"), self.works)
    }

    /// Waits for the next thing that the backend says, and notes it.
    pub fn next_event(&mut self) {
        let event = self.events.recv_timeout(HANG).expect("the backend lives and says something");
        self.note(event);
    }

    fn note(&mut self, event: BackendEvent) {
        match event {
            BackendEvent::Hit(hit) => self.work(hit.work).hits.push(hit),
            BackendEvent::Progress { work, hashes, finished } => {
                let work = self.work(work);
                work.hashes += hashes;
                work.finished |= finished;
            }
            BackendEvent::Health(health) => self.health.push(health),
            BackendEvent::Gone(_) => panic!("that is for the driver to say"),
        }
    }

    /// The account of a unit that is not finished.
    fn work(&mut self, id: WorkId) -> &mut Work {
        let work = self.works.get_mut(&id);
        work.filter(|work| !work.finished).unwrap_or_else(|| panic!("unit {id} was not fed, or is finished"))
    }
}

/// The hits of a unit, found by the independent implementation.
pub fn hits(unit: &WorkUnit) -> Vec<Candidate> {
    let mut hits = Vec::new();
    for version in unit.header_versions() {
        for nonce in (0..unit.nonces.len).map(|i| unit.nonces.start.wrapping_add(i as u32)) {
            if unit.report_target.is_met_by(&unit.header(version, nonce).hash()) {
                hits.push(Candidate { work: unit.id, version, ntime: unit.ntime, nonce });
            }
        }
    }
    hits
}

fn sorted(mut hits: Vec<Candidate>) -> Vec<Candidate> {
    hits.sort_by_key(|hit| (hit.version, hit.nonce));
    hits
}

fn job(id: u64) -> JobTemplate {
    JobTemplate {
        source: SourceId(0),
        epoch: Epoch(0),
        id: JobId(id.to_string().into()),
        prev: BlockHash([id as u8; 32]),
        version: 0x2000_0000,
        version_mask: VersionMask(0x1fff_e000),
        nbits: CompactTarget::new(0x1700_ffff).expect("a valid compact target"),
        ntime: 1_700_000_000,
        max_ntime_roll: 0,
        received: Instant::now(),
        merkle: Merkle::Fixed(MerkleRoot([0x33; 32])),
        share_target: Target::from_expected_hashes(1000.0),
        clean: true,
    }
}
