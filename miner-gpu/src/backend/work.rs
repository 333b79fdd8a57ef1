//! The units in hand, cut into pieces of one dispatch each.

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use miner_core::backend::{BackendEvent, BackendPort};
use miner_core::sha256d::Prepared;
use miner_core::share::Candidate;
use miner_core::types::{HashCount, WorkId};
use miner_core::work::WorkUnit;

use super::{MAX_VERSIONS, STEP};
use crate::kernel::{Form, HITS, Kernel};
use crate::pipeline::{Found, fitting};

/// Time between two reports of a unit's progress.
const REPORT: Duration = Duration::from_millis(250);

/// How often stale units are looked for where nothing is searched.
const LOOK: Duration = Duration::from_millis(250);

/// What one dispatch searches: some headers of a unit, and a run of nonces for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) work: WorkId,
    /// The place of its headers among the unit's groups.
    pub(super) group: usize,
    pub(super) first: u32,
    pub(super) nonces: u64,
}

/// Headers that are searched at once.
pub(super) struct Group {
    headers: Box<[Prepared]>,
    /// The version index of the first one.
    first_version: u32,
    /// What the kernel reads of them.
    pub(super) words: Box<[u32]>,
    /// Whether the kernel for several headers is theirs.
    pub(super) several: bool,
}

/// A unit that is worked on.
struct Running {
    unit: WorkUnit,
    /// Its headers, once a kernel is known to make them ready for.
    groups: Option<Box<[Group]>>,
    /// Nonces to try with each header, fewer than the unit has if its budget says so.
    nonces: u64,
    /// The group that the next new piece is of, and its nonces cut off so far.
    group: usize,
    offset: u64,
    /// Pieces to be searched once more.
    again: VecDeque<Piece>,
    in_flight: usize,
    /// The most hashes in a piece: fewer once there were too many hits in one.
    most: u64,
    unreported: HashCount,
    reported: Instant,
}

/// The kernels that units are prepared for. They stay the same from device to device.
struct Kernels {
    single: Kernel,
    several: Option<Kernel>,
}

/// The units in hand, the oldest first. Their number is bounded by credit.
pub(super) struct Work<'a> {
    port: &'a BackendPort,
    kernels: Option<Kernels>,
    units: VecDeque<Running>,
    closed: bool,
}

impl<'a> Work<'a> {
    pub(super) fn new(port: &'a BackendPort) -> Self {
        Self { port, kernels: None, units: VecDeque::new(), closed: false }
    }

    pub(super) fn port(&self) -> &BackendPort {
        self.port
    }

    /// Has units prepared for these kernels, unless they are already prepared for some.
    pub(super) fn use_kernels(&mut self, single: &Kernel, several: Option<&Kernel>) {
        self.kernels.get_or_insert_with(|| Kernels { single: single.clone(), several: several.cloned() });
    }

    /// Takes in what waits in the port, and lets go of units that have become worthless. `false`: the port is closed.
    pub(super) fn take_in(&mut self) -> bool {
        while !self.closed {
            match self.port.try_next_unit() {
                Ok(unit) => self.add(unit),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.closed = true,
            }
        }
        for running in &mut self.units {
            if self.port.is_stale(&running.unit) {
                running.give_up();
            }
        }
        self.finish_done();
        !self.closed
    }

    /// Waits for a unit for so long. `false`: the port is closed.
    pub(super) fn wait(&mut self, patience: Duration) -> bool {
        match self.port.next_unit_timeout(patience) {
            Ok(unit) => self.add(unit),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.closed = true,
        }
        self.take_in()
    }

    /// Waits for so long, still taking units in and letting go of stale ones. `false`: the port is closed.
    pub(super) fn rest(&mut self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.take_in();
            }
            if !self.wait(left.min(LOOK)) {
                return false;
            }
        }
    }

    /// Cuts off the next piece, of at most about `hashes`; `fit` says which number of nonces a dispatch can try.
    pub(super) fn next_piece(&mut self, hashes: u64, fit: impl Fn(&Kernel, u64) -> u64) -> Option<Piece> {
        let kernels = self.kernels.as_ref()?;
        self.units.iter_mut().find_map(|running| {
            let piece = running.next_piece(hashes, kernels, &fit)?;
            running.in_flight += 1;
            Some(piece)
        })
    }

    /// The headers of a piece in flight, and the most significant word of its target: a little more passes it than
    /// should.
    pub(super) fn of(&self, piece: &Piece) -> (&Group, u32) {
        let running = self.units.iter().find(|running| running.unit.id == piece.work);
        let running = running.expect("a unit with a piece in flight is kept");
        (running.group(piece), running.unit.report_target.high_word())
    }

    /// A piece was searched.
    pub(super) fn done(&mut self, piece: Piece, found: &Found) {
        let running = self.units.iter_mut().find(|running| running.unit.id == piece.work);
        let (Some(running), Some(kernels)) = (running, &self.kernels) else { return };
        running.in_flight -= 1;
        if !found.overflowed() {
            running.report_hits(&piece, &found.hits, self.port);
            running.count(&piece);
        } else if !running.cut(piece, found.count, kernels) {
            // Too many hits in the least that a dispatch can try.
            let hits = running.search_here(&piece);
            running.report_hits(&piece, &hits, self.port);
            running.count(&piece);
        }
        if running.reported.elapsed() >= REPORT {
            running.report(self.port, false);
        }
        self.finish_done();
    }

    /// A piece was not searched: its device was lost.
    pub(super) fn take_back(&mut self, piece: Piece) {
        if let Some(running) = self.units.iter_mut().find(|running| running.unit.id == piece.work) {
            running.in_flight -= 1;
            running.again.push_back(piece);
        }
    }

    /// Hands everything back unsearched: no device will do it.
    pub(super) fn abandon(&mut self) {
        self.take_in();
        self.units.iter_mut().for_each(Running::give_up);
        self.finish_done();
    }

    fn add(&mut self, unit: WorkUnit) {
        self.units.push_back(Running::new(unit));
    }

    fn finish_done(&mut self) {
        let port = self.port;
        self.units.retain_mut(|running| {
            if running.is_done() {
                running.report(port, true);
            }
            !running.is_done()
        });
    }
}

impl Kernels {
    fn pick(&self, several: bool) -> &Kernel {
        self.several.as_ref().filter(|_| several).unwrap_or(&self.single)
    }
}

impl Running {
    fn new(unit: WorkUnit) -> Self {
        // A unit outside the granularity is given up unsearched.
        let fits = unit.budget > 0
            && (1..=MAX_VERSIONS).contains(&unit.versions.count)
            && u64::from(unit.nonces.start).is_multiple_of(STEP)
            && unit.nonces.len.is_multiple_of(STEP);
        let budget = unit.budget.div_ceil(u128::from(unit.versions.count.max(1)));
        let nonces = budget.min(u128::from(unit.nonces.len)) as u64;
        Self {
            nonces: nonces.next_multiple_of(STEP).min(unit.nonces.len),
            unit,
            groups: (!fits).then(Box::default),
            group: 0,
            offset: 0,
            again: VecDeque::new(),
            in_flight: 0,
            most: u64::MAX,
            unreported: 0,
            reported: Instant::now(),
        }
    }

    fn group(&self, piece: &Piece) -> &Group {
        &self.groups.as_ref().expect("a unit with pieces is prepared")[piece.group]
    }

    fn next_piece(
        &mut self,
        hashes: u64,
        kernels: &Kernels,
        fit: impl Fn(&Kernel, u64) -> u64,
    ) -> Option<Piece> {
        if let Some(piece) = self.again.pop_front() {
            return Some(piece);
        }
        let groups = self.groups.get_or_insert_with(|| groups(&self.unit, kernels));
        if self.offset == self.nonces {
            (self.group, self.offset) = (self.group + 1, 0);
        }
        let group = groups.get(self.group)?;
        let want = hashes.min(self.most) / group.headers.len() as u64;
        let nonces = fit(kernels.pick(group.several), want.min(self.nonces - self.offset));
        let first = self.unit.nonces.start.wrapping_add(self.offset as u32);
        self.offset += nonces;
        Some(Piece { work: self.unit.id, group: self.group, first, nonces })
    }

    /// Cuts a piece with too many hits into smaller ones. `false`: there are none.
    fn cut(&mut self, piece: Piece, count: u32, kernels: &Kernels) -> bool {
        let group = self.group(&piece);
        let (form, headers) = (*kernels.pick(group.several).form(), group.headers.len() as u64);
        let part = fair_part(piece.nonces, count, &form);
        if part >= piece.nonces {
            return false;
        }
        self.most = self.most.min(part * headers);
        self.again.extend(parts(piece, part, &form));
        true
    }

    /// Searches a piece on this thread.
    fn search_here(&self, piece: &Piece) -> Vec<(u32, u32)> {
        let limit = self.unit.report_target.high_word();
        let mut hits = Vec::new();
        for (index, header) in (0..).zip(&self.group(piece).headers) {
            let nonces = (0..piece.nonces).map(|i| piece.first.wrapping_add(i as u32));
            let hit = |&nonce: &u32| header.hash(nonce).to_target().high_word() <= limit;
            hits.extend(nonces.filter(hit).map(|nonce| (nonce, index)));
        }
        hits
    }

    /// What passes the limit and misses the target is no hit; what misses the limit too is the device's mistake, and
    /// for the scheduler to count.
    fn report_hits(&self, piece: &Piece, hits: &[(u32, u32)], port: &BackendPort) {
        let Group { headers, first_version, .. } = self.group(piece);
        let target = self.unit.report_target;
        for &(nonce, index) in hits {
            let header = headers.get(index as usize);
            let hash = header.map(|header| header.hash(nonce));
            let near = hash.is_some_and(|hash| {
                !target.is_met_by(&hash) && hash.to_target().high_word() <= target.high_word()
            });
            if !near {
                let index = index.min(headers.len() as u32 - 1);
                let version = self.unit.version_at(first_version + index);
                let hit = Candidate { work: self.unit.id, version, ntime: self.unit.ntime, nonce };
                port.report(BackendEvent::Hit(hit));
            }
        }
    }

    fn count(&mut self, piece: &Piece) {
        let headers = self.group(piece).headers.len() as u64;
        self.unreported += u128::from(piece.nonces * headers);
    }

    fn report(&mut self, port: &BackendPort, finished: bool) {
        let hashes = std::mem::take(&mut self.unreported);
        self.reported = Instant::now();
        port.report(BackendEvent::Progress { work: self.unit.id, hashes, finished });
    }

    /// Leaves nothing to cut off.
    fn give_up(&mut self) {
        self.group = self.groups.get_or_insert_default().len();
        self.offset = 0;
        self.again.clear();
    }

    fn is_done(&self) -> bool {
        let Some(groups) = &self.groups else { return false };
        let last = self.group + 1 == groups.len() && self.offset == self.nonces;
        (last || self.group >= groups.len()) && self.again.is_empty() && self.in_flight == 0
    }
}

/// Nonces of a dispatch that hardly ever overflows, where so many had `count` hits: half of the room is for it.
fn fair_part(nonces: u64, count: u32, form: &Form) -> u64 {
    fitting(form, nonces * u64::from(HITS / 2) / u64::from(count))
}

/// A piece in parts of at most so many nonces, each of which one dispatch can try.
fn parts(piece: Piece, most: u64, form: &Form) -> impl Iterator<Item = Piece> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let left = piece.nonces.checked_sub(offset).filter(|&left| left > 0)?;
        let part = Piece {
            first: piece.first.wrapping_add(offset as u32),
            nonces: fitting(form, most.min(left)),
            ..piece
        };
        offset += part.nonces;
        Some(part)
    })
}

/// The headers of a unit in groups: full ones for the kernel for several, the rest one by one.
fn groups(unit: &WorkUnit, kernels: &Kernels) -> Box<[Group]> {
    let headers: Vec<[u8; 80]> =
        unit.header_versions().map(|version| unit.header(version, 0).to_bytes()).collect();
    let size = kernels.several.as_ref().map_or(1, |kernel| kernel.form().midstates as usize);
    let full = headers.len() / size * size;
    let several = headers[..full].chunks(size).map(|group| (group, size > 1));
    let rest = headers[full..].chunks(1).map(|group| (group, false));
    let mut first_version = unit.versions.first;
    several
        .chain(rest)
        .map(|(group, several)| {
            let made = Group {
                headers: group.iter().map(Prepared::from_bytes).collect(),
                first_version,
                words: kernels.pick(several).words(group),
                several,
            };
            first_version += group.len() as u32;
            made
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_piece_are_all_of_it_and_each_is_a_dispatch() {
        let small = Form { workgroup: 32, nonces: 4, ..Form::DEFAULT };
        for form in [Form::DEFAULT, small] {
            for nonces in [form.granule(), 3 << 16, (1 << 30) + (1 << 16), 1 << 31] {
                let nonces = fitting(&form, nonces);
                let piece = Piece { work: WorkId(7), group: 1, first: u32::MAX - 65_535, nonces };
                for count in [HITS + 1, 300, 1001, 500_000] {
                    let most = fair_part(nonces, count, &form);
                    let mut offset = 0;
                    for part in parts(piece, most, &form) {
                        let first = piece.first.wrapping_add(offset as u32);
                        assert_eq!((part.work, part.group, part.first), (WorkId(7), 1, first));
                        let (nonces, expressed) = (part.nonces, fitting(&form, part.nonces));
                        assert_eq!(nonces, expressed, "{form} {piece:?} {count}");
                        offset += nonces;
                    }
                    assert_eq!(offset, nonces, "{form} {piece:?} {count}");
                }
            }
        }
    }
}
