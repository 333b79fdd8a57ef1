//! What a pool says first.

use std::thread::sleep;
use std::time::Duration;

use testkit::arena::{Arena, DRAINED, SOON, in_parallel};
use testkit::ledger::Losses;
use testkit::practice::{Practice, quiet};
use testkit::process::Signal;
use testkit::script::{self, Step};
use testkit::wire::{Fate, Way};

use super::{AT_ONCE, LODE, count_events, prepared};

/// Handshakes that fail, and what is said of them; the connection after is a good one.
fn bad_handshakes() -> Vec<(String, Vec<Step>)> {
    let subscribed = |result: &str| vec![Step::Await("mining.subscribe"), Step::result(result)];
    let session = r#"[["mining.set_difficulty","s"],["mining.notify","s"]]"#;
    let mut table = vec![
        ("closes at once".to_owned(), vec![Step::Close]),
        ("resets".to_owned(), vec![Step::Await("mining.configure"), Step::Reset]),
        ("closes after subscribe".to_owned(), vec![Step::Await("mining.subscribe"), Step::Close]),
        (
            "subscribe error".to_owned(),
            vec![Step::Await("mining.subscribe"), Step::error("[20,\"full\",null]")],
        ),
        ("subscribe error text".to_owned(), vec![Step::Await("mining.subscribe"), Step::error("\"full\"")]),
        ("garbage".to_owned(), vec![Step::Send(b"HTTP/1.1 400 Bad Request\r\n".repeat(20))]),
        ("5 MiB in one line".to_owned(), vec![Step::Send(vec![b'['; 5 << 20])]),
    ];
    for result in ["null", "true", "[]", "{}", "\"x\"", "[[],\"08000002\"]", "[[],8,4]", "[[],null,4]"] {
        table.push((format!("subscribe result {result}"), subscribed(result)));
    }
    for (extranonce1, size) in [
        ("08000002", "0"),
        ("08000002", "17"),
        ("08000002", "1000000000"),
        ("08000002", "-1"),
        ("08000002", "1e99"),
        ("0800000", "4"),
        ("nothex!!", "4"),
        (&"00".repeat(33), "4"),
    ] {
        let result = format!("[{session},\"{extranonce1}\",{size}]");
        table.push((format!("extranonce {extranonce1} {size}"), subscribed(&result)));
    }
    table
}

#[test]
fn a_handshake_that_fails_is_tried_again() {
    in_parallel(
        AT_ONCE,
        &bad_handshakes(),
        |(name, _)| name.clone(),
        |(_, steps)| {
            let mut arena = prepared(|_, wire| wire.greet(steps.clone()));
            arena.wait_for_pool("failed", "");
            arena.settle();
            let outcome = arena.finish(Losses::NONE);
            assert_eq!(count_events(&outcome, "connected"), 2);
        },
    );
}

#[test]
fn a_pool_that_closes_at_once_is_not_hammered() {
    let ends = [Step::Close, Step::Reset];
    let mut arena =
        prepared(|_, wire| ends.iter().cycle().take(100).for_each(|end| wire.greet(vec![end.clone()])));
    sleep(Duration::from_secs(10));
    let attempts = arena.wire.routes().len();
    // Pauses of at most 1, 2, 4 and 8 s, each by chance between nothing and that.
    assert!((2..=8).contains(&attempts), "{attempts} attempts in 10 s");
    assert!(arena.lode.is_running());
}

#[test]
fn configure_need_not_be_answered() {
    let mut arena = prepared(|_, wire| {
        wire.tamper(|way, line| {
            let is_answer = way == Way::ToMiner && String::from_utf8_lossy(line).contains("version-rolling");
            if is_answer { Fate::Drop } else { Fate::Pass }
        });
    });
    arena.settle();
    let outcome = arena.finish(Losses::NONE);
    assert!(outcome.records.iter().all(|record| record.version_bits.is_none()), "nothing was granted");
}

#[test]
fn refused_credentials_lead_to_the_next_pool() {
    let refusals = [
        ("false", Step::result("false")),
        ("error", Step::error("[24,\"Unauthorized worker\",null]")),
        ("null", Step::result("null")),
    ];
    in_parallel(
        AT_ONCE,
        &refusals,
        |(name, _)| (*name).to_owned(),
        |(_, answer)| {
            let backup = Practice::start(quiet());
            let url = format!("stratum+tcp://{}", backup.addr());
            let mut arena = Arena::start(LODE, quiet(), &["-o", &url], |_, wire| {
                let welcome = script::welcome();
                let steps = welcome[..5].iter().cloned().chain([answer.clone()]);
                wire.greet(steps.collect());
            });
            let said = arena.wait_for_pool("failed", "does not accept");
            assert!(said["retry_in_s"].as_f64() >= Some(10.0), "soon again is no use: {said}");
            let share = arena.lode.wait_for_accepted(SOON);
            assert_eq!(share["pool"], 1);
            let ended = arena.lode.signal(Signal::Terminate, DRAINED);
            assert_eq!(ended.code, Some(0));
            let records = backup.stop();
            assert_eq!(
                ended.account()["accepted"],
                records.iter().filter(|record| record.code.is_none()).count()
            );
        },
    );
}
