//! Hours of mining in virtual time, on pools that break something every few minutes: scheduler, pools and protocol as
//! they are, devices and pools of the test. The pools check every share themselves; in the end both sides' books agree.

mod miner;
mod pool;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use miner_core::share::{LostReason, ShareOutcome};

use self::miner::Miner;
use self::pool::{Books, Fault, Key};
use super::world;

/// What one run came to.
#[derive(Debug, Default)]
struct Tally {
    shares: u64,
    accepted: u64,
    rejected: u64,
    not_sent: u64,
    no_answer: u64,
    faults: BTreeMap<Fault, u64>,
}

fn run(seed: u64, hours: u64) -> Tally {
    // The pauses between attempts are random as well.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (shares, books) = runtime.block_on(async {
        let (network, mut dials) = world::network();
        let books = Arc::new(Mutex::new(Books::default()));
        let (seen, mut rng) = (Arc::clone(&books), fastrand::Rng::with_seed(seed));
        let accepting = tokio::spawn(async move {
            while let Some(dial) = dials.recv().await {
                tokio::spawn(pool::serve(dial, Arc::clone(&seen), rng.fork()));
            }
        });
        let mut miner = Miner::new(&network);
        miner.mine(Duration::from_secs(hours * 3600)).await;
        let shares = miner.finish().await;
        accepting.abort();
        let books = std::mem::take(&mut *books.lock().unwrap());
        (shares, books)
    });
    judge(&shares, books)
}

/// Compares the miner's books with the pools'.
fn judge(shares: &BTreeMap<Key, ShareOutcome>, books: Books) -> Tally {
    assert!(books.violations.is_empty(), "{:#?}", &books.violations[..books.violations.len().min(20)]);
    let mut tally = Tally { shares: shares.len() as u64, faults: books.faults, ..Tally::default() };
    for (key, outcome) in shares {
        let verdicts = books.records.get(key).map_or(&[][..], Vec::as_slice);
        let (agree, count) = match outcome {
            ShareOutcome::Accepted => (verdicts.contains(&true), &mut tally.accepted),
            ShareOutcome::Rejected(_) => (verdicts.contains(&false), &mut tally.rejected),
            ShareOutcome::Lost(LostReason::NotSent) => (verdicts.is_empty(), &mut tally.not_sent),
            ShareOutcome::Lost(LostReason::NoAnswer) => (true, &mut tally.no_answer),
        };
        assert!(agree, "{key:?}: {outcome:?} here, {verdicts:?} there");
        *count += 1;
    }
    let stray = books.records.keys().find(|key| !shares.contains_key(*key));
    assert!(stray.is_none(), "no share of ours: {stray:?}");
    tally
}

/// Runs all seeds and sums up.
fn soak(seeds: std::ops::Range<u64>, hours: u64) {
    let mut sum = Tally::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let tally = run(seed, hours);
        sum.shares += tally.shares;
        sum.accepted += tally.accepted;
        sum.rejected += tally.rejected;
        sum.not_sent += tally.not_sent;
        sum.no_answer += tally.no_answer;
        for (fault, times) in tally.faults {
            *sum.faults.entry(fault).or_default() += times;
        }
    }
    let faults: u64 = sum.faults.values().sum();
    println!("{count} x {hours} h, {faults} faults: {sum:?}");
    let missing: Vec<_> = Fault::ALL.iter().filter(|fault| !sum.faults.contains_key(fault)).collect();
    assert!(missing.is_empty(), "never injected: {missing:?}");
    assert!(faults >= 9 * count * hours, "{faults} faults are too few");
    // Faults cost shares; they do not stop the mining.
    assert!(sum.accepted * 2 > sum.shares, "{sum:?}");
}

#[test]
fn the_books_agree_after_hours_of_faults() {
    soak(0..4, 5);
}

#[test]
#[ignore = "long: run by scripts/long-checks"]
fn the_books_agree_after_a_thousand_hours_of_faults() {
    soak(100..120, 50);
}
