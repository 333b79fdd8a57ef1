//! Devices by the names that people know them by.

use std::sync::Arc;

use crate::answers::KnownAnswers;
use crate::bitaxe::{Bitaxe, Protocol};
use crate::bm13xx::ChipKind;
use crate::bm1384::Bm1384;
use crate::compac_a::CompacA;
use crate::compac_f::CompacF;
use crate::device::Device;
use crate::icarus::{Icarus, IcarusKind};

/// Names that [`preset`] knows, and what they stand for.
pub const PRESETS: [(&str, &str); 12] = [
    ("icarus", "Icarus FPGA board"),
    ("erupter", "Block Erupter USB"),
    ("u1", "AntMiner U1 or U2"),
    ("compac", "GekkoScience Compac: BM1384"),
    ("2pac", "GekkoScience 2Pac: two BM1384"),
    ("compac-f", "GekkoScience Compac F: BM1397"),
    ("r909", "GekkoScience R909: six BM1397"),
    ("compac-a1", "GekkoScience Compac A1: BM1362"),
    ("compac-a2", "GekkoScience Compac A2: BM1370"),
    ("gamma", "Bitaxe Gamma: BM1370"),
    ("ultra", "Bitaxe Ultra: BM1366"),
    ("supra", "Bitaxe Supra: BM1368"),
];

/// Nonces that an Icarus really hashes when work comes: they hold the answer to the work that devices are recognised by.
const BRUTE_FORCE: u32 = 1 << 17;

/// The device of a name, `None` for a name that is not in [`PRESETS`].
pub fn preset(name: &str, answers: Arc<KnownAnswers>) -> Option<Box<dyn Device>> {
    let icarus = |kind, answers| Some(Box::new(Icarus::new(kind, answers, BRUTE_FORCE)) as Box<dyn Device>);
    let bitaxe =
        |kind, answers| Some(Box::new(Bitaxe::new(kind, 1, Protocol::V0, answers)) as Box<dyn Device>);
    match name {
        "icarus" => icarus(IcarusKind::Icarus, answers),
        "erupter" => icarus(IcarusKind::Erupter, answers),
        "u1" => icarus(IcarusKind::AntMinerU1, answers),
        "compac" => Some(Box::new(Bm1384::new(1, answers))),
        "2pac" => Some(Box::new(Bm1384::new(2, answers))),
        "compac-f" => Some(Box::new(CompacF::new(1, answers))),
        "r909" => Some(Box::new(CompacF::new(6, answers))),
        "compac-a1" => Some(Box::new(CompacA::a1(answers))),
        "compac-a2" => Some(Box::new(CompacA::a2(answers))),
        "gamma" => bitaxe(ChipKind::Bm1370, answers),
        "ultra" => bitaxe(ChipKind::Bm1366, answers),
        "supra" => bitaxe(ChipKind::Bm1368, answers),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_name_is_a_device_that_does_nothing_by_itself() {
        for (name, _) in PRESETS {
            let mut device = preset(name, Arc::default()).unwrap();
            let (state, chips) = (device.state(Instant::now()), if name == "r909" { 6 } else { 1 });
            assert!(state.plugged && !state.hashing && state.is_safe() && state.chips >= chips, "{name}");
            assert_eq!(device.next_deadline(), None, "{name}");
        }
        assert!(preset("toaster", Arc::default()).is_none());
    }
}
