//! What the scheduler keeps count of, to the last unit: clocks, lines, memories, floods.

use super::scenarios::{CPU, Desk, EASY};
use super::*;
use crate::backend::{Health, HealthState};
use crate::sched::devices::credit;
use crate::sched::leases::{Leases, Recent};
use crate::types::MerkleRoot;
use crate::work::VersionRange;

const OTHER: BackendId = BackendId(1);
/// Hashes for a share.
const SHARE: f64 = 128.0;

/// A job of a single unit for a device that takes whole spaces.
fn single(job: &mut JobTemplate) {
    job.merkle = Merkle::Fixed(MerkleRoot([1; 32]));
    (job.version_mask, job.max_ntime_roll) = (VersionMask::NONE, 0);
}

/// A desk whose only device takes whole spaces.
fn whole_spaces(rate: f64) -> Desk {
    let mut desk = Desk::new();
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.input(Input::BackendUp(CPU, Arc::new(info(Granularity::NonceSpaces { max_versions: 1 }, rate))));
    desk.source(SOURCE, SourceEvent::Up);
    desk
}

fn average(desk: &mut Desk) -> Option<f64> {
    desk.scheduler.snapshot(desk.now).rates.counted.average.map(|rate| rate.0)
}

#[test]
fn a_job_belongs_to_the_source_that_brought_it() {
    let mut desk = Desk::new();
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |job| job.source = SourceId(7));
    assert_eq!(desk.unit().job.source, SOURCE);
}

#[test]
fn a_device_waits_in_line_once_however_often_work_becomes_worthless() {
    let mut desk = Desk::new();
    desk.source(SOURCE, SourceEvent::Up);
    desk.input(Input::Command(Command::Pause));
    for _ in 0..5 {
        desk.job(SOURCE, |job| job.clean = true);
    }
    assert_eq!(desk.scheduler.line.len(), 1);
}

#[test]
fn reports_of_no_hashes_are_no_measurement() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    for _ in 0..5 {
        desk.now += Duration::from_secs(1);
        desk.backend(CPU, BackendEvent::Progress { work: unit.id, hashes: 0, finished: false });
    }
    assert_eq!(average(&mut desk), None);
}

#[test]
fn a_device_that_does_not_count_is_paced_by_the_current_units_that_it_finished() {
    let mut desk = Desk::new();
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    let inferred = BackendInfo { counts_hashes: false, ..info(EASY, 100.0) };
    desk.input(Input::BackendUp(CPU, Arc::new(inferred)));
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |_| {});
    let units = desk.units();
    let counted = |desk: &mut Desk| {
        let now = desk.now;
        desk.scheduler.devices.get_mut(&CPU).unwrap().meter.rates(now).counted.average.map(|rate| rate.0)
    };
    for (_, unit) in &units {
        for finished in [false, false, true] {
            desk.now += Duration::from_secs(1);
            desk.backend(CPU, BackendEvent::Progress { work: unit.id, hashes: 0, finished });
        }
    }
    let seconds = 3.0 * units.len() as f64;
    let budget: u128 = units.iter().map(|(_, unit)| unit.budget).sum();
    assert_eq!(counted(&mut desk), Some(budget as f64 / seconds));
    let stale = desk.units();
    desk.job(SOURCE, |job| {
        job.prev = BlockHash([9; 32]);
        job.clean = true;
    });
    let before = counted(&mut desk);
    stale.iter().for_each(|(_, unit)| desk.finish(unit, 0));
    assert_eq!(counted(&mut desk), before);
}

#[test]
fn the_clock_of_the_sum_stops_when_the_last_device_has_nothing_to_do() {
    for gone in [false, true] {
        let mut desk = whole_spaces(1e9);
        desk.input(Input::BackendUp(OTHER, Arc::new(info(EASY, 100.0))));
        desk.job(SOURCE, single);
        let units = desk.units();
        assert_eq!(units.len(), 1, "there is one unit for two devices");
        let (id, unit) = &units[0];
        for _ in 0..4 {
            desk.now += Duration::from_secs(1);
            desk.backend(*id, BackendEvent::Progress { work: unit.id, hashes: 1000, finished: false });
        }
        let end = if gone {
            BackendEvent::Gone(Ok(()))
        } else {
            BackendEvent::Progress { work: unit.id, hashes: 0, finished: true }
        };
        desk.backend(*id, end);
        desk.wait(100);
        assert_eq!(average(&mut desk), Some(1000.0), "gone: {gone}");
    }
}

#[test]
fn a_device_is_idle_while_it_is_there_without_a_unit() {
    fn idle(desk: &mut Desk) -> u64 {
        desk.scheduler.snapshot(desk.now).devices[0].idle.as_secs()
    }
    let mut desk = whole_spaces(1e9);
    desk.wait(1);
    assert_eq!(idle(&mut desk), 1, "there is no job yet");
    desk.job(SOURCE, single);
    let unit = desk.unit();
    desk.wait(10);
    assert_eq!(idle(&mut desk), 1, "it works");
    desk.finish(&unit, 0);
    desk.wait(2);
    assert_eq!(idle(&mut desk), 3, "the space is used up");
    desk.job(SOURCE, |job| job.clean = true);
    desk.wait(10);
    assert_eq!(idle(&mut desk), 3, "a clean job is handed out at once");
    desk.input(Input::Command(Command::Pause));
    desk.wait(4);
    assert_eq!(idle(&mut desk), 7, "it is paused");
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.wait(10);
    desk.input(Input::Command(Command::Pause));
    assert_eq!(idle(&mut desk), 7, "it is not there");
    desk.input(Input::BackendUp(CPU, Arc::new(info(EASY, 100.0))));
    desk.wait(5);
    assert_eq!(idle(&mut desk), 12, "it is there again");
    desk.input(Input::Command(Command::Resume));
    desk.wait(10);
    assert_eq!(idle(&mut desk), 12, "it works again");
}

#[test]
fn a_device_that_went_counts_no_more_where_hits_are_shared_out() {
    let mut desk = Desk::mining();
    desk.input(Input::BackendUp(OTHER, Arc::new(info(EASY, 100.0))));
    assert_eq!(desk.scheduler.crowd.devices, 2);
    desk.backend(OTHER, BackendEvent::Gone(Ok(())));
    assert_eq!(desk.scheduler.crowd.devices, 1);
}

#[test]
fn health_is_told_when_it_changes() {
    let mut desk = Desk::mining();
    desk.take();
    let warm = Health { state: HealthState::Degraded, reason: Some("warm".into()), ..Health::default() };
    for (health, told) in [(Health::default(), 0), (warm.clone(), 1), (warm, 0), (Health::default(), 1)] {
        desk.backend(CPU, BackendEvent::Health(health));
        let events = desk.events();
        let count = events.iter().filter(|event| matches!(event, MinerEvent::BackendHealth { .. })).count();
        assert_eq!(count, told, "{events:?}");
    }
}

#[test]
fn credit_is_two_queues() {
    let credit = |depth| credit(&BackendInfo { depth, ..info(EASY, 1.0) });
    assert_eq!([1, 2, 3, 8].map(credit), [4, 4, 6, 16]);
}

#[test]
fn a_unit_is_cut_short_when_it_is_more_than_twice_what_is_wanted() {
    // A fifth of a second is wanted of a device that is not measured yet.
    for (want, cut) in [(0.75, false), (0.5, false), (0.499, true)] {
        let mut desk = whole_spaces(want * 2f64.powi(32) * 5.0);
        desk.job(SOURCE, |_| {});
        let unit = desk.unit();
        assert_eq!(unit.size(), 1 << 32);
        assert_eq!(unit.budget < unit.size(), cut, "{want}: {}", unit.budget);
    }
}

#[test]
fn a_rate_is_learned_once_and_not_before_it_is_measured() {
    let mut desk = Desk::mining();
    let learned = |event: &MinerEvent| matches!(event, MinerEvent::RateLearned { .. });
    let mut told = Vec::new();
    for _ in 0..4 {
        let outputs = desk.take();
        told.push(outputs.iter().filter(|o| matches!(o, Output::Emit(event) if learned(event))).count());
        for output in outputs {
            if let Output::Feed(_, unit) = output {
                desk.now += Duration::from_secs(1);
                desk.finish(&unit, 10);
            }
        }
    }
    assert_eq!((told[0], told.iter().sum::<usize>()), (0, 1), "{told:?}");
}

#[test]
fn a_flood_is_forgotten_when_it_is_clearly_over_and_not_before() {
    let mut desk = Desk::new();
    desk.backend(CPU, BackendEvent::Gone(Ok(())));
    desk.source(SOURCE, SourceEvent::Up);
    desk.job(SOURCE, |job| job.share_target = Target::from_expected_hashes(SHARE));
    let mut told = |rates: &[(u16, f64)]| {
        desk.take();
        for &(id, hits) in rates {
            let info = BackendInfo { depth: 2, ..info(EASY, hits * SHARE) };
            desk.input(Input::BackendUp(BackendId(id), Arc::new(info)));
        }
        let count = |event: &MinerEvent| matches!(event, MinerEvent::Withholding { .. });
        let told = desk.outputs.iter().filter(|o| matches!(o, Output::Emit(event) if count(event))).count();
        for &(id, _) in rates {
            desk.backend(BackendId(id), BackendEvent::Gone(Ok(())));
        }
        told
    };
    // Hits a second; the limit is 64.
    assert_eq!(told(&[(1, 64.0)]), 0, "at the limit nothing is withheld");
    assert_eq!(told(&[(1, 65.0)]), 1);
    assert_eq!(told(&[(1, 65.0)]), 0, "it is known");
    assert_eq!(told(&[(1, 50.0)]), 0);
    assert_eq!(told(&[(1, 65.0)]), 0, "it was never clearly over");
    assert_eq!(told(&[(1, 32.0)]), 0);
    assert_eq!(told(&[(1, 65.0)]), 0, "half of the limit is not clearly less");
    assert_eq!(told(&[(1, 31.0)]), 0);
    assert_eq!(told(&[(1, 65.0)]), 1, "it comes back");
}

#[test]
fn the_newest_are_remembered_and_no_more() {
    let mut recent = Recent::new(2);
    assert!(recent.insert(1) && recent.insert(2));
    assert!(!recent.insert(1) && !recent.insert(2));
    assert!(recent.insert(3), "it takes the place of the oldest");
    assert!(!recent.insert(2));
    assert!(recent.insert(1));
}

#[test]
fn submitted_headers_are_remembered_for_four_minutes_of_flood() {
    let config = SchedulerConfig::default();
    let four_minutes = 240.0 * config.max_hits;
    let mut submitted = Recent::new(config.submitted);
    assert!((0..four_minutes as u32).all(|hash| submitted.insert(hash)));
    assert!(!submitted.insert(0));
}

#[test]
fn sixty_four_finished_units_are_kept_for_late_hits() {
    let mut desk = Desk::mining();
    let unit = desk.unit();
    let (mut leases, now) = (Leases::default(), desk.now);
    for id in 0..70 {
        leases.insert(CPU, WorkUnit { id: WorkId(id), ..unit.clone() });
        leases.progress(now, CPU, WorkId(id), 0, true).unwrap();
    }
    let kept: Vec<u64> =
        (0..70).filter(|&id| leases.get(now, CPU, WorkId(id), Duration::ZERO).is_some()).collect();
    assert_eq!(kept, (6..70).collect::<Vec<_>>());
}

#[test]
fn a_unit_names_its_versions_from_the_first_to_the_last() {
    let unit = WorkUnit { versions: VersionRange { first: 3, count: 4 }, ..Desk::mining().unit() };
    let versions: Vec<u32> = unit.header_versions().collect();
    assert_eq!(versions, [3, 4, 5, 6].map(|index| unit.version_at(index)));
}
