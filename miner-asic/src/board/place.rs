//! Where a device's ports are: by name, or wherever USB has it now.

use std::path::PathBuf;
use std::sync::Arc;

use crate::transport::LinkError;
use crate::usb::{Enumerate, UsbDevice};

/// Where a device's ports are.
#[derive(Clone)]
pub enum Place {
    /// Ports by name.
    Named(Vec<PathBuf>),
    /// A device on USB, wherever it turns up.
    Usb(Arc<dyn Enumerate>, UsbDevice),
}

impl Place {
    /// The ports as they are now; more than `N` are left alone.
    ///
    /// # Errors
    /// The device is not there, or has fewer ports.
    pub fn ports<const N: usize>(&self) -> Result<[PathBuf; N], LinkError> {
        let ports = match self {
            Self::Named(ports) => ports.clone(),
            Self::Usb(bus, known) => {
                let devices = bus.devices().unwrap_or_default();
                devices
                    .into_iter()
                    .find(|device| device.is_same(known))
                    .map_or(Vec::new(), |device| device.ports)
            }
        };
        let count = ports.len().min(N);
        let missing = || LinkError::NotFound { path: self.name().into() };
        ports.into_iter().take(count).collect::<Vec<_>>().try_into().map_err(|_| missing())
    }

    /// What its key ends in: its serial number, or its port.
    pub fn name(&self) -> String {
        match self {
            Self::Named(ports) => {
                let names = ports.iter().map(|port| {
                    let name = port.display().to_string();
                    name.strip_prefix("/dev/").unwrap_or(&name).to_owned()
                });
                names.collect::<Vec<_>>().join(",")
            }
            Self::Usb(_, device) => device.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::mock::MockUsb;

    #[test]
    fn a_device_is_found_again_under_another_port() {
        let device = |port: &str| UsbDevice {
            serial: Some("A1".to_owned()),
            ports: vec![port.into()],
            ..UsbDevice::default()
        };
        let usb = Arc::new(MockUsb::new([device("/dev/ttyUSB0")]));
        let place = Place::Usb(Arc::clone(&usb) as _, device("/dev/ttyUSB0"));
        assert_eq!(place.ports::<1>().unwrap(), [PathBuf::from("/dev/ttyUSB0")]);
        usb.set([]);
        assert!(place.ports::<1>().unwrap_err().is_absence());
        usb.set([
            UsbDevice { serial: Some("B2".to_owned()), ..device("/dev/ttyUSB0") },
            device("/dev/ttyUSB7"),
        ]);
        assert_eq!(place.ports::<1>().unwrap(), [PathBuf::from("/dev/ttyUSB7")]);
        assert!(place.ports::<2>().unwrap_err().is_absence(), "one port is not two");
    }

    #[test]
    fn ports_by_name_are_taken_as_they_are() {
        let place = Place::Named(vec!["/dev/ttyACM0".into(), "/dev/pts/1".into()]);
        assert_eq!(place.name(), "ttyACM0,pts/1");
        assert_eq!(place.ports::<1>().unwrap(), [PathBuf::from("/dev/ttyACM0")]);
    }
}
