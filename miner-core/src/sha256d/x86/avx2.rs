//! Eight lanes of AVX2.

use core::arch::x86_64::*;

type V = __m256i;
pub(in crate::sha256d) const LANES: usize = 8;

/// An operation of the kernel.
macro_rules! op {
    (fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $name($($arg: $type),*) -> $out $body
    };
}

/// `x` rotated right.
macro_rules! rotate {
    ($x:ident, $n:literal) => {
        _mm256_or_si256(_mm256_srli_epi32::<$n>($x), _mm256_slli_epi32::<{ 32 - $n }>($x))
    };
}

/// The sum modulo 2 of three vectors.
macro_rules! xor3 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm256_xor_si256(_mm256_xor_si256($x, $y), $z)
    };
}

op!(
    fn splat(x: u32) -> V {
        _mm256_set1_epi32(x.cast_signed())
    }
);
op!(
    fn add(x: V, y: V) -> V {
        _mm256_add_epi32(x, y)
    }
);
op!(
    fn big0(x: V) -> V {
        xor3!(rotate!(x, 2), rotate!(x, 13), rotate!(x, 22))
    }
);
op!(
    fn big1(x: V) -> V {
        xor3!(rotate!(x, 6), rotate!(x, 11), rotate!(x, 25))
    }
);
op!(
    fn small0(x: V) -> V {
        xor3!(rotate!(x, 7), rotate!(x, 18), _mm256_srli_epi32::<3>(x))
    }
);
op!(
    fn small1(x: V) -> V {
        xor3!(rotate!(x, 17), rotate!(x, 19), _mm256_srli_epi32::<10>(x))
    }
);
op!(
    fn ch(e: V, f: V, g: V) -> V {
        _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)))
    }
);
op!(
    fn maj(a: V, b: V, c: V) -> V {
        _mm256_xor_si256(b, _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c)))
    }
);
op!(
    fn iota() -> V {
        _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
    }
);
op!(
    fn swap_bytes(x: V) -> V {
        _mm256_shuffle_epi8(
            x,
            _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)),
        )
    }
);
op!(
    fn equal(x: V, y: V) -> u32 {
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(x, y))).cast_unsigned()
    }
);
op!(
    fn lanes_clear(x: V, mask: V) -> u32 {
        equal(_mm256_and_si256(x, mask), _mm256_setzero_si256())
    }
);
op!(
    fn lanes_at_most(x: V, limit: u32) -> u32 {
        equal(_mm256_min_epu32(x, splat(limit)), x)
    }
);

super::super::lanes::lanes_kernel!(#[target_feature(enable = "avx2")]);
super::super::lanes::versions_kernel!(one: 0; #[target_feature(enable = "avx2")]);
