//! Every kernel finds exactly what `sha2` finds.

use libtest_mimic::Failed;
use miner_core::types::{BlockHash, double_sha256};
use miner_gpu::kernel::{Form, HITS, MIDSTATES, Variant};
use miner_gpu::{Gpu, Searcher};

use crate::{Test, unwatched};

pub(crate) const TESTS: [Test; 2] = [
    ("every_variant_finds_what_sha2_finds", every_variant_finds_what_sha2_finds),
    ("every_shape_finds_what_sha2_finds", every_shape_finds_what_sha2_finds),
];

fn forms() -> impl Iterator<Item = Form> {
    Variant::all().flat_map(|variant| {
        MIDSTATES.into_iter().map(move |midstates| Form { variant, midstates, ..Form::DEFAULT })
    })
}

fn every_variant_finds_what_sha2_finds(gpu: &Gpu) -> Result<(), Failed> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut searcher = Searcher::open(&unwatched(gpu)?, Form::DEFAULT)?;
    for form in forms() {
        searcher.compile(form)?;
        searcher.selftest()?;
        compare(&mut searcher, form, &mut random)?;
    }
    Ok(())
}

fn every_shape_finds_what_sha2_finds(gpu: &Gpu) -> Result<(), Failed> {
    let mut random = fastrand::Rng::with_seed(2);
    let mut searcher = Searcher::open(&unwatched(gpu)?, Form::DEFAULT)?;
    for (workgroup, nonces) in [(32, 4), (32, 128), (128, 64), (256, 16)] {
        let form = Form { workgroup, nonces, ..Form::DEFAULT };
        searcher.compile(form)?;
        searcher.selftest()?;
        compare(&mut searcher, form, &mut random)?;
    }
    Ok(())
}

/// No hit, some, and more than there is room for; ranges in the middle and across the end of the nonces.
fn compare(searcher: &mut Searcher, form: Form, random: &mut fastrand::Rng) -> Result<(), Failed> {
    let headers = headers(form.midstates, random);
    let hashes = (form.granule() * u64::from(form.midstates)) as f64;
    let some = ((1u64 << 32) as f64 * 60.0 / hashes.max(120.0)) as u32;
    let across = u32::MAX - (form.granule() / 2) as u32;
    for (first, limit) in [(random.u32(..), 0), (random.u32(..), some), (across, some), (across, u32::MAX)] {
        let first = first & !(form.nonces - 1);
        let search = searcher.search(&headers, first, form.granule(), limit)?;
        let wanted = hits(&headers, first, form.granule(), limit);
        let case = format!("{form}, limit {limit:#x}, nonces from {first:#x}");
        if search.count as usize != wanted.len() {
            return Err(format!("{case}: {} hits counted, {} wanted", search.count, wanted.len()).into());
        }
        let right = if wanted.len() > HITS as usize {
            search.hits.len() == HITS as usize
                && search.hits.windows(2).all(|pair| pair[0] < pair[1])
                && search.hits.iter().all(|hit| wanted.binary_search(hit).is_ok())
        } else {
            search.hits == wanted
        };
        if !right {
            return Err(format!("{case}: {:x?} found, {wanted:x?} wanted", search.hits).into());
        }
        if limit == some && !(20..120).contains(&wanted.len()) {
            return Err(format!("{case}: {} hits are not some", wanted.len()).into());
        }
    }
    Ok(())
}

/// Headers of one job that differ in their versions.
fn headers(count: u32, random: &mut fastrand::Rng) -> Vec<[u8; 80]> {
    let mut header = [0; 80];
    random.fill(&mut header);
    let version = random.u32(..);
    let rolled = |index: u32| {
        header[..4].copy_from_slice(&(version ^ (index << 13)).to_le_bytes());
        header
    };
    (0..count).map(rolled).collect()
}

/// All hits by `sha2`, in order.
fn hits(headers: &[[u8; 80]], first: u32, nonces: u64, limit: u32) -> Vec<(u32, u32)> {
    let mut hits = Vec::new();
    for (index, header) in (0..).zip(headers) {
        let mut header = *header;
        for nonce in (0..nonces).map(|i| first.wrapping_add(i as u32)) {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            if BlockHash(double_sha256(&header)).to_target().high_word() <= limit {
                hits.push((nonce, index));
            }
        }
    }
    hits.sort_unstable();
    hits
}
