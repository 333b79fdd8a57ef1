mod random;
mod soak;
mod world;

use std::time::Duration;

use miner_core::backend::{BackendInfo, BackendKind};
use miner_core::sched::{Input, Output, Scheduler, SchedulerConfig};
use miner_core::share::{LostReason, ShareOutcome};
use miner_core::types::{BackendId, HashRate, SourceId};
use miner_core::work::Granularity;
use serde_json::json;
use world::{Dial, Driver, start};

const NOT_SENT: ShareOutcome = ShareOutcome::Lost(LostReason::NotSent);
const NO_ANSWER: ShareOutcome = ShareOutcome::Lost(LostReason::NoAnswer);

#[tokio::test(start_paused = true)]
async fn a_resumed_session_gets_what_was_not_answered_once_and_nothing_else() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    assert_eq!(driver.until(peer.greet("aa", "1")).await, None);
    driver.settle().await;
    assert_eq!(driver.told(), ["a up", "a job 1"]);
    let (answered, open) = (driver.find(0), driver.find(0));
    let request = driver.until(peer.share()).await.unwrap().0;
    driver.until(peer.accept(request)).await;
    assert_eq!(driver.until(peer.share()).await.unwrap().1, open);
    driver.settle().await;
    drop(peer);
    driver.settle().await;
    let later = driver.find(0);
    assert_eq!(driver.told(), [format!("a share {answered} Accepted"), "a suspended".into()]);

    let mut peer = driver.dial(&mut dials, "a").await.take();
    assert_eq!(driver.until(peer.greet("aa", "2")).await.as_deref(), Some("session-aa"));
    let (request, share) = driver.until(peer.share()).await.unwrap();
    assert_eq!(share, open);
    driver
        .until(peer.say(json!({"id": request, "result": null, "error": [22, "Duplicate share", null]})))
        .await;
    assert_eq!(driver.until(peer.share()).await.unwrap().1, later);
    driver.settle().await;
    drop(peer);
    driver.shutdown().await;
    let ends: Vec<_> = driver.outcomes.values().cloned().collect();
    assert_eq!(ends, [ShareOutcome::Accepted, ShareOutcome::Accepted, NO_ANSWER]);
}

#[tokio::test(start_paused = true)]
async fn without_a_resumption_shares_are_lost_with_the_reason_and_the_source_starts_anew() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.settle().await;
    driver.find(0);
    driver.until(peer.share()).await.unwrap();
    drop(peer);
    driver.settle().await;
    driver.find(0);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("bb", "2")).await;
    driver.settle().await;
    let expected = [
        "a up",
        "a job 1",
        "a suspended",
        "a share 1 Lost(NoAnswer)",
        "a share 2 Lost(NotSent)",
        "a down",
        "a up",
        "a job 2",
    ];
    assert_eq!(driver.told(), expected);
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_shares_are_lost_and_the_pool_is_tried_again() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.settle().await;
    driver.find(0);
    driver.until(peer.share()).await.unwrap();
    drop(peer);
    driver.settle().await;
    driver.dial(&mut dials, "a").await.blow_up();
    driver.settle().await;
    driver.find(0);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    assert_eq!(driver.until(peer.greet("bb", "2")).await, None, "no session is resumed");
    driver.settle().await;
    let expected = [
        "a up",
        "a job 1",
        "a suspended",
        "a share 1 Lost(NoAnswer)",
        "a down",
        "a share 2 Lost(NotSent)",
        "a up",
        "a job 2",
    ];
    assert_eq!(driver.told(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_silent_pool_is_left_after_90_s_and_its_work_given_up_after_120_more() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.pass(89).await;
    assert_eq!(driver.told(), ["a up", "a job 1"]);
    driver.pass(2).await;
    assert_eq!(driver.told(), ["a suspended"]);
    driver.find(0);
    drop(dials);
    driver.pass(118).await;
    assert!(driver.told().is_empty());
    driver.pass(2).await;
    assert_eq!(driver.told(), ["a share 1 Lost(NotSent)", "a down"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_sends_us_back_to_itself_is_mined_on_again() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.pass(80).await;
    driver.until(peer.say(json!({"id": null, "method": "client.reconnect", "params": []}))).await;
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("bb", "2")).await;
    driver.settle().await;
    assert_eq!(driver.told(), ["a up", "a job 1", "a suspended", "a down", "a up", "a job 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_only_ever_sends_us_away_is_asked_seldom_and_left_for_the_backup() {
    let (mut driver, mut dials) = start(2);
    let (mut asked, mut backup) = (0, false);
    let minute = async {
        loop {
            let dial = dials.recv().await.unwrap();
            backup |= dial.host == "b";
            if dial.host == "a" {
                asked += 1;
                let mut peer = dial.take();
                peer.greet("aa", "1").await;
                peer.say(json!({"id": null, "method": "client.reconnect", "params": []})).await;
                while peer.hear().await.is_some() {}
            }
        }
    };
    let _ = driver.until(tokio::time::timeout(Duration::from_secs(60), minute)).await;
    assert!(asked <= 8, "{asked} attempts in a minute");
    assert!(backup, "the backup is wanted");
}

#[tokio::test(start_paused = true)]
async fn what_a_session_of_another_kind_came_between_is_not_resumed() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.settle().await;
    driver.find(0);
    driver.until(peer.share()).await.unwrap();
    drop(peer);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.subscribe("bb")).await;
    driver.settle().await;
    drop(peer);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("bb", "2")).await;
    driver.settle().await;
    assert_eq!(driver.outcomes.get(&1), Some(&NO_ANSWER), "{:?}", driver.told);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_resumed_after_its_work_was_given_up_takes_new_shares() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.settle().await;
    driver.find(0);
    driver.until(peer.share()).await.unwrap();
    drop(peer);
    let dial = driver.dial(&mut dials, "a").await;
    driver.pass(130).await;
    assert_eq!(driver.told().last().unwrap(), "a down");
    let mut peer = dial.take();
    driver.until(peer.greet("aa", "2")).await;
    driver.settle().await;
    let new = driver.find(0);
    let sent = driver.until(tokio::time::timeout(Duration::from_secs(1), peer.share())).await;
    assert_eq!(sent.expect("it is sent").unwrap().1, new);
}

#[tokio::test(start_paused = true)]
async fn a_share_on_its_way_while_its_source_is_given_up_was_not_sent() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.settle().await;
    drop(peer);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.told();
    // The driver is busy with something else for a moment.
    peer.greet("bb", "2").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    driver.find(0);
    driver.settle().await;
    assert_eq!(driver.told(), ["a share 1 Lost(NotSent)", "a down", "a up", "a job 2"]);
}

#[tokio::test(start_paused = true)]
async fn every_share_ends_although_the_connection_comes_up_while_they_are_told() {
    let (mut driver, mut dials) = start(1);
    let mut peer = driver.dial(&mut dials, "a").await.take();
    driver.until(peer.greet("aa", "1")).await;
    driver.settle().await;
    drop(peer);
    let dial = driver.dial(&mut dials, "a").await;
    for _ in 0..1_000 {
        driver.find(0);
    }
    // More than the driver has room for, while it does not listen.
    tokio::time::sleep(Duration::from_secs(130)).await;
    let mut peer = dial.take();
    driver.until(peer.greet("bb", "2")).await;
    driver.settle().await;
    assert_eq!(driver.outcomes.len(), 1_000);
    assert!(driver.outcomes.values().all(|outcome| *outcome == NOT_SENT));
    assert_eq!(driver.told().into_iter().rev().take(3).collect::<Vec<_>>(), ["a job 2", "a up", "a down"]);
}

/// Feeds a scheduler what the pools told since the last call; how often the generation moved.
fn schedule(driver: &mut Driver, scheduler: &mut Scheduler) -> (usize, Option<String>) {
    for (source, event) in driver.events.drain(..) {
        scheduler.handle(tokio::time::Instant::now().into_std(), Input::Source(source, event));
    }
    let (mut moves, mut fed) = (0, None);
    while let Some(output) = scheduler.poll() {
        match output {
            Output::Advance(_) => moves += 1,
            Output::Feed(_, unit) => fed = Some(unit.job.id.to_string()),
            _ => {}
        }
    }
    (moves, fed)
}

fn scheduler() -> Scheduler {
    let now = tokio::time::Instant::now().into_std();
    let mut scheduler = Scheduler::new(SchedulerConfig::default(), now, [SourceId(0), SourceId(1)]);
    let info = BackendInfo {
        key: "cpu".into(),
        name: "test".into(),
        kind: BackendKind::Cpu,
        granularity: Granularity::Nonces { step: 1, versions: 1 },
        depth: 1,
        expected: HashRate(1e6),
        counts_hashes: true,
        report_floor: None,
    };
    scheduler.handle(now, Input::BackendUp(BackendId(0), info.into()));
    scheduler
}

#[tokio::test(start_paused = true)]
async fn the_way_to_the_backup_and_back_moves_no_generation() {
    for resumed in [true, false] {
        let (mut driver, mut dials) = start(2);
        let mut scheduler = scheduler();
        let mut a = driver.dial(&mut dials, "a").await.take();
        driver.until(a.greet("aa", "1")).await;
        driver.settle().await;
        assert_eq!(schedule(&mut driver, &mut scheduler), (1, Some("1".into())));
        driver.told();
        // Refused shares are the pool's fault: the backup is wanted at once.
        let share = driver.find(0);
        let (request, _) = driver.until(a.share()).await.unwrap();
        let error = json!({"id": request, "result": null, "error": [24, "unauthorized", null]});
        driver.until(a.say(error)).await;
        let mut b = driver.dial(&mut dials, "b").await.take();
        driver.until(b.greet("cc", "2")).await;
        driver.settle().await;
        let told = driver.told();
        assert!(told[0].starts_with(&format!("a share {share} Rejected")), "{told:?}");
        assert_eq!(told[1..], ["a suspended", "b up", "b job 2"]);
        assert_eq!(schedule(&mut driver, &mut scheduler).0, 0);

        let mut a = driver.dial(&mut dials, "a").await.take();
        driver.until(a.greet(if resumed { "aa" } else { "bb" }, "3")).await;
        for _ in 0..17 {
            driver.pass(10).await;
            driver.until(a.say(json!({"id": 99, "method": "mining.ping", "params": []}))).await;
            driver.until(b.say(json!({"id": 99, "method": "mining.ping", "params": []}))).await;
        }
        let told = driver.told();
        assert_eq!(told, if resumed { vec![] } else { vec!["a down"] });
        schedule(&mut driver, &mut scheduler);
        driver.pass(11).await;
        let back = if resumed { ["a job 3", "a up"] } else { ["a up", "a job 3"] };
        assert_eq!(driver.told(), back);
        assert_eq!(schedule(&mut driver, &mut scheduler).0, 0, "a fail-back moves no generation");
        driver.until(a.say(json!({"id": 99, "method": "mining.ping", "params": []}))).await;
        driver.pass(30).await;
        assert_eq!(driver.told(), ["b suspended", "b down"]);
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_immediate_whatever_a_pool_is_at() {
    for stage in 0..4 {
        let (mut driver, mut dials) = start(1);
        let dial: Dial = driver.dial(&mut dials, "a").await;
        let mut kept = None;
        let mut waiting = Some(dial);
        if stage > 0 {
            let mut peer = waiting.take().unwrap().take();
            if stage == 2 {
                driver.until(peer.subscribe("aa")).await;
            } else if stage == 3 {
                driver.until(peer.greet("aa", "1")).await;
                driver.settle().await;
                driver.find(0);
            }
            kept = Some(peer);
        }
        let began = tokio::time::Instant::now();
        driver.shutdown().await;
        assert!(began.elapsed() < Duration::from_millis(200), "stage {stage}");
        assert_eq!(driver.outcomes.len() as u64, driver.given, "stage {stage}");
        drop(kept);
    }
}
