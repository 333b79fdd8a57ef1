use std::time::Duration;

use super::*;
use crate::crc::{crc5, crc16};
use crate::vectors::{bytes, of_family};

/// A chain, its outbox and a clock.
struct Bench {
    chain: Chain,
    outbox: Outbox,
    now: Instant,
}

/// A command without its checksum, completed.
fn command(content: &[u8]) -> Vec<u8> {
    let crc = crc5(content, 8 * content.len());
    [&[0x55, 0xaa], content, &[crc]].concat()
}

impl Bench {
    fn new(kind: ChipKind, chips: usize) -> Self {
        let answers = Arc::new(KnownAnswers::published());
        Self { chain: Chain::new(kind, chips, answers), outbox: Outbox::new(0), now: Instant::now() }
    }

    /// Sends bytes and returns what comes back at once.
    fn send(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.chain.handle_bytes(self.now, bytes, &mut self.outbox);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.outbox.poll(self.now)).map(|frame| frame.bytes).collect()
    }

    fn write(&mut self, register: u8, value: [u8; 4]) {
        let [a, b, c, d] = value;
        assert_eq!(self.send(&command(&[0x51, 9, 0, register, a, b, c, d])), [[0u8; 0]; 0]);
    }

    fn read(&mut self, address: u8, register: u8) -> Vec<Vec<u8>> {
        self.send(&command(&[0x42, 5, address, register]))
    }

    /// What comes within some time, and after how many milliseconds.
    fn wait(&mut self, time: Duration) -> Vec<(f64, Vec<u8>)> {
        let (begin, until) = (self.now, self.now + time);
        let mut sent = Vec::new();
        while let Some(due) = self.chain.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.chain.handle_timeout(self.now, &mut self.outbox);
            let after = self.now.duration_since(begin).as_secs_f64() * 1e3;
            sent.extend(self.drain().into_iter().map(|frame| (after, frame)));
            assert!(sent.len() < 10_000);
        }
        self.now = until;
        sent
    }

    /// Addresses, 525 MHz, full coverage, difficulty 256: as a driver leaves a Bitaxe Gamma.
    fn bring_up(&mut self) {
        self.write(0xa4, [0x90, 0, 0xff, 0xff]);
        self.write(0x18, [0xf0, 0, 0xc1, 0]);
        self.address();
        self.write(0x14, [0, 0, 0, 0xff]);
        self.write(0x3c, [0x80, 0, 0x82, 0xaa]);
        self.write(0x08, [0x50, 0xd2, 0x02, 0x40]);
        self.write(0x10, [0, 0x0c, 0x30, 0xc3]);
    }

    fn address(&mut self) {
        self.send(&command(&[0x53, 5, 0, 0]));
        let interval = 256 / self.chain.len();
        for i in 0..self.chain.len() {
            self.send(&command(&[0x40, 5, (i * interval) as u8, 0]));
        }
    }
}

fn captured() -> (Vec<u8>, Vec<u8>) {
    let all = of_family("bm1370");
    let vector = all.iter().find(|vector| vector["expect"]["solved_header80"].is_string()).unwrap();
    let answer = of_family("stratum");
    assert!(answer.iter().any(|job| job["submit"]["nonce"] == "7552034c"));
    (bytes(&vector["tx"]), bytes(&vector["answers_with"]))
}

#[test]
fn the_recorded_job_is_answered_with_the_recorded_frame() {
    let mut bench = Bench::new(ChipKind::Bm1370, 1);
    bench.bring_up();
    let (job, answer) = captured();
    assert_eq!(bench.send(&job), [[0u8; 0]; 0]);
    let sent = bench.wait(Duration::from_secs(10));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, answer);
    // Roll 0x05a2 is in the 91st of 4,096 groups of versions, each 798,915 ticks of 40 ns.
    assert!((2_870.0..2_885.0).contains(&sent[0].0), "{}", sent[0].0);
    assert!(bench.chain.is_hashing(bench.now));
    let rate = bench.chain.hash_rate();
    assert!((1.070e12..1.072e12).contains(&rate), "{rate}");
}

#[test]
fn nothing_is_found_unless_the_chip_was_set_up_for_it() {
    let (job, _) = captured();
    let with = |change: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new(ChipKind::Bm1370, 1);
        bench.bring_up();
        change(&mut bench);
        bench.send(&job);
        bench.wait(Duration::from_secs(60)).len()
    };
    assert_eq!(with(&|_| {}), 1);
    assert_eq!(with(&|bench| bench.write(0x18, [0, 0, 0xc1, 0])), 0, "reports are off");
    assert_eq!(with(&|bench| bench.write(0x14, [0, 0, 0xc0, 0xff])), 1, "difficulty 1,024");
    assert_eq!(with(&|bench| bench.write(0x14, [0, 0, 0xfe, 0xff])), 0, "difficulty 32,768");
    assert_eq!(with(&|bench| bench.write(0x10, [0; 4])), 0, "halted");
    assert_eq!(with(&|bench| bench.write(0x10, [0, 0, 0x14, 0x0d])), 0, "a sweep that ends before");
    // The recorded chip counted to 1EB5: a nonce that it found lies within, and comes once in each 1.288 s.
    assert_eq!(with(&|bench| bench.write(0x10, [0, 0, 0x1e, 0xb5])), 47);
    assert_eq!(with(&|bench| bench.write(0x08, [0x50, 0xff, 0x02, 0x40])), 0, "the PLL does not lock");
    assert_eq!(with(&|bench| bench.write(0xa4, [0x90, 0, 0x05, 0xa0])), 0, "a version out of the mask");
    // Five bits are 32 versions: two sweeps of 32 ms, and then the same again.
    assert!(with(&|bench| bench.write(0xa4, [0x90, 0, 0x05, 0xa2])) > 900);
    assert_eq!(with(&|bench| bench.chain.reset()), 0);
    assert_eq!(with(&|bench| assert!(bench.chain.inject(bench.now, Fault::Dead { chip: 0 }))), 0);
    let mut corrupt = job.clone();
    corrupt[60] ^= 4;
    let crc = crc16(&corrupt[2..86]);
    corrupt[86..].copy_from_slice(&crc.to_be_bytes());
    let mut bench = Bench::new(ChipKind::Bm1370, 1);
    bench.bring_up();
    bench.send(&corrupt);
    assert_eq!(bench.wait(Duration::from_secs(60)), [], "other work holds no answer");
}

/// Registers in the order in which shipping drivers write them at bring-up; 40 stands for the addresses.
#[test]
fn every_chip_works_when_it_is_brought_up_as_its_drivers_do() {
    let hash_counting = "10000c30c3";
    let sequences: [(ChipKind, u8, &[&str]); 5] = [
        // Recorded from a Bitaxe Gamma; ESP-Miner and mujina do the same.
        (
            ChipKind::Bm1370,
            0xd2,
            &[
                "a49000ffff",
                "a49000ffff",
                "a49000ffff",
                "a49000ffff",
                "a800070000",
                "18f000c100",
                "40",
                "3c80008b00",
                "3c8000800c",
                "14000000ff",
                "5800011111",
                "a8000701f0",
                "18f000c100",
                "3c80008b00",
                "3c8000800c",
                "3c800082aa",
                "b900004480",
                "5400000002",
                "b900004480",
                "3c80008dee",
                "0850d20240",
                hash_counting,
                "a49000ffff",
            ],
        ),
        // cgminer for the Compac A2, with its own mask, without the frame that it garbles.
        (
            ChipKind::Bm1370,
            0xd2,
            &[
                "a48000ffff",
                "a800070000",
                "40",
                "3c80008d04",
                "3c8000800e",
                "14000000ff",
                "5800011111",
                "580001f111",
                "0850d20240",
                "685aa55aa5",
                hash_counting,
                "2c00130007",
                "a8000701f0",
                "18f000c100",
                "18f000c100",
                "3c80008b00",
                "3c8000800e",
                "3c800082aa",
                "5400000003",
            ],
        ),
        (
            ChipKind::Bm1366,
            0x6a,
            &[
                "a49000ffff",
                "a49000ffff",
                "a49000ffff",
                "a800070000",
                "18ff0fc100",
                "40",
                "3c80008540",
                "3c80008020",
                "14000000ff",
                "5400000003",
                "5802111111",
                "2c007c0003",
                "a8000701f0",
                "18f000c100",
                "3c80008540",
                "3c80008020",
                "3c800082aa",
                "0840a80230",
                hash_counting,
                "a49000ffff",
            ],
        ),
        (
            ChipKind::Bm1368,
            0xd2,
            &[
                "a49000ffff",
                "a49000ffff",
                "a49000ffff",
                "a49000ffff",
                "a800070000",
                "18ff0fc100",
                "40",
                "3c80008b00",
                "3c80008018",
                "14000000ff",
                "5400000003",
                "5802111111",
                "a8000701f0",
                "18f000c100",
                "3c80008b00",
                "3c80008018",
                "3c800082aa",
                "0840a80230",
                hash_counting,
                "a49000ffff",
            ],
        ),
        (
            ChipKind::Bm1362,
            0x6a,
            &[
                "a49000ffff",
                "40",
                "3c80008540",
                "3c80008008",
                "14000000ff",
                "5400000003",
                "5800011111",
                "a800000002",
                "18b000c100",
                "3c80008540",
                "3c80008008",
                "3c800082aa",
                "700f0f0f00",
                "0840a80230",
                hash_counting,
                "a49000ffff",
            ],
        ),
    ];
    let (job, answer) = captured();
    for (kind, result_header, registers) in sequences {
        let mut bench = Bench::new(kind, 1);
        for register in registers {
            if *register == "40" {
                bench.address();
            } else {
                let [register, value @ ..]: [u8; 5] = hex::decode(register).unwrap().try_into().unwrap();
                bench.write(register, value);
            }
        }
        assert!((bench.chain.megahertz() - 525.0).abs() < 1e-9, "{kind:?}");
        bench.send(&job);
        let sent = bench.wait(Duration::from_secs(10));
        assert_eq!(sent.len(), 1, "{kind:?}");
        assert_eq!(
            (&sent[0].1[..7], sent[0].1[7], &sent[0].1[8..10]),
            (&answer[..7], result_header, &answer[8..10])
        );
        assert_eq!(bench.chain.counts.bad_frames, 0);
    }
}

#[test]
fn a_ticket_mask_asks_for_as_many_zero_bits_as_its_difficulty_has() {
    let masks = of_family("bm13xx").into_iter().filter(|vector| vector["difficulty"].is_number());
    let mut count = 0;
    for vector in masks {
        let bits = vector["difficulty"].as_u64().unwrap().ilog2();
        let mask = u32::from_le_bytes(bytes(&vector["register"]).try_into().unwrap());
        assert_eq!(mask, !(u32::MAX.checked_shr(bits).unwrap_or(0)), "{}", vector["name"]);
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn new_work_aborts_the_old_and_the_answer_names_its_own_job() {
    let mut bench = Bench::new(ChipKind::Bm1370, 1);
    bench.bring_up();
    let (mut job, answer) = captured();
    bench.send(&job);
    bench.wait(Duration::from_millis(2500));
    job[4] = 0x30;
    let crc = crc16(&job[2..86]);
    job[86..].copy_from_slice(&crc.to_be_bytes());
    bench.send(&job);
    let sent = bench.wait(Duration::from_secs(8));
    assert_eq!(sent.len(), 1);
    assert!(sent[0].0 > 2_870.0, "the sweep began anew");
    assert_eq!((sent[0].1[7], answer[7]), (0x62, 0xd2));
}

#[test]
fn chips_identify_themselves_in_nine_bytes_and_then_in_eleven() {
    for (family, kind) in [
        ("bm1370", ChipKind::Bm1370),
        ("bm1366", ChipKind::Bm1366),
        ("bm1362", ChipKind::Bm1362),
        ("bm1397", ChipKind::Bm1397),
    ] {
        for vector in of_family(family).iter().filter(|vector| vector["expect"]["type"] == 0) {
            let (expected, mut bench) = (bytes(&vector["rx"]), Bench::new(kind, 1));
            if expected.len() == 11 {
                bench.write(0xa4, [0x90, 0, 0xff, 0xff]);
            }
            let register = bytes(&vector["expect"]["register"])[0];
            let mut sent = bench.send(&command(&[0x52, 5, 0, register]));
            if kind == ChipKind::Bm1362 && register == 0 {
                // The vector says address 0, and so does a fresh chip.
                assert_eq!(sent[0][5], 0);
            }
            assert_eq!(sent.remove(0), expected, "{}", vector["name"]);
        }
    }
}

#[test]
fn addresses_go_to_the_first_chip_without_one() {
    let mut bench = Bench::new(ChipKind::Bm1366, 4);
    bench.send(&command(&[0x40, 5, 0x80, 0]));
    assert_eq!(bench.read(0x80, 0).len(), 0, "nobody lacks an address before the chain is made inactive");
    bench.send(&command(&[0x53, 5, 0, 0]));
    assert_eq!(bench.read(0, 0).len(), 0);
    assert_eq!(bench.send(&command(&[0x52, 5, 0, 0])).len(), 4, "all of them still answer a call to all");
    for address in [0, 0x40, 0x80, 0xc0, 0xee] {
        bench.send(&command(&[0x40, 5, address, 0]));
    }
    let all = bench.send(&command(&[0x52, 5, 0, 0]));
    assert_eq!(all.iter().map(|frame| frame[5]).collect::<Vec<_>>(), [0, 0x40, 0x80, 0xc0]);
    assert_eq!(bench.read(0x80, 0)[0][2..7], [0x13, 0x66, 0, 0x80, 0x80]);
    assert_eq!(bench.read(0xee, 0).len(), 0);
}

#[test]
fn registers_read_back_what_was_written_to_that_chip() {
    let mut bench = Bench::new(ChipKind::Bm1368, 2);
    bench.address();
    bench.write(0x58, [2, 0x11, 0x11, 0x11]);
    bench.send(&command(&[0x41, 9, 0x80, 0x58, 0, 1, 0xf1, 0x11]));
    assert_eq!(bench.read(0, 0x58)[0][2..6], [2, 0x11, 0x11, 0x11]);
    assert_eq!(bench.read(0x80, 0x58)[0][2..8], [0, 1, 0xf1, 0x11, 0x80, 0x58]);
    assert_eq!(bench.read(0, 0x18)[0][2..6], [0, 0, 0xc1, 0], "the value at power-on");
    bench.chain.reset();
    assert_eq!(bench.read(0, 0x58)[0][2..6], [0; 4]);
}

#[test]
fn a_bm1368_measures_its_temperature_when_told_in_order() {
    let mut bench = Bench::new(ChipKind::Bm1368, 1);
    bench.chain.set_celsius(61.5);
    assert_eq!(bench.send(&command(&[0x52, 5, 0, 0xb4]))[0][2..6], [0; 4]);
    for vector in of_family("bm1368").iter().filter(|vector| vector["expect"]["register"] == "b0") {
        bench.send(&bytes(&vector["tx"]));
    }
    let frame = bench.send(&bytes(&of_family("bm1368").last().unwrap()["tx"])).remove(0);
    let code = u32::from_be_bytes(frame[2..6].try_into().unwrap());
    assert!((f64::from(code) * 0.171_342 - 299.514_4 - 61.5).abs() < 0.1);
}

#[test]
fn the_uart_follows_its_divider() {
    let mut bench = Bench::new(ChipKind::Bm1370, 1);
    assert_eq!(bench.chain.baud(), 115_740);
    bench.write(0x28, [0x11, 0x30, 0x02, 0x00]);
    assert_eq!(bench.chain.baud(), 1_041_666);
    bench.write(0x28, [0x11, 0x30, 0x00, 0x00]);
    assert_eq!(bench.chain.baud(), 3_125_000);
    bench.chain.reset();
    assert_eq!(bench.chain.baud(), 115_740);
    let mut bench = Bench::new(ChipKind::Bm1397, 1);
    bench.write(0x18, [0, 0, 0x61, 0x31]);
    assert_eq!(bench.chain.baud(), 1_562_500);
}

#[test]
fn chips_of_a_chain_share_the_nonces_by_address_and_a_bm1370_by_offset() {
    let (job, answer) = captured();
    let count = |kind, chips, offsets: bool| {
        let mut bench = Bench::new(kind, chips);
        bench.bring_up();
        // 500 MHz, and a fourth of the counter in each.
        bench.write(0x08, [0x40, 0xa0, 0x02, 0x30]);
        bench.write(0x10, [0, 0x03, 0x33, 0x33]);
        for i in (0..chips).filter(|_| offsets) {
            let start = (i * (1 << 25) / chips) >> 9;
            let [high, low] = (start as u16).to_be_bytes();
            bench.send(&command(&[0x41, 9, (i * 256 / chips) as u8, 0x0c, 0x80, 0, high, low]));
        }
        bench.send(&job);
        bench.wait(Duration::from_secs(30)).iter().filter(|(_, frame)| frame[2..6] == answer[2..6]).count()
    };
    assert_eq!(count(ChipKind::Bm1370, 4, true), 1);
    assert_eq!(count(ChipKind::Bm1370, 4, false), 4, "all search the same part: four times the same nonce");
    assert_eq!(count(ChipKind::Bm1366, 4, false), 1);
}

/// The second byte of a nonce, in four groups of 64, is shared by the six chips of an R909.
#[test]
fn the_second_byte_tells_which_of_six_bm1397_found_a_nonce() {
    let midstate = hex::decode("0e7501ac5ff2646f28757b75ccbd0ee07d617869066ca2d47fbb2a30a9f61323").unwrap();
    let tail = hex::decode("ffff001d61bc664957233e0e").unwrap();
    let body = [&[0x21, 0x36, 0, 1, 0, 0, 0, 0], &tail[..], &midstate].concat();
    let job = [&[0x55, 0xaa], &body[..], &crc16(&body).to_be_bytes()].concat();
    let nonce = [0x01, 0xe3, 0x62, 0x99];
    let found_by = usize::from(nonce[1] % 64) * 6 / 64;
    for dead in 0..6 {
        let mut bench = Bench::new(ChipKind::Bm1397, 6);
        bench.address();
        bench.write(0x08, [0x40, 0xf0, 0x02, 0x35]);
        assert!(bench.chain.inject(bench.now, Fault::Dead { chip: dead }));
        bench.send(&job);
        let sent = bench.wait(Duration::from_secs(1));
        let frames: Vec<_> = sent.iter().map(|(_, frame)| &frame[2..6]).collect();
        assert_eq!(frames, if dead == found_by { vec![] } else { vec![&nonce[..]] }, "without chip {dead}");
    }
}

#[test]
fn a_sweep_begins_at_the_offset_that_was_written() {
    let (job, answer) = captured();
    // The counter of the recorded nonce is 35275: 3 ticks at 525 MHz are 126 counters.
    for (offset, found) in [(0x1a9, 1), (0x1aa, 0), (0x1a8, 0)] {
        let mut bench = Bench::new(ChipKind::Bm1370, 1);
        bench.bring_up();
        let [high, low] = u16::to_be_bytes(offset);
        bench.write(0x0c, [0x80, 0, high, low]);
        bench.write(0x10, [0, 0, 0, 3]);
        bench.send(&job);
        let sent = bench.wait(Duration::from_micros(400));
        assert_eq!(sent.len(), found, "{offset:x}");
        assert!(sent.iter().all(|(_, frame)| frame[2..6] == answer[2..6]));
    }
}

#[test]
fn a_chip_that_dies_finds_nothing_more() {
    let mut bench = Bench::new(ChipKind::Bm1370, 2);
    bench.bring_up();
    bench.send(&captured().0);
    for chip in 0..2 {
        assert!(bench.chain.is_hashing(bench.now) && bench.chain.inject(bench.now, Fault::Dead { chip }));
    }
    assert_eq!(bench.wait(Duration::from_secs(10)), []);
    assert!(!bench.chain.is_hashing(bench.now) && bench.chain.hash_rate() == 0.0);
    assert_eq!(bench.send(&command(&[0x52, 5, 0, 0])).len(), 0);
}

#[test]
fn the_known_job_of_a_bm1397_is_answered_with_its_midstate() {
    let mut bench = Bench::new(ChipKind::Bm1397, 1);
    bench.write(0x14, [0, 0, 0, 0xff]);
    bench.write(0x08, [0x40, 0xf0, 0x02, 0x35]);
    let all = of_family("bm1397");
    let vector = all.iter().find(|vector| vector["payload146"].is_string()).unwrap();
    bench.send(&bytes(&vector["tx"]));
    let sent = bench.wait(Duration::from_secs(60));
    assert_eq!(sent.len(), 1);
    let frame = &sent[0].1;
    assert_eq!((frame.len(), &frame[2..6], frame[7]), (9, &[0x9b, 0x04, 0x4c, 0x0a][..], 0x18 | 2));
    assert_eq!(crc5(&frame[2..], 56), 0);
    for vector in all.iter().filter(|vector| vector["tx"].is_string()) {
        bench.send(&bytes(&vector["tx"]));
    }
    assert_eq!(bench.chain.counts.bad_frames, 0);
}

#[test]
fn clocks_can_change_under_a_job() {
    let (job, _) = captured();
    let mut bench = Bench::new(ChipKind::Bm1370, 1);
    bench.bring_up();
    bench.send(&job);
    assert_eq!(bench.wait(Duration::from_secs(2)), []);
    let fault = Fault::Slow { chip: 0, factor: 0.5 };
    assert!(bench.chain.inject(bench.now, fault));
    let sent = bench.wait(Duration::from_secs(5));
    assert!((1_740.0..1_770.0).contains(&sent[0].0), "0.88 s were left, at half the speed: {}", sent[0].0);
}
