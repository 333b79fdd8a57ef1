//! Four lanes of SSE2, which every x86-64 has.

use core::arch::x86_64::*;

type V = __m128i;
pub(in crate::sha256d) const LANES: usize = 4;

/// An operation of the kernel.
macro_rules! op {
    (fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        #[inline]
        #[target_feature(enable = "sse2")]
        fn $name($($arg: $type),*) -> $out $body
    };
}

/// `x` rotated right.
macro_rules! rotate {
    ($x:ident, $n:literal) => {
        _mm_or_si128(_mm_srli_epi32::<$n>($x), _mm_slli_epi32::<{ 32 - $n }>($x))
    };
}

/// The sum modulo 2 of three vectors.
macro_rules! xor3 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm_xor_si128(_mm_xor_si128($x, $y), $z)
    };
}

op!(
    fn splat(x: u32) -> V {
        _mm_set1_epi32(x.cast_signed())
    }
);
op!(
    fn add(x: V, y: V) -> V {
        _mm_add_epi32(x, y)
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
        xor3!(rotate!(x, 7), rotate!(x, 18), _mm_srli_epi32::<3>(x))
    }
);
op!(
    fn small1(x: V) -> V {
        xor3!(rotate!(x, 17), rotate!(x, 19), _mm_srli_epi32::<10>(x))
    }
);
op!(
    fn ch(e: V, f: V, g: V) -> V {
        _mm_xor_si128(g, _mm_and_si128(e, _mm_xor_si128(f, g)))
    }
);
op!(
    fn maj(a: V, b: V, c: V) -> V {
        _mm_xor_si128(b, _mm_and_si128(_mm_xor_si128(a, b), _mm_xor_si128(b, c)))
    }
);
op!(
    fn iota() -> V {
        _mm_setr_epi32(0, 1, 2, 3)
    }
);
op!(
    fn swap_bytes(x: V) -> V {
        // The bytes of each half word, then the half words.
        let x = _mm_or_si128(_mm_srli_epi16::<8>(x), _mm_slli_epi16::<8>(x));
        rotate!(x, 16)
    }
);
op!(
    fn lanes_clear(x: V, mask: V) -> u32 {
        bits(_mm_cmpeq_epi32(_mm_and_si128(x, mask), _mm_setzero_si128()))
    }
);
op!(
    fn lanes_at_most(x: V, limit: u32) -> u32 {
        // Comparisons take words as signed.
        let signed = |x| _mm_xor_si128(x, splat(1 << 31));
        !bits(_mm_cmpgt_epi32(signed(x), signed(splat(limit)))) & 0xf
    }
);
op!(
    fn bits(lanes: V) -> u32 {
        _mm_movemask_ps(_mm_castsi128_ps(lanes)).cast_unsigned()
    }
);

super::super::lanes::lanes_kernel!(#[target_feature(enable = "sse2")]);
super::super::lanes::versions_kernel!(one: 0; #[target_feature(enable = "sse2")]);
