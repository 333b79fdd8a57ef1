//! Rate estimation over exposure time: time is always passed in.
//!
//! A rate is work ÷ the time during which the device *had* work. The clock starts with the first unit and stops when
//! the last one is done, so neither the wait for a first sample nor a pool that is away biases the estimate. Dividing
//! by the time since the first sample instead would count that sample's work without the time that it took.

mod interval;
mod meter;
mod ring;
#[cfg(test)]
mod tests;

pub use meter::Meter;
