//! Random operations on the scheduler, each step held against an independent model of its rules.
//!
//! A script is a string of bytes, so that libFuzzer, proptest and a crash file drive the same thing.

mod model;
mod world;

use std::time::Instant;

use crate::snapshot::MinerSnapshot;
use world::World;

/// Plays `script` to a scheduler whose time begins at `start`; returns what it shows at the end. Panics where a rule
/// is broken.
pub fn run(start: Instant, script: &[u8]) -> MinerSnapshot {
    let mut world = World::new(start);
    let mut bytes = Bytes(script);
    while !bytes.0.is_empty() {
        world.step(&mut bytes);
    }
    world.snapshot()
}

/// What is left of a script; zeros after its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `limit`, which is at most 256.
    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.next()) % limit
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    use super::*;
    use crate::share::Discard;

    fn script() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..3000)
    }

    proptest! {
        #[test]
        fn the_scheduler_keeps_its_rules(script in script()) {
            run(Instant::now(), &script);
        }
    }

    /// A model that never sees a share would hold every rule.
    #[test]
    fn random_scripts_reach_every_end_of_hits_and_shares() {
        let start = Instant::now();
        let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let (mut discards, mut rejected, mut ends) = ([0; Discard::ALL.len()], [0; 6], [0; 8]);
        for _ in 0..100 {
            let mut script = vec![0; 1500];
            random.fill_bytes(&mut script);
            let shown = run(start, &script);
            let shares = &shown.shares;
            discards.iter_mut().zip(shown.discards.0).for_each(|(sum, count)| *sum += count);
            rejected.iter_mut().zip(shares.rejected).for_each(|(sum, count)| *sum += count);
            let lost = [shares.lost_not_sent, shares.lost_no_answer, shares.late];
            let others = [shares.found, shares.accepted, shares.pending, shares.blocks];
            let withheld = u64::from(shares.withheld > 0.0);
            let counts = lost.into_iter().chain(others).chain([withheld]);
            ends.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        for count in discards.iter().chain(&rejected).chain(&ends) {
            assert!(*count >= 5, "{discards:?} {rejected:?} {ends:?}");
        }
    }
}
