//! The SHA extensions: four rounds of one hash in two instructions, several hashes (streams) interleaved to hide their
//! latency.
//!
//! The instructions keep the working variables in two vectors, (a, b, e, f) and (c, d, g, h), highest lane first, and
//! the schedule four words to a vector, lowest lane first. They have no VEX form, and some CPUs take hundreds of cycles
//! for each change between them and 256-bit code: before them the registers' upper halves have to be cleared.

use core::arch::x86_64::*;

use crate::sha256d::Prepared;
use crate::sha256d::lanes::{clear_bits, note};
use crate::sha256d::scalar::{DIGEST_BITS, HEADER_BITS, IV, K, PAD, small0};

/// One vector of each stream.
type Streams<const N: usize> = [__m128i; N];

/// Schedule words 16–63 and their constants, which every stream takes alike.
type Table = [__m128i; 12];

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
struct State<const N: usize> {
    abef: Streams<N>,
    cdgh: Streams<N>,
}

/// `$value` for each stream `$i`. No closure: it would not be inlined.
macro_rules! each {
    (|$i:ident| $value:expr) => {{
        let mut values = [_mm_setzero_si128(); N];
        for $i in 0..N {
            values[$i] = $value;
        }
        values
    }};
}

/// Four rounds; `$kw` gives the constants plus schedule words of stream `$i`.
macro_rules! rounds {
    ($s:ident, |$i:ident| $kw:expr) => {
        let kw = each!(|$i| $kw);
        for i in 0..N {
            $s.cdgh[i] = _mm_sha256rnds2_epu32($s.cdgh[i], $s.abef[i], kw[i]);
        }
        for i in 0..N {
            $s.abef[i] = _mm_sha256rnds2_epu32($s.abef[i], $s.cdgh[i], _mm_shuffle_epi32::<0x0e>(kw[i]));
        }
    };
}

/// Four rounds with the words of `$w`.
macro_rules! to_rounds {
    (($s:ident), $w:ident, $group:literal) => {
        rounds!($s, |i| _mm_add_epi32($w[i], k!($group)));
    };
}

/// The words of `$w`, of the first stream, and their constants kept for later.
macro_rules! to_table {
    (($table:ident), $w:ident, $group:literal) => {
        $table[$group - 4] = _mm_add_epi32($w[0], k!($group));
    };
}

/// The next four schedule words into `$a`, from the last sixteen in `$a`, `$b`, `$c`, `$d`.
macro_rules! expand {
    ($a:ident, $b:ident, $c:ident, $d:ident) => {
        for i in 0..N {
            let sum = _mm_add_epi32(msg1::<SHIFTS>($a[i], $b[i]), _mm_alignr_epi8::<4>($d[i], $c[i]));
            $a[i] = _mm_sha256msg2_epu32(sum, $d[i]);
        }
    };
}

/// Groups 8 and following of the schedule, from groups 4–7 in `$a`, `$b`, `$c`, `$d`.
macro_rules! expand_groups {
    ($done:ident $target:tt, $a:ident, $b:ident, $c:ident, $d:ident;) => {};
    ($done:ident $target:tt, $a:ident, $b:ident, $c:ident, $d:ident; $group:literal $($more:literal)*) => {
        expand!($a, $b, $c, $d);
        $done!($target, $a, $group);
        expand_groups!($done $target, $b, $c, $d, $a; $($more)*);
    };
}

/// Words 16–63 of the first hash's second block; `$n` is word 3 of the block in each stream.
macro_rules! header_words {
    ($p:ident, $n:ident, $done:ident $target:tt) => {
        let mut w0 = each!(|i| words!($p.w16, $p.w17, $p.w18.wrapping_add(small0($n[i])), $p.w19.wrapping_add($n[i])));
        $done!($target, w0, 4);
        // Words 20–31 without the terms that are zero.
        let mut w1 = each!(|i| _mm_sha256msg2_epu32(words!(PAD, 0u32, HEADER_BITS, $p.w16), w0[i]));
        $done!($target, w1, 5);
        let mut w2 = each!(|i| _mm_sha256msg2_epu32(_mm_alignr_epi8::<4>(w1[i], w0[i]), w1[i]));
        $done!($target, w2, 6);
        let tail = words!(0u32, 0u32, small0(HEADER_BITS), $p.w31);
        let mut w3 =
            each!(|i| _mm_sha256msg2_epu32(_mm_add_epi32(tail, _mm_alignr_epi8::<4>(w2[i], w1[i])), w2[i]));
        $done!($target, w3, 7);
        expand_groups!($done $target, w0, w1, w2, w3; 8 9 10 11 12 13 14 15);
    };
}

/// `sha256msg1`, or with `SHIFTS` the same by shifts and sums modulo 2: where the SHA unit is the bottleneck, those keep
/// other ports busy instead.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn msg1<const SHIFTS: bool>(a: __m128i, b: __m128i) -> __m128i {
    if !SHIFTS {
        return _mm_sha256msg1_epu32(a, b);
    }
    let x = _mm_alignr_epi8::<4>(b, a);
    let by7 = _mm_xor_si128(_mm_srli_epi32::<7>(x), _mm_slli_epi32::<25>(x));
    let by18 = _mm_xor_si128(_mm_srli_epi32::<18>(x), _mm_slli_epi32::<14>(x));
    _mm_add_epi32(a, _mm_xor_si128(_mm_xor_si128(by7, by18), _mm_srli_epi32::<3>(x)))
}

/// Clears the upper halves of the vector registers.
#[target_feature(enable = "avx")]
pub(in crate::sha256d) fn clear_upper_halves() {
    _mm256_zeroupper();
}

/// Makes a kernel of `$streams` streams: `scan` and `scan_versions`.
macro_rules! streams_kernel {
    ($(#[$doc:meta])* $name:ident, $streams:literal, shifts: $shifts:literal, $features:literal $(, $enter:ident)?) => {
        $(#[$doc])*
        pub(in crate::sha256d) mod $name {
            use super::*;

            /// Hashes in flight at once.
            pub(in crate::sha256d) const STREAMS: usize = $streams;

            /// Tries `count` nonces from `start`, wrapping; `count` is a multiple of [`STREAMS`].
            #[target_feature(enable = $features)]
            pub(in crate::sha256d) fn scan(p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
                $( $enter(); )?
                scan_nonces::<STREAMS, $shifts>(p, start, count, limit, hits);
            }

            /// Tries `count` nonces from `start`, wrapping, with each of `headers`, a multiple of [`STREAMS`] of them,
            /// which share the second block of the first hash.
            #[target_feature(enable = $features)]
            pub(in crate::sha256d) fn scan_versions(
                headers: &[Prepared], start: u32, count: u64, limit: u32, hits: &mut Vec<(u32, u32)>,
            ) {
                $( $enter(); )?
                scan_headers::<STREAMS, $shifts>(headers, start, count, limit, hits);
            }
        }
    };
}

streams_kernel!(
    /// For every CPU with the SHA extensions.
    two, 2, shifts: false, "sha,sse4.1,ssse3"
);
streams_kernel!(
    /// For CPUs that do `sha256rnds2` every second cycle.
    three, 3, shifts: false, "sha,sse4.1,ssse3,avx", clear_upper_halves
);
streams_kernel!(
    /// For CPUs whose SHA unit is the bottleneck.
    three_shifts, 3, shifts: true, "sha,sse4.1,ssse3,avx", clear_upper_halves
);

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn scan_nonces<const N: usize, const SHIFTS: bool>(
    p: &Prepared,
    start: u32,
    count: u64,
    limit: u32,
    hits: &mut Vec<u32>,
) {
    let mask = clear_bits(limit);
    let mut base = start;
    for _ in 0..count / N as u64 {
        let mut n = [0; N];
        for (i, n) in n.iter_mut().enumerate() {
            *n = base.wrapping_add(i as u32).swap_bytes();
        }
        let mut s = State { abef: each!(|i| entry_abef(p, n[i])), cdgh: [entry_cdgh(p); N] };
        constant_rounds(&mut s);
        header_words!(p, n, to_rounds(s));
        let tops = second::<N, SHIFTS>(digest(&s, [midstate(p); N]));
        if tops.iter().any(|top| top & mask == 0) {
            note(at_most(tops, limit), hits, |stream| base.wrapping_add(stream));
        }
        base = base.wrapping_add(N as u32);
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn scan_headers<const N: usize, const SHIFTS: bool>(
    headers: &[Prepared],
    start: u32,
    count: u64,
    limit: u32,
    hits: &mut Vec<(u32, u32)>,
) {
    let Some(p) = headers.first() else { return };
    let mask = clear_bits(limit);
    let mut nonce = start;
    for _ in 0..count {
        let n = nonce.swap_bytes();
        let table = schedule::<1, SHIFTS>(p, n);
        for (first, group) in (0..).step_by(N).zip(headers.as_chunks::<N>().0) {
            let mut s =
                State { abef: each!(|i| entry_abef(&group[i], n)), cdgh: each!(|i| entry_cdgh(&group[i])) };
            constant_rounds(&mut s);
            for words in table {
                rounds!(s, |_i| words);
            }
            let mut chaining = [[_mm_setzero_si128(); 2]; N];
            for i in 0..N {
                chaining[i] = midstate(&group[i]);
            }
            let tops = second::<N, SHIFTS>(digest(&s, chaining));
            if tops.iter().any(|top| top & mask == 0) {
                note(at_most(tops, limit), hits, |stream| (first + stream, nonce));
            }
        }
        nonce = nonce.wrapping_add(1);
    }
}

/// (a, b, e, f) after round 3.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn entry_abef(p: &Prepared, n: u32) -> __m128i {
    let [a, b, _, _, e, f, ..] = p.entry;
    words!(f, e.wrapping_add(n), b, a.wrapping_add(n))
}

/// (c, d, g, h) after round 3.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn entry_cdgh(p: &Prepared) -> __m128i {
    let [_, _, c, d, _, _, g, h] = p.entry;
    words!(h, g, d, c)
}

/// The chaining value in the order of the working variables.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn midstate(p: &Prepared) -> [__m128i; 2] {
    let [a, b, c, d, e, f, g, h] = p.midstate;
    [words!(f, e, b, a), words!(h, g, d, c)]
}

/// Rounds 4–15 of the first hash.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn constant_rounds<const N: usize>(s: &mut State<N>) {
    rounds!(s, |_i| words!(K[4].wrapping_add(PAD), K[5], K[6], K[7]));
    rounds!(s, |_i| k!(2));
    rounds!(s, |_i| words!(K[12], K[13], K[14], K[15].wrapping_add(HEADER_BITS)));
}

/// Words 16–63 and their constants for one nonce.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn schedule<const N: usize, const SHIFTS: bool>(p: &Prepared, n: u32) -> Table {
    let n = [n; N];
    let mut table = [_mm_setzero_si128(); 12];
    header_words!(p, n, to_table(table));
    table
}

/// The chaining value added, and the words brought from the order of the rounds into that of the schedule.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn digest<const N: usize>(s: &State<N>, chaining: [[__m128i; 2]; N]) -> [Streams<N>; 2] {
    let abef = each!(|i| _mm_shuffle_epi32::<0x1b>(_mm_add_epi32(s.abef[i], chaining[i][0])));
    let cdgh = each!(|i| _mm_shuffle_epi32::<0xb1>(_mm_add_epi32(s.cdgh[i], chaining[i][1])));
    [each!(|i| _mm_blend_epi16::<0xf0>(abef[i], cdgh[i])), each!(|i| _mm_alignr_epi8::<8>(cdgh[i], abef[i]))]
}

/// The second hash: its last word, big-endian as SHA-256 has it.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn second<const N: usize, const SHIFTS: bool>([mut w0, mut w1]: [Streams<N>; 2]) -> [u32; N] {
    let mut s = State {
        abef: [words!(IV[5], IV[4], IV[1], IV[0]); N],
        cdgh: [words!(IV[7], IV[6], IV[3], IV[2]); N],
    };
    to_rounds!((s), w0, 0);
    to_rounds!((s), w1, 1);
    rounds!(s, |_i| words!(K[8].wrapping_add(PAD), K[9], K[10], K[11]));
    rounds!(s, |_i| words!(K[12], K[13], K[14], K[15].wrapping_add(DIGEST_BITS)));

    // Words 8–15 are padding: the terms of 16–31 that are zero are left out.
    let pad = words!(PAD, 0u32, 0u32, 0u32);
    let length = words!(0u32, 0u32, 0u32, DIGEST_BITS);
    w0 = each!(|i| _mm_sha256msg2_epu32(msg1::<SHIFTS>(w0[i], w1[i]), length));
    to_rounds!((s), w0, 4);
    w1 = each!(|i| {
        let sum = _mm_add_epi32(msg1::<SHIFTS>(w1[i], pad), _mm_alignr_epi8::<4>(w0[i], length));
        _mm_sha256msg2_epu32(sum, w0[i])
    });
    to_rounds!((s), w1, 5);
    let mut w2 =
        each!(|i| _mm_sha256msg2_epu32(_mm_add_epi32(pad, _mm_alignr_epi8::<4>(w1[i], w0[i])), w1[i]));
    to_rounds!((s), w2, 6);
    let mut w3 = each!(|i| {
        let sum = _mm_add_epi32(msg1::<SHIFTS>(length, w0[i]), _mm_alignr_epi8::<4>(w2[i], w1[i]));
        _mm_sha256msg2_epu32(sum, w2[i])
    });
    to_rounds!((s), w3, 7);
    expand_groups!(to_rounds(s), w0, w1, w2, w3; 8 9 10 11 12 13 14);
    expand!(w3, w0, w1, w2);
    // Rounds 60 and 61 make (a, b, e, f) of round 62: its f is h after round 63.
    let mut tops = [0; N];
    for (i, top) in tops.iter_mut().enumerate() {
        let abef = _mm_sha256rnds2_epu32(s.cdgh[i], s.abef[i], _mm_add_epi32(w3[i], k!(15)));
        *top = _mm_cvtsi128_si32(abef).cast_unsigned().wrapping_add(IV[7]);
    }
    tops
}

/// The streams whose hash has a top word of at most `limit`, as a bit set.
fn at_most<const N: usize>(tops: [u32; N], limit: u32) -> u32 {
    (0..N).filter(|&i| tops[i].swap_bytes() <= limit).fold(0, |set, i| set | 1 << i)
}
