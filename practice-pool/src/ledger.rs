//! The file of submits and verdicts: JSON lines, one [`Record`] each.
//!
//! A thread of its own writes, so that a slow disk cannot slow the pool.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Records that may wait for the disk.
const QUEUE: usize = 8192;
/// How long a flush waits for the disk.
const FLUSH: Duration = Duration::from_secs(5);
/// Rest before a flush looks again for room.
const FLUSH_RETRY: Duration = Duration::from_millis(5);

/// One submit and what became of it: a line of the ledger.
///
/// It is written once, when its answer went to the socket or couldn't: the lines are ordered by that moment, and
/// [`seq`](Self::seq) tells the order of the verdicts. Fields the client didn't send, or that the check didn't reach, are
/// null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counts the submits of this pool from 1, in the order of the verdicts.
    pub seq: u64,
    /// Time of the verdict, unix seconds.
    pub ts: f64,
    /// Number of the connection, from 1: the epoch of a client that has the pool to itself.
    pub connection: u64,
    /// Session id given in the answer to `mining.subscribe`.
    pub session: Option<String>,
    /// Worker, as submitted; this and the other texts are cut after 256 characters.
    pub user: Option<String>,
    /// Job, as submitted.
    pub job_id: Option<String>,
    /// Extranonce1 the job was sent with, in hex.
    pub extranonce1: Option<String>,
    /// Extranonce2, as submitted.
    pub extranonce2: Option<String>,
    /// Header time, as submitted.
    pub ntime: Option<String>,
    /// Nonce, as submitted.
    pub nonce: Option<String>,
    /// Version bits, as submitted.
    pub version_bits: Option<String>,
    /// The whole header version, 8 hex digits.
    pub version: Option<String>,
    /// The hash, as explorers show it.
    pub hash: Option<String>,
    /// Difficulty of the hash.
    pub difficulty: Option<f64>,
    /// Difficulty the job was sent with.
    pub target_difficulty: Option<f64>,
    /// What the pool decided.
    pub verdict: Verdict,
    /// Error code of a refusal.
    pub code: Option<i32>,
    /// Text of a refusal.
    pub reason: Option<String>,
    /// Whether the hash meets the network target.
    pub block: bool,
    /// Whether the whole answer was handed to the operating system for sending.
    pub delivered: bool,
}

/// What the pool decided on a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The share counts.
    Accepted,
    /// The share doesn't count.
    Rejected,
}

/// The writing end; without a file it takes records and does nothing.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    queue: Option<SyncSender<Entry>>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Record(Box<Record>),
    Flush(SyncSender<()>),
}

impl Ledger {
    /// Opens a file for appending and starts its writer.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (queue, entries) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new()
            .name("pool-ledger".into())
            .spawn(move || write_entries(file, &entries, &counter))?;
        Ok(Self { queue: Some(queue), lost })
    }

    /// Writes a record soon; one that finds no room is counted as lost.
    pub(crate) fn append(&self, record: Box<Record>) {
        if let Some(queue) = &self.queue
            && queue.try_send(Entry::Record(record)).is_err()
        {
            note_loss(&self.lost, "the disk is too slow");
        }
    }

    /// Waits until all records so far are with the operating system; blocks for at most five seconds.
    pub(crate) fn flush(&self) {
        let Some(queue) = &self.queue else { return };
        let deadline = Instant::now() + FLUSH;
        let (done, wait) = sync_channel(1);
        let mut entry = Entry::Flush(done);
        // Not `send`, which would wait for ever on a disk that hangs.
        while let Err(TrySendError::Full(refused)) = queue.try_send(entry) {
            if Instant::now() >= deadline {
                break;
            }
            entry = refused;
            thread::sleep(FLUSH_RETRY);
        }
        if wait.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
            tracing::warn!("the ledger could not be written out in time");
        }
    }

    /// Records that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn write_entries(mut file: File, entries: &Receiver<Entry>, lost: &AtomicU64) {
    while let Ok(entry) = entries.recv() {
        match entry {
            Entry::Record(record) => {
                if let Err(error) = write_record(&mut file, &record) {
                    note_loss(lost, &error.to_string());
                }
            }
            // The asker may have given up waiting.
            Entry::Flush(done) => drop(done.try_send(())),
        }
    }
}

fn write_record(file: &mut impl Write, record: &Record) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    file.write_all(&line)
}

/// Counts a lost record and warns of the first.
fn note_loss(lost: &AtomicU64, why: &str) {
    if lost.fetch_add(1, Ordering::Relaxed) == 0 {
        tracing::warn!(why, "submits are missing from the ledger");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64) -> Box<Record> {
        let text = serde_json::json!({
            "seq": seq, "ts": 1.5, "connection": 1, "verdict": "rejected", "block": false, "delivered": true,
        });
        Box::new(serde_json::from_value(text).unwrap())
    }

    #[test]
    fn records_are_appended_to_what_is_there() {
        let path = std::env::temp_dir().join(format!("pool-ledger-{}", std::process::id()));
        for seq in 1..=2 {
            let ledger = Ledger::open(&path).unwrap();
            ledger.append(record(seq));
            ledger.flush();
            assert_eq!(ledger.lost(), 0);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records, [*record(1), *record(2)]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_loses_records_and_nothing_else() {
        let ledger = Ledger::open(Path::new("/dev/full")).unwrap();
        (1..=3).for_each(|seq| ledger.append(record(seq)));
        ledger.flush();
        assert_eq!(ledger.lost(), 3);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        assert!(Ledger::open(Path::new("/nowhere/at/all")).is_err());
    }
}
