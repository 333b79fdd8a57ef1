//! The SHA extensions and vectors side by side: first hashes by the extensions and, at the same time, the second hashes
//! of headers whose first hash is done by vectors.
//!
//! `sha256rnds2` does two rounds, of which vectors need some thirty instructions, and a CPU that starts one each cycle
//! has most of its ports left for other work beside it. So where headers share the schedule, the rounds of the first hash
//! are the extensions'; the second hash, whose schedule each has to itself, is the vectors'. What CPU gains by it is for
//! the measurement to say: see docs/kernels.md. Single headers are [`avx512`](super::avx512)'s.
//!
//! The second hash is done in four blocks of fifteen rounds (1 to 60), and beside each block goes a batch of four first
//! hashes, two steps of two rounds to a round. Batches run one ahead of what they are for, so that their digests are
//! there when the next second hash begins. Blocks with a general schedule are a loop: written out they would not fit
//! into the cache for decoded instructions.

mod block;
mod pair;

use core::arch::x86_64::*;

use self::block::StepWords;
use self::pair::*;
use crate::sha256d::Prepared;
use crate::sha256d::lanes::{ROUND_0, clear_bits, note};
use crate::sha256d::scalar::{self, DIGEST_BITS, HEADER_BITS, IV, K, PAD};

/// First hashes in a batch.
const CHAINS: usize = 4;
/// Batches whose headers fill the lanes.
const BATCHES: usize = LANES / CHAINS;
/// Rounds in a block of the second hash.
const ROUNDS: usize = 15;
/// Steps of a first hash, two rounds each: 4–63.
const STEPS: usize = 2 * ROUNDS;

/// Headers that are tried at once.
pub(in crate::sha256d) const GROUP: usize = LANES;

/// The working variables of a batch, in the order of the SHA extensions: (a, b, e, f) and (c, d, g, h), highest lane
/// first.
type Chains = [[__m128i; 2]; CHAINS];

/// Constants plus schedule words of the steps for as many nonces as there are lanes.
type Words = [[u64; LANES]; STEPS];

/// What the first hash of a header starts from: see [`Prepared`].
#[derive(Clone, Copy)]
struct Start {
    entry: [__m128i; 2],
    midstate: [__m128i; 2],
}

impl Start {
    #[target_feature(enable = "sse2")]
    fn new(p: &Prepared) -> Self {
        Self { entry: by_extension(p.entry), midstate: by_extension(p.midstate) }
    }
}

#[target_feature(enable = "sse2")]
fn by_extension(state: [u32; 8]) -> [__m128i; 2] {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    [_mm_setr_epi32(f, e, b, a), _mm_setr_epi32(h, g, d, c)]
}

/// Tries `count` nonces from `start`, wrapping, with each of `headers`, a multiple of `GROUP` of them, which share the
/// second block of the first hash.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
pub(in crate::sha256d) fn scan_versions(
    headers: &[Prepared],
    start: u32,
    count: u64,
    limit: u32,
    hits: &mut Vec<(u32, u32)>,
) {
    let Some(p) = headers.first() else { return };
    let mut starts = Vec::with_capacity(headers.len() / CHAINS);
    for [a, b, c, d] in headers.as_chunks::<CHAINS>().0 {
        starts.push([Start::new(a), Start::new(b), Start::new(c), Start::new(d)]);
    }
    let groups = (headers.len() / GROUP) as u64;
    let feed = Feed::new(p, &starts, start);
    for (group, lanes) in search(feed, count * groups, limit) {
        let first = (group % groups) as u32 * GROUP as u32;
        note(lanes, hits, |lane| (first + lane, start.wrapping_add((group / groups) as u32)));
    }
}

/// Batches one after the other: each takes the next headers, and after all of them the next nonce.
struct Feed<'a> {
    header: &'a Prepared,
    starts: &'a [[Start; CHAINS]],
    /// Of the next batch.
    at: usize,
    /// The next batch's nonce.
    nonce: u32,
    /// The nonce that `words` begin with.
    base: u32,
    /// The schedule that they are taken from.
    w: [V; 64],
    words: Words,
}

/// A batch to run.
struct Batch<'a> {
    start: &'a [Start; CHAINS],
    nonce: u32,
    words: StepWords<'a>,
}

impl<'a> Feed<'a> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn new(header: &'a Prepared, starts: &'a [[Start; CHAINS]], nonce: u32) -> Self {
        let (mut w, mut words) = (constant_words(header), [[0; LANES]; STEPS]);
        schedule(header, nonce, &mut w, &mut words);
        Self { header, starts, at: 0, nonce, base: nonce, w, words }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn next(&mut self) -> Batch<'_> {
        if self.nonce.wrapping_sub(self.base) >= LANES as u32 {
            self.base = self.nonce;
            schedule(self.header, self.base, &mut self.w, &mut self.words);
        }
        let (start, nonce) = (&self.starts[self.at], self.nonce);
        self.at += 1;
        if self.at == self.starts.len() {
            self.at = 0;
            self.nonce = nonce.wrapping_add(1);
        }
        Batch { start, nonce, words: StepWords::new(&self.words, nonce.wrapping_sub(self.base) as usize) }
    }
}

impl Batch<'_> {
    /// The working variables after round 3.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn enter(&self) -> Chains {
        let nonce = self.nonce.swap_bytes().cast_signed();
        let mut chains = [[_mm_setzero_si128(); 2]; CHAINS];
        for (i, chain) in chains.iter_mut().enumerate() {
            let [abef, cdgh] = self.start[i].entry;
            *chain = [_mm_add_epi32(abef, _mm_setr_epi32(0, nonce, 0, nonce)), cdgh];
        }
        chains
    }

    /// The digests, from the working variables after round 63.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn leave(&self, chains: Chains) -> Chains {
        let mut digests = chains;
        for (i, [abef, cdgh]) in digests.iter_mut().enumerate() {
            let midstate = self.start[i].midstate;
            *abef = _mm_add_epi32(*abef, midstate[0]);
            *cdgh = _mm_add_epi32(*cdgh, midstate[1]);
        }
        digests
    }
}

/// Runs `groups` times as many headers as there are lanes. Of each group with a hit, its number and the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn search(mut feed: Feed<'_>, groups: u64, limit: u32) -> Vec<(u64, u32)> {
    let mut found = Vec::new();
    let mask = splat(clear_bits(limit));
    let mut w = [splat(0); 64];
    (w[8], w[15]) = (splat(PAD), splat(DIGEST_BITS));
    let mut digest = [splat(0); 8];
    let mut ahead = alone(&feed.next());
    // The first time round there is no digest yet, and the last batches are for nothing.
    for group in 0..=groups {
        let (top, [a, b, c, d]) = side_by_side(&mut w, digest, &mut feed);
        if lanes_clear(top, mask) != 0 && group > 0 {
            found.push((group - 1, lanes_at_most(swap_bytes(top), limit)));
        }
        digest = transpose([ahead, a, b, c]);
        ahead = d;
    }
    found
}

/// A batch with nothing beside it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn alone(batch: &Batch<'_>) -> Chains {
    let mut chains = batch.enter();
    for round in 0..ROUNDS {
        let words = |step| _mm_set_epi64x(0, batch.words.get(step).cast_signed());
        for [abef, cdgh] in &mut chains {
            // What was (a, b, e, f) becomes (c, d, g, h).
            *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, words(2 * round));
            *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, words(2 * round + 1));
        }
    }
    batch.leave(chains)
}

/// The second hash of `digest` beside four batches: its last word, and the batches' digests. Byte-swapped that word is
/// the hash's top word. `w` is room for the schedule.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn side_by_side(w: &mut [V; 64], digest: [V; 8], feed: &mut Feed<'_>) -> (V, [Chains; BATCHES]) {
    let [w0, w1, ..] = digest;
    w[..8].copy_from_slice(&digest);
    w[16] = add(small0(w1), w0);
    let mut s = [
        add(w0, splat(ROUND_0[0])),
        splat(IV[0]),
        splat(IV[1]),
        splat(IV[2]),
        add(w0, splat(ROUND_0[1])),
        splat(IV[4]),
        splat(IV[5]),
        add(w1, splat(IV[6].wrapping_add(K[1]))),
    ];
    let mut done = [[[_mm_setzero_si128(); 2]; CHAINS]; BATCHES];
    for (block, done) in done.iter_mut().enumerate() {
        let batch = feed.next();
        let mut chains = batch.enter();
        s = if block == 0 {
            block::first(s, &mut chains, w.first_chunk().expect("more words"), batch.words)
        } else {
            let t = 1 + block * ROUNDS;
            let w = w[t - 16..].first_chunk_mut().expect("more words");
            block::later(s, &mut chains, w, t, batch.words)
        };
        *done = batch.leave(chains);
    }
    // After round 63 the `e` of round 61 is `h`.
    (add(s[4], splat(IV[7])), done)
}

/// The digests of four batches, words 0–7 of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn transpose(batches: [Chains; BATCHES]) -> [V; 8] {
    let [f, e, b, a] = columns(batches.map(|chains| chains.map(|chain| chain[0])));
    let [h, g, d, c] = columns(batches.map(|chains| chains.map(|chain| chain[1])));
    [a, b, c, d, e, f, g, h]
}

/// The first hash's schedule for as many nonces as there are lanes: its words that no nonce changes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn constant_words(p: &Prepared) -> [V; 64] {
    let mut w = [splat(0); 64];
    (w[4], w[15], w[16], w[17]) = (splat(PAD), splat(HEADER_BITS), splat(p.w16), splat(p.w17));
    w
}

/// The words of the first hash's steps for the nonces from `base`. `w` is from [`constant_words`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn schedule(p: &Prepared, base: u32, w: &mut [V; 64], words: &mut Words) {
    let n = swap_bytes(add(splat(base), iota()));
    w[18] = add(small0(n), splat(p.w18));
    w[19] = add(n, splat(p.w19));
    w[20] = add(small1(w[18]), splat(PAD));
    w[21] = small1(w[19]);
    w[22] = add(small1(w[20]), splat(HEADER_BITS));
    for t in 23..30 {
        w[t] = add(small1(w[t - 2]), w[t - 7]);
    }
    w[30] = add(add(small1(w[28]), w[23]), splat(scalar::small0(HEADER_BITS)));
    w[31] = add(add(small1(w[29]), w[24]), splat(p.w31));
    w[32] = add(add(small1(w[30]), w[25]), splat(p.w32));
    w[33] = add(add(small1(w[31]), w[26]), add(small0(w[18]), splat(p.w17)));
    let (mut even, mut odd) = (w[32], w[33]);
    for t in (34..64).step_by(2) {
        even = add(add(add(small0(w[t - 15]), w[t - 16]), w[t - 7]), small1(even));
        odd = add(add(add(small0(w[t - 14]), w[t - 15]), w[t - 6]), small1(odd));
        (w[t], w[t + 1]) = (even, odd);
    }
    for (step, words) in words.iter_mut().enumerate() {
        let t = 4 + 2 * step;
        *words = pairs(add(w[t], splat(K[t])), add(w[t + 1], splat(K[t + 1])));
    }
}
