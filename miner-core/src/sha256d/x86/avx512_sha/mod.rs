//! The SHA extensions and vectors side by side: rounds by the extensions and, at the same time, the message schedules of
//! other hashes by vectors.
//!
//! `sha256rnds2` does two rounds, of which vectors need some thirty instructions; the extensions' schedule instructions
//! are worth less and keep `sha256rnds2` waiting. So vectors make the words of many hashes at once, and each hash's rounds
//! take them from memory. What a CPU gains by it is for the measurement to say: see docs/kernels.md.
//!
//! Twenty-four headers are a group. A header's first hash is rounds 4–63, the second one rounds 1–60: thirty steps of two
//! rounds, in three [turns](turn) of ten. While the first hashes of a group are in their turns, six at a time, vectors make
//! the words of the second hashes of the group before; while those are in theirs, the words for the first hashes of the
//! next group.

mod turn;
mod vectors;

use core::arch::x86_64::*;

use self::turn::{Chains, Expansion, MADE, Row, Taken};
use self::vectors::*;
use crate::sha256d::Prepared;
use crate::sha256d::lanes::{ROUND_0, clear_bits, note};
use crate::sha256d::scalar::{DIGEST_BITS, HEADER_BITS, IV, K, PAD};

/// Headers in a group.
pub(in crate::sha256d) const LANES: usize = 24;
/// Rows of a schedule: one for each step, and two that turns make of words beyond the last one needed.
const ROWS: usize = 32;
/// The word that is the nonce.
const NONCE: usize = 3;
/// The working variables of a second hash after round 0, but for its word, which is added to `a` and `e`.
const AFTER_0: [u32; 8] = [ROUND_0[0], IV[0], IV[1], IV[2], ROUND_0[1], IV[4], IV[5], IV[6]];

/// What the first hashes of a group start from: see [`Prepared`].
struct Group {
    /// The working variables after round 3 with nonce 0: (a, b, e, f).
    abef: [__m128i; LANES],
    cdgh: [__m128i; LANES],
    midstate: [V; 8],
}

impl Group {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn new(headers: [&Prepared; LANES]) -> Self {
        let zero = _mm_setzero_si128();
        let (mut abef, mut cdgh, mut midstates) = ([zero; LANES], [zero; LANES], [[0; LANES]; 8]);
        for (lane, header) in headers.into_iter().enumerate() {
            let [a, b, c, d, e, f, g, h] = header.entry.map(u32::cast_signed);
            (abef[lane], cdgh[lane]) = (_mm_setr_epi32(f, e, b, a), _mm_setr_epi32(h, g, d, c));
            for (words, word) in midstates.iter_mut().zip(header.midstate) {
                words[lane] = word;
            }
        }
        let mut midstate = [splat(0); 8];
        for (vector, words) in midstate.iter_mut().zip(midstates) {
            *vector = gather(words);
        }
        Self { abef, cdgh, midstate }
    }
}

/// Tries `count` nonces from `start`, wrapping; `count` is a multiple of `LANES`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
pub(in crate::sha256d) fn scan(p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
    let groups = [Group::new([p; LANES])];
    for (group, lanes) in search::<false>(p, &groups, start, count / LANES as u64, limit) {
        note(lanes, hits, |lane| start.wrapping_add(group as u32 * LANES as u32 + lane));
    }
}

/// Tries `count` nonces from `start`, wrapping, with each of `headers`, a multiple of `LANES` of them, which share the
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
    let mut groups = Vec::with_capacity(headers.len() / LANES);
    for headers in headers.as_chunks().0 {
        groups.push(Group::new(headers.each_ref()));
    }
    let versions = groups.len() as u64;
    for (group, lanes) in search::<true>(p, &groups, start, count * versions, limit) {
        let first = (group % versions) as u32 * LANES as u32;
        note(lanes, hits, |lane| (first + lane, start.wrapping_add((group / versions) as u32)));
    }
}

/// What the search works on: most of the first cache. Where it lies decides what is driven out of it, so that is always the
/// same.
#[repr(C, align(4096))]
struct Work {
    first: Schedule,
    second: Schedule,
    /// Working variables of first hashes after round 3: (a, b, e, f).
    entered: [__m128i; LANES],
    /// After round 63: (a, b, e, f) and (c, d, g, h).
    of_first: [[__m128i; LANES]; 2],
    /// Those of second hashes after round 0.
    begun: [[__m128i; LANES]; 2],
    /// After round 60.
    ended: [[__m128i; LANES]; 2],
}

/// Runs `count` groups of headers, of each with a hit returns its number and the lanes. With `SHARED` a group has one
/// nonce, and all of `groups` have their turn before the next nonce; otherwise there is one, and each lane has a nonce.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn search<const SHARED: bool>(
    p: &Prepared,
    groups: &[Group],
    nonce: u32,
    count: u64,
    limit: u32,
) -> Vec<(u64, u32)> {
    let mut found = Vec::new();
    let clear = splat(clear_bits(limit));
    let nothing = [_mm_setzero_si128(); LANES];
    let [_, _, c, d, _, _, g, h] = AFTER_0.map(u32::cast_signed);
    let mut work = Work {
        first: Schedule::of_first(p),
        second: Schedule::of_second(),
        entered: nothing,
        of_first: [nothing; 2],
        begun: [nothing, [_mm_setr_epi32(h, g, d, c); LANES]],
        ended: [nothing; 2],
    };
    let mut feed = Feed { groups, at: 0, nonce, base: nonce };
    work.first.w[NONCE] = nonces(nonce);
    work.expand_first();
    work.enter::<SHARED>(&feed);
    // The first time round there is no digest yet, and the last time round there are headers for nothing.
    for group in 0..=count {
        let headers = &groups[feed.at];
        work.first_hashes::<SHARED>(headers, feed.nonce.wrapping_sub(feed.base) as usize);
        let more = feed.next::<SHARED>();
        if more {
            work.first.w[NONCE] = nonces(feed.base);
        }
        work.enter::<SHARED>(&feed);
        work.second_hashes(more);
        work.take_digests(&headers.midstate);
        let lanes = lanes_at_most(&work.ended[0], limit, clear);
        if lanes != 0 && group > 0 {
            found.push((group - 1, lanes));
        }
    }
    found
}

impl Work {
    /// What the first hashes of the next group begin with: the nonce adds to `a` and `e`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn enter<const SHARED: bool>(&mut self, feed: &Feed<'_>) {
        let nonce = feed.nonce.swap_bytes().cast_signed();
        let mut added = [_mm_setr_epi32(0, nonce, 0, nonce); LANES];
        if !SHARED {
            let nonces = nonces(feed.nonce);
            rows([splat(0), nonces, splat(0), nonces], &mut added);
        }
        for (lane, entered) in self.entered.iter_mut().enumerate() {
            *entered = _mm_add_epi32(feed.groups[feed.at].abef[lane], added[lane]);
        }
    }

    /// The first hashes of a group, and the words of the second hashes of the group before. With `SHARED` all take the words
    /// of lane `lane`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn first_hashes<const SHARED: bool>(&mut self, headers: &Group, lane: usize) {
        let Self { first, second, entered, of_first, .. } = self;
        let chains = Chains { before: [entered, &headers.cdgh], after: of_first.each_mut() };
        if SHARED {
            turn::shared(chains, first.taken(), lane, second.beside());
        } else {
            turn::own(chains, first.taken(), second.beside());
        }
    }

    /// The second hashes of the group before, and the words of the first hashes of the next group, if it takes `more` of
    /// them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn second_hashes(&mut self, more: bool) {
        let Self { first, second, begun, ended, .. } = self;
        let chains = Chains { before: begun.each_ref(), after: ended.each_mut() };
        if more {
            turn::own(chains, second.taken(), first.beside());
        } else {
            turn::alone(chains, second.taken());
        }
    }

    /// Makes the words of the first hashes, beside steps that are for nothing.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn expand_first(&mut self) {
        let Self { first, second, begun, ended, .. } = self;
        let chains = Chains { before: begun.each_ref(), after: ended.each_mut() };
        turn::own(chains, second.taken(), first.beside());
    }

    /// The digests of first hashes: what second hashes are made of, and the working variables that those begin with.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn take_digests(&mut self, midstate: &[V; 8]) {
        let ([f, e, b, a], [h, g, d, c]) = (columns(&self.of_first[0]), columns(&self.of_first[1]));
        let mut digest = [a, b, c, d, e, f, g, h];
        for (word, midstate) in digest.iter_mut().zip(midstate) {
            *word = add(*word, *midstate);
        }
        let [w0, w1, w2, w3, w4, w5, w6, w7] = digest;
        let w16 = add(small0(w1), w0);
        for (to, word) in self.second.w.iter_mut().zip([w1, w2, w3, w4, w5, w6, w7]) {
            *to = word;
        }
        self.second.w[15] = w16;
        self.second.set_row(0, 1, w1, w2);
        self.second.set_row(1, 3, w3, w4);
        self.second.set_row(2, 5, w5, w6);
        self.second.set_row(3, 7, w7, splat(PAD));
        self.second.set_row(7, 15, splat(DIGEST_BITS), w16);
        let [a, b, _, _, e, f, ..] = AFTER_0;
        rows([splat(f), add(splat(e), w0), splat(b), add(splat(a), w0)], &mut self.begun[0]);
    }
}

/// Whose turn it is: which group and which nonce, or the first of the nonces.
struct Feed<'a> {
    groups: &'a [Group],
    at: usize,
    nonce: u32,
    /// The nonce of lane 0 in the schedule of the first hashes.
    base: u32,
}

impl Feed<'_> {
    /// Goes on to the next group; whether that takes the schedule of other nonces, from `base` on.
    #[inline]
    fn next<const SHARED: bool>(&mut self) -> bool {
        self.at += 1;
        if self.at == self.groups.len() {
            self.at = 0;
            self.nonce = self.nonce.wrapping_add(if SHARED { 1 } else { LANES as u32 });
        }
        let more = self.nonce.wrapping_sub(self.base) >= LANES as u32;
        if more {
            self.base = self.nonce;
        }
        more
    }
}

/// The rounds' words of as many hashes as there are lanes.
#[repr(C, align(64))]
struct Schedule {
    /// Sixteen words from the first that is still needed on, and those that turns make of them.
    w: [V; 16 + MADE],
    /// The words and their constants, a row for a step.
    rows: [Row; ROWS],
    /// Constants of the rounds of the words that turns make.
    k: [u32; MADE],
    /// The row of the first words that turns make.
    made: usize,
}

impl Schedule {
    /// Of first hashes, whose steps begin with word 4.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn of_first(p: &Prepared) -> Self {
        let mut schedule = Self::new(16, 6);
        let [w0, w1, w2] = p.tail;
        for (t, w) in [(0, w0), (1, w1), (2, w2), (4, PAD), (15, HEADER_BITS)] {
            schedule.w[t] = splat(w);
        }
        for row in 0..6 {
            let t = 4 + 2 * row;
            schedule.set_row(row, t, schedule.w[t], schedule.w[t + 1]);
        }
        schedule
    }

    /// Of second hashes, whose steps begin with word 1. Words are one place lower, since turns need word 0 no more.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn of_second() -> Self {
        let mut schedule = Self::new(17, 8);
        (schedule.w[7], schedule.w[14]) = (splat(PAD), splat(DIGEST_BITS));
        for row in [4, 5, 6] {
            schedule.set_row(row, 1 + 2 * row, splat(0), splat(0));
        }
        schedule
    }

    /// Turns make the words from `word` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn new(word: usize, made: usize) -> Self {
        let mut k = [0; MADE];
        for (k, round) in k.iter_mut().zip(&K[word..]) {
            *k = *round;
        }
        let zero = splat(0);
        Self { w: [zero; 16 + MADE], rows: [pairs(zero, zero); ROWS], k, made }
    }

    /// Has words `t` and `t + 1` taken by the step of a row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
    fn set_row(&mut self, row: usize, t: usize, even: V, odd: V) {
        self.rows[row] = pairs(add(even, splat(K[t])), add(odd, splat(K[t + 1])));
    }

    /// What turns make.
    #[inline]
    fn beside(&mut self) -> Expansion<'_> {
        let rows = self.rows[self.made..].first_chunk_mut().expect("as many rows as there are words");
        Expansion { w: &mut self.w, k: &self.k, rows }
    }

    /// What steps take.
    #[inline]
    fn taken(&self) -> &Taken {
        self.rows.first_chunk().expect("more rows")
    }
}

/// The lanes whose hash has a top word of at most `limit`, from their working variables after round 60. After round 63 that
/// `e` is `h`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
fn lanes_at_most(ended: &[__m128i; LANES], limit: u32, clear: V) -> u32 {
    let [_, e, ..] = columns(ended);
    if !any_clear(add(e, splat(IV[7])), clear) {
        return 0;
    }
    let mut lanes = 0;
    for (lane, abef) in ended.iter().enumerate() {
        let h = _mm_extract_epi32::<1>(*abef).cast_unsigned().wrapping_add(IV[7]);
        lanes |= u32::from(h.swap_bytes() <= limit) << lane;
    }
    lanes
}
