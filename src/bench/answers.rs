//! Whether a kernel computes rightly: known headers, and a checksum over what it finds around them.

use miner_core::sha256d::{KnownBlock, known_blocks, selftest};
use serde::{Deserialize, Serialize};

use super::variant::{Variant, Work};

/// Hits are expected once in 2^12 hashes.
pub(super) const LIMIT: u32 = 0x000f_ffff;

/// Nonces tried around that of each known block: all before it but half of this, and the other half behind.
const NONCES: u64 = 16_384;

/// The same for the form with rolled versions.
const NONCES_ROLLED: u64 = 512;

/// What [`checksum`] of a right kernel is.
pub(super) const CHECKSUM: u32 = 0x4e25_6c27;

/// The same for any right kernel over [`VERSIONS`] versions.
const CHECKSUM_ROLLED: u32 = 0x1ea3_473f;

/// Versions of the checksum: all that any kernel wants at once.
const VERSIONS: u32 = 64;

/// A kernel's wrong answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The kernel's name.
    pub kernel: String,
    /// Versions tried at once.
    pub versions: u32,
    /// What was wrong.
    pub what: String,
}

impl Mismatch {
    pub(super) fn new(variant: Variant, what: String) -> Self {
        Self { kernel: variant.isa.name().to_owned(), versions: variant.versions, what }
    }
}

/// Known answers, and the checksum.
pub(super) fn check(variant: Variant) -> Result<(), Mismatch> {
    let wrong = |what| Mismatch::new(variant, what);
    selftest(variant.isa).map_err(|error| wrong(error.to_string()))?;
    let right = if variant.versions == 1 { CHECKSUM } else { CHECKSUM_ROLLED };
    match checksum(variant) {
        sum if sum == right => Ok(()),
        sum => Err(wrong(format!("checksum {sum:08x} instead of {right:08x}"))),
    }
}

/// FNV-1a over the hits around the nonce of each known block.
fn checksum(variant: Variant) -> u32 {
    sum_over_blocks(variant.versions, |work, start, count, hits| {
        work.scan(variant.isa, start, count, LIMIT, hits);
    })
}

/// Whether a finder over so many versions at once has the right checksum: `find` is given the work, the first nonce and
/// how many, and takes down index of the version and nonce of each hit.
#[cfg(feature = "gpu")]
pub(super) fn check_sum<E>(
    versions: u32,
    mut find: impl FnMut(&Work, u32, u64) -> Result<Vec<(u32, u32)>, E>,
) -> Result<Result<(), String>, E> {
    let mut failed = None;
    let sum = sum_over_blocks(versions, |work, start, count, hits| match find(work, start, count) {
        Ok(found) => *hits = found,
        Err(error) => {
            failed.get_or_insert(error);
        }
    });
    let right = if versions == 1 { CHECKSUM } else { CHECKSUM_ROLLED };
    match failed {
        Some(error) => Err(error),
        None if sum == right => Ok(Ok(())),
        None => Ok(Err(format!("checksum {sum:08x} instead of {right:08x}"))),
    }
}

fn sum_over_blocks(versions: u32, mut find: impl FnMut(&Work, u32, u64, &mut Vec<(u32, u32)>)) -> u32 {
    let (versions, count) = if versions == 1 { (1, NONCES) } else { (VERSIONS, NONCES_ROLLED) };
    known_blocks().iter().fold(0x811c_9dc5, |sum, KnownBlock { header, nonce, .. }| {
        let (work, mut hits) = (Work::new(header, versions), Vec::new());
        find(&work, nonce.wrapping_sub(count as u32 / 2), count, &mut hits);
        // Kernels differ in whether they turn to the next version or the next nonce first.
        hits.sort_unstable_by_key(|&(index, nonce)| (index, nonce));
        fnv(sum, &hits, versions)
    })
}

/// The index of the only version says nothing.
fn fnv(sum: u32, hits: &[(u32, u32)], versions: u32) -> u32 {
    let words =
        hits.iter().flat_map(|&(index, nonce)| (versions > 1).then_some(index).into_iter().chain([nonce]));
    words.flat_map(u32::to_le_bytes).fold(sum, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use miner_core::sha256d::Isa;

    use super::*;

    #[test]
    fn the_checksums_are_what_the_sha2_crate_says() {
        for (versions, checksum) in [(1, CHECKSUM), (VERSIONS, CHECKSUM_ROLLED)] {
            let sum = sum_over_blocks(versions, |work, start, count, hits| {
                let nonces = (0..count as u32).map(|i| start.wrapping_add(i));
                let all =
                    (0..work.versions()).flat_map(|index| nonces.clone().map(move |nonce| (index, nonce)));
                hits.extend(all.filter(|&(index, nonce)| work.top_word(index, nonce).unwrap() <= LIMIT));
                assert!(!hits.is_empty());
            });
            assert_eq!(sum, checksum, "{versions} versions: {sum:#010x}");
        }
    }

    #[test]
    fn every_kernel_answers_rightly_in_every_form() {
        for isa in Isa::available() {
            for versions in [1, 2, isa.versions()] {
                assert_eq!(check(Variant { isa, versions }), Ok(()));
            }
        }
    }

    #[test]
    fn a_hit_that_is_missing_changes_the_checksum() {
        let sum = sum_over_blocks(1, |work, start, count, hits| {
            work.scan(Isa::available()[0], start, count, LIMIT, hits);
            hits.pop();
        });
        assert_ne!(sum, CHECKSUM);
    }
}
