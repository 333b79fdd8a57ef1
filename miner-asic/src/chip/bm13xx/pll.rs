//! The clock: a crystal of 25 MHz, multiplied by `fb / ref` and divided by two post dividers.

use std::ops::RangeInclusive;

const CRYSTAL_MHZ: f64 = 25.0;
/// From this frequency of the oscillator on, the register says so.
const HIGH_VCO_MHZ: f64 = 2400.0;

/// How a model's clock is set.
#[derive(Debug)]
pub struct PllLimits {
    /// The multipliers that the oscillator stands.
    pub(super) fb: RangeInclusive<u8>,
    /// The reference dividers to choose from.
    pub(super) reference: RangeInclusive<u8>,
    /// Whether the register holds the post dividers less one, and the band of the oscillator.
    pub(super) modern: bool,
}

/// A setting of the dividers: `25 MHz × fb / (ref × post1 × post2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pll {
    /// Feedback divider.
    pub fb: u8,
    /// Reference divider, 1 or 2.
    pub reference: u8,
    /// Post dividers, 1 to 7; the first is the larger one.
    pub post: (u8, u8),
}

impl Pll {
    /// The setting that comes nearest to `mhz`; of equals the one with the slowest oscillator, then with the smallest
    /// post dividers.
    pub fn nearest(mhz: f64, limits: &PllLimits) -> Self {
        let dividers = limits.reference.clone().flat_map(|reference| {
            (1..=7).flat_map(move |first| (1..=first).map(move |second| (reference, (first, second))))
        });
        let settings =
            dividers.filter(|&(_, post)| post.0 > post.1 || post == (1, 1)).map(|(reference, post)| {
                let divider = f64::from(reference) * f64::from(post.0) * f64::from(post.1);
                let fb = (mhz * divider / CRYSTAL_MHZ).round();
                let (least, most) = (f64::from(*limits.fb.start()), f64::from(*limits.fb.end()));
                Self { fb: fb.clamp(least, most) as u8, reference, post }
            });
        let worth = |pll: &Self| ((pll.mhz() - mhz).abs(), pll.vco_mhz(), pll.post.0 * pll.post.1);
        settings.min_by(|a, b| worth(a).partial_cmp(&worth(b)).expect("finite numbers")).unwrap_or(Self {
            fb: *limits.fb.start(),
            reference: *limits.reference.end(),
            post: (7, 6),
        })
    }

    /// The clock in MHz.
    pub fn mhz(self) -> f64 {
        self.vco_mhz() / f64::from(self.post.0) / f64::from(self.post.1)
    }

    /// The oscillator in MHz.
    pub fn vco_mhz(self) -> f64 {
        CRYSTAL_MHZ * f64::from(self.fb) / f64::from(self.reference)
    }

    /// The register's value.
    pub fn register(self, limits: &PllLimits) -> u32 {
        let less = u8::from(limits.modern);
        let flag = if limits.modern && self.vco_mhz() >= HIGH_VCO_MHZ { 0x50 } else { 0x40 };
        u32::from_be_bytes([flag, self.fb, self.reference, (self.post.0 - less) << 4 | (self.post.1 - less)])
    }

    /// The time that a sweep takes, in ticks of the crystal: `nonces` tries at two a clock.
    pub(super) fn ticks_for(self, nonces: u64) -> u64 {
        let divider = u64::from(self.reference) * u64::from(self.post.0) * u64::from(self.post.1);
        nonces * divider / (2 * u64::from(self.fb))
    }
}
