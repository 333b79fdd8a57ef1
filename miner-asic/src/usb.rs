//! What a serial port does not tell and can't do: which USB devices there are, and vendor requests to them.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nusb::MaybeFuture;

/// How long a vendor request may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most bytes of a descriptor's text that are kept.
const MAX_TEXT: usize = 126;

/// A device on USB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsbDevice {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product_id: u16,
    /// `bcdDevice`.
    pub release: u16,
    /// `iManufacturer`.
    pub manufacturer: String,
    /// `iProduct`.
    pub product: String,
    /// `iSerialNumber`.
    pub serial: Option<String>,
    /// The socket that it is in, like `1-2.4`.
    pub socket: String,
    /// Its serial ports in the order of its interfaces; none where no driver made them, or the system does not tell.
    pub ports: Vec<PathBuf>,
    /// The chips of GPIO lines that its serial driver made of spare pins; Linux alone.
    pub gpio_chips: Vec<PathBuf>,
}

impl UsbDevice {
    /// What it is called in keys: its serial number where it has one, else its socket.
    pub fn name(&self) -> String {
        self.serial.as_ref().filter(|serial| !serial.is_empty()).unwrap_or(&self.socket).clone()
    }

    /// Whether this is the same device, plugged in again perhaps.
    pub fn is_same(&self, other: &Self) -> bool {
        let strings =
            |device: &Self| (device.vendor, device.product_id, device.product.clone(), device.name());
        strings(self) == strings(other)
    }
}

/// Why USB can't be used.
#[derive(Debug, thiserror::Error)]
pub enum UsbError {
    /// The system does not tell which devices there are.
    #[error("USB devices can't be listed: {0}")]
    List(String),
    /// The device is not there any more.
    #[error("it is not on USB any more")]
    Gone,
    /// A vendor request did not go through.
    #[error("USB request refused: {0}")]
    Request(String),
    /// A GPIO line can't be driven.
    #[error("GPIO line: {0}")]
    Line(String),
}

/// A vendor request without answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorRequest {
    /// Whether it is for an interface of the device (`bmRequestType` 0x41) or for all of it (0x40).
    pub to_interface: bool,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// The data stage.
    pub data: Vec<u8>,
}

/// Tells which devices there are.
pub trait Enumerate: Send + Sync {
    /// All of them.
    ///
    /// # Errors
    /// The system does not tell.
    fn devices(&self) -> Result<Vec<UsbDevice>, UsbError>;
}

/// Takes vendor requests to one device.
pub trait Control: Send {
    /// Sends one.
    ///
    /// # Errors
    /// The device is gone, or the request is refused.
    fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError>;
}

impl Control for Box<dyn Control> {
    fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError> {
        (**self).send(request)
    }
}

/// The USB of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usb;

impl Enumerate for Usb {
    fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
        let list = nusb::list_devices().wait().map_err(|error| UsbError::List(error.to_string()))?;
        Ok(list.map(|info| describe(&info)).collect())
    }
}

/// The devices as they were a moment ago: many who look for theirs again and again cost no more than one.
#[derive(Debug)]
pub struct Cached<E> {
    bus: E,
    /// A list of this age is old.
    age: Duration,
    last: Mutex<Option<(Instant, Vec<UsbDevice>)>>,
}

impl<E> Cached<E> {
    /// Lists of `bus` that are younger than `age`.
    pub fn new(bus: E, age: Duration) -> Self {
        Self { bus, age, last: Mutex::default() }
    }
}

impl<E: Enumerate> Enumerate for Cached<E> {
    fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
        // Held while the list is made: whoever waits meanwhile gets the same.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, list)) = last.as_ref().filter(|(at, _)| at.elapsed() < self.age) {
            return Ok(list.clone());
        }
        let list = self.bus.devices()?;
        *last = Some((Instant::now(), list.clone()));
        Ok(list)
    }
}

fn describe(info: &nusb::DeviceInfo) -> UsbDevice {
    let chain: Vec<String> = info.port_chain().iter().map(u8::to_string).collect();
    UsbDevice {
        vendor: info.vendor_id(),
        product_id: info.product_id(),
        release: info.device_version(),
        manufacturer: text(info.manufacturer_string()).unwrap_or_default(),
        product: text(info.product_string()).unwrap_or_default(),
        serial: text(info.serial_number()),
        socket: format!("{}-{}", info.bus_id().trim_start_matches('0'), chain.join(".")),
        ports: made_of(info, is_port),
        gpio_chips: made_of(info, is_gpio_chip),
    }
}

/// A descriptor's text, as it may be shown and made part of keys.
fn text(text: Option<&str>) -> Option<String> {
    let kept = |c: &char| !c.is_control();
    text.map(|text| text.trim().chars().filter(kept).take(MAX_TEXT).collect())
}

fn is_port(name: &str) -> bool {
    name.starts_with("tty") && name != "tty"
}

fn is_gpio_chip(name: &str) -> bool {
    name.starts_with("gpiochip")
}

/// What the kernel made of its interfaces and calls so.
#[cfg(target_os = "linux")]
fn made_of(info: &nusb::DeviceInfo, called: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    made_below(info.sysfs_path(), called)
}

#[cfg(not(target_os = "linux"))]
fn made_of(_: &nusb::DeviceInfo, _: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    Vec::new()
}

/// `<device>/<interface>/ttyUSB0` and `gpiochip0`, or `<device>/<interface>/tty/ttyACM0`, in the order of interfaces.
#[cfg(any(target_os = "linux", test))]
fn made_below(device: &std::path::Path, called: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = |folder: &std::path::Path| -> Vec<PathBuf> {
        let list = std::fs::read_dir(folder).into_iter().flatten();
        let mut list: Vec<PathBuf> = list.filter_map(|entry| Some(entry.ok()?.path())).collect();
        list.sort();
        list
    };
    let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let interfaces =
        entries(device).into_iter().filter(|path| name(path).is_some_and(|name| name.contains(':')));
    let made = interfaces.flat_map(|interface| {
        let all = entries(&interface).into_iter().chain(entries(&interface.join("tty")));
        all.filter_map(|path| name(&path).filter(|name| called(name))).collect::<Vec<_>>()
    });
    made.map(|name| PathBuf::from("/dev").join(name)).collect()
}

/// Vendor requests to a device of this machine, opened anew each time, so that it may be unplugged in between.
#[derive(Clone, Debug)]
pub struct UsbControl(pub UsbDevice);

impl Control for UsbControl {
    fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError> {
        let mut list = nusb::list_devices().wait().map_err(|error| UsbError::List(error.to_string()))?;
        let info = list.find(|info| describe(info).is_same(&self.0)).ok_or(UsbError::Gone)?;
        let device = info.open().wait().map_err(|error| UsbError::Request(error.to_string()))?;
        send(&device, request)
    }
}

/// A vendor request needs no interface to be claimed: the kernel's serial driver stays where it is.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn send(device: &nusb::Device, request: &VendorRequest) -> Result<(), UsbError> {
    use nusb::transfer::{ControlOut, ControlType, Recipient};
    let out = ControlOut {
        control_type: ControlType::Vendor,
        recipient: if request.to_interface { Recipient::Interface } else { Recipient::Device },
        request: request.request,
        value: request.value,
        index: request.index,
        data: &request.data,
    };
    device.control_out(out, PATIENCE).wait().map_err(|error| UsbError::Request(error.to_string()))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn send(_: &nusb::Device, _: &VendorRequest) -> Result<(), UsbError> {
    let _ = PATIENCE;
    Err(UsbError::Request("this system lets no requests past its serial driver".to_owned()))
}

#[cfg(test)]
pub(crate) mod mock {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// USB as the test has it.
    pub(crate) struct MockUsb(Mutex<Vec<UsbDevice>>);

    impl MockUsb {
        pub(crate) fn new(devices: impl IntoIterator<Item = UsbDevice>) -> Self {
            Self(Mutex::new(devices.into_iter().collect()))
        }

        pub(crate) fn set(&self, devices: impl IntoIterator<Item = UsbDevice>) {
            *self.0.lock().unwrap() = devices.into_iter().collect();
        }
    }

    impl Enumerate for &MockUsb {
        fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
            (**self).devices()
        }
    }

    impl Enumerate for MockUsb {
        fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
            Ok(self.0.lock().unwrap().clone())
        }
    }

    /// Notes requests.
    #[derive(Clone, Default)]
    pub(crate) struct MockControl(pub(crate) Arc<Mutex<Vec<VendorRequest>>>);

    impl Control for MockControl {
        fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError> {
            self.0.lock().unwrap().push(request.clone());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mock::MockUsb;
    use super::*;

    #[test]
    fn ports_are_found_below_their_interfaces_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path();
        for path in ["1-2:1.2/tty/ttyACM1", "1-2:1.0/tty/ttyACM0", "1-2:1.1/net", "1-2:1.3/ttyUSB4", "power"]
        {
            std::fs::create_dir_all(device.join(path)).unwrap();
        }
        let ports = |device: &std::path::Path| made_below(device, is_port);
        assert_eq!(ports(device), ["/dev/ttyACM0", "/dev/ttyACM1", "/dev/ttyUSB4"].map(PathBuf::from));
        assert!(ports(&device.join("nothing")).is_empty());
    }

    /// As ftdi_sio and the old interface of sysfs lay it out.
    #[test]
    fn gpio_chips_are_found_beside_the_port_under_the_name_of_their_character_device() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path();
        for path in ["1-2:1.0/ttyUSB0/tty/ttyUSB0", "1-2:1.0/gpiochip3", "1-2:1.0/gpio/gpiochip508", "power"]
        {
            std::fs::create_dir_all(device.join(path)).unwrap();
        }
        assert_eq!(made_below(device, is_gpio_chip), [PathBuf::from("/dev/gpiochip3")]);
        assert_eq!(made_below(device, is_port), [PathBuf::from("/dev/ttyUSB0")]);
    }

    #[test]
    fn a_list_serves_all_until_it_is_old() {
        let mock = MockUsb::new([UsbDevice::default()]);
        let old = Cached::new(&mock, Duration::from_secs(3600));
        assert_eq!(old.devices().unwrap().len(), 1);
        mock.set([]);
        assert_eq!(old.devices().unwrap().len(), 1);
        let fresh = Cached::new(&mock, Duration::ZERO);
        assert_eq!(fresh.devices().unwrap().len(), 0);
        mock.set([UsbDevice::default()]);
        assert_eq!(fresh.devices().unwrap().len(), 1);
    }

    #[test]
    fn texts_of_devices_are_bounded_and_clean() {
        assert_eq!(text(Some(" Bit\u{1b}axe\n")).unwrap(), "Bitaxe");
        assert_eq!(text(Some(&"x".repeat(1000))).unwrap().len(), MAX_TEXT);
    }
}
