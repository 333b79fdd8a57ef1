use proptest::prelude::*;

use super::*;

/// What the actions add up to.
struct World {
    failover: Failover,
    now: Instant,
    wanted: Vec<bool>,
    offered: Vec<bool>,
}

impl World {
    fn new(count: usize) -> Self {
        let now = Instant::now();
        let failover = Failover::new(now, count);
        let mut world = Self { failover, now, wanted: vec![false; count], offered: vec![false; count] };
        world.drain();
        world
    }

    fn drain(&mut self) {
        while let Some(action) = self.failover.poll() {
            let (list, source, value) = match action {
                Action::Want(source) => (&mut self.wanted, source, true),
                Action::Drop(source) => (&mut self.wanted, source, false),
                Action::Offer(source) => (&mut self.offered, source, true),
                Action::Withdraw(source) => (&mut self.offered, source, false),
            };
            assert_ne!(list[usize::from(source.0)], value, "{action:?} changes something");
            list[usize::from(source.0)] = value;
        }
    }

    fn up(&mut self, source: u16) {
        self.failover.handle_up(self.now, SourceId(source));
        self.drain();
    }

    fn fail(&mut self, source: u16, failure: Failure) {
        self.failover.handle_failure(self.now, SourceId(source), failure);
        self.drain();
    }

    /// Lets time pass as a driver would: waking at each deadline.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        for wakes in 0.. {
            assert!(wakes < 100, "a deadline that has passed stays");
            match self.failover.next_deadline() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            self.failover.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn in_use(&self) -> Option<usize> {
        self.offered.iter().position(|&offered| offered)
    }
}

#[test]
fn only_the_first_pool_is_wanted_while_it_is_well() {
    let mut world = World::new(3);
    world.up(0);
    world.pass(1_000);
    assert_eq!((world.wanted.as_slice(), world.in_use()), ([true, false, false].as_slice(), Some(0)));
}

#[test]
fn three_refusals_bring_the_backup_in() {
    let mut world = World::new(2);
    world.fail(0, Failure::Connection);
    world.fail(0, Failure::Connection);
    assert_eq!(world.wanted, [true, false]);
    world.fail(0, Failure::Connection);
    assert_eq!(world.wanted, [true, true]);
    world.up(1);
    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn a_minute_without_a_job_brings_the_backup_in() {
    let mut world = World::new(2);
    world.pass(59);
    assert_eq!(world.wanted, [true, false]);
    world.pass(1);
    assert_eq!(world.wanted, [true, true]);
}

#[test]
fn refused_credentials_bring_the_backup_in_at_once() {
    let mut world = World::new(2);
    world.fail(0, Failure::Pool);
    assert_eq!(world.wanted, [true, true]);
}

#[test]
fn the_first_pool_is_mined_on_again_after_three_steady_minutes_and_the_backup_dropped() {
    let mut world = World::new(2);
    world.fail(0, Failure::Pool);
    world.up(1);
    world.pass(600);
    world.up(0);
    world.pass(179);
    assert_eq!(world.in_use(), Some(1));
    world.pass(1);
    assert_eq!(world.in_use(), Some(0));
    world.pass(29);
    assert_eq!(world.wanted, [true, true], "late answers of the backup are waited for");
    world.pass(1);
    assert_eq!(
        (world.wanted.as_slice(), world.offered.as_slice()),
        ([true, false].as_slice(), [true, false].as_slice())
    );
}

#[test]
fn probation_starts_again_when_the_first_pool_breaks_again() {
    let mut world = World::new(2);
    world.fail(0, Failure::Pool);
    world.up(1);
    world.up(0);
    world.pass(170);
    world.fail(0, Failure::Connection);
    world.up(0);
    world.pass(170);
    assert_eq!(world.in_use(), Some(1));
    world.pass(10);
    assert_eq!(world.in_use(), Some(0));
}

#[test]
fn without_a_backup_that_is_up_the_first_pool_is_mined_on_at_once() {
    let mut world = World::new(2);
    for _ in 0..3 {
        world.fail(0, Failure::Connection);
    }
    world.fail(1, Failure::Connection);
    world.up(0);
    assert_eq!(world.in_use(), Some(0));
    world.up(1);
    assert_eq!(world.in_use(), Some(0), "no switch to a backup that came later");
}

#[test]
fn a_pool_that_rejects_is_left_as_soon_as_a_backup_is_up() {
    let mut world = World::new(2);
    world.up(0);
    world.fail(0, Failure::Pool);
    world.up(0);
    assert_eq!(world.in_use(), Some(0), "better than nothing");
    world.up(1);
    assert_eq!(world.in_use(), Some(1));
}

#[test]
fn a_flapping_pool_is_failed_over_from() {
    let mut world = World::new(2);
    for _ in 0..3 {
        world.up(0);
        world.pass(30);
        world.fail(0, Failure::Connection);
    }
    assert_eq!(world.wanted, [true, true]);
}

#[test]
fn a_single_pool_is_wanted_and_used_whatever_happens() {
    let mut world = World::new(1);
    for _ in 0..10 {
        world.fail(0, Failure::Pool);
        world.pass(100);
        world.up(0);
        assert_eq!((world.wanted[0], world.in_use()), (true, Some(0)));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Up(u16),
    Fail(u16, bool),
    Pass(u64),
}

proptest! {
    #[test]
    fn a_pool_that_is_up_is_always_in_use_and_the_first_is_always_wanted(
        steps in prop::collection::vec(
            prop_oneof![
                (0..3u16).prop_map(Step::Up),
                (0..3u16, any::<bool>()).prop_map(|(source, hard)| Step::Fail(source, hard)),
                (1..400u64).prop_map(Step::Pass),
            ],
            1..80,
        )
    ) {
        let mut world = World::new(3);
        let mut up = [false; 3];
        for step in steps {
            match step {
                // The task of a pool that is no longer wanted may not know it yet.
                Step::Up(source) => {
                    up[usize::from(source)] = world.wanted[usize::from(source)];
                    world.up(source);
                }
                Step::Fail(source, hard) => {
                    up[usize::from(source)] = false;
                    world.fail(source, if hard { Failure::Pool } else { Failure::Connection });
                }
                Step::Pass(seconds) => world.pass(seconds),
            }
            for (up, wanted) in up.iter_mut().zip(&world.wanted) {
                *up &= wanted;
            }
            prop_assert!(world.wanted[0]);
            prop_assert_eq!(world.in_use().is_some(), up.contains(&true));
            for (source, &offered) in world.offered.iter().enumerate() {
                prop_assert!(!offered || up[source], "only what is up is offered");
            }
        }
    }
}
