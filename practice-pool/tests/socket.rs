//! A tiny raw client against the pool over real sockets. It shares no code with the pool: it hashes with `sha2` directly.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use practice_pool::{Authorize, Config, Handle, Pool, Record, Reject, Verdict};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// One share in 65,536 hashes, which a debug build finds in no time.
const EASY: f64 = 1.0 / 65536.0;

struct Running {
    handle: Handle,
    addr: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(config: Config) -> Self {
        let pool = Pool::bind(config).await.unwrap();
        let (handle, addr) = (pool.handle(), pool.local_addr());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(pool.run(async move { drop(stopped.await) }));
        Self { handle, addr, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.task).await.unwrap();
    }
}

struct Client {
    lines: BufReader<TcpStream>,
    notifications: Vec<Value>,
}

/// What a client knows when it begins to hash.
struct Work {
    job_id: String,
    header: [u8; 80],
    ntime: String,
    extranonce2: &'static str,
}

impl Client {
    async fn connect(pool: &Running) -> Self {
        let stream = soon(TcpStream::connect(pool.addr)).await.unwrap();
        Self { lines: BufReader::new(stream), notifications: Vec::new() }
    }

    async fn send(&mut self, text: &str) {
        self.lines.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = soon(self.lines.read_line(&mut line)).await.unwrap_or(0);
        (read > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.send(&format!("{}\n", json!({ "id": id, "method": method, "params": params }))).await;
        loop {
            let line = self.line().await.expect("the pool answers");
            if line["id"] == id {
                return line;
            }
            self.notifications.push(line);
        }
    }

    /// Waits for a notification and returns its parameters.
    async fn hear(&mut self, method: &str) -> Value {
        loop {
            if let Some(place) = self.notifications.iter().position(|line| line["method"] == method) {
                return self.notifications.remove(place)["params"].take();
            }
            let line = self.line().await.expect("the pool speaks");
            self.notifications.push(line);
        }
    }

    async fn log_in(&mut self) -> Value {
        let options = json!({ "version-rolling.mask": "ffffffff" });
        let configured = self.ask(1, "mining.configure", json!([["version-rolling"], options])).await;
        assert_eq!(
            configured["result"],
            json!({ "version-rolling": true, "version-rolling.mask": "1fffe000" })
        );
        let subscribed = self.ask(2, "mining.subscribe", json!(["raw/1"])).await;
        assert_eq!(subscribed["error"], Value::Null);
        assert_eq!(self.ask(3, "mining.authorize", json!(["w", "x"])).await["result"], true);
        subscribed["result"].clone()
    }
}

impl Work {
    fn new(extranonce1: &str, notify: &Value, extranonce2: &'static str) -> Self {
        let text = |i: usize| notify[i].as_str().unwrap();
        let coinbase = [text(2), extranonce1, extranonce2, text(3)].concat();
        let mut root = double_sha256(&hex::decode(coinbase).unwrap());
        for branch in notify[4].as_array().unwrap() {
            root =
                double_sha256(&[root.as_slice(), &hex::decode(branch.as_str().unwrap()).unwrap()].concat());
        }
        let reversed = |i: usize| hex::decode(text(i)).unwrap().into_iter().rev().collect::<Vec<u8>>();
        let prev = hex::decode(text(1)).unwrap();
        let prev: Vec<u8> = prev.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
        let header = [reversed(5), prev, root.to_vec(), reversed(7), reversed(6), vec![0; 4]].concat();
        Self {
            job_id: text(0).to_owned(),
            header: header.try_into().unwrap(),
            ntime: text(7).to_owned(),
            extranonce2,
        }
    }

    /// Finds a nonce whose hash begins with two zero bytes, or, for a bad share, doesn't.
    fn search(&mut self, good: bool) -> String {
        for nonce in 0u32.. {
            self.header[76..].copy_from_slice(&nonce.to_le_bytes());
            let hash = double_sha256(&self.header);
            // At difficulty 2^-16 the target is 0000ffff00..00 in display order.
            if good == (hash[30..] == [0, 0] && hash[28..30] != [0xff, 0xff]) {
                return format!("{nonce:08x}");
            }
        }
        unreachable!("one in 65,536 is good")
    }

    fn submit(&self, nonce: &str) -> Value {
        json!(["w", self.job_id, self.extranonce2, self.ntime, nonce, "00000000"])
    }
}

fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it happens soon")
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn quiet() -> Config {
    let hour = Duration::from_secs(3600);
    Config {
        difficulty: EASY,
        vardiff: None,
        block_interval: hour,
        job_interval: hour,
        seed: 7,
        ..Config::default()
    }
}

fn ledger_file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("practice-pool-{}-{name}.jsonl", std::process::id()));
    drop(std::fs::remove_file(&path));
    path
}

fn read_ledger(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::remove_file(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_raw_client_mines_shares_and_the_ledger_tells_the_same() {
    let path = ledger_file("mines");
    let pool = Running::start(Config { ledger: Some(path.clone()), ..quiet() }).await;
    let mut client = Client::connect(&pool).await;
    let subscribed = client.log_in().await;
    let extranonce1 = subscribed[1].as_str().unwrap();
    assert_eq!(client.hear("mining.set_difficulty").await, json!([EASY]));
    let notify = client.hear("mining.notify").await;
    assert_eq!(notify[8], true, "the first job is clean");

    let mut work = Work::new(extranonce1, &notify, "01020304");
    let nonce = work.search(true);
    let hash: Vec<u8> = double_sha256(&work.header).into_iter().rev().collect();
    let accepted = client.ask(10, "mining.submit", work.submit(&nonce)).await;
    assert_eq!(accepted, json!({ "id": 10, "result": true, "error": null }));
    let duplicate = client.ask(11, "mining.submit", work.submit(&nonce)).await;
    assert_eq!(duplicate, json!({ "id": 11, "result": null, "error": [22, "Duplicate share", null] }));
    let bad = work.search(false);
    let low = client.ask(12, "mining.submit", work.submit(&bad)).await;
    assert_eq!(low["error"], json!([23, "Low difficulty share", null]));
    pool.handle.new_block();
    let stale = client.ask(13, "mining.submit", work.submit(&nonce)).await;
    assert_eq!(stale["error"], json!([21, "Stale", null]));

    let stats = pool.handle.stats();
    assert_eq!((stats.accepted, stats.rejected_total(), stats.connections, stats.blocks), (1, 3, 1, 0));
    assert_eq!(stats.rejected[&Reject::Stale], 1);
    pool.stop().await;
    let records = read_ledger(&path);
    let told: Vec<_> = records.iter().map(|r| (r.seq, r.verdict, r.code, r.delivered)).collect();
    let rejected = |seq, code| (seq, Verdict::Rejected, Some(code), true);
    assert_eq!(told, [(1, Verdict::Accepted, None, true), rejected(2, 22), rejected(3, 23), rejected(4, 21)]);
    let first = &records[0];
    assert_eq!(first.hash.as_deref(), Some(hex::encode(hash).as_str()));
    assert_eq!((first.connection, first.extranonce1.as_deref()), (1, Some(extranonce1)));
    assert_eq!((first.nonce.as_deref(), first.version.as_deref()), (Some(nonce.as_str()), Some("20000000")));
    assert_eq!(first.target_difficulty, Some(EASY));
}

#[tokio::test]
async fn a_client_that_comes_back_gets_its_extranonce1_and_its_jobs_once() {
    let pool = Running::start(quiet()).await;
    let mut client = Client::connect(&pool).await;
    let first = client.log_in().await;
    let session = first[0][1][1].as_str().unwrap().to_owned();
    let notify = client.hear("mining.notify").await;
    let mut work = Work::new(first[1].as_str().unwrap(), &notify, "00000000");
    let nonce = work.search(true);
    assert_eq!(client.ask(10, "mining.submit", work.submit(&nonce)).await["result"], true);
    pool.handle.disconnect_all();
    assert_eq!(client.line().await, None);
    eventually(|| pool.handle.stats().open == 0).await;

    let mut again = Client::connect(&pool).await;
    let resumed = again.ask(2, "mining.subscribe", json!(["raw/1", session])).await;
    assert_eq!(resumed["result"][1], first[1]);
    let options = json!({ "version-rolling.mask": "1fffe000" });
    again.ask(1, "mining.configure", json!([["version-rolling"], options])).await;
    again.ask(3, "mining.authorize", json!(["w", "x"])).await;
    let duplicate = again.ask(10, "mining.submit", work.submit(&nonce)).await;
    assert_eq!(duplicate["error"][0], 22, "the old job and its share are still known");

    let mut other = Client::connect(&pool).await;
    let fresh = other.ask(2, "mining.subscribe", json!(["raw/1", session])).await;
    assert_ne!(fresh["result"][1], first[1], "a session is resumed once");
    assert_eq!(pool.handle.stats().resumed, 1);
    pool.stop().await;
}

#[tokio::test]
async fn garbage_is_answered_and_then_dropped() {
    let pool = Running::start(quiet()).await;
    let mut client = Client::connect(&pool).await;
    client.send("\r\n\n{\"id\":{\"a\":[1]},\"method\":\"no.such\",\"params\":[]}\r\n").await;
    let answer = client.line().await.unwrap();
    assert_eq!(answer, json!({ "id": { "a": [1] }, "result": null, "error": [20, "Unknown method", null] }));
    client.send("[1,2]\n").await;
    assert_eq!(client.line().await.unwrap()["error"][1], "Not a JSON request");
    client.send(&format!("{}\n\u{fffd}\n{{}}\n", "[".repeat(5000))).await;
    assert_eq!(client.line().await.unwrap()["error"][1], "Not a JSON request");
    assert_eq!(client.line().await, None);
    pool.stop().await;
}

#[tokio::test]
async fn a_line_that_is_too_long_drops_its_client_only() {
    let pool = Running::start(quiet()).await;
    let mut client = Client::connect(&pool).await;
    let mut other = Client::connect(&pool).await;
    // The pool may close before all of it is sent.
    let long = "x".repeat(1 << 20);
    drop(client.lines.get_mut().write_all(long.as_bytes()).await);
    let mut rest = Vec::new();
    drop(soon(client.lines.read_to_end(&mut rest)).await);
    assert_eq!(rest, b"");
    assert_eq!(other.ask(1, "mining.ping", json!([])).await["result"], "pong");
    assert_eq!(pool.handle.stats().open, 1);
    pool.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_no_jobs_is_dropped() {
    let mut config = Config { branches: 16, ..quiet() };
    config.limits.queued_lines = 64;
    let pool = Running::start(config).await;
    let mut slow = Client::connect(&pool).await;
    slow.log_in().await;
    let mut jobs = 0;
    soon(async {
        while pool.handle.stats().slow_readers == 0 {
            pool.handle.new_job();
            jobs += 1;
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(jobs > 64, "dropped after only {jobs} jobs");
    eventually(|| pool.handle.stats().open == 0).await;
    pool.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_dropped_and_each_of_its_submits_is_recorded_once() {
    let path = ledger_file("slow");
    let mut config = Config { ledger: Some(path.clone()), ..quiet() };
    config.limits.write = Duration::from_millis(200);
    let pool = Running::start(config).await;
    let mut slow = Client::connect(&pool).await;
    let submit = format!("{}\n", json!({ "id": "x".repeat(8000), "method": "mining.submit", "params": [] }));
    soon(async { while slow.lines.get_mut().write_all(submit.as_bytes()).await.is_ok() {} }).await;
    eventually(|| pool.handle.stats().open == 0).await;
    let stats = pool.handle.stats();
    assert_eq!(stats.slow_readers, 1);
    pool.stop().await;
    let mut records = read_ledger(&path);
    records.sort_by_key(|record| record.seq);
    assert_eq!(records.len() as u64, stats.rejected_total());
    assert!(records.iter().zip(1..).all(|(record, seq)| record.seq == seq));
    let undelivered = records.iter().position(|record| !record.delivered).unwrap();
    assert!(undelivered > 0, "the first answers went out");
    assert!(records[undelivered..].iter().all(|record| !record.delivered));
}

#[tokio::test]
async fn more_connections_than_allowed_are_turned_away() {
    let mut config = quiet();
    config.limits.connections = 1;
    let pool = Running::start(config).await;
    let mut first = Client::connect(&pool).await;
    assert_eq!(first.ask(1, "mining.ping", json!([])).await["result"], "pong");
    let mut second = Client::connect(&pool).await;
    assert_eq!(second.line().await, None);
    assert_eq!(pool.handle.stats().turned_away, 1);
    drop(first);
    eventually(|| pool.handle.stats().open == 0).await;
    let mut third = Client::connect(&pool).await;
    assert_eq!(third.ask(1, "mining.ping", json!([])).await["result"], "pong");
    pool.stop().await;
}

#[tokio::test]
async fn a_client_that_is_refused_gets_no_job() {
    let check = Authorize::Check(std::sync::Arc::new(|user, password| user == "w" && password == "secret"));
    let pool = Running::start(Config { authorize: check, ..quiet() }).await;
    let mut client = Client::connect(&pool).await;
    client.ask(1, "mining.subscribe", json!([])).await;
    let refused = client.ask(2, "mining.authorize", json!(["w", "wrong"])).await;
    assert_eq!(refused, json!({ "id": 2, "result": null, "error": [24, "Unauthorized worker", null] }));
    assert_eq!(client.ask(3, "mining.ping", json!([])).await["result"], "pong");
    assert!(client.notifications.is_empty());
    assert_eq!(client.ask(4, "mining.authorize", json!(["w", "secret"])).await["result"], true);
    client.hear("mining.notify").await;
    pool.stop().await;
}
