//! Protocols under scripts of bytes: what fuzz targets and property tests share.
//!
//! A script says what chips, scheduler and time do, step by step; [`Rig`] checks the rules after each. In the end all
//! units are made stale and must have ended.

use std::time::Instant;

use miner_core::types::{BlockHash, CompactTarget, Header, MerkleRoot, Target};
use miner_core::work::WorkUnit;

use super::ChipProtocol;
use super::bm13xx::{Bm13xx, Bm13xxConfig, Chip, Format, Reply, ReplyParser};
use super::bm1384::{Bm1384, Bm1384Config};
use super::icarus::{Icarus, IcarusKind};
use super::rig::{Rig, unit};

/// Most steps of a script that are run.
const MAX_STEPS: usize = 300;
/// Frames that one step may bring about, bring-up included.
const MAX_FRAMES: usize = 10_000;

/// A script that is being read; zeros after its end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// Runs a script on a chain of BM13xx; its first byte says of which.
///
/// # Panics
/// Where a rule is broken.
pub fn run_bm13xx(start: Instant, script: &[u8]) {
    let mut script = Script(script);
    let chip = Chip::ALL[usize::from(script.next()) % Chip::ALL.len()];
    let config = Bm13xxConfig::new(chip, *chip.clocks().start());
    let chain = Bm13xx::new(config).expect("a clock that the chip has");
    let id = u32::from(u16::from_str_radix(&chip.name()[2..], 16).expect("four digits")) << 16;
    run(start, chain, script, |script| {
        let long = chip != Chip::Bm1397 || script.next() % 8 == 0;
        let reply = match script.next() % 4 {
            0 => Reply::Register { address: 0, register: 0, value: id | u32::from(script.next() / 128) },
            1 => Reply::Register {
                address: script.next(),
                register: script.next(),
                value: u32::from_be_bytes(script.array()),
            },
            _ => Reply::Nonce {
                nonce: [script.next() % 4; 4],
                excess: script.next(),
                job: script.next(),
                roll: u16::from(script.next()),
            },
        };
        reply.encode(long)
    });
}

/// Runs a script on a chain of BM1384.
///
/// # Panics
/// Where a rule is broken.
pub fn run_bm1384(start: Instant, script: &[u8]) {
    let chain = Bm1384::new(Bm1384Config { chips: None, mhz: 150.0 }).expect("a clock that the chip has");
    run(start, chain, Script(script), |script| match script.next() % 4 {
        0 => vec![0x13, 0x84, 0x00, 0x00, 0x13],
        1 => script.array::<5>().to_vec(),
        _ => vec![1, 2, 3, script.next() % 4, 0x90 | script.next() & 0x0f],
    });
}

/// Runs a script on a device of the Icarus family; its first byte says on which.
///
/// # Panics
/// Where a rule is broken.
pub fn run_icarus(start: Instant, script: &[u8]) {
    let mut script = Script(script);
    let kinds = [IcarusKind::Icarus, IcarusKind::Erupter, IcarusKind::AntMiner { mhz: 250.0 }];
    let kind = kinds[usize::from(script.next()) % kinds.len()];
    let device = Icarus::new(kind).expect("a clock that the device has");
    run(start, device, script, |script| match script.next() % 4 {
        0 => vec![0x00, 0x01, 0x87, 0xa2],
        1 => vec![0x82, 0x54, 0x0e, 0x46],
        2 => vec![script.next()],
        _ => script.array::<4>().to_vec(),
    });
}

/// Feeds the parser of replies in pieces and at once: both must find the same, and only what encodes to what was there.
///
/// # Panics
/// Where they differ.
pub fn run_replies(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (format, long) = match script.next() % 3 {
        0 => (Format::Short, false),
        1 => (Format::Long, true),
        _ => (Format::Either, true),
    };
    let (mut whole, mut cut) = (ReplyParser::new(format), ReplyParser::new(format));
    let stream = script.0;
    let at_once = whole.push(stream);
    let mut in_pieces = Vec::new();
    while !script.0.is_empty() {
        let length = 1 + usize::from(script.0[0]) % 16;
        in_pieces.extend(cut.push(&script.take(length)));
    }
    assert_eq!(at_once, in_pieces);
    if format == Format::Either {
        return;
    }
    for reply in at_once {
        let frame = reply.encode(long);
        // Of a register's value two bytes of a long frame are not kept.
        let same = |there: &[u8]| match reply {
            Reply::Register { .. } => there[..8] == frame[..8],
            Reply::Nonce { .. } => there == frame,
        };
        assert!(stream.windows(frame.len()).any(same), "{reply:?} was not sent");
    }
}

fn run<P: ChipProtocol>(
    start: Instant,
    chip: P,
    mut script: Script<'_>,
    answer: impl Fn(&mut Script<'_>) -> Vec<u8>,
) {
    let mut rig = Rig::new(chip, start);
    let mut loaded = 0;
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        match script.next() % 16 {
            0..=2 => rig.pass(u64::from(script.next())),
            3 => rig.pass(100 * u64::from(script.next())),
            4..=6 if rig.open_units().len() < 8 => {
                loaded += 1;
                rig.load(some_unit(loaded, script.next(), start));
            }
            7 => {
                let stale = loaded.saturating_sub(u64::from(script.next() % 4));
                rig.flush(|unit| unit.id.0 <= stale);
                assert!(rig.open_units().iter().all(|id| *id > stale), "stale units end");
            }
            8 => rig.read(script.next()),
            9 => {
                let length = usize::from(script.next());
                let bytes = script.take(length);
                rig.hear(&bytes);
            }
            10 if script.next() > 250 => rig.make_safe(),
            _ => {
                let bytes = answer(&mut script);
                rig.hear(&bytes);
            }
        }
        assert!(rig.take_sent().len() <= MAX_FRAMES, "a step brings about a bounded number of frames");
        rig.take_events();
    }
    rig.flush(|_| true);
    assert!(rig.open_units().is_empty(), "stale units end");
    rig.make_safe();
}

/// A unit of one of few headers.
fn some_unit(id: u64, seed: u8, received: Instant) -> WorkUnit {
    let header = Header {
        version: 0x2000_0000,
        prev: BlockHash([seed % 4; 32]),
        root: MerkleRoot([9; 32]),
        ntime: 1_700_000_000,
        nbits: CompactTarget::new(0x1d00_ffff).expect("valid"),
        nonce: 0,
    };
    let mask = [0x1fff_e000, 0x0000_6000, 0, 0x00c0_0000][usize::from(seed >> 2 & 3)];
    let unit = unit(id, &header, mask, received);
    let budget = (unit.size() >> (seed >> 4)).max(1);
    let report_target = Target::from_expected_hashes(2f64.powi(32 + i32::from(seed >> 4)));
    WorkUnit { budget, report_target, ..unit }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_script_breaks_a_rule(script in prop::collection::vec(any::<u8>(), 0..600)) {
            let start = Instant::now();
            run_bm13xx(start, &script);
            run_bm1384(start, &script);
            run_icarus(start, &script);
            run_replies(&script);
        }
    }
}
