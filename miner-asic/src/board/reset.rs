//! Lines that hold chips in reset, behind USB bridges: set by vendor requests, which reach the bridge beside the
//! kernel's serial driver.

use crate::usb::{Control, UsbError, VendorRequest};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::mock::MockControl;

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
}
