//! What is between lode and its pool: connections that end, answers that do not come as they should.

use std::thread::sleep;
use std::time::{Duration, Instant};

use practice_pool::Config;
use testkit::arena::{Arena, SOON, in_parallel};
use testkit::ledger::Losses;
use testkit::mischief::{Tally, by_chance, is_call, is_verdict};
use testkit::practice::{EASY, quiet};
use testkit::wire::{Fate, Way, Wire};

use super::{AT_ONCE, LODE, arena, count_events, prepared};

/// Answers meet this fate, one in so many.
fn answers(wire: &Wire, one_in: u32, fate: Fate) -> Tally {
    let tally = Tally::default();
    wire.tamper(tally.count(by_chance(1, one_in, vec![fate], is_verdict)));
    tally
}

/// Waits until so many shares had their answers tampered with.
#[track_caller]
fn wait_for_tally(arena: &mut Arena, tally: &Tally, count: u64) {
    while tally.get() < count {
        arena.lode.wait_for("share", SOON, |_| true);
    }
}

#[test]
fn connections_that_end_cost_no_share() {
    let ends = [
        ("cut", Fate::CutAfter(0)),
        ("cut in the middle of a line", Fate::CutAfter(20)),
        ("reset", Fate::Reset),
    ];
    in_parallel(
        AT_ONCE,
        &ends,
        |(name, _)| (*name).to_owned(),
        |(_, fate)| {
            let mut arena = arena();
            arena.settle();
            for _ in 0..2 {
                let mut fate = Some(fate.clone());
                arena.wire.tamper(move |way, line| match way {
                    Way::ToMiner if is_verdict(way, line) => fate.take().unwrap_or(Fate::Pass),
                    _ => Fate::Pass,
                });
                arena.wait_for_pool("failed", "");
                arena.recover();
            }
            let outcome = arena.finish(Losses::BOTH);
            assert!(
                outcome.account.sent_again >= 1,
                "{:?}: what was unanswered is sent again",
                outcome.account
            );
            assert_eq!(
                (outcome.account.no_answer, outcome.account.not_sent),
                (0, 0),
                "the pool resumed each session"
            );
        },
    );
}

#[test]
fn a_half_open_connection_loses_nothing_that_a_resumed_session_can_save() {
    let mut arena = arena();
    arena.settle();
    arena.wire.end(Fate::HalfOpen);
    sleep(Duration::from_secs(2));
    assert!(arena.lode.is_running());
    arena.wire.end(Fate::CutAfter(0));
    arena.wait_for_pool("failed", "");
    arena.recover();
    let outcome = arena.finish(Losses::BOTH);
    assert_eq!((outcome.account.no_answer, outcome.account.not_sent), (0, 0), "{:?}", outcome.account);
}

#[test]
fn sessions_that_are_not_resumed_account_for_every_share() {
    let mut config = quiet();
    config.limits.resumable = 0;
    let mut arena = Arena::start(LODE, config, &[], |_, _| {});
    arena.settle();
    arena.wire.end(Fate::HalfOpen);
    sleep(Duration::from_secs(2));
    arena.wire.end(Fate::Reset);
    arena.wait_for_pool("ready", "");
    arena.recover();
    let outcome = arena.finish(Losses::BOTH);
    assert!(outcome.account.no_answer > 0, "what was sent into the void is lost: {:?}", outcome.account);
    assert_eq!(outcome.account.sent_again, 0, "never to a session that doesn't know its job");
}

#[test]
fn answers_that_come_late_doubled_or_out_of_order_count_once() {
    let late = |ms| Fate::Late(Duration::from_millis(ms));
    let fates = [("late", 1, late(1500)), ("out of order", 2, late(50)), ("doubled", 1, Fate::Twice)];
    in_parallel(
        AT_ONCE,
        &fates,
        |(name, ..)| (*name).to_owned(),
        |(_, one_in, fate)| {
            let mut arena = arena();
            let tally = answers(&arena.wire, *one_in, fate.clone());
            arena.settle();
            wait_for_tally(&mut arena, &tally, 6);
            arena.recover();
            let outcome = arena.finish(Losses::NONE);
            assert_eq!(count_events(&outcome, "connected"), 1, "no reason to reconnect");
            assert_eq!(outcome.account.no_answer, 0);
        },
    );
}

#[test]
fn answers_that_never_come_are_lost_and_others_go_on() {
    let mut arena = arena();
    arena.settle();
    let tally = answers(&arena.wire, 3, Fate::Drop);
    wait_for_tally(&mut arena, &tally, 4);
    arena.wire.behave();
    arena.recover();
    let dropped = tally.get();
    let outcome = arena.finish(Losses::ANSWERS);
    assert_eq!(outcome.account.no_answer, dropped, "each of them, and no other");
}

#[test]
fn answers_to_nothing_are_not_believed() {
    let mut arena = arena();
    arena.settle();
    for id in ["777777", "\"5\"", "1e300", "-1", "[1]", "{}", "true", "null", "18446744073709551615"] {
        let line = format!("{{\"id\":{id},\"result\":true,\"error\":null}}\n");
        arena.wire.inject(line.repeat(60));
    }
    arena.recover();
    let outcome = arena.finish(Losses::NONE);
    assert_eq!(count_events(&outcome, "connected"), 1);
}

#[test]
fn single_bytes_make_whole_lines() {
    let mut arena = prepared(|_, wire| wire.tamper(|_, _| Fate::Bytewise));
    arena.settle();
    arena.recover();
    let outcome = arena.finish(Losses::NONE);
    assert_eq!(count_events(&outcome, "connected"), 1);
}

#[test]
fn a_line_in_two_halves_around_shares_is_one_line() {
    let mut arena = arena();
    arena.settle();
    let message = "{\"id\":null,\"method\":\"client.show_message\",\"params\":[\"in two halves\"]}\n";
    arena.wire.tamper(|way, _| if way == Way::ToMiner { Fate::Drop } else { Fate::Pass });
    let (first, second) = message.split_at(30);
    arena.wire.inject(first);
    sleep(Duration::from_secs(1));
    arena.wire.inject(second);
    arena.wait_for_pool("message", "in two halves");
    arena.wire.behave();
    arena.recover();
    arena.finish(Losses::ANSWERS);
}

#[test]
fn all_faults_by_chance_leave_the_books_in_agreement() {
    let seeds: Vec<u64> = (1..=4).collect();
    in_parallel(4, &seeds, |seed| format!("seed {seed}"), |&seed| mischief(seed, Duration::from_secs(15)));
}

#[test]
#[ignore = "long: run by scripts/long-checks"]
fn all_faults_by_chance_for_ten_minutes() {
    let seeds: Vec<u64> = (101..=104).collect();
    in_parallel(4, &seeds, |seed| format!("seed {seed}"), |&seed| mischief(seed, Duration::from_secs(600)));
}

/// Breaks about one in six of the pool's answers and jobs, and the connection with some of them, for a while.
fn mischief(seed: u64, time: Duration) {
    let late = |ms| Fate::Late(Duration::from_millis(ms));
    let mut fates = vec![Fate::Drop, Fate::Twice, late(20), late(700), Fate::Bytewise];
    fates.extend([Fate::CutAfter(0), Fate::CutAfter(9), Fate::CutAfter(40), Fate::Reset]);
    fates.extend([b"\n".to_vec(), b"{}\n".to_vec(), vec![0xff, b'\n']].map(Fate::Replace));
    let tally = Tally::default();
    let config = Config { difficulty: EASY / 4.0, ..quiet() };
    let mut arena = Arena::start(LODE, config, &["--retry-pause", "1s"], |_, _| {});
    arena.settle();
    let verdicts_and_jobs = |way, line: &[u8]| is_verdict(way, line) || is_call(line, "mining.notify");
    let mut by_chance = by_chance(seed, 6, fates, verdicts_and_jobs);
    arena.wire.tamper(tally.count(move |way, line| match by_chance(way, line) {
        // A job that another one overtakes would be the pool's newest.
        Fate::Late(_) if is_call(line, "mining.notify") => Fate::Pass,
        fate => fate,
    }));
    let end = Instant::now() + time;
    let mut turn = 0;
    while Instant::now() < end {
        sleep(Duration::from_millis(400));
        turn += 1;
        match turn % 5 {
            0 => arena.pool.handle().new_block(),
            3 => arena.pool.handle().new_job(),
            _ => {}
        }
        assert!(arena.lode.is_running());
    }
    arena.wire.behave();
    arena.recover();
    let outcome = arena.finish(Losses::BOTH);
    let (faults, sessions) = (tally.get(), count_events(&outcome, "ready"));
    println!("seed {seed}: {faults} faults, {sessions} sessions, {:?}", outcome.account);
    assert!(faults > 0);
}
