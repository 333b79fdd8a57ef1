//! Six BM1397 on an emulated R909, which knows nothing of this code, in virtual time.

use std::time::Duration;

use asic_emulator::{CompacF, Device, Fault, KnownAnswers};

use super::*;

const BLOCK_1: &str = "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299";

/// Has the chain look for what solves a header while one of its chips stands still: the chip that is said to have found it.
fn found_by(solved: &Header, still: usize) -> Option<u16> {
    let answers = Arc::new(KnownAnswers::published());
    let (mut device, start) = (CompacF::new(6, answers), Instant::now());
    let mut rig = rig(Bm13xxConfig { chips: Some(6), ..Bm13xxConfig::new(Chip::Bm1397, 200.0) });
    for millis in 0..10_000 {
        let now = start + Duration::from_millis(millis);
        for (_, transmit) in std::mem::take(&mut rig.sent) {
            let Transmit::Bytes(bytes) = transmit else { panic!("the link stays as it is") };
            device.handle_bytes(now, 0, &bytes);
        }
        device.handle_timeout(now);
        while let Some(frame) = device.poll_transmit(now) {
            rig.hear(&frame.bytes);
        }
        match rig.take_events()[..] {
            [] => {}
            [ChipEvent::Ready { chips }] => {
                assert_eq!(chips, 6);
                device.inject(now, Fault::Slow { chip: still, factor: 0.0 });
                rig.load(unit(1, solved, 0, start));
            }
            [ChipEvent::Nonce { candidate, chip }] => {
                assert_eq!(candidate.nonce, solved.nonce);
                return Some(chip.expect("it is told"));
            }
            ref events => panic!("{events:?}"),
        }
        rig.pass(1);
    }
    None
}

#[test]
fn a_nonce_is_put_down_to_the_chip_that_found_it() {
    let block_1 = header(&hex::decode(BLOCK_1).unwrap());
    let captured = header(&bytes(&vector(CAPTURED)["expect"]["solved_header80"]));
    for (solved, chip) in [(block_1, 3), (captured, 0)] {
        for still in 0..6 {
            let expected = (still != usize::from(chip)).then_some(chip);
            assert_eq!(found_by(&solved, still), expected, "while chip {still} stands still");
        }
    }
}
