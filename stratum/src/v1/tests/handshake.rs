//! From connected to ready, in the dialects of pools.

use super::*;

#[test]
fn the_three_requests_go_out_at_once() {
    let session = Session::connect(config(), V1Memory::default());
    assert_eq!(session.methods(), ["mining.configure", "mining.subscribe", "mining.authorize"]);
    assert_eq!(session.sent[0]["params"][1]["version-rolling.mask"], "1fffffe0");
    assert_eq!(session.sent[1]["params"].as_array().unwrap().len(), 1);
    assert_eq!(session.sent[2]["params"], json!(["alice.rig\"1", "x"]));
}

/// The greeting of each pool, line by line as it came; all must end in a job with these properties.
#[test]
fn every_dialect_leads_to_a_job() {
    let authorized = r#"{"id":3,"result":true,"error":null}"#;
    let notification = notify("j", "20000000", true).to_string();
    let bare = notification.replace(r#""id":null,"#, "");
    let ckpool = [
        r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}"#,
        r#"{"result":[[["mining.notify","6a5f"]],"a1b2c3d4",8],"id":2,"error":null}"#,
        r#"{"id":null,"method":"mining.set_difficulty","params":[8]}"#,
        notification.as_str(),
        authorized,
    ];
    let public_pool = [
        r#"{"id":1,"error":null,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"}}"#,
        r#"{"id":2,"error":null,"result":[[["mining.notify","1"]],"a1b2c3d4",4]}"#,
        r#"{"id":3,"error":null,"result":true}"#,
        r#"{"id":null,"method":"mining.set_difficulty","params":[8]}"#,
        notification.as_str(),
    ];
    let foundation = [
        r#"{"id":1,"result":false,"error":null}"#,
        r#"{"id":2,"result":[[["mining.set_difficulty","d"],["mining.notify","n"]],"a1b2c3d4",4],"error":null}"#,
        r#"{"id":null,"method":"mining.set_difficulty","params":[8]}"#,
        notification.as_str(),
        authorized,
    ];
    let translator = [
        r#"{"id":1,"error":null,"result":{"minimum-difficulty":false,"version-rolling":true,"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":"00000010"}}"#,
        r#"{"id":2,"error":null,"result":[[["mining.notify","1"]],"a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4",4]}"#,
        authorized,
        r#"{"method":"mining.set_difficulty","params":[8]}"#,
        bare.as_str(),
    ];
    let early = [
        r#"{"id":null,"method":"mining.set_difficulty","params":[8]}"#,
        notification.as_str(),
        authorized,
        r#"{"id":2,"result":["mining.notify","a1b2c3d4",4],"error":null}"#,
        r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"}}"#,
    ];
    let table = [
        (ckpool, 4, 8, true),
        (public_pool, 4, 4, true),
        (foundation, 4, 4, false),
        (translator, 16, 4, true),
        (early, 4, 4, true),
    ];
    for (lines, first_size, second_size, rolling) in table {
        let mut session = Session::connect(config(), V1Memory::default());
        for line in lines {
            session.say_raw(format!("{line}\r\n").as_bytes());
        }
        let job = session.jobs().pop().expect(lines[1]);
        let miner_core::job::Merkle::Coinbase { extranonce1, extranonce2_size, .. } = &job.merkle else {
            panic!()
        };
        assert_eq!((extranonce1.len(), *extranonce2_size), (first_size, second_size), "{lines:?}");
        assert_eq!(job.version_mask.0, if rolling { 0x1fff_e000 } else { 0 });
        assert_eq!(job.share_target.to_string()[..12], *"000000001fff");
        assert_eq!((job.source, job.epoch, job.max_ntime_roll), (SourceId(3), Epoch(7), 600));
        assert_eq!(session.ready_events(), [false]);
        assert_eq!(session.methods().last(), Some(&"mining.extranonce.subscribe"));
        session.submit(&share(1, &Arc::new(job), if rolling { 0x2000_2000 } else { 0x2000_0000 }));
        assert_eq!(
            session.sent.last().unwrap()["params"].as_array().unwrap().len(),
            if rolling { 6 } else { 5 }
        );
    }
}

#[test]
fn without_an_answer_to_configure_there_is_no_rolling_after_five_seconds() {
    let mut session = Session::connect(config(), V1Memory::default());
    session.say(json!({"id": 2, "result": [[["mining.notify", "s"]], "", 4], "error": null}));
    session.say(json!({"id": 3, "result": true, "error": null}));
    session.notify("j", "20000000", true);
    session.pass(Duration::from_millis(4_999));
    assert!(session.events.is_empty());
    session.pass(Duration::from_millis(1));
    assert_eq!(session.ready_events(), [false]);
    assert_eq!(session.jobs()[0].version_mask.0, 0);
    session.say(json!({"id": 1, "result": {"version-rolling": true, "version-rolling.mask": "1fffe000"}}));
    session.notify("k", "20000000", false);
    session.pass(Duration::from_secs(1));
    assert_eq!(session.jobs()[1].version_mask.0, 0x1fff_e000);
}

#[test]
fn configure_garbage_means_no_rolling() {
    let table = [
        json!({"id": 1, "result": {"version-rolling": true}}),
        json!({"id": 1, "result": {"version-rolling": "no", "version-rolling.mask": "1fffe000"}}),
        json!({"id": 1, "result": {"version-rolling": true, "version-rolling.mask": "xyz"}}),
        json!({"id": 1, "result": [true], "error": null}),
        json!({"id": 1, "result": {"version-rolling": true, "version-rolling.mask": "1fffe000"}, "error": [20, "no", null]}),
        json!({"id": 1, "error": "unknown method"}),
    ];
    for answer in table {
        let mut session = Session::connect(config(), V1Memory::default());
        session.say(answer.clone());
        session.say(json!({"id": 2, "result": [[], "00", 4]}));
        session.say(json!({"id": 3, "result": true}));
        session.notify("j", "20000000", true);
        assert_eq!(session.jobs().pop().expect("a job").version_mask.0, 0, "{answer}");
        session.submit(&share(1, &Arc::new(session.jobs().pop().unwrap()), 0x2000_0000));
        assert_eq!(session.sent.last().unwrap()["params"].as_array().unwrap().len(), 5);
    }
}

#[test]
fn a_subscription_of_no_use_ends_the_attempt() {
    let table = [
        (json!({"id": 2, "result": null, "error": [20, "go away\u{1b}[2J", null]}), "go away\\u{1b}[2J"),
        (json!({"id": 2, "result": true, "error": null}), "no reason given"),
        (json!({"id": 2, "result": []}), "extranonce1 is missing"),
        (json!({"id": 2, "result": [[], "zz", 4]}), "extranonce1 is not hex of the right length"),
        (json!({"id": 2, "result": [[], "aa".repeat(33), 4]}), "an extranonce1 of 33 bytes (at most 32)"),
        (json!({"id": 2, "result": [[], "aa", 0]}), "an extranonce2 of 0 bytes (allowed are 1 to 16)"),
        (
            json!({"id": 2, "result": [[], "aa", 1_000_000_000]}),
            "an extranonce2 of 1000000000 bytes (allowed are 1 to 16)",
        ),
    ];
    for (answer, expected) in table {
        let mut session = Session::connect(config(), V1Memory::default());
        session.say(answer);
        let why = expected.to_owned();
        assert_eq!(session.end, Some(ProtocolError::Refused { step: "mining.subscribe", why }));
        assert!(!session.client.can_submit() && session.client.next_deadline().is_none());
    }
}

#[test]
fn a_refused_user_ends_the_attempt() {
    for answer in [
        json!({"id": 3, "result": false}),
        json!({"id": 3, "result": null, "error": [24, "unknown user", null]}),
    ] {
        let mut session = Session::connect(config(), V1Memory::default());
        session.say(json!({"id": 2, "result": [[], "aa", 4]}));
        session.say(answer);
        assert!(matches!(session.end, Some(ProtocolError::Unauthorized(_))), "{:?}", session.end);
    }
}

#[test]
fn a_handshake_that_takes_fifteen_seconds_is_over() {
    let table = [
        (vec![], "answer to mining.subscribe"),
        (vec![json!({"id": 3, "result": true})], "answer to mining.subscribe"),
        (vec![json!({"id": 2, "result": [[], "aa", 4]})], "answer to mining.authorize"),
    ];
    for (lines, what) in table {
        let mut session = Session::connect(config(), V1Memory::default());
        lines.into_iter().for_each(|line| session.say(line));
        session.pass(Duration::from_millis(14_999));
        assert_eq!(session.end, None);
        session.pass(Duration::from_millis(1));
        assert_eq!(session.end, Some(ProtocolError::Timeout { what, after: Duration::from_secs(15) }));
    }
}

#[test]
fn a_session_is_resumed_only_with_the_same_extranonce() {
    let table = [
        (json!([[["mining.notify", "sid-2"]], "aabbccdd", 4]), true),
        (json!([[["mining.notify", "sid-1"]], "aabbccde", 4]), false),
        (json!([[["mining.notify", "sid-1"]], "aabbccdd", 5]), false),
    ];
    for (answer, resumed) in table {
        let memory = Session::ready().client.into_memory();
        let mut session = Session::connect(config(), memory);
        assert_eq!(session.sent[1]["params"][1], "sid-1");
        session.say(json!({"id": 1, "result": {}}));
        session.say(json!({"id": 2, "result": answer}));
        session.say(json!({"id": 3, "result": true}));
        assert_eq!(session.ready_events(), [resumed]);
    }
}

#[test]
fn nothing_is_resumed_after_a_refusal_or_another_extranonce() {
    let mut session = Session::connect(config(), Session::ready().client.into_memory());
    session.say(json!({"id": 2, "error": "no such session"}));
    let session = Session::connect(config(), session.client.into_memory());
    assert_eq!(session.sent[1]["params"].as_array().unwrap().len(), 1);

    let mut session = Session::ready();
    session.say(json!({"method": "mining.set_extranonce", "params": ["ff", 4]}));
    let session = Session::connect(config(), session.client.into_memory());
    assert_eq!(session.sent[1]["params"].as_array().unwrap().len(), 1);
}

#[test]
fn a_session_id_that_is_too_long_or_odd_is_not_remembered() {
    for id in ["x".repeat(129), "a\nb".to_owned()] {
        let mut session = Session::connect(config(), V1Memory::default());
        session.say(json!({"id": 2, "result": [[["mining.notify", id]], "aa", 4]}));
        assert_eq!(session.client.into_memory().session, None);
    }
}

/// ckpool of 2017 hangs up on configure.
#[test]
fn configure_is_left_out_after_two_mute_connections_and_tried_again_when_that_did_not_help() {
    let mut memory = V1Memory::default();
    let mut with_configure = Vec::new();
    for _ in 0..4 {
        let session = Session::connect(config(), memory);
        with_configure.push(session.methods().len() == 3);
        memory = session.client.into_memory();
    }
    assert_eq!(with_configure, [true, true, false, true]);

    memory.skip_configure = true;
    let mut session = Session::connect(config(), memory);
    session.say(json!({"id": 1, "result": [[], "aa", 4]}));
    session.say(json!({"id": 2, "result": true}));
    assert_eq!(session.ready_events(), [false]);
    assert!(session.client.into_memory().skip_configure);
}

#[test]
fn a_suggested_difficulty_goes_out_once_authorised_as_a_whole_number() {
    for (difficulty, expected) in [(1000.6, json!([1000])), (0.5, json!([0.5]))] {
        let mut config = config();
        config.suggest_difficulty = miner_core::types::Difficulty::new(difficulty);
        let mut session = Session::connect(config, V1Memory::default());
        session.say(json!({"id": 1, "result": {"subscribe-extranonce": true}}));
        session.say(json!({"id": 2, "result": [[], "aa", 4]}));
        session.say(json!({"id": 3, "result": true}));
        let last = session.sent.last().unwrap();
        assert_eq!((&last["method"], &last["params"]), (&json!("mining.suggest_difficulty"), &expected));
        assert!(!session.methods().contains(&"mining.extranonce.subscribe"));
        let before = session.sent.len();
        session.client.suggest_difficulty(session.now, config_difficulty());
        session.drain();
        assert_eq!(session.sent.len(), before, "at most once a minute");
    }
}

fn config_difficulty() -> miner_core::types::Difficulty {
    miner_core::types::Difficulty::new(7.0).unwrap()
}

#[test]
fn a_session_that_never_became_ready_takes_no_place_of_one_that_was() {
    let memory = Session::ready().client.into_memory();
    let mut between = Session::connect(config(), memory);
    assert_eq!(between.sent[1]["params"][1], "sid-1");
    between.say(json!({"id": 2, "result": [[["mining.notify", "sid-2"]], "bb", 4], "error": null}));
    let mut after = Session::connect(config(), between.client.into_memory());
    assert_eq!(after.sent[1]["params"][1], "sid-1");
    after.say(json!({"id": 1, "result": {}}));
    after.say(json!({"id": 2, "result": [[["mining.notify", "sid-3"]], "bb", 4], "error": null}));
    after.say(json!({"id": 3, "result": true}));
    assert_eq!(after.ready_events(), [false]);
}
