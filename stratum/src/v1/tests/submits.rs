//! Shares and their answers.

use miner_core::share::LostReason;

use super::*;

#[test]
fn every_answer_shape_is_told_apart() {
    use RejectKind::*;
    let table = [
        (json!({"result": true, "error": null}), ShareOutcome::Accepted),
        (json!({"result": true}), ShareOutcome::Accepted),
        (json!({"result": null, "error": null}), reject(Other, None, "no reason given")),
        (json!({"result": false}), reject(Other, None, "no reason given")),
        (json!({"result": "true"}), reject(Other, None, "no reason given")),
        (json!({"result": true, "error": [23, "low", null]}), reject(LowDifficulty, Some(23), "low")),
        (json!({"result": false, "error": null, "reject-reason": "Stale"}), reject(Stale, None, "Stale")),
        (
            json!({"result": false, "error": "Invalid version mask"}),
            reject(Other, None, "Invalid version mask"),
        ),
        (
            json!({"result": false, "error": [21, "Invalid JobID", null]}),
            reject(Stale, Some(21), "Invalid JobID"),
        ),
        (
            json!({"result": null, "error": [22, "Duplicate share", ""]}),
            reject(Duplicate, Some(22), "Duplicate share"),
        ),
        (json!({"result": null, "error": [20, "Job not found"]}), reject(Stale, Some(20), "Job not found")),
        (json!({"result": false, "error": "Above target"}), reject(LowDifficulty, None, "Above target")),
        (json!({"error": {"code": 22, "message": "dup"}}), reject(Duplicate, Some(22), "dup")),
        (json!({"error": [20, "Worker mismatch", null]}), reject(Other, Some(20), "Worker mismatch")),
        (json!({"error": [20, "\u{1b}]0;x\u{7}", null]}), reject(Other, Some(20), "\\u{1b}]0;x\\u{7}")),
    ];
    for (mut answer, expected) in table {
        let (mut session, job) = Session::mining();
        let id = session.submit(&share(42, &job, 0x2000_0000));
        answer["id"] = json!(id);
        session.say(answer.clone());
        assert_eq!(session.outcomes(), [(42, expected)], "{answer}");
        assert_eq!(session.end, None);
    }
}

#[test]
fn long_words_of_a_refusal_are_cut() {
    let (mut session, job) = Session::mining();
    let id = session.submit(&share(1, &job, 0x2000_0000));
    session.say(json!({"id": id, "error": [20, "x".repeat(10_000), null]}));
    let ShareOutcome::Rejected(reject) = session.outcomes().remove(0).1 else { panic!() };
    assert_eq!(reject.text.chars().count(), 256);
}

#[test]
fn answers_are_matched_by_id_whatever_their_order() {
    let (mut session, job) = Session::mining();
    let ids: Vec<u64> = (0..128).map(|n| session.submit(&share(n, &job, 0x2000_0000))).collect();
    assert!(session.client.can_submit());
    for (n, id) in ids.iter().enumerate().rev() {
        session.say(json!({"id": id, "result": n % 3 != 0, "error": null}));
    }
    let outcomes = session.outcomes();
    assert_eq!(outcomes.len(), 128);
    for (share, outcome) in outcomes {
        assert_eq!(outcome == ShareOutcome::Accepted, share % 3 != 0, "{share}");
    }
}

#[test]
fn unsolicited_and_repeated_answers_count_for_nothing() {
    let (mut session, job) = Session::mining();
    let id = session.submit(&share(1, &job, 0x2000_0000));
    for strange in [json!(4), json!(null), json!("5"), json!(999), json!(-1), json!(1e30), json!([id])] {
        session.say(json!({"id": strange, "result": true, "error": null}));
    }
    session.say(json!({"id": id.to_string(), "result": true, "error": null}));
    assert!(session.outcomes().is_empty());
    session.say(json!({"id": id, "result": true, "error": null}));
    session.say(json!({"id": id, "result": false, "error": null}));
    assert_eq!(session.outcomes(), [(1, ShareOutcome::Accepted)]);
    assert!(session.client.counters().unsolicited >= 8);
    assert!(session.warnings().len() <= 6);
}

#[test]
fn a_submit_is_serialised_whatever_the_job_id() {
    let mut session = Session::ready();
    let odd = "a\"b\\c</script>\u{202e}{}";
    session.notify(odd, "20000000", true);
    let job = Arc::new(session.jobs().remove(0));
    session.submit(&share(1, &job, 0x2000_4000));
    assert_eq!(
        session.sent.last().unwrap()["params"],
        json!(["alice.rig\"1", odd, "01000000", "60000001", "00000abc", "00004000"])
    );
}

#[test]
fn the_longest_submit_fits_into_a_line() {
    let mut config = config();
    config.login = Login::new(&"u".repeat(300), Secret::new("\"".repeat(150))).unwrap();
    config.agent = "\u{1}".repeat(100);
    let mut session = Session::connect(config, V1Memory::default());
    session.say(json!({"id": 1, "result": {"version-rolling": true, "version-rolling.mask": "1fffe000"}}));
    session.say(json!({"id": 2, "result": [[["mining.notify", "\"".repeat(128)]], "aa", 16]}));
    session.say(json!({"id": 3, "result": true}));
    session.notify(&"\"".repeat(128), "20000000", true);
    let job = Arc::new(session.jobs().remove(0));
    session.submit(&share(1, &job, 0x2000_4000));
    assert_eq!(session.methods().last(), Some(&"mining.submit"));
    let memory = session.client.into_memory();
    assert_eq!(Session::connect(super::config(), memory).methods().len(), 3);
}

#[test]
fn a_broken_session_ends_after_the_refusal_was_told() {
    for code in [24, 25] {
        let (mut session, job) = Session::mining();
        let id = session.submit(&share(1, &job, 0x2000_0000));
        session.say(json!({"id": id, "error": [code, "who are you", null]}));
        assert_eq!(session.outcomes().len(), 1);
        assert!(session.end.is_some() && !session.client.can_submit());
    }
}

#[test]
fn a_single_missing_answer_is_lost_after_two_minutes_and_late_after_that() {
    let (mut session, job) = Session::mining();
    let missing = session.submit(&share(1, &job, 0x2000_0000));
    session.pass_chatting(1);
    let answered = session.submit(&share(2, &job, 0x2000_0000));
    session.say(json!({"id": answered, "result": true}));
    session.pass_chatting(28);
    assert!(session.warnings().is_empty());
    session.pass_chatting(1);
    assert_eq!(session.warnings().len(), 1);
    session.pass_chatting(89);
    assert_eq!(session.outcomes(), [(2, ShareOutcome::Accepted)]);
    session.pass_chatting(1);
    let lost = ShareOutcome::Lost(LostReason::NoAnswer);
    assert_eq!(session.outcomes(), [(2, ShareOutcome::Accepted), (1, lost)]);
    session.forget();
    session.say(json!({"id": missing, "result": true}));
    session.say(json!({"id": missing, "result": true}));
    assert!(session.outcomes().is_empty());
    let late = session
        .events
        .iter()
        .filter(|event| matches!(event, PoolEvent::Late { share: ShareId(1), accepted: true }));
    assert_eq!(late.count(), 1);
    assert_eq!(session.end, None);
}

#[test]
fn three_unanswered_shares_in_a_row_end_the_session() {
    let (mut session, job) = Session::mining();
    for n in 0..3 {
        session.submit(&share(n, &job, 0x2000_0000));
        session.pass_chatting(10);
    }
    session.pass_chatting(19);
    assert_eq!(session.end, None);
    session.pass_chatting(1);
    let after = Duration::from_secs(30);
    assert_eq!(session.end, Some(ProtocolError::Timeout { what: "answer to the last shares", after }));
    assert!(session.outcomes().is_empty(), "what is open belongs to the caller");
}

#[test]
fn the_window_is_bounded_and_a_share_beyond_it_is_not_sent() {
    let (mut session, job) = Session::mining();
    let mut count = 0;
    while session.client.can_submit() {
        session.submit(&share(count, &job, 0x2000_0000));
        count += 1;
    }
    assert!((64..=1_000).contains(&count));
    let before = session.sent.len();
    session.submit(&share(count, &job, 0x2000_0000));
    assert_eq!(session.sent.len(), before);
    assert_eq!(session.outcomes(), [(count, ShareOutcome::Lost(LostReason::NotSent))]);
}

#[test]
fn a_duplicate_counts_only_where_the_share_was_sent_again() {
    for (again, expected) in
        [(true, ShareOutcome::Accepted), (false, reject(RejectKind::Duplicate, Some(22), "Duplicate"))]
    {
        let (mut session, job) = Session::mining();
        let share = share(9, &job, 0x2000_0000);
        if again {
            session.client.resubmit(session.now, &share);
        } else {
            session.client.submit(session.now, &share);
        }
        session.drain();
        let id = session.sent.last().unwrap()["id"].clone();
        session.say(json!({"id": id, "error": [22, "Duplicate", null]}));
        assert_eq!(session.outcomes(), [(9, expected)]);
    }
}

#[test]
fn a_version_that_was_rolled_is_not_sent_where_rolling_is_not_agreed_on() {
    let (_, job) = Session::mining();
    let mut session = Session::connect(config(), V1Memory::default());
    session.say(json!({"id": 1, "result": {"version-rolling": false}}));
    session.say(json!({"id": 2, "result": [[["mining.notify", "sid-1"]], "aabbccdd", 4], "error": null}));
    session.say(json!({"id": 3, "result": true, "error": null}));
    session.forget();
    let (rolled, base) = (share(1, &job, 0x2000_2000), share(2, &job, 0x2000_0000));
    session.submit(&rolled);
    session.client.resubmit(session.now, &rolled);
    session.drain();
    let lost = [LostReason::NotSent, LostReason::NoAnswer].map(|reason| (1, ShareOutcome::Lost(reason)));
    assert_eq!(session.outcomes(), lost);
    assert!(session.sent.is_empty());
    session.submit(&base);
    assert_eq!(session.sent[0]["params"].as_array().unwrap().len(), 5);
}

fn signalling() -> (Session, Arc<JobTemplate>) {
    let mut session = Session::ready();
    session.notify("s", "30000000", true);
    let job = Arc::new(session.jobs().remove(0));
    session.forget();
    (session, job)
}

#[test]
fn a_pool_that_xors_version_bits_is_found_out_and_remembered() {
    let (mut session, job) = signalling();
    let first = session.submit(&share(1, &job, 0x3000_2000));
    assert_eq!(session.sent.last().unwrap()["params"][5], "10002000");
    session.say(json!({"id": first, "error": [23, "Difficulty too low", ""]}));
    assert!(session.outcomes().is_empty());
    let retry = session.sent.last().unwrap().clone();
    assert_eq!(retry["params"][5], "00002000");
    session.say(json!({"id": retry["id"], "result": true}));
    assert_eq!(session.outcomes(), [(1, ShareOutcome::Accepted)]);
    session.submit(&share(2, &job, 0x3000_4000));
    assert_eq!(session.sent.last().unwrap()["params"][5], "00004000");
    assert_eq!(session.client.into_memory().convention, Some(crate::v1::VersionConvention::Xor));
}

#[test]
fn a_share_that_is_low_either_way_is_refused_once_with_the_first_words() {
    let (mut session, job) = signalling();
    for n in 0..6 {
        let first = session.submit(&share(n, &job, 0x3000_2000));
        let tries = session.sent.len();
        session.say(json!({"id": first, "error": [23, "first", null]}));
        if session.sent.len() > tries {
            let retry = session.sent.last().unwrap()["id"].clone();
            session.say(json!({"id": retry, "error": [23, "second", null]}));
        }
    }
    let refused = reject(RejectKind::LowDifficulty, Some(23), "first");
    assert_eq!(session.outcomes(), (0..6).map(|n| (n, refused.clone())).collect::<Vec<_>>());
    assert_eq!(session.sent.len(), 9, "three second tries are enough");
}

#[test]
fn a_pool_that_took_bip_310_bits_is_not_tried_otherwise() {
    let (mut session, job) = signalling();
    let first = session.submit(&share(1, &job, 0x3000_2000));
    session.say(json!({"id": first, "result": true}));
    let second = session.submit(&share(2, &job, 0x3000_4000));
    session.say(json!({"id": second, "error": [23, "low", null]}));
    assert_eq!(session.outcomes().len(), 2);
    assert_eq!(session.sent.len(), 2);
}
