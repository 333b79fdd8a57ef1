//! Hardware job ids: a ring in which half of the ids are always retired.
//!
//! A chip names the job that a nonce belongs to by a few bits. An id that is given away again at once would make a late
//! nonce of the old job look like a wrong one of the new job. So an id rests for half a turn of the ring, and a nonce
//! that names a resting one is known to be late.

use std::collections::VecDeque;

/// Answers of one job that are remembered: a chip that repeats itself does so at once.
const REMEMBERED: usize = 64;

/// What chips were given, by the place of its id in the ring.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Option<Slot<T>>>,
    /// The place that is filled next, and how far the one after it is.
    next: usize,
    stride: usize,
}

#[derive(Debug)]
struct Slot<T> {
    job: T,
    seen: VecDeque<(u32, u32)>,
}

/// Why a nonce is not one of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclaimed {
    /// Its job is retired, or there never was one.
    Late,
    /// The same answer to the same job again.
    Duplicate,
}

impl<T> Slots<T> {
    /// A ring of `2 * half` ids that are given away `stride` places apart; an odd stride reaches all of a ring whose
    /// size is a power of two.
    pub fn new(half: usize, stride: usize) -> Self {
        let size = 2 * half.max(1);
        Self { places: (0..size).map(|_| None).collect(), next: 0, stride }
    }

    /// Gives `job` the id that has rested longest and retires the oldest job that is still known.
    pub fn insert(&mut self, job: T) -> usize {
        let (place, size) = (self.next, self.places.len());
        // Half a turn of steps back, which is half a turn ahead.
        self.places[(place + self.stride * (size / 2)) % size] = None;
        self.places[place] = Some(Slot { job, seen: VecDeque::new() });
        self.next = (place + self.stride) % size;
        place
    }

    /// The job of a place that answered, if this answer is neither late nor had before.
    pub fn claim(&mut self, place: usize, answer: (u32, u32)) -> Result<&T, Unclaimed> {
        let slot = self.places.get_mut(place).and_then(Option::as_mut).ok_or(Unclaimed::Late)?;
        if slot.seen.contains(&answer) {
            return Err(Unclaimed::Duplicate);
        }
        if slot.seen.len() == REMEMBERED {
            slot.seen.pop_front();
        }
        slot.seen.push_back(answer);
        Ok(&slot.job)
    }

    /// The job of a place that is not retired.
    pub fn get(&self, place: usize) -> Option<&T> {
        self.places.get(place)?.as_ref().map(|slot| &slot.job)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_counts_once() {
        let mut slots = Slots::new(2, 1);
        let place = slots.insert("job");
        assert_eq!(slots.claim(place, (7, 0)), Ok(&"job"));
        assert_eq!(slots.claim(place, (7, 0)), Err(Unclaimed::Duplicate));
        assert_eq!(slots.claim(place, (7, 1)), Ok(&"job"));
        assert_eq!(slots.claim(place + 1, (7, 0)), Err(Unclaimed::Late));
        assert_eq!(slots.claim(99, (7, 0)), Err(Unclaimed::Late));
    }

    #[test]
    fn a_chip_that_talks_without_end_fills_no_memory() {
        let mut slots = Slots::new(2, 1);
        let place = slots.insert(());
        for nonce in 0..10_000 {
            assert!(slots.claim(place, (nonce, 0)).is_ok());
        }
        assert_eq!(slots.places[place].as_ref().unwrap().seen.len(), REMEMBERED);
    }

    proptest! {
        #[test]
        fn the_newest_half_is_known_and_the_other_half_rests(
            log in 1usize..6, odd in 0usize..16, jobs in 1usize..200,
        ) {
            let half = 1 << (log - 1);
            let mut slots = Slots::new(half, 2 * odd + 1);
            let places: Vec<_> = (0..jobs).map(|job| slots.insert(job)).collect();
            for (job, &place) in places.iter().enumerate() {
                let known = slots.get(place).copied();
                let expected = if job + half >= jobs { Some(job) } else { None };
                if expected.is_some() {
                    prop_assert_eq!(known, expected);
                } else {
                    prop_assert_ne!(known, Some(job), "a job older than half a turn is retired");
                }
            }
            prop_assert!(slots.places.iter().flatten().count() <= half);
        }
    }
}
