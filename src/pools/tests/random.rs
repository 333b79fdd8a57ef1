//! Random pools, faults and shares: whatever happens, each share ends once, and for the right reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use miner_core::share::{LostReason, ShareOutcome};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::world::{Dial, start};

/// What a pool does with one connection.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// 0: refuses, 1: hangs up before the greeting, 2: subscribes and refuses the login; else it lets us in.
    greeting: u8,
    /// Whether it takes up the session of before.
    resumes: bool,
    /// Every so many shares it answers yes, no, or not at all.
    answers: (u8, u8),
    /// After so many seconds it hangs up, or sends us back to itself, or falls silent.
    lasts: u16,
    ending: u8,
}

/// What pools saw: connections by share, and their verdicts.
#[derive(Default)]
struct Books {
    seen: BTreeMap<u64, Vec<u64>>,
    verdicts: BTreeMap<u64, BTreeSet<bool>>,
}

impl Books {
    fn note(&mut self, share: u64, connection: u64, verdict: Option<bool>) {
        self.seen.entry(share).or_default().push(connection);
        self.verdicts.entry(share).or_default().extend(verdict);
    }
}

async fn serve(dial: Dial, manner: Manner, connection: u64, books: Arc<Mutex<Books>>) {
    sleep(Duration::from_millis(u64::from(manner.lasts) * 7 % 4_000)).await;
    if manner.greeting == 0 {
        return;
    }
    let host = dial.host.clone();
    let mut peer = dial.take();
    if manner.greeting == 1 {
        return;
    }
    let extranonce1 = if manner.resumes { "aabb".to_owned() } else { format!("{connection:08x}") };
    if manner.greeting == 2 {
        peer.subscribe(&extranonce1).await;
        return peer.say(json!({"id": 3, "result": false, "error": null})).await;
    }
    peer.greet(&extranonce1, &format!("{host}{connection}")).await;
    let end = Instant::now() + Duration::from_secs(manner.lasts.into());
    let mut ping = Instant::now();
    while Instant::now() < end {
        if let Ok(share) = timeout(Duration::from_secs(1), peer.share()).await {
            let Some((request, share)) = share else { return };
            let yes = share % 7 < u64::from(manner.answers.0);
            let known = yes || share % 7 < u64::from(manner.answers.0 + manner.answers.1);
            books.lock().unwrap().note(share, connection, known.then_some(yes));
            match (known, yes) {
                (true, true) => peer.accept(request).await,
                (true, false) => {
                    let error = json!([20, "no", null]);
                    peer.say(json!({"id": request, "result": null, "error": error})).await;
                }
                (false, _) => {}
            }
        }
        if ping.elapsed() > Duration::from_secs(20) {
            ping = Instant::now();
            peer.notify(&format!("{host}{connection}"), share_is_clean(connection)).await;
        }
    }
    match manner.ending {
        0 => {}
        1 => {
            peer.say(json!({"id": null, "method": "client.reconnect", "params": []})).await;
            while peer.share().await.is_some() {}
        }
        _ => sleep(Duration::from_secs(100)).await,
    }
}

fn share_is_clean(connection: u64) -> bool {
    connection.is_multiple_of(2)
}

fn manner() -> impl Strategy<Value = Manner> {
    (0..8u8, any::<bool>(), (0..8u8, 0..3u8), 0..400u16, 0..3u8).prop_map(
        |(greeting, resumes, answers, lasts, ending)| Manner { greeting, resumes, answers, lasts, ending },
    )
}

/// The scheduler is told nothing out of order.
fn check_order(told: &[String]) {
    let mut states = BTreeMap::new();
    for line in told {
        let (source, what) = line.split_once(' ').unwrap();
        let state = states.entry(source.to_owned()).or_insert("down");
        match what {
            "up" | "suspended" | "down" => {
                assert_ne!(*state, what, "{told:?}");
                assert!(what != "suspended" || *state == "up", "{told:?}");
                *state = match what {
                    "up" => "up",
                    "down" => "down",
                    _ => "suspended",
                };
            }
            _ if what.starts_with("job") => assert_ne!(*state, "down", "{told:?}"),
            _ => {}
        }
    }
}

async fn play(pools: u8, manners: Vec<Manner>, gaps: Vec<u16>) {
    let (mut driver, mut dials) = start(pools);
    let books = Arc::new(Mutex::new(Books::default()));
    let seen = Arc::clone(&books);
    let accept = tokio::spawn(async move {
        for connection in 0.. {
            let Some(dial) = dials.recv().await else { return };
            let manner = manners[connection as usize % manners.len()];
            tokio::spawn(serve(dial, manner, connection, Arc::clone(&seen)));
        }
    });
    for gap in gaps {
        driver.until(sleep(Duration::from_millis(u64::from(gap) * u64::from(gap)))).await;
        let source = u16::from(gap % 2 == 1 && pools > 1);
        if driver.jobs.contains_key(&source) {
            driver.find(source);
        }
    }
    driver.shutdown().await;
    accept.abort();
    check_order(&driver.told);
    assert_eq!(driver.outcomes.len() as u64, driver.given, "every share ends");
    let books = books.lock().unwrap();
    for (share, outcome) in &driver.outcomes {
        let seen = books.seen.get(share).cloned().unwrap_or_default();
        assert!(seen.iter().collect::<BTreeSet<_>>().len() == seen.len(), "twice on one connection");
        let verdicts = books.verdicts.get(share).cloned().unwrap_or_default();
        match outcome {
            ShareOutcome::Accepted => assert!(verdicts.contains(&true), "{share}"),
            ShareOutcome::Rejected(_) => assert!(verdicts.contains(&false), "{share}"),
            ShareOutcome::Lost(LostReason::NotSent) => assert!(seen.is_empty(), "{share} was sent"),
            ShareOutcome::Lost(LostReason::NoAnswer) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_share_ends_once_and_for_the_right_reason(
        pools in 1..3u8,
        manners in prop::collection::vec(manner(), 1..8),
        gaps in prop::collection::vec(0..250u16, 1..60),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(pools, manners, gaps));
    }
}
