use std::time::Instant;

use miner_core::types::{Difficulty, Header, Target};
use proptest::prelude::*;
use serde_json::Value;

use super::model::JobIds;
use super::*;
use crate::chip::rig::{Rig, header, unit};
use crate::chip::vectors::{bytes, number, vector, vectors};

mod frames;
mod r909;
mod sequences;

const CAPTURED: &str = "Bitaxe Gamma job";

/// The header that a Bitaxe Gamma solved, at its base version.
fn bitaxe() -> Header {
    let solved = header(&bytes(&vector(CAPTURED)["expect"]["solved_header80"]));
    Header { version: 0x2000_0000, ..solved }
}

/// The same at another time: nothing is known to solve it.
fn other(seconds: u32) -> Header {
    let bitaxe = bitaxe();
    Header { ntime: bitaxe.ntime + seconds, ..bitaxe }
}

fn rig(config: Bm13xxConfig) -> Rig<Bm13xx> {
    Rig::new(Bm13xx::new(config).unwrap(), Instant::now())
}

fn chip_id(chip: Chip, long: bool) -> Vec<u8> {
    let value = u32::from(chip.model().id) << 16;
    Reply::Register { address: 0, register: CHIP_ID, value }.encode(long)
}

/// A chain that has been brought up to its slowest clock; what was sent and said until then is forgotten.
fn ready(chip: Chip, chips: u16) -> Rig<Bm13xx> {
    let mut rig = rig(Bm13xxConfig::new(chip, 100.0));
    rig.pass(100);
    for _ in 0..chips {
        rig.hear(&chip_id(chip, chip.rolls()));
    }
    rig.pass(60_000);
    assert_eq!(rig.take_events(), [ChipEvent::Ready { chips }]);
    rig.take_sent();
    rig
}

fn plane(id: u64, header: &Header) -> WorkUnit {
    unit(id, header, ROLL_MASK, Instant::now())
}

/// Two seconds of work for the chains of these tests.
fn second(id: u64, chip: Chip, chips: u16) -> WorkUnit {
    let budget = chip.rate(chips, 100.0).0 as u128;
    WorkUnit { budget, ..plane(id, &other(id as u32)) }
}

fn nonce_event(rig: &mut Rig<Bm13xx>) -> (Candidate, Option<u16>) {
    let events = rig.take_events();
    let [ChipEvent::Nonce { candidate, chip }] = events[..] else { panic!("{events:?}") };
    (candidate, chip)
}

/// The jobs among what was sent: their ids.
fn jobs(sent: &[(u64, String)]) -> Vec<(u64, u8)> {
    let job = |(at, frame): &(u64, String)| {
        frame.starts_with("55aa21").then(|| (*at, u8::from_str_radix(&frame[8..10], 16).unwrap()))
    };
    sent.iter().filter_map(job).collect()
}

#[test]
fn the_captured_share_goes_all_the_way() {
    let mut rig = ready(Chip::Bm1370, 1);
    let work = plane(7, &bitaxe());
    rig.load(work.clone());
    let sent = rig.take_sent();
    let captured = bytes(&vector(CAPTURED)["tx"]);
    let frame = hex::decode(&sent.last().unwrap().1).unwrap();
    // All but the id and with it the checksum.
    assert_eq!((frame.len(), frame[4]), (88, 0));
    assert_eq!((&frame[..4], &frame[5..86]), (&captured[..4], &captured[5..86]));

    let mut answer = bytes(&vector(CAPTURED)["answers_with"]);
    let said = ReplyParser::new(Format::Long).push(&answer);
    let [Reply::Nonce { nonce, excess, job, roll }] = said[..] else { panic!("{said:?}") };
    assert_eq!(job & 0xf0, 0xd0, "the captured job's id, 68");
    answer = Reply::Nonce { nonce, excess, job: job & 0x0f, roll }.encode(true);
    rig.hear(&answer);
    let (candidate, chip) = nonce_event(&mut rig);
    assert_eq!(chip, Some(0));
    assert!(work.contains(candidate.version, candidate.ntime, candidate.nonce));
    let solved = work.header(candidate.version, candidate.nonce);
    assert_eq!(solved.to_bytes().to_vec(), bytes(&vector(CAPTURED)["expect"]["solved_header80"]));
    assert_eq!(solved.hash().to_string(), vector(CAPTURED)["expect"]["hash_display"]);

    rig.hear(&answer);
    assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::DuplicateNonce)]);
}

#[test]
fn a_midstate_job_and_its_answer_fit_together() {
    // What the answer's two low bits name is a version of the unit, for units of one to four versions.
    for count in 1..=4 {
        let mut rig = ready(Chip::Bm1397, 1);
        let mut work = plane(1, &other(0));
        (work.versions.first, work.versions.count) = (5, count);
        work.budget = u128::from(count) << 32;
        rig.load(work.clone());
        let sent = rig.take_sent();
        let length = if count == 1 { 56 } else { 152 };
        assert_eq!(hex::decode(&sent[0].1).unwrap().len(), length);
        let midstates = if count == 1 { 1 } else { 4 };
        for index in 0..midstates {
            rig.hear(&Reply::Nonce { nonce: [index, 0, 0, 9], excess: 0, job: index, roll: 0 }.encode(false));
            let (candidate, _) = nonce_event(&mut rig);
            assert!(work.contains(candidate.version, candidate.ntime, candidate.nonce));
            let header = work.header(candidate.version, 0).to_bytes();
            let at = 22 + 32 * usize::from(index);
            let midstate = crate::chip::wire::midstate(&header);
            assert_eq!(hex::decode(&sent[0].1).unwrap()[at..at + 32], midstate);
        }
        // The first version stands in for those that a unit lacks: what it finds there it has found before.
        if count == 2 {
            rig.hear(&Reply::Nonce { nonce: [0, 0, 0, 9], excess: 0, job: 2, roll: 0 }.encode(false));
            assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::DuplicateNonce)]);
        }
    }
}

#[test]
fn nonces_tell_their_chip_where_the_layout_does() {
    for (chip, chips, answers) in [
        (Chip::Bm1366, 4, vec![(0x6c, 0x01, 0), (0x6c, 0x80, 1), (0x6d, 0x00, 2), (0x6d, 0xff, 3)]),
        (Chip::Bm1362, 1, vec![(0x6d, 0xb8, 0)]),
    ] {
        let mut rig = ready(chip, chips);
        rig.load(second(1, chip, chips));
        for (first, next, expected) in answers {
            // Bits 24 to 17 are the address, 64 of which lie between two of four chips.
            let nonce = [first, next, 1, 2];
            rig.hear(&Reply::Nonce { nonce, excess: 0, job: 0, roll: 0 }.encode(true));
            assert_eq!(nonce_event(&mut rig).1, Some(expected));
        }
    }
    // Four groups of 64 in the second byte, each shared by six chips.
    let mut rig = ready(Chip::Bm1397, 6);
    rig.load(unit(1, &other(0), 0x6000, Instant::now()));
    for second in 0..=255 {
        rig.hear(&Reply::Nonce { nonce: [9, second, 0, 1], excess: 0, job: 0, roll: 0 }.encode(false));
        let expected = (f32::from(second % 64) / 10.5).floor().min(5.0) as u16;
        assert_eq!(nonce_event(&mut rig).1, Some(expected), "{second:#04x}");
    }

    let captured = vector("S19j Pro nonce");
    let nonce = number(&captured["expect"]["nonce_u32_be"]);
    assert_eq!(nonce >> 17 & 0xff, number(&captured["expect"]["chip_address"]));

    let mut rig = ready(Chip::Bm1370, 2);
    rig.load(second(1, Chip::Bm1370, 2));
    rig.hear(&Reply::Nonce { nonce: [1, 2, 3, 4], excess: 0, job: 0, roll: 0 }.encode(true));
    assert_eq!(nonce_event(&mut rig).1, None, "its nonces name no chip");
}

#[test]
fn jobs_follow_each_other_and_their_ids_rest() {
    for (chip, known) in [(Chip::Bm1362, 8), (Chip::Bm1370, 8), (Chip::Bm1368, 8), (Chip::Bm1397, 16)] {
        let mut rig = ready(chip, 1);
        let mut ids = Vec::new();
        for id in 0..20 {
            rig.load(if chip == Chip::Bm1397 {
                unit(id, &other(id as u32), 0x6000, Instant::now())
            } else {
                second(id, chip, 1)
            });
            ids.extend(jobs(&rig.take_sent()));
            rig.pass(1000);
            assert_eq!(rig.open_units(), [0; 0], "{chip:?}");
        }
        let ids: Vec<u8> = ids.into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids.len(), 20);
        for (unit, id) in ids.iter().enumerate().rev().take(2 * known) {
            let job = if chip.model().ids == JobIds::EightShifted { id << 1 } else { *id };
            let nonce = [unit as u8, 1, 1, 1];
            rig.hear(&Reply::Nonce { nonce, excess: 0, job, roll: 0 }.encode(chip.rolls()));
            if unit + known >= ids.len() {
                assert_eq!(nonce_event(&mut rig).0.work.0, unit as u64, "{chip:?}");
            } else {
                assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::LateNonce)], "{chip:?}");
            }
        }
    }
}

#[test]
fn all_job_ids_come_back_as_they_were_sent() {
    for ids in [JobIds::Eight, JobIds::EightShifted, JobIds::Four] {
        let (half, _) = ids.ring();
        for place in 0..2 * half {
            let sent = ids.byte(place);
            for low in 0..8 {
                let (answer, midstate) = match ids {
                    JobIds::Eight => (sent | low, 0),
                    JobIds::EightShifted => (sent << 1 | low, 0),
                    JobIds::Four => (sent | low & 3, usize::from(low & 3)),
                };
                assert_eq!(ids.parse(answer), (place, midstate), "{ids:?}");
            }
        }
    }
    // Captured: job 68 came back as d2; the answers of vectors name the byte that was sent.
    for vector in vectors(|family, kind| family != "bm1397" && kind == "nonce response") {
        let (back, sent) =
            (number(&vector["expect"]["result_header"]), &vector["expect"]["sent_job_byte_masked"]);
        let ids = if vector["family"] == "bm1370" { Chip::Bm1370 } else { Chip::Bm1362 }.model().ids;
        assert_eq!(u32::from(ids.byte(ids.parse(back as u8).0)), number(sent), "{}", vector["name"]);
    }
}

#[test]
fn units_last_as_long_as_their_budget_takes() {
    let mut rig = ready(Chip::Bm1370, 1);
    for id in 0..3 {
        rig.load(second(id, Chip::Bm1370, 1));
    }
    let begun = rig.millis();
    rig.pass(5000);
    let sent: Vec<_> = jobs(&rig.take_sent()).iter().map(|(at, _)| at - begun).collect();
    assert_eq!(sent, [0, 1000, 2000]);
    let rate = Chip::Bm1370.rate(1, 100.0).0;
    for id in 0..3 {
        assert!((0.999..1.001).contains(&(rig.hashes(id) as f64 / rate)), "{}", rig.hashes(id));
    }
}

/// Its end is noticed between two looks at the link, and the next job takes its time on the link.
#[test]
fn chips_without_versions_to_roll_get_their_next_job_before_they_run_dry() {
    for chips in [1, 6] {
        let mut rig = ready(Chip::Bm1397, chips);
        for id in 0..2 {
            rig.load(unit(id, &other(id as u32), 0x6000, Instant::now()));
        }
        let begun = rig.millis();
        rig.pass(1000);
        let second = jobs(&rig.take_sent()).last().unwrap().0 - begun;
        let dry = (4.0 * 2f64.powi(32) / Chip::Bm1397.rate(chips, 100.0).0 * 1e3) as u64;
        assert!(second.abs_diff(dry - 10) <= 1, "{chips} chips: after {second} of {dry} ms");
    }
}

#[test]
fn a_whole_plane_is_left_before_its_versions_come_round_again() {
    let mut rig = ready(Chip::Bm1370, 1);
    rig.load(plane(1, &bitaxe()));
    // A sweep takes 167.76 ms, 4,096 of them are needed, and 97 % of that are 666.5 s.
    rig.pass(666_000);
    assert_eq!(rig.open_units(), [1]);
    rig.pass(1000);
    assert_eq!(rig.open_units(), [0; 0]);
}

#[test]
fn an_answer_is_another_one_where_any_part_of_it_differs() {
    let mut rig = ready(Chip::Bm1370, 1);
    rig.load(plane(1, &bitaxe()));
    for roll in [0, 1, 2, 4, 0x8000] {
        rig.hear(&Reply::Nonce { nonce: [1; 4], excess: 0, job: 0, roll }.encode(true));
        assert_eq!(nonce_event(&mut rig).0.version, 0x2000_0000 | u32::from(roll) << 13);
    }
    let mut rig = ready(Chip::Bm1397, 1);
    rig.load(unit(1, &bitaxe(), 0x6000, Instant::now()));
    for job in 0..4 {
        rig.hear(&Reply::Nonce { nonce: [1; 4], excess: 0, job, roll: 0 }.encode(false));
        assert_eq!(nonce_event(&mut rig).0.version, 0x2000_0000 | u32::from(job) << 13);
    }
}

#[test]
fn the_base_versions_own_bits_stay_set() {
    let mut rig = ready(Chip::Bm1370, 1);
    let work = plane(1, &Header { version: 0x2000_2000, ..bitaxe() });
    rig.load(work.clone());
    let frames = rig.take_sent();
    assert!(frames[0].1.starts_with("55aa510900a49000fffe"), "its bit is not the chips' to roll: {frames:?}");
    rig.hear(&Reply::Nonce { nonce: [1; 4], excess: 0, job: 0, roll: 3 }.encode(true));
    let (candidate, _) = nonce_event(&mut rig);
    assert_eq!(candidate.version, 0x2000_6000);
    assert!(work.contains(candidate.version, candidate.ntime, candidate.nonce));
}

#[test]
fn a_new_generation_replaces_the_work_with_the_next_frame() {
    let mut rig = ready(Chip::Bm1370, 1);
    rig.load(second(1, Chip::Bm1370, 1));
    rig.load(second(2, Chip::Bm1370, 1));
    rig.load(second(3, Chip::Bm1370, 1));
    rig.take_sent();
    rig.pass(100);
    rig.flush(|unit| unit.id.0 < 3);
    assert_eq!(rig.open_units(), [3]);
    assert_eq!(jobs(&rig.take_sent()).len(), 1);
    assert!(rig.hashes(1) > 0 && rig.hashes(2) == 0);
    // What the old job still yields is told: it may be a block.
    rig.hear(&Reply::Nonce { nonce: [1; 4], excess: 0, job: 0, roll: 0 }.encode(true));
    assert_eq!(nonce_event(&mut rig).0.work.0, 1);
    rig.flush(|_| true);
    assert!(rig.take_sent().is_empty());
    rig.load(second(4, Chip::Bm1370, 1));
    assert_eq!(jobs(&rig.take_sent()).len(), 1);
}

#[test]
fn chips_roll_what_a_unit_allows_and_report_what_it_asks() {
    let mut rig = ready(Chip::Bm1370, 1);
    let easy = unit(1, &bitaxe(), 0x00c0_0000, Instant::now());
    rig.load(WorkUnit { report_target: Target::from(Difficulty::new(300.0).unwrap()), ..easy });
    let frames: Vec<_> = rig.take_sent().into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(frames.len(), 3);
    assert!(frames[0].starts_with("55aa510900a490000600"), "{}", frames[0]);
    assert_eq!(frames[1], "55aa51090014000000ff08", "256 is the largest power of two up to 300");
    // The next unit allows and asks the same: nothing is said twice.
    let same = unit(2, &other(1), 0x00c0_0000, Instant::now());
    rig.flush(|_| true);
    rig.load(WorkUnit { report_target: Target::from(Difficulty::new(256.0).unwrap()), ..same });
    assert_eq!(rig.take_sent().len(), 1);

    let config = Bm13xxConfig {
        easiest: TicketMask::of_difficulty(16).unwrap(),
        ..Bm13xxConfig::new(Chip::Bm1370, 100.0)
    };
    let mut chain = Bm13xx::new(config).unwrap();
    chain.set_registers_for(&plane(1, &bitaxe()));
    let mask = Transmit::Bytes(bringup::ticket(TicketMask::of_difficulty(16).unwrap()).encode());
    assert_eq!(chain.poll_transmit(), Some(mask), "never easier than its board allows");
}

#[test]
fn registers_are_asked_for_and_told() {
    let mut rig = ready(Chip::Bm1366, 2);
    rig.read(CHIP_ID);
    assert_eq!(rig.take_sent()[0].1, "55aa520500000a");
    rig.hear(&Reply::Register { address: 0x80, register: 0, value: 0x1366_0000 }.encode(true));
    assert_eq!(rig.take_events(), [ChipEvent::Register { chip: 1, register: 0, value: 0x1366_0000 }]);
}

#[test]
fn garbage_is_counted_and_costs_nothing_else() {
    let mut rig = ready(Chip::Bm1370, 1);
    rig.load(second(0, Chip::Bm1370, 1));
    rig.hear(&[0xaa, 0x00, 0x55]);
    assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::Garbage { bytes: 3 })]);
    rig.hear(&Reply::Nonce { nonce: [1; 4], excess: 0, job: 0, roll: 0 }.encode(true));
    assert_eq!(nonce_event(&mut rig).0.work.0, 0);
}

#[test]
fn settings_beyond_what_is_known_are_refused() {
    for chip in Chip::ALL {
        let (least, most) = (*chip.clocks().start(), *chip.clocks().end());
        for mhz in [least - 1.0, most + 1.0, f64::NAN, f64::INFINITY] {
            assert!(Bm13xx::new(Bm13xxConfig::new(chip, mhz)).is_err());
        }
        let config = Bm13xxConfig { baud: Some(57_600), ..Bm13xxConfig::new(chip, least) };
        let says = Bm13xx::new(config).unwrap_err().to_string();
        assert!(says.contains("57600") && says.contains(chip.name()), "{says}");
    }
}

#[test]
fn making_safe_halts_the_chips_and_ends_all_units() {
    for (chip, frames) in [
        (Chip::Bm1370, vec!["55aa5109001000000000", "55aa510900180000c100"]),
        (Chip::Bm1397, vec!["55aa510900700f0f0f00", "55aa51090008"]),
    ] {
        let mut rig = ready(chip, 1);
        rig.load(second(1, chip, 1));
        rig.take_sent();
        rig.make_safe();
        let sent = rig.take_sent();
        assert_eq!(sent.len(), frames.len());
        for ((_, frame), expected) in sent.iter().zip(frames) {
            assert!(frame.starts_with(expected), "{frame}");
        }
        rig.load(second(2, chip, 1));
        rig.read(0);
        rig.hear(&chip_id(chip, true));
        rig.pass(100_000);
        assert!(rig.take_sent().is_empty() && rig.take_events().is_empty());
        assert_eq!(rig.open_units(), [0; 0]);
    }
}
