//! BM1362, BM1366, BM1368, BM1370 and BM1397: chains behind framed commands (`55 AA` … `AA 55`).
//!
//! The later four are given whole headers and roll versions themselves; BM1397 is given up to four midstates.

mod bringup;
mod frame;
mod model;
mod pll;
mod reply;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::share::Candidate;
use miner_core::types::HashRate;
use miner_core::work::WorkUnit;

pub use self::frame::{Command, To};
pub use self::model::Chip;
pub use self::pll::{Pll, PllLimits};
pub use self::reply::{Format, Reply, ReplyParser};

use self::bringup::CHIP_ID;
use self::model::{ROLL_MASK, ROLL_SHIFT};
use super::outbox::{Outbox, Script};
use super::workload::{LONGEST, PART, Workload};
use super::{ChipEvent, ChipFault, ChipProtocol, TicketMask, Transmit};
use crate::slots::{Slots, Unclaimed};

/// Baud rate of both ends after a reset.
pub const RESET_BAUD: u32 = 115_200;
/// The most chips on one chain: beyond it their addresses would not be even.
const MAX_CHIPS: u16 = 128;

/// A chain, as its board has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bm13xxConfig {
    /// The model of all its chips.
    pub chip: Chip,
    /// How many there must be; `None`: as many as answer.
    pub chips: Option<u16>,
    /// Their clock in MHz, within [`Chip::clocks`].
    pub mhz: f64,
    /// The host's baud rate once they are set up; `None`: it stays at [`RESET_BAUD`].
    pub baud: Option<u32>,
    /// The easiest mask they are ever set to; [`TicketMask::floor`] is the backend's report floor.
    ///
    /// Within it, the mask follows the report target of the units.
    pub easiest: TicketMask,
}

impl Bm13xxConfig {
    /// A chain that stays at the baud rate of the reset and reports whatever is asked.
    pub fn new(chip: Chip, mhz: f64) -> Self {
        Self { chip, chips: None, mhz, baud: None, easiest: TicketMask::EASIEST }
    }
}

/// What a chain cannot be set to.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Bm13xxError {
    /// The clock is outside of what is known of the model.
    #[error("{chip} runs at {least} to {most} MHz, not at {mhz}")]
    Clock {
        /// The model.
        chip: &'static str,
        /// What was asked, MHz.
        mhz: f64,
        /// The slowest, MHz.
        least: f64,
        /// The fastest, MHz.
        most: f64,
    },
    /// The baud rate is none of those that the model's divider is known for.
    #[error("{chip} has no setting for {baud} baud")]
    Baud {
        /// The model.
        chip: &'static str,
        /// What was asked.
        baud: u32,
    },
}

/// A chain of BM13xx chips.
#[derive(Debug)]
pub struct Bm13xx {
    config: Bm13xxConfig,
    phase: Phase,
    parser: ReplyParser,
    chips: u16,
    /// Ticks of one sweep of theirs.
    sweep: u32,
    slots: Slots<Arc<WorkUnit>>,
    workload: Workload,
    out: Outbox,
    /// The version bits that the chips were last told to roll, shifted down.
    roll: u16,
    ticket: TicketMask,
}

#[derive(Debug)]
enum Phase {
    Off,
    /// Who answers is collected.
    Counting(Script, Vec<u32>),
    SettingUp(Script),
    Mining,
    Stopped,
}

impl Bm13xx {
    /// A chain that was just reset. Nothing is sent yet.
    pub fn new(config: Bm13xxConfig) -> Result<Self, Bm13xxError> {
        let (chip, mhz) = (config.chip.name(), config.mhz);
        let clocks = config.chip.clocks();
        if !clocks.contains(&mhz) {
            return Err(Bm13xxError::Clock { chip, mhz, least: *clocks.start(), most: *clocks.end() });
        }
        let bauds = config.chip.model().bauds;
        if let Some(baud) = config.baud.filter(|baud| bauds.iter().all(|(host, ..)| host != baud)) {
            return Err(Bm13xxError::Baud { chip, baud });
        }
        let baud = config.baud.unwrap_or(RESET_BAUD);
        let (half, stride) = config.chip.model().ids.ring();
        Ok(Self {
            phase: Phase::Off,
            parser: ReplyParser::new(Format::Either),
            chips: 0,
            sweep: 0,
            slots: Slots::new(half, stride),
            // A job has at most 152 bytes of ten bits each; a quarter more, so that frames never queue up.
            workload: Workload::new(HashRate(0.0), Duration::from_secs(1900) / baud, PART),
            out: Outbox::default(),
            roll: 0xffff,
            ticket: TicketMask::EASIEST,
            config,
        })
    }

    fn begin(&mut self, now: Instant) {
        self.phase = Phase::Counting(Script::new(bringup::counting(self.config.chip)), Vec::new());
        self.advance(now);
    }

    /// Goes on with what is being done, as far as time allows.
    fn advance(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Off | Phase::Stopped => {}
            Phase::Counting(script, _) => {
                if script.run(now, &mut self.out) {
                    self.on_counted(now);
                }
            }
            Phase::SettingUp(script) => {
                if script.run(now, &mut self.out) {
                    self.on_set_up(now);
                }
            }
            Phase::Mining => {
                self.workload.handle_timeout(now, &mut self.out);
                self.work_on(now);
            }
        }
    }

    fn on_counted(&mut self, now: Instant) {
        for reply in self.parser.finish() {
            self.on_reply(reply);
        }
        let Phase::Counting(_, ids) = &mut self.phase else { return };
        let ids = std::mem::take(ids);
        match self.check(&ids) {
            Ok(chips) => {
                self.chips = chips;
                self.sweep = bringup::sweep_ticks(&self.config, chips);
                self.phase = Phase::SettingUp(Script::new(bringup::setup(&self.config, chips)));
                self.parser.set_format(if self.config.chip.rolls() { Format::Long } else { Format::Short });
                self.advance(now);
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// How many chips there are, if they are what was expected.
    fn check(&self, ids: &[u32]) -> Result<u16, ChipFault> {
        let model = self.config.chip.model();
        if let Some(other) = ids.iter().find(|id| *id >> 16 != u32::from(model.id)) {
            let said = other >> 16;
            return Err(ChipFault::WrongChips(format!(
                "a chip says it is a BM{said:04x}, not a {}",
                model.name
            )));
        }
        let (found, expected) = (ids.len(), self.config.chips);
        match u16::try_from(found) {
            Ok(0) => Err(ChipFault::NoAnswer { doing: "counting chips" }),
            Ok(chips) if chips <= MAX_CHIPS && expected.is_none_or(|expected| expected == chips) => Ok(chips),
            _ => {
                let expected = expected.unwrap_or(MAX_CHIPS);
                Err(ChipFault::WrongChips(format!("{found} chips answer where {expected} are expected")))
            }
        }
    }

    fn on_set_up(&mut self, now: Instant) {
        self.workload.set_rate(self.config.chip.rate(self.chips, self.config.mhz));
        self.phase = Phase::Mining;
        self.out.say(ChipEvent::Ready { chips: self.chips });
        self.work_on(now);
    }

    /// Sends the next unit if the chips have none.
    fn work_on(&mut self, now: Instant) {
        if !self.workload.is_idle() {
            return;
        }
        let longest = self.epoch();
        let Some(unit) = self.workload.next(now, longest, &mut self.out) else { return };
        self.set_registers_for(&unit);
        let place = self.slots.insert(Arc::clone(&unit));
        let id = self.config.chip.model().ids.byte(place);
        self.out.send(if self.config.chip.rolls() {
            frame::full_job(id, &unit.header(unit.job.version, 0))
        } else {
            let headers = unit.header_versions().take(frame::MIDSTATES);
            let headers: Vec<_> = headers.map(|version| unit.header(version, 0).to_bytes()).collect();
            frame::midstate_job(id, &headers)
        });
    }

    /// How long the next unit may be worked on: then chips that roll versions begin anew.
    fn epoch(&self) -> Duration {
        let (chip, versions) = (self.config.chip, self.workload.peek().map_or(1, |unit| unit.versions.count));
        if !chip.rolls() {
            return LONGEST;
        }
        bringup::epoch(self.sweep, versions, chip.model().subcores).mul_f64(PART)
    }

    /// Has the chips roll what the unit allows and report what it asks for.
    fn set_registers_for(&mut self, unit: &WorkUnit) {
        let roll = ((unit.rollable.0 & ROLL_MASK) >> ROLL_SHIFT) as u16;
        if self.config.chip.rolls() && std::mem::replace(&mut self.roll, roll) != roll {
            self.out.send(bringup::rolling(roll).encode());
        }
        let ticket = TicketMask::for_target(unit.report_target).max(self.config.easiest);
        if std::mem::replace(&mut self.ticket, ticket) != ticket {
            self.out.send(bringup::ticket(ticket).encode());
        }
    }

    fn on_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Register { address, register, value } => match &mut self.phase {
                Phase::Counting(_, ids) if register == CHIP_ID && ids.len() <= usize::from(MAX_CHIPS) => {
                    ids.push(value);
                }
                Phase::Mining => {
                    let chip = self.chip_at(address);
                    self.out.say(ChipEvent::Register { chip, register, value });
                }
                _ => {}
            },
            Reply::Nonce { nonce, job, roll, .. } => self.on_nonce(nonce, job, roll),
        }
    }

    fn on_nonce(&mut self, nonce: [u8; 4], job: u8, roll: u16) {
        let model = self.config.chip.model();
        let (place, midstate) = model.ids.parse(job);
        let nonce_value = u32::from_le_bytes(nonce);
        // Midstates beyond the unit's versions are the first ones again.
        let versions = self.slots.get(place).map_or(1, |unit| unit.versions.count.max(1));
        let nth = midstate as u32 % versions;
        let unit = match self.slots.claim(place, (nonce_value, u32::from(roll) << 2 | nth)) {
            Ok(unit) => unit,
            Err(Unclaimed::Late) => return self.out.complain(ChipFault::LateNonce),
            Err(Unclaimed::Duplicate) => return self.out.complain(ChipFault::DuplicateNonce),
        };
        let version = if self.config.chip.rolls() {
            unit.job.version | u32::from(roll) << ROLL_SHIFT
        } else {
            unit.version_at(unit.versions.first + nth)
        };
        let candidate = Candidate { work: unit.id, version, ntime: unit.ntime, nonce: nonce_value };
        let chip = match model.address_at {
            Some(low_end) => Some(self.chip_at((u32::from_be_bytes(nonce) >> low_end) as u8)),
            None => (self.chips == 1).then_some(0),
        };
        self.out.say(ChipEvent::Nonce { candidate, chip });
    }

    /// The chip with an address, or whose part of the nonces begins there.
    fn chip_at(&self, address: u8) -> u16 {
        (u16::from(address) / bringup::interval(self.chips)).min(self.chips.saturating_sub(1))
    }

    fn fail(&mut self, fault: ChipFault) {
        self.phase = Phase::Stopped;
        self.workload.end_all(&mut self.out);
        self.out.complain(fault);
    }
}

impl ChipProtocol for Bm13xx {
    fn load(&mut self, now: Instant, unit: WorkUnit) {
        self.workload.push(unit);
        match self.phase {
            Phase::Mining => self.work_on(now),
            Phase::Stopped => self.workload.end_all(&mut self.out),
            _ => {}
        }
    }

    fn flush(&mut self, now: Instant, is_stale: &dyn Fn(&WorkUnit) -> bool) {
        self.workload.flush(now, is_stale, &mut self.out);
        if matches!(self.phase, Phase::Mining) {
            self.work_on(now);
        }
    }

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) {
        if matches!(self.phase, Phase::Off | Phase::Stopped) {
            return;
        }
        for reply in self.parser.push(bytes) {
            self.on_reply(reply);
        }
        self.out.complain_of_garbage(self.parser.take_dropped());
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Off => self.begin(now),
            _ => self.advance(now),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Counting(script, _) | Phase::SettingUp(script) => script.deadline(),
            Phase::Mining => self.workload.deadline(),
            Phase::Off | Phase::Stopped => None,
        }
    }

    fn read(&mut self, register: u8) {
        if matches!(self.phase, Phase::Mining) {
            self.out.send(Command::Read(To::All, register).encode());
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<ChipEvent> {
        self.out.poll_event()
    }

    fn make_safe(&mut self) {
        self.out.unsend();
        self.workload.end_all(&mut self.out);
        if !matches!(self.phase, Phase::Off) {
            bringup::halt(self.config.chip).into_iter().for_each(|command| self.out.send(command.encode()));
        }
        self.phase = Phase::Stopped;
    }
}
