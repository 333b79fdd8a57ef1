//! Sixteen lanes in two vectors of 256 bits, with the instructions of AVX-512.
//!
//! What [`block`](super::block) does not do in assembler itself. Two vectors rather than one of 512 bits: docs/kernels.md,
//! "Side by side", has the figures.

use core::arch::x86_64::*;

/// One half.
type Half = __m256i;

pub(super) type V = [Half; 2];
pub(super) const LANES: usize = 16;

/// An operation of the kernel.
macro_rules! op {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        $(#[$doc])*
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
        pub(super) fn $name($($arg: $type),*) -> $out $body
    };
}

/// `$value` for both halves of the vectors that it names.
macro_rules! halves {
    (|$($x:ident),+| $value:expr) => {
        [{ $( let $x = $x[0]; )+ $value }, { $( let $x = $x[1]; )+ $value }]
    };
}

/// The sum modulo 2 of three vectors.
macro_rules! xor3 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm256_ternarylogic_epi32::<0x96>($x, $y, $z)
    };
}

use _mm256_ror_epi32 as rotate;

op!(
    fn splat(x: u32) -> V {
        [_mm256_set1_epi32(x.cast_signed()); 2]
    }
);
op!(
    fn add(x: V, y: V) -> V {
        halves!(|x, y| _mm256_add_epi32(x, y))
    }
);
op!(
    fn small0(x: V) -> V {
        halves!(|x| xor3!(rotate::<7>(x), rotate::<18>(x), _mm256_srli_epi32::<3>(x)))
    }
);
op!(
    fn small1(x: V) -> V {
        halves!(|x| xor3!(rotate::<17>(x), rotate::<19>(x), _mm256_srli_epi32::<10>(x)))
    }
);
op!(
    fn swap_bytes(x: V) -> V {
        let order =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
        halves!(|x| _mm256_shuffle_epi8(x, order))
    }
);
op!(
    fn lanes_clear(x: V, mask: V) -> u32 {
        let [low, high] = halves!(|x, mask| u32::from(_mm256_testn_epi32_mask(x, mask)));
        low | high << 8
    }
);
op!(
    fn lanes_at_most(x: V, limit: u32) -> u32 {
        let limit = splat(limit);
        let [low, high] = halves!(|x, limit| u32::from(_mm256_cmple_epu32_mask(x, limit)));
        low | high << 8
    }
);
op!(
    /// Lane numbers in the order in which [`pairs`] has them: number `i` comes out in its place `i`.
    fn iota() -> V {
        [_mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7), _mm256_setr_epi32(8, 9, 12, 13, 10, 11, 14, 15)]
    }
);
op!(
    /// Of each lane, `x` below `y` in 64 bits.
    fn pairs(x: V, y: V) -> [u64; LANES] {
        let pairs = halves!(|x, y| [_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y)]);
        bytemuck::must_cast(pairs)
    }
);
op!(
    /// From four times four vectors, word `i` of each.
    ///
    /// Lane `4 * x + y` is of `rows[x][y]`.
    fn columns(rows: [[__m128i; 4]; 4]) -> [V; 4] {
        let mut columns = [[_mm256_setzero_si256(); 2]; 4];
        for (half, [low, high]) in rows.as_chunks::<2>().0.iter().enumerate() {
            let row = |i: usize| _mm256_set_m128i(high[i], low[i]);
            let [r0, r1, r2, r3] = [row(0), row(1), row(2), row(3)];
            let (even, odd) = (_mm256_unpacklo_epi32(r0, r1), _mm256_unpacklo_epi32(r2, r3));
            columns[0][half] = _mm256_unpacklo_epi64(even, odd);
            columns[1][half] = _mm256_unpackhi_epi64(even, odd);
            let (even, odd) = (_mm256_unpackhi_epi32(r0, r1), _mm256_unpackhi_epi32(r2, r3));
            columns[2][half] = _mm256_unpacklo_epi64(even, odd);
            columns[3][half] = _mm256_unpackhi_epi64(even, odd);
        }
        columns
    }
);
