//! The devices that things go wrong with, the drivers of them, and the work that they are given.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use asic_emulator::{Bm1384, Device, Icarus, IcarusKind, KNOWN_ANSWERS, KnownAnswers, preset};
use miner_core::backend::BackendInfo;
use miner_core::job::{Extranonce2, JobId, JobTemplate, Merkle, VersionMask};
use miner_core::types::{BlockHash, CompactTarget, Epoch, SourceId, Target};
use serde_json::Value;

use super::lab::{Lab, Pool};
use crate::board::bitaxe::{self, Bitaxe};
use crate::board::compac::{Compac, CompacKind};
use crate::board::place::Place;
use crate::board::reset::FtdiCbus;
use crate::board::stick::{Stick, StickKind};
use crate::board::{Board, BoardError, BoardSettings, Opened};
use crate::chip::rig::{header as header_of, unit};

/// Version bits that chips roll.
const ROLLED: u32 = 0x1fff_e000;
/// Bits of a nonce that most devices count through, at least; and those that a core of a BM1397 does.
const COUNTED: u32 = 31;
const COUNTED_BM1397: u32 = 22;
/// Nonces in the first so-manieth of what is counted through are come upon within seconds.
const SOON: u64 = 4;

/// A device that lode drives, as people would set it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Subject {
    Icarus,
    Erupter,
    AntMiner,
    Compac,
    TwoPac,
    CompacF,
    R909,
    CompacA1,
    CompacA2,
    Gamma,
    Supra,
    Ultra,
}

/// A driver's board, whatever its ports are.
enum Made {
    Stick(Stick),
    Compac(CompacKind, Compac),
    Bitaxe(Bitaxe),
}

/// A board whose ports are those of a lab.
pub(super) struct Rack {
    made: Made,
    pub(super) lab: Arc<Lab>,
}

impl Subject {
    /// All of them.
    pub(super) const ALL: [Self; 12] = [
        Self::Icarus,
        Self::Erupter,
        Self::AntMiner,
        Self::Compac,
        Self::TwoPac,
        Self::CompacF,
        Self::R909,
        Self::CompacA1,
        Self::CompacA2,
        Self::Gamma,
        Self::Supra,
        Self::Ultra,
    ];

    /// The emulated device.
    pub(super) fn device(self) -> Box<dyn Device> {
        let answers = answers();
        let icarus = |kind, answers| Box::new(Icarus::new(kind, answers, 0)) as Box<dyn Device>;
        match self {
            Self::Icarus => icarus(IcarusKind::Icarus, answers),
            Self::Erupter => icarus(IcarusKind::Erupter, answers),
            Self::AntMiner => icarus(IcarusKind::AntMinerU1, answers),
            Self::Compac => Box::new(Bm1384::new(1, answers)),
            Self::TwoPac => Box::new(Bm1384::new(2, answers)),
            Self::CompacF => preset("compac-f", answers).expect("a preset"),
            Self::R909 => preset("r909", answers).expect("a preset"),
            Self::CompacA1 => preset("compac-a1", answers).expect("a preset"),
            Self::CompacA2 => preset("compac-a2", answers).expect("a preset"),
            Self::Gamma => preset("gamma", answers).expect("a preset"),
            Self::Supra => preset("supra", answers).expect("a preset"),
            Self::Ultra => preset("ultra", answers).expect("a preset"),
        }
    }

    /// Slow enough for difficulty 1 to be what it reports, and for a ramp of few steps.
    fn made(self) -> Made {
        let place = || Place::Named(Vec::new());
        let at = |mhz| BoardSettings { mhz: Some(mhz), millivolts: None };
        let stick =
            |kind, settings| Made::Stick(Stick::new(kind, "k", place(), settings).expect("in bounds"));
        let compac =
            |kind, mhz| Made::Compac(kind, Compac::new(kind, "k", place(), at(mhz)).expect("in bounds"));
        let bitaxe = |model| {
            let settings = BoardSettings { millivolts: Some(1150), ..at(100.0) };
            Made::Bitaxe(Bitaxe::new(model, "k", place(), settings).expect("in bounds"))
        };
        match self {
            Self::Icarus => stick(StickKind::Icarus, BoardSettings::default()),
            Self::Erupter => stick(StickKind::Erupter, BoardSettings::default()),
            Self::AntMiner => stick(StickKind::AntMiner, at(200.0)),
            Self::Compac => stick(StickKind::Compac, at(112.5)),
            Self::TwoPac => stick(StickKind::TwoPac, at(112.5)),
            Self::CompacF => compac(CompacKind::F, 100.0),
            Self::R909 => compac(CompacKind::R909, 100.0),
            Self::CompacA1 => compac(CompacKind::A1, 100.0),
            Self::CompacA2 => compac(CompacKind::A2, 100.0),
            Self::Gamma => bitaxe(bitaxe::GAMMA),
            Self::Supra => bitaxe(bitaxe::SUPRA),
            Self::Ultra => bitaxe(bitaxe::ULTRA),
        }
    }

    /// What the driver says of it.
    pub(super) fn info(self) -> BackendInfo {
        self.made().info()
    }

    /// What it mines on: a clean job comes when it is through with the one before, and in the middle of it.
    pub(super) fn pool(self) -> Pool {
        let slow = matches!(self, Self::Icarus | Self::Erupter);
        Pool { jobs: Arc::clone(self.jobs()), every: Duration::from_millis(if slow { 4000 } else { 1500 }) }
    }

    /// A job for each header that somebody solved before, with a nonce that is soon come upon.
    fn jobs(self) -> &'static Arc<[JobTemplate]> {
        static JOBS: [OnceLock<Arc<[JobTemplate]>>; 2] = [const { OnceLock::new() }; 2];
        match self {
            Self::CompacF | Self::R909 => JOBS[0].get_or_init(|| jobs(COUNTED_BM1397)),
            _ => JOBS[1].get_or_init(|| jobs(COUNTED)),
        }
    }

    /// The board, on a lab's ports.
    pub(super) fn board(self, lab: &Arc<Lab>) -> Box<Rack> {
        Box::new(Rack { made: self.made(), lab: Arc::clone(lab) })
    }

    /// How many ports it has.
    pub(super) fn ports(self) -> usize {
        if self.has_sensors() { 2 } else { 1 }
    }

    /// Whether it has a switch by which it can be made safe at once.
    pub(super) fn has_switch(self) -> bool {
        matches!(self, Self::CompacF | Self::R909 | Self::CompacA1 | Self::CompacA2) || self.has_firmware()
    }

    /// Whether power and reset hang on firmware: one that hangs can't be switched off.
    pub(super) fn has_firmware(self) -> bool {
        matches!(self, Self::Gamma | Self::Supra | Self::Ultra)
    }

    /// Whether its temperature is measured.
    pub(super) fn has_sensors(self) -> bool {
        matches!(self, Self::CompacA1 | Self::CompacA2) || self.has_firmware()
    }
}

impl Made {
    fn info(&self) -> BackendInfo {
        match self {
            Self::Stick(board) => board.info(),
            Self::Compac(_, board) => board.info(),
            Self::Bitaxe(board) => board.info(),
        }
    }
}

impl Board for Rack {
    fn info(&self) -> BackendInfo {
        self.made.info()
    }

    fn open(&mut self) -> Result<Opened, BoardError> {
        let (lab, sleep) = (&self.lab, self.lab.sleep());
        Ok(match &self.made {
            Made::Stick(stick) => {
                let [link] = lab.open()?;
                stick.assemble(link, lab.reopen::<1>())
            }
            Made::Compac(CompacKind::F | CompacKind::R909, compac) => {
                let [link] = lab.open()?;
                compac.assemble_f(link, Box::new(FtdiCbus(lab.bridge())), sleep)
            }
            Made::Compac(CompacKind::A1 | CompacKind::A2, compac) => {
                let [link, telemetry] = lab.open()?;
                compac.assemble_a1(link, telemetry, lab.bridge(), sleep)
            }
            Made::Bitaxe(bitaxe) => {
                let [control, data] = lab.open()?;
                bitaxe.assemble(control, data, lab.reopen::<2>(), sleep)
            }
        })
    }
}

fn answers() -> Arc<KnownAnswers> {
    static ANSWERS: OnceLock<Arc<KnownAnswers>> = OnceLock::new();
    let read = || Arc::new(KnownAnswers::read(KNOWN_ANSWERS).expect("a good file"));
    Arc::clone(ANSWERS.get_or_init(read))
}

/// The jobs for devices that count through so many bits of a nonce.
fn jobs(counted: u32) -> Arc<[JobTemplate]> {
    let counters = 1u64 << counted;
    let file: Value = serde_json::from_str(KNOWN_ANSWERS).expect("a good file");
    let extranonce1 = bytes(&file["extranonce1"]);
    let mut found = Vec::new();
    for job in file["jobs"].as_array().expect("jobs") {
        let template = template(job, &extranonce1);
        for answer in job["answers"].as_array().expect("answers") {
            let nonces = answer["nonces"].as_array().expect("nonces").iter().map(bytes);
            let nonces = nonces.map(|nonce| u32::from_be_bytes(nonce.try_into().expect("four bytes")));
            let place = nonces.map(|nonce| u64::from(nonce) % counters).min();
            let extranonce2 = bytes(&answer["extranonce2"]);
            let value = extranonce2.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte));
            if place.is_some_and(|place| place < counters / SOON) {
                let root = template.merkle_root(Extranonce2 { value, size: extranonce2.len() as u8 });
                found.push(JobTemplate { merkle: Merkle::Fixed(root), ..template.clone() });
            }
        }
    }
    found.push(block_1());
    assert!(found.len() >= 3, "{} headers are soon solved", found.len());
    found.into()
}

fn block_1() -> JobTemplate {
    let header = "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1f\
                  ee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299";
    let solved = header_of(&hex::decode(header).expect("hex"));
    let unit = unit(0, &solved, ROLLED, std::time::Instant::now());
    JobTemplate { clean: true, max_ntime_roll: 600, ..(*unit.job).clone() }
}

fn template(job: &Value, extranonce1: &[u8]) -> JobTemplate {
    let word = |name: &str| u32::from_be_bytes(bytes(&job[name]).try_into().expect("four bytes"));
    let hash = |value: &Value| bytes(value).try_into().expect("32 bytes");
    JobTemplate {
        source: SourceId(0),
        epoch: Epoch(0),
        id: JobId("".into()),
        prev: BlockHash(hash(&job["prev"])),
        version: word("version"),
        version_mask: VersionMask(ROLLED),
        nbits: CompactTarget::new(word("nbits")).expect("a target"),
        ntime: word("ntime"),
        max_ntime_roll: 600,
        received: std::time::Instant::now(),
        merkle: Merkle::Coinbase {
            prefix: bytes(&job["coinb1"]).into(),
            suffix: bytes(&job["coinb2"]).into(),
            branch: job["branches"].as_array().expect("branches").iter().map(hash).collect(),
            extranonce1: extranonce1.into(),
            extranonce2_size: 4,
        },
        share_target: Target::DIFFICULTY_1,
        clean: true,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("text")).expect("hex")
}
