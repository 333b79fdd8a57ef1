use super::*;
use crate::vectors::{bytes, of_family, run};

/// What a stick answers to a burst and the silence after it.
fn ask(stick: &mut Bm1384, now: Instant, burst: &[u8]) -> Vec<Vec<u8>> {
    stick.handle_bytes(now, 0, burst);
    run(stick, now, now + GAP).into_iter().map(|(_, _, bytes)| bytes).collect()
}

fn command(code: u8, a: u8, b: u8) -> [u8; 4] {
    [code, a, b, crc5(&[code, a, b, 0], 27)]
}

fn stick(chips: usize) -> Bm1384 {
    Bm1384::new(chips, Arc::new(KnownAnswers::published()))
}

/// Block 1 as work, job id 0x19.
fn block_1(count: u32, mask: u8) -> Vec<u8> {
    let mut work = bytes(&of_family("icarus")[5]["tx"]);
    work[39] = mask;
    work[40..44].copy_from_slice(&count.to_be_bytes());
    work[51] = 0x19;
    work
}

#[test]
fn published_commands_are_heeded() {
    let (mut stick, mut now) = (stick(1), Instant::now());
    for vector in of_family("bm1384").iter().filter(|vector| vector["tx"].is_string()) {
        ask(&mut stick, now, &bytes(&vector["tx"]));
        if let Some(megahertz) = vector["mhz"].as_f64() {
            assert_eq!(stick.state(now).megahertz, megahertz, "{}", vector["name"]);
        }
        now += GAP * 2;
    }
    assert_eq!(stick.state(now).bad_frames, 0);
    ask(&mut stick, now, &[0x84, 0, 0, 0x10]);
    assert_eq!(stick.state(now).bad_frames, 1);
}

#[test]
fn work_that_takes_longer_than_the_silence_to_arrive_is_not_torn() {
    let (mut stick, now) = (stick(1), Instant::now());
    let work = block_1(u32::MAX, 0);
    stick.handle_bytes(now, 0, &work[..10]);
    // The first of the rest came at once, the last one 4.7 ms later.
    stick.handle_bytes(now + BYTE * 54, 0, &work[10..]);
    assert_eq!((stick.state(now).works, stick.state(now).bad_frames), (1, 0));
}

#[test]
fn commands_that_run_into_work_are_told_from_it() {
    let (mut stick, now) = (stick(2), Instant::now());
    let commands =
        [command(0x85, 0, 0), command(0x01, 0, 0), command(0x01, 0x80, 0), command(0x82, 0x0b, 0x83)];
    stick.handle_bytes(now, 0, &[&commands.concat()[..], &block_1(u32::MAX / 2, 0)].concat());
    let state = stick.state(now);
    assert_eq!((state.works, state.bad_frames, state.megahertz), (1, 0, 150.0));
    let ids = ask(&mut stick, now, &command(0x84, 0, 0));
    assert_eq!(ids.iter().map(|id| id[3]).collect::<Vec<_>>(), [0, 0x80]);
}

#[test]
fn chips_are_counted_addressed_and_read() {
    let (mut stick, now) = (stick(2), Instant::now());
    let published = of_family("bm1384");
    let id = published.iter().find(|vector| vector["name"] == "chip id answer").unwrap();
    assert_eq!(ask(&mut stick, now, &[0x84, 0, 0, 0x11]), vec![bytes(&id["rx"]); 2]);
    assert!(ask(&mut stick, now, &command(0x85, 0, 0)).is_empty());
    assert!(ask(&mut stick, now, &[command(0x01, 0, 0), command(0x01, 0x80, 0)].concat()).is_empty());
    let ids = ask(&mut stick, now, &command(0x84, 0, 0));
    assert_eq!(ids.iter().map(|id| id[3]).collect::<Vec<_>>(), [0, 0x80]);
    ask(&mut stick, now, &command(0x82, 0x0b, 0x83));
    let read = ask(&mut stick, now, &command(0x04, 0x80, 0x04)).remove(0);
    let [flag, r1, r2, r3] = [read[0], read[1], read[2], read[3]].map(f64::from);
    assert_eq!((read.len(), flag), (5, 128.0));
    assert_eq!((r1 + 1.0) * 6.25 / (1.0 + r2) * 2f64.powf(3.0 - r3), 150.0);
    assert!(read[4] <= 0x1f);
}

#[test]
fn work_is_answered_with_its_job_as_far_as_the_chip_counts() {
    let published = of_family("bm1384");
    let answer = published.iter().find(|vector| vector["name"].as_str().unwrap().contains("0x19")).unwrap();
    let find = |count, mask| {
        let (mut stick, now) = (stick(1), Instant::now());
        stick.handle_bytes(now, 0, &block_1(count, mask));
        let sent = run(&mut stick, now, now + Duration::from_secs(2));
        sent.into_iter().map(|(_, _, bytes)| bytes).collect::<Vec<_>>()
    };
    assert_eq!(find(u32::MAX, 0), [bytes(&answer["rx"])]);
    assert_eq!(find(0, 0), [[0u8; 0]; 0], "work that opens cores");
    assert_eq!(find(0x01e3_6299, 0), [[0u8; 0]; 0], "one nonce short");
    assert_eq!(find(u32::MAX, 1), [[0u8; 0]; 0], "difficulty 2");
}

#[test]
fn chips_divide_the_nonces_by_their_addresses() {
    let (mut stick, mut now) = (stick(2), Instant::now());
    ask(&mut stick, now, &[command(0x85, 0, 0), command(0x01, 0, 0), command(0x01, 0x80, 0)].concat());
    now += GAP * 2;
    stick.handle_bytes(now, 0, &block_1(u32::MAX / 2, 0));
    assert_eq!(run(&mut stick, now, now + Duration::from_secs(2)).len(), 1);
    assert!(!stick.state(now + Duration::from_secs(2)).hashing);
}
