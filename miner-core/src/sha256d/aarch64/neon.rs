//! Four lanes of NEON.

use core::arch::aarch64::*;

type V = uint32x4_t;
pub(in crate::sha256d) const LANES: usize = 4;

/// An operation of the kernel.
macro_rules! op {
    (fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        #[inline]
        #[target_feature(enable = "neon")]
        fn $name($($arg: $type),*) -> $out $body
    };
}

/// `x` rotated right: the second shift inserts into what the first one left.
macro_rules! rotate {
    ($x:ident, $n:literal) => {
        vsriq_n_u32::<$n>(vshlq_n_u32::<{ 32 - $n }>($x), $x)
    };
}

/// The sum modulo 2 of three vectors.
macro_rules! xor3 {
    ($x:expr, $y:expr, $z:expr) => {
        veorq_u32(veorq_u32($x, $y), $z)
    };
}

op!(
    fn splat(x: u32) -> V {
        vdupq_n_u32(x)
    }
);
op!(
    fn add(x: V, y: V) -> V {
        vaddq_u32(x, y)
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
        xor3!(rotate!(x, 7), rotate!(x, 18), vshrq_n_u32::<3>(x))
    }
);
op!(
    fn small1(x: V) -> V {
        xor3!(rotate!(x, 17), rotate!(x, 19), vshrq_n_u32::<10>(x))
    }
);
op!(
    fn ch(e: V, f: V, g: V) -> V {
        vbslq_u32(e, f, g)
    }
);
// LLVM makes an exclusive or and a bit select of this, but four operations of `vbslq_u32`.
op!(
    fn maj(a: V, b: V, c: V) -> V {
        veorq_u32(b, vandq_u32(veorq_u32(a, b), veorq_u32(b, c)))
    }
);
op!(
    fn iota() -> V {
        vcombine_u32(vcreate_u32(1 << 32), vcreate_u32(3 << 32 | 2))
    }
);
op!(
    fn swap_bytes(x: V) -> V {
        vreinterpretq_u32_u8(vrev32q_u8(vreinterpretq_u8_u32(x)))
    }
);
op!(
    fn lane_set(all_ones: V) -> u32 {
        vaddvq_u32(vandq_u32(all_ones, vshlq_u32(splat(1), vreinterpretq_s32_u32(iota()))))
    }
);
op!(
    fn lanes_clear(x: V, mask: V) -> u32 {
        lane_set(vceqzq_u32(vandq_u32(x, mask)))
    }
);
op!(
    fn lanes_at_most(x: V, limit: u32) -> u32 {
        lane_set(vcleq_u32(x, splat(limit)))
    }
);

super::super::lanes::lanes_kernel!(#[target_feature(enable = "neon")]);
super::super::lanes::versions_kernel!(even: 0, odd: 1; #[target_feature(enable = "neon")]);
