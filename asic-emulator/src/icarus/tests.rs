use proptest::prelude::*;

use super::*;
use crate::vectors::{bytes, of_family, run};

const GOLDEN: &str = "4679ba4ec99876bf4bfe086082b400254df6c356451471139a3afa71e48f544a000000000000000000000000000000000000000087320b1a1426674f2fa722ce";

fn published(kind: IcarusKind) -> Icarus {
    Icarus::new(kind, Arc::new(KnownAnswers::published()), 0)
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// What comes out within 20 s of some bytes, and after how many seconds.
fn answers(device: &mut Icarus, input: &[u8]) -> Vec<(f64, Vec<u8>)> {
    let now = Instant::now();
    device.handle_bytes(now, 0, input);
    let sent = run(device, now, now + seconds(20.0));
    sent.into_iter().map(|(at, _, bytes)| (at.duration_since(now).as_secs_f64(), bytes)).collect()
}

#[test]
fn published_work_is_answered_with_its_nonce() {
    for vector in of_family("icarus") {
        let name = vector["name"].as_str().unwrap();
        // Icarus has two engines, the Erupter one: answers for 4 and 8 come second there or not at all.
        let kind = if name.contains("split 2") { IcarusKind::Icarus } else { IcarusKind::Erupter };
        let sent = answers(&mut published(kind), &bytes(&vector["tx"]));
        let sent: Vec<_> = sent.into_iter().map(|(_, bytes)| bytes).collect();
        let nonce = bytes(&vector["rx"]);
        if name.contains("split 4") || name.contains("split 8") {
            assert!(sent.contains(&nonce), "{name}");
        } else {
            assert_eq!(sent[0], nonce, "{name}");
        }
    }
}

#[test]
fn the_golden_nonce_is_found_by_hashing_alone() {
    let mut device = Icarus::new(IcarusKind::Erupter, Arc::default(), 1 << 17);
    let sent = answers(&mut device, &hex::decode(GOLDEN).unwrap());
    assert_eq!(sent.len(), 1);
    let (after, nonce) = &sent[0];
    assert_eq!(nonce, &[0, 1, 0x87, 0xa2]);
    assert!((0.000_298..0.000_300).contains(after), "100,258 hashes of 2.9761 ns take {after} s");
}

#[test]
fn an_antminer_answers_with_five_bytes() {
    let sent = answers(&mut published(IcarusKind::AntMinerU1), &hex::decode(GOLDEN).unwrap());
    assert_eq!(sent[0].1, [0, 1, 0x87, 0xa2, 0]);
}

#[test]
fn an_erupter_goes_on_after_a_nonce_and_an_icarus_stops() {
    let probe = bytes(&of_family("icarus")[1]["tx"]);
    assert_eq!(answers(&mut published(IcarusKind::Icarus), &probe).len(), 1);
    let all = answers(&mut published(IcarusKind::Erupter), &probe);
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all.is_sorted_by(|(a, _), (b, _)| a < b));
}

#[test]
fn work_without_a_known_nonce_is_never_answered() {
    let mut work = hex::decode(GOLDEN).unwrap();
    work[63] ^= 1;
    assert_eq!(answers(&mut Icarus::new(IcarusKind::Erupter, Arc::default(), 1000), &work), []);
    assert_eq!(answers(&mut published(IcarusKind::Erupter), &work), []);
}

#[test]
fn the_clock_of_an_antminer_follows_its_register() {
    for vector in of_family("u1u2").iter().filter(|vector| vector["mhz"].is_number()) {
        let mut device = published(IcarusKind::AntMinerU1);
        device.set_pll(Instant::now(), 0);
        answers(&mut device, &bytes(&vector["tx"]));
        assert_eq!(
            device.state(Instant::now()).megahertz,
            vector["mhz"].as_f64().unwrap(),
            "{}",
            vector["name"]
        );
    }
    let mut device = published(IcarusKind::AntMinerU1);
    answers(&mut device, &[0x82, 0x03, 0x80, 0x09]);
    let state = device.state(Instant::now());
    assert_eq!((state.megahertz, state.bad_frames), (250.0, 1), "a wrong checksum changes nothing");
}

#[test]
fn work_that_broke_off_is_forgotten() {
    let (mut device, now) = (published(IcarusKind::Erupter), Instant::now());
    device.handle_bytes(now, 0, &[7; 40]);
    assert_eq!(run(&mut device, now, now + seconds(1.0)), []);
    device.handle_bytes(now + seconds(1.0), 0, &hex::decode(GOLDEN).unwrap());
    assert_eq!(run(&mut device, now + seconds(1.0), now + seconds(2.0)).len(), 1);
    assert_eq!(device.state(now).works, 1);
}

#[test]
fn new_work_aborts_the_old() {
    let (mut device, now) = (published(IcarusKind::Erupter), Instant::now());
    let block_1 = bytes(&of_family("icarus")[5]["tx"]);
    device.handle_bytes(now, 0, &block_1);
    device.handle_bytes(now + seconds(0.05), 0, &[7; 64]);
    assert_eq!(run(&mut device, now, now + seconds(20.0)), [], "its nonce was 0.1 s away");
    assert!(device.state(now + seconds(12.0)).hashing);
    assert!(!device.state(now + seconds(13.0)).hashing, "the range is used up after 12.8 s");
}

#[test]
fn faults_strike_once() {
    let golden = hex::decode(GOLDEN).unwrap();
    let right = vec![0, 1, 0x87, 0xa2];
    let with = |fault: Fault| {
        let mut device = published(IcarusKind::Erupter);
        device.inject(Instant::now(), fault);
        let struck = answers(&mut device, &golden);
        device.inject(Instant::now(), Fault::Recover);
        let healthy = answers(&mut device, &golden);
        (struck, healthy.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>())
    };
    let (struck, healthy) = with(Fault::WrongNonceNext);
    assert!(struck[0].1 != right && struck[0].1.len() == 4 && healthy == [right.clone()]);
    let (struck, healthy) = with(Fault::TruncateNext);
    assert!(struck[0].1 == right[..2] && healthy == [right.clone()]);
    let (struck, healthy) = with(Fault::DuplicateNext);
    assert!(struck.len() == 2 && struck[0].1 == struck[1].1 && healthy == [right.clone()]);
    let (struck, healthy) = with(Fault::LateNext(seconds(3.0)));
    assert!(struck[0].0 > 3.0 && healthy == [right.clone()]);
    let (struck, healthy) = with(Fault::Hang);
    assert!(struck.is_empty() && healthy == [right.clone()]);
    let (struck, healthy) = with(Fault::Slow { chip: 0, factor: 0.001 });
    assert!((0.2..0.4).contains(&struck[0].0) && healthy == [right]);
    let (struck, healthy) = with(Fault::Dead { chip: 0 });
    assert!(struck.is_empty() && healthy.is_empty());
}

proptest! {
    #[test]
    fn whatever_comes_only_true_answers_leave(chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..100), 0u64..30), 0..30)) {
        let mut device = published(IcarusKind::AntMinerU1);
        let mut now = Instant::now();
        for (chunk, pause) in chunks {
            device.handle_bytes(now, 0, &chunk);
            now += Duration::from_millis(pause);
            prop_assert_eq!(run(&mut device, now, now).len(), 0);
        }
        now += GAP;
        device.handle_timeout(now);
        device.handle_bytes(now, 0, &hex::decode(GOLDEN).unwrap());
        // The clock may have been set to nearly nothing by a command that was none.
        prop_assert_eq!(device.state(now).works > 0, true);
    }
}
