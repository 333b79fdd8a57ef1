//! Twenty-four lanes in three vectors of 256 bits, with the instructions of AVX-512, for what is not in
//! [`turn`](super::turn).
//!
//! [`pairs`] interleaves lanes within 128 bits; lanes are numbered so that it puts them in order. So lane `i` is not
//! element `i` of the vectors, but [`numbers`] and [`columns`] know where it is.

use core::arch::x86_64::*;

use super::LANES;
use super::turn::Row;

pub(super) type V = [__m256i; LANES / 8];

/// An operation of the kernel.
macro_rules! op {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        $(#[$doc])*
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,sha")]
        pub(super) fn $name($($arg: $type),*) -> $out $body
    };
}

/// `$value` for each third of the vectors that it names.
macro_rules! thirds {
    (|$($x:ident),+| $value:expr) => {
        [
            { $( let $x = $x[0]; )+ $value },
            { $( let $x = $x[1]; )+ $value },
            { $( let $x = $x[2]; )+ $value },
        ]
    };
}

op!(
    fn splat(x: u32) -> V {
        [_mm256_set1_epi32(x.cast_signed()); 3]
    }
);
op!(
    fn add(x: V, y: V) -> V {
        thirds!(|x, y| _mm256_add_epi32(x, y))
    }
);
op!(
    /// σ0.
    fn small0(x: V) -> V {
        thirds!(|x| _mm256_ternarylogic_epi32::<0x96>(
            _mm256_ror_epi32::<7>(x),
            _mm256_ror_epi32::<18>(x),
            _mm256_srli_epi32::<3>(x)
        ))
    }
);
op!(
    fn swap_bytes(x: V) -> V {
        let order =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
        thirds!(|x| _mm256_shuffle_epi8(x, order))
    }
);
op!(
    /// Whether the bits of `mask` are clear in any lane.
    fn any_clear(x: V, mask: V) -> bool {
        let [x, y, z] = thirds!(|x, mask| _mm256_testn_epi32_mask(x, mask));
        x | y | z != 0
    }
);
op!(
    /// Of each lane its number.
    fn numbers() -> V {
        let first = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
        [0, 8, 16].map(|less| _mm256_add_epi32(first, _mm256_set1_epi32(less)))
    }
);
op!(
    /// Of each lane the nonce, byte-swapped as the hash has it: lane `i` has `base + i`.
    fn nonces(base: u32) -> V {
        swap_bytes(add(splat(base), numbers()))
    }
);
op!(
    /// Of each lane, in order, `x` below `y` in 64 bits.
    fn pairs(x: V, y: V) -> Row {
        thirds!(|x, y| [_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y)])
    }
);
op!(
    /// Of each lane its word.
    fn gather(words: [u32; LANES]) -> V {
        let numbers: [u32; LANES] = bytemuck::must_cast(numbers());
        let mut gathered = [0; LANES];
        for (element, number) in gathered.iter_mut().zip(numbers) {
            *element = words[number as usize];
        }
        bytemuck::must_cast(gathered)
    }
);
op!(
    /// From one half of each lane's working variables the four words of all.
    fn columns(states: &[__m128i; LANES]) -> [V; 4] {
        let mut columns = [[_mm256_setzero_si256(); 3]; 4];
        for (third, [s0, s1, s2, s3, s4, s5, s6, s7]) in states.as_chunks().0.iter().enumerate() {
            let (r0, r1) = (_mm256_set_m128i(*s2, *s0), _mm256_set_m128i(*s3, *s1));
            let (r2, r3) = (_mm256_set_m128i(*s6, *s4), _mm256_set_m128i(*s7, *s5));
            let (even, odd) = (_mm256_unpacklo_epi32(r0, r1), _mm256_unpacklo_epi32(r2, r3));
            columns[0][third] = _mm256_unpacklo_epi64(even, odd);
            columns[1][third] = _mm256_unpackhi_epi64(even, odd);
            let (even, odd) = (_mm256_unpackhi_epi32(r0, r1), _mm256_unpackhi_epi32(r2, r3));
            columns[2][third] = _mm256_unpacklo_epi64(even, odd);
            columns[3][third] = _mm256_unpackhi_epi64(even, odd);
        }
        columns
    }
);
op!(
    /// What [`columns`] undoes.
    fn rows(columns: [V; 4], rows: &mut [__m128i; LANES]) -> () {
        let [x, y, z, u] = columns;
        for (third, rows) in rows.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (x, y, z, u) = (x[third], y[third], z[third], u[third]);
            let (low, high) = (_mm256_unpacklo_epi32(x, y), _mm256_unpacklo_epi32(z, u));
            let (r0, r1) = (_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
            let (low, high) = (_mm256_unpackhi_epi32(x, y), _mm256_unpackhi_epi32(z, u));
            let (r2, r3) = (_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
            for (i, row) in [(0, r0), (1, r1), (4, r2), (5, r3)] {
                rows[i] = _mm256_castsi256_si128(row);
                rows[i + 2] = _mm256_extracti128_si256::<1>(row);
            }
        }
    }
);
