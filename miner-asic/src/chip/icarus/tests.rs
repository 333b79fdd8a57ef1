use std::time::Instant;

use miner_core::types::Header;

use proptest::prelude::*;

use super::*;
use crate::chip::rig::{Rig, header, unit};
use crate::chip::vectors::{bytes, number, vector, vectors};

const ERUPTER: IcarusKind = IcarusKind::Erupter;
const U2: IcarusKind = IcarusKind::AntMiner { mhz: 250.0 };

fn block_1() -> Header {
    header(&bytes(&vector("Bitcoin block 1 as an Icarus job")["header80"]))
}

/// Block 1 with another time: nothing is known to solve it.
fn other(seconds: u32) -> Header {
    let first = block_1();
    Header { ntime: first.ntime + seconds, ..first }
}

fn rig(kind: IcarusKind) -> Rig<Icarus> {
    Rig::new(Icarus::new(kind).unwrap(), Instant::now())
}

/// A device that has answered everything that it was asked.
fn ready(kind: IcarusKind) -> Rig<Icarus> {
    let mut rig = rig(kind);
    let golden = if kind.answer() == 5 { "000187a200" } else { "000187a2" };
    rig.hear(&hex::decode(golden).unwrap());
    rig.pass(50);
    if kind.answer() == 5 {
        rig.pass(500);
        rig.hear(&hex::decode(golden).unwrap());
        rig.pass(50);
    } else {
        rig.hear(&[0x04, 0xc0, 0xfd, 0xb4]);
    }
    assert_eq!(rig.take_events(), [ChipEvent::Ready { chips: 1 }]);
    rig.take_sent();
    rig
}

fn nonces(events: &[ChipEvent]) -> Vec<(u64, u32)> {
    let nonce = |event: &ChipEvent| match event {
        ChipEvent::Nonce { candidate, .. } => Some((candidate.work.0, candidate.nonce)),
        _ => None,
    };
    events.iter().filter_map(nonce).collect()
}

#[test]
fn every_captured_job_is_built_byte_for_byte() {
    let vectors = vectors(|family, _| family == "icarus");
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let (tx, words) = (bytes(&vector["tx"]), &vector["expect"]["midstate_words_h0_to_h7"]);
        let wire_midstate: Vec<u8> = words.as_array().unwrap().iter().rev().flat_map(bytes).collect();
        let header_tail = bytes(&vector["expect"]["header_64_76"]);
        let wire_tail = crate::chip::wire::reverse_words::<12>(header_tail.try_into().unwrap());
        assert_eq!(block(&wire_midstate.try_into().unwrap(), &wire_tail).to_vec(), tx, "{}", vector["name"]);
        let nonce: [u8; 4] = bytes(&vector["rx"]).try_into().unwrap();
        assert_eq!(u32::from_le_bytes(nonce), number(&vector["expect"]["nonce_u32_le"]));
    }
    let golden = block(&GOLDEN_MIDSTATE, &GOLDEN_TAIL);
    assert_eq!(golden.to_vec(), bytes(&vector("golden work")["tx"]));
    assert_eq!(GOLDEN_NONCE.to_vec(), bytes(&vector("golden work")["rx"]));
    for (nonce, engines) in ENGINES_NONCES {
        let vector = vector(&format!("space is split {engines} ways"));
        assert_eq!(nonce.to_vec(), bytes(&vector["rx"]));
        assert_eq!(block(&ENGINES_MIDSTATE, &ENGINES_TAIL).to_vec(), bytes(&vector["tx"]));
    }
}

#[test]
fn a_header_becomes_the_job_that_solves_it() {
    let mut rig = ready(ERUPTER);
    rig.load(unit(1, &block_1(), 0, Instant::now()));
    let vector = vector("Bitcoin block 1 as an Icarus job");
    assert_eq!(hex::decode(&rig.take_sent()[0].1).unwrap(), bytes(&vector["tx"]));
    rig.hear(&bytes(&vector["rx"]));
    let events = rig.take_events();
    let [ChipEvent::Nonce { candidate, chip: Some(0) }] = events[..] else { panic!("{events:?}") };
    let unit = unit(1, &block_1(), 0, Instant::now());
    assert!(unit.contains(candidate.version, candidate.ntime, candidate.nonce));
    assert_eq!(unit.header(candidate.version, candidate.nonce), block_1());
}

#[test]
fn the_clock_is_set_as_shipping_software_sets_it() {
    let vectors = vectors(|family, kind| family == "u1u2" && kind.contains("27 bits"));
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let mhz = vector["mhz"].as_f64().unwrap();
        assert_eq!(set_clock(mhz).to_vec(), bytes(&vector["tx"]), "{mhz} MHz");
    }
    // The oscillator's band is told from 500 MHz on.
    assert_eq!(set_clock(500.0)[1..3], [0x49, 0x80]);
    for mhz in [124.9, 500.1, f64::NAN] {
        assert!(Icarus::new(IcarusKind::AntMiner { mhz }).is_err());
    }
}

#[test]
fn an_erupter_is_found_by_the_golden_nonce_and_asked_for_its_engines() {
    let mut rig = rig(ERUPTER);
    assert_eq!(rig.take_sent(), [(0, hex::encode(block(&GOLDEN_MIDSTATE, &GOLDEN_TAIL)))]);
    rig.pass(3);
    rig.hear(&[0x00, 0x01]);
    rig.hear(&[0x87, 0xa2]);
    rig.pass(49);
    assert!(rig.take_sent().is_empty(), "more bytes may come");
    rig.pass(1);
    assert_eq!(rig.take_sent(), [(53, hex::encode(block(&ENGINES_MIDSTATE, &ENGINES_TAIL)))]);
    rig.hear(&[0x82, 0x54, 0x0e, 0x46]);
    assert_eq!(rig.take_events(), [ChipEvent::Ready { chips: 1 }]);
    assert_eq!(rig.chip.engines, 2);
}

#[test]
fn one_that_does_not_tell_its_engines_is_taken_to_have_two() {
    let mut rig = rig(IcarusKind::Icarus);
    rig.hear(&GOLDEN_NONCE);
    rig.pass(50 + 599);
    assert!(rig.events.is_empty());
    rig.pass(1);
    assert_eq!(rig.take_events(), [ChipEvent::Ready { chips: 1 }]);
    assert_eq!(rig.chip.engines, 2);
}

#[test]
fn an_antminer_is_clocked_and_asked_again() {
    let mut rig = rig(U2);
    rig.hear(&hex::decode("000187a242").unwrap());
    rig.pass(50 + 500);
    let golden = hex::encode(block(&GOLDEN_MIDSTATE, &GOLDEN_TAIL));
    assert_eq!(rig.take_sent(), [(0, golden.clone()), (50, "82048003".into()), (550, golden)]);
    rig.hear(&hex::decode("000187a242").unwrap());
    rig.pass(50);
    assert_eq!(rig.take_events(), [ChipEvent::Ready { chips: 1 }]);
}

#[test]
fn what_answers_otherwise_is_not_taken() {
    for (kind, answer, says) in [
        (ERUPTER, "000187a200", "5 bytes instead of 4"),
        (U2, "000187a2", "4 bytes instead of 5"),
        (ERUPTER, "000187a200000000", "8 bytes instead of 4"),
    ] {
        let mut rig = rig(kind);
        rig.load(unit(1, &block_1(), 0, Instant::now()));
        rig.hear(&hex::decode(answer).unwrap());
        rig.pass(60);
        let events = rig.take_events();
        let [ChipEvent::Fault(fault)] = &events[..] else { panic!("{events:?}") };
        assert!(fault.to_string().contains(says), "{fault}");
        assert_eq!(rig.open_units(), [0; 0]);
        rig.load(unit(2, &block_1(), 0, Instant::now()));
        assert_eq!(rig.open_units(), [0; 0]);
    }
}

#[test]
fn silence_ends_after_two_tries() {
    let mut rig = rig(ERUPTER);
    rig.pass(299);
    assert_eq!(rig.take_sent().len(), 1);
    rig.pass(300);
    assert_eq!(rig.take_sent().len(), 1);
    assert!(rig.events.is_empty());
    rig.hear(b"OK\r\nAT+");
    rig.pass(1);
    let doing = "looking for the golden nonce";
    assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::NoAnswer { doing })]);
    assert_eq!(rig.chip.next_deadline(), None);
}

#[test]
fn answers_to_an_earlier_program_do_not_hide_the_golden_nonce() {
    let mut rig = rig(ERUPTER);
    rig.hear(&hex::decode("01e3629900000187a2").unwrap());
    rig.pass(50);
    assert_eq!(rig.take_sent().len(), 2);
}

#[test]
fn a_device_that_stops_after_a_nonce_gets_the_next_unit_at_once() {
    let mut rig = ready(IcarusKind::Icarus);
    rig.load(unit(1, &block_1(), 0, Instant::now()));
    rig.load(unit(2, &other(1), 0, Instant::now()));
    rig.take_sent();
    rig.pass(83);
    rig.hear(&[0x01, 0xe3, 0x62, 0x99]);
    assert_eq!(nonces(&rig.take_events()), [(1, 0x9962_e301)]);
    assert_eq!(rig.take_sent().len(), 1);
    assert_eq!(rig.open_units(), [2]);
    assert_eq!(rig.hashes(1), 0x01e3_6299 + 1, "one engine goes up from 0");
}

#[test]
fn a_device_that_goes_on_keeps_its_unit() {
    let mut rig = ready(ERUPTER);
    rig.load(unit(1, &block_1(), 0, Instant::now()));
    rig.load(unit(2, &other(1), 0, Instant::now()));
    rig.take_sent();
    rig.hear(&[0x01, 0xe3, 0x62, 0x99]);
    assert_eq!(rig.open_units(), [1, 2]);
    assert!(rig.take_sent().is_empty());
    rig.hear(&[0x01, 0xe3, 0x62, 0x99]);
    assert_eq!(rig.take_events()[1..], [ChipEvent::Fault(ChipFault::DuplicateNonce)]);
}

#[test]
fn a_late_answer_is_of_the_unit_that_it_solves() {
    for kind in [ERUPTER, IcarusKind::Icarus] {
        let mut rig = ready(kind);
        rig.load(unit(1, &block_1(), 0, Instant::now()));
        rig.load(unit(2, &other(1), 0, Instant::now()));
        rig.load(unit(3, &other(2), 0, Instant::now()));
        rig.flush(|unit| unit.id.0 == 1);
        assert_eq!(rig.open_units(), [2, 3]);
        rig.hear(&[0x01, 0xe3, 0x62, 0x99]);
        assert_eq!(nonces(&rig.take_events()), [(1, 0x9962_e301)]);
        assert_eq!(rig.open_units(), [2, 3], "the work of now goes on");
    }
}

#[test]
fn a_wrong_answer_is_left_to_be_judged() {
    let mut rig = ready(ERUPTER);
    rig.load(unit(1, &block_1(), 0, Instant::now()));
    rig.hear(&[1, 2, 3, 4]);
    assert_eq!(nonces(&rig.take_events()), [(1, 0x0403_0201)]);
}

#[test]
fn an_answer_without_work_is_late() {
    let mut rig = ready(ERUPTER);
    rig.hear(&[1, 2, 3, 4]);
    assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::LateNonce)]);
}

#[test]
fn half_an_answer_is_not_joined_to_the_next_one() {
    let mut rig = ready(ERUPTER);
    rig.load(unit(1, &block_1(), 0, Instant::now()));
    rig.hear(&[0xee, 0xee]);
    rig.pass(60);
    assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::Garbage { bytes: 2 })]);
    rig.hear(&[0x01, 0xe3]);
    rig.pass(16);
    rig.hear(&[0x62, 0x99]);
    assert_eq!(nonces(&rig.take_events()), [(1, 0x9962_e301)]);
}

#[test]
fn work_is_replaced_before_the_nonces_run_out() {
    let mut rig = ready(U2);
    for id in 0..3 {
        rig.load(unit(id, &other(id as u32), 0, Instant::now()));
    }
    rig.take_sent();
    rig.pass(4000);
    // 2^32 tries at 2 GH/s are 2,147 ms.
    let begun: Vec<_> = rig.take_sent().iter().map(|(at, _)| at - 600).collect();
    assert_eq!(begun, [2083]);
    assert_eq!(rig.open_units(), [1, 2]);
    let done = rig.hashes(0) as f64 / (1u64 << 32) as f64;
    assert!((0.969..0.971).contains(&done), "{done}");
}

#[test]
fn the_budget_ends_a_unit_and_progress_is_told_meanwhile() {
    let mut rig = ready(ERUPTER);
    rig.load(WorkUnit { budget: 672_000_000, ..unit(1, &block_1(), 0, Instant::now()) });
    rig.pass(1100);
    assert_eq!(rig.open_units(), [1]);
    assert!(rig.hashes(1) > 300_000_000);
    rig.pass(1000);
    assert_eq!(rig.open_units(), [0; 0]);
    assert!((671_000_000..673_000_000).contains(&rig.hashes(1)), "{}", rig.hashes(1));
}

#[test]
fn a_new_generation_replaces_the_work_at_once() {
    let mut rig = ready(ERUPTER);
    rig.load(unit(1, &block_1(), 0, Instant::now()));
    rig.load(unit(2, &other(1), 0, Instant::now()));
    rig.take_sent();
    rig.pass(100);
    rig.flush(|_| true);
    assert_eq!(rig.open_units(), [0; 0]);
    assert!(rig.hashes(1) > 30_000_000, "what was done is done");
    rig.load(unit(3, &other(2), 0, Instant::now()));
    assert_eq!(rig.take_sent().len(), 1);
}

#[test]
fn a_command_to_other_boards_is_never_sent_as_work() {
    let mut command = [0; WORK];
    command[56..60].fill(0xff);
    assert!(sets_cairnsmore_clock(&command));
    command[0] = 1;
    assert!(!sets_cairnsmore_clock(&command));
}

#[test]
fn making_safe_ends_all_units_and_sends_no_more() {
    let mut rig = ready(ERUPTER);
    rig.load(unit(1, &block_1(), 0, Instant::now()));
    rig.take_sent();
    rig.make_safe();
    rig.load(unit(2, &block_1(), 0, Instant::now()));
    rig.pass(10_000);
    assert!(rig.take_sent().is_empty());
    assert_eq!(rig.open_units(), [0; 0]);
}

proptest! {
    #[test]
    fn work_and_clock_are_read_back_as_they_were_built(
        midstate: [u8; 32], tail: [u8; 12], mhz in 125.0f64..=500.0,
    ) {
        let work = block(&midstate, &tail);
        prop_assert_eq!((&work[..32], &work[32..52], &work[52..]), (&midstate[..], &[0; 20][..], &tail[..]));
        let [kind, high, low, crc] = set_clock(mhz);
        prop_assert_eq!((kind, crc), (0x82, crate::crc::crc5_within(&[kind, high, low], 0)));
        let register = u16::from_be_bytes([high, low]);
        let (m, n, od) = (register >> 7 & 0x3f, register >> 2 & 0x1f, register & 3);
        let set = 25.0 * f64::from(m + 1) / f64::from((n + 1) << od);
        // Above 400 MHz clocks lie 25/3 MHz apart.
        prop_assert!((set / mhz - 1.0).abs() < 0.0105, "{} in place of {}", set, mhz);
    }

    #[test]
    fn answers_are_found_in_any_pieces(nonces in prop::collection::vec(any::<[u8; 4]>(), 1..6), cut in 1usize..7) {
        let mut rig = ready(ERUPTER);
        rig.load(unit(1, &block_1(), 0, Instant::now()));
        rig.take_events();
        nonces.concat().chunks(cut).for_each(|piece| rig.hear(piece));
        let mut expected: Vec<_> = Vec::new();
        for nonce in nonces.into_iter().map(u32::from_le_bytes) {
            if !expected.contains(&(1, nonce)) {
                expected.push((1, nonce));
            }
        }
        prop_assert_eq!(super::tests::nonces(&rig.take_events()), expected);
    }
}
