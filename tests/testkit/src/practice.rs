//! A practice pool with a ledger.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use practice_pool::{Config, Handle, Pool, Record};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{runtime, scratch};

/// Share difficulty of [`quiet`]: 430,000 hashes, some shares a second for a core with the portable kernel. At more than
/// 64 a second lode would ask for another difficulty.
pub const EASY: f64 = 1e-4;

/// A pool of fixed difficulty that makes jobs only when told to, and the same ones every time.
pub fn quiet() -> Config {
    let day = Duration::from_secs(86_400);
    Config {
        difficulty: EASY,
        vardiff: None,
        block_interval: day,
        job_interval: day,
        seed: 7,
        ..Config::default()
    }
}

/// A running practice pool.
#[derive(Debug)]
pub struct Practice {
    addr: SocketAddr,
    handle: Handle,
    ledger: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Practice {
    /// Starts a pool; its ledger goes to a file of its own.
    pub fn start(config: Config) -> Self {
        let ledger = scratch("ledger.jsonl");
        let config = Config { ledger: Some(ledger.clone()), ..config };
        let pool = runtime().block_on(Pool::bind(config)).expect("a free port on loopback");
        let (addr, handle) = (pool.local_addr(), pool.handle());
        let (stop, stopped) = oneshot::channel();
        let task = runtime().spawn(pool.run(async {
            // A dropped pool stops too.
            let _ = stopped.await;
        }));
        Self { addr, handle, ledger, stop: Some(stop), task: Some(task) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Steers it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends it and returns its ledger, in the order of the verdicts.
    pub fn stop(mut self) -> Vec<Record> {
        drop(self.stop.take());
        let task = self.task.take().expect("a pool is stopped once");
        runtime().block_on(task).expect("the pool does not panic");
        assert_eq!(self.handle.stats().unrecorded, 0, "the ledger is not complete");
        let text = std::fs::read_to_string(&self.ledger).expect("the ledger can be read");
        let records = text.lines().map(|line| serde_json::from_str(line).expect("a ledger holds records"));
        let mut records: Vec<Record> = records.collect();
        records.sort_by_key(|record| record.seq);
        records
    }
}

impl Drop for Practice {
    fn drop(&mut self) {
        // Nothing hangs on an old file in the folder for temporary ones.
        let _ = std::fs::remove_file(&self.ledger);
    }
}
