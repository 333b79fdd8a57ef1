//! The kernel algorithm, once, for vectors of any width: each lane tries one nonce.
//!
//! [`lanes_kernel!`] makes a `scan` in a module that offers a vector type `V` of `LANES` words and these operations on
//! it: `splat`, `add`, `big0`, `big1`, `small0`, `small1` (Σ0, Σ1, σ0, σ1), `ch`, `maj`, `swap_bytes`, `iota` (lane
//! numbers), `lanes_clear(v, mask)` and `lanes_at_most(v, limit)` (bit sets of lanes). They are macros rather than
//! a trait because a safe `#[target_feature]` function cannot stand in one.
//!
//! What is spared against two whole compressions:
//! - the first 64 bytes (midstate), rounds 0–3 of the second block, schedule words 16, 17 and the constant terms of 18,
//!   19, 31–33: in [`Prepared`](super::Prepared);
//! - terms of the schedule that are zero or constant padding: added into a neighbouring constant or left out;
//! - of the second hash round 0 but for one word, and rounds 61–63, and the `a` half of rounds 57–60: the word that
//!   holds the leading zeros is known after round 60.

use super::scalar::{IV, K, big0, big1, ch, maj};

/// The two words that round 0 of the second hash makes new, without the schedule word.
pub(super) const ROUND_0: [u32; 2] = {
    let t1 = IV[7].wrapping_add(big1(IV[4])).wrapping_add(ch(IV[4], IV[5], IV[6])).wrapping_add(K[0]);
    let t2 = big0(IV[0]).wrapping_add(maj(IV[0], IV[1], IV[2]));
    [t1.wrapping_add(t2), t1.wrapping_add(IV[3])]
};

/// Where working variable `x` (0 = a … 7 = h) lies in round `t`: the names rotate, the values stay.
#[inline(always)]
pub(super) const fn slot(x: usize, t: usize) -> usize {
    (x + 64 - t) % 8
}

/// The bits of a kernel's last word (not byte-swapped) that are clear wherever the hash's top word is at most `limit`.
pub(super) fn clear_bits(limit: u32) -> u32 {
    let below = u32::MAX.checked_shr(limit.leading_zeros()).unwrap_or(0);
    (!below).swap_bytes()
}

/// Notes the hits of one vector of nonces. Rare, hence kept out of the loop.
#[cold]
#[inline(never)]
pub(super) fn note(mut lanes: u32, first: u32, hits: &mut Vec<u32>) {
    while lanes != 0 {
        hits.push(first.wrapping_add(lanes.trailing_zeros()));
        lanes &= lanes - 1;
    }
}

/// Round `t` on `s`. Without `kw`, `h` holds `h + K + W` already.
macro_rules! round {
    ($s:ident, $t:expr) => {
        let (a, b, c) = ($s[slot(0, $t)], $s[slot(1, $t)], $s[slot(2, $t)]);
        half_round!($s, $t, t1);
        $s[slot(7, $t)] = add(t1, add(big0(a), maj(a, b, c)));
    };
    ($s:ident, $t:expr, $kw:expr) => {
        $s[slot(7, $t)] = add($s[slot(7, $t)], $kw);
        round!($s, $t);
    };
}

/// The `e` half of round `t`; leaves T1 in `t1`.
macro_rules! half_round {
    ($s:ident, $t:expr, $t1:ident) => {
        let (e, f, g, h) = ($s[slot(4, $t)], $s[slot(5, $t)], $s[slot(6, $t)], $s[slot(7, $t)]);
        let $t1 = add(add(h, ch(e, f, g)), big1(e));
        $s[slot(3, $t)] = add($s[slot(3, $t)], $t1);
    };
}

/// Rounds whose schedule word is constant.
macro_rules! constant_rounds {
    ($s:ident; $($t:literal: $w:expr),+) => { $( round!($s, $t, splat(K[$t].wrapping_add($w))); )+ };
}

/// Rounds whose schedule word is first computed by its own short formula.
macro_rules! short_rounds {
    ($s:ident, $w:ident; $($t:literal: $formula:expr),+) => {
        $(
            $w[$t % 16] = $formula;
            round!($s, $t, add($w[$t % 16], splat(K[$t])));
        )+
    };
}

/// Rounds whose schedule word follows the general formula.
macro_rules! full_rounds {
    ($s:ident, $w:ident; $($t:literal)+) => {
        $(
            expand!($w, $t);
            round!($s, $t, add($w[$t % 16], splat(K[$t])));
        )+
    };
}

/// Rounds of which only the `e` half is needed.
macro_rules! half_rounds {
    ($s:ident, $w:ident; $($t:literal)+) => {
        $(
            expand!($w, $t);
            $s[slot(7, $t)] = add($s[slot(7, $t)], add($w[$t % 16], splat(K[$t])));
            half_round!($s, $t, _t1);
        )+
    };
}

/// Schedule word `t` by the general formula.
macro_rules! expand {
    ($w:ident, $t:expr) => {
        $w[$t % 16] = add(
            add(small1($w[($t + 14) % 16]), $w[($t + 9) % 16]),
            add(small0($w[($t + 1) % 16]), $w[$t % 16]),
        );
    };
}

/// Makes `scan`. Its attributes name the instruction set.
macro_rules! lanes_kernel {
    ($(#[$feature:meta])*) => {
        use $crate::sha256d::Prepared;
        use $crate::sha256d::lanes::{ROUND_0, clear_bits, note, slot};
        use $crate::sha256d::lanes::{
            constant_rounds, expand, full_rounds, half_round, half_rounds, round, short_rounds,
        };
        use $crate::sha256d::scalar::{self, DIGEST_BITS, HEADER_BITS, IV, K, PAD};

        /// Tries `count` nonces from `start`, wrapping; `count` is a multiple of `LANES`.
        $(#[$feature])*
        pub(in $crate::sha256d) fn scan(p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
            let mask = splat(clear_bits(limit));
            let mut base = start;
            let mut nonces = add(splat(start), iota());
            for _ in 0..count / LANES {
                let top = second(first(p, swap_bytes(nonces)));
                if lanes_clear(top, mask) != 0 {
                    note(lanes_at_most(swap_bytes(top), limit), base, hits);
                }
                base = base.wrapping_add(LANES as u32);
                nonces = add(nonces, splat(LANES as u32));
            }
        }

        /// The first hash from its midstate on: the digest's words. `n` is word 3 of the block.
        #[inline]
        $(#[$feature])*
        fn first(p: &Prepared, n: V) -> [V; 8] {
            let [a, b, c, d, e, f, g, _] = p.entry;
            // In the slots of round 4.
            let mut s = [
                add(splat(e), n), splat(f), splat(g), splat(p.entry_h[0]),
                add(splat(a), n), splat(b), splat(c), splat(d),
            ];
            round!(s, 4);
            s[slot(7, 5)] = splat(p.entry_h[1]);
            round!(s, 5);
            s[slot(7, 6)] = splat(p.entry_h[2]);
            round!(s, 6);
            constant_rounds!(s; 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 13: 0, 14: 0, 15: HEADER_BITS);
            constant_rounds!(s; 16: p.w16, 17: p.w17);

            let mut w = [splat(0); 16];
            short_rounds!(s, w;
                18: add(small0(n), splat(p.w18)),
                19: add(n, splat(p.w19)),
                20: add(small1(w[2]), splat(PAD)),
                21: small1(w[3]),
                22: add(small1(w[4]), splat(HEADER_BITS)),
                23: add(small1(w[5]), splat(p.w16)),
                24: add(small1(w[6]), splat(p.w17)),
                25: add(small1(w[7]), w[2]),
                26: add(small1(w[8]), w[3]),
                27: add(small1(w[9]), w[4]),
                28: add(small1(w[10]), w[5]),
                29: add(small1(w[11]), w[6]),
                30: add(add(small1(w[12]), w[7]), splat(scalar::small0(HEADER_BITS))),
                31: add(add(small1(w[13]), w[8]), splat(p.w31)),
                32: add(add(small1(w[14]), w[9]), splat(p.w32)),
                33: add(add(small1(w[15]), w[10]), add(small0(w[2]), splat(p.w17)))
            );
            full_rounds!(s, w; 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48);
            full_rounds!(s, w; 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
            for i in 0..8 {
                s[i] = add(s[i], splat(p.midstate[i]));
            }
            s
        }

        /// The second hash: its last word, big-endian as SHA-256 has it. Byte-swapped it is the hash's top word.
        #[inline]
        $(#[$feature])*
        fn second(digest: [V; 8]) -> V {
            let zero = splat(0);
            let [w0, w1, w2, w3, w4, w5, w6, w7] = digest;
            let mut w = [w0, w1, w2, w3, w4, w5, w6, w7, zero, zero, zero, zero, zero, zero, zero, zero];
            // In the slots of round 1.
            let mut s = [
                splat(IV[0]), splat(IV[1]), splat(IV[2]), add(w0, splat(ROUND_0[1])),
                splat(IV[4]), splat(IV[5]), add(w1, splat(IV[6].wrapping_add(K[1]))), add(w0, splat(ROUND_0[0])),
            ];
            round!(s, 1);
            s[slot(7, 2)] = add(w2, splat(IV[5].wrapping_add(K[2])));
            round!(s, 2);
            s[slot(7, 3)] = add(w3, splat(IV[4].wrapping_add(K[3])));
            round!(s, 3);
            short_rounds!(s, w; 4: w4, 5: w5, 6: w6, 7: w7);
            constant_rounds!(s; 8: PAD, 9: 0, 10: 0, 11: 0, 12: 0, 13: 0, 14: 0, 15: DIGEST_BITS);
            short_rounds!(s, w;
                16: add(small0(w1), w0),
                17: add(add(small0(w2), w1), splat(scalar::small1(DIGEST_BITS))),
                18: add(add(small1(w[0]), small0(w3)), w2),
                19: add(add(small1(w[1]), small0(w4)), w3),
                20: add(add(small1(w[2]), small0(w5)), w4),
                21: add(add(small1(w[3]), small0(w6)), w5),
                22: add(add(small1(w[4]), small0(w7)), add(w6, splat(DIGEST_BITS))),
                23: add(add(small1(w[5]), w[0]), add(w7, splat(scalar::small0(PAD)))),
                24: add(add(small1(w[6]), w[1]), splat(PAD)),
                25: add(small1(w[7]), w[2]),
                26: add(small1(w[8]), w[3]),
                27: add(small1(w[9]), w[4]),
                28: add(small1(w[10]), w[5]),
                29: add(small1(w[11]), w[6]),
                30: add(add(small1(w[12]), w[7]), splat(scalar::small0(DIGEST_BITS))),
                31: add(add(small1(w[13]), w[8]), add(small0(w[0]), splat(DIGEST_BITS)))
            );
            full_rounds!(s, w; 32 33 34 35 36 37 38 39 40 41 42 43 44);
            full_rounds!(s, w; 45 46 47 48 49 50 51 52 53 54 55 56);
            half_rounds!(s, w; 57 58 59 60);
            // After round 63 this `e` is `h`.
            add(s[slot(4, 61)], splat(IV[7]))
        }
    };
}

pub(super) use {
    constant_rounds, expand, full_rounds, half_round, half_rounds, lanes_kernel, round, short_rounds,
};
