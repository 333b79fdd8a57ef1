//! The judge: lode's account of its shares against the pool's, share by share.
//!
//! Both sides' entries are joined on session, job id, extranonce2, ntime, nonce and version, and must then agree on the
//! hash of the header that these make. A session is a connection with those that resumed it: a share may be found on one
//! connection and sent on a later one of the same session.

use std::collections::{BTreeMap, BTreeSet};

use practice_pool::{Record, Verdict};
use serde::Deserialize;
use serde_json::Value;

/// What both sides left behind.
#[derive(Clone, Debug)]
pub struct Books {
    /// lode's JSON lines, the last one included.
    pub lines: Vec<Value>,
    /// The number that lode gives the pool.
    pub pool: u64,
    /// The pool's ledger.
    pub records: Vec<Record>,
    /// The header version of the pool's jobs, without any bit that may be rolled.
    pub version: u32,
    /// For each of lode's connections that came to be, in order, the pool's number for it; `None`: lode alone connects.
    pub routes: Option<Vec<Option<u64>>>,
    /// What may have vanished between the two.
    pub losses: Losses,
}

/// What may have vanished between the two. Without losses every share must be answered and every answer known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Shares on their way to the pool.
    pub submits: bool,
    /// Answers on their way to lode.
    pub answers: bool,
}

impl Losses {
    /// Nothing vanishes.
    pub const NONE: Self = Self { submits: false, answers: false };
    /// A connection that breaks takes along what is on its way, both ways.
    pub const BOTH: Self = Self { submits: true, answers: true };
    /// Answers vanish or come late.
    pub const ANSWERS: Self = Self { submits: false, answers: true };
}

/// What the books agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Accepted by both.
    pub accepted: u64,
    /// Refused by both, by the pool's code.
    pub rejected: BTreeMap<i64, u64>,
    /// Never sent.
    pub not_sent: u64,
    /// Sent, and nothing known of an answer.
    pub no_answer: u64,
    /// Sent again over a resumed session.
    pub sent_again: u64,
}

/// lode's line about a share.
#[derive(Clone, Debug, Deserialize)]
struct Share {
    id: u64,
    pool: u64,
    epoch: u64,
    job_id: String,
    extranonce2: String,
    version: String,
    ntime: String,
    nonce: String,
    hash: String,
    outcome: String,
    reason: Option<String>,
    code: Option<i64>,
}

/// What names a share on both sides. The session is named by its first epoch.
type Key = (u64, String, String, String, String, String);

/// Compares the books.
///
/// # Errors
/// Every difference, in words.
pub fn join(books: &Books) -> Result<Account, Vec<String>> {
    let mut judge = Judge { books, account: Account::default(), complaints: Vec::new() };
    let sessions = Sessions::of(books);
    let shares = judge.shares(&sessions);
    let records = judge.records(&sessions);
    for (key, share) in &shares {
        judge.judge(share, records.get(key).map_or(&[], Vec::as_slice));
    }
    for (key, strays) in records.iter().filter(|(key, _)| !shares.contains_key(*key)) {
        judge.complain(format!(
            "the pool has {} record(s) of a share that lode doesn't know: {key:?}",
            strays.len()
        ));
    }
    judge.check_totals();
    if judge.complaints.is_empty() { Ok(judge.account) } else { Err(judge.complaints) }
}

/// As [`join`], for tests.
///
/// # Panics
/// When the books differ; says where.
#[track_caller]
pub fn expect_agreement(books: &Books) -> Account {
    join(books).unwrap_or_else(|complaints| {
        let shown: Vec<_> = complaints.iter().take(20).map(String::as_str).collect();
        panic!("the books differ in {} places:\n{}", complaints.len(), shown.join("\n"))
    })
}

/// Header hashes that lode found more than once: work that was done twice. (A pool that serves a job again makes some.)
pub fn found_twice(lines: &[Value]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let hashes = lines.iter().filter(|line| line["type"] == "share").filter_map(|line| line["hash"].as_str());
    hashes.filter(|&hash| !seen.insert(hash)).collect()
}

/// Which connections belong together, as lode told.
#[derive(Debug, Default)]
struct Sessions {
    /// For an epoch that became ready, the first epoch of its session.
    of_epoch: BTreeMap<u64, u64>,
    /// The same by the pool's number of the connection.
    of_connection: BTreeMap<u64, u64>,
}

impl Sessions {
    fn of(books: &Books) -> Self {
        let mut sessions = Self::default();
        let (mut epoch, mut connected, mut connection, mut session) = (0, 0, None, 0);
        let lines = books.lines.iter().filter(|line| line["type"] == "pool" && line["pool"] == books.pool);
        for line in lines {
            match line["event"].as_str() {
                Some("connecting") => {
                    epoch += 1;
                    connection = None;
                }
                Some("connected") => {
                    connection = match &books.routes {
                        None => Some(connected as u64 + 1),
                        Some(routes) => routes.get(connected).copied().flatten(),
                    };
                    connected += 1;
                }
                Some("ready") => {
                    if line["resumed"] != true {
                        session = epoch;
                    }
                    sessions.of_epoch.insert(epoch, session);
                    sessions.of_connection.extend(connection.map(|connection| (connection, session)));
                }
                _ => {}
            }
        }
        sessions
    }
}

struct Judge<'a> {
    books: &'a Books,
    account: Account,
    complaints: Vec<String>,
}

impl Judge<'_> {
    fn complain(&mut self, complaint: impl Into<String>) {
        self.complaints.push(complaint.into());
    }

    /// lode's shares for this pool by key: each id and each key once.
    fn shares(&mut self, sessions: &Sessions) -> BTreeMap<Key, Share> {
        let mut shares = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for line in self.books.lines.iter().filter(|line| line["type"] == "share") {
            let share: Share = match serde_json::from_value(line.clone()) {
                Ok(share) => share,
                Err(error) => {
                    self.complain(format!("{error}: {line}"));
                    continue;
                }
            };
            if !ids.insert(share.id) {
                self.complain(format!("lode resolves share {} twice", share.id));
            }
            if share.pool != self.books.pool {
                continue;
            }
            let Some(&session) = sessions.of_epoch.get(&share.epoch) else {
                self.complain(format!("share {} is of a connection that was never ready", share.id));
                continue;
            };
            let key = share.key(session);
            if let Some(other) = shares.insert(key.clone(), share) {
                self.complain(format!("lode has share {} twice: {key:?}", other.id));
            }
        }
        shares
    }

    /// The pool's records by key, each list in the order of the verdicts.
    fn records(&mut self, sessions: &Sessions) -> BTreeMap<Key, Vec<Record>> {
        let mut records: BTreeMap<Key, Vec<Record>> = BTreeMap::new();
        for record in &self.books.records {
            let session = sessions.of_connection.get(&record.connection).copied();
            match session.and_then(|session| key_of_record(record, session, self.books.version)) {
                Some(key) => records.entry(key).or_default().push(record.clone()),
                None => {
                    self.complain(format!("the pool has a record that lode can't have caused: {record:?}"))
                }
            }
        }
        for list in records.values_mut() {
            list.sort_by_key(|record| record.seq);
        }
        records
    }

    /// One share of lode's against the pool's records of it.
    fn judge(&mut self, share: &Share, records: &[Record]) {
        let connections: BTreeSet<u64> = records.iter().map(|record| record.connection).collect();
        if connections.len() < records.len() {
            self.complain(format!("share {} was sent twice over one connection", share.id));
        }
        self.account.sent_again += u64::from(connections.len() > 1);
        for other in
            records.iter().filter_map(|record| record.hash.as_ref()).filter(|&hash| *hash != share.hash)
        {
            self.complain(format!(
                "share {} is header {} for lode, {other} for the pool",
                share.id, share.hash
            ));
        }
        let accepted_before =
            |at: usize| records[..at].iter().any(|record| record.verdict == Verdict::Accepted);
        match (share.outcome.as_str(), share.reason.as_deref()) {
            ("accepted", _) => {
                let counted = records.iter().enumerate().any(|(at, record)| {
                    record.verdict == Verdict::Accepted || (record.code == Some(22) && accepted_before(at))
                });
                if !counted {
                    self.complain(format!("share {} is accepted for lode, not for the pool", share.id));
                }
                self.account.accepted += 1;
            }
            ("rejected", _) => {
                let refused = records.iter().any(|record| {
                    record.verdict == Verdict::Rejected && record.code.map(i64::from) == share.code
                });
                if !refused {
                    self.complain(format!(
                        "share {} is rejected ({:?}) for lode, not for the pool",
                        share.id, share.code
                    ));
                }
                *self.account.rejected.entry(share.code.unwrap_or(0)).or_default() += 1;
            }
            ("lost", Some("not_sent")) => {
                if !records.is_empty() {
                    self.complain(format!("share {} was never sent, and the pool has it", share.id));
                }
                self.account.not_sent += 1;
            }
            ("lost", Some("no_answer")) => {
                self.judge_unanswered(share, records);
                self.account.no_answer += 1;
            }
            (outcome, reason) => {
                self.complain(format!("share {}: no such end: {outcome} {reason:?}", share.id))
            }
        }
    }

    fn judge_unanswered(&mut self, share: &Share, records: &[Record]) {
        if records.is_empty() && !self.books.losses.submits {
            self.complain(format!("share {} was sent, and the pool does not have it", share.id));
        }
        if records.iter().any(|record| record.delivered) && !self.books.losses.answers {
            self.complain(format!("share {} was answered, and lode knows of no answer", share.id));
        }
    }

    /// The sums of the last line against the lines before it.
    fn check_totals(&mut self) {
        let Some(end) = self.books.lines.last().filter(|line| line["type"] == "end") else {
            return self.complain("lode's last line is not its end");
        };
        if end["events_missed"] != 0 {
            self.complain(format!("lode's lines are not complete: {} missed", end["events_missed"]));
        }
        let shares = &end["shares"];
        for (key, outcome) in [("accepted", "accepted"), ("rejected", "rejected"), ("lost", "lost")] {
            let lines = self.books.lines.iter();
            let lines = lines.filter(|line| line["type"] == "share" && line["outcome"] == outcome).count();
            if shares[key] != lines {
                self.complain(format!("lode sums {} {key}, and tells of {lines}", shares[key]));
            }
        }
        let resolved =
            ["accepted", "rejected", "lost"].iter().filter_map(|key| shares[*key].as_u64()).sum::<u64>();
        if shares["found"] != resolved || shares["pending"] != 0 {
            self.complain(format!("lode's last account is not complete: {shares}"));
        }
    }
}

impl Share {
    fn key(&self, session: u64) -> Key {
        let Self { job_id, extranonce2, ntime, nonce, version, .. } = self.clone();
        (session, job_id, extranonce2, ntime, nonce, version)
    }
}

/// A record's key; `None` where the submit was not even complete.
fn key_of_record(record: &Record, session: u64, base: u32) -> Option<Key> {
    let record = record.clone();
    let version = match (record.version, record.version_bits) {
        (Some(version), _) => version,
        // The pool rebuilds no header of a job that it doesn't know or that is stale.
        (None, Some(bits)) => format!("{:08x}", base | u32::from_str_radix(&bits, 16).ok()?),
        (None, None) => format!("{base:08x}"),
    };
    Some((session, record.job_id?, record.extranonce2?, record.ntime?, record.nonce?, version))
}

#[cfg(test)]
mod tests;
