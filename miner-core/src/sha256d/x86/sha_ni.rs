//! The SHA extensions: four rounds of one hash in two instructions, two hashes interleaved to hide their latency.
//!
//! The instructions keep the working variables in two vectors, (a, b, e, f) and (c, d, g, h), highest lane first, and
//! the schedule four words to a vector, lowest lane first.

use core::arch::x86_64::*;

use crate::sha256d::Prepared;
use crate::sha256d::lanes::{clear_bits, note};
use crate::sha256d::scalar::{DIGEST_BITS, HEADER_BITS, IV, K, PAD, small0};

/// Hashes in flight at once.
pub(in crate::sha256d) const STREAMS: usize = 2;

/// One vector of each stream.
type Streams = [__m128i; STREAMS];

/// Four words, lowest lane first.
macro_rules! words {
    ($a:expr, $b:expr, $c:expr, $d:expr) => {
        _mm_setr_epi32($a.cast_signed(), $b.cast_signed(), $c.cast_signed(), $d.cast_signed())
    };
}

/// The constants of rounds `4 * group` to `4 * group + 3`.
macro_rules! k {
    ($group:expr) => {
        words!(K[4 * $group], K[4 * $group + 1], K[4 * $group + 2], K[4 * $group + 3])
    };
}

/// The working variables of all streams.
struct State {
    abef: Streams,
    cdgh: Streams,
}

/// `$value` for each stream `$i`. No closure: it would not be inlined.
macro_rules! each {
    (|$i:ident| $value:expr) => {{
        let mut values = [_mm_setzero_si128(); STREAMS];
        for $i in 0..STREAMS {
            values[$i] = $value;
        }
        values
    }};
}

/// Four rounds; `$kw` gives the constants plus schedule words of stream `$i`.
macro_rules! rounds {
    ($s:ident, |$i:ident| $kw:expr) => {
        let kw = each!(|$i| $kw);
        for i in 0..STREAMS {
            $s.cdgh[i] = _mm_sha256rnds2_epu32($s.cdgh[i], $s.abef[i], kw[i]);
        }
        for i in 0..STREAMS {
            $s.abef[i] = _mm_sha256rnds2_epu32($s.abef[i], $s.cdgh[i], _mm_shuffle_epi32::<0x0e>(kw[i]));
        }
    };
}

/// The next four schedule words into `$a`, from the last sixteen in `$a`, `$b`, `$c`, `$d`.
macro_rules! expand {
    ($a:ident, $b:ident, $c:ident, $d:ident) => {
        for i in 0..STREAMS {
            let sum = _mm_add_epi32(_mm_sha256msg1_epu32($a[i], $b[i]), _mm_alignr_epi8::<4>($d[i], $c[i]));
            $a[i] = _mm_sha256msg2_epu32(sum, $d[i]);
        }
    };
}

/// [`expand!`] and the four rounds that use it.
macro_rules! expand_rounds {
    ($s:ident, $a:ident, $b:ident, $c:ident, $d:ident, $group:literal) => {
        expand!($a, $b, $c, $d);
        rounds!($s, |i| _mm_add_epi32($a[i], k!($group)));
    };
}

/// Before a run of these instructions: they cost hundreds of cycles more while the upper halves of the vector
/// registers are in use.
#[target_feature(enable = "avx")]
pub(in crate::sha256d) fn clear_upper_halves() {
    _mm256_zeroupper();
}

/// Tries `count` nonces from `start`, wrapping; `count` is a multiple of [`STREAMS`].
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(in crate::sha256d) fn scan(p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
    let mask = clear_bits(limit);
    let mut base = start;
    for _ in 0..count / STREAMS as u64 {
        let tops = second(first(p, base));
        if tops.iter().any(|top| top & mask == 0) {
            let lanes =
                (0..STREAMS).filter(|&i| tops[i].swap_bytes() <= limit).fold(0, |set, i| set | 1 << i);
            note(lanes, base, hits);
        }
        base = base.wrapping_add(STREAMS as u32);
    }
}

/// The first hash from its midstate on, for nonces `base` and following: the digest's words 0–3 and 4–7.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn first(p: &Prepared, base: u32) -> [Streams; 2] {
    let [a, b, c, d, e, f, g, h] = p.entry;
    let mut n = [0; STREAMS];
    for (i, n) in n.iter_mut().enumerate() {
        *n = base.wrapping_add(i as u32).swap_bytes();
    }
    let mut s = State {
        abef: each!(|i| words!(f, e.wrapping_add(n[i]), b, a.wrapping_add(n[i]))),
        cdgh: [words!(h, g, d, c); STREAMS],
    };
    rounds!(s, |_i| words!(K[4].wrapping_add(PAD), K[5], K[6], K[7]));
    rounds!(s, |_i| k!(2));
    rounds!(s, |_i| words!(K[12], K[13], K[14], K[15].wrapping_add(HEADER_BITS)));

    let mut w0 = each!(|i| words!(p.w16, p.w17, p.w18.wrapping_add(small0(n[i])), p.w19.wrapping_add(n[i])));
    rounds!(s, |i| _mm_add_epi32(w0[i], k!(4)));
    // Words 20–31 without the terms that are zero.
    let mut w1 = each!(|i| _mm_sha256msg2_epu32(words!(PAD, 0u32, HEADER_BITS, p.w16), w0[i]));
    rounds!(s, |i| _mm_add_epi32(w1[i], k!(5)));
    let mut w2 = each!(|i| _mm_sha256msg2_epu32(_mm_alignr_epi8::<4>(w1[i], w0[i]), w1[i]));
    rounds!(s, |i| _mm_add_epi32(w2[i], k!(6)));
    let tail = words!(0u32, 0u32, small0(HEADER_BITS), p.w31);
    let mut w3 =
        each!(|i| _mm_sha256msg2_epu32(_mm_add_epi32(tail, _mm_alignr_epi8::<4>(w2[i], w1[i])), w2[i]));
    rounds!(s, |i| _mm_add_epi32(w3[i], k!(7)));
    expand_rounds!(s, w0, w1, w2, w3, 8);
    expand_rounds!(s, w1, w2, w3, w0, 9);
    expand_rounds!(s, w2, w3, w0, w1, 10);
    expand_rounds!(s, w3, w0, w1, w2, 11);
    expand_rounds!(s, w0, w1, w2, w3, 12);
    expand_rounds!(s, w1, w2, w3, w0, 13);
    expand_rounds!(s, w2, w3, w0, w1, 14);
    expand_rounds!(s, w3, w0, w1, w2, 15);
    digest(&s, p.midstate)
}

/// The chaining value added, and the words brought from the order of the rounds into that of the schedule.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn digest(s: &State, [a, b, c, d, e, f, g, h]: [u32; 8]) -> [Streams; 2] {
    let abef = each!(|i| _mm_shuffle_epi32::<0x1b>(_mm_add_epi32(s.abef[i], words!(f, e, b, a))));
    let cdgh = each!(|i| _mm_shuffle_epi32::<0xb1>(_mm_add_epi32(s.cdgh[i], words!(h, g, d, c))));
    [each!(|i| _mm_blend_epi16::<0xf0>(abef[i], cdgh[i])), each!(|i| _mm_alignr_epi8::<8>(cdgh[i], abef[i]))]
}

/// The second hash: its last word, big-endian as SHA-256 has it.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn second([mut w0, mut w1]: [Streams; 2]) -> [u32; STREAMS] {
    let mut s = State {
        abef: [words!(IV[5], IV[4], IV[1], IV[0]); STREAMS],
        cdgh: [words!(IV[7], IV[6], IV[3], IV[2]); STREAMS],
    };
    rounds!(s, |i| _mm_add_epi32(w0[i], k!(0)));
    rounds!(s, |i| _mm_add_epi32(w1[i], k!(1)));
    rounds!(s, |_i| words!(K[8].wrapping_add(PAD), K[9], K[10], K[11]));
    rounds!(s, |_i| words!(K[12], K[13], K[14], K[15].wrapping_add(DIGEST_BITS)));

    // Words 8–15 are padding: the terms of 16–31 that are zero are left out.
    let pad = words!(PAD, 0u32, 0u32, 0u32);
    let length = words!(0u32, 0u32, 0u32, DIGEST_BITS);
    w0 = each!(|i| _mm_sha256msg2_epu32(_mm_sha256msg1_epu32(w0[i], w1[i]), length));
    rounds!(s, |i| _mm_add_epi32(w0[i], k!(4)));
    w1 = each!(|i| {
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w1[i], pad), _mm_alignr_epi8::<4>(w0[i], length));
        _mm_sha256msg2_epu32(sum, w0[i])
    });
    rounds!(s, |i| _mm_add_epi32(w1[i], k!(5)));
    let mut w2 =
        each!(|i| _mm_sha256msg2_epu32(_mm_add_epi32(pad, _mm_alignr_epi8::<4>(w1[i], w0[i])), w1[i]));
    rounds!(s, |i| _mm_add_epi32(w2[i], k!(6)));
    let mut w3 = each!(|i| {
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(length, w0[i]), _mm_alignr_epi8::<4>(w2[i], w1[i]));
        _mm_sha256msg2_epu32(sum, w2[i])
    });
    rounds!(s, |i| _mm_add_epi32(w3[i], k!(7)));
    expand_rounds!(s, w0, w1, w2, w3, 8);
    expand_rounds!(s, w1, w2, w3, w0, 9);
    expand_rounds!(s, w2, w3, w0, w1, 10);
    expand_rounds!(s, w3, w0, w1, w2, 11);
    expand_rounds!(s, w0, w1, w2, w3, 12);
    expand_rounds!(s, w1, w2, w3, w0, 13);
    expand_rounds!(s, w2, w3, w0, w1, 14);
    expand!(w3, w0, w1, w2);
    // Rounds 60 and 61 make (a, b, e, f) of round 62: its f is h after round 63.
    let mut tops = [0; STREAMS];
    for (i, top) in tops.iter_mut().enumerate() {
        let abef = _mm_sha256rnds2_epu32(s.cdgh[i], s.abef[i], _mm_add_epi32(w3[i], k!(15)));
        *top = _mm_cvtsi128_si32(abef).cast_unsigned().wrapping_add(IV[7]);
    }
    tops
}
