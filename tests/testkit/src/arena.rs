//! Pool, wire and miner in one place, for tests that break what is between them.

use std::time::{Duration, Instant};

use practice_pool::{Config, Record};
use serde_json::Value;

use crate::ledger::{self, Account, Books, Losses};
use crate::practice::Practice;
use crate::process::{Ended, Lode, Signal};
use crate::wire::Wire;

/// What anything may take on a slow and busy machine before it counts as not happening.
pub const SOON: Duration = Duration::from_secs(20);
/// Time from SIGTERM to the end that is promised, and a second for a busy machine.
pub const DRAINED: Duration = Duration::from_secs(7);
/// The most memory that mining with one thread may ever hold, whatever the pool does; KiB.
const MEMORY: u64 = 32 * 1024;

/// A pool behind a wire, and a miner that joins it there.
#[derive(Debug)]
pub struct Arena {
    /// The pool.
    pub pool: Practice,
    /// What the miner connects to.
    pub wire: Wire,
    /// The miner.
    pub lode: Lode,
    version: u32,
}

/// What is left when everything has ended.
#[derive(Debug)]
pub struct Outcome {
    /// What both sides agree on.
    pub account: Account,
    /// The miner's side.
    pub ended: Ended,
    /// The pool's side.
    pub records: Vec<Record>,
    /// What the miner said, line by line.
    pub heard: Vec<String>,
}

impl Arena {
    /// Starts a pool and a wire, lets `prepare` break what it likes, and starts a miner with these arguments, one thread
    /// and the portable kernel, whose speed is about the same everywhere.
    pub fn start(
        binary: &str,
        config: Config,
        args: &[&str],
        prepare: impl FnOnce(&Practice, &Wire),
    ) -> Self {
        let version = config.version;
        let pool = Practice::start(config);
        let wire = Wire::to(pool.addr());
        prepare(&pool, &wire);
        let url = format!("stratum+tcp://{}", wire.addr());
        let lode =
            Lode::mine(binary, &[&["-o", &url, "-u", "w", "-t", "1", "--isa", "portable"], args].concat());
        Self { pool, wire, lode, version }
    }

    /// Waits for the first accepted share.
    #[track_caller]
    pub fn settle(&mut self) {
        self.lode.wait_for_accepted(SOON);
    }

    /// Waits for something that the miner says of the pool: this event, with this text in it.
    #[track_caller]
    pub fn wait_for_pool(&mut self, event: &str, text: &str) -> Value {
        self.lode.wait_for("pool", SOON, |line| {
            line["event"] == event
                && (text.is_empty() || line["text"].as_str().is_some_and(|t| t.contains(text)))
        })
    }

    /// Makes a new block, and waits for an accepted share on it; how long that took.
    #[track_caller]
    pub fn recover(&mut self) -> Duration {
        let start = Instant::now();
        self.lode.skip();
        self.pool.handle().new_block();
        let height = u64::from(self.pool.handle().stats().height);
        loop {
            let left = SOON.saturating_sub(start.elapsed());
            let share = self.lode.wait_for_accepted(left);
            let is_its_job = |line: &Value| {
                line["type"] == "job"
                    && line["job_id"] == share["job_id"]
                    && line["height"].as_u64() >= Some(height)
            };
            if self.lode.lines().iter().any(is_its_job) {
                return start.elapsed();
            }
        }
    }

    /// Ends everything with SIGTERM and compares the books. Nothing may have been refused but for being stale.
    #[track_caller]
    pub fn finish(self, losses: Losses) -> Outcome {
        let outcome = self.finish_refused(losses);
        let refused: Vec<_> = outcome.account.rejected.keys().filter(|&&code| code != 21).collect();
        assert!(refused.is_empty(), "shares were refused with {refused:?}: {:?}", refusals(&outcome.records));
        outcome
    }

    /// As [`finish`](Self::finish), where what happened explains other refusals.
    #[track_caller]
    pub fn finish_refused(self, losses: Losses) -> Outcome {
        let Self { pool, wire, lode, version } = self;
        let peak = lode.peak_memory();
        assert!(peak <= MEMORY, "it held {peak} KiB");
        let ended = lode.signal(Signal::Terminate, DRAINED);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let (routes, heard) = (wire.routes(), wire.heard());
        drop(wire);
        let records = pool.stop();
        ended.account();
        let lines = ended.lines.clone();
        let books = Books { lines, pool: 0, records, version, routes: Some(routes), losses };
        let account = ledger::expect_agreement(&books);
        Outcome { account, ended, records: books.records, heard }
    }
}

fn refusals(records: &[Record]) -> Vec<&Record> {
    records.iter().filter(|record| record.code.is_some_and(|code| code != 21)).take(5).collect()
}

/// Runs jobs on so many threads; a panic in one of them fails the whole, with its name.
///
/// # Panics
/// When any of them does.
pub fn in_parallel<T: Sync>(
    threads: usize,
    cases: &[T],
    name: impl Fn(&T) -> String + Sync,
    run: impl Fn(&T) + Sync,
) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let start = Instant::now();
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(case)));
                    println!("{}: {:.1} s", name(case), start.elapsed().as_secs_f64());
                    if result.is_err() {
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(name(case));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(failed.is_empty(), "failed: {failed:?}");
}
