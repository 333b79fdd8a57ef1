//! lode's account of its shares against the pool's, share by share, over blocks, jobs, difficulties and connections.

use std::time::Duration;

use practice_pool::Config;
use serde_json::json;
use testkit::arena::{Arena, SOON};
use testkit::ledger::{Books, Losses, join};
use testkit::practice::{Practice, quiet};
use testkit::wire::Fate;

const LODE: &str = env!("CARGO_BIN_EXE_lode");
/// Shares that a run collects.
const SHARES: u64 = 150;

/// Mines until so many shares are accepted, while the pool does what pools do.
fn busy_books() -> Books {
    let config = Config { difficulty: 3e-5, ..quiet() };
    let version = config.version;
    let mut arena = Arena::start(LODE, config, &["--retry-pause", "1s"], |_, _| {});
    let mut turn = 0;
    while arena.pool.handle().stats().accepted < SHARES {
        arena.lode.skip();
        arena.lode.wait_for("share", SOON, |_| true);
        turn += 1;
        let pool = arena.pool.handle();
        match turn % 20 {
            4 => pool.new_block(),
            8 => pool.new_job(),
            12 => pool.set_difficulty(if turn % 40 == 12 { 5e-5 } else { 3e-5 }).expect("it is one"),
            16 => {
                arena.wire.end(Fate::CutAfter(0));
                arena.wait_for_pool("ready", "");
            }
            _ => {}
        }
    }
    let routes = arena.wire.routes();
    let outcome = arena.finish(Losses::BOTH);
    let (lines, records) = (outcome.ended.lines, outcome.records);
    Books { lines, pool: 0, records, version, routes: Some(routes), losses: Losses::BOTH }
}

#[test]
fn books_agree_and_one_share_in_a_hundred_makes_the_difference() {
    let books = busy_books();
    let account = join(&books).unwrap();
    assert!(account.accepted >= SHARES, "{account:?}");
    println!("{account:?}");

    let shares: Vec<usize> = (0..books.lines.len()).filter(|&i| books.lines[i]["type"] == "share").collect();
    let answered = shares.iter().copied().filter(|&i| books.lines[i]["outcome"] != "lost");
    for at in answered.step_by(shares.len() / 10) {
        let mut dropped = books.clone();
        dropped.lines.remove(at);
        assert!(join(&dropped).is_err(), "lode's line {at} is missing");
        let mut twice = books.clone();
        let line = twice.lines[at].clone();
        twice.lines.insert(at, line);
        assert!(join(&twice).is_err(), "lode's line {at} stands twice");
        let mut sums = books.clone();
        let end = sums.lines.last_mut().unwrap();
        end["shares"]["accepted"] = json!(end["shares"]["accepted"].as_u64().unwrap() + 1);
        assert!(join(&sums).is_err(), "lode counts one more than it tells of");
    }
    for at in (0..books.records.len()).step_by(books.records.len() / 10) {
        let mut twice = books.clone();
        twice.records.push(twice.records[at].clone());
        assert!(join(&twice).is_err(), "the pool's record {at} stands twice");
        let mut stray = books.clone();
        stray.records[at].nonce = Some("00000000".into());
        assert!(join(&stray).is_err(), "the pool's record {at} is another share's");
    }
}

#[test]
fn the_account_of_each_pool_agrees_with_its_own_ledger() {
    let backup = Practice::start(quiet());
    let url = format!("stratum+tcp://{}", backup.addr());
    let mut arena = Arena::start(LODE, quiet(), &["-o", &url], |_, _| {});
    arena.settle();
    arena.wire.die();
    arena.lode.wait_for("share", 2 * SOON, |share| share["outcome"] == "accepted" && share["pool"] == 1);
    std::thread::sleep(Duration::from_secs(1));
    let outcome = arena.finish(Losses::BOTH);
    let (lines, version) = (outcome.ended.lines, quiet().version);
    let books = Books { lines, pool: 1, records: backup.stop(), version, routes: None, losses: Losses::NONE };
    let account = join(&books).unwrap();
    assert!(account.accepted > 0, "{account:?}");
}
