//! The pools' side: honest verdicts over lines that break, and a book of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::world::Dial;

/// A share: job, extranonce2 in hex, ntime, nonce, and the whole version of its header.
pub(super) type Key = (String, String, u32, u32, u32);

/// Seconds between two faults of a connection, on average.
const FAULT_EVERY: u64 = 200;
/// Seconds between two jobs.
const JOB_EVERY: u64 = 30;
/// Jobs that a session knows.
const KNOWN_JOBS: usize = 400;

/// What pools and networks do to a miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Refuse,
    Mute,
    Unauthorised,
    ForgetSession,
    HangUp,
    CutLine,
    HalfOpen,
    AnswerLate,
    AnswerNever,
    AnswerTwice,
    AnswerOutOfOrder,
    AnswerUnasked,
    Reject,
    Garbage,
    Dribble,
    Reconnect,
    Flood,
    OddDifficulty,
    Difficulty,
    Extranonce,
    Mask,
}

impl Fault {
    pub(super) const ALL: [Self; 21] = [
        Self::Refuse,
        Self::Mute,
        Self::Unauthorised,
        Self::ForgetSession,
        Self::HangUp,
        Self::CutLine,
        Self::HalfOpen,
        Self::AnswerLate,
        Self::AnswerNever,
        Self::AnswerTwice,
        Self::AnswerOutOfOrder,
        Self::AnswerUnasked,
        Self::Reject,
        Self::Garbage,
        Self::Dribble,
        Self::Reconnect,
        Self::Flood,
        Self::OddDifficulty,
        Self::Difficulty,
        Self::Extranonce,
        Self::Mask,
    ];
    /// Those that strike before the first job.
    const GREETING: usize = 4;
}

/// What the pools saw, all connections together.
#[derive(Default)]
pub(super) struct Books {
    /// The verdicts on each share, one for each time it came.
    pub(super) records: BTreeMap<Key, Vec<bool>>,
    pub(super) faults: BTreeMap<Fault, u64>,
    /// What no miner may do.
    pub(super) violations: Vec<String>,
    sessions: BTreeMap<String, Session>,
    /// Names jobs and sessions.
    count: u64,
}

/// What outlives a connection.
#[derive(Clone)]
struct Session {
    extranonce1: Vec<u8>,
    mask: u32,
    /// Leading zero bits that a share needs.
    zeros: u32,
    jobs: Vec<Job>,
    verdicts: BTreeMap<Key, bool>,
}

#[derive(Clone)]
struct Job {
    id: String,
    extranonce1: Vec<u8>,
    mask: u32,
    zeros: u32,
    prev: [u8; 32],
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    branch: [u8; 32],
    version: u32,
    ntime: u32,
    stale: bool,
}

const NBITS: u32 = 0x1d00_ffff;
const EXTRANONCE2: usize = 4;

/// Serves one connection until it ends.
pub(super) async fn serve(dial: Dial, books: Arc<Mutex<Books>>, mut rng: fastrand::Rng) {
    let fault = (rng.u8(..) < 40).then(|| Fault::ALL[rng.usize(..Fault::GREETING)]);
    if let Some(fault) = fault {
        *books.lock().unwrap().faults.entry(fault).or_default() += 1;
    }
    if fault == Some(Fault::Refuse) {
        return;
    }
    let host = dial.host.clone();
    let (reader, writer) = tokio::io::split(dial.stream());
    let lines = BufReader::new(reader).lines();
    let mut connection = Connection {
        lines,
        writer,
        books,
        rng,
        host,
        name: String::new(),
        session: Session {
            extranonce1: Vec::new(),
            mask: 0,
            zeros: 6,
            jobs: Vec::new(),
            verdicts: BTreeMap::new(),
        },
        seen: BTreeSet::new(),
        answers: Answers::AtOnce,
        due: Vec::new(),
    };
    // Whatever ends it, the session can be resumed.
    let _ = connection.run(fault).await;
    connection.keep();
}

/// How shares are answered for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    AtOnce,
    Late,
    Never,
    Twice,
    OutOfOrder,
    Reject,
}

struct Connection {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    writer: WriteHalf<DuplexStream>,
    books: Arc<Mutex<Books>>,
    rng: fastrand::Rng,
    host: String,
    /// The session's, empty before there is one.
    name: String,
    session: Session,
    /// What came over this connection.
    seen: BTreeSet<Key>,
    answers: Answers,
    /// Answers to come, and when.
    due: Vec<(Instant, Value)>,
}

/// The connection is over.
struct Over;

impl Connection {
    async fn run(&mut self, fault: Option<Fault>) -> Result<(), Over> {
        if fault == Some(Fault::Mute) {
            sleep(Duration::from_secs(60)).await;
            return Err(Over);
        }
        self.greet(fault).await?;
        self.difficulty().await?;
        self.notify(true).await?;
        let now = Instant::now();
        let (mut next_job, mut next_fault) = (now + Duration::from_secs(JOB_EVERY), self.pause(now));
        loop {
            self.due.sort_by_key(|(at, _)| *at);
            let answer = self.due.first().map_or(next_job, |(at, _)| *at);
            tokio::select! {
                line = self.lines.next_line() => {
                    let line = line.map_err(|_| Over)?.ok_or(Over)?;
                    self.on_line(&line).await?;
                }
                () = sleep_until(answer), if !self.due.is_empty() => {
                    let (_, answer) = self.due.remove(0);
                    self.say(&answer).await?;
                }
                () = sleep_until(next_job) => {
                    next_job += Duration::from_secs(JOB_EVERY);
                    let clean = self.rng.u8(..8) == 0;
                    self.notify(clean).await?;
                }
                () = sleep_until(next_fault) => {
                    next_fault = self.pause(next_fault);
                    self.answers = Answers::AtOnce;
                    self.strike().await?;
                }
            }
        }
    }

    fn pause(&mut self, from: Instant) -> Instant {
        from + Duration::from_secs(self.rng.u64(1..2 * FAULT_EVERY))
    }

    /// Lets the miner in.
    async fn greet(&mut self, fault: Option<Fault>) -> Result<(), Over> {
        loop {
            let line = self.lines.next_line().await.map_err(|_| Over)?.ok_or(Over)?;
            let request: Value = serde_json::from_str(&line).expect("the miner speaks JSON");
            let (id, params) = (&request["id"], &request["params"]);
            let answer = |result: Value| json!({"id": id, "result": result, "error": null});
            match request["method"].as_str().expect("requests have a method") {
                "mining.configure" => {
                    let mask = if self.rng.bool() { 0x1fff_e000 } else { 0 };
                    self.session.mask = mask;
                    let granted =
                        json!({"version-rolling": true, "version-rolling.mask": format!("{mask:08x}")});
                    let result = if mask == 0 { json!({"version-rolling": false}) } else { granted };
                    self.say(&answer(result)).await?;
                }
                "mining.subscribe" => {
                    let wanted = params[1].as_str().filter(|_| fault != Some(Fault::ForgetSession));
                    self.open(wanted);
                    let extranonce1 = hex::encode(&self.session.extranonce1);
                    let result = json!([[["mining.notify", self.name]], extranonce1, EXTRANONCE2]);
                    self.say(&answer(result)).await?;
                }
                "mining.authorize" => {
                    let welcome = fault != Some(Fault::Unauthorised);
                    self.say(&answer(json!(welcome))).await?;
                    return if welcome { Ok(()) } else { Err(Over) };
                }
                _ => self.say(&json!({"id": id, "result": null, "error": [20, "unknown", null]})).await?,
            }
        }
    }

    /// Takes up a session, or begins one.
    fn open(&mut self, wanted: Option<&str>) {
        let mut books = self.books.lock().unwrap();
        let mask = self.session.mask;
        if let Some((name, session)) = wanted.and_then(|name| books.sessions.remove_entry(name)) {
            (self.name, self.session) = (name, Session { mask, ..session });
            return;
        }
        books.count += 1;
        self.name = format!("{}-{}", self.host, books.count);
        self.session.extranonce1 = (books.count as u32).to_be_bytes().to_vec();
    }

    /// Leaves the session for a connection to come.
    fn keep(&mut self) {
        let mut books = self.books.lock().unwrap();
        if !self.name.is_empty() {
            books.sessions.insert(std::mem::take(&mut self.name), self.session.clone());
        }
    }

    async fn strike(&mut self) -> Result<(), Over> {
        let fault = Fault::ALL[self.rng.usize(Fault::GREETING..Fault::ALL.len())];
        *self.books.lock().unwrap().faults.entry(fault).or_default() += 1;
        match fault {
            Fault::Refuse | Fault::Mute | Fault::Unauthorised | Fault::ForgetSession => {
                unreachable!("those strike at the greeting")
            }
            Fault::HangUp => return Err(Over),
            Fault::CutLine => {
                let _ = self.writer.write_all(b"{\"id\":null,\"method\":\"mining.noti").await;
                return Err(Over);
            }
            Fault::HalfOpen => {
                sleep(Duration::from_secs(self.rng.u64(60..200))).await;
                return Err(Over);
            }
            Fault::AnswerLate => self.answers = Answers::Late,
            Fault::AnswerNever => self.answers = Answers::Never,
            Fault::AnswerTwice => self.answers = Answers::Twice,
            Fault::AnswerOutOfOrder => self.answers = Answers::OutOfOrder,
            Fault::Reject => self.answers = Answers::Reject,
            Fault::AnswerUnasked => {
                for id in [json!(0), json!(999_999), json!("x"), json!(null)] {
                    self.say(&json!({"id": id, "result": true, "error": null})).await?;
                }
            }
            Fault::Garbage => {
                let words = [
                    "}{",
                    "null",
                    "[]",
                    "{\"id\":{}}",
                    "\u{1}\u{fffd}",
                    "{\"method\":1,\"params\":[[[[]]]]}",
                ];
                let word = words[self.rng.usize(..words.len())];
                self.write(format!("{word}\n").as_bytes()).await?;
            }
            Fault::Dribble => {
                let job = self.job(false);
                for byte in format!("{job}\n").into_bytes() {
                    self.write(&[byte]).await?;
                    sleep(Duration::from_millis(20)).await;
                }
            }
            Fault::Reconnect => {
                self.say(&json!({"id": null, "method": "client.reconnect", "params": []})).await?;
                while let Ok(Ok(Some(_))) =
                    tokio::time::timeout(Duration::from_secs(20), self.lines.next_line()).await
                {
                }
                return Err(Over);
            }
            Fault::Flood => {
                for _ in 0..300 {
                    self.notify(false).await?;
                }
            }
            Fault::OddDifficulty => {
                for odd in [json!(0), json!(-1), json!("NaN"), json!(null), json!(1e60), json!([])] {
                    self.say(&json!({"id": null, "method": "mining.set_difficulty", "params": [odd]}))
                        .await?;
                }
                self.difficulty().await?;
            }
            Fault::Difficulty => {
                self.session.zeros = self.rng.u32(5..9);
                self.difficulty().await?;
                self.notify(false).await?;
            }
            Fault::Extranonce => {
                self.session.extranonce1 = self.rng.u64(..).to_le_bytes()[..self.rng.usize(1..8)].to_vec();
                let params = json!([hex::encode(&self.session.extranonce1), EXTRANONCE2]);
                self.say(&json!({"id": null, "method": "mining.set_extranonce", "params": params})).await?;
                self.notify(true).await?;
            }
            Fault::Mask => {
                if self.session.mask != 0 {
                    self.session.mask = [0x1fff_e000, 0x0000_e000, 0x1800_0000][self.rng.usize(..3)];
                    let params = json!([format!("{:08x}", self.session.mask)]);
                    self.say(&json!({"id": null, "method": "mining.set_version_mask", "params": params}))
                        .await?;
                    self.notify(false).await?;
                }
            }
        }
        Ok(())
    }

    async fn difficulty(&mut self) -> Result<(), Over> {
        // Difficulty 1 is 2^32 hashes, but for one part in 2^16.
        let difficulty = f64::from(1 << self.session.zeros) / 2f64.powi(32);
        self.say(&json!({"id": null, "method": "mining.set_difficulty", "params": [difficulty]})).await
    }

    async fn notify(&mut self, clean: bool) -> Result<(), Over> {
        let job = self.job(clean);
        self.say(&job).await
    }

    /// A new job, as its notify.
    fn job(&mut self, clean: bool) -> Value {
        let count = {
            let mut books = self.books.lock().unwrap();
            books.count += 1;
            books.count
        };
        let prev = match self.session.jobs.last() {
            Some(last) if !clean => last.prev,
            _ => std::array::from_fn(|_| self.rng.u8(..)),
        };
        if clean {
            self.session.jobs.iter_mut().for_each(|job| job.stale = true);
        }
        let job = Job {
            id: format!("{}{count}", self.host),
            extranonce1: self.session.extranonce1.clone(),
            mask: self.session.mask,
            zeros: self.session.zeros,
            prev,
            prefix: (0..50).map(|_| self.rng.u8(..)).collect(),
            suffix: (0..20).map(|_| self.rng.u8(..)).collect(),
            branch: std::array::from_fn(|_| self.rng.u8(..)),
            // Now and then with a bit that may be rolled.
            version: 0x2000_0000 | if count.is_multiple_of(3) { 0x4000 } else { 0 },
            ntime: 0x6000_0000 + count as u32,
            stale: false,
        };
        let stratum_prev: Vec<u8> = prev.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
        let params = json!([
            job.id,
            hex::encode(stratum_prev),
            hex::encode(&job.prefix),
            hex::encode(&job.suffix),
            [hex::encode(job.branch)],
            format!("{:08x}", job.version),
            format!("{NBITS:08x}"),
            format!("{:08x}", job.ntime),
            clean,
        ]);
        self.session.jobs.push(job);
        let spare = self.session.jobs.len().saturating_sub(KNOWN_JOBS);
        self.session.jobs.drain(..spare);
        json!({"id": null, "method": "mining.notify", "params": params})
    }

    async fn on_line(&mut self, line: &str) -> Result<(), Over> {
        let request: Value = serde_json::from_str(line).expect("the miner speaks JSON");
        let id = request["id"].clone();
        if request["method"] != "mining.submit" {
            return self.say(&json!({"id": id, "result": null, "error": [20, "unknown", null]})).await;
        }
        let params: Vec<&str> =
            request["params"].as_array().expect("params").iter().filter_map(Value::as_str).collect();
        let error = self.judge(&params);
        let answer = json!({"id": id, "result": error.is_null(), "error": error});
        let now = Instant::now();
        let seconds = |seconds| now + Duration::from_secs(seconds);
        match self.answers {
            Answers::AtOnce | Answers::Reject => self.say(&answer).await?,
            Answers::Never => {}
            Answers::Late => self.due.push((seconds(self.rng.u64(1..150)), answer)),
            Answers::OutOfOrder => self.due.push((seconds(self.rng.u64(0..25)), answer)),
            Answers::Twice => {
                self.due.push((seconds(self.rng.u64(0..5)), answer.clone()));
                self.say(&answer).await?;
            }
        }
        Ok(())
    }

    /// The verdict on a share, booked: its error, or null.
    fn judge(&mut self, params: &[&str]) -> Value {
        let &[_, job, extranonce2, ntime, nonce, ref bits @ ..] = params else {
            return self.violation(format!("{params:?}"));
        };
        let number = |text: &str| u32::from_str_radix(text, 16).expect("a number in hex");
        let Some(job) = self.session.jobs.iter().find(|known| known.id == job).cloned() else {
            return self.violation(format!("unknown job {job}"));
        };
        let bits = bits.first().map_or(0, |bits| number(bits));
        // As BIP 310 says, under the mask of now. Bits outside it were rolled before the mask was narrowed.
        let mask = self.session.mask;
        let outside = bits & !mask & !job.version;
        if outside & !job.mask != 0 {
            return self.violation(format!("bits {bits:08x} of masks {:08x} and {mask:08x}", job.mask));
        }
        let version = (job.version & !mask) | bits;
        let key = (job.id.clone(), extranonce2.to_owned(), number(ntime), number(nonce), version);
        if !self.seen.insert(key.clone()) {
            return self.violation(format!("{key:?} came twice over one connection"));
        }
        if !job.is_met_by(&key) {
            return self.violation(format!("{key:?} is no share"));
        }
        let before = self.session.verdicts.get(&key).copied();
        let good = before.unwrap_or(self.answers != Answers::Reject && !job.stale && outside == 0);
        self.session.verdicts.insert(key.clone(), good);
        self.books.lock().unwrap().records.entry(key).or_default().push(good);
        match (good, before) {
            (true, None) => Value::Null,
            (true, Some(_)) => json!([22, "Duplicate share", null]),
            (false, _) if job.stale => json!([21, "Job not found", null]),
            // Not "low difficulty": that means the version bits as well, and is asked again in the other convention.
            (false, _) => json!([20, "Not today", null]),
        }
    }

    fn violation(&mut self, what: String) -> Value {
        self.books.lock().unwrap().violations.push(format!("{}: {what}", self.name));
        json!([20, "Other", null])
    }

    async fn say(&mut self, message: &Value) -> Result<(), Over> {
        self.write(format!("{message}\n").as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.writer.write_all(bytes).await.map_err(|_| Over)
    }
}

impl Job {
    /// Whether the header of this share has the zeros that it needs.
    fn is_met_by(&self, (_, extranonce2, ntime, nonce, version): &Key) -> bool {
        let extranonce2 = hex::decode(extranonce2).expect("hex");
        let coinbase =
            [&self.prefix, &self.extranonce1, &extranonce2, &self.suffix].map(Vec::as_slice).concat();
        let root = double(&[&double(&coinbase)[..], &self.branch].concat());
        let header = [
            &version.to_le_bytes()[..],
            &self.prev,
            &root,
            &ntime.to_le_bytes(),
            &NBITS.to_le_bytes(),
            &nonce.to_le_bytes(),
        ]
        .concat();
        let hash = double(&header);
        let top = u32::from_be_bytes([hash[31], hash[30], hash[29], hash[28]]);
        extranonce2.len() == EXTRANONCE2 && top < 0xffff << (16 - self.zeros)
    }
}

fn double(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}
