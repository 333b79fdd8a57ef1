//! What a pool says of jobs: fields, difficulties, extranonces, version masks.

use std::thread::sleep;
use std::time::Duration;

use practice_pool::Config;
use serde_json::{Value, json};
use testkit::arena::{Arena, DRAINED, SOON, in_parallel};
use testkit::ledger::{Books, Losses, expect_agreement};
use testkit::mischief::{change_notify, is_call};
use testkit::practice::{EASY, quiet};
use testkit::process::Signal;
use testkit::wire::{Fate, Way};

use super::{AT_ONCE, LODE, arena, count_events, prepared};

/// Changes the parameters of a job.
type Change = fn(&mut Vec<Value>);

#[test]
fn jobs_of_no_use_are_refused_and_the_old_one_is_kept() {
    let jobs: [(&str, Change); 22] = [
        ("no parameters", |p| p.clear()),
        ("too few", |p| p.truncate(7)),
        ("job id of no text", |p| p[0] = json!(17)),
        ("job id too long", |p| p[0] = json!("x".repeat(129))),
        ("job id with control characters", |p| p[0] = json!("a\nb\u{1b}[2J")),
        ("previous hash of no text", |p| p[1] = json!(null)),
        ("previous hash too short", |p| p[1] = json!("00")),
        ("previous hash of no hex", |p| p[1] = json!("zz".repeat(32))),
        ("coinbase of odd length", |p| p[2] = json!("012")),
        ("coinbase of no hex", |p| p[3] = json!("xy")),
        ("coinbase of no text", |p| p[2] = json!([1])),
        ("coinbase too short", |p| (p[2], p[3]) = (json!("01"), json!("02"))),
        ("coinbase too long", |p| p[3] = json!("00".repeat(17_000))),
        ("branches of no list", |p| p[4] = json!("00")),
        ("25 branches", |p| p[4] = json!(vec!["00".repeat(32); 25])),
        ("short branch", |p| p[4] = json!(["00".repeat(31)])),
        ("branch of no text", |p| p[4] = json!([null])),
        ("version of no hex", |p| p[5] = json!("version")),
        ("version too long", |p| p[5] = json!("0020000000")),
        ("network target of no text", |p| p[6] = json!(1)),
        ("network target of nothing", |p| p[6] = json!("")),
        ("time of no hex", |p| p[7] = json!("-1")),
    ];
    in_parallel(
        AT_ONCE,
        &jobs,
        |(name, _)| (*name).to_owned(),
        |(_, change)| {
            let mut arena = arena();
            arena.settle();
            arena.wire.tamper(change_notify(*change));
            arena.pool.handle().new_job();
            arena.wait_for_pool("warning", "mining.notify");
            arena.lode.skip();
            arena.settle();
            arena.wire.behave();
            arena.recover();
            let outcome = arena.finish(Losses::NONE);
            assert_eq!(count_events(&outcome, "connected"), 1);
            assert_eq!(outcome.ended.of_type("job").count(), 2, "the first and the last");
        },
    );
}

#[test]
fn strange_jobs_that_can_be_mined_are_mined() {
    let jobs: [(&str, Change); 3] = [
        ("extra parameters", |p| p.extend([json!({}), json!(1)])),
        ("capital letters", |p| {
            p[1..4].iter_mut().for_each(|p| *p = json!(p.as_str().unwrap().to_uppercase()))
        }),
        ("capital letters in a number", |p| p[6] = json!(p[6].as_str().unwrap().to_uppercase())),
    ];
    in_parallel(
        AT_ONCE,
        &jobs,
        |(name, _)| (*name).to_owned(),
        |(_, change)| {
            let mut arena = prepared(|_, wire| wire.tamper(change_notify(*change)));
            arena.settle();
            arena.recover();
            arena.finish(Losses::NONE);
        },
    );
}

#[test]
fn a_job_id_is_never_pasted_into_json() {
    const STRANGE: &str = "\"}],\\ \u{e4}\u{1f9ca}'%s{}";
    let mut arena = prepared(|_, wire| {
        wire.tamper(|way, line| {
            let Ok(mut message) = serde_json::from_slice::<Value>(line) else { return Fate::Pass };
            let (method, place) = match way {
                Way::ToMiner => ("mining.notify", 0),
                Way::ToPool => ("mining.submit", 1),
            };
            if !is_call(line, method) {
                return Fate::Pass;
            }
            let id = message["params"][place].as_str().unwrap().to_owned();
            let other = match way {
                Way::ToMiner => format!("{STRANGE}{id}"),
                Way::ToPool => id.strip_prefix(STRANGE).unwrap_or("lost on the way").to_owned(),
            };
            message["params"][place] = json!(other);
            Fate::Replace(format!("{message}\n").into_bytes())
        });
    });
    arena.settle();
    arena.recover();
    // On the pool's side the id is the short one.
    let mut lines = Vec::new();
    let Arena { pool, wire, lode, .. } = arena;
    let ended = lode.signal(Signal::Terminate, DRAINED);
    for mut line in ended.lines.clone() {
        if let Some(id) = line["job_id"].as_str().and_then(|id| id.strip_prefix(STRANGE)) {
            line["job_id"] = json!(id);
        }
        lines.push(line);
    }
    let (routes, losses, version) = (Some(wire.routes()), Losses::NONE, quiet().version);
    let books = Books { lines, pool: 0, records: pool.stop(), version, routes, losses };
    let account = expect_agreement(&books);
    assert!(account.accepted >= 2 && account.rejected.keys().all(|&code| code == 21), "{account:?}");
}

#[test]
fn difficulties_of_no_sense_change_nothing() {
    let values = ["0", "-1", "-5", "NaN", "1e400", "\"abc\"", "null", "[]", "{}", "-0.0", "true"];
    in_parallel(
        AT_ONCE,
        &values,
        |value| format!("difficulty {value}"),
        |value| {
            let mut arena = arena();
            arena.settle();
            arena.wire.inject(format!(
                "{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{value}]}}\n"
            ));
            arena.wait_for_pool("warning", "");
            arena.recover();
            let outcome = arena.finish(Losses::NONE);
            for job in outcome.ended.of_type("job") {
                let ratio = job["difficulty"].as_f64().unwrap() / EASY;
                assert!((ratio - 1.0).abs() < 1e-9, "{value} makes difficulty {}", job["difficulty"]);
            }
        },
    );
}

#[test]
fn no_share_is_found_at_a_huge_difficulty_and_mining_goes_on() {
    let mut arena = arena();
    arena.settle();
    arena.pool.handle().set_difficulty(1e60).unwrap();
    arena.pool.handle().new_block();
    arena.lode.wait_for("job", SOON, |job| job["difficulty"].as_f64() > Some(1e50));
    sleep(Duration::from_secs(1));
    assert!(arena.lode.is_running());
    arena.pool.handle().set_difficulty(EASY).unwrap();
    arena.recover();
    arena.finish(Losses::NONE);
}

#[test]
fn a_tiny_difficulty_is_answered_with_a_bounded_flow_of_good_shares() {
    let mut arena = arena();
    arena.settle();
    let before = arena.pool.handle().stats().accepted;
    arena.pool.handle().set_difficulty(1e-12).unwrap();
    arena.pool.handle().new_block();
    arena.wait_for_pool("withholding", "");
    let watched = Duration::from_secs(3);
    sleep(watched);
    let flow = (arena.pool.handle().stats().accepted - before) as f64 / watched.as_secs_f64();
    assert!(flow < 3.0 * 64.0, "{flow} shares a second");
    arena.pool.handle().set_difficulty(EASY).unwrap();
    arena.recover();
    let outcome = arena.finish(Losses::NONE);
    assert!(outcome.ended.account()["withheld"].as_f64() > Some(0.0), "what is not looked for is said");
}

#[test]
fn extranonces_of_no_use_change_nothing() {
    let pairs = [
        json!(["08000002", 0]),
        json!(["08000002", 17]),
        json!(["08000002", 1_000_000_000]),
        json!(["08000002", -1]),
        json!(["08000002", "4"]),
        json!(["0800000", 4]),
        json!(["nothex", 4]),
        json!(["00".repeat(33), 4]),
        json!([null, 4]),
        json!([]),
    ];
    in_parallel(
        AT_ONCE,
        &pairs,
        |params| format!("set_extranonce {params}"),
        |params| {
            let mut arena = arena();
            arena.settle();
            let message = json!({ "id": null, "method": "mining.set_extranonce", "params": params });
            arena.wire.inject(format!("{message}\n"));
            arena.wait_for_pool("warning", "mining.set_extranonce");
            arena.recover();
            let outcome = arena.finish(Losses::NONE);
            assert_eq!(count_events(&outcome, "connected"), 1);
        },
    );
}

#[test]
fn a_new_extranonce_counts_from_the_next_job_on() {
    let mut arena = arena();
    arena.settle();
    for (extranonce1, extranonce2) in [(6, 8), (0, 1), (16, 16), (4, 4)] {
        arena.pool.handle().set_extranonce(extranonce1, extranonce2).unwrap();
        // Shares of the old job keep the old pair.
        arena.lode.skip();
        arena.settle();
        arena.recover();
    }
    let outcome = arena.finish(Losses::NONE);
    let mut sizes: Vec<_> =
        outcome.records.iter().map(|r| r.extranonce2.as_ref().unwrap().len() / 2).collect();
    sizes.dedup();
    assert_eq!(sizes, [4, 8, 1, 16, 4]);
}

#[test]
fn every_size_of_extranonce2_is_served() {
    let sizes: Vec<usize> = (1..=16).collect();
    in_parallel(
        AT_ONCE,
        &sizes,
        |size| format!("extranonce2 of {size} bytes"),
        |&size| {
            let config = Config { extranonce2_size: size, extranonce1_len: 16 - size, ..quiet() };
            let mut arena = Arena::start(LODE, config, &[], |_, _| {});
            arena.settle();
            let outcome = arena.finish(Losses::NONE);
            assert!(outcome.records.iter().all(|r| r.extranonce2.as_ref().unwrap().len() == 2 * size));
        },
    );
}

#[test]
fn a_narrowed_version_mask_is_kept_at_once() {
    let mut arena = arena();
    arena.settle();
    for mask in [0x00ff_e000, 0x0000_6000, 0, 0x1fff_e000] {
        arena.pool.handle().set_version_mask(mask);
        arena.lode.skip();
        arena.settle();
    }
    arena.recover();
    // What was on its way when the mask came is refused for it: code 20.
    let outcome = arena.finish_refused(Losses::NONE);
    let refused = &outcome.account.rejected;
    assert!(refused.keys().all(|code| [20, 21].contains(code)), "{refused:?}");
    assert!(refused.values().sum::<u64>() <= 4, "{refused:?}");
}
