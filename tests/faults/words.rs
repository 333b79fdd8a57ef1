//! What a pool says besides mining: garbage, floods, messages, wishes.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::{Value, json};
use testkit::arena::in_parallel;
use testkit::ledger::Losses;
use testkit::practice::EASY;
use testkit::script;

use super::{AT_ONCE, Attack, arena, count_events, expect, name};

#[test]
fn lines_that_are_no_message_are_survived() {
    let line = |text: &str| text.as_bytes().to_vec();
    let warned = Some(("warning", "unreadable"));
    let gone = Some(("failed", ""));
    let attacks: [Attack<Vec<u8>>; 14] = [
        ("no JSON", line("hello"), warned),
        ("invalid UTF-8", line("{\"id\":1,\"method\":\"").into_iter().chain([0xff, 0xfe]).collect(), warned),
        ("NUL", vec![0; 100], warned),
        ("lone surrogate", line(r#"{"id":null,"method":"client.show_message","params":["\ud800"]}"#), warned),
        ("deep array", "[".repeat(60_000).into_bytes(), warned),
        ("deep object", "{\"a\":".repeat(10_000).into_bytes(), warned),
        ("a number", line("1"), warned),
        ("an array", line("[1,2,3]"), warned),
        ("method of no text", line(r#"{"id":null,"method":5,"params":[]}"#), warned),
        ("parameters of no list", line(r#"{"id":null,"method":"mining.notify","params":{"a":1}}"#), None),
        ("nothing to understand", line("{}"), None),
        ("100 KB", vec![b'x'; 100_000], Some(("warning", "too long"))),
        ("5 MiB", vec![b'x'; 5 << 20], gone),
        ("twenty lines of no JSON", b"no\n".repeat(20), gone),
    ];
    in_parallel(AT_ONCE, &attacks, name, |(_, bytes, said)| {
        let mut arena = arena();
        arena.settle();
        arena.wire.inject([bytes.as_slice(), b"\n"].concat());
        expect(&mut arena, *said);
        arena.recover();
        arena.finish(if *said == gone { Losses::BOTH } else { Losses::NONE });
    });
}

/// Makes the n-th line of a flood.
type NthLine = fn(usize) -> String;

#[test]
fn floods_are_coalesced() {
    const FLOOD: usize = 10_000;
    let attacks: [Attack<NthLine>; 3] = [
        ("notify", |i| script::notify(&format!("flood{i}"), true), None),
        (
            "set_difficulty",
            |i| {
                let value = if i + 1 == FLOOD { EASY } else { 1.0 + i as f64 };
                json!({ "id": null, "method": "mining.set_difficulty", "params": [value] }).to_string()
            },
            None,
        ),
        (
            "show_message",
            |i| {
                json!({ "id": null, "method": "client.show_message", "params": [format!("{i}")] }).to_string()
            },
            Some(("message", "0")),
        ),
    ];
    in_parallel(AT_ONCE, &attacks, name, |(_, line, said)| {
        let mut arena = arena();
        arena.settle();
        arena.wire.inject((0..FLOOD).map(|i| line(i) + "\n").collect::<String>());
        expect(&mut arena, *said);
        arena.recover();
        let outcome = arena.finish(Losses::NONE);
        assert_eq!(count_events(&outcome, "connected"), 1);
        let (jobs, messages) = (outcome.ended.of_type("job").count(), count_events(&outcome, "message"));
        assert!(jobs < 200 && messages < 10, "{jobs} jobs, {messages} messages");
    });
}

#[test]
fn words_of_the_pool_are_escaped_and_cut() {
    let mut arena = arena();
    arena.settle();
    let text = format!("\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}{}", "A".repeat(50_000));
    let message = json!({ "id": null, "method": "client.show_message", "params": [text] });
    arena.wire.inject(format!("{message}\n"));
    let told = arena.wait_for_pool("message", "AAAA");
    let told = told["text"].as_str().unwrap();
    assert!(told.chars().count() <= 400 && !told.chars().any(char::is_control), "{told:?}");
    assert!(!told.contains('\u{202e}'), "{told:?}");
    let long = json!({ "id": null, "method": "client.show_message", "params": ["A".repeat(1 << 20)] });
    arena.wire.inject(format!("{long}\n"));
    arena.wait_for_pool("failed", "");
    arena.recover();
    arena.finish(Losses::BOTH);
}

#[test]
fn nobody_is_followed_to_another_place() {
    let canary = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    canary.set_nonblocking(true).unwrap();
    let port = canary.local_addr().unwrap().port();
    let mut arena = arena();
    arena.settle();
    for params in [
        json!(["127.0.0.1", port, 0]),
        json!(["localhost", port.to_string(), 0]),
        json!(["thief.example", port]),
        json!(["\u{1b}[2Jx", 1]),
        json!(["127.0.0.1", 99_999]),
        json!(["127.0.0.1", "no port"]),
    ] {
        arena.lode.skip();
        let message = json!({ "id": null, "method": "client.reconnect", "params": params });
        arena.wire.inject(format!("{message}\n"));
        let said = arena.wait_for_pool("warning", "");
        assert!(!said["text"].as_str().unwrap().contains('\u{1b}'), "{said}");
    }
    arena.recover();
    assert!(canary.accept().is_err(), "it went where it was sent");
    let outcome = arena.finish(Losses::NONE);
    assert_eq!(count_events(&outcome, "connected"), 1);
}

#[test]
fn a_reconnect_to_the_same_place_resumes() {
    let mut arena = arena();
    arena.settle();
    arena.wire.inject("{\"id\":null,\"method\":\"client.reconnect\",\"params\":[]}\n");
    arena.wait_for_pool("reconnect", "");
    arena.wait_for_pool("ready", "");
    arena.recover();
    let outcome = arena.finish(Losses::BOTH);
    assert_eq!(outcome.account.no_answer + outcome.account.not_sent, 0, "{:?}", outcome.account);
    assert_eq!(count_events(&outcome, "connected"), 2);
}

#[test]
fn requests_of_the_pool_are_answered() {
    let mut arena = arena();
    arena.settle();
    for (id, method) in [("\"a\\\"b\"", "mining.ping"), ("9", "client.get_version"), ("[1]", "no.such")] {
        arena.wire.inject(format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":[]}}\n"));
    }
    arena.recover();
    let outcome = arena.finish(Losses::NONE);
    let answers: Vec<Value> = outcome.heard.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer =
        |id: Value| answers.iter().find(|line| line["id"] == id && line.get("method").is_none()).unwrap();
    assert_eq!(answer(json!("a\"b"))["result"], "pong");
    assert!(answer(json!(9))["result"].as_str().unwrap().starts_with("lode"));
    assert!(answer(json!([1]))["error"].is_array());
}
