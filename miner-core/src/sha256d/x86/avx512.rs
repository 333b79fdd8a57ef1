//! Sixteen lanes of AVX-512 (F for the arithmetic, BW for the byte shuffle).

use core::arch::x86_64::*;

type V = __m512i;
pub(in crate::sha256d) const LANES: usize = 16;

/// An operation of the kernel.
macro_rules! op {
    (fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn $name($($arg: $type),*) -> $out $body
    };
}

/// The sum modulo 2 of three vectors.
macro_rules! xor3 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm512_ternarylogic_epi32::<0x96>($x, $y, $z)
    };
}

use _mm512_ror_epi32 as rotate;

op!(
    fn splat(x: u32) -> V {
        _mm512_set1_epi32(x.cast_signed())
    }
);
op!(
    fn add(x: V, y: V) -> V {
        _mm512_add_epi32(x, y)
    }
);
op!(
    fn big0(x: V) -> V {
        xor3!(rotate::<2>(x), rotate::<13>(x), rotate::<22>(x))
    }
);
op!(
    fn big1(x: V) -> V {
        xor3!(rotate::<6>(x), rotate::<11>(x), rotate::<25>(x))
    }
);
op!(
    fn small0(x: V) -> V {
        xor3!(rotate::<7>(x), rotate::<18>(x), _mm512_srli_epi32::<3>(x))
    }
);
op!(
    fn small1(x: V) -> V {
        xor3!(rotate::<17>(x), rotate::<19>(x), _mm512_srli_epi32::<10>(x))
    }
);
op!(
    fn ch(e: V, f: V, g: V) -> V {
        _mm512_ternarylogic_epi32::<0xca>(e, f, g)
    }
);
op!(
    fn maj(a: V, b: V, c: V) -> V {
        _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
    }
);
op!(
    fn iota() -> V {
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    }
);
op!(
    fn swap_bytes(x: V) -> V {
        _mm512_shuffle_epi8(
            x,
            _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)),
        )
    }
);
op!(
    fn lanes_clear(x: V, mask: V) -> u32 {
        u32::from(_mm512_testn_epi32_mask(x, mask))
    }
);
op!(
    fn lanes_at_most(x: V, limit: u32) -> u32 {
        u32::from(_mm512_cmple_epu32_mask(x, splat(limit)))
    }
);

super::super::lanes::lanes_kernel!(#[target_feature(enable = "avx512f,avx512bw")]);
super::super::lanes::versions_kernel!(even: 0, odd: 1; #[target_feature(enable = "avx512f,avx512bw")]);
