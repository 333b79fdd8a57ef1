//! The clock of BM1380 and BM1384: a crystal, a multiplier and two dividers in 16 bits.

use crate::crc::crc5_within;

/// Bits of the register: the oscillator's band, then multiplier − 1 (6 bits), divider − 1 (5), log2 of the last (2).
const BAND: u16 = 1 << 14;

/// The command that sets the clock of an AntMiner U1 or U2 nearest to `mhz`.
pub(super) fn set_clock(mhz: f64) -> [u8; 4] {
    let [high, low] = nearest(mhz).to_be_bytes();
    [0x82, high, low, crc5_within(&[0x82, high, low], 0)]
}

/// `25 MHz × (m + 1) / ((n + 1) × 2^od)`: of equals the setting with the smallest dividers.
fn nearest(mhz: f64) -> u16 {
    let dividers = (0..4u16).flat_map(|od| (0..32u16).map(move |n| (n, od)));
    let settings = dividers.map(|(n, od)| {
        let divider = f64::from((n + 1) << od);
        let m = (mhz * divider / 25.0).round().clamp(1.0, 64.0) - 1.0;
        let off = (25.0 * (m + 1.0) / divider - mhz).abs();
        (off, n + od, m as u16, n, od)
    });
    let best = settings.min_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).expect("finite numbers"));
    let (_, _, m, n, od) = best.expect("there are dividers");
    let oscillator = mhz * f64::from(1 << od);
    let band = if (500.0..=1000.0).contains(&oscillator) { BAND } else { 0 };
    band | m << 7 | n << 2 | od
}
