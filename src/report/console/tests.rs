use std::sync::{Arc, Mutex};

use miner_core::share::{Discard, LostReason, RejectKind, ShareOutcome};
use miner_core::snapshot::MinerSnapshot;
use miner_core::types::HashRate;

use super::*;
use crate::event::{EndReason, PoolNotice};
use crate::report::samples;

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

fn plain() -> Look {
    Look { color: false, verbosity: 0, interval: Duration::ZERO, zone: TimeZone::UTC, dates: false }
}

fn said(look: Look, events: &[Event]) -> String {
    let kept = Kept::default();
    let mut console = Console::new(kept.clone(), "test", look);
    events.iter().for_each(|event| console.report(event));
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn lines_of(events: &[Event]) -> Vec<String> {
    said(plain(), events).lines().map(str::to_owned).collect()
}

/// The only line of one event, without its time, after the events that give names.
fn line_of(event: Event) -> String {
    let lines = lines_of(&[samples::started(0, false), samples::cpu_up(0), event]);
    assert_eq!(lines.len(), 4, "{lines:?}");
    lines[3].split_once("  ").unwrap().1.to_owned()
}

#[test]
fn a_run_reads_like_this() {
    let told = said(plain(), &samples::every_kind());
    let expected = include_str!("run.txt");
    assert_eq!(told, expected, "\n--- told:\n{told}");
}

#[test]
fn emulated_devices_are_said_to_be_and_no_pool_is_recommended_to_them() {
    let mut event = samples::started(0, true);
    let EventKind::Started(facts) = &mut event.kind else { unreachable!("it is a start") };
    Arc::make_mut(facts).emulated = true;
    let told = said(Look { verbosity: -1, ..plain() }, &[event]);
    assert!(
        told.contains("EMULATED: ") && told.contains("earns nothing\n") && !told.contains("-o"),
        "{told}"
    );
}

#[test]
fn less_keeps_trouble_blocks_and_the_account() {
    let told = said(Look { verbosity: -1, ..plain() }, &samples::every_kind());
    for kept in
        ["PRACTICE", "REJECTED", "lost", "BLOCK FOUND", "HARDWARE ERROR", "failed: connection", "earned"]
    {
        assert!(told.contains(kept), "{kept} is missing:\n{told}");
    }
    for left_out in ["share   accepted", "new job", "counted  5s", "connecting", "pool 0  ready"] {
        assert!(!told.contains(left_out), "{left_out} is there:\n{told}");
    }
}

#[test]
fn more_adds_what_is_rarely_looked_for() {
    let [normal, more] =
        [0, 1].map(|verbosity| said(Look { verbosity, ..plain() }, &samples::every_kind()).lines().count());
    assert_eq!(more - normal, 4, "up, measured, found, stale");
}

#[test]
fn colours_come_only_where_asked_for_and_change_no_word() {
    let plainly = said(plain(), &samples::every_kind());
    assert!(!plainly.contains('\u{1b}'));
    let coloured = said(Look { color: true, ..plain() }, &samples::every_kind());
    assert!(coloured.contains("\u{1b}[32maccepted\u{1b}[0m"));
    let mut stripped = String::new();
    for (i, part) in coloured.split('\u{1b}').enumerate() {
        stripped += if i == 0 { part } else { part.split_once('m').unwrap().1 };
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&stripped), words(&plainly));
}

#[test]
fn refusals_are_explained() {
    for (kind, code, text, expected) in [
        (
            RejectKind::Duplicate,
            Some(22),
            "dup",
            "duplicate: the pool had this share already (\"dup\", code 22)",
        ),
        (
            RejectKind::LowDifficulty,
            Some(23),
            "",
            "low difficulty: the hash misses the target that the pool applied (code 23)",
        ),
        (
            RejectKind::Unauthorized,
            None,
            "who?",
            "unauthorised: the pool does not accept this user or worker: check the user name (\"who?\")",
        ),
        (RejectKind::NotSubscribed, None, "", "not subscribed: the pool no longer knows this session"),
        (RejectKind::Other, Some(-1), "no", "other: the pool gave a reason of its own (\"no\", code -1)"),
    ] {
        let line = line_of(samples::resolved(0, 1, samples::rejected(kind, code, text)));
        assert_eq!(line, format!("share   REJECTED (0/1) {expected}; difficulty 33 / 16, cpu, 31 ms"));
    }
}

#[test]
fn a_hostile_job_id_is_cut_and_cannot_move_the_cursor() {
    let mut job = samples::job("\u{1b}[2J\n\u{202e}0123456789abcdef");
    job.clean = false;
    let line = line_of(samples::new_job(0, job));
    let id = "\\u{1b}[2J\\n\\u{202e}0123456789…";
    assert_eq!(
        line,
        format!("job     new job {id} from pool 0: height 840000, difficulty 16, network 86.39 T, not clean")
    );
}

#[test]
fn a_flood_of_shares_is_summed_up_and_hides_no_refusal() {
    let mut events = vec![samples::cpu_up(0)];
    events.extend((0..500).map(|i| samples::resolved(i, 1, ShareOutcome::Accepted)));
    events.push(samples::resolved(600, 2, samples::rejected(RejectKind::Stale, None, "")));
    events.extend((700..900).map(|i| samples::resolved(i, 3, ShareOutcome::Lost(LostReason::NotSent))));
    events.push(samples::resolved(1000, 4, ShareOutcome::Accepted));
    let lines = lines_of(&events);
    assert_eq!(lines.iter().filter(|line| line.contains("accepted (")).count(), 11);
    assert!(lines.iter().any(|line| line.contains("REJECTED (500/1)")), "{lines:?}");
    assert!(lines.contains(&"03:04:06  share   and 490 more shares accepted".to_owned()), "{lines:?}");
    assert!(lines.last().unwrap().contains("accepted (501/1)"));
    // Lost shares are summed up no later than at the end.
    events.push(samples::ended(1100, EndReason::TimeLimit));
    assert!(lines_of(&events).contains(&"03:04:06  share   and 190 more shares lost".to_owned()));
}

#[test]
fn a_flood_of_words_hides_no_failure() {
    let mut events: Vec<_> =
        (0..50).map(|i| samples::pool(i, PoolNotice::Message("spam".to_owned()))).collect();
    let error = "connection reset".to_owned();
    events.push(samples::pool(60, PoolNotice::Failed { error, advice: None, retry_in: None }));
    let lines = lines_of(&events);
    assert_eq!(lines.len(), 11);
    assert!(lines[10].contains("failed: connection reset"), "{lines:?}");
}

#[test]
fn job_lines_come_at_most_every_five_seconds() {
    let events: Vec<_> = (0..100).map(|i| samples::new_job(i * 100, samples::job("1"))).collect();
    let lines = lines_of(&events);
    assert_eq!(lines.iter().filter(|line| line.contains("new job 1")).count(), 2);
    assert!(lines.contains(&"03:04:10  job     and 49 more new jobs".to_owned()), "{lines:?}");
    let verbose = said(Look { verbosity: 1, ..plain() }, &events);
    assert_eq!(verbose.lines().count(), 100);
}

#[test]
fn a_difficulty_is_told_when_it_changes() {
    let events: Vec<_> = [16.0, 16.0, 32.0]
        .into_iter()
        .map(|value| samples::pool(0, PoolNotice::Difficulty(samples::difficulty(value))))
        .collect();
    assert_eq!(
        lines_of(&events),
        ["03:04:05  pool 0  difficulty 16", "03:04:05  pool 0  difficulty 32 (was 16)"]
    );
}

#[test]
fn share_lines_count_on_from_what_the_snapshot_knows() {
    let events =
        [samples::snapshot_event(0, samples::snapshot()), samples::resolved(1, 5, ShareOutcome::Accepted)];
    assert!(lines_of(&events).last().unwrap().contains("accepted (10/2)"));
}

#[test]
fn the_periodic_report_keeps_its_interval() {
    let snapshots = (0..150).map(|second| {
        let uptime = Duration::from_secs(second);
        samples::snapshot_event(0, MinerSnapshot { uptime, ..samples::snapshot() })
    });
    let told = said(Look { interval: Duration::from_secs(60), ..plain() }, &snapshots.collect::<Vec<_>>());
    assert_eq!(told.matches("rate    counted").count(), 2);
    assert!(told.contains("up 00:01:00") && told.contains("up 00:02:00"));
}

#[test]
fn a_gap_between_counted_and_proven_is_told_when_it_opens_and_when_it_closes() {
    let mut lying = samples::snapshot();
    lying.devices[0].rates.counted.average = Some(HashRate(50e6));
    let honest = samples::snapshot;
    let events =
        [lying.clone(), lying, honest(), honest()].map(|snapshot| samples::snapshot_event(0, snapshot));
    let gaps: Vec<_> = lines_of(&events).into_iter().filter(|line| line.contains("gap")).collect();
    assert_eq!(
        gaps,
        [
            "03:04:05  cpu     gap: counted 50.00 MH/s, but proven 24.20 MH/s (21.00-27.80); hashes find too little: \
             the device computes wrongly or loses hits",
            "03:04:05  cpu     gap closed: counted and proven agree"
        ]
    );
}

#[test]
fn the_account_of_a_real_pool_promises_nothing() {
    let told = said(plain(), &[samples::started(0, false), samples::ended(1, EndReason::Terminated)]);
    let last = told.lines().last().unwrap();
    assert_eq!(
        last,
        "03:04:05  account accepted work            144  in difficulty; what the pool pays for it, only the pool can say"
    );
}

#[test]
fn a_file_gets_dates_and_a_screen_local_times() {
    let zone = TimeZone::fixed(jiff::tz::offset(5));
    let event = [samples::started(0, false)];
    let screen = said(Look { zone: zone.clone(), ..plain() }, &event);
    assert!(screen.starts_with("08:04:05  lode    0.1.0 (release)\n"), "{screen}");
    let file = said(Look { zone, dates: true, ..plain() }, &event);
    assert!(file.starts_with("2026-01-02 08:04:05+05:00  lode    0.1.0 (release)\n"), "{file}");
}

#[test]
fn only_a_change_of_health_is_news() {
    use miner_core::backend::{Health, HealthState};
    let states = [HealthState::Ok, HealthState::Sick, HealthState::Sick, HealthState::Ok, HealthState::Ok];
    let mut events = vec![samples::cpu_up(0)];
    events.extend(states.map(|state| {
        let health = Health { state, celsius: Some(91.4), ..Health::default() };
        samples::miner(0, MinerEvent::BackendHealth { backend: BackendId(0), health })
    }));
    let lines = lines_of(&events);
    assert_eq!(lines[1..], ["03:04:05  cpu     SICK: 91 °C", "03:04:05  cpu     healthy: 91 °C"]);
}

#[test]
fn a_candidate_that_only_proves_the_rate_is_not_told() {
    let event = samples::miner(
        0,
        MinerEvent::CandidateDiscarded { backend: BackendId(0), reason: Discard::BelowShareTarget },
    );
    assert_eq!(said(Look { verbosity: 2, ..plain() }, &[event]), "");
}

#[test]
fn a_slow_reader_is_told_what_it_missed() {
    let kept = Kept::default();
    Console::new(kept.clone(), "test", plain()).lagged(37);
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("behind: 37 events were not shown"), "{text}");
}
