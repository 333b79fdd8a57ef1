//! How header words travel to every family: the words in reversed order, the bytes within each left as in the header.

use miner_core::sha256d::scalar::{IV, compress};

/// The 4-byte words of `bytes` in reversed order.
pub(super) fn reverse_words<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    bytes.as_chunks_mut::<4>().0.reverse();
    bytes
}

/// The chaining value after the first 64 bytes of a header, as chips take it: H7 to H0, each big-endian.
pub(super) fn midstate(header: &[u8; 80]) -> [u8; 32] {
    let (words, _) = header.as_chunks::<4>();
    let state = compress(IV, std::array::from_fn(|i| u32::from_be_bytes(words[i])));
    let mut bytes = [0; 32];
    for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state.iter().rev()) {
        *place = word.to_be_bytes();
    }
    bytes
}

/// The end of the merkle root, ntime and nbits of a header, as chips take them: nbits first.
pub(super) fn tail(header: &[u8; 80]) -> [u8; 12] {
    reverse_words(std::array::from_fn(|i| header[64 + i]))
}
