//! A block of fifteen rounds of second hashes beside four first hashes, in assembler.
//!
//! Compilers move the steps of the extensions to where they can first be done; held in place, they run out of registers
//! around them. Either costs a quarter of the speed.
//!
//! Everything on vectors is written for their two halves, one after the other, with a pair of registers each:
//!
//! | registers | |
//! |---|---|
//! | xmm1–8 | working variables of the first hashes: the extensions reach none above xmm15 |
//! | xmm0 | words of a step |
//! | (9 12), (10 13), (11 14), (0 15) | intermediate values, the last one not beyond a step |
//! | (16 24) … (23 31) | working variables of the second hashes |
//!
//! Each round adds the next one's word and constant to what will then be `h`.

use core::arch::asm;
use core::arch::x86_64::_mm256_setzero_si256;

use super::pair::{LANES, V};
use super::{Chains, ROUNDS, Words};
use crate::sha256d::scalar::{DIGEST_BITS, K, PAD};

/// Constants of the rounds, those of rounds 8–15 with the padding, which are their words.
static K_PADDED: [u32; 64] = {
    let mut k = K;
    k[8] = k[8].wrapping_add(PAD);
    k[15] = k[15].wrapping_add(DIGEST_BITS);
    k
};

/// An instruction on registers: the destination, sources, an immediate value.
macro_rules! op {
    ($name:literal, $(($low:literal $high:literal)),+ $(; $immediate:literal)?) => {
        concat!(
            op!(@one $name, $($low)+ $(; $immediate)?),
            op!(@one $name, $($high)+ $(; $immediate)?),
        )
    };
    (@one $name:literal, $to:literal $($from:literal)* $(; $immediate:literal)?) => {
        concat!($name, " ymm", $to, $(", ymm", $from,)* $(", ", $immediate,)? "\n")
    };
}

/// An instruction whose last operand before an immediate value is word `$i + $n` of `w`.
macro_rules! op_word {
    ($name:literal, $(($low:literal $high:literal)),+, [$i:literal + $n:literal] $(; $immediate:literal)?) => {
        concat!(
            op_word!(@one $name, $($low)+, $i, $n, 0 $(; $immediate)?),
            op_word!(@one $name, $($high)+, $i, $n, 32 $(; $immediate)?),
        )
    };
    (@one $name:literal, $to:literal $($from:literal)*, $i:literal, $n:literal, $half:literal $(; $immediate:literal)?) => {
        concat!(
            $name, " ymm", $to, $(", ymm", $from,)*
            ", ymmword ptr [{w} + 64 * (", $i, " + ", $n, ") + ", $half, "]" $(, ", ", $immediate)?, "\n",
        )
    };
}

/// Word `$i + $n` of `w` becomes `$from`.
macro_rules! store {
    ([$i:literal + $n:literal], ($low:literal $high:literal)) => {
        concat!(
            "vmovdqa ymmword ptr [{w} + 64 * (",
            $i,
            " + ",
            $n,
            ")], ymm",
            $low,
            "\n",
            "vmovdqa ymmword ptr [{w} + 64 * (",
            $i,
            " + ",
            $n,
            ") + 32], ymm",
            $high,
            "\n",
        )
    };
}

/// The constant of the round after round `$i` of the block added.
macro_rules! add_constant {
    ($i:literal, ($low:literal $high:literal)) => {
        concat!(
            "vpaddd ymm",
            $low,
            ", ymm",
            $low,
            ", dword ptr [{k} + 4 * (",
            $i,
            " + 1)]{{1to8}}\n",
            "vpaddd ymm",
            $high,
            ", ymm",
            $high,
            ", dword ptr [{k} + 4 * (",
            $i,
            " + 1)]{{1to8}}\n",
        )
    };
}

/// The next round's word by the general formula: made and kept before a round, added after it.
macro_rules! general {
    (before $i:literal) => {
        concat!(
            op_word!("vprord", (9 12), [$i + 15]; 17),
            op_word!("vprord", (10 13), [$i + 15]; 19),
            op_word!("vpsrld", (11 14), [$i + 15]; 10),
            op!("vpternlogd", (9 12), (10 13), (11 14); 0x96),
            op_word!("vprord", (10 13), [$i + 2]; 7),
            op_word!("vprord", (11 14), [$i + 2]; 18),
            op_word!("vpsrld", (0 15), [$i + 2]; 3),
            op!("vpternlogd", (10 13), (11 14), (0 15); 0x96),
            op_word!("vpaddd", (10 13), (10 13), [$i + 1]),
            op_word!("vpaddd", (10 13), (10 13), [$i + 10]),
            op!("vpaddd", (9 12), (9 12), (10 13)),
            store!([$i + 17], (9 12)),
            add_constant!($i, (9 12)),
        )
    };
    (after $i:literal, $g:tt) => { op!("vpaddd", $g, $g, (9 12)) };
}

/// The next round's word taken as it is.
macro_rules! known {
    (before $i:literal) => {
        ""
    };
    (after $i:literal, $g:tt) => {
        concat!(op_word!("vpaddd", $g, $g, [$i + 2]), add_constant!($i, $g))
    };
}

/// The next round's word is in its constant.
macro_rules! padding {
    (before $i:literal) => {
        ""
    };
    (after $i:literal, $g:tt) => {
        add_constant!($i, $g)
    };
}

/// Two rounds of each first hash, all with the same words.
macro_rules! step {
    ($i:literal, $n:literal; $($to:literal $from:literal),+) => {
        concat!(
            "vmovq xmm0, qword ptr [{words} + 128 * (2 * ", $i, " + ", $n, ")]\n",
            $("sha256rnds2 xmm", $to, ", xmm", $from, "\n",)+
        )
    };
}

/// Round `$i` of the block and two steps.
macro_rules! round {
    ($i:literal $word:ident; $a:tt $b:tt $c:tt $d:tt $e:tt $f:tt $g:tt $h:tt) => {
        concat!(
            $word!(before $i),
            step!($i, 0; 2 1, 4 3, 6 5, 8 7),
            // Σ1 and ch.
            op!("vprord", (10 13), $e; 6),
            op!("vprord", (11 14), $e; 11),
            op!("vprord", (0 15), $e; 25),
            op!("vpternlogd", (10 13), (11 14), (0 15); 0x96),
            op!("vmovdqa64", (11 14), $e),
            op!("vpternlogd", (11 14), $f, $g; 0xca),
            op!("vpaddd", $h, $h, (11 14)),
            op!("vpaddd", $h, $h, (10 13)),
            op!("vpaddd", $d, $d, $h),
            // Σ0 and maj.
            op!("vprord", (10 13), $a; 2),
            op!("vprord", (11 14), $a; 13),
            op!("vprord", (0 15), $a; 22),
            op!("vpternlogd", (10 13), (11 14), (0 15); 0x96),
            op!("vmovdqa64", (11 14), $a),
            op!("vpternlogd", (11 14), $b, $c; 0xe8),
            op!("vpaddd", (10 13), (10 13), (11 14)),
            op!("vpaddd", $h, $h, (10 13)),
            $word!(after $i, $g),
            step!($i, 1; 1 2, 3 4, 5 6, 7 8),
        )
    };
}

/// Rounds, each with the kind of the next one's word. The working variables' names rotate, the registers stay.
macro_rules! rounds {
    (; $($s:tt)+) => { "" };
    ($i:literal $word:ident $(, $more:literal $words:ident)*; $a:tt $b:tt $c:tt $d:tt $e:tt $f:tt $g:tt $h:tt) => {
        concat!(
            round!($i $word; $a $b $c $d $e $f $g $h),
            rounds!($($more $words),*; $h $a $b $c $d $e $f $g),
        )
    };
}

/// Rounds 1–15.
macro_rules! first_rounds {
    () => {
        rounds!(
            0 known, 1 known, 2 known, 3 known, 4 known, 5 known, 6 padding, 7 padding, 8 padding, 9 padding, 10 padding,
            11 padding, 12 padding, 13 padding, 14 known;
            (16 24) (17 25) (18 26) (19 27) (20 28) (21 29) (22 30) (23 31))
    };
}

/// Fifteen later rounds.
macro_rules! later_rounds {
    () => {
        rounds!(
            0 general, 1 general, 2 general, 3 general, 4 general, 5 general, 6 general, 7 general, 8 general, 9 general,
            10 general, 11 general, 12 general, 13 general, 14 general;
            (16 24) (17 25) (18 26) (19 27) (20 28) (21 29) (22 30) (23 31))
    };
}

/// The second hashes' working variables a to h before a round, its word and constant added to `h`.
pub(super) type State = [V; 8];

/// The words of a batch's steps: those of the nonce in this place.
#[derive(Clone, Copy)]
pub(super) struct StepWords<'a> {
    words: &'a Words,
    place: usize,
}

impl<'a> StepWords<'a> {
    pub(super) fn new(words: &'a Words, place: usize) -> Self {
        assert!(place < LANES, "place {place}");
        Self { words, place }
    }

    pub(super) fn get(self, step: usize) -> u64 {
        self.words[step][self.place]
    }
}

/// Runs `$rounds` with the steps of `$words`, each row of which is 128 bytes long.
macro_rules! run {
    ($rounds:ident, $s:ident, $chains:ident, $w:expr, $k:expr, $words:ident) => {{
        let mut after = [[_mm256_setzero_si256(); 2]; 8];
        // SAFETY: it reads and writes `w`, reads `k` and `words`, each within what the caller's array has, changes no
        // other memory and names every register that it changes.
        #[expect(unsafe_code, reason = "assembler")]
        unsafe {
            asm!(
                $rounds!(),
                w = in(reg) $w, k = in(reg) $k, words = in(reg) $words.words.as_ptr().cast::<u64>().wrapping_add($words.place),
                inout("xmm1") $chains[0][0], inout("xmm2") $chains[0][1],
                inout("xmm3") $chains[1][0], inout("xmm4") $chains[1][1],
                inout("xmm5") $chains[2][0], inout("xmm6") $chains[2][1],
                inout("xmm7") $chains[3][0], inout("xmm8") $chains[3][1],
                out("xmm0") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _,
                out("xmm14") _, out("xmm15") _,
                // Fifteen rounds later each register has the variable before in the alphabet, the first one the last.
                inout("ymm16") $s[0][0] => after[7][0], inout("ymm24") $s[0][1] => after[7][1],
                inout("ymm17") $s[1][0] => after[0][0], inout("ymm25") $s[1][1] => after[0][1],
                inout("ymm18") $s[2][0] => after[1][0], inout("ymm26") $s[2][1] => after[1][1],
                inout("ymm19") $s[3][0] => after[2][0], inout("ymm27") $s[3][1] => after[2][1],
                inout("ymm20") $s[4][0] => after[3][0], inout("ymm28") $s[4][1] => after[3][1],
                inout("ymm21") $s[5][0] => after[4][0], inout("ymm29") $s[5][1] => after[4][1],
                inout("ymm22") $s[6][0] => after[5][0], inout("ymm30") $s[6][1] => after[5][1],
                inout("ymm23") $s[7][0] => after[6][0], inout("ymm31") $s[7][1] => after[6][1],
                options(nostack, preserves_flags)
            );
        }
        $s = after;
    }};
}

/// Rounds 1–15 beside a batch. `w`: words 0–7 and, in its place, 16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
pub(super) fn first(mut s: State, chains: &mut Chains, w: &[V; 17], words: StepWords<'_>) -> State {
    let k: &[u32; ROUNDS + 1] = K_PADDED[1..].first_chunk().expect("more constants");
    run!(first_rounds, s, chains, w.as_ptr(), k.as_ptr(), words);
    s
}

/// Fifteen rounds from round `t` on, 16 or later, beside a batch. `w`: words `t - 16` to `t` and room for 15 more.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
pub(super) fn later(
    mut s: State,
    chains: &mut Chains,
    w: &mut [V; 32],
    t: usize,
    words: StepWords<'_>,
) -> State {
    let k: &[u32; ROUNDS + 1] = K[t..].first_chunk().expect("a later round");
    run!(later_rounds, s, chains, w.as_mut_ptr(), k.as_ptr(), words);
    s
}
