//! A small piece of search space whose hits are known.

use miner_core::sha256d::Isa;

use super::Fault;
use crate::bench::variant::Work;

/// Hashes of a region: few enough for the recount, enough for any kernel to be at full speed.
const HASHES: u32 = 1 << 14;

/// Hits are expected once in 2^8 hashes: as often as can be without slowing the kernels down.
const LIMIT: u32 = 0x00ff_ffff;

pub(super) struct Region {
    work: Work,
    start: u32,
    /// Nonces tried with each version.
    count: u32,
    /// Index of the version and nonce, sorted.
    expected: Vec<(u32, u32)>,
}

impl Region {
    /// Another one for each `seed` and `number`: its hits are counted with the `sha2` crate.
    pub(super) fn count(seed: u64, number: u64, versions: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(seed << 40 ^ number);
        let mut header = [0; 80];
        random.fill(&mut header);
        let (work, start, count) = (Work::new(&header, versions), random.u32(..), HASHES / versions);
        let nonces = (0..count).map(|i| start.wrapping_add(i));
        let mut expected: Vec<(u32, u32)> = (0..versions)
            .flat_map(|index| nonces.clone().map(move |nonce| (index, nonce)))
            .filter(|&(index, nonce)| is_hit(&work, index, nonce))
            .collect();
        expected.sort_unstable();
        Self { work, start, count, expected }
    }

    pub(super) fn hashes(&self) -> u64 {
        u64::from(self.count) * u64::from(self.work.versions())
    }

    pub(super) fn scan(&self, isa: Isa, hits: &mut Vec<(u32, u32)>) {
        self.work.scan(isa, self.start, self.count.into(), LIMIT, hits);
    }

    pub(super) fn header(&self, index: u32, nonce: u32) -> Option<[u8; 80]> {
        self.work.header(index, nonce)
    }

    /// What is wrong with the hits of a scan; sorts them.
    pub(super) fn judge(&self, hits: &mut [(u32, u32)]) -> Vec<(Fault, u32, u32)> {
        hits.sort_unstable();
        if *hits == *self.expected {
            return Vec::new();
        }
        let of = |fault, &(index, nonce): &(u32, u32)| (fault, index, nonce);
        let twice = hits.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| of(Fault::Wrong, &pair[0]));
        let mut unique = hits.to_vec();
        unique.dedup();
        // Whoever is alone is asked once more: the recount may have been what erred.
        let found = unique.iter().filter(|hit| self.expected.binary_search(hit).is_err());
        let found = found.map(|hit| of(if self.holds(hit) { Fault::Reference } else { Fault::Wrong }, hit));
        let missed = self.expected.iter().filter(|hit| unique.binary_search(hit).is_err());
        let missed =
            missed.map(|hit| of(if self.holds(hit) { Fault::Missed } else { Fault::Reference }, hit));
        twice.chain(found).chain(missed).collect()
    }

    fn holds(&self, &(index, nonce): &(u32, u32)) -> bool {
        // A nonce from elsewhere may be a hit, but was not asked for.
        nonce.wrapping_sub(self.start) < self.count && is_hit(&self.work, index, nonce)
    }
}

fn is_hit(work: &Work, index: u32, nonce: u32) -> bool {
    work.top_word(index, nonce).is_some_and(|top| top <= LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_finds_what_is_expected_and_nothing_else() {
        for isa in Isa::available() {
            for versions in [1, 4, 64] {
                let (region, mut hits) = (Region::count(7, 1, versions), Vec::new());
                region.scan(isa, &mut hits);
                assert!(hits.len() > 20, "{isa}");
                assert_eq!(region.judge(&mut hits), [], "{isa} with {versions} versions");
            }
        }
    }

    #[test]
    fn each_kind_of_error_is_told_from_the_others() {
        let mut region = Region::count(7, 2, 2);
        let right = region.expected.clone();
        type Change<'a> = &'a dyn Fn(&mut Vec<(u32, u32)>);
        let judge = |region: &Region, change: Change<'_>| {
            let mut hits = right.clone();
            change(&mut hits);
            region.judge(&mut hits).into_iter().map(|(fault, ..)| fault).collect::<Vec<_>>()
        };
        assert_eq!(judge(&region, &|_| {}), []);
        assert_eq!(judge(&region, &|hits| hits.retain(|hit| *hit != right[3])), [Fault::Missed]);
        let miss = (0..).map(|i| (0, region.start.wrapping_add(i))).find(|hit| !right.contains(hit)).unwrap();
        assert_eq!(judge(&region, &|hits| hits.push(miss)), [Fault::Wrong]);
        assert_eq!(judge(&region, &|hits| hits.push((2, region.start))), [Fault::Wrong], "no such version");
        assert_eq!(judge(&region, &|hits| hits.push(hits[0])), [Fault::Wrong], "reported twice");
        assert_eq!(
            judge(&region, &|hits| hits[0].1 ^= 1 << 31),
            [Fault::Wrong, Fault::Missed],
            "a flipped bit"
        );
        assert_eq!(judge(&region, &Vec::clear).len(), right.len());
        // A recount that erred.
        region.expected.remove(0);
        assert_eq!(judge(&region, &|_| {}), [Fault::Reference]);
        region.expected.push((u32::MAX, 0));
        assert_eq!(judge(&region, &|hits| hits.retain(|hit| *hit != right[0])), [Fault::Reference]);
    }
}
