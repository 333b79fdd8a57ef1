//! What hashes cost.

use miner_core::snapshot::DeviceSnapshot;

/// The energy of a device for each 10^12 hashes, in J: its power now by its counted rate over 5 s, or over a minute where
/// hashes are only inferred from hits. `None` where one of them is unknown or nothing is hashed.
pub(super) fn efficiency(device: &DeviceSnapshot) -> Option<f64> {
    let counted = &device.rates.counted;
    let rate = if device.info.counts_hashes { counted.s5 } else { counted.m1 }?;
    let watts = device.health.watts.filter(|_| device.present)?;
    let joules = f64::from(watts) / rate.0 * 1e12;
    (joules.is_finite() && joules > 0.0).then_some(joules)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use miner_core::backend::BackendInfo;
    use miner_core::types::HashRate;

    use super::*;
    use crate::report::samples;

    #[test]
    fn a_rate_and_a_power_make_an_efficiency_and_anything_less_does_not() {
        let mut device = samples::device();
        device.health.watts = Some(450.0);
        device.rates.counted.s5 = Some(HashRate(9e9));
        assert_eq!(efficiency(&device), Some(50_000.0));
        device.rates.counted.s5 = None;
        assert_eq!(efficiency(&device), None, "it hashes no more, whatever it did in the last minute");
        let mut asic = device.clone();
        asic.info = Arc::new(BackendInfo { counts_hashes: false, ..BackendInfo::clone(&device.info) });
        asic.rates.counted.m1 = Some(HashRate(4.5e9));
        assert_eq!(efficiency(&asic), Some(100_000.0));
        for (watts, rate) in [(None, 1e9), (Some(0.0), 1e9), (Some(100.0), 0.0), (Some(f32::NAN), 1e9)] {
            device.health.watts = watts;
            device.rates.counted.s5 = Some(HashRate(rate));
            assert_eq!(efficiency(&device), None, "{watts:?} {rate}");
        }
        device.health.watts = Some(100.0);
        device.present = false;
        assert_eq!(efficiency(&device), None);
    }
}
