//! Pools that are broken, slow, silent or malicious.

use super::*;

#[test]
fn ten_unreadable_lines_within_a_minute_end_the_session() {
    let (mut session, _) = Session::mining();
    let garbage: [&[u8]; 9] = [
        b"hello\n",
        b"\xff\xfe\n",
        b"\0\n",
        b"{\n",
        b"[]\n",
        b"{\"method\":\"\\ud800\"}\n",
        b"null\n",
        b"1\n",
        b"\"x\"\n",
    ];
    for line in garbage {
        session.say_raw(line);
        session.say_raw(b"\r\n\n");
    }
    assert_eq!(session.end, None);
    session.say_raw(format!("{}\n", "[".repeat(10_000)).as_bytes());
    assert!(matches!(session.end, Some(ProtocolError::Garbage { count: 10, .. })), "{:?}", session.end);
    assert!(session.warnings().len() <= 6);
}

#[test]
fn nine_unreadable_lines_a_minute_are_survived() {
    let (mut session, _) = Session::mining();
    for n in 0..60 {
        session.say_raw(b"garbage\n");
        session.pass(Duration::from_millis(6_700));
        session.notify(&n.to_string(), "20000000", false);
    }
    assert_eq!(session.end, None);
}

#[test]
fn a_long_line_is_skipped_and_an_endless_one_ends_the_session() {
    let (mut session, _) = Session::mining();
    session.say_raw(&vec![b'x'; 70 * 1024]);
    session.say_raw(b"\n");
    session.notify("after", "20000000", true);
    session.pass(Duration::from_secs(1));
    assert_eq!(&*session.jobs().pop().unwrap().id.0, "after");
    for _ in 0..5 * 1024 {
        session.say_raw(&[b'x'; 1024]);
        if session.end.is_some() {
            break;
        }
    }
    assert_eq!(session.end, Some(ProtocolError::LineTooLong { limit: 64 * 1024 }));
}

#[test]
fn half_a_line_is_waited_for_a_minute_however_it_dribbles() {
    let (mut session, _) = Session::mining();
    for _ in 0..59 {
        session.say_raw(b"{");
        session.pass(Duration::from_secs(1));
    }
    assert_eq!(session.end, None);
    session.say_raw(b"{");
    session.pass(Duration::from_secs(1));
    let after = Duration::from_secs(60);
    assert_eq!(session.end, Some(ProtocolError::Timeout { what: "end of a line", after }));
}

#[test]
fn a_silent_pool_is_left_after_three_of_its_usual_gaps() {
    let table = [(None, 90), (Some(5), 60), (Some(40), 120), (Some(85), 180)];
    for (gap, limit) in table {
        let (mut session, _) = Session::mining();
        for n in 0..gap.map_or(0, |_| 5) {
            session.pass(Duration::from_secs(gap.unwrap()));
            session.notify(&n.to_string(), "20000000", false);
        }
        session.pass(Duration::from_millis(limit * 1000 - 1));
        assert_eq!(session.end, None, "{gap:?}");
        session.pass(Duration::from_millis(1));
        let after = Duration::from_secs(limit);
        assert_eq!(session.end, Some(ProtocolError::Timeout { what: "message from the pool", after }));
    }
}

#[test]
fn the_pace_of_a_pool_is_remembered() {
    let (mut session, _) = Session::mining();
    session.pass(Duration::from_secs(55));
    session.notify("2", "20000000", false);
    let memory = session.client.into_memory();
    assert_eq!(memory.notify_gap, Some(Duration::from_secs(55)));
    assert_eq!(Session::connect(config(), memory.clone()).client.into_memory().notify_gap, memory.notify_gap);
}

#[test]
fn requests_of_the_pool_are_answered_under_their_own_id() {
    let (mut session, _) = Session::mining();
    let table = [
        ("mining.ping", json!(7), json!({"id": 7, "result": "pong", "error": null})),
        ("client.get_version", json!("a\"b"), json!({"id": "a\"b", "result": config().agent, "error": null})),
        (
            "mining.frobnicate",
            json!([1]),
            json!({"id": [1], "result": null, "error": [-3, "unknown method", null]}),
        ),
    ];
    for (method, id, answer) in table {
        session.say(json!({"id": id, "method": method, "params": []}));
        assert_eq!(session.sent.pop(), Some(answer));
    }
    session.say(json!({"method": "mining.frobnicate", "params": [1]}));
    session.say(json!({"id": "x".repeat(2_000), "method": "mining.ping", "params": []}));
    assert!(session.sent.is_empty());
    assert_eq!(session.client.counters().unknown_methods, 2);
}

#[test]
fn answers_that_the_pool_does_not_fetch_do_not_pile_up() {
    let (mut session, job) = Session::mining();
    for _ in 0..100_000 {
        session.client.handle_bytes(session.now, b"{\"id\":1,\"method\":\"mining.ping\"}\n").unwrap();
    }
    session.client.submit(session.now, &share(1, &job, 0x2000_0000));
    session.drain();
    assert!(session.sent.len() < 1_000);
    assert_eq!(session.methods(), ["mining.submit"], "our own requests always go out");
}

#[test]
fn messages_are_escaped_cut_and_rare() {
    let (mut session, _) = Session::mining();
    let message = |text: &str| json!({"method": "client.show_message", "params": [text]});
    session.say(message(&"\u{1b}[31mx".repeat(4_000)));
    session.say(message("too soon"));
    session.say(json!({"method": "client.show_message", "params": [5]}));
    session.pass(Duration::from_secs(10));
    session.say(message("hello"));
    let shown: Vec<&str> = session
        .events
        .iter()
        .map(|event| match event {
            PoolEvent::Message(text) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(shown.len(), 2);
    assert!(shown[0].chars().count() <= 256 && !shown[0].contains('\u{1b}'));
    assert_eq!(shown[1], "hello");
}

#[test]
fn a_reconnect_leads_only_where_the_operator_allows() {
    let elsewhere = |host: &str, port| Some((host.to_owned(), port));
    let table = [
        (json!([]), Some((None, 0))),
        (json!(["", null, 5]), Some((None, 5))),
        (json!(["POOL.example.", 3333, 1e9]), Some((None, 60))),
        (json!(["pool.example", "3333", "7"]), Some((None, 7))),
        (json!([null, 3333, -5]), Some((None, 0))),
        (json!(["pool.example", 4444, 0]), None),
        (json!(["evil.example", 3333, 0]), None),
        (json!(["evil.pool.example", 3333, 0]), None),
        (json!(["any.example", 1, 0]), Some((elsewhere("any.example", 1), 0))),
        (json!(["one.example", 25]), Some((elsewhere("one.example", 25), 0))),
        (json!(["one.example", 26]), None),
        (json!(["pool.example", 0]), None),
        (json!(["pool.example", 65536]), None),
        (json!(["pool.example", {}]), None),
    ];
    for (params, expected) in table {
        let mut config = config();
        config.allow_reconnect = vec![("any.example".into(), None), ("one.example".into(), Some(25))];
        let mut session = Session::connect(config, V1Memory::default());
        for _ in 0..100 {
            session.say(json!({"id": null, "method": "client.reconnect", "params": params}));
        }
        let asked: Vec<_> = session
            .events
            .iter()
            .filter_map(|event| match event {
                PoolEvent::Reconnect { to, wait } => Some((to.clone(), wait.as_secs())),
                _ => None,
            })
            .collect();
        assert_eq!(asked, Vec::from_iter(expected.clone()), "{params}");
        assert_eq!(session.warnings().is_empty(), expected.is_some(), "{params}");
    }
}

#[test]
fn an_ended_session_stays_ended() {
    let (mut session, job) = Session::mining();
    session.submit(&share(1, &job, 0x2000_0000));
    session.pass(Duration::from_secs(100));
    let end = session.end.clone().unwrap();
    session.forget();
    assert_eq!(session.client.handle_bytes(session.now, b"{\"id\":5,\"result\":true}\n"), Err(end.clone()));
    assert_eq!(session.client.handle_timeout(session.now), Err(end));
    session.drain();
    assert!(session.events.is_empty() && session.sent.is_empty());
}
