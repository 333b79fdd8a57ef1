use serde_json::json;

use super::*;

const BASE: u32 = 0x2000_0000;
const SHARES: u64 = 400;

/// Books of three connections, the second of which resumed the first, in which all kinds of ends happen.
///
/// Every twentieth share is stale; of those found last on the first connection the answers are lost, and every second one
/// of them is sent again; the last ten of the second connection wait in vain and are never sent.
fn books() -> Books {
    let mut lines = vec![json!({ "type": "start" })];
    let mut records = Vec::new();
    for epoch in 1..=3 {
        lines.push(json!({ "type": "pool", "pool": 0, "event": "connecting" }));
        lines.push(json!({ "type": "pool", "pool": 0, "event": "connected" }));
        lines.push(json!({ "type": "pool", "pool": 0, "event": "ready", "resumed": epoch == 2 }));
        let ids = (SHARES * (epoch - 1) / 3)..(SHARES * epoch / 3);
        for id in ids.clone() {
            let left = ids.end - id;
            let unanswered = epoch == 1 && left <= 20;
            let (outcome, reason, code) = match () {
                () if epoch == 2 && left <= 10 => ("lost", Some("not_sent"), None),
                () if unanswered && id % 2 == 0 => ("lost", Some("no_answer"), None),
                () if id % 20 == 7 => ("rejected", Some("stale"), Some(21)),
                () => ("accepted", None, None),
            };
            lines.push(share(id, epoch, outcome, reason, code));
            if reason != Some("not_sent") {
                records.push(record(id, epoch, code, !unanswered));
            }
            if unanswered && outcome == "accepted" {
                records.push(record(id, 2, Some(22), true));
            }
        }
    }
    for (at, record) in records.iter_mut().enumerate() {
        record.seq = at as u64 + 1;
    }
    let mut books = Books {
        lines,
        pool: 0,
        records,
        version: BASE,
        routes: None,
        losses: Losses { submits: false, answers: false },
    };
    close(&mut books);
    books
}

/// Writes the last line so that its sums are right.
fn close(books: &mut Books) {
    books.lines.retain(|line| line["type"] != "end");
    let count = |outcome: &str| books.lines.iter().filter(|line| line["outcome"] == outcome).count();
    let (accepted, rejected, lost) = (count("accepted"), count("rejected"), count("lost"));
    let found = accepted + rejected + lost;
    books.lines.push(json!({ "type": "end", "events_missed": 0, "shares":
        { "found": found, "accepted": accepted, "rejected": rejected, "lost": lost, "pending": 0 } }));
}

fn hash(id: u64) -> String {
    format!("{id:064x}")
}

fn version(id: u64) -> u32 {
    BASE | (id as u32 % 16) << 13
}

fn share(id: u64, epoch: u64, outcome: &str, reason: Option<&str>, code: Option<i64>) -> Value {
    json!({ "type": "share", "id": id, "pool": 0, "epoch": epoch, "job_id": "1", "extranonce2": "00000000",
        "version": format!("{:08x}", version(id)), "ntime": "68000000", "nonce": format!("{id:08x}"), "hash": hash(id),
        "outcome": outcome, "reason": reason, "code": code })
}

fn record(id: u64, connection: u64, code: Option<i64>, delivered: bool) -> Record {
    let known = code != Some(21);
    Record {
        seq: 0,
        ts: 0.0,
        connection,
        session: None,
        user: Some("w".into()),
        job_id: Some("1".into()),
        extranonce1: None,
        extranonce2: Some("00000000".into()),
        ntime: Some("68000000".into()),
        nonce: Some(format!("{id:08x}")),
        version_bits: Some(format!("{:08x}", version(id) & 0x1fff_e000)),
        version: known.then(|| format!("{:08x}", version(id))),
        hash: known.then(|| hash(id)),
        difficulty: None,
        target_difficulty: None,
        verdict: if code.is_none() { Verdict::Accepted } else { Verdict::Rejected },
        code: code.map(|code| code as i32),
        reason: None,
        block: false,
        delivered,
    }
}

#[test]
fn honest_books_agree_and_are_counted() {
    let account = join(&books()).unwrap();
    // One of those that could be sent again was stale.
    assert_eq!((account.not_sent, account.no_answer, account.sent_again), (10, 10, 9));
    assert_eq!(account.accepted + account.rejected[&21], SHARES - 20);
    assert_eq!(account.rejected.len(), 1);
}

/// The places of every hundredth line of lode's that ended so, and at least three.
fn every_hundredth(books: &Books, outcome: &str) -> Vec<usize> {
    let places = books.lines.iter().enumerate().filter(|(_, line)| line["outcome"] == outcome);
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    places.iter().copied().step_by(100.min(places.len() / 3)).collect()
}

#[test]
fn one_share_in_a_hundred_that_lode_drops_or_counts_twice_is_noticed() {
    for outcome in ["accepted", "rejected"] {
        for at in every_hundredth(&books(), outcome) {
            let mut dropped = books();
            dropped.lines.remove(at);
            assert!(join(&dropped).is_err(), "line {at} was dropped, but not from the sums");
            close(&mut dropped);
            assert!(join(&dropped).is_err(), "line {at} was dropped");

            let mut twice = books();
            twice.lines.insert(at, twice.lines[at].clone());
            close(&mut twice);
            assert!(join(&twice).is_err(), "line {at} stands twice");
            twice.lines[at]["id"] = json!(SHARES + 1);
            assert!(join(&twice).is_err(), "line {at} stands twice, under another id");
        }
    }
}

#[test]
fn one_share_in_a_hundred_that_the_pool_drops_or_counts_twice_is_noticed() {
    for at in (0..books().records.len()).step_by(100) {
        let mut dropped = books();
        dropped.records.remove(at);
        assert!(join(&dropped).is_err(), "record {at} was dropped");
        let mut twice = books();
        twice.records.insert(at, twice.records[at].clone());
        assert!(join(&twice).is_err(), "record {at} stands twice");
    }
}

#[test]
fn a_verdict_that_differs_is_noticed() {
    for at in every_hundredth(&books(), "accepted") {
        for change in [
            json!({ "outcome": "rejected", "reason": "stale", "code": 21 }),
            json!({ "outcome": "lost", "reason": "not_sent", "code": null }),
            json!({ "outcome": "lost", "reason": "no_answer", "code": null }),
            json!({ "outcome": "forgotten" }),
        ] {
            let mut books = books();
            for (key, value) in change.as_object().unwrap() {
                books.lines[at][key] = value.clone();
            }
            close(&mut books);
            assert!(join(&books).is_err(), "line {at} says {change}");
        }
    }
    for at in every_hundredth(&books(), "rejected") {
        for (outcome, code) in [("accepted", 21), ("rejected", 23)] {
            let mut books = books();
            books.lines[at]["outcome"] = json!(outcome);
            books.lines[at]["code"] = json!(code);
            close(&mut books);
            assert!(join(&books).is_err(), "line {at} says {outcome} {code}");
        }
    }
}

#[test]
fn a_field_that_differs_is_noticed() {
    for (key, value) in [
        ("epoch", json!(3)),
        ("epoch", json!(9)),
        ("job_id", json!("2")),
        ("extranonce2", json!("00000001")),
        ("version", json!("20ffe000")),
        ("ntime", json!("68000001")),
        ("nonce", json!("ffffffff")),
        ("id", json!("a")),
    ] {
        for outcome in ["accepted", "rejected"] {
            let mut books = books();
            let at = every_hundredth(&books, outcome)[0];
            books.lines[at][key] = value.clone();
            assert!(join(&books).is_err(), "{key} of an {outcome} share");
        }
    }
}

#[test]
fn only_what_may_vanish_may_be_missing() {
    let mut books = books();
    let unanswered = books.lines.iter().find(|line| line["reason"] == "no_answer").unwrap()["nonce"].clone();
    books.records.retain(|record| record.nonce.as_deref() != unanswered.as_str());
    assert!(join(&books).is_err(), "sent, and never arrived");
    books.losses.submits = true;
    join(&books).unwrap();

    let answer = books.records.iter_mut().find(|record| !record.delivered && record.code.is_none());
    let lost_twin =
        books.lines.iter().find(|line| line["reason"] == "no_answer" && line["nonce"] != unanswered);
    let nonce = lost_twin.unwrap()["nonce"].as_str().unwrap().to_owned();
    assert!(answer.is_some());
    for record in books.records.iter_mut().filter(|record| record.nonce.as_ref() == Some(&nonce)) {
        record.delivered = true;
    }
    assert!(join(&books).is_err(), "answered, and lode knows of no answer");
    books.losses.answers = true;
    join(&books).unwrap();
}

#[test]
fn connections_that_met_no_pool_are_left_out_of_the_count() {
    let mut books = books();
    assert!(join(&Books { routes: Some(vec![Some(1), None, Some(2)]), ..books.clone() }).is_err());
    let failed = ["connecting", "connected"];
    let failed = failed.map(|event| json!({ "type": "pool", "pool": 0, "event": event }));
    books.lines.splice(1..1, failed);
    for line in books.lines.iter_mut().filter(|line| line["type"] == "share") {
        line["epoch"] = json!(line["epoch"].as_u64().unwrap() + 1);
    }
    assert!(join(&books).is_err());
    books.routes = Some(vec![None, Some(1), Some(2), Some(3)]);
    join(&books).unwrap();
}

#[test]
fn incomplete_lines_are_noticed() {
    let mut missed = books();
    *missed.lines.last_mut().unwrap() = json!({ "type": "end", "events_missed": 1, "shares":
        missed.lines.last().unwrap()["shares"] });
    assert!(join(&missed).is_err());
    let mut cut = books();
    cut.lines.pop();
    assert!(join(&cut).is_err());
}

#[test]
fn another_hash_of_the_same_header_is_noticed() {
    let mut books = books();
    let at = every_hundredth(&books, "accepted")[0];
    books.lines[at]["hash"] = json!(hash(u64::MAX));
    assert!(join(&books).is_err());
}

#[test]
fn a_header_that_is_found_twice_is_noticed() {
    let mut books = books();
    assert!(found_twice(&books.lines).is_empty());
    let at = every_hundredth(&books, "accepted")[0];
    books.lines.push(json!({ "type": "share", "hash": books.lines[at]["hash"], "job_id": "2" }));
    assert_eq!(found_twice(&books.lines), [books.lines[at]["hash"].as_str().unwrap()]);
}
