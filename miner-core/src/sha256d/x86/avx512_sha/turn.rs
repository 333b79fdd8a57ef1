//! A turn: ten steps of six hashes by the SHA extensions beside four schedule words of twenty-four others by vectors.
//!
//! In assembler: compilers move the steps to where their words are first known, and spill around them.
//!
//! | registers | |
//! |---|---|
//! | xmm1–12 | working variables of the six hashes: the extensions reach none above xmm15 |
//! | xmm0 | words of a step |
//! | ymm16–21 | the two newest words, of three vectors each |
//! | ymm22–23 | their rounds' constants |
//! | ymm24–29 | intermediate values |
//!
//! No vector is below ymm16, so that the extensions, which have no VEX form, never meet upper halves in use.

use core::arch::asm;
use core::arch::x86_64::{__m128i, __m256i};

use super::LANES;
use super::vectors::V;

/// Hashes whose steps go on at the same time.
const CHAINS: usize = 6;
/// Such batches in a group.
const BATCHES: usize = LANES / CHAINS;
/// Turns of a hash.
const TURNS: usize = 3;
/// Steps of a turn, of two rounds each.
const STEPS: usize = 10;
/// Schedule words of a turn.
const WORDS: usize = 4;
/// Schedule words that are made beside a group's hashes.
pub(super) const MADE: usize = WORDS * TURNS * BATCHES;

/// Schedule words with their constants as steps take them: of each lane two, the earlier one in the lower half.
pub(super) type Row = [[__m256i; 2]; LANES / 8];

/// The chain's two rounds of an even or an odd step. What was (a, b, e, f) becomes (c, d, g, h).
macro_rules! two_rounds {
    (even 0) => {
        "sha256rnds2 xmm2, xmm1\n"
    };
    (even 1) => {
        "sha256rnds2 xmm4, xmm3\n"
    };
    (even 2) => {
        "sha256rnds2 xmm6, xmm5\n"
    };
    (even 3) => {
        "sha256rnds2 xmm8, xmm7\n"
    };
    (even 4) => {
        "sha256rnds2 xmm10, xmm9\n"
    };
    (even 5) => {
        "sha256rnds2 xmm12, xmm11\n"
    };
    (odd 0) => {
        "sha256rnds2 xmm1, xmm2\n"
    };
    (odd 1) => {
        "sha256rnds2 xmm3, xmm4\n"
    };
    (odd 2) => {
        "sha256rnds2 xmm5, xmm6\n"
    };
    (odd 3) => {
        "sha256rnds2 xmm7, xmm8\n"
    };
    (odd 4) => {
        "sha256rnds2 xmm9, xmm10\n"
    };
    (odd 5) => {
        "sha256rnds2 xmm11, xmm12\n"
    };
}

/// Step `$step` of one chain, with its own words or with the first chain's.
macro_rules! step {
    (own, $parity:ident $step:literal $chain:tt) => {
        concat!(
            "vmovq xmm0, qword ptr [{steps} + 192 * ", $step, " + 8 * ", $chain, "]\n",
            two_rounds!($parity $chain),
        )
    };
    (shared, $parity:ident $step:literal 0) => { step!(own, $parity $step 0) };
    (shared, $parity:ident $step:literal $chain:tt) => { two_rounds!($parity $chain) };
}

/// Step `$step` of all chains.
macro_rules! whole_step {
    ($kind:ident, $parity:ident $step:literal) => {
        concat!(
            step!($kind, $parity $step 0), step!($kind, $parity $step 1), step!($kind, $parity $step 2),
            step!($kind, $parity $step 3), step!($kind, $parity $step 4), step!($kind, $parity $step 5),
        )
    };
}

/// Word `$i` of vector `$third`.
macro_rules! word {
    ($third:literal, $i:literal + $n:literal) => {
        concat!("ymmword ptr [{w} + 96 * (", $i, " + ", $n, ") + 32 * ", $third, "]")
    };
}

/// `$step` where the steps of `$kind` are best placed, elsewhere nothing.
macro_rules! place {
    (own, own $step:expr) => {
        $step
    };
    (shared, shared $step:expr) => {
        $step
    };
    ($kind:ident, $other:ident $step:expr) => {
        ""
    };
}

/// Word `$i + 16` of vector `$third` in `$new`, which holds word `$i + 14`; word `$i + 1` is left in `$before`. Word `$i`
/// is `$sixteenth`. Four steps are beside it.
macro_rules! expand {
    ($kind:ident, $third:literal, $i:literal, $new:literal, $before:literal, $sixteenth:expr; $s0:expr, $s1:expr, $s2:expr, $s3:expr) => {
        concat!(
            // σ1.
            "vmovdqa64 ", $before, ", ", word!($third, $i + 1), "\n",
            place!($kind, shared $s0),
            "vprord ymm26, ", $new, ", 17\n",
            "vprord ymm27, ", $new, ", 19\n",
            place!($kind, own $s0),
            "vpsrld ", $new, ", ", $new, ", 10\n",
            place!($kind, own $s1),
            "vpternlogd ", $new, ", ymm26, ymm27, 0x96\n",
            place!($kind, own $s2),
            place!($kind, shared $s1),
            // σ0.
            "vprord ymm26, ", $before, ", 7\n",
            place!($kind, own $s3),
            "vprord ymm27, ", $before, ", 18\n",
            "vpsrld ymm28, ", $before, ", 3\n",
            place!($kind, shared $s2),
            place!($kind, shared $s3),
            "vpternlogd ymm26, ymm27, ymm28, 0x96\n",
            "vpaddd ", $new, ", ", $new, ", ", $sixteenth, "\n",
            "vpaddd ymm26, ymm26, ", word!($third, $i + 9), "\n",
            "vpaddd ", $new, ", ", $new, ", ymm26\n",
            "vmovdqa64 ", word!($third, $i + 16), ", ", $new, "\n",
        )
    };
}

/// Words `$i + 16` and `$j + 16`, the next one, of vector `$third`, beside eight steps.
macro_rules! expand_two {
    ($kind:ident, $third:literal, $i:literal $j:literal, $even:literal $odd:literal; $s0:expr, $s1:expr, $s2:expr, $s3:expr, $s4:expr, $s5:expr, $s6:expr, $s7:expr) => {
        concat!(
            expand!($kind, $third, $i, $even, "ymm24", word!($third, $i + 0); $s0, $s1, $s2, $s3),
            expand!($kind, $third, $j, $odd, "ymm25", "ymm24"; $s4, $s5, $s6, $s7),
        )
    };
}

/// The two words of vector `$third` to row `$row`, constants added, beside two steps.
macro_rules! keep {
    ($kind:ident, $third:literal, $row:literal, $even:literal $odd:literal; $s0:expr, $s1:expr) => {
        concat!(
            "vpaddd ymm26, ", $even, ", ymm22\n",
            "vpaddd ymm27, ", $odd, ", ymm23\n",
            place!($kind, own $s0),
            "vpunpckldq ymm28, ymm26, ymm27\n",
            "vpunpckhdq ymm29, ymm26, ymm27\n",
            "vmovdqa64 ymmword ptr [{rows} + 192 * ", $row, " + 64 * ", $third, "], ymm28\n",
            place!($kind, own $s1),
            "vmovdqa64 ymmword ptr [{rows} + 192 * ", $row, " + 64 * ", $third, " + 32], ymm29\n",
            place!($kind, shared $s0),
            place!($kind, shared $s1),
        )
    };
}

/// Words `$i + 16` and `$j + 16`, the next one, for row `$row`, beside five steps.
macro_rules! half_turn {
    ($kind:ident, $i:literal $j:literal, $row:literal; $p:ident $a:literal, $q:ident $b:literal, $c:literal, $d:literal, $e:literal) => {
        concat!(
            "vpbroadcastd ymm22, dword ptr [{k} + 4 * ", $i, "]\n",
            "vpbroadcastd ymm23, dword ptr [{k} + 4 * ", $j, "]\n",
            expand_two!($kind, 0, $i $j, "ymm16" "ymm17";
                step!($kind, $p $a 0), step!($kind, $p $a 1), step!($kind, $p $a 2), step!($kind, $p $a 3),
                step!($kind, $p $a 4), step!($kind, $p $a 5), step!($kind, $q $b 0), step!($kind, $q $b 1)),
            expand_two!($kind, 1, $i $j, "ymm18" "ymm19";
                step!($kind, $q $b 2), step!($kind, $q $b 3), step!($kind, $q $b 4), step!($kind, $q $b 5),
                step!($kind, $p $c 0), step!($kind, $p $c 1), step!($kind, $p $c 2), step!($kind, $p $c 3)),
            expand_two!($kind, 2, $i $j, "ymm20" "ymm21";
                step!($kind, $p $c 4), step!($kind, $p $c 5), step!($kind, $q $d 0), step!($kind, $q $d 1),
                step!($kind, $q $d 2), step!($kind, $q $d 3), step!($kind, $q $d 4), step!($kind, $q $d 5)),
            keep!($kind, 0, $row, "ymm16" "ymm17"; step!($kind, $p $e 0), step!($kind, $p $e 1)),
            keep!($kind, 1, $row, "ymm18" "ymm19"; step!($kind, $p $e 2), step!($kind, $p $e 3)),
            keep!($kind, 2, $row, "ymm20" "ymm21"; step!($kind, $p $e 4), step!($kind, $p $e 5)),
        )
    };
}

/// A turn.
macro_rules! turn {
    ($kind:ident) => {
        concat!(
            "vmovdqa64 ymm16, ", word!(0, 0 + 14), "\n",
            "vmovdqa64 ymm17, ", word!(0, 0 + 15), "\n",
            "vmovdqa64 ymm18, ", word!(1, 0 + 14), "\n",
            "vmovdqa64 ymm19, ", word!(1, 0 + 15), "\n",
            "vmovdqa64 ymm20, ", word!(2, 0 + 14), "\n",
            "vmovdqa64 ymm21, ", word!(2, 0 + 15), "\n",
            half_turn!($kind, 0 1, 0; even 0, odd 1, 2, 3, 4),
            half_turn!($kind, 2 3, 1; odd 5, even 6, 7, 8, 9),
        )
    };
}

/// A turn's steps without the words.
macro_rules! steps_alone {
    () => {
        concat!(
            whole_step!(own, even 0), whole_step!(own, odd 1), whole_step!(own, even 2), whole_step!(own, odd 3),
            whole_step!(own, even 4), whole_step!(own, odd 5), whole_step!(own, even 6), whole_step!(own, odd 7),
            whole_step!(own, even 8), whole_step!(own, odd 9),
        )
    };
}

/// The working variables of a group's hashes: (a, b, e, f) and (c, d, g, h), highest lane first.
pub(super) struct Chains<'a> {
    pub(super) before: [&'a [__m128i; LANES]; 2],
    pub(super) after: [&'a mut [__m128i; LANES]; 2],
}

/// The rows that steps take.
pub(super) type Taken = [Row; TURNS * STEPS];

/// The words that turns make: the sixteen before them with room for them, the constants of their rounds and where steps
/// find them.
pub(super) struct Expansion<'a> {
    pub(super) w: &'a mut [V; 16 + MADE],
    pub(super) k: &'a [u32; MADE],
    pub(super) rows: &'a mut [Row; MADE / 2],
}

/// Runs the turns of a group's hashes, batch by batch. `$next` goes on to the next turn's words, `$stride` bytes are from a
/// batch's words to the next batch's. Loops rather than their twelve turns: those would not fit into the cache for decoded
/// instructions.
macro_rules! run {
    ($turn:expr, $next:literal, $stride:literal, $chains:ident, $steps:expr $(, $name:ident = $value:expr)*) => {
        // SAFETY: it reads the rows from `steps` on, within what the caller's array has, and reads and writes what `Chains`
        // and `Expansion` borrow; it names every register that it changes.
        #[expect(unsafe_code, reason = "assembler")]
        unsafe {
            asm!(
                concat!(
                    "3:\n",
                    "vmovdqa xmm1, xmmword ptr [{abef}]\nvmovdqa xmm2, xmmword ptr [{cdgh}]\n",
                    "vmovdqa xmm3, xmmword ptr [{abef} + 16]\nvmovdqa xmm4, xmmword ptr [{cdgh} + 16]\n",
                    "vmovdqa xmm5, xmmword ptr [{abef} + 32]\nvmovdqa xmm6, xmmword ptr [{cdgh} + 32]\n",
                    "vmovdqa xmm7, xmmword ptr [{abef} + 48]\nvmovdqa xmm8, xmmword ptr [{cdgh} + 48]\n",
                    "vmovdqa xmm9, xmmword ptr [{abef} + 64]\nvmovdqa xmm10, xmmword ptr [{cdgh} + 64]\n",
                    "vmovdqa xmm11, xmmword ptr [{abef} + 80]\nvmovdqa xmm12, xmmword ptr [{cdgh} + 80]\n",
                    "mov {turns:e}, 3\n",
                    "2:\n", $turn, "add {steps}, 192 * 10\n", $next, "dec {turns:e}\n", "jnz 2b\n",
                    "vmovdqa xmmword ptr [{abef_after}], xmm1\nvmovdqa xmmword ptr [{cdgh_after}], xmm2\n",
                    "vmovdqa xmmword ptr [{abef_after} + 16], xmm3\nvmovdqa xmmword ptr [{cdgh_after} + 16], xmm4\n",
                    "vmovdqa xmmword ptr [{abef_after} + 32], xmm5\nvmovdqa xmmword ptr [{cdgh_after} + 32], xmm6\n",
                    "vmovdqa xmmword ptr [{abef_after} + 48], xmm7\nvmovdqa xmmword ptr [{cdgh_after} + 48], xmm8\n",
                    "vmovdqa xmmword ptr [{abef_after} + 64], xmm9\nvmovdqa xmmword ptr [{cdgh_after} + 64], xmm10\n",
                    "vmovdqa xmmword ptr [{abef_after} + 80], xmm11\nvmovdqa xmmword ptr [{cdgh_after} + 80], xmm12\n",
                    "add {abef}, 96\nadd {cdgh}, 96\nadd {abef_after}, 96\nadd {cdgh_after}, 96\n",
                    "add {steps}, ", $stride, " - 192 * 30\n",
                    "dec {batches:e}\n", "jnz 3b\n",
                ),
                batches = inout(reg) BATCHES => _,
                turns = out(reg) _,
                steps = inout(reg) $steps => _,
                abef = inout(reg) $chains.before[0].as_ptr() => _,
                cdgh = inout(reg) $chains.before[1].as_ptr() => _,
                abef_after = inout(reg) $chains.after[0].as_mut_ptr() => _,
                cdgh_after = inout(reg) $chains.after[1].as_mut_ptr() => _,
                $($name = inout(reg) $value => _,)*
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _,
                out("xmm16") _, out("xmm17") _, out("xmm18") _, out("xmm19") _, out("xmm20") _, out("xmm21") _,
                out("xmm22") _, out("xmm23") _, out("xmm24") _, out("xmm25") _, out("xmm26") _, out("xmm27") _,
                out("xmm28") _, out("xmm29") _,
                options(nostack)
            );
        }
    };
}

/// The hashes of a group, each with its own lane's words, beside the words of others.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
pub(super) fn own(chains: Chains<'_>, steps: &Taken, beside: Expansion<'_>) {
    let Expansion { w, k, rows } = beside;
    run!(
        turn!(own),
        "add {w}, 96 * 4\nadd {k}, 4 * 4\nadd {rows}, 192 * 2\n",
        "48",
        chains,
        steps.as_ptr(),
        w = w.as_mut_ptr(),
        k = k.as_ptr(),
        rows = rows.as_mut_ptr()
    );
}

/// The hashes of a group, all with the words of lane `lane`, beside the words of others.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
pub(super) fn shared(chains: Chains<'_>, steps: &Taken, lane: usize, beside: Expansion<'_>) {
    assert!(lane < LANES, "lane {lane}");
    let Expansion { w, k, rows } = beside;
    run!(
        turn!(shared),
        "add {w}, 96 * 4\nadd {k}, 4 * 4\nadd {rows}, 192 * 2\n",
        "0",
        chains,
        steps.as_ptr().cast::<u64>().wrapping_add(lane),
        w = w.as_mut_ptr(),
        k = k.as_ptr(),
        rows = rows.as_mut_ptr()
    );
}

/// The hashes of a group, each with its own lane's words, with nothing beside them.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
pub(super) fn alone(chains: Chains<'_>, steps: &Taken) {
    run!(steps_alone!(), "", "48", chains, steps.as_ptr());
}
