//! The two checksums of Bitmain chips, by their definition: a shift register, bit after bit.

/// The 5-bit remainder over the first `bits` bits: x^5 + x^2 + 1, starting from ones, most significant bit first.
pub(crate) fn crc5(bytes: &[u8], bits: usize) -> u8 {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)).take(bits);
    bits.fold(0x1f, |crc: u8, bit| {
        let feedback = 0x05 * (crc >> 4 ^ bit);
        crc << 1 & 0x1f ^ feedback
    })
}

/// The 16-bit remainder: x^16 + x^12 + x^5 + 1, starting from ones, most significant bit first.
pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| u16::from(byte >> place & 1)));
    bits.fold(0xffff, |crc: u16, bit| {
        let feedback = 0x1021 * (crc >> 15 ^ bit);
        crc << 1 ^ feedback
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_recorded_frames() {
        assert_eq!(crc5(&[0x52, 0x05, 0, 0], 32), 0x0a);
        assert_eq!(crc5(&[0x84, 0, 0, 0], 27), 0x11);
        assert_eq!(crc16(b"123456789"), 0x29b1, "the catalogue's check value of CRC-16/IBM-3740");
    }
}
