//! Bring-up, frame by frame and pause by pause, in virtual time.

use super::*;

/// A frame in short: kind, then for one chip `@` and its address, register, value.
fn short(frame: &str) -> String {
    let Some(body) = frame.strip_prefix("55aa") else { return frame.to_owned() };
    let (kind, address, register, value) = (&body[..2], &body[4..6], &body[6..8], &body[8..body.len() - 2]);
    match kind {
        "51" => format!("{register}={value}"),
        "41" => format!("@{address} {register}={value}"),
        "52" => format!("read {register}"),
        "53" => "inactive".into(),
        "40" => format!("address {address}"),
        _ => format!("{kind}?"),
    }
}

/// Everything that a chain sends until it is ready, with its times.
fn bring_up(config: Bm13xxConfig, chips: u16) -> Vec<(u64, String)> {
    let chip = config.chip;
    let mut rig = rig(config);
    rig.pass(100);
    for _ in 0..chips {
        rig.hear(&chip_id(chip, chip.rolls()));
    }
    while rig.events.is_empty() {
        rig.pass(1);
    }
    assert_eq!(rig.events, [ChipEvent::Ready { chips }]);
    let sent = rig.take_sent().into_iter();
    sent.map(|(at, frame)| (at, short(&frame))).collect()
}

/// The same without the ramp, which is told by its first and last time and its number of writes.
fn split_ramp(sent: Vec<(u64, String)>) -> (Vec<(u64, String)>, Vec<u64>) {
    let (ramp, rest): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(_, what)| what.starts_with("08=") || what.starts_with("70="));
    (rest, ramp.into_iter().filter(|(_, what)| what.starts_with("08=")).map(|(at, _)| at).collect())
}

fn expect(sent: &[(u64, String)], expected: &[(u64, &str)]) {
    let one_by_one =
        expected.iter().flat_map(|(at, what)| what.split(", ").map(|what| (*at, what.to_owned())));
    let expected: Vec<_> = one_by_one.collect();
    for (i, (sent, expected)) in sent.iter().zip(&expected).enumerate() {
        assert_eq!(sent, expected, "step {i}");
    }
    assert_eq!(sent.len(), expected.len());
}

#[test]
fn a_bitaxe_gamma_is_brought_up_as_it_was_captured() {
    let (sent, ramp) = split_ramp(bring_up(Bm13xxConfig::new(Chip::Bm1370, 525.0), 1));
    // 56.25 MHz and 75 steps of 6.25 MHz, the last of them 525 MHz.
    assert_eq!(ramp, (0..=75).map(|step| 515 + 100 * step).collect::<Vec<_>>());
    expect(
        &sent,
        &[
            (0, "a4=9000ffff"),
            (5, "a4=9000ffff"),
            (10, "a4=9000ffff"),
            (15, "read 00"),
            (515, "a4=9000ffff, a8=00070000, 18=f000c100, inactive, address 00"),
            (515, "3c=80008b00, 3c=8000800c, 14=00000000, 58=00011111"),
            (515, "@00 a8=000701f0, @00 18=f000c100, @00 3c=80008b00, @00 3c=8000800c, @00 3c=800082aa"),
            (515, "b9=00004480, 54=00000002, b9=00004480, 3c=80008dee"),
            // 2^25 nonces, two a clock of 525 MHz, in ticks of 25 MHz, less 200.
            (515 + 7600, "10=000c2ffb, a4=9000ffff"),
        ],
    );
    assert_eq!((1u64 << 25) * 25 / 1050 - 200, 0xc2ffb);
}

#[test]
fn a_faster_link_is_switched_at_both_ends_before_the_first_job() {
    let config = Bm13xxConfig { baud: Some(1_000_000), ..Bm13xxConfig::new(Chip::Bm1370, 56.25) };
    let (sent, _) = split_ramp(bring_up(config, 1));
    let last: Vec<_> = sent[sent.len() - 4..].to_vec();
    expect(&last[1..], &[(615, "28=11300200"), (665, "baud 1000000"), (715, "a4=9000ffff")]);
}

#[test]
fn a_chain_of_bm1366_is_addressed_and_woken_chip_by_chip() {
    let (sent, ramp) = split_ramp(bring_up(Bm13xxConfig::new(Chip::Bm1366, 62.5), 2));
    assert_eq!(ramp, [1515, 1615]);
    expect(
        &sent,
        &[
            (0, "a4=9000ffff"),
            (5, "a4=9000ffff"),
            (10, "a4=9000ffff"),
            (15, "read 00"),
            (515, "a4=9000ffff, a8=00070000, 18=ff0fc100, inactive, address 00, address 80"),
            (515, "3c=80008540, 3c=80008020, 14=00000000, 54=00000003, 58=02111111, @00 2c=007c0003"),
            (515, "@00 a8=000701f0, @00 18=f000c100, @00 3c=80008540, @00 3c=80008020, @00 3c=800082aa"),
            (1015, "@80 a8=000701f0, @80 18=f000c100, @80 3c=80008540, @80 3c=80008020, @80 3c=800082aa"),
            // Each of two chips takes 2^24 nonces at 62.5 MHz.
            (1715, "10=0033326b, a4=9000ffff"),
        ],
    );
}

#[test]
fn a_bm1368_has_its_version_rolling_enabled_four_times() {
    let (sent, ramp) = split_ramp(bring_up(Bm13xxConfig::new(Chip::Bm1368, 56.25), 1));
    assert_eq!(ramp, [1020]);
    expect(
        &sent[..],
        &[
            (0, "a4=9000ffff"),
            (5, "a4=9000ffff"),
            (10, "a4=9000ffff"),
            (15, "a4=9000ffff"),
            (20, "read 00"),
            (520, "a4=9000ffff, a8=00070000, 18=ff0fc100, inactive, address 00"),
            (520, "3c=80008b00, 3c=80008018, 14=00000000, 58=02111111"),
            (520, "@00 a8=000701f0, @00 18=f000c100, @00 3c=80008b00, @00 3c=80008018, @00 3c=800082aa"),
            (1020, "b9=00004480, 54=00000003, b9=00004480"),
            (1120, "10=0071c654, a4=9000ffff"),
        ],
    );
}

#[test]
fn a_compac_a1_is_brought_up_as_shipping_software_does() {
    let (sent, ramp) = split_ramp(bring_up(Bm13xxConfig::new(Chip::Bm1362, 56.25), 1));
    assert_eq!(ramp, [865]);
    expect(
        &sent,
        &[
            (0, "a4=9000ffff"),
            (5, "read 00"),
            (505, "inactive"),
            (605, "address 00"),
            (615, "3c=80008540, 3c=80008008"),
            (715, "14=00000000, 54=00000003"),
            (765, "58=00011111"),
            (865, "@00 a8=00000002, @00 18=b000c100, @00 3c=80008540, @00 3c=80008008, @00 3c=800082aa"),
            (965, "10=0071c654, a4=9000ffff"),
        ],
    );
}

#[test]
fn a_compac_f_is_brought_up_as_shipping_software_does() {
    let config = Bm13xxConfig { baud: Some(1_500_000), ..Bm13xxConfig::new(Chip::Bm1397, 62.5) };
    let (sent, ramp) = split_ramp(bring_up(config, 2));
    expect(
        &sent,
        &[
            (0, "read 00"),
            (500, "inactive"),
            (600, "inactive"),
            (700, "inactive"),
            (800, "address 00"),
            (810, "address 80"),
            (820, "80=00000000"),
            (830, "84=00000000"),
            (930, "20=00000001"),
            (980, "3c=80008074"),
            (1080, "14=00000000"),
            (1100, "68=c0700111"),
            (1150, "68=c0700111"),
            (1200, "28=0600000f"),
            (1300, "18=00006131"),
            (1310, "baud 1500000"),
        ],
    );
    // Each write of the clock follows two of its divider's divider, and is sent twice.
    assert_eq!(ramp, [1340, 1350, 1480, 1490]);
}

#[test]
fn the_chips_of_an_r909_are_addressed_in_sixths() {
    let config = Bm13xxConfig { baud: Some(1_500_000), ..Bm13xxConfig::new(Chip::Bm1397, 62.5) };
    let (sent, _) = split_ramp(bring_up(config, 6));
    let addresses: Vec<_> = sent.into_iter().filter(|(_, what)| what.starts_with("address")).collect();
    let expected = [(800, "00"), (810, "2a"), (820, "54"), (830, "7e"), (840, "a8"), (850, "d2")];
    assert_eq!(addresses, expected.map(|(at, address)| (at, format!("address {address}"))));
}

#[test]
fn the_divider_is_written_before_each_clock() {
    for (chip, before) in [(Chip::Bm1362, 1), (Chip::Bm1397, 2)] {
        let sent = bring_up(Bm13xxConfig::new(chip, 62.5), 1);
        let clocks: Vec<_> =
            sent.iter().filter(|(_, what)| what.starts_with("08=") || what.starts_with("70=")).collect();
        assert_eq!(clocks.len(), 2 * 2 * before);
        for step in clocks.chunks(2 * before) {
            assert!(step[..before].iter().all(|(_, what)| what == "70=0f0f0f00"));
            assert!(step[before..].iter().all(|(_, what)| what.starts_with("08=40")));
        }
    }
}

#[test]
fn chips_are_counted_in_either_format() {
    for long in [false, true] {
        let mut rig = rig(Bm13xxConfig { chips: Some(3), ..Bm13xxConfig::new(Chip::Bm1370, 56.25) });
        rig.pass(20);
        let ids = chip_id(Chip::Bm1370, long).repeat(3);
        rig.hear(&[0x00]);
        for piece in ids.chunks(7) {
            rig.hear(piece);
        }
        assert_eq!(rig.take_events(), [ChipEvent::Fault(ChipFault::Garbage { bytes: 1 })]);
        rig.pass(5000);
        assert_eq!(rig.take_events(), [ChipEvent::Ready { chips: 3 }]);
    }
}

#[test]
fn other_registers_are_no_chips_and_chips_without_end_no_memory() {
    let mut rig = rig(Bm13xxConfig::new(Chip::Bm1370, 56.25));
    rig.pass(20);
    rig.hear(&bytes(&vector("MISC_CONTROL power-on value")["rx"]).repeat(2));
    rig.hear(&chip_id(Chip::Bm1370, false));
    rig.pass(5000);
    assert_eq!(rig.take_events(), [ChipEvent::Ready { chips: 1 }]);

    let mut chain = Bm13xx::new(Bm13xxConfig::new(Chip::Bm1370, 56.25)).unwrap();
    chain.handle_timeout(Instant::now());
    chain.handle_bytes(Instant::now(), &chip_id(Chip::Bm1370, true).repeat(10_000));
    let Phase::Counting(_, ids) = &chain.phase else { panic!("it counts") };
    assert_eq!(ids.len(), 129, "as many as show that there are too many");
}

#[test]
fn what_is_not_the_chain_that_was_expected_is_refused() {
    let gamma = || Bm13xxConfig::new(Chip::Bm1370, 56.25);
    for (config, answers, says) in [
        (gamma(), vec![], "no answer while counting chips"),
        (gamma(), vec![chip_id(Chip::Bm1366, true)], "a chip says it is a BM1366, not a BM1370"),
        (gamma(), vec![chip_id(Chip::Bm1370, true); 129], "129 chips answer where 128 are expected"),
        (
            Bm13xxConfig { chips: Some(2), ..gamma() },
            vec![chip_id(Chip::Bm1370, true)],
            "1 chips answer where 2 are expected",
        ),
    ] {
        let mut rig = rig(config);
        rig.load(plane(1, &bitaxe()));
        rig.pass(20);
        rig.hear(&answers.concat());
        rig.pass(600);
        let events = rig.take_events();
        let [ChipEvent::Fault(fault)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(fault.to_string(), says);
        assert_eq!((rig.open_units().len(), rig.chip.next_deadline()), (0, None));
    }
}

#[test]
fn units_that_come_early_wait_for_the_chips() {
    let mut rig = rig(Bm13xxConfig::new(Chip::Bm1370, 56.25));
    rig.load(second(1, Chip::Bm1370, 1));
    rig.load(second(2, Chip::Bm1370, 1));
    rig.pass(100);
    rig.hear(&chip_id(Chip::Bm1370, true));
    rig.flush(|unit| unit.id.0 == 1);
    assert_eq!(rig.open_units(), [2]);
    rig.pass(515);
    assert_eq!(jobs(&rig.take_sent()).len(), 1);
    assert_eq!(rig.take_events(), [ChipEvent::Ready { chips: 1 }]);
}

#[test]
fn making_safe_in_the_midst_of_it_sends_no_more_of_it() {
    let mut rig = rig(Bm13xxConfig::new(Chip::Bm1370, 525.0));
    rig.pass(100);
    rig.hear(&chip_id(Chip::Bm1370, true));
    rig.pass(1000);
    rig.take_sent();
    rig.make_safe();
    assert_eq!(rig.take_sent().len(), 2);
    rig.pass(60_000);
    assert!(rig.take_sent().is_empty());
}
