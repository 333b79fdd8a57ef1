use std::sync::{Arc, Mutex};

use miner_core::job::{JobId, Merkle};
use miner_core::share::{LostReason, RejectKind, ShareOutcome};
use miner_core::snapshot::{MinerSnapshot, Windows};
use miner_core::types::{HashRate, MerkleRoot};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::EndReason;
use crate::report::samples::{self, CPU, POOL};

/// What a reporter writes, kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn text_of(events: &[Event]) -> String {
    let kept = Kept::default();
    let mut reporter = Json::new(kept.clone(), "test", Duration::ZERO);
    events.iter().for_each(|event| reporter.report(event));
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn lines_of(events: &[Event]) -> Vec<Value> {
    text_of(events).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The only line of one event, after the events that give names.
fn line_of(event: Event) -> Value {
    let mut lines = lines_of(&[samples::started(0, false), samples::cpu_up(0), event]);
    assert_eq!(lines.len(), 3);
    lines.remove(2)
}

#[test]
fn every_line_is_as_documented_and_every_type_occurs() {
    let lines = lines_of(&samples::every_kind());
    let mut types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    for line in &lines {
        schema::check(line).unwrap_or_else(|error| panic!("{error}\n{line}"));
    }
    types.sort_unstable();
    types.dedup();
    let documented =
        ["block", "device", "difficulty", "discard", "end", "job", "pool", "share", "snapshot", "start"];
    assert_eq!(types, documented);
}

#[test]
fn the_page_names_every_field() {
    let page = include_str!("../../../docs/json-lines.md");
    let missing: Vec<_> = schema::fields()
        .into_iter()
        .filter(|field| !["`", "."].iter().any(|before| page.contains(&format!("{before}{field}`"))))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_schema_check_finds_what_is_wrong() {
    let good = line_of(samples::ended(5000, EndReason::TimeLimit));
    for (pointer, wrong) in [
        ("/v", json!(2)),
        ("/ts", json!("2026-01-02 03:04:05")),
        ("/type", json!("snapshot")),
        ("/reason", json!("bored")),
        ("/uptime_s", Value::Null),
        ("/shares/found", json!(-1)),
        ("/shares/rejected_as", json!({})),
        ("/rate_hs/proven/1m", json!(24.0)),
        ("/devices/0/health/celsius", json!("hot")),
        ("/devices/0/surprise", json!(1)),
    ] {
        let mut line = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let object = line.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        object.insert(key.to_owned(), wrong);
        assert!(schema::check(&line).is_err(), "{pointer}");
    }
}

#[test]
fn a_start_names_the_pools_without_passwords() {
    assert_eq!(
        text_of(&[samples::started(0, true)]),
        concat!(
            r#"{"v":1,"ts":"2026-01-02T03:04:05.000Z","type":"start","version":"lode 0.1.0 (release)","practice":true,"#,
            r#""emulated":false,"pools":[{"pool":0,"url":"stratum+tcp://127.0.0.1:3333","user":"worker.1"}]}"#,
            "\n"
        )
    );
}

#[test]
fn a_job_tells_all_that_is_known_of_it() {
    assert_eq!(
        line_of(samples::new_job(60, samples::job("5f3a"))),
        json!({"v": 1, "ts": "2026-01-02T03:04:05.060Z", "type": "job", "pool": 0, "epoch": 1, "job_id": "5f3a",
            "height": 840_000, "difficulty": 16.0, "network_difficulty": 86_388_558_925_171.02, "clean": true,
            "restarted": true, "generation": 7, "prev_hash": "ab".repeat(32), "version": "20000000",
            "version_mask": "1fffe000", "nbits": "17034219", "ntime": "66200000"})
    );
}

#[test]
fn a_job_without_a_height_says_null() {
    let mut job = samples::job("5f3a");
    job.merkle = Merkle::Fixed(MerkleRoot([0; 32]));
    assert_eq!(line_of(samples::new_job(60, job))["height"], Value::Null);
}

#[test]
fn a_share_is_written_once_when_it_ends() {
    assert_eq!(
        line_of(samples::resolved(1031, 1, ShareOutcome::Accepted)),
        json!({"v": 1, "ts": "2026-01-02T03:04:06.031Z", "type": "share", "id": 1, "pool": 0, "device": "cpu",
            "epoch": 1, "job_id": "5f3a", "extranonce2": "01000000", "version": "20002000", "ntime": "66200001",
            "nonce": "deadbeef", "hash": samples::share(1).hash.to_string(), "difficulty": 33.0,
            "target_difficulty": 16.0, "outcome": "accepted", "reason": null, "code": null, "text": null,
            "latency_ms": 31.4})
    );
    let found = MinerEvent::ShareFound(Arc::new(samples::share(1)));
    assert_eq!(text_of(&[samples::miner(0, found)]), "");
}

#[test]
fn a_verdict_carries_its_reason() {
    for (outcome, expected) in [
        (
            samples::rejected(RejectKind::LowDifficulty, Some(23), "above target"),
            json!(["rejected", "low_difficulty", 23, "above target"]),
        ),
        (samples::rejected(RejectKind::Other, None, ""), json!(["rejected", "other", null, ""])),
        (ShareOutcome::Lost(LostReason::NotSent), json!(["lost", "not_sent", null, null])),
        (ShareOutcome::Lost(LostReason::NoAnswer), json!(["lost", "no_answer", null, null])),
    ] {
        let line = line_of(samples::resolved(0, 2, outcome));
        let verdict = ["outcome", "reason", "code", "text"].map(|key| line[key].clone());
        assert_eq!(json!(verdict), expected);
    }
}

#[test]
fn small_lines() {
    for (event, expected) in [
        (
            samples::pool(50, PoolNotice::Difficulty(samples::difficulty(0.5))),
            json!({"v": 1, "ts": "2026-01-02T03:04:05.050Z", "type": "difficulty", "pool": 0, "difficulty": 0.5}),
        ),
        (
            samples::miner(
                0,
                MinerEvent::CandidateDiscarded { backend: CPU, reason: Discard::HardwareError },
            ),
            json!({"v": 1, "ts": "2026-01-02T03:04:05.000Z", "type": "discard", "device": "cpu",
                "reason": "hardware_error"}),
        ),
        (
            samples::cpu_up(0),
            json!({"v": 1, "ts": "2026-01-02T03:04:05.000Z", "type": "device", "device": "cpu", "event": "up",
                "name": "AMD EPYC, 2 threads, sha-ni", "kind": "cpu", "rate_hs": 24.5e6, "health": null,
                "error": null}),
        ),
        (
            samples::miner(0, MinerEvent::SourceActive(None)),
            json!({"v": 1, "ts": "2026-01-02T03:04:05.000Z", "type": "pool", "pool": null, "event": "active",
                "attempt": null, "peer": null, "encrypted": null, "resumed": null, "text": null, "advice": null,
                "retry_in_s": null, "to": null, "accepted": null, "shares_per_s": null}),
        ),
    ] {
        assert_eq!(line_of(event), expected);
    }
}

#[test]
fn a_block_carries_its_header() {
    let line = line_of(samples::block(0));
    let share = samples::share(9);
    let header: String = share.header().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(line["header"], header);
    assert_eq!(line["hash"], share.hash.to_string());
    assert_eq!(line["height"], 840_000);
}

#[test]
fn a_snapshot_has_both_rates_with_null_where_too_little_is_known() {
    let line = line_of(samples::snapshot_event(0, samples::snapshot()));
    assert_eq!(
        line["rate_hs"],
        json!({
            "counted": {"5s": 24.51e6, "1m": 24.4e6, "15m": null, "avg": 24.38e6},
            "proven": {"5s": null, "1m": {"rate": 23.9e6, "low": 20.1e6, "high": 28.3e6}, "15m": null,
                "avg": {"rate": 24.2e6, "low": 21.0e6, "high": 27.8e6}}
        })
    );
    assert_eq!(
        line["shares"],
        json!({"found": 12, "accepted": 9, "rejected": 2, "lost": 1, "pending": 0, "late": 0, "withheld": 0.0,
            "blocks": 1, "accepted_difficulty": 144.0,
            "rejected_as": {"stale": 1, "duplicate": 0, "low_difficulty": 1, "unauthorized": 0,
                "not_subscribed": 0, "other": 0},
            "lost_as": {"not_sent": 0, "no_answer": 1}})
    );
    assert_eq!(line["pools"][0]["url"], "stratum+tcp://127.0.0.1:3333");
    assert_eq!(line["devices"][0]["health"]["celsius"], 54.3);
    assert_eq!((&line["uptime_s"], &line["best_difficulty"]), (&json!(90.0), &json!(1234.5)));
}

#[test]
fn snapshots_come_at_the_interval_but_the_end_always() {
    let kept = Kept::default();
    let mut reporter = Json::new(kept.clone(), "test", Duration::from_secs(60));
    for second in 0..150 {
        let snapshot = MinerSnapshot { uptime: Duration::from_secs(second), ..samples::snapshot() };
        reporter.report(&samples::snapshot_event(0, snapshot));
    }
    reporter.lagged(3);
    reporter.lagged(4);
    reporter.report(&samples::ended(0, EndReason::Interrupted));
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        lines.iter().map(|line| (line["uptime_s"].as_f64().unwrap(), &line["events_missed"])).collect();
    assert_eq!(told, [(60.0, &json!(0)), (120.0, &json!(0)), (90.0, &json!(7))]);
}

#[test]
fn a_hash_count_beyond_64_bits_stays_whole() {
    let mut snapshot = samples::snapshot();
    snapshot.devices[0].hashes = u128::MAX;
    let text = text_of(&[samples::snapshot_event(0, snapshot)]);
    assert!(text.contains("\"hashes\":340282366920938463463374607431768211455,"), "{text}");
}

proptest! {
    #[test]
    fn no_number_and_no_text_breaks_a_line(number in any::<f64>(), small in any::<f32>(), text in any::<String>()) {
        let mut snapshot = samples::snapshot();
        let odd = HashRate(number.abs());
        snapshot.rates.counted = Windows { s5: Some(odd), m1: Some(odd), m15: Some(odd), average: Some(odd) };
        snapshot.rates.proven.m15 = snapshot.rates.proven.m1.map(|proven| miner_core::snapshot::ProvenRate { high: odd, ..proven });
        snapshot.shares.withheld = number.abs();
        snapshot.shares.accepted_difficulty = f64::NAN;
        snapshot.devices[0].health.celsius = Some(small);
        snapshot.devices[0].health.watts = Some(f32::INFINITY);
        let mut job = samples::job("");
        job.id = JobId(text.as_str().into());
        let written = text_of(&[
            samples::new_job(0, job),
            samples::pool(0, PoolNotice::Message(text.clone())),
            samples::miner(0, MinerEvent::Withholding { source: POOL, per_second: number.abs() }),
            samples::miner(0, MinerEvent::RateLearned { backend: CPU, rate: odd }),
            samples::resolved(0, 1, samples::rejected(RejectKind::Other, None, &text)),
            samples::snapshot_event(0, snapshot.clone()),
        ]);
        prop_assert_eq!(written.lines().count(), 6);
        for line in written.lines() {
            prop_assert!(!line.contains("NaN") || text.contains("NaN"));
            prop_assert_eq!(schema::check(&serde_json::from_str(line).unwrap()), Ok(()));
        }
    }
}
