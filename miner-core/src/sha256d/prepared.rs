//! A header with everything done that does not depend on its nonce.

use super::scalar::{DIGEST_BITS, HEADER_BITS, IV, K, PAD, compress, round, small0, small1};
use crate::types::{BlockHash, Header};

/// A header, ready to be searched: what the nonce does not change is computed.
///
/// The second block of the first hash is `tail[0..3]`, nonce, padding, zeros, 640. "Nonce" here is the block's word
/// 3: the header's nonce read big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The chaining value after the first 64 bytes.
    pub(super) midstate: [u32; 8],
    /// Words 0, 1, 2 of the second block.
    pub(super) tail: [u32; 3],
    /// Working variables a..h after rounds 0–3 with nonce 0. The nonce only adds to `a` and `e`.
    pub(super) entry: [u32; 8],
    /// `h + K + W` of rounds 4, 5, 6: there `h` is still one of `entry`'s words.
    pub(super) entry_h: [u32; 3],
    /// Schedule words 16 and 17.
    pub(super) w16: u32,
    pub(super) w17: u32,
    /// Schedule word 18 without `σ0(nonce)`, 19 without `nonce`.
    pub(super) w18: u32,
    pub(super) w19: u32,
    /// Schedule words 31, 32 without the two terms that depend on the nonce.
    pub(super) w31: u32,
    pub(super) w32: u32,
}

impl Prepared {
    /// Prepares a header; its nonce is ignored.
    pub fn new(header: &Header) -> Self {
        Self::from_bytes(&header.to_bytes())
    }

    /// Prepares a header in its serialised form; its nonce is ignored.
    pub fn from_bytes(header: &[u8; 80]) -> Self {
        let (words, _) = header.as_chunks::<4>();
        let word = |i: usize| u32::from_be_bytes(words[i]);
        let midstate = compress(IV, std::array::from_fn(word));
        let tail = [word(16), word(17), word(18)];

        let entry = [tail[0], tail[1], tail[2], 0]
            .iter()
            .zip(K)
            .fold(midstate, |state, (&w, k)| round(state, k.wrapping_add(w)));
        let [_, _, _, _, _, f, g, h] = entry;
        let w16 = small0(tail[1]).wrapping_add(tail[0]);
        let w17 = small1(HEADER_BITS).wrapping_add(small0(tail[2])).wrapping_add(tail[1]);
        Self {
            midstate,
            tail,
            entry,
            entry_h: [h.wrapping_add(K[4]).wrapping_add(PAD), g.wrapping_add(K[5]), f.wrapping_add(K[6])],
            w16,
            w17,
            w18: small1(w16).wrapping_add(tail[2]),
            w19: small1(w17).wrapping_add(small0(PAD)),
            w31: small0(w16).wrapping_add(HEADER_BITS),
            w32: small0(w17).wrapping_add(w16),
        }
    }

    /// Whether both have the same words in the first hash's second block: the end of the merkle root, ntime and nbits.
    pub(super) fn shares_schedule(&self, other: &Self) -> bool {
        self.tail == other.tail
    }

    /// The hash of the header with this nonce, by plain scalar code.
    pub fn hash(&self, nonce: u32) -> BlockHash {
        let mut block = [0; 16];
        block[..3].copy_from_slice(&self.tail);
        (block[3], block[4], block[15]) = (nonce.swap_bytes(), PAD, HEADER_BITS);
        let first = compress(self.midstate, block);

        let mut block = [0; 16];
        block[..8].copy_from_slice(&first);
        (block[8], block[15]) = (PAD, DIGEST_BITS);
        let mut bytes = [0; 32];
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(compress(IV, block)) {
            *place = word.to_be_bytes();
        }
        BlockHash(bytes)
    }
}
