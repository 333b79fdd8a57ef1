//! GPIO lines by the kernel's character devices.

use std::path::{Path, PathBuf};

use gpiocdev::Request;
use gpiocdev::line::{Offset, Value};

use super::reset::Gpio;
use crate::usb::UsbError;

/// One line, held from its first use on so that nobody else moves it. Let go of, it keeps its level (ftdi_sio, cp210x).
#[derive(Debug, Default)]
pub struct CharacterDevice(Option<(PathBuf, Offset, Request)>);

impl Gpio for CharacterDevice {
    fn drive(&mut self, chip: &Path, line: u32, high: bool) -> Result<(), UsbError> {
        let value = Value::from(high);
        let driven = match &self.0 {
            Some((of, offset, request)) if of == chip && *offset == line => request.set_value(line, value),
            _ => self.request(chip, line, value),
        };
        driven.map_err(|error| {
            // It may be another chip of the same name by now.
            self.0 = None;
            UsbError::Line(format!("{}: {error}", chip.display()))
        })
    }
}

impl CharacterDevice {
    fn request(&mut self, chip: &Path, line: Offset, value: Value) -> gpiocdev::Result<()> {
        let mut builder = Request::builder();
        let request =
            builder.with_consumer("lode").on_chip(chip).with_line(line).as_output(value).request()?;
        self.0 = Some((chip.to_owned(), line, request));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_gpio_chip_is_an_error() {
        let mut lines = CharacterDevice::default();
        for path in ["/dev/gpiochip-nowhere", "/dev/null", "/tmp"] {
            let error = lines.drive(Path::new(path), 1, true).unwrap_err().to_string();
            assert!(error.starts_with("GPIO line: ") && error.contains(path), "{error}");
        }
        assert!(lines.0.is_none());
    }
}
