//! Known answers, asked of a kernel before it may search.

use std::time::Duration;

use miner_core::sha256d::{KnownBlock, Prepared, known_blocks};

use crate::error::GpuError;
use crate::pipeline::{Device, Dispatch, Pipeline, Slot};

/// A driver may compile a kernel in its first dispatch.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// Asks a kernel for the nonces of known blocks, each with another midstate and in several places of a dispatch, and
/// for all easy hits of one workgroup around the end of the nonces.
pub(crate) fn selftest(device: &Device, pipeline: &Pipeline, slot: &mut Slot) -> Result<(), GpuError> {
    let form = *pipeline.kernel.form();
    let blocks = known_blocks();
    for (number, KnownBlock { header, nonce, .. }) in blocks.into_iter().enumerate() {
        let place = number as u32 % form.midstates;
        let headers = siblings(&header, form.midstates, place);
        let words = pipeline.kernel.words(&headers);
        let own = nonce & !(form.nonces - 1);
        let last = form.workgroup - 1;
        for invocation in [0, last / 2, last] {
            let first = own.wrapping_sub(invocation * form.nonces);
            let dispatch = Dispatch { first, nonces: form.granule(), limit: 0 };
            let case = format!("known block {number} in invocation {invocation} of {form}");
            expect(device, pipeline, slot, &headers, &words, dispatch, case)?;
        }
    }
    let headers = siblings(&blocks[0].header, form.midstates, 0);
    let words = pipeline.kernel.words(&headers);
    let first = 0u32.wrapping_sub(form.workgroup / 2 * form.nonces);
    // About a hundred hits, whatever the form.
    let hashes = form.granule() * u64::from(form.midstates);
    let limit = (100 * (1 << 32) / hashes.max(200)) as u32;
    let dispatch = Dispatch { first, nonces: form.granule(), limit };
    expect(device, pipeline, slot, &headers, &words, dispatch, format!("easy hits of {form}"))
}

/// The header, and others of the same job around it.
fn siblings(header: &[u8; 80], count: u32, place: u32) -> Vec<[u8; 80]> {
    let sibling = |index: u32| {
        let mut sibling = *header;
        // In bits 29 and 30 of the version.
        sibling[3] ^= ((index ^ place) << 5) as u8;
        sibling
    };
    (0..count).map(sibling).collect()
}

fn expect(
    device: &Device,
    pipeline: &Pipeline,
    slot: &mut Slot,
    headers: &[[u8; 80]],
    words: &[u32],
    dispatch: Dispatch,
    case: String,
) -> Result<(), GpuError> {
    device.submit(slot, pipeline, words, dispatch);
    let mut found = device.collect(slot, FIRST_ANSWER)?.hits;
    found.sort_unstable();
    let expected = answers(headers, dispatch);
    if found == expected { Ok(()) } else { Err(GpuError::WrongAnswer { case, expected, found }) }
}

/// What a dispatch has to find, in order, by the CPU's plain code.
fn answers(headers: &[[u8; 80]], dispatch: Dispatch) -> Vec<(u32, u32)> {
    let mut answers: Vec<(u32, u32)> = Vec::new();
    for (index, header) in (0..).zip(headers) {
        let header = Prepared::from_bytes(header);
        let nonces = (0..dispatch.nonces).map(|i| dispatch.first.wrapping_add(i as u32));
        let hit = |&nonce: &u32| header.hash(nonce).to_target().high_word() <= dispatch.limit;
        answers.extend(nonces.filter(hit).map(|nonce| (nonce, index)));
    }
    answers.sort_unstable();
    answers
}
