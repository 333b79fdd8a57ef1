//! The miner's side: the real scheduler and pools, and devices that hash a little, honestly.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use miner_core::backend::{BackendEvent, BackendInfo, BackendKind};
use miner_core::event::MinerEvent;
use miner_core::sched::{Input, Output, Scheduler, SchedulerConfig, SourceEvent};
use miner_core::share::{Candidate, LostReason, Share, ShareOutcome};
use miner_core::types::{BackendId, Generation, HashRate, ShareId, SourceId};
use miner_core::work::{Granularity, WorkUnit};
use stratum::url::PoolUrl;
use tokio::time::Instant;

use super::super::world::Wire;
use super::pool::Key;
use crate::bus::Bus;
use crate::pools::Pools;
use crate::settings::PoolSettings;

/// How often the devices tell of their work.
const TICK: Duration = Duration::from_secs(5);
/// Hashes of each device between two ticks: a share every ten seconds or so.
const HASHES: usize = 20;

/// The scheduler with two devices and two pools, and the book of its shares.
pub(super) struct Miner {
    scheduler: Scheduler,
    pools: Pools,
    devices: [Device; 2],
    generation: Generation,
    book: BTreeMap<ShareId, (Key, Option<ShareOutcome>)>,
}

#[derive(Default)]
struct Device {
    /// Units with what is done of each.
    units: VecDeque<(WorkUnit, u64)>,
}

impl Miner {
    pub(super) fn new(network: &Wire) -> Self {
        let settings = |host: &str| {
            let url = PoolUrl { tls: false, host: host.to_owned(), port: 3333 };
            PoolSettings::new(url, "me")
        };
        let pools = Pools::start_over(network, ["a", "b"].map(settings).into(), &Bus::default()).unwrap();
        let now = Instant::now().into_std();
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), now, [SourceId(0), SourceId(1)]);
        for (id, versions) in [(0, 1), (1, 4)] {
            let info = BackendInfo {
                key: format!("device {id}").into(),
                name: "test".into(),
                kind: BackendKind::Cpu,
                granularity: Granularity::Nonces { step: 1, versions },
                depth: 2,
                expected: HashRate(HASHES as f64 / TICK.as_secs_f64()),
                counts_hashes: true,
                report_floor: None,
            };
            scheduler.handle(now, Input::BackendUp(BackendId(id), info.into()));
        }
        Self {
            scheduler,
            pools,
            devices: Default::default(),
            generation: Generation::default(),
            book: BTreeMap::new(),
        }
    }

    pub(super) async fn mine(&mut self, time: Duration) {
        let (end, mut tick) = (Instant::now() + time, Instant::now() + TICK);
        while Instant::now() < end {
            let deadlines = [self.scheduler.next_deadline(), self.pools.next_deadline()];
            let deadline = deadlines.into_iter().flatten().map(Instant::from_std).fold(tick, Instant::min);
            tokio::select! {
                biased;
                (source, event) = self.pools.recv() => self.input(Input::Source(source, event)),
                () = tokio::time::sleep_until(deadline) => {
                    let now = Instant::now().into_std();
                    self.pools.handle_timeout(now);
                    self.scheduler.handle_timeout(now);
                    self.obey();
                    if tick <= Instant::now() {
                        tick += TICK;
                        (0..self.devices.len()).for_each(|device| self.hash(device));
                    }
                }
            }
        }
    }

    /// Ends everything; how each share ended.
    pub(super) async fn finish(mut self) -> BTreeMap<Key, ShareOutcome> {
        for (source, event) in self.pools.shutdown().await {
            self.input(Input::Source(source, event));
        }
        let shares = self.scheduler.snapshot(Instant::now().into_std()).shares;
        assert_eq!(shares.pending, 0, "every share ends");
        assert_eq!(shares.found, self.book.len() as u64, "shares are counted once");
        let ended: BTreeMap<_, _> = self
            .book
            .into_iter()
            .map(|(id, (key, outcome))| (key, outcome.unwrap_or_else(|| panic!("share {id} has no end"))))
            .collect();
        assert_eq!(shares.found, ended.len() as u64, "no work is done twice");
        ended
    }

    fn input(&mut self, input: Input) {
        self.scheduler.handle(Instant::now().into_std(), input);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Advance(generation) => self.generation = generation,
                Output::Feed(backend, unit) => {
                    self.devices[usize::from(backend.0)].units.push_back((unit, 0));
                }
                Output::Submit(source, share) => {
                    let before = self.book.insert(share.id, (key(&share), None));
                    assert_eq!(before, None, "share {} was found twice", share.id);
                    if let Err(share) = self.pools.submit(source, share) {
                        let outcome = ShareOutcome::Lost(LostReason::NotSent);
                        let event = SourceEvent::Resolved { share: share.id, outcome };
                        self.scheduler.handle(Instant::now().into_std(), Input::Source(source, event));
                    }
                }
                Output::Emit(MinerEvent::ShareResolved { share, outcome, .. }) => {
                    let (_, end) = self.book.get_mut(&share.id).expect("it was submitted");
                    assert_eq!(*end, None, "share {} ended twice", share.id);
                    *end = Some(outcome);
                }
                Output::Emit(_) => {}
            }
        }
    }

    /// Has a device do what it can between two ticks.
    fn hash(&mut self, device: usize) {
        let backend = BackendId(u16::try_from(device).unwrap());
        let mut left = HASHES;
        while left > 0 {
            let Some((unit, done)) = self.devices[device].units.front().cloned() else { return };
            let stale = unit.generation != self.generation;
            let size = u64::try_from(unit.size().min(unit.budget)).unwrap();
            let todo = if stale { 0 } else { (size - done).min(left as u64) };
            for candidate in (done..done + todo).filter_map(|at| hit(&unit, at)) {
                self.input(Input::Backend(backend, BackendEvent::Hit(candidate)));
            }
            left -= todo as usize;
            let finished = stale || done + todo == size;
            match self.devices[device].units.front_mut() {
                Some((_, done)) if !finished => *done += todo,
                _ => drop(self.devices[device].units.pop_front()),
            }
            let progress = BackendEvent::Progress { work: unit.id, hashes: todo.into(), finished };
            self.input(Input::Backend(backend, progress));
        }
    }
}

/// The `at`-th header of a unit, where it is a hit.
fn hit(unit: &WorkUnit, at: u64) -> Option<Candidate> {
    let versions = u64::from(unit.versions.count);
    let version = unit.version_at(unit.versions.first + (at % versions) as u32);
    let nonce = unit.nonces.start + (at / versions) as u32;
    let found = unit.report_target.is_met_by(&unit.header(version, nonce).hash());
    found.then_some(Candidate { work: unit.id, version, ntime: unit.ntime, nonce })
}

fn key(share: &Share) -> Key {
    (
        share.job.id.to_string(),
        hex::encode(share.extranonce2.to_bytes()),
        share.ntime,
        share.nonce,
        share.version,
    )
}
