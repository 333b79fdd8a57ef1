//! The SHA-2 extension: four rounds of one hash in two instructions, two hashes interleaved to hide their latency.
//!
//! The instructions keep the working variables in two vectors, (a, b, c, d) and (e, f, g, h), and the schedule four
//! words to a vector, all lowest lane first: a digest needs no reordering to become a schedule.

use core::arch::aarch64::*;

use crate::sha256d::Prepared;
use crate::sha256d::lanes::{clear_bits, note};
use crate::sha256d::scalar::{DIGEST_BITS, HEADER_BITS, IV, K, PAD, small0};

/// Hashes in flight at once.
pub(in crate::sha256d) const STREAMS: usize = 2;

/// One vector of each stream.
type Streams = [uint32x4_t; STREAMS];

/// Schedule words 16–63 and their constants, which every stream takes alike.
type Table = [uint32x4_t; 12];

/// The working variables of all streams.
struct State {
    abcd: Streams,
    efgh: Streams,
}

/// Four words, lowest lane first.
#[inline]
#[target_feature(enable = "neon")]
fn words([a, b, c, d]: [u32; 4]) -> uint32x4_t {
    let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    vcombine_u32(vcreate_u32(pair(a, b)), vcreate_u32(pair(c, d)))
}

/// The constants of rounds `4 * group` to `4 * group + 3`.
macro_rules! k {
    ($group:expr) => {
        words([K[4 * $group], K[4 * $group + 1], K[4 * $group + 2], K[4 * $group + 3]])
    };
}

/// `$value` for each stream `$i`. No closure: it would not be inlined.
macro_rules! each {
    (|$i:ident| $value:expr) => {{
        let mut values = [vdupq_n_u32(0); STREAMS];
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
        let abcd = $s.abcd;
        for i in 0..STREAMS {
            $s.abcd[i] = vsha256hq_u32(abcd[i], $s.efgh[i], kw[i]);
        }
        for i in 0..STREAMS {
            $s.efgh[i] = vsha256h2q_u32($s.efgh[i], abcd[i], kw[i]);
        }
    };
}

/// The next four schedule words into `$a`, from the last sixteen in `$a`, `$b`, `$c`, `$d`.
macro_rules! expand {
    ($a:ident, $b:ident, $c:ident, $d:ident) => {
        $a = each!(|i| vsha256su1q_u32(vsha256su0q_u32($a[i], $b[i]), $c[i], $d[i]));
    };
}

/// Four rounds with the words of `$w`.
macro_rules! to_rounds {
    (($s:ident), $w:ident, $group:literal) => {
        rounds!($s, |i| vaddq_u32($w[i], k!($group)));
    };
}

/// The words of `$w`, of the first stream, and their constants kept for later.
macro_rules! to_table {
    (($table:ident), $w:ident, $group:literal) => {
        $table[$group - 4] = vaddq_u32($w[0], k!($group));
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
        let mut w0 =
            each!(|i| words([$p.w16, $p.w17, $p.w18.wrapping_add(small0($n[i])), $p.w19.wrapping_add($n[i])]));
        $done!($target, w0, 4);
        // Words 4–15 are padding: what `su0` makes of them is constant.
        let (pad, length) = (words([PAD, 0, 0, 0]), words([0, 0, 0, HEADER_BITS]));
        let mut w1 = each!(|i| vsha256su1q_u32(pad, length, w0[i]));
        $done!($target, w1, 5);
        let mut w2 = each!(|i| vsha256su1q_u32(words([0; 4]), w0[i], w1[i]));
        $done!($target, w2, 6);
        let tail = words([0, 0, small0(HEADER_BITS), $p.w31]);
        let mut w3 = each!(|i| vsha256su1q_u32(tail, w1[i], w2[i]));
        $done!($target, w3, 7);
        expand_groups!($done $target, w0, w1, w2, w3; 8 9 10 11 12 13 14 15);
    };
}

/// Tries `count` nonces from `start`, wrapping; `count` is a multiple of [`STREAMS`].
#[target_feature(enable = "sha2")]
pub(in crate::sha256d) fn scan(p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
    let mask = clear_bits(limit);
    let mut base = start;
    for _ in 0..count / STREAMS as u64 {
        let mut n = [0; STREAMS];
        for (i, n) in n.iter_mut().enumerate() {
            *n = base.wrapping_add(i as u32).swap_bytes();
        }
        let mut s = rounds_before_schedule([p; STREAMS], n);
        header_words!(p, n, to_rounds(s));
        let tops = second(digest(&s, [p; STREAMS]));
        if tops.iter().any(|top| top & mask == 0) {
            note(at_most(tops, limit), hits, |stream| base.wrapping_add(stream));
        }
        base = base.wrapping_add(STREAMS as u32);
    }
}

/// Tries `count` nonces from `start`, wrapping, with each of `headers`, a multiple of [`STREAMS`] of them, which share
/// the second block of the first hash.
#[target_feature(enable = "sha2")]
pub(in crate::sha256d) fn scan_versions(
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
        let table = schedule(p, n);
        for (first, group) in (0..).step_by(STREAMS).zip(headers.as_chunks::<STREAMS>().0) {
            let mut s = rounds_before_schedule(group.each_ref(), [n; STREAMS]);
            for words in table {
                rounds!(s, |_i| words);
            }
            let tops = second(digest(&s, group.each_ref()));
            if tops.iter().any(|top| top & mask == 0) {
                note(at_most(tops, limit), hits, |stream| (first + stream, nonce));
            }
        }
        nonce = nonce.wrapping_add(1);
    }
}

/// The first hash from its midstate on to round 15, each stream with its header and word 3 of the block.
#[inline]
#[target_feature(enable = "sha2")]
fn rounds_before_schedule(headers: [&Prepared; STREAMS], n: [u32; STREAMS]) -> State {
    let mut s = State {
        abcd: each!(|i| {
            let [a, b, c, d, ..] = headers[i].entry;
            words([a.wrapping_add(n[i]), b, c, d])
        }),
        efgh: each!(|i| {
            let [.., e, f, g, h] = headers[i].entry;
            words([e.wrapping_add(n[i]), f, g, h])
        }),
    };
    rounds!(s, |_i| words([K[4].wrapping_add(PAD), K[5], K[6], K[7]]));
    rounds!(s, |_i| k!(2));
    rounds!(s, |_i| words([K[12], K[13], K[14], K[15].wrapping_add(HEADER_BITS)]));
    s
}

/// Words 16–63 and their constants for one nonce.
#[inline]
#[target_feature(enable = "sha2")]
fn schedule(p: &Prepared, n: u32) -> Table {
    let n = [n; STREAMS];
    let mut table = [vdupq_n_u32(0); 12];
    header_words!(p, n, to_table(table));
    table
}

/// The chaining values added: the digest's words 0–3 and 4–7.
#[inline]
#[target_feature(enable = "sha2")]
fn digest(s: &State, headers: [&Prepared; STREAMS]) -> [Streams; 2] {
    [
        each!(|i| {
            let [a, b, c, d, ..] = headers[i].midstate;
            vaddq_u32(s.abcd[i], words([a, b, c, d]))
        }),
        each!(|i| {
            let [.., e, f, g, h] = headers[i].midstate;
            vaddq_u32(s.efgh[i], words([e, f, g, h]))
        }),
    ]
}

/// The second hash: its last word, big-endian as SHA-256 has it.
#[inline]
#[target_feature(enable = "sha2")]
fn second([mut w0, mut w1]: [Streams; 2]) -> [u32; STREAMS] {
    let mut s = State {
        abcd: [words([IV[0], IV[1], IV[2], IV[3]]); STREAMS],
        efgh: [words([IV[4], IV[5], IV[6], IV[7]]); STREAMS],
    };
    to_rounds!((s), w0, 0);
    to_rounds!((s), w1, 1);
    rounds!(s, |_i| words([K[8].wrapping_add(PAD), K[9], K[10], K[11]]));
    rounds!(s, |_i| words([K[12], K[13], K[14], K[15].wrapping_add(DIGEST_BITS)]));

    let pad = [words([PAD, 0, 0, 0]); STREAMS];
    let length = [words([0, 0, 0, DIGEST_BITS]); STREAMS];
    expand!(w0, w1, pad, length);
    to_rounds!((s), w0, 4);
    expand!(w1, pad, length, w0);
    to_rounds!((s), w1, 5);
    // `su0` leaves `pad` as it is: the words after it are zero.
    let mut w2 = each!(|i| vsha256su1q_u32(pad[i], w0[i], w1[i]));
    to_rounds!((s), w2, 6);
    let mut w3 = length;
    expand!(w3, w0, w1, w2);
    to_rounds!((s), w3, 7);
    expand_groups!(to_rounds(s), w0, w1, w2, w3; 8 9 10 11 12 13 14);
    expand!(w3, w0, w1, w2);
    let mut tops = [0; STREAMS];
    for (i, top) in tops.iter_mut().enumerate() {
        let efgh = vsha256h2q_u32(s.efgh[i], s.abcd[i], vaddq_u32(w3[i], k!(15)));
        *top = vgetq_lane_u32::<3>(efgh).wrapping_add(IV[7]);
    }
    tops
}

/// The streams whose hash has a top word of at most `limit`, as a bit set.
fn at_most(tops: [u32; STREAMS], limit: u32) -> u32 {
    (0..STREAMS).filter(|&i| tops[i].swap_bytes() <= limit).fold(0, |set, i| set | 1 << i)
}
