//! Which devices on USB are ASICs, and why one is not used. Nothing is opened here, so nothing is disturbed.
//!
//! Vendor and product ids alone tell little: `c0de:cafe` is a pair for tests, and `10c4:ea60` is on half of all serial
//! adapters. Only ids with the right strings are a sure match; a port is never probed to find out.

use std::path::{Path, PathBuf};

use crate::drivers::Driver;
use crate::usb::{Enumerate, UsbDevice, UsbError};

/// What a device on USB is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// This, by its strings.
    Sure(Driver),
    /// One of these, or something else altogether: its bridge is used for anything.
    Maybe(&'static [Driver]),
    /// An ASIC that lode does not drive, and why.
    NotDriven(&'static str),
}

/// A device that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The device.
    pub device: UsbDevice,
    /// What it is taken for.
    pub is: Match,
    /// Why it can't be used as it is.
    pub obstacle: Option<Obstacle>,
}

/// Why a device can't be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// lode does not drive it.
    #[error("{0}")]
    NotDriven(&'static str),
    /// No kernel driver made serial ports of it, or not enough of them.
    #[error("the system has made {got} serial ports of it in place of {wanted}")]
    NoPorts {
        /// Ports that there are.
        got: usize,
        /// Ports that there must be.
        wanted: usize,
    },
    /// There is no such port.
    #[error("{0} is not there")]
    Missing(String),
    /// We may not use its port.
    #[error("no permission to use {0}")]
    Denied(String),
}

struct Pattern {
    ids: &'static [(u16, u16)],
    /// What its maker's name begins with.
    manufacturer: &'static str,
    /// What its product's name begins with.
    product: &'static str,
    is: Match,
}

const BITAXE: &[(u16, u16)] = &[(0xc0de, 0xcafe)];
const CP2102: &[(u16, u16)] = &[(0x10c4, 0xea60)];
const CP2105: &[(u16, u16)] = &[(0x10c4, 0xea70)];
const FTX: &[(u16, u16)] = &[(0x0403, 0x6015)];
/// FT232R, FT232H, PL2303, LPC1343.
const ADAPTERS: &[(u16, u16)] = &[(0x0403, 0x6001), (0x0403, 0x6014), (0x067b, 0x2303), (0x1fc9, 0x0083)];

const NO_KEEPER: &str = "lode does not know how to keep its voltage and temperature safe";
const TERMINUS: &str = "lode does not know how many chips it has, nor what they stand";
const BM1387: &str = "its chip, BM1387, is not supported";

/// The first that fits counts; longer names stand before those that they begin with.
const PATTERNS: &[Pattern] = &[
    Pattern {
        ids: BITAXE,
        manufacturer: "OSMU",
        product: "BitaxeBonanza",
        is: Match::NotDriven("its chip, BZM2, is not supported"),
    },
    Pattern { ids: BITAXE, manufacturer: "OSMU", product: "Bitaxe", is: Match::Sure(Driver::BitaxeGamma) },
    Pattern { ids: BITAXE, manufacturer: "OSMU", product: "bitcrane", is: Match::NotDriven(NO_KEEPER) },
    Pattern { ids: BITAXE, manufacturer: "256F", product: "EmberOne", is: Match::NotDriven(NO_KEEPER) },
    Pattern {
        ids: CP2105,
        manufacturer: "Silicon Labs",
        product: "GekkoScience Compac A1",
        is: Match::Sure(Driver::CompacA1),
    },
    Pattern {
        ids: CP2105,
        manufacturer: "Silicon Labs",
        product: "GekkoScience Compac A2",
        is: Match::Sure(Driver::CompacA2),
    },
    Pattern {
        ids: CP2105,
        manufacturer: "Silicon Labs",
        product: "GekkoScience",
        is: Match::NotDriven(TERMINUS),
    },
    Pattern { ids: FTX, manufacturer: "GekkoScience", product: "CompacF", is: Match::Sure(Driver::CompacF) },
    Pattern { ids: FTX, manufacturer: "GekkoScience", product: "R909", is: Match::Sure(Driver::R909) },
    Pattern { ids: FTX, manufacturer: "GekkoScience", product: "NewPac", is: Match::NotDriven(BM1387) },
    Pattern { ids: FTX, manufacturer: "GekkoScience", product: "R606", is: Match::NotDriven(BM1387) },
    Pattern {
        ids: CP2102,
        manufacturer: "",
        product: "",
        is: Match::Maybe(&[Driver::Erupter, Driver::AntMiner, Driver::Compac, Driver::TwoPac]),
    },
    Pattern { ids: ADAPTERS, manufacturer: "", product: "", is: Match::Maybe(&[Driver::Icarus]) },
];

/// What a device is taken for; `None`: nothing that mines.
pub fn recognise(device: &UsbDevice) -> Option<Match> {
    let ids = (device.vendor, device.product_id);
    let fits = |pattern: &&Pattern| {
        pattern.ids.contains(&ids)
            && device.manufacturer.starts_with(pattern.manufacturer)
            && device.product.starts_with(pattern.product)
    };
    PATTERNS.iter().find(fits).map(|pattern| pattern.is)
}

/// The devices that are, or may be, ASICs.
///
/// # Errors
/// The system does not tell what is on USB.
pub fn look(bus: &dyn Enumerate) -> Result<Vec<Sighting>, UsbError> {
    let sighting = |device: UsbDevice| {
        let is = recognise(&device)?;
        let obstacle = obstacle(&device, is);
        Some(Sighting { device, is, obstacle })
    };
    Ok(bus.devices()?.into_iter().filter_map(sighting).collect())
}

/// Why ports that were named can't be used, as far as can be told without opening them.
pub fn obstacle_at(ports: &[PathBuf]) -> Option<Obstacle> {
    // Elsewhere ports are no files.
    if cfg!(unix)
        && let Some(missing) = ports.iter().find(|port| !port.exists())
    {
        return Some(Obstacle::Missing(missing.display().to_string()));
    }
    let denied = ports.iter().find(|port| !may_use(port))?;
    Some(Obstacle::Denied(denied.display().to_string()))
}

fn obstacle(device: &UsbDevice, is: Match) -> Option<Obstacle> {
    let wanted = match is {
        Match::NotDriven(why) => return Some(Obstacle::NotDriven(why)),
        Match::Sure(driver) => driver.ports(),
        Match::Maybe(drivers) => drivers.iter().map(|driver| driver.ports()).max().unwrap_or(1),
    };
    let got = device.ports.len();
    if got < wanted {
        return Some(Obstacle::NoPorts { got, wanted });
    }
    obstacle_at(device.ports.get(..wanted).unwrap_or_default())
}

/// Whether we may read from and write to a port; one that is not there is no matter of permission.
#[cfg(unix)]
fn may_use(port: &Path) -> bool {
    use rustix::fs::{Access, access};
    use rustix::io::Errno;
    access(port, Access::READ_OK | Access::WRITE_OK) != Err(Errno::ACCESS)
}

#[cfg(not(unix))]
fn may_use(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::mock::MockUsb;

    fn device(ids: (u16, u16), manufacturer: &str, product: &str, ports: &[&str]) -> UsbDevice {
        UsbDevice {
            vendor: ids.0,
            product_id: ids.1,
            manufacturer: manufacturer.to_owned(),
            product: product.to_owned(),
            socket: "1-2".to_owned(),
            ports: ports.iter().map(Into::into).collect(),
            ..UsbDevice::default()
        }
    }

    #[test]
    fn ids_and_strings_together_tell_what_a_device_is() {
        let maybe_stick =
            Some(Match::Maybe(&[Driver::Erupter, Driver::AntMiner, Driver::Compac, Driver::TwoPac]));
        let not_driven = |device: &UsbDevice| matches!(recognise(device), Some(Match::NotDriven(_)));
        let is = |ids, manufacturer, product| recognise(&device(ids, manufacturer, product, &[]));
        assert_eq!(is((0xc0de, 0xcafe), "OSMU", "Bitaxe"), Some(Match::Sure(Driver::BitaxeGamma)));
        assert_eq!(is((0xc0de, 0xcafe), "somebody", "a keyboard"), None, "a pair for tests");
        assert_eq!(is((0x10c4, 0xea60), "Silicon Labs", "CP2102 USB to UART Bridge"), maybe_stick);
        assert_eq!(is((0x0403, 0x6001), "FTDI", "FT232R USB UART"), Some(Match::Maybe(&[Driver::Icarus])));
        let a1 = is((0x10c4, 0xea70), "Silicon Labs", "GekkoScience Compac A1");
        assert_eq!(a1, Some(Match::Sure(Driver::CompacA1)));
        let a2 = is((0x10c4, 0xea70), "Silicon Labs", "GekkoScience Compac A2");
        assert_eq!(a2, Some(Match::Sure(Driver::CompacA2)));
        assert_eq!(is((0x0403, 0x6015), "GekkoScience", "CompacF"), Some(Match::Sure(Driver::CompacF)));
        assert_eq!(is((0x0403, 0x6015), "GekkoScience", "R909"), Some(Match::Sure(Driver::R909)));
        assert_eq!(is((0x0403, 0x6015), "FTDI", "R909"), None, "another maker's");
        assert_eq!(is((0x0403, 0x6015), "FTDI", "FT230X Basic UART"), None, "any adapter");
        assert_eq!(is((0x046d, 0xc31c), "Logitech", "USB Keyboard"), None);
        for (ids, manufacturer, product) in [
            ((0xc0de, 0xcafe), "OSMU", "BitaxeBonanza"),
            ((0xc0de, 0xcafe), "OSMU", "bitcrane3"),
            ((0xc0de, 0xcafe), "256F", "EmberOne00"),
            ((0x10c4, 0xea70), "Silicon Labs", "GekkoScience Terminus A1"),
            ((0x0403, 0x6015), "GekkoScience", "NewPac"),
            ((0x0403, 0x6015), "GekkoScience", "R606"),
        ] {
            assert!(not_driven(&device(ids, manufacturer, product, &[])), "{product}");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let gamma = |ports: &[&str]| device((0xc0de, 0xcafe), "OSMU", "Bitaxe", ports);
        let keyboard = device((0x046d, 0xc31c), "Logitech", "USB Keyboard", &[]);
        let usb = MockUsb::new([gamma(&["/dev/null", "/dev/null"]), keyboard, gamma(&["/dev/null"])]);
        let seen = look(&usb).unwrap();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].obstacle, None);
        let text = seen[1].obstacle.as_ref().map(ToString::to_string);
        assert_eq!(obstacle_at(&["/dev/null".into()]), None);
        let missing = obstacle_at(&["/dev/null".into(), "/dev/ttyNOWHERE".into()]);
        assert_eq!(missing.unwrap().to_string(), "/dev/ttyNOWHERE is not there");
        assert_eq!(text.as_deref(), Some("the system has made 1 serial ports of it in place of 2"));
    }
}
