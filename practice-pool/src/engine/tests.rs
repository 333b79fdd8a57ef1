//! The pool in virtual time, without sockets.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Authorize, Vardiff};
use crate::ledger::{Record, Verdict};
use crate::replay::Replay;
use crate::verify::Reject;

/// So low that every hash is a share.
const ANY: f64 = 1e-12;

/// An engine, its clock, and everything it has sent.
struct Bench {
    engine: Engine,
    now: Now,
    sent: HashMap<u64, Vec<Value>>,
    records: Vec<Record>,
}

impl Bench {
    fn new(config: Config) -> Self {
        config.validate().unwrap();
        let now = Now { instant: Instant::now(), unix: 1.7e9 };
        Self { engine: Engine::new(config, now), now, sent: HashMap::new(), records: Vec::new() }
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Engine, Now) -> R) -> R {
        let result = act(&mut self.engine, self.now);
        while let Some((client, outgoing)) = self.engine.poll_output() {
            let text = outgoing.line.strip_suffix(b"\n").unwrap();
            assert!(!text.contains(&b'\n') && text.len() < 4096);
            self.sent.entry(client).or_default().push(serde_json::from_slice(text).unwrap());
            self.records.extend(outgoing.record.map(|record| *record));
        }
        result
    }

    fn wait(&mut self, time: Duration) -> Vec<u64> {
        self.now = Now { instant: self.now.instant + time, unix: self.now.unix + time.as_secs_f64() };
        self.act(Engine::handle_timeout)
    }

    fn connect(&mut self) -> u64 {
        self.act(Engine::connect).unwrap()
    }

    /// Sends a request and returns the one answer to it.
    fn ask(&mut self, client: u64, method: &str, params: Value) -> Value {
        let before = self.sent.get(&client).map_or(0, Vec::len);
        let line = json!({ "id": "q", "method": method, "params": params }).to_string();
        self.act(|engine, now| engine.handle_line(client, now, line.as_bytes())).unwrap();
        let answers: Vec<_> = self.sent[&client][before..].iter().filter(|line| line["id"] == "q").collect();
        assert_eq!(answers.len(), 1, "{method}: {answers:?}");
        answers[0].clone()
    }

    fn log_in(&mut self, client: u64) -> Value {
        let options = json!({ "version-rolling.mask": "1fffe000" });
        let extensions = json!(["version-rolling", "subscribe-extranonce"]);
        self.ask(client, "mining.configure", json!([extensions, options]));
        let subscribed = self.ask(client, "mining.subscribe", json!(["test"]));
        assert_eq!(self.ask(client, "mining.authorize", json!(["w"]))["result"], true);
        subscribed["result"].clone()
    }

    fn newcomer(&mut self) -> u64 {
        let client = self.connect();
        self.log_in(client);
        client
    }

    fn heard(&self, client: u64, method: &str) -> Vec<Value> {
        let lines = self.sent[&client].iter().filter(|line| line["method"] == method);
        lines.map(|line| line["params"].clone()).collect()
    }

    fn job(&self, client: u64) -> Value {
        self.heard(client, "mining.notify").pop().unwrap()
    }

    /// Submits a share for the client's newest job and returns the answer.
    fn submit(&mut self, client: u64, nonce: u32) -> Value {
        let job = self.job(client);
        self.submit_for(client, &job, nonce)
    }

    fn submit_for(&mut self, client: u64, job: &Value, nonce: u32) -> Value {
        self.ask(
            client,
            "mining.submit",
            json!(["w", job[0], "00000000", job[7], format!("{nonce:08x}"), "00000000"]),
        )
    }
}

fn quiet() -> Config {
    let day = Duration::from_secs(86_400);
    let mut config = Config {
        difficulty: ANY,
        vardiff: None,
        block_interval: day,
        job_interval: day,
        retarget: false,
        seed: 3,
        ..Config::default()
    };
    config.limits.idle = day;
    config
}

fn error(reject: Reject) -> Value {
    json!([reject.code(), reject.to_string(), null])
}

#[test]
fn configure_grants_what_the_pool_can_do() {
    let bad_mask = json!("invalid version-rolling.mask");
    let bad_minimum = json!("invalid minimum-difficulty.value");
    let cases = [
        (
            json!([["version-rolling"], {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2}]),
            json!({"version-rolling": true, "version-rolling.mask": "1fffe000"}),
        ),
        (
            json!([["version-rolling"], {"version-rolling.mask": "0000f000"}]),
            json!({"version-rolling": true, "version-rolling.mask": "0000e000"}),
        ),
        (json!([["version-rolling"]]), json!({"version-rolling": true, "version-rolling.mask": "1fffe000"})),
        (
            json!([["version-rolling"], {"version-rolling.mask": "+fffe000"}]),
            json!({"version-rolling": bad_mask}),
        ),
        (json!([["version-rolling"], {"version-rolling.mask": 7}]), json!({"version-rolling": bad_mask})),
        (
            json!([["minimum-difficulty", "subscribe-extranonce", "info"], {"minimum-difficulty.value": 0}]),
            json!({"minimum-difficulty": true, "subscribe-extranonce": true, "info": true}),
        ),
        (
            json!([["minimum-difficulty"], {"minimum-difficulty.value": -1}]),
            json!({"minimum-difficulty": bad_minimum}),
        ),
        (json!([["minimum-difficulty"]]), json!({"minimum-difficulty": bad_minimum})),
        (json!([["x", 1, null, "info"]]), json!({"x": false, "info": true})),
        (json!([[], 5]), json!({})),
    ];
    let mut bench = Bench::new(quiet());
    for (params, result) in cases {
        let client = bench.connect();
        assert_eq!(bench.ask(client, "mining.configure", params.clone())["result"], result, "{params}");
        bench.act(|engine, now| engine.disconnect(client, now));
    }
    for params in [json!([]), json!(["version-rolling"]), json!([null, {}])] {
        let client = bench.connect();
        assert_eq!(bench.ask(client, "mining.configure", params)["error"][0], 20);
    }
    let mut bench = Bench::new(Config { version_mask: 0, ..quiet() });
    let client = bench.connect();
    let refused = bench.ask(client, "mining.configure", json!([["version-rolling"]]));
    assert_eq!(refused["result"], json!({ "version-rolling": false }));
}

#[test]
fn a_share_is_refused_for_the_first_thing_wrong_with_it() {
    let mut bench = Bench::new(quiet());
    let client = bench.connect();
    let nobody = bench.ask(client, "mining.submit", json!([]));
    assert_eq!(nobody["error"], error(Reject::NotSubscribed));
    bench.log_in(client);
    let job = bench.job(client);
    let (id, ntime) = (job[0].as_str().unwrap(), u32::from_str_radix(job[7].as_str().unwrap(), 16).unwrap());
    let at = |offset: i64| format!("{:08x}", i64::from(ntime) + offset);
    let cases = [
        (json!([]), Reject::Malformed),
        (json!(["w"]), Reject::Malformed),
        (json!([1, "x", 1, 2, 3]), Reject::Malformed),
        (json!(["other", "x", 1]), Reject::Unauthorized),
        (json!(["w", id, "00000000", at(0)]), Reject::Malformed),
        (json!(["w", id, "00000000", at(0), "00000001", "00000000", "more"]), Reject::Malformed),
        (json!(["w", id, 0, at(0), "00000001"]), Reject::Malformed),
        (json!(["w", id, "0000000", at(0), "00000001"]), Reject::Malformed),
        (json!(["w", id, "0000000g", at(0), "00000001"]), Reject::Malformed),
        (json!(["w", id, "00000000", at(0), "1"]), Reject::Malformed),
        (json!(["w", id, "00000000", at(0), "+0000001"]), Reject::Malformed),
        (json!(["w", id, "00000000", at(0), "0000000001"]), Reject::Malformed),
        (json!(["w", id, "00000000", at(0), "00000001", "0"]), Reject::Malformed),
        (json!(["w", id, "00000000", at(0), "00000001", 0]), Reject::Malformed),
        (json!(["w", "x", "00", at(-1), "00000001", "ffffffff"]), Reject::JobNotFound),
        (json!(["w", id, "000000", at(-1), "00000001", "ffffffff"]), Reject::Extranonce2Size),
        (json!(["w", id, "0000000000", at(0), "00000001"]), Reject::Extranonce2Size),
        (json!(["w", id, "00000000", at(-1), "00000001", "ffffffff"]), Reject::NtimeOutOfRange),
        (json!(["w", id, "00000000", at(7001), "00000001"]), Reject::NtimeOutOfRange),
        (json!(["w", id, "00000000", at(0), "00000001", "20000000"]), Reject::VersionBits),
        (json!(["w", id, "00000000", at(0), "00000001", "00000001"]), Reject::VersionBits),
    ];
    for (params, reject) in &cases {
        assert_eq!(bench.ask(client, "mining.submit", params.clone())["error"], error(*reject), "{params}");
    }
    for offset in [0, 7000] {
        let good = json!(["w", id, "00000000", at(offset), "00000001", "1fffe000"]);
        assert_eq!(bench.ask(client, "mining.submit", good.clone())["result"], true, "{good}");
        let repeated = bench.ask(client, "mining.submit", good);
        assert_eq!(repeated["error"], error(Reject::Duplicate));
    }
    let stats = bench.engine.stats();
    assert_eq!((stats.accepted, stats.rejected_total()), (2, cases.len() as u64 + 3));
    assert_eq!(bench.records.len() as u64, stats.accepted + stats.rejected_total());
    assert!(bench.records.iter().zip(1..).all(|(record, seq)| record.seq == seq));
}

#[test]
fn version_bits_need_a_grant_and_are_not_needed_with_one() {
    let mut bench = Bench::new(quiet());
    let client = bench.connect();
    bench.ask(client, "mining.subscribe", json!([]));
    bench.ask(client, "mining.authorize", json!(["w", "x"]));
    assert_eq!(bench.submit(client, 1)["error"], error(Reject::VersionBits));
    let job = bench.job(client);
    let plain = bench.ask(client, "mining.submit", json!(["w", job[0], "00000000", job[7], "00000001"]));
    assert_eq!(plain["result"], true);
    let client = bench.newcomer();
    let job = bench.job(client);
    let plain = bench.ask(client, "mining.submit", json!(["w", job[0], "00000000", job[7], "00000001"]));
    assert_eq!(plain["result"], true);
}

#[test]
fn a_difficulty_counts_from_the_next_job_on() {
    let mut bench = Bench::new(quiet());
    let client = bench.newcomer();
    let easy = bench.job(client);
    bench.act(|engine, _| engine.set_difficulty(1e60)).unwrap();
    assert_eq!(bench.heard(client, "mining.set_difficulty"), [json!([ANY]), json!([1e60])]);
    assert_eq!(bench.submit_for(client, &easy, 1)["result"], true);
    bench.act(Engine::new_job);
    let hard = bench.job(client);
    assert_eq!(bench.submit_for(client, &hard, 1)["error"], error(Reject::LowDifficulty));
    assert_eq!(bench.submit_for(client, &easy, 2)["result"], true, "the old job keeps its target");
    assert!(bench.act(|engine, _| engine.set_difficulty(f64::NAN)).is_err());
    let targets: Vec<_> = bench.records.iter().map(|record| record.target_difficulty.unwrap()).collect();
    assert_eq!(targets, [ANY, 1e60, ANY]);
}

#[test]
fn a_suggested_difficulty_is_taken_within_bounds() {
    let vardiff = Vardiff { min: 0.5, max: 100.0, ..Vardiff::default() };
    let mut bench = Bench::new(Config { difficulty: 1.0, vardiff: Some(vardiff), ..quiet() });
    let client = bench.newcomer();
    for (suggested, taken) in [(json!(7.5), 7.5), (json!(1e-9), 0.5), (json!(1_000_000), 100.0)] {
        assert_eq!(bench.ask(client, "mining.suggest_difficulty", json!([suggested]))["result"], true);
        assert_eq!(bench.heard(client, "mining.set_difficulty").pop(), Some(json!([taken])));
        assert_eq!(bench.job(client)[8], false);
    }
    for bad in [json!(0), json!(-1), json!("8"), json!(null)] {
        assert_eq!(bench.ask(client, "mining.suggest_difficulty", json!([bad]))["error"][0], 20);
    }
    let ids: BTreeSet<_> =
        bench.heard(client, "mining.notify").iter().map(|job| job[0].to_string()).collect();
    assert_eq!(ids.len(), 4, "each job sent has an id of its own");
}

#[test]
fn the_minimum_difficulty_holds_against_vardiff() {
    let mut bench = Bench::new(Config { difficulty: 1.0, vardiff: Some(Vardiff::default()), ..quiet() });
    let client = bench.connect();
    let options = json!({ "minimum-difficulty.value": 0.4 });
    bench.ask(client, "mining.configure", json!([["minimum-difficulty"], options]));
    bench.log_in(client);
    for _ in 0..100 {
        bench.wait(Duration::from_secs(10));
    }
    assert_eq!(bench.heard(client, "mining.set_difficulty"), [json!([1.0]), json!([0.4])]);
}

#[test]
fn vardiff_sends_a_difficulty_and_a_job_that_carries_it() {
    let vardiff = Vardiff { min: 1e-13, ..Vardiff::default() };
    let mut bench = Bench::new(Config { vardiff: Some(vardiff), ..quiet() });
    let client = bench.newcomer();
    bench.now.instant += Duration::from_secs(2);
    for nonce in 0..18 {
        assert_eq!(bench.submit(client, nonce)["result"], true);
    }
    assert_eq!(bench.heard(client, "mining.set_difficulty").pop(), Some(json!([8e-12])));
    let jobs = bench.heard(client, "mining.notify");
    assert_eq!(jobs.len(), 2);
    assert_ne!(jobs[0][0], jobs[1][0]);
    assert_eq!((&jobs[0][2], &jobs[0][7], &jobs[1][8]), (&jobs[1][2], &jobs[1][7], &json!(false)));
    assert_eq!(
        bench.submit(client, 0)["error"],
        error(Reject::Duplicate),
        "a new id doesn't make a share new"
    );
}

#[test]
fn blocks_come_by_the_clock_and_make_older_jobs_stale() {
    let mut bench = Bench::new(Config {
        block_interval: Duration::from_secs(60),
        job_interval: Duration::from_secs(25),
        ..quiet()
    });
    let client = bench.newcomer();
    for _ in 0..480 {
        bench.wait(Duration::from_millis(250));
    }
    let jobs = bench.heard(client, "mining.notify");
    let clean: Vec<_> = jobs.iter().map(|job| job[8].as_bool().unwrap()).collect();
    assert_eq!(clean, [true, false, false, true, false, false, true]);
    assert_eq!(jobs[0][1], jobs[2][1], "the same block before");
    assert_ne!(jobs[2][1], jobs[3][1]);
    let answers: Vec<_> = jobs.iter().map(|job| bench.submit_for(client, job, 1)["error"].clone()).collect();
    assert_eq!(answers[..6], vec![error(Reject::Stale); 6]);
    assert_eq!(answers[6], Value::Null);
    assert_eq!(bench.engine.stats().height, 1_000_002);
}

#[test]
fn a_clock_set_back_does_not_turn_back_the_time_of_jobs() {
    let mut bench = Bench::new(quiet());
    let client = bench.newcomer();
    bench.now.unix = 3.0;
    bench.act(Engine::new_block);
    let jobs = bench.heard(client, "mining.notify");
    assert_eq!(jobs[0][7], jobs[1][7]);
}

#[test]
fn jobs_beyond_the_limit_are_forgotten() {
    let mut bench = Bench::new(quiet());
    let client = bench.newcomer();
    let first = bench.job(client);
    for _ in 0..15 {
        bench.act(Engine::new_job);
    }
    assert_eq!(bench.submit_for(client, &first, 1)["result"], true);
    bench.act(Engine::new_job);
    assert_eq!(bench.submit_for(client, &first, 2)["error"], error(Reject::JobNotFound));
}

#[test]
fn shares_beyond_the_limit_wait_for_the_next_block() {
    let mut config = quiet();
    config.limits.shares_per_block = 3;
    let mut bench = Bench::new(config);
    let client = bench.newcomer();
    for nonce in 0..3 {
        assert_eq!(bench.submit(client, nonce)["result"], true);
    }
    assert_eq!(bench.submit(client, 3)["error"], error(Reject::TooMany));
    assert_eq!(bench.submit(client, 0)["error"], error(Reject::Duplicate));
    bench.act(Engine::new_block);
    assert_eq!(bench.submit(client, 3)["result"], true);
}

#[test]
fn a_block_found_by_one_is_a_clean_job_for_all() {
    let mut bench = Bench::new(Config { nbits: 0x207f_ffff, difficulty: 1e60, ..quiet() });
    let (finder, other) = (bench.newcomer(), bench.newcomer());
    let before = bench.job(other);
    let nonce = (0..64).find(|&nonce| bench.submit(finder, nonce)["result"] == true).unwrap();
    let record = bench.records.last().unwrap().clone();
    assert!(
        record.block && record.verdict == Verdict::Accepted,
        "a block is good though it misses the share target"
    );
    let after = bench.job(other);
    assert_eq!(after[8], true);
    let prev: Vec<u8> = hex::decode(after[1].as_str().unwrap()).unwrap();
    let prev: Vec<u8> = prev.chunks(4).rev().flatten().copied().collect();
    assert_eq!(Some(hex::encode(prev)), record.hash, "the chain goes on from the block found");
    assert_eq!((bench.engine.stats().blocks, bench.engine.stats().height), (1, 1_000_001));
    assert_eq!(bench.submit_for(other, &before, nonce)["error"], error(Reject::Stale));
}

#[test]
fn a_new_extranonce_counts_from_the_next_job_on_and_goes_to_those_who_asked() {
    let mut bench = Bench::new(quiet());
    let asked = bench.newcomer();
    let other = bench.connect();
    bench.ask(other, "mining.subscribe", json!([]));
    bench.ask(other, "mining.authorize", json!(["w"]));
    let old = bench.job(asked);
    bench.act(|engine, _| engine.set_extranonce(3, 2)).unwrap();
    assert!(bench.heard(other, "mining.set_extranonce").is_empty());
    let told = bench.heard(asked, "mining.set_extranonce").pop().unwrap();
    assert_eq!((told[0].as_str().unwrap().len(), &told[1]), (6, &json!(2)));
    assert_eq!(bench.submit_for(asked, &old, 1)["result"], true, "the old job keeps the old pair");
    bench.act(Engine::new_job);
    let new = bench.job(asked);
    assert_eq!(bench.submit_for(asked, &new, 1)["error"], error(Reject::Extranonce2Size));
    let good =
        bench.ask(asked, "mining.submit", json!(["w", new[0], "0000", new[7], "00000001", "00000000"]));
    assert_eq!(good["result"], true);
    assert_eq!(bench.records.last().unwrap().extranonce1.as_deref(), told[0].as_str());
    let newcomer = bench.connect();
    assert_eq!(bench.log_in(newcomer)[2], 2);
    assert!(bench.act(|engine, _| engine.set_extranonce(17, 4)).is_err());
    assert!(bench.act(|engine, _| engine.set_extranonce(4, 0)).is_err());
}

#[test]
fn a_narrower_mask_counts_at_once() {
    let mut bench = Bench::new(quiet());
    let client = bench.newcomer();
    let job = bench.job(client);
    let roll = |bench: &mut Bench, bits: &str| {
        bench.ask(client, "mining.submit", json!(["w", job[0], "00000000", job[7], "00000001", bits]))["error"].clone()
    };
    assert_eq!(roll(&mut bench, "10000000"), Value::Null);
    bench.act(|engine, _| engine.set_version_mask(0x0000_ffff));
    assert_eq!(bench.heard(client, "mining.set_version_mask"), [json!(["0000e000"])]);
    assert_eq!(roll(&mut bench, "08000000"), error(Reject::VersionBits));
    assert_eq!(roll(&mut bench, "00002000"), Value::Null);
    bench.act(|engine, _| engine.set_version_mask(0x0000_efff));
    assert_eq!(bench.heard(client, "mining.set_version_mask").len(), 1, "the same bits as before");
}

#[test]
fn a_session_resumed_after_a_block_keeps_its_extranonce1_and_its_jobs_are_stale() {
    let mut bench = Bench::new(quiet());
    let client = bench.connect();
    let first = bench.log_in(client);
    let job = bench.job(client);
    bench.act(|engine, now| engine.disconnect(client, now));
    bench.act(Engine::new_block);
    let again = bench.connect();
    let resumed = bench.ask(again, "mining.subscribe", json!(["test", first[0][1][1]]))["result"].clone();
    assert_eq!((&resumed[1], &resumed[2]), (&first[1], &first[2]));
    assert_ne!(resumed[0], first[0], "the session id is new");
    bench.ask(again, "mining.authorize", json!(["w"]));
    let old = bench.ask(again, "mining.submit", json!(["w", job[0], "00000000", job[7], "00000001"]));
    assert_eq!(old["error"], error(Reject::Stale));
}

#[test]
fn a_session_still_open_or_too_old_is_not_resumed() {
    let mut bench = Bench::new(quiet());
    let client = bench.connect();
    let first = bench.log_in(client);
    let try_again = |bench: &mut Bench| {
        let again = bench.connect();
        bench.ask(again, "mining.subscribe", json!(["test", first[0][1][1]]))["result"][1].clone()
    };
    assert_ne!(try_again(&mut bench), first[1]);
    bench.act(|engine, now| engine.disconnect(client, now));
    bench.wait(Duration::from_secs(601));
    assert_ne!(try_again(&mut bench), first[1]);
}

#[test]
fn silent_and_unauthorized_clients_are_overdue() {
    let mut config = Config { authorize: Authorize::Nobody, ..quiet() };
    config.limits.idle = Duration::from_secs(600);
    let mut bench = Bench::new(config);
    let client = bench.connect();
    bench.ask(client, "mining.subscribe", json!([]));
    assert_eq!(bench.ask(client, "mining.authorize", json!(["w"]))["error"], error(Reject::Unauthorized));
    assert!(bench.wait(Duration::from_secs(60)).is_empty());
    assert_eq!(bench.wait(Duration::from_secs(1)), [client]);

    let mut config = quiet();
    config.limits.idle = Duration::from_secs(600);
    let mut bench = Bench::new(config);
    let client = bench.newcomer();
    assert!(bench.wait(Duration::from_secs(600)).is_empty());
    bench.submit(client, 1);
    assert!(bench.wait(Duration::from_secs(600)).is_empty());
    assert_eq!(bench.wait(Duration::from_secs(1)), [client]);
}

#[test]
fn workers_are_counted_and_names_are_bounded() {
    let mut bench = Bench::new(quiet());
    let client = bench.newcomer();
    for n in 1..64 {
        assert_eq!(bench.ask(client, "mining.authorize", json!([format!("w{n}"), "x"]))["result"], true);
    }
    assert_eq!(bench.ask(client, "mining.authorize", json!(["w64", "x"]))["error"][0], 24);
    assert_eq!(bench.ask(client, "mining.authorize", json!(["w", "x"]))["result"], true);
    assert_eq!(bench.ask(client, "mining.authorize", json!(["é".repeat(257)]))["error"][0], 20);
    assert_eq!(bench.heard(client, "mining.notify").len(), 1, "one first job, however many workers");
    assert_eq!(bench.ask(client, "mining.subscribe", json!([]))["error"][0], 20);
}

#[test]
fn replayed_jobs_come_in_turn_and_their_known_answers_are_shares() {
    const FILE: &str = include_str!("../../../tests/data/known-answers.json");
    let file: Value = serde_json::from_str(FILE).unwrap();
    let mut bench = Bench::new(Config::replaying(Replay::read(FILE).unwrap()));
    let (client, other) = (bench.connect(), bench.connect());
    assert_eq!(bench.log_in(client)[1], file["extranonce1"]);
    assert_eq!(bench.log_in(other)[1], file["extranonce1"], "everybody searches the same space");
    let jobs = file["jobs"].as_array().unwrap();
    let mut answers = 0;
    // Twice around: what was accepted before counts again in another turn.
    for turn in 0..2 * jobs.len() {
        let (known, job) = (&jobs[turn % jobs.len()], bench.job(client));
        assert_eq!((&job[2], &job[7], &job[8]), (&known["coinb1"], &known["ntime"], &json!(true)));
        for answer in known["answers"].as_array().unwrap() {
            for nonce in answer["nonces"].as_array().unwrap() {
                let nonce = u32::from_str_radix(nonce.as_str().unwrap(), 16).unwrap().swap_bytes();
                let share =
                    |nonce| json!(["w", job[0], answer["extranonce2"], job[7], format!("{nonce:08x}")]);
                assert_eq!(bench.ask(client, "mining.submit", share(nonce))["result"], true);
                assert_eq!(
                    bench.ask(client, "mining.submit", share(nonce))["error"],
                    error(Reject::Duplicate)
                );
                assert_eq!(
                    bench.ask(client, "mining.submit", share(nonce ^ 1))["error"],
                    error(Reject::LowDifficulty)
                );
                answers += 1;
            }
        }
        bench.wait(Duration::from_secs(5));
        let late = bench.ask(client, "mining.submit", json!(["w", job[0], "00000000", job[7], "00000000"]));
        assert_eq!(late["error"], error(Reject::Stale));
    }
    assert_eq!(bench.engine.stats().accepted, answers);
    assert!(answers > 0);
}

#[test]
fn extranonce_sizes_of_all_kinds_make_good_shares() {
    for (extranonce1_len, extranonce2_size) in [(0, 1), (0, 16), (1, 1), (3, 2), (16, 16)] {
        let mut bench = Bench::new(Config { extranonce1_len, extranonce2_size, ..quiet() });
        let client = bench.connect();
        let subscribed = bench.log_in(client);
        assert_eq!(subscribed[1].as_str().unwrap().len(), 2 * extranonce1_len);
        let (job, extranonce2) = (bench.job(client), "ab".repeat(extranonce2_size));
        let good = bench.ask(client, "mining.submit", json!(["w", job[0], extranonce2, job[7], "00000001"]));
        assert_eq!(good["result"], true);
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let vardiff = Vardiff::default();
    let cases = [
        Config { difficulty: 0.0, ..quiet() },
        Config { difficulty: f64::INFINITY, ..quiet() },
        Config { nbits: 0, ..quiet() },
        Config { extranonce1_len: 17, ..quiet() },
        Config { extranonce2_size: 0, ..quiet() },
        Config { extranonce2_size: 17, ..quiet() },
        Config { branches: 17, ..quiet() },
        Config { block_interval: Duration::ZERO, ..quiet() },
        Config { job_interval: Duration::ZERO, ..quiet() },
        Config { block_interval: Duration::MAX, ..quiet() },
        Config { vardiff: Some(Vardiff { min: 2.0, max: 1.0, ..vardiff }), ..quiet() },
        Config { vardiff: Some(Vardiff { max: f64::NAN, ..vardiff }), ..quiet() },
        Config { vardiff: Some(Vardiff { max_step: 1.0, ..vardiff }), ..quiet() },
        Config { vardiff: Some(Vardiff { share_interval: Duration::ZERO, ..vardiff }), ..quiet() },
    ];
    for config in cases {
        assert!(config.validate().is_err(), "{config:?}");
    }
    assert_eq!(Config::default().validate(), Ok(()));
}

/// What a client or the world does next.
#[derive(Debug, Clone)]
enum Step {
    Connect { resume: bool },
    Disconnect { client: usize },
    Share { client: usize, job: usize, extranonce2: u8, ntime: u8, nonce: u8, bits: u8 },
    Line { client: usize, text: Vec<u8> },
    Wait { seconds: u8 },
    NewBlock,
    NewJob,
    SetExtranonce { len: usize, size: usize },
    Suggest { client: usize, difficulty: f64 },
}

fn step() -> impl Strategy<Value = Step> {
    let message = prop_oneof![
        any::<Vec<u8>>(),
        ("mining\\.(configure|subscribe|authorize|submit|suggest_difficulty|x)", json_value()).prop_map(
            |(method, params)| json!({ "id": 5, "method": method, "params": params })
                .to_string()
                .into_bytes()
        ),
        (
            "mining\\.(configure|subscribe|authorize|submit|suggest_difficulty)",
            prop::collection::vec(json_value(), 0..7)
        )
            .prop_map(|(method, params)| json!({ "id": null, "method": method, "params": params })
                .to_string()
                .into_bytes()),
    ];
    prop_oneof![
        1 => any::<bool>().prop_map(|resume| Step::Connect { resume }),
        1 => (0..4usize).prop_map(|client| Step::Disconnect { client }),
        12 => (0..4usize, 0..3usize, 0..2u8, 0..2u8, 0..3u8, 0..2u8).prop_map(
            |(client, job, extranonce2, ntime, nonce, bits)| Step::Share { client, job, extranonce2, ntime, nonce, bits }
        ),
        2 => (0..4usize, message).prop_map(|(client, text)| Step::Line { client, text }),
        1 => (0..100u8).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::NewBlock),
        2 => Just(Step::NewJob),
        1 => (1..9usize, 1..9usize).prop_map(|(len, size)| Step::SetExtranonce { len, size }),
        1 => (0..4usize, 1e-13..1e-11f64).prop_map(|(client, difficulty)| Step::Suggest { client, difficulty }),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f]{0,10}".prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("version-rolling.mask|minimum-difficulty.value|x", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What the test knows of a client, apart from the pool: its extranonce size by job, and the contents it was credited for.
#[derive(Default)]
struct Model {
    clients: Vec<u64>,
    session_ids: Vec<Value>,
    sizes: HashMap<(u64, String), usize>,
    size: HashMap<u64, usize>,
    read: HashMap<u64, usize>,
    credited: BTreeSet<String>,
}

impl Model {
    /// Reads what came since, noting with which extranonce2 size each job was sent.
    fn read(&mut self, bench: &Bench) {
        for (&client, lines) in &bench.sent {
            for line in &lines[self.read.insert(client, lines.len()).unwrap_or(0)..] {
                match line["method"].as_str() {
                    Some("mining.set_extranonce") => {
                        self.size.insert(client, line["params"][1].as_u64().unwrap() as usize);
                    }
                    Some("mining.notify") => {
                        let id = line["params"][0].as_str().unwrap().to_owned();
                        self.sizes.insert((client, id), self.size[&client]);
                    }
                    _ => {}
                }
            }
        }
    }

    fn pick(&self, place: usize) -> Option<u64> {
        self.clients.get(place % self.clients.len().max(1)).copied()
    }

    fn connect(&mut self, bench: &mut Bench, resume: bool) {
        let Some(client) = bench.act(Engine::connect) else { return };
        let old = if resume { self.session_ids.pop() } else { None };
        let options = json!({ "version-rolling.mask": "1fffe000" });
        bench.ask(client, "mining.configure", json!([["version-rolling", "subscribe-extranonce"], options]));
        let subscribed = bench.ask(client, "mining.subscribe", json!(["test", old]))["result"].clone();
        self.size.insert(client, subscribed[2].as_u64().unwrap() as usize);
        self.session_ids.push(subscribed[0][1][1].clone());
        self.clients.push(client);
        bench.ask(client, "mining.authorize", json!(["w", "x"]));
    }

    /// Submits a well-formed share for one of the client's last jobs and checks the verdict both ways.
    fn share(&mut self, bench: &mut Bench, client: u64, age: usize, fields: [u8; 4]) {
        let jobs = bench.heard(client, "mining.notify");
        let Some(job) = jobs.iter().rev().nth(age) else { return };
        let fresh = jobs.iter().rev().take(age).all(|later| later[8] == false);
        let [extranonce2, ntime, nonce, bits] = fields;
        let extranonce2 =
            format!("{extranonce2:02x}").repeat(self.sizes[&(client, job[0].as_str().unwrap().to_owned())]);
        let time = u32::from_str_radix(job[7].as_str().unwrap(), 16).unwrap() + u32::from(ntime);
        let version = u32::from(bits) << 13;
        let params = json!([
            "w",
            job[0],
            extranonce2,
            format!("{time:08x}"),
            format!("{nonce:08x}"),
            format!("{version:08x}")
        ]);
        let answer = bench.ask(client, "mining.submit", params);
        let record = bench.records.last().unwrap();
        let content = format!(
            "{} {} {time} {nonce} {version} {} {}",
            record.extranonce1.as_deref().unwrap(),
            extranonce2,
            job[1],
            job[4]
        );
        let expected = match (fresh, self.credited.contains(&content)) {
            (false, _) => error(Reject::Stale),
            (true, true) => error(Reject::Duplicate),
            (true, false) => Value::Null,
        };
        assert_eq!(answer["error"], expected, "{content}");
        if expected.is_null() {
            self.credited.insert(content);
        }
    }

    fn apply(&mut self, bench: &mut Bench, step: Step) {
        match step {
            Step::Connect { resume } => self.connect(bench, resume),
            Step::Wait { seconds } => drop(bench.wait(Duration::from_secs(seconds.into()))),
            Step::NewBlock => bench.act(Engine::new_block),
            Step::NewJob => bench.act(Engine::new_job),
            Step::SetExtranonce { len, size } => {
                bench.act(|engine, _| engine.set_extranonce(len, size)).unwrap()
            }
            Step::Disconnect { client } => {
                if let Some(client) = self.pick(client) {
                    self.clients.retain(|&other| other != client);
                    bench.act(|engine, now| engine.disconnect(client, now));
                }
            }
            Step::Share { client, job, extranonce2, ntime, nonce, bits } => {
                if let Some(client) = self.pick(client) {
                    self.share(bench, client, job, [extranonce2, ntime, nonce, bits]);
                }
            }
            Step::Suggest { client, difficulty } => {
                if let Some(client) = self.pick(client) {
                    bench.ask(client, "mining.suggest_difficulty", json!([difficulty]));
                }
            }
            Step::Line { client, text } => {
                // On a connection of its own, so that it cannot change what the test knows.
                let talker = bench.connect();
                if client == 0 {
                    bench.log_in(talker);
                }
                // Whether it ends the connection is up to the pool.
                let _ = bench.act(|engine, now| engine.handle_line(talker, now, &text));
                bench.act(|engine, now| engine.disconnect(talker, now));
                self.size.insert(talker, 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_share_counts_exactly_once_whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        // Without suggestions below the start everything hashes to a share: all of these difficulties saturate.
        let vardiff = Vardiff { min: 1e-13, max: 1e-11, ..Vardiff::default() };
        let config = Config {
            vardiff: Some(vardiff),
            block_interval: Duration::from_secs(60),
            job_interval: Duration::from_secs(30),
            ..quiet()
        };
        let mut bench = Bench::new(config);
        let mut model = Model::default();
        for step in steps {
            model.apply(&mut bench, step);
            model.read(&bench);
        }
        let stats = bench.engine.stats();
        prop_assert_eq!(stats.accepted as usize, model.credited.len());
        prop_assert_eq!(stats.accepted + stats.rejected_total(), bench.records.len() as u64);
        let accepted: Vec<_> = bench.records.iter().filter(|record| record.verdict == Verdict::Accepted).collect();
        let hashes: BTreeSet<_> = accepted.iter().map(|record| record.hash.clone()).collect();
        prop_assert_eq!(hashes.len(), accepted.len());
    }
}
