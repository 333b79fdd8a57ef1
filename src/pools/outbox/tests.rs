use miner_core::job::{Extranonce2, JobId, JobTemplate, Merkle, VersionMask};
use miner_core::types::{BackendId, BlockHash, CompactTarget, Epoch, MerkleRoot, SourceId, Target};
use proptest::prelude::*;

use super::*;

fn share(id: u64) -> Arc<Share> {
    let job = JobTemplate {
        source: SourceId(0),
        epoch: Epoch(1),
        id: JobId("1".into()),
        prev: BlockHash([0; 32]),
        version: 0x2000_0000,
        version_mask: VersionMask::NONE,
        nbits: CompactTarget::new(0x1d00_ffff).unwrap(),
        ntime: 0,
        max_ntime_roll: 0,
        received: Instant::now(),
        merkle: Merkle::Fixed(MerkleRoot([0; 32])),
        share_target: Target::MAX,
        clean: false,
    };
    Arc::new(Share {
        id: ShareId(id),
        backend: BackendId(0),
        job: Arc::new(job),
        extranonce2: Extranonce2::default(),
        version: 0x2000_0000,
        ntime: 0,
        nonce: 0,
        hash: BlockHash([0; 32]),
        is_block: false,
    })
}

fn id(next: Option<Command>) -> Option<(u64, bool)> {
    match next? {
        Command::Submit(share) => Some((share.id.0, false)),
        Command::Resubmit(share) => Some((share.id.0, true)),
        Command::SuggestDifficulty(_) => None,
    }
}

#[test]
fn what_a_broken_session_left_unanswered_is_sent_again_first() {
    let now = Instant::now();
    let mut outbox = Outbox::default();
    for i in 1..=3 {
        outbox.push(now, share(i)).unwrap();
    }
    assert_eq!(id(outbox.next_command()), Some((1, false)));
    assert_eq!(id(outbox.next_command()), Some((2, false)));
    assert!(outbox.answered(ShareId(1)));
    outbox.disconnected();
    assert_eq!(id(outbox.next_command()), Some((2, true)));
    assert_eq!(id(outbox.next_command()), Some((3, false)));
    assert_eq!(id(outbox.next_command()), None);
}

#[test]
fn sessions_that_break_one_after_the_other_change_no_order() {
    let now = Instant::now();
    let mut outbox = Outbox::default();
    for i in 1..=4 {
        outbox.push(now, share(i)).unwrap();
    }
    for _ in 0..3 {
        outbox.next_command();
    }
    outbox.disconnected();
    assert_eq!(id(outbox.next_command()), Some((1, true)));
    let not_sent = outbox.next_command().unwrap();
    outbox.put_back(not_sent);
    outbox.disconnected();
    let sent: Vec<_> = std::iter::from_fn(|| id(outbox.next_command())).collect();
    assert_eq!(sent, [(1, true), (2, true), (3, true), (4, false)]);
}

#[test]
fn what_the_session_did_not_take_was_never_sent() {
    let now = Instant::now();
    let mut outbox = Outbox::default();
    for i in 1..=3 {
        outbox.push(now, share(i)).unwrap();
    }
    let first = outbox.next_command();
    let not_sent = [outbox.next_command().unwrap(), outbox.next_command().unwrap()];
    not_sent.into_iter().rev().for_each(|command| outbox.put_back(command));
    outbox.disconnected();
    assert_eq!(id(first), Some((1, false)));
    let lost = [
        (ShareId(1), LostReason::NoAnswer),
        (ShareId(2), LostReason::NotSent),
        (ShareId(3), LostReason::NotSent),
    ];
    assert_eq!(outbox.abandon(), lost);
}

#[test]
fn a_share_waits_two_minutes_for_a_session_and_the_reason_says_whether_it_was_sent() {
    let start = Instant::now();
    let mut outbox = Outbox::default();
    outbox.push(start, share(1)).unwrap();
    outbox.next_command();
    outbox.disconnected();
    outbox.push(start + Duration::from_secs(1), share(2)).unwrap();
    assert_eq!(outbox.next_expiry(), Some(start + PATIENCE));
    assert_eq!(outbox.expire(start + PATIENCE), [(ShareId(1), LostReason::NoAnswer)]);
    assert_eq!(outbox.expire(start + PATIENCE + Duration::from_secs(1)), [(ShareId(2), LostReason::NotSent)]);
    assert!(outbox.is_empty());
}

#[test]
fn there_is_room_for_a_thousand() {
    let now = Instant::now();
    let mut outbox = Outbox::default();
    for i in 0..CAPACITY as u64 {
        outbox.push(now, share(i)).unwrap();
    }
    assert_eq!(outbox.push(now, share(u64::MAX)).unwrap_err().id, ShareId(u64::MAX));
}

#[derive(Clone, Debug)]
enum Step {
    Push,
    Next,
    Answer(u64),
    Disconnect,
    Pass(u64),
    Abandon,
}

proptest! {
    #[test]
    fn every_share_leaves_exactly_once(
        steps in prop::collection::vec(
            prop_oneof![
                4 => Just(Step::Push),
                4 => Just(Step::Next),
                3 => (0..60u64).prop_map(Step::Answer),
                1 => Just(Step::Disconnect),
                1 => (1..90u64).prop_map(Step::Pass),
                1 => Just(Step::Abandon),
            ],
            1..120,
        )
    ) {
        let mut now = Instant::now();
        let (mut outbox, mut pushed) = (Outbox::default(), 0);
        let mut left = Vec::new();
        for step in steps {
            match step {
                Step::Push => {
                    outbox.push(now, share(pushed)).unwrap();
                    pushed += 1;
                }
                Step::Next => drop(outbox.next_command()),
                Step::Answer(share) => left.extend(outbox.answered(ShareId(share)).then_some(share)),
                Step::Disconnect => outbox.disconnected(),
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    left.extend(outbox.expire(now).into_iter().map(|(share, _)| share.0));
                    prop_assert!(outbox.next_expiry().is_none_or(|at| at > now));
                }
                Step::Abandon => left.extend(outbox.abandon().into_iter().map(|(share, _)| share.0)),
            }
        }
        left.extend(outbox.abandon().into_iter().map(|(share, _)| share.0));
        prop_assert!(outbox.is_empty());
        left.sort_unstable();
        prop_assert_eq!(left, (0..pushed).collect::<Vec<_>>());
    }
}
