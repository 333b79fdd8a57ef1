//! Parts of boards that are neither chips nor links: they are spoken to over a bus that the board brings along.

pub mod emc2101;
pub mod gekko;
pub mod pmbus;
pub mod tps546;

use crate::transport::LinkError;

/// An I2C bus. Addresses have 7 bits.
pub trait I2c: Send {
    /// Writes bytes.
    ///
    /// # Errors
    /// Nobody acknowledges, or the bus is out of reach.
    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), BusError>;

    /// Writes bytes, then reads `count` in the same transaction.
    ///
    /// # Errors
    /// Nobody acknowledges, or the bus is out of reach.
    fn write_read(&mut self, address: u8, bytes: &[u8], count: u8) -> Result<Vec<u8>, BusError>;

    /// Writes bytes, then reads `N` in the same transaction.
    ///
    /// # Errors
    /// Nobody acknowledges, or the bus is out of reach.
    fn read<const N: usize>(&mut self, address: u8, register: u8) -> Result<[u8; N], BusError>
    where
        Self: Sized,
    {
        let bytes = self.write_read(address, &[register], N as u8)?;
        bytes.try_into().map_err(|bytes: Vec<u8>| BusError::Length { wanted: N, got: bytes.len() })
    }
}

/// Why a bus did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The link to whoever drives the bus.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No answer in time.
    #[error("no answer within {0} ms")]
    Silent(u128),
    /// It was refused.
    #[error("refused with code {0:#04x}")]
    Refused(u8),
    /// Another number of bytes than was asked for.
    #[error("{got} bytes in place of {wanted}")]
    Length {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that came.
        got: usize,
    },
}

#[cfg(test)]
pub(crate) mod mock {
    use std::collections::BTreeMap;

    use super::*;

    /// A bus whose parts are registers, and which remembers what was done.
    #[derive(Debug, Default)]
    pub(crate) struct MockBus {
        pub(crate) registers: BTreeMap<(u8, u8), Vec<u8>>,
        pub(crate) writes: Vec<(u8, Vec<u8>)>,
        /// Writes that don't take.
        pub(crate) stuck: Option<(u8, u8)>,
    }

    impl I2c for MockBus {
        fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), BusError> {
            self.writes.push((address, bytes.to_vec()));
            let (register, value) = bytes.split_first().unwrap();
            if self.stuck != Some((address, *register)) {
                self.registers.insert((address, *register), value.to_vec());
            }
            Ok(())
        }

        fn write_read(&mut self, address: u8, bytes: &[u8], count: u8) -> Result<Vec<u8>, BusError> {
            let value = self.registers.get(&(address, bytes[0])).ok_or(BusError::Refused(0x10))?;
            Ok(value[..value.len().min(count.into())].to_vec())
        }
    }
}
