//! SHA-256 as FIPS 180-4 writes it, one block at a time: for midstates and for checking a hit, not for searching.

/// The initial hash value.
pub const IV: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The round constants.
pub const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// The padding bit that follows the message.
pub const PAD: u32 = 0x8000_0000;
/// Length of a header in bits.
pub const HEADER_BITS: u32 = 640;
/// Length of a SHA-256 digest in bits.
pub const DIGEST_BITS: u32 = 256;

/// Σ0.
pub const fn big0(x: u32) -> u32 {
    x.rotate_right(2) ^ x.rotate_right(13) ^ x.rotate_right(22)
}

/// Σ1.
pub const fn big1(x: u32) -> u32 {
    x.rotate_right(6) ^ x.rotate_right(11) ^ x.rotate_right(25)
}

/// σ0.
pub const fn small0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

/// σ1.
pub const fn small1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

/// Ch: bits of `f` where `e` is set, of `g` elsewhere.
pub const fn ch(e: u32, f: u32, g: u32) -> u32 {
    g ^ (e & (f ^ g))
}

/// Maj: what at least two of the three say, bit by bit.
pub const fn maj(a: u32, b: u32, c: u32) -> u32 {
    b ^ ((a ^ b) & (b ^ c))
}

/// One round: the working variables a..h after it; `kw` is the round's constant plus its schedule word.
pub const fn round([a, b, c, d, e, f, g, h]: [u32; 8], kw: u32) -> [u32; 8] {
    let t1 = h.wrapping_add(big1(e)).wrapping_add(ch(e, f, g)).wrapping_add(kw);
    let t2 = big0(a).wrapping_add(maj(a, b, c));
    [t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g]
}

/// The compression function: the chaining value after the block `w` (big-endian words).
pub fn compress(state: [u32; 8], mut w: [u32; 16]) -> [u32; 8] {
    let mut s = state;
    for (t, &k) in K.iter().enumerate() {
        if t >= 16 {
            w[t % 16] = w[t % 16]
                .wrapping_add(small0(w[(t + 1) % 16]))
                .wrapping_add(w[(t + 9) % 16])
                .wrapping_add(small1(w[(t + 14) % 16]));
        }
        s = round(s, k.wrapping_add(w[t % 16]));
    }
    std::array::from_fn(|i| state[i].wrapping_add(s[i]))
}
