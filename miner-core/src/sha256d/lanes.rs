//! The kernel algorithm, once, for vectors of any width.
//!
//! [`lanes_kernel!`] and [`versions_kernel!`] make it in a module that offers
//! - `V`, a vector of `LANES` words (a `usize` of at most 32): [`bytemuck::Pod`];
//! - `splat`, `add`, `big0`, `big1`, `small0`, `small1` (Σ0, Σ1, σ0, σ1), `ch`, `maj`, `swap_bytes` and `iota` (lane
//!   numbers) on it;
//! - `lanes_clear(v, mask)` and `lanes_at_most(v, limit)`, which return bit sets of lanes.
//!
//! These are functions picked by name, and the steps below are macros, rather than a trait because a safe
//! `#[target_feature]` function cannot stand in one, and because nothing forces a function with that attribute to be
//! inlined.
//!
//! There are two forms. In `scan` each lane tries a nonce of one header. In `scan_versions` each lane is a header, all
//! of which share the second block, and a nonce: `schedule` computes that block's message schedule once per nonce for
//! all headers, for `LANES` nonces at a time, and the rounds take its words from memory.
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

/// Rounds 16–63, whose schedule words depend on the nonce or the header.
pub(super) const SCHEDULED: usize = 48;

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

/// Notes the hits of one vector: of a bit set, each lane's `hit`. Rare, hence kept out of the loop.
#[cold]
#[inline(never)]
pub(super) fn note<T>(mut lanes: u32, hits: &mut Vec<T>, hit: impl Fn(u32) -> T) {
    while lanes != 0 {
        hits.push(hit(lanes.trailing_zeros()));
        lanes &= lanes - 1;
    }
}

/// Round `t` on each of the states `(s)`, as many as are interleaved. Without `kw`, `h` holds `h + K + W` already. With
/// `(s; beside)` the macro `beside` has its turn after it.
macro_rules! round {
    (($s:ident; $beside:ident), $t:expr $(, $kw:expr)?) => {
        round!(($s), $t $(, $kw)?);
        $beside!($s, $t);
    };
    (($($s:ident)+), $t:expr) => {
        $(
            let (a, b, c) = ($s[slot(0, $t)], $s[slot(1, $t)], $s[slot(2, $t)]);
            let t1 = t1!($s, $t);
            $s[slot(3, $t)] = add($s[slot(3, $t)], t1);
            $s[slot(7, $t)] = add(t1, add(big0(a), maj(a, b, c)));
        )+
    };
    (($($s:ident)+), $t:expr, $kw:expr) => {
        let kw = $kw;
        $( $s[slot(7, $t)] = add($s[slot(7, $t)], kw); )+
        round!(($($s)+), $t);
    };
}

/// T1 of round `t`, where `h` holds `h + K + W`.
macro_rules! t1 {
    ($s:ident, $t:expr) => {{
        let (e, f, g, h) = ($s[slot(4, $t)], $s[slot(5, $t)], $s[slot(6, $t)], $s[slot(7, $t)]);
        add(add(h, ch(e, f, g)), big1(e))
    }};
}

/// Rounds whose schedule word is constant.
macro_rules! constant_rounds {
    ($s:tt; $($t:literal: $w:expr),+) => { $( round!($s, $t, splat(K[$t].wrapping_add($w))); )+ };
}

/// Schedule words, each by its own short formula or by the general one, and what is done with each of them: `$done` is
/// one of the three macros below.
macro_rules! words {
    ($w:ident, $done:ident $target:tt; $($t:literal: $formula:expr),+) => {
        $(
            $w[$t % 16] = $formula;
            $done!($target, $w, $t);
        )+
    };
    ($w:ident, $done:ident $target:tt; $($t:literal)+) => {
        words!($w, $done $target; $(
            $t: add(
                add(small1($w[($t + 14) % 16]), $w[($t + 9) % 16]),
                add(small0($w[($t + 1) % 16]), $w[$t % 16]),
            )
        ),+);
    };
}

/// A round with word `t`.
macro_rules! to_round {
    ($s:tt, $w:ident, $t:literal) => {
        round!($s, $t, add($w[$t % 16], splat(K[$t])));
    };
}

/// The `e` half of a round with word `t`.
macro_rules! to_half_round {
    (($s:ident), $w:ident, $t:literal) => {
        $s[slot(7, $t)] = add($s[slot(7, $t)], add($w[$t % 16], splat(K[$t])));
        $s[slot(3, $t)] = add($s[slot(3, $t)], t1!($s, $t));
    };
}

/// Word `t` and its constant kept for later.
macro_rules! to_table {
    (($table:ident), $w:ident, $t:literal) => {
        $table[$t - 16] = add($w[$t % 16], splat(K[$t]));
    };
}

/// Makes the states `(s)` after round 15 of the first hash, each from its [`Start`] `h` and word 3 of the block.
macro_rules! rounds_before_schedule {
    (($($s:ident)+), ($($h:expr),+), $n:ident) => {
        $(
            let [a, b, c, d, e, f, g] = $h.entry;
            // In the slots of round 4.
            let mut $s = [add(e, $n), f, g, $h.entry_h[0], add(a, $n), b, c, d];
        )+
        round!(($($s)+), 4);
        $( $s[slot(7, 5)] = $h.entry_h[1]; )+
        round!(($($s)+), 5);
        $( $s[slot(7, 6)] = $h.entry_h[2]; )+
        round!(($($s)+), 6);
        constant_rounds!(($($s)+); 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 13: 0, 14: 0, 15: HEADER_BITS);
    };
}

/// Words 18–63 of the first hash's second block.
macro_rules! header_words {
    ($p:ident, $n:ident, $done:ident $target:tt) => {
        let mut w = [splat(0); 16];
        words!(w, $done $target;
            18: add(small0($n), splat($p.w18)),
            19: add($n, splat($p.w19)),
            20: add(small1(w[2]), splat(PAD)),
            21: small1(w[3]),
            22: add(small1(w[4]), splat(HEADER_BITS)),
            23: add(small1(w[5]), splat($p.w16)),
            24: add(small1(w[6]), splat($p.w17)),
            25: add(small1(w[7]), w[2]),
            26: add(small1(w[8]), w[3]),
            27: add(small1(w[9]), w[4]),
            28: add(small1(w[10]), w[5]),
            29: add(small1(w[11]), w[6]),
            30: add(add(small1(w[12]), w[7]), splat(scalar::small0(HEADER_BITS))),
            31: add(add(small1(w[13]), w[8]), splat($p.w31)),
            32: add(add(small1(w[14]), w[9]), splat($p.w32)),
            33: add(add(small1(w[15]), w[10]), add(small0(w[2]), splat($p.w17)))
        );
        words!(w, $done $target; 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48);
        words!(w, $done $target; 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    };
}

/// Rounds whose schedule word and constant are taken from a table.
macro_rules! table_rounds {
    ($s:tt, $words:ident, $lane:ident; $($t:literal)+) => { $( round!($s, $t, splat($words[$t - 16][$lane])); )+ };
}

/// The chaining value added after round 63: the digest's words.
macro_rules! digest {
    ($h:expr, $s:ident) => {
        for i in 0..8 {
            $s[i] = add($s[i], $h.midstate[i]);
        }
    };
}

/// The second hash: its last word, big-endian as SHA-256 has it. Byte-swapped it is the hash's top word.
macro_rules! second_hash {
    ($digest:expr) => {{
        let zero = splat(0);
        let [w0, w1, w2, w3, w4, w5, w6, w7] = $digest;
        let mut w = [w0, w1, w2, w3, w4, w5, w6, w7, zero, zero, zero, zero, zero, zero, zero, zero];
        // In the slots of round 1.
        let mut s = [
            splat(IV[0]), splat(IV[1]), splat(IV[2]), add(w0, splat(ROUND_0[1])),
            splat(IV[4]), splat(IV[5]), add(w1, splat(IV[6].wrapping_add(K[1]))), add(w0, splat(ROUND_0[0])),
        ];
        round!((s), 1);
        s[slot(7, 2)] = add(w2, splat(IV[5].wrapping_add(K[2])));
        round!((s), 2);
        s[slot(7, 3)] = add(w3, splat(IV[4].wrapping_add(K[3])));
        round!((s), 3);
        words!(w, to_round(s); 4: w4, 5: w5, 6: w6, 7: w7);
        constant_rounds!((s); 8: PAD, 9: 0, 10: 0, 11: 0, 12: 0, 13: 0, 14: 0, 15: DIGEST_BITS);
        words!(w, to_round(s);
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
        words!(w, to_round(s); 32 33 34 35 36 37 38 39 40 41 42 43 44);
        words!(w, to_round(s); 45 46 47 48 49 50 51 52 53 54 55 56);
        words!(w, to_half_round(s); 57 58 59 60);
        // After round 63 this `e` is `h`.
        add(s[slot(4, 61)], splat(IV[7]))
    }};
}

/// Makes `scan`. The attribute names the instruction set.
macro_rules! lanes_kernel {
    ($(#[$feature:meta])*) => {
        use $crate::sha256d::Prepared;
        use $crate::sha256d::lanes::{ROUND_0, clear_bits, note, slot};
        use $crate::sha256d::lanes::{
            constant_rounds, digest, header_words, round, rounds_before_schedule, second_hash,
            t1, to_half_round, to_round, words,
        };
        use $crate::sha256d::scalar::{self, DIGEST_BITS, HEADER_BITS, IV, K, PAD};

        /// What the first hash starts from, a header to each lane: see [`Prepared`].
        struct Start {
            midstate: [V; 8],
            entry: [V; 7],
            entry_h: [V; 3],
        }

        /// Tries `count` nonces from `start`, wrapping; `count` is a multiple of `LANES`.
        $(#[$feature])*
        pub(in $crate::sha256d) fn scan(p: &Prepared, start: u32, count: u64, limit: u32, hits: &mut Vec<u32>) {
            let [a, b, c, d, e, f, g, _] = p.entry;
            let [ha, hb, hc, hd, he, hf, hg, hh] = p.midstate;
            let header = Start {
                entry: [splat(a), splat(b), splat(c), splat(d), splat(e), splat(f), splat(g)],
                entry_h: [splat(p.entry_h[0]), splat(p.entry_h[1]), splat(p.entry_h[2])],
                midstate: [
                    splat(ha), splat(hb), splat(hc), splat(hd), splat(he), splat(hf), splat(hg), splat(hh),
                ],
            };
            let mask = splat(clear_bits(limit));
            let mut base = start;
            for _ in 0..count / LANES as u64 {
                let n = swap_bytes(add(splat(base), iota()));
                rounds_before_schedule!((s), (header), n);
                constant_rounds!((s); 16: p.w16, 17: p.w17);
                header_words!(p, n, to_round(s));
                digest!(header, s);
                let top = second_hash!(s);
                if lanes_clear(top, mask) != 0 {
                    note(lanes_at_most(swap_bytes(top), limit), hits, |lane| base.wrapping_add(lane));
                }
                base = base.wrapping_add(LANES as u32);
            }
        }
    };
}

/// Makes `scan_versions`, after [`lanes_kernel!`]. `one: 0` has it run the first hash on one vector of headers, `even: 0,
/// odd: 1` on two interleaved ones, where the working variables of both, 16 vectors, fit into the registers.
macro_rules! versions_kernel {
    ($($s:ident: $v:literal),+; $(#[$feature:meta])*) => {
        use $crate::sha256d::lanes::{SCHEDULED, table_rounds, to_table};

        /// Vectors that are interleaved in the first hash.
        const VECTORS: usize = [$($v),+].len();

        /// Headers that are tried at once.
        pub(in $crate::sha256d) const GROUP: usize = VECTORS * LANES;

        impl Start {
            /// Each lane its own header.
            fn each(headers: &[Prepared; LANES]) -> Self {
                let gather = |word: &dyn Fn(&Prepared) -> u32| -> V {
                    bytemuck::must_cast::<[u32; LANES], V>(std::array::from_fn(|lane| word(&headers[lane])))
                };
                Self {
                    midstate: std::array::from_fn(|i| gather(&|p| p.midstate[i])),
                    entry: std::array::from_fn(|i| gather(&|p| p.entry[i])),
                    entry_h: std::array::from_fn(|i| gather(&|p| p.entry_h[i])),
                }
            }
        }

        /// Tries `count` nonces from `start`, wrapping, with each of `headers`, a multiple of `GROUP` of them, which share
        /// the second block of the first hash.
        $(#[$feature])*
        pub(in $crate::sha256d) fn scan_versions(
            headers: &[Prepared],
            start: u32,
            count: u64,
            limit: u32,
            hits: &mut Vec<(u32, u32)>,
        ) {
            let Some(p) = headers.first() else { return };
            let starts: Vec<Start> = headers.as_chunks().0.iter().map(Start::each).collect();
            let mask = splat(clear_bits(limit));
            let mut table = [splat(0); SCHEDULED];
            for done in (0..count).step_by(LANES) {
                let base = start.wrapping_add(done as u32);
                schedule(p, base, &mut table);
                let words: &[[u32; LANES]; SCHEDULED] = bytemuck::must_cast_ref(&table);
                for i in 0..(LANES as u64).min(count - done) as usize {
                    let nonce = base.wrapping_add(i as u32);
                    let n = splat(nonce.swap_bytes());
                    for (group, start) in starts.as_chunks::<VECTORS>().0.iter().enumerate() {
                        rounds_before_schedule!(($($s)+), ($(start[$v]),+), n);
                        table_rounds!(($($s)+), words, i; 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
                        table_rounds!(($($s)+), words, i; 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
                        table_rounds!(($($s)+), words, i; 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
                        $( digest!(start[$v], $s); )+
                        for (v, digest) in [$($s),+].into_iter().enumerate() {
                            let top = second_hash!(digest);
                            if lanes_clear(top, mask) != 0 {
                                let first = (group * GROUP + v * LANES) as u32;
                                note(lanes_at_most(swap_bytes(top), limit), hits, |lane| (first + lane, nonce));
                            }
                        }
                    }
                }
            }
        }

        /// Words 16–63 of the schedule and their constants, for `LANES` nonces from `base`.
        #[inline(never)]
        $(#[$feature])*
        fn schedule(p: &Prepared, base: u32, table: &mut [V; SCHEDULED]) {
            let n = swap_bytes(add(splat(base), iota()));
            table[0] = splat(K[16].wrapping_add(p.w16));
            table[1] = splat(K[17].wrapping_add(p.w17));
            header_words!(p, n, to_table(table));
        }
    };
}

pub(super) use {
    constant_rounds, digest, header_words, lanes_kernel, round, rounds_before_schedule, second_hash, t1,
    table_rounds, to_half_round, to_round, to_table, versions_kernel, words,
};
