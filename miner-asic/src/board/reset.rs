//! Lines that hold chips in reset, behind USB bridges: set by vendor requests, which reach the bridge beside the
//! kernel's serial driver, or where those are refused by the GPIO chip that this driver makes of the bridge's pins.

use std::path::Path;
use std::sync::Arc;

use crate::usb::{Control, Enumerate, UsbControl, UsbDevice, UsbError, VendorRequest};

/// A line that holds chips in reset, and on some boards their power.
pub trait ResetLine: Send {
    /// Lets the chips run, or stops them.
    ///
    /// # Errors
    /// The bridge is gone, or refuses.
    fn set(&mut self, released: bool) -> Result<(), UsbError>;
}

/// CBUS1 of an FT-X: bit-bang mode with that pin as an output.
pub struct FtdiCbus<C>(pub C);

impl<C: Control> ResetLine for FtdiCbus<C> {
    fn set(&mut self, released: bool) -> Result<(), UsbError> {
        let value = if released { 0x20f2 } else { 0x20f0 };
        let request = VendorRequest { to_interface: false, request: 0x0b, value, index: 0, data: Vec::new() };
        self.0.send(&request)
    }
}

/// The latch of a CP2105's first interface: three lines, low when the chips run.
pub struct Cp2105Latch<C>(pub C);

impl<C: Control> ResetLine for Cp2105Latch<C> {
    fn set(&mut self, released: bool) -> Result<(), UsbError> {
        const LINES: u8 = 0x07;
        let state = if released { 0x00 } else { LINES };
        let data = vec![LINES, state];
        self.0.send(&VendorRequest { to_interface: true, request: 0xff, value: 0x37e1, index: 0, data })
    }
}

/// Drives lines of GPIO chips.
pub trait Gpio: Send {
    /// Makes a line of a chip like `/dev/gpiochip0` an output of this level.
    ///
    /// # Errors
    /// There is no such chip or line, somebody else has it, or it is not ours to use.
    fn drive(&mut self, chip: &Path, line: u32, high: bool) -> Result<(), UsbError>;
}

/// CBUS1 of an FT-X as the kernel's serial driver offers it, if the bridge's memory says that the pin is for such use. The
/// other pins, which the vendor requests drive low, become inputs.
pub struct CbusGpio<G> {
    bus: Arc<dyn Enumerate>,
    device: UsbDevice,
    gpio: G,
}

impl<G: Gpio> CbusGpio<G> {
    /// The line of this device, wherever it is plugged in.
    pub fn new(bus: Arc<dyn Enumerate>, device: UsbDevice, gpio: G) -> Self {
        Self { bus, device, gpio }
    }
}

impl<G: Gpio> ResetLine for CbusGpio<G> {
    fn set(&mut self, released: bool) -> Result<(), UsbError> {
        const CBUS1: u32 = 1;
        let devices = self.bus.devices()?;
        let device = devices.iter().find(|device| device.is_same(&self.device)).ok_or(UsbError::Gone)?;
        match &device.gpio_chips[..] {
            [chip] => self.gpio.drive(chip, CBUS1, released),
            chips => Err(UsbError::Line(format!("{} chips in place of 1", chips.len()))),
        }
    }
}

/// A line that can be reached in two ways: the second serves where the first fails.
pub struct Either<A, B>(pub A, pub B);

impl<A: ResetLine, B: ResetLine> ResetLine for Either<A, B> {
    fn set(&mut self, released: bool) -> Result<(), UsbError> {
        self.0.set(released).or_else(|error| self.1.set(released).map_err(|_| error))
    }
}

/// CBUS1 of a bridge of this machine, in all ways that the system has.
pub fn cbus1(device: UsbDevice) -> Box<dyn ResetLine> {
    let requests = FtdiCbus(UsbControl(device.clone()));
    #[cfg(target_os = "linux")]
    {
        let gpio = CbusGpio::new(Arc::new(crate::usb::Usb), device, super::gpio::CharacterDevice::default());
        Box::new(Either(requests, gpio))
    }
    #[cfg(not(target_os = "linux"))]
    Box::new(requests)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::usb::mock::{MockControl, MockUsb};

    #[test]
    fn requests_are_those_that_the_bridges_know() {
        let control = MockControl::default();
        let mut cbus = FtdiCbus(control.clone());
        cbus.set(true).unwrap();
        cbus.set(false).unwrap();
        let mut latch = Cp2105Latch(control.clone());
        latch.set(true).unwrap();
        latch.set(false).unwrap();
        let request = |to_interface, request, value, data: &[u8]| VendorRequest {
            to_interface,
            request,
            value,
            index: 0,
            data: data.to_vec(),
        };
        let wanted = [
            request(false, 0x0b, 0x20f2, &[]),
            request(false, 0x0b, 0x20f0, &[]),
            request(true, 0xff, 0x37e1, &[0x07, 0x00]),
            request(true, 0xff, 0x37e1, &[0x07, 0x07]),
        ];
        assert_eq!(control.0.lock().unwrap()[..], wanted);
    }

    /// Notes what is driven.
    #[derive(Default)]
    struct Lines(Vec<(PathBuf, u32, bool)>);

    impl Gpio for Lines {
        fn drive(&mut self, chip: &Path, line: u32, high: bool) -> Result<(), UsbError> {
            self.0.push((chip.to_owned(), line, high));
            Ok(())
        }
    }

    struct Refuses;

    impl Control for Refuses {
        fn send(&mut self, _: &VendorRequest) -> Result<(), UsbError> {
            Err(UsbError::Request("permission denied".to_owned()))
        }
    }

    fn stick(gpio_chips: &[&str]) -> UsbDevice {
        let gpio_chips = gpio_chips.iter().map(PathBuf::from).collect();
        UsbDevice { serial: Some("F1".to_owned()), gpio_chips, ..UsbDevice::default() }
    }

    #[test]
    fn the_gpio_chip_of_the_same_device_serves_where_requests_are_refused() {
        let other = UsbDevice { serial: Some("F2".to_owned()), ..stick(&["/dev/gpiochip8"]) };
        let usb = Arc::new(MockUsb::new([other.clone(), stick(&["/dev/gpiochip7"])]));
        let gpio = CbusGpio::new(Arc::clone(&usb) as _, stick(&[]), Lines::default());
        let mut line = Either(FtdiCbus(Refuses), gpio);
        line.set(true).unwrap();
        line.set(false).unwrap();
        // It was plugged in again.
        usb.set([other, stick(&["/dev/gpiochip9"])]);
        line.set(true).unwrap();
        let driven = [("/dev/gpiochip7", true), ("/dev/gpiochip7", false), ("/dev/gpiochip9", true)];
        assert_eq!(line.1.gpio.0, driven.map(|(chip, high)| (chip.into(), 1, high)));
        // What stands in the way of the first is what can be helped.
        usb.set([stick(&[])]);
        assert_eq!(line.set(true).unwrap_err().to_string(), "USB request refused: permission denied");
        assert_eq!(line.1.set(true).unwrap_err().to_string(), "GPIO line: 0 chips in place of 1");
        usb.set([]);
        assert!(matches!(line.1.set(true), Err(UsbError::Gone)));
    }

    #[test]
    fn gpio_chips_are_left_alone_while_requests_go_through() {
        let usb = Arc::new(MockUsb::new([stick(&["/dev/gpiochip7"])]));
        let control = MockControl::default();
        let gpio = CbusGpio::new(usb, stick(&[]), Lines::default());
        let mut line = Either(FtdiCbus(control.clone()), gpio);
        line.set(true).unwrap();
        assert_eq!((control.0.lock().unwrap().len(), line.1.gpio.0.len()), (1, 0));
    }
}
