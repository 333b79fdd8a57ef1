//! Frames: against the captured ones, and encoder against parser.

use super::*;

/// Reads a command frame back: the other end of [`Command::encode`].
fn parse(frame: &[u8]) -> Option<Command> {
    let &[0x55, 0xaa, kind, length, address, register, ref rest @ ..] = frame else { return None };
    let (&crc, value) = rest.split_last()?;
    if usize::from(length) != frame.len() - 2 || crc != crate::crc::crc5(&frame[2..frame.len() - 1]) {
        return None;
    }
    let to = if kind & 0x10 == 0 { To::Chip(address) } else { To::All };
    match (kind & !0x10, value) {
        (0x40, []) => Some(Command::SetAddress(address)),
        (0x41, value) => Some(Command::Write(to, register, u32::from_be_bytes(value.try_into().ok()?))),
        (0x42, []) => Some(Command::Read(to, register)),
        (0x43, []) => Some(Command::ChainInactive),
        _ => None,
    }
}

fn is_ours(family: &str) -> bool {
    ["bm13xx", "bm1362", "bm1366", "bm1368", "bm1370", "bm1397"].contains(&family)
}

/// What a vector says of a command.
fn stated(expect: &Value) -> Command {
    let (kind, address) = (number(&expect["header"]) as u8, number(&expect["address"]) as u8);
    let to = if kind & 0x10 == 0 { To::Chip(address) } else { To::All };
    let register = number(&expect["register"]) as u8;
    match kind & !0x10 {
        0x40 => Command::SetAddress(address),
        0x41 => Command::Write(to, register, number(&expect["value"])),
        0x42 => Command::Read(to, register),
        _ => Command::ChainInactive,
    }
}

#[test]
fn every_captured_command_is_read_and_built_byte_for_byte() {
    let vectors = vectors(|family, kind| is_ours(family) && kind == "command frame");
    assert_eq!(vectors.len(), 47);
    for vector in vectors {
        let frame = bytes(&vector["tx"]);
        let command = parse(&frame).expect("a frame");
        if !vector["expect"]["header"].is_null() {
            assert_eq!(command, stated(&vector["expect"]), "{}", vector["name"]);
        }
        assert_eq!(command.encode(), frame, "{}", vector["name"]);
    }
}

#[test]
fn every_captured_answer_says_what_it_is_said_to_say() {
    let vectors = vectors(|family, kind| is_ours(family) && kind.contains("response"));
    assert_eq!(vectors.len(), 12);
    for vector in vectors {
        let (frame, expect) = (bytes(&vector["rx"]), &vector["expect"]);
        let long = frame.len() == 11;
        let format = if long { Format::Long } else { Format::Short };
        let mut parser = ReplyParser::new(format);
        let replies = parser.push(&frame);
        let [reply] = replies[..] else { panic!("{}: {replies:?}", vector["name"]) };
        let stated = if expect["type"] == 4 {
            Reply::Nonce {
                nonce: bytes(&expect["header_nonce_bytes"]).try_into().unwrap(),
                excess: expect["excess_difficulty"].as_u64().unwrap() as u8,
                job: number(&expect["result_header"]) as u8,
                roll: number(&expect["version_roll"]) as u16,
            }
        } else {
            Reply::Register {
                address: number(&expect["address"]) as u8,
                register: number(&expect["register"]) as u8,
                value: number(&expect["value"]),
            }
        };
        assert_eq!(reply, stated, "{}", vector["name"]);
        assert_eq!(reply.encode(long), frame, "{}", vector["name"]);
        if let Reply::Nonce { nonce, roll, .. } = reply {
            assert_eq!(u32::from_le_bytes(nonce), number(&expect["nonce_u32_le"]));
            assert_eq!(u32::from(roll) << ROLL_SHIFT, number(&expect["version_bits"]));
        } else {
            // While chips are counted nobody knows which format they speak.
            let mut parser = ReplyParser::new(Format::Either);
            let twice = [&frame[..], &frame].concat();
            assert_eq!([parser.push(&twice), parser.finish()].concat(), [reply, reply], "{}", vector["name"]);
        }
    }
}

#[test]
fn every_captured_full_job_is_built_byte_for_byte() {
    let vectors = vectors(|family, kind| is_ours(family) && kind.starts_with("job frame (full"));
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let expect = &vector["expect"];
        let word = |field: &str| number(&expect[field]).to_le_bytes().to_vec();
        let root = bytes(&expect["merkle_root_header_order"]);
        let prev = bytes(&expect["prevhash_header_order"]);
        let parts = [word("version"), prev, root, word("ntime"), word("nbits"), vec![0; 4]];
        let header = header(&parts.concat());
        let id = number(&expect["job_byte"]) as u8;
        assert_eq!(frame::full_job(id, &header), bytes(&vector["tx"]), "{}", vector["name"]);
    }
}

#[test]
fn captured_midstate_jobs_are_built_byte_for_byte() {
    let vector = vector("ESP-Miner reference job");
    let stratum = &vector["stratum"];
    let prev = crate::chip::wire::reverse_words::<32>(bytes(&stratum["prevhash"]).try_into().unwrap());
    // A pool's prevhash has each word swapped; the header has the words in the pool's order.
    let prev: Vec<u8> =
        crate::chip::wire::reverse_words(prev).chunks(4).flat_map(|w| w.iter().rev().copied()).collect();
    let word = |field: &str| number(&stratum[field]).to_le_bytes().to_vec();
    let root = bytes(&stratum["merkle_root_header_order"]);
    let header = [word("version"), prev, root, word("ntime"), word("nbits"), vec![0; 4]].concat();
    let header: [u8; 80] = header.try_into().unwrap();
    let captured = bytes(&vector["tx"]);
    let one = frame::midstate_job(4, &[header]);
    assert_eq!(one[3..6], [54, 4, 1]);
    assert_eq!((&one[6..54], one.len()), (&captured[6..54], 56));
    let four = frame::midstate_job(4, &[header; 4]);
    assert_eq!((&four[..54], four.len()), (&captured[..54], captured.len()));
    assert_eq!((&four[54..86], &four[118..150]), (&four[22..54], &four[22..54]));
    // Of the captured frame the other midstates are zero; its checksum is the one of such a frame.
    for name in ["ESP-Miner reference job", "\"known working\" job"] {
        let frame = bytes(&super::vector(name)["tx"]);
        let (body, crc) = frame.split_at(frame.len() - 2);
        assert_eq!(crate::crc::crc16(&body[2..]).to_be_bytes(), crc);
        assert_eq!(usize::from(frame[3]), frame.len() - 2);
    }
}

#[test]
fn every_captured_clock_is_spelled_as_its_register() {
    let vectors = vectors(|family, kind| is_ours(family) && kind == "register encoding");
    let clocks: Vec<_> = vectors.iter().filter(|vector| vector["difficulty"].is_null()).collect();
    assert_eq!(clocks.len(), 4);
    for vector in clocks {
        let expect = &vector["expect"];
        let part = |field: &str| expect[field].as_u64().unwrap() as u8;
        let post = (part("post_div1"), part("post_div2"));
        let pll = Pll { fb: part("fb_div"), reference: part("ref_div"), post };
        let limits = &Chip::Bm1370.model().pll;
        assert_eq!(pll.register(limits), number(&vector["register"]), "{}", vector["name"]);
        assert_eq!(pll.mhz(), expect["mhz"].as_f64().unwrap());
        assert_eq!(pll.vco_mhz(), expect["vco_mhz"].as_f64().unwrap());
    }
    let solved = Pll::nearest(450.0, &Chip::Bm1397.model().pll);
    assert_eq!(solved, Pll { fb: 72, reference: 2, post: (2, 1) }, "as shipping software finds it");
    let factory = Pll { fb: 0xf0, reference: 2, post: (3, 5) };
    assert_eq!(factory.register(&Chip::Bm1397.model().pll), 0x40f0_0235);
}

#[test]
fn every_clock_on_the_grid_is_met_within_a_thousandth() {
    for chip in Chip::ALL {
        let limits = &chip.model().pll;
        for mhz in bringup::ramp_clocks(*chip.clocks().end()) {
            let pll = Pll::nearest(mhz, limits);
            assert!((pll.mhz() / mhz - 1.0).abs() < 0.001, "{chip:?} {mhz}: {pll:?}");
            assert!(limits.fb.contains(&pll.fb) && limits.reference.contains(&pll.reference));
            if limits.modern {
                assert!((1800.0..=3200.0).contains(&pll.vco_mhz()), "{chip:?} {mhz}: {pll:?}");
            }
        }
    }
}

#[test]
fn every_ticket_mask_is_spelled_as_its_register() {
    let mut seen = 0;
    for vector in vectors(|family, kind| family.starts_with("bm13") && kind == "register encoding") {
        if let Some(difficulty) = vector["difficulty"].as_u64() {
            let mask = TicketMask::of_difficulty(difficulty as u32).unwrap();
            assert_eq!(mask.register(), number(&vector["register"]), "{difficulty}");
            seen += 1;
        }
    }
    assert_eq!(seen, 11);
    assert_eq!(TicketMask::of_difficulty(3), None);
    assert_eq!(TicketMask::of_difficulty(0), None);
}

#[test]
fn a_mask_is_the_largest_power_of_two_up_to_what_is_asked() {
    let mask = |difficulty: f64| TicketMask::for_target(Target::from(Difficulty::new(difficulty).unwrap()));
    for (asked, expected) in
        [(0.001, 1), (1.0, 1), (1.9, 1), (2.0, 2), (255.9, 128), (256.0, 256), (8192.0, 8192)]
    {
        assert_eq!(Some(mask(asked)), TicketMask::of_difficulty(expected), "{asked}");
    }
    assert_eq!(TicketMask::for_target(Target::ZERO), TicketMask::of_difficulty(1 << 31).unwrap());
    for bits in 0..32 {
        let mask = TicketMask::of_difficulty(1 << bits).unwrap();
        let tries = mask.floor().expected_hashes();
        assert!((tries / 2f64.powi(32 + bits) - 1.0).abs() < 1e-9, "2^{bits}: {tries}");
        assert_eq!(TicketMask::for_target(mask.floor()), mask);
    }
}

#[test]
fn the_version_epochs_of_factory_settings_are_as_computed() {
    let vectors = vectors(|_, kind| kind == "formula");
    assert_eq!(vectors.iter().filter(|vector| vector["expect"]["hcn"].is_string()).count(), 4);
    for vector in vectors {
        if let Some(hcn) = vector["expect"]["hcn"].as_str() {
            let ticks = u32::from_str_radix(hcn, 16).unwrap();
            let subcores = vector["expect"]["subcores"].as_u64().unwrap() as u32;
            let epoch = bringup::epoch(ticks, 1 << 16, subcores).as_secs_f64();
            assert!((epoch - vector["expect"]["epoch_s"].as_f64().unwrap()).abs() < 1e-3);
            let models = Chip::ALL.into_iter().filter(|chip| vector["chip"] == chip.name());
            assert!(models.into_iter().all(|chip| chip.model().subcores == subcores));
        }
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let to = prop_oneof![Just(To::All), any::<u8>().prop_map(To::Chip)];
    prop_oneof![
        any::<u8>().prop_map(Command::SetAddress),
        (to.clone(), any::<u8>(), any::<u32>())
            .prop_map(|(to, register, value)| Command::Write(to, register, value)),
        (to, any::<u8>()).prop_map(|(to, register)| Command::Read(to, register)),
        Just(Command::ChainInactive),
    ]
}

fn any_reply(long: bool) -> impl Strategy<Value = Reply> {
    let register = any::<(u8, u8, u32)>();
    let nonce = any::<([u8; 4], u8, u8, u16)>();
    prop_oneof![
        register.prop_map(|(address, register, value)| Reply::Register { address, register, value }),
        nonce.prop_map(move |(nonce, excess, job, roll)| {
            Reply::Nonce { nonce, excess, job, roll: if long { roll } else { 0 } }
        }),
    ]
}

/// Cuts bytes into pieces.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at(cut % (bytes.len() + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

proptest! {
    #[test]
    fn commands_are_read_back_as_they_were_built(command in any_command()) {
        prop_assert_eq!(parse(&command.encode()), Some(command));
    }

    #[test]
    fn jobs_are_read_back_as_they_were_built(header_bytes: [[u8; 20]; 4], id: u8, count in 1usize..5) {
        let mut bytes = header_bytes.concat();
        bytes[72..76].copy_from_slice(&0x1d00_ffffu32.to_le_bytes());
        let header = header(&bytes);
        let job = frame::full_job(id, &header);
        let words = |at: usize, words: usize| -> Vec<u8> {
            job[at..at + 4 * words].rchunks(4).flatten().copied().collect()
        };
        let content = [&job[82..86], &words(50, 8), &words(18, 8), &job[14..18], &job[10..14]].concat();
        prop_assert_eq!((&job[..10], &content[..]), (&[0x55, 0xaa, 0x21, 0x56, id, 1, 0, 0, 0, 0][..], &bytes[..76]));
        prop_assert_eq!(&crate::crc::crc16(&job[2..86]).to_be_bytes(), &job[86..]);

        let headers: Vec<[u8; 80]> = (0..count as u8).map(|version| {
            let mut header: [u8; 80] = bytes.clone().try_into().unwrap();
            header[0] = version;
            header
        }).collect();
        let job = frame::midstate_job(id, &headers);
        let midstates = if count == 1 { 1 } else { 4 };
        prop_assert_eq!((job.len(), usize::from(job[3]), job[5]), (24 + 32 * midstates, 22 + 32 * midstates, midstates as u8));
        prop_assert_eq!(&job[10..22], &crate::chip::wire::tail(&headers[0]));
        for (place, midstate) in job[22..job.len() - 2].chunks(32).enumerate() {
            prop_assert_eq!(midstate, &crate::chip::wire::midstate(&headers[place % count]));
        }
        let (job, crc) = job.split_at(job.len() - 2);
        prop_assert_eq!(&crate::crc::crc16(&job[2..]).to_be_bytes(), crc);
    }

    #[test]
    fn replies_are_found_in_any_pieces_and_after_garbage(
        (long, replies) in any::<bool>().prop_flat_map(|long| (Just(long), prop::collection::vec(any_reply(long), 1..8))),
        // Without the first byte of a preamble, garbage cannot swallow a frame's beginning.
        garbage in prop::collection::vec((0u8..=0xff).prop_filter("preamble", |byte| *byte != 0xaa), 0..20),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let frames = replies.iter().flat_map(|reply| reply.encode(long));
        let stream: Vec<u8> = garbage.iter().copied().chain(frames).collect();
        let mut parser = ReplyParser::new(if long { Format::Long } else { Format::Short });
        let found: Vec<_> = pieces(&stream, &cuts).into_iter().flat_map(|piece| parser.push(piece)).collect();
        prop_assert_eq!(found, replies);
        prop_assert_eq!(parser.take_dropped() as usize, garbage.len());
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_replies(
        bytes in prop::collection::vec(prop_oneof![Just(0xaau8), Just(0x55), any::<u8>()], 0..400),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        format in prop_oneof![Just(Format::Short), Just(Format::Long), Just(Format::Either)],
    ) {
        let (mut whole, mut cut) = (ReplyParser::new(format), ReplyParser::new(format));
        let at_once = whole.push(&bytes);
        let in_pieces: Vec<_> = pieces(&bytes, &cuts).into_iter().flat_map(|piece| cut.push(piece)).collect();
        prop_assert_eq!(&at_once, &in_pieces);
        prop_assert_eq!(whole.finish(), cut.finish());
        prop_assert_eq!(whole.take_dropped(), cut.take_dropped());
    }

    #[test]
    fn a_flipped_bit_is_no_answer(reply in any_reply(true), bit in 16usize..88) {
        let mut frame = reply.encode(true);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(ReplyParser::new(Format::Long).push(&frame), []);
    }
}
