//! One request at a time over a link, each answered within a second.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Format, NO_ID, Request};
use crate::peripheral::{BusError, I2c};
use crate::transport::Link;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The management port of a board.
pub struct Bridge {
    link: Arc<dyn Link>,
    format: Format,
    next_id: u8,
    patience: Duration,
}

impl Bridge {
    /// A board behind this link that answers in this format.
    pub fn new(link: Arc<dyn Link>, format: Format) -> Self {
        Self { link, format, next_id: 0, patience: PATIENCE }
    }

    /// Asks, and waits for the answer.
    ///
    /// A request is written at once, as the firmware discards one whose bytes stall, and none is sent before the last
    /// was answered.
    ///
    /// # Errors
    /// The link, a refusal, or silence.
    pub fn ask(&mut self, request: &Request) -> Result<Vec<u8>, BusError> {
        let id = self.next_id;
        self.next_id = (id + 1) % NO_ID;
        self.link.write(&request.encode(id))?;
        let mut answer = Answer::new(self.format, request, id);
        let until = self.link.now() + self.patience;
        let mut buffer = [0; 256];
        while self.link.now() < until {
            let count = self.link.read(&mut buffer)?;
            if let Some(result) = answer.push(buffer.get(..count).unwrap_or_default()) {
                return result;
            }
        }
        Err(BusError::Silent(self.patience.as_millis()))
    }

    /// Sets a pin, which the firmware repeats.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn set_pin(&mut self, pin: u8, level: bool) -> Result<(), BusError> {
        self.ask(&Request::Pin(pin, level)).map(drop)
    }
}

impl I2c for Bridge {
    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), BusError> {
        self.ask(&Request::I2cWrite(address, bytes.to_vec())).map(drop)
    }

    fn write_read(&mut self, address: u8, bytes: &[u8], count: u8) -> Result<Vec<u8>, BusError> {
        self.ask(&Request::I2cWriteRead(address, bytes.to_vec(), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::mock::{Done, MockLink};

    #[test]
    fn requests_go_out_whole_and_in_turn() {
        let link = Arc::new(MockLink::new(|request| {
            let id = request[2];
            if request[4] == 0x06 { vec![1, 0, id, request[6]] } else { vec![0, 0, id] }
        }));
        let mut bridge = Bridge::new(Arc::clone(&link) as _, Format::V0);
        bridge.set_pin(0, false).unwrap();
        bridge.write(0x4c, &[0x4c, 63]).unwrap();
        let wrote = |bytes: &str| Done::Wrote(hex::decode(bytes).unwrap());
        assert_eq!(link.done(), [wrote("07000000060000"), wrote("0900010005204c4c3f")]);
    }

    #[test]
    fn silence_is_noticed() {
        let mut bridge = Bridge::new(Arc::new(MockLink::new(|_| Vec::new())), Format::V0);
        bridge.patience = Duration::from_millis(3);
        assert!(matches!(bridge.set_pin(0, true), Err(BusError::Silent(3))));
    }
}
