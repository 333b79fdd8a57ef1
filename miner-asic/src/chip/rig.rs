//! A protocol under test: virtual time, no link, and the rules that every protocol keeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::job::{Extranonce2, JobId, JobTemplate, Merkle, VersionMask};
use miner_core::types::{
    BlockHash, CompactTarget, Epoch, Generation, HashCount, Header, MerkleRoot, SourceId, Target, WorkId,
};
use miner_core::work::{NonceRange, VersionRange, WorkUnit};

use super::{ChipEvent, ChipProtocol, Transmit};

/// A protocol, and everything that it said. Checks after each call that no unit ends twice, that none claims more
/// hashes than it has, and that no deadline is asked for that has passed.
pub struct Rig<P> {
    /// The protocol.
    pub chip: P,
    start: Instant,
    now: Instant,
    /// What was sent, with the milliseconds since the start.
    pub sent: Vec<(u64, Transmit)>,
    /// What was said, the progress of units aside.
    pub events: Vec<ChipEvent>,
    /// Hashes claimed of each unit that was loaded, its size, and whether it ended.
    pub units: BTreeMap<WorkId, (HashCount, HashCount, bool)>,
}

impl<P: ChipProtocol> Rig<P> {
    /// Begins with `chip`, at a moment that only serves to count from.
    pub fn new(chip: P, start: Instant) -> Self {
        let mut rig =
            Self { chip, start, now: start, sent: Vec::new(), events: Vec::new(), units: BTreeMap::new() };
        rig.poll();
        assert!(rig.sent.is_empty(), "nothing is sent before it is told to begin");
        rig.chip.handle_timeout(start);
        rig.poll();
        rig
    }

    /// Milliseconds since the start.
    pub fn millis(&self) -> u64 {
        (self.now - self.start).as_millis() as u64
    }

    /// Lets time pass, with every deadline met.
    pub fn pass(&mut self, millis: u64) {
        let target = self.now + Duration::from_millis(millis);
        while let Some(deadline) = self.chip.next_deadline().filter(|deadline| *deadline <= target) {
            self.now = deadline.max(self.now);
            self.chip.handle_timeout(self.now);
            self.poll();
            assert!(
                self.chip.next_deadline().is_none_or(|next| next > self.now),
                "a deadline that has passed would be waited for in a busy loop"
            );
        }
        self.now = target;
    }

    /// Carries bytes in.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.chip.handle_bytes(self.now, bytes);
        self.poll();
    }

    /// Loads a unit.
    pub fn load(&mut self, unit: WorkUnit) {
        let again = self.units.insert(unit.id, (0, unit.size(), false));
        assert!(again.is_none(), "each unit is loaded once");
        self.chip.load(self.now, unit);
        self.poll();
    }

    /// Moves the generation.
    pub fn flush(&mut self, is_stale: impl Fn(&WorkUnit) -> bool) {
        self.chip.flush(self.now, &is_stale);
        self.poll();
    }

    /// Asks for the safe state.
    pub fn make_safe(&mut self) {
        self.chip.make_safe();
        self.poll();
        assert!(self.units.values().all(|(.., ended)| *ended), "no unit is left behind");
    }

    /// Asks for a register.
    pub fn read(&mut self, register: u8) {
        self.chip.read(register);
        self.poll();
    }

    /// What was sent since this was asked last, as hexadecimal digits; `baud N` for a switch.
    pub fn take_sent(&mut self) -> Vec<(u64, String)> {
        let shown = |(at, transmit)| match transmit {
            Transmit::Bytes(bytes) => (at, bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            Transmit::Baud(baud) => (at, format!("baud {baud}")),
        };
        std::mem::take(&mut self.sent).into_iter().map(shown).collect()
    }

    /// What was said since this was asked last.
    pub fn take_events(&mut self) -> Vec<ChipEvent> {
        std::mem::take(&mut self.events)
    }

    /// The units that have not ended.
    pub fn open_units(&self) -> Vec<u64> {
        self.units.iter().filter(|(_, (.., ended))| !ended).map(|(id, _)| id.0).collect()
    }

    /// The hashes that were claimed of a unit.
    pub fn hashes(&self, unit: u64) -> HashCount {
        self.units[&WorkId(unit)].0
    }

    fn poll(&mut self) {
        let at = self.millis();
        while let Some(transmit) = self.chip.poll_transmit() {
            self.sent.push((at, transmit));
        }
        while let Some(event) = self.chip.poll_event() {
            let ChipEvent::Progress { work, hashes, finished } = event else {
                self.events.push(event);
                continue;
            };
            let (claimed, size, ended) =
                self.units.get_mut(&work).expect("progress of a unit that was loaded");
            assert!(!*ended, "unit {work} ends once, and nothing is said of it afterwards");
            *claimed += hashes;
            *ended = finished;
            assert!(*claimed <= *size, "unit {work} claims more hashes than it has");
        }
    }
}

/// A unit over the header's fields, with all versions that `mask` spells; its budget is its size.
pub fn unit(id: u64, header: &Header, mask: u32, received: Instant) -> WorkUnit {
    let job = JobTemplate {
        source: SourceId(0),
        epoch: Epoch(0),
        id: JobId("job".into()),
        prev: header.prev,
        version: header.version,
        version_mask: VersionMask(mask),
        nbits: header.nbits,
        ntime: header.ntime,
        max_ntime_roll: 0,
        received,
        merkle: Merkle::Fixed(header.root),
        share_target: Target::DIFFICULTY_1,
        clean: false,
    };
    let rollable = job.rollable();
    let versions = VersionRange { first: 0, count: rollable.count() };
    WorkUnit {
        id: WorkId(id),
        generation: Generation(0),
        root: header.root,
        extranonce2: Extranonce2::default(),
        rollable,
        versions,
        nonces: NonceRange::FULL,
        ntime: header.ntime,
        report_target: Target::DIFFICULTY_1,
        budget: u128::from(versions.count) << 32,
        job: Arc::new(job),
    }
}

/// A header from its 80 bytes.
///
/// # Panics
/// Where there are not 80 bytes, or nbits are none.
pub fn header(bytes: &[u8]) -> Header {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    Header {
        version: word(0),
        prev: BlockHash(bytes[4..36].try_into().expect("32 bytes")),
        root: MerkleRoot(bytes[36..68].try_into().expect("32 bytes")),
        ntime: word(68),
        nbits: CompactTarget::new(word(72)).expect("a target"),
        nonce: word(76),
    }
}
