//! USB ASICs: chip protocols, boards, transports and discovery.
//!
//! A [`chip`] protocol is sans-IO: bytes and time in, bytes and events out. A board pairs a chain of chips with its
//! transports and with the peripherals that keep it safe.

pub mod backend;
pub mod board;
pub mod chip;
pub mod crc;
pub mod discover;
pub mod drivers;
pub mod guard;
pub mod hotplug;
pub mod peripheral;
pub mod slots;
pub mod transport;
pub mod usb;
