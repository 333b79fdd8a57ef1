//! What jobs are stamped with, and when they are delivered.

use miner_core::job::{Merkle, VersionMask};
use miner_core::types::{Difficulty, Target};

use super::*;

fn difficulties(session: &Session) -> Vec<f64> {
    let told = |event: &PoolEvent| match event {
        PoolEvent::Difficulty(difficulty) => Some(difficulty.get()),
        _ => None,
    };
    session.events.iter().filter_map(told).collect()
}

fn set_difficulty(value: Value) -> Value {
    json!({"id": null, "method": "mining.set_difficulty", "params": [value]})
}

#[test]
fn a_difficulty_applies_from_the_next_job_on() {
    let (mut session, first) = Session::mining();
    assert_eq!(first.share_target, Target::DIFFICULTY_1);
    session.say(set_difficulty(json!(1024.5)));
    assert!(session.events.is_empty());
    session.pass(Duration::from_secs(1));
    session.notify("job-2", "20000000", false);
    assert_eq!(difficulties(&session), [1024.5]);
    assert_eq!(session.jobs()[0].share_target, Target::from(Difficulty::new(1024.5).unwrap()));
}

#[test]
fn a_difficulty_of_no_use_leaves_the_last_one_in_force() {
    let (mut session, _) = Session::mining();
    session.say(set_difficulty(json!(16)));
    for bad in [json!(0), json!(-5), json!("1024"), json!(null), json!([]), json!({}), json!(true)] {
        session.say(set_difficulty(bad));
    }
    session.say_raw(b"{\"method\":\"mining.set_difficulty\",\"params\":[1e400]}\n");
    session.say_raw(b"{\"method\":\"mining.set_difficulty\",\"params\":[NaN]}\n");
    session.pass(Duration::from_secs(1));
    session.notify("job-2", "20000000", false);
    assert_eq!(difficulties(&session), [16.0]);
    assert!(!session.warnings().is_empty());
    assert_eq!(session.end, None);
}

#[test]
fn extreme_difficulties_saturate() {
    let (mut session, _) = Session::mining();
    for (difficulty, target) in [(1e-12, Target::MAX), (1e60, Target::from(Difficulty::new(1e60).unwrap()))] {
        session.say(set_difficulty(json!(difficulty)));
        session.pass(Duration::from_secs(1));
        session.notify("j", "20000000", false);
        assert_eq!(session.jobs().pop().unwrap().share_target, target);
    }
}

#[test]
fn a_job_of_no_use_leaves_the_last_one_in_force() {
    let (mut session, first) = Session::mining();
    for (at, value) in [(0, json!(7)), (1, json!("00")), (2, json!("0")), (4, json!(null)), (6, json!("zz"))]
    {
        let mut bad = notify("bad", "20000000", true);
        bad["params"][at] = value;
        session.say(bad);
    }
    session.pass(Duration::from_secs(1));
    assert!(session.jobs().is_empty());
    assert_eq!(session.warnings().len(), 5);
    assert_eq!(session.client.counters().unusable, 5);
    session.submit(&share(1, &first, 0x2000_0000));
    session.say(json!({"id": 5, "result": true, "error": null}));
    assert_eq!(session.outcomes(), [(1, ShareOutcome::Accepted)]);
}

#[test]
fn an_extranonce_applies_from_the_next_job_on() {
    let (mut session, first) = Session::mining();
    session.say(json!({"method": "mining.set_extranonce", "params": ["0102", 7]}));
    session.say(json!({"method": "mining.set_extranonce", "params": ["0102", 17]}));
    session.pass(Duration::from_secs(1));
    assert!(session.jobs().is_empty());
    session.notify("job-2", "20000000", false);
    let Merkle::Coinbase { extranonce1, extranonce2_size, .. } = session.jobs().remove(0).merkle else {
        panic!()
    };
    assert_eq!((&extranonce1[..], extranonce2_size), (&[1, 2][..], 7));
    session.submit(&share(1, &first, 0x2000_0000));
    assert_eq!(session.sent.last().unwrap()["params"][2], "01000000", "an older job keeps its own");
}

#[test]
fn a_narrower_mask_delivers_the_newest_job_again_at_once() {
    let (mut session, first) = Session::mining();
    assert_eq!(first.version_mask, VersionMask(0x1fff_e000));
    session.pass(Duration::from_secs(1));
    session.say(json!({"method": "mining.set_version_mask", "params": ["00ffe000"]}));
    let again = session.jobs().remove(0);
    assert_eq!((again.version_mask, again.clean), (VersionMask(0x00ff_e000), true));
    assert!(again.same_content(&first) && again.id == first.id);
    session.forget();
    session.pass(Duration::from_secs(1));
    session.say(json!({"method": "mining.set_version_mask", "params": ["1fffe000"]}));
    session.pass(Duration::from_secs(1));
    assert!(session.jobs().is_empty(), "a wider mask is for the jobs to come");
    session.notify("job-2", "20000000", false);
    assert_eq!(session.jobs()[0].version_mask, VersionMask(0x1fff_e000));
}

#[test]
fn a_mask_that_wavers_never_widens_a_delivered_job() {
    let (mut session, _) = Session::mining();
    for mask in ["0fffe000", "ffffffff", "1fffe000"] {
        session.say(json!({"method": "mining.set_version_mask", "params": [mask]}));
    }
    session.pass(Duration::from_secs(1));
    assert!(session.jobs().iter().all(|job| job.version_mask.0 & !0x1fff_e000 == 0));
}

#[test]
fn a_mask_without_an_agreement_is_ignored() {
    let mut session = Session::connect(config(), V1Memory::default());
    session.say(json!({"id": 1, "result": false}));
    session.say(json!({"id": 2, "result": [[], "aa", 4]}));
    session.say(json!({"id": 3, "result": true}));
    session.say(json!({"method": "mining.set_version_mask", "params": ["1fffe000"]}));
    session.notify("j", "20000000", true);
    assert_eq!(session.jobs()[0].version_mask, VersionMask::NONE);
}

#[test]
fn a_flood_of_jobs_is_delivered_at_twenty_a_second_newest_first_clean_kept() {
    let (mut session, _) = Session::mining();
    session.pass(Duration::from_secs(1));
    for n in 0..10_000 {
        session.notify(&format!("flood-{n}"), "20000000", n == 5_000);
        if n % 10 == 9 {
            session.pass(Duration::from_millis(1));
        }
    }
    session.pass(Duration::from_secs(1));
    let jobs = session.jobs();
    assert!((20..=22).contains(&jobs.len()), "{}", jobs.len());
    assert_eq!(&*jobs.last().unwrap().id.0, "flood-9999");
    assert_eq!(jobs.iter().filter(|job| job.clean).count(), 1);
}

#[test]
fn jobs_that_nobody_takes_do_not_pile_up() {
    let (mut session, _) = Session::mining();
    for n in 0..100 {
        let line = format!("{}\n", notify(&format!("n-{n}"), "20000000", n == 3));
        session.now += Duration::from_millis(100);
        session.client.handle_bytes(session.now, line.as_bytes()).unwrap();
    }
    session.drain();
    let jobs = session.jobs();
    assert_eq!(jobs.len(), 1);
    assert_eq!((&*jobs[0].id.0, jobs[0].clean), ("n-99", true));
}
