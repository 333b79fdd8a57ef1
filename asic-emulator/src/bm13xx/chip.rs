//! One chip: registers, a job, and a sweep through it.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::answers::KnownAnswers;
use crate::hash::{Work, passes, zero_bits};
use crate::sweep::Sweep;

use super::frame::{Reply, reply};
use super::kind::ChipKind;

/// Registers that do something here; all others only keep what was written.
pub(super) mod register {
    pub(crate) const CHIP_ID: u8 = 0x00;
    pub(crate) const PLL: u8 = 0x08;
    pub(crate) const NONCE_OFFSET: u8 = 0x0c;
    pub(crate) const HASH_COUNTING: u8 = 0x10;
    pub(crate) const TICKET_MASK: u8 = 0x14;
    pub(crate) const MISC_CONTROL: u8 = 0x18;
    pub(crate) const UART_BAUD: u8 = 0x28;
    pub(crate) const CORE_MAILBOX: u8 = 0x3c;
    pub(crate) const MIDSTATE_CONFIG: u8 = 0xa4;
    pub(crate) const TEMPERATURE_CONTROL: u8 = 0xb0;
    pub(crate) const TEMPERATURE: u8 = 0xb4;
}

/// Bits of a chip's address, the upper ones of the counter below the core id.
const ADDRESS_BITS: u32 = 8;
/// Counters that each core of a chip that takes headers passes in a clock.
const NONCES_PER_CLOCK: f64 = 2.0;
/// The chips' crystal, whose ticks the hash counting number counts.
const CRYSTAL_MHZ: f64 = 25.0;
/// What enables a core, in core register 2.
const CORE_ENABLE: [u8; 4] = [0x80, 0x00, 0x82, 0xaa];
/// What is written to register B0, in order, before register B4 holds a BM1368's temperature.
const MEASURE: [[u8; 4]; 4] = [[0x80, 0, 0, 0], [0, 2, 0, 0], [1, 2, 0, 0], [0x10, 2, 0, 0]];

/// Work as a chip holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// The byte that names it.
    pub(super) id: u8,
    pub(super) search: Search,
}

/// What a job is to be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Search {
    /// A version, and header bytes 4 to 75.
    Header { version: u32, content: Box<[u8; 72]> },
    /// Midstates that share a tail.
    Midstates(Vec<Work>),
}

/// A nonce that was come upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) nonce: [u8; 4],
    /// Version roll, or index of the midstate.
    roll: u16,
    excess: u8,
    job: u8,
}

/// A chip of a chain.
#[derive(Debug)]
pub(super) struct Chip {
    kind: ChipKind,
    /// Distance of addresses that leaves room for all chips of the chain.
    interval: u32,
    /// `None` after the chain was made inactive.
    pub(super) address: Option<u8>,
    registers: BTreeMap<u8, [u8; 4]>,
    cores_enabled: bool,
    measured: usize,
    pub(super) celsius: f64,
    job: Option<Job>,
    sweep: Option<Sweep<Found>>,
    pub(super) factor: f64,
    pub(super) dead: bool,
}

impl Job {
    /// Reads what a frame carries between its length and its checksum.
    pub(super) fn decode(kind: ChipKind, bytes: &[u8]) -> Option<Self> {
        let (&[id, midstates], rest) = bytes.split_first_chunk()?;
        let (_start_nonce, rest) = rest.split_first_chunk::<4>()?;
        if !kind.takes_headers() {
            let (tail, rest) = rest.split_first_chunk::<12>()?;
            let sent = rest.as_chunks::<32>().0.iter().take(midstates.into());
            let works = sent.map(|midstate| Work::from_wire(midstate, tail)).collect();
            return Some(Self { id, search: Search::Midstates(works) });
        }
        let (time_and_bits, rest) = rest.split_first_chunk::<8>()?;
        let (root, rest) = rest.split_first_chunk::<32>()?;
        let (prev, version) = rest.split_first_chunk::<32>()?;
        let mut content = [0; 72];
        content[..32].copy_from_slice(&words_reversed(prev));
        content[32..64].copy_from_slice(&words_reversed(root));
        content[64..68].copy_from_slice(&time_and_bits[4..]);
        content[68..].copy_from_slice(&time_and_bits[..4]);
        let version = u32::from_le_bytes(version.try_into().ok()?);
        Some(Self { id, search: Search::Header { version, content: Box::new(content) } })
    }
}

impl Chip {
    pub(super) fn new(kind: ChipKind, interval: u32) -> Self {
        Self {
            kind,
            interval,
            address: Some(0),
            registers: BTreeMap::new(),
            cores_enabled: false,
            measured: 0,
            celsius: 25.0,
            job: None,
            sweep: None,
            factor: 1.0,
            dead: false,
        }
    }

    /// Returns to the state after reset; what is broken stays so.
    pub(super) fn reset(&mut self) {
        let Self { kind, interval, factor, dead, celsius, .. } = *self;
        *self = Self { factor, dead, celsius, ..Self::new(kind, interval) };
    }

    /// The value of a register.
    fn read(&self, register: u8) -> [u8; 4] {
        match register {
            register::CHIP_ID => {
                let [a, b, c] = self.kind.id();
                [a, b, c, self.address.unwrap_or(0)]
            }
            register::TEMPERATURE if self.kind == ChipKind::Bm1368 => {
                let code = (self.celsius + 299.514_4) / 0.171_342;
                if self.measured == MEASURE.len() { (code.round() as u32).to_be_bytes() } else { [0; 4] }
            }
            register::MISC_CONTROL if self.kind.takes_headers() => {
                self.registers.get(&register).copied().unwrap_or([0, 0, 0xc1, 0])
            }
            _ => self.registers.get(&register).copied().unwrap_or_default(),
        }
    }

    /// The frame that answers a read.
    pub(super) fn answer(&self, register: u8) -> Vec<u8> {
        let mut content = self.read(register).to_vec();
        content.extend([self.address.unwrap_or(0), register]);
        if self.rolls_versions() {
            content.extend([0, 0]);
        }
        reply(Reply::Register, &content)
    }

    /// Writes a register, which may change how the present job is searched.
    pub(super) fn write(&mut self, now: Instant, register: u8, value: [u8; 4], answers: &KnownAnswers) {
        match register {
            register::CHIP_ID => return,
            register::CORE_MAILBOX => self.cores_enabled |= value == CORE_ENABLE,
            register::TEMPERATURE_CONTROL => {
                let next = if MEASURE.get(self.measured) == Some(&value) { self.measured + 1 } else { 0 };
                self.measured = if value == MEASURE[0] { 1 } else { next };
            }
            _ => {}
        }
        self.registers.insert(register, value);
        self.search_again(now, answers);
    }

    /// Drops the present job for another.
    pub(super) fn load(&mut self, now: Instant, job: &Job, answers: &KnownAnswers) {
        self.job = Some(job.clone());
        let repeats = self.rolls_versions();
        self.sweep = Some(Sweep::new(now, 0.0, 0.0, repeats, Vec::new()));
        self.search_again(now, answers);
    }

    /// Takes what the sweep came upon by now, and its frame for a job byte.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Found> {
        let found = self.sweep.as_mut()?.poll(now)?;
        let reported = !self.kind.takes_headers() || self.read(register::MISC_CONTROL)[0] >> 4 != 0;
        reported.then_some(found)
    }

    /// The frame that reports a nonce; with `wrong_job` it names another job.
    pub(super) fn report(&self, found: &Found, nonce: [u8; 4], wrong_job: bool) -> Vec<u8> {
        let job = if wrong_job { found.job ^ 0x20 } else { found.job };
        let mut content = nonce.to_vec();
        content.extend([found.excess, self.kind.result_header(job, found.roll as u8)]);
        if self.rolls_versions() {
            content.extend(found.roll.to_be_bytes());
        }
        reply(Reply::Nonce, &content)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.sweep.as_ref().and_then(Sweep::next_due)
    }

    pub(super) fn is_hashing(&mut self, now: Instant) -> bool {
        self.sweep.as_mut().is_some_and(|sweep| sweep.is_running(now))
    }

    /// Its clock, 0 where there is none.
    pub(super) fn megahertz(&self) -> f64 {
        self.kind.megahertz(self.read(register::PLL)).unwrap_or(0.0)
    }

    /// Hashes a second while it has work.
    pub(super) fn hash_rate(&self) -> f64 {
        let able = !self.dead && (self.cores_enabled || !self.kind.takes_headers()) && self.swept() > 0.0;
        if able { self.kind.small_cores() * self.megahertz() * 1e6 * self.factor } else { 0.0 }
    }

    /// The divider of its UART, as the host wrote it last.
    pub(super) fn baud_divider(&self) -> u32 {
        let (register, mask) = if self.kind.takes_headers() {
            (register::UART_BAUD, 0xff)
        } else {
            (register::MISC_CONTROL, 0x1f)
        };
        self.registers.get(&register).map_or(26, |value| u32::from(value[2] & mask))
    }

    /// Takes up changed registers or health.
    pub(super) fn search_again(&mut self, now: Instant, answers: &KnownAnswers) {
        let Some(job) = self.job.take() else { return };
        let rate = match &job.search {
            _ if self.hash_rate() == 0.0 => 0.0,
            Search::Header { .. } => NONCES_PER_CLOCK * self.megahertz() * 1e6 * self.factor,
            Search::Midstates(works) => {
                let core_ids = f64::from(1u32 << (32 - self.kind.counter_bits()));
                self.hash_rate() / (core_ids * works.len().max(1) as f64)
            }
        };
        let (length, hits) = (self.length(), self.lay_out(&job, answers));
        if let Some(sweep) = &mut self.sweep {
            sweep.lay_out(now, length, hits);
            sweep.set_rate(now, rate);
        }
        self.job = Some(job);
    }

    /// Places of a whole sweep: counters, times groups of versions.
    fn length(&self) -> f64 {
        self.swept() * f64::from((1u32 << self.mask().count_ones()).div_ceil(self.kind.subcores()))
    }

    /// What the sweep will come upon, and where.
    fn lay_out(&self, job: &Job, answers: &KnownAnswers) -> Vec<(f64, Found)> {
        match &job.search {
            Search::Header { version, content } => {
                let known = answers.of_content(content).iter();
                let within = known.filter_map(|&(rolled, nonce)| {
                    let roll = self.roll(*version, rolled)?;
                    let mut header = [0; 80];
                    header[..4].copy_from_slice(&rolled.to_le_bytes());
                    header[4..76].copy_from_slice(&content[..]);
                    self.found(&Work::of_header(&header), nonce, roll, job.id)
                });
                within.collect()
            }
            Search::Midstates(works) => {
                let known = works.iter().enumerate().flat_map(|(index, work)| {
                    answers.of_work(work).iter().map(move |&nonce| (index as u16, work, nonce))
                });
                known.filter_map(|(index, work, nonce)| self.found(work, nonce, index, job.id)).collect()
            }
        }
    }

    /// A nonce, if the chip sweeps over it and its hash passes, with its place.
    fn found(&self, work: &Work, nonce: [u8; 4], roll: u16, job: u8) -> Option<(f64, Found)> {
        let counters = 1 << self.kind.counter_bits();
        let offset = f64::from(u32::from_be_bytes(nonce).wrapping_sub(self.first_counter()) % counters);
        let hash = work.hash(nonce);
        let mask = u32::from_le_bytes(self.read(register::TICKET_MASK));
        if offset >= self.swept() || !passes(&hash, mask) {
            return None;
        }
        let excess = zero_bits(&hash).saturating_sub(32 + mask.count_ones());
        let group =
            if self.kind.takes_headers() { rank(roll, self.mask()) / self.kind.subcores() } else { 0 };
        let place = f64::from(group) * self.swept() + offset;
        let excess = u8::try_from(2 * excess).unwrap_or(u8::MAX);
        Some((place, Found { nonce, roll, excess, job }))
    }

    /// Where its part of each core's counter begins.
    fn first_counter(&self) -> u32 {
        match self.kind {
            ChipKind::Bm1370 => {
                let value = u32::from_be_bytes(self.read(register::NONCE_OFFSET));
                if value >> 31 == 1 { (value & 0xffff) << 9 } else { 0 }
            }
            _ => u32::from(self.address.unwrap_or(0)) << (self.kind.counter_bits() - ADDRESS_BITS),
        }
    }

    /// How many counters of each core it sweeps before it rolls the version.
    fn swept(&self) -> f64 {
        if !self.kind.takes_headers() {
            return f64::from(self.interval << (self.kind.counter_bits() - ADDRESS_BITS));
        }
        let ticks = f64::from(u32::from_be_bytes(self.read(register::HASH_COUNTING)));
        let counters = f64::from(1u32 << self.kind.counter_bits());
        (NONCES_PER_CLOCK * ticks * self.megahertz() / CRYSTAL_MHZ).floor().min(counters)
    }

    /// Whether register A4 switched version rolling, and so the longer frames, on.
    pub(super) fn rolls_versions(&self) -> bool {
        self.kind.takes_headers() && self.read(register::MIDSTATE_CONFIG)[0] >> 7 == 1
    }

    /// The bits of the roll that may be set.
    fn mask(&self) -> u16 {
        let [_, _, high, low] = self.read(register::MIDSTATE_CONFIG);
        if self.rolls_versions() { u16::from_be_bytes([high, low]) } else { 0 }
    }

    /// The roll that makes one version of another, if the chip gets there.
    fn roll(&self, base: u32, version: u32) -> Option<u16> {
        let roll = ((version & !base) >> 13) as u16;
        (roll & !self.mask() == 0 && base | u32::from(roll) << 13 == version).then_some(roll)
    }
}

/// The place of a roll among those that a mask allows.
fn rank(roll: u16, mask: u16) -> u32 {
    let bits = (0..16).filter(|place| mask >> place & 1 == 1);
    bits.enumerate().map(|(i, place)| u32::from(roll >> place & 1) << i).sum()
}

/// The eight words of 32 bytes in reversed order, the bytes in each as they are.
fn words_reversed(bytes: &[u8; 32]) -> [u8; 32] {
    let mut words = *bytes.as_chunks::<4>().0.first_chunk::<8>().expect("32 bytes are 8 words");
    words.reverse();
    words.concat().try_into().expect("8 words are 32 bytes")
}
