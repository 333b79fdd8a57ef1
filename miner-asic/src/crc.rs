//! The two checksums of Bitmain chips. Neither is in the catalogues under the name that people give it.

use crc::{Algorithm, Crc, Table};

/// Polynomial x⁵ + x² + 1, start 0x1f, nothing reflected, nothing inverted at the end (so not "CRC-5/USB").
const CRC5: Crc<u8, Table<1>> = Crc::<u8, Table<1>>::new(&Algorithm {
    width: 5,
    poly: 0x05,
    init: 0x1f,
    refin: false,
    refout: false,
    xorout: 0,
    check: 0x0f,
    residue: 0,
});

/// CRC-16/IBM-3740, also known as "CCITT-FALSE".
const CRC16: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&crc::CRC_16_IBM_3740);

/// The five-bit checksum of whole bytes, in the low bits; zero over a frame that ends with its own.
pub fn crc5(bytes: &[u8]) -> u8 {
    CRC5.checksum(bytes)
}

/// The five-bit checksum of `bytes` and then of the top three bits of `last`: what goes into the low five of `last`.
pub fn crc5_within(bytes: &[u8], last: u8) -> u8 {
    (5..8).rev().fold(crc5(bytes), |crc, place| {
        let carry = (crc >> 4) ^ (last >> place & 1);
        (crc << 1 & 0x1f) ^ (carry * 0x05)
    })
}

/// The checksum of job frames; sent high byte first.
pub fn crc16(bytes: &[u8]) -> u16 {
    CRC16.checksum(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A checksum by its definition: the remainder of a division, a bit at a time.
    fn divide(bits: impl Iterator<Item = bool>, width: u32, poly: u32, start: u32) -> u32 {
        bits.fold(start, |crc, bit| {
            let carry = (crc >> (width - 1) & 1 == 1) != bit;
            (crc << 1 & ((1 << width) - 1)) ^ if carry { poly } else { 0 }
        })
    }

    fn bits(bytes: &[u8]) -> impl Iterator<Item = bool> {
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1 == 1))
    }

    #[test]
    fn known_frames_carry_these_checksums() {
        assert_eq!(crc5(&[0x52, 0x05, 0x00, 0x00]), 0x0a);
        assert_eq!(crc5(b"123456789"), CRC5.algorithm.check);
        assert_eq!(crc5(&[0x84, 0x00, 0x00, 0x11]), 0);
        assert_eq!(crc5_within(&[0x84, 0x00, 0x00], 0), 0x11);
        assert_eq!(crc16(b"123456789"), 0x29b1);
    }

    proptest! {
        #[test]
        fn tables_agree_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..160), last: u8) {
            prop_assert_eq!(u32::from(crc5(&bytes)), divide(bits(&bytes), 5, 0x05, 0x1f));
            prop_assert_eq!(u32::from(crc16(&bytes)), divide(bits(&bytes), 16, 0x1021, 0xffff));
            let last_byte = [last];
            let three = bits(&bytes).chain(bits(&last_byte).take(3));
            prop_assert_eq!(u32::from(crc5_within(&bytes, last)), divide(three, 5, 0x05, 0x1f));
        }

        #[test]
        fn a_frame_that_ends_with_its_own_checksum_leaves_nothing(
            mut bytes in prop::collection::vec(any::<u8>(), 0..16),
            last: u8,
        ) {
            bytes.push(last & 0xe0 | crc5_within(&bytes, last));
            prop_assert_eq!(crc5(&bytes), 0);
        }
    }
}
