//! What a chip does: SHA-256 of a header's last block after a midstate, and SHA-256 of that.

use sha2::block_api::compress256;

const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// All of a header but its nonce, as far as the nonce leaves it to be hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Work {
    midstate: [u32; 8],
    /// Header bytes 64 to 75.
    tail: [u8; 12],
}

impl Work {
    /// The work of a header, whose nonce is ignored.
    pub(crate) fn of_header(header: &[u8; 80]) -> Self {
        let (blocks, rest) = header.as_chunks::<64>();
        let mut midstate = IV;
        compress256(&mut midstate, blocks);
        Self { midstate, tail: *rest.first_chunk().expect("16 bytes are left of 80") }
    }

    /// The work in a midstate and a tail as they go over a wire: both in reversed word order, the words of the midstate
    /// big-endian, the bytes of the tail's words as in the header.
    pub(crate) fn from_wire(midstate: &[u8; 32], tail: &[u8; 12]) -> Self {
        let mut words = midstate.as_chunks::<4>().0.iter().rev().map(|word| u32::from_be_bytes(*word));
        let midstate = std::array::from_fn(|_| words.next().unwrap_or_default());
        let [a, b, c] = [0, 4, 8].map(|at| [tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
        let tail = [c, b, a].concat().try_into().expect("three words of four bytes");
        Self { midstate, tail }
    }

    /// The double hash with a nonce, in internal byte order: the last byte is the most significant.
    pub(crate) fn hash(&self, nonce: [u8; 4]) -> [u8; 32] {
        let mut block = [0; 64];
        block[..12].copy_from_slice(&self.tail);
        block[12..16].copy_from_slice(&nonce);
        block[16] = 0x80;
        block[62..].copy_from_slice(&640u16.to_be_bytes());
        let mut state = self.midstate;
        compress256(&mut state, &[block]);

        let mut block = [0; 64];
        block[..32].copy_from_slice(&bytes(state));
        block[32] = 0x80;
        block[62..].copy_from_slice(&256u16.to_be_bytes());
        let mut state = IV;
        compress256(&mut state, &[block]);
        bytes(state)
    }
}

/// How many bits a hash begins with that are zero, as a number.
pub(crate) fn zero_bits(hash: &[u8; 32]) -> u32 {
    let bytes = hash.iter().rev();
    let zeros = bytes.clone().take_while(|&&byte| byte == 0).count();
    8 * zeros as u32 + hash.iter().rev().nth(zeros).map_or(0, |byte| byte.leading_zeros())
}

/// Whether a hash meets difficulty 1, the least that any chip reports, and clears the bits of a ticket mask.
///
/// `mask` counts from the 33rd bit of the hash as a number, most significant first.
pub(crate) fn passes(hash: &[u8; 32], mask: u32) -> bool {
    let next = u32::from_le_bytes([hash[24], hash[25], hash[26], hash[27]]);
    hash[28..] == [0; 4] && next & mask == 0
}

fn bytes(state: [u32; 8]) -> [u8; 32] {
    state.map(u32::to_be_bytes).concat().try_into().expect("eight words of four bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_block_1() {
        let header = hex::decode(concat!(
            "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee1467",
            "7ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299"
        ));
        let header: [u8; 80] = header.unwrap().try_into().unwrap();
        let mut hash = Work::of_header(&header).hash([0x01, 0xe3, 0x62, 0x99]);
        assert_eq!((zero_bits(&hash), passes(&hash, 0), passes(&hash, 1 << 31)), (32, true, false));
        hash.reverse();
        assert_eq!(hex::encode(hash), "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048");
    }
}
