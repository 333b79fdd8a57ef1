//! lode: the wiring between pools, the scheduler, backends and reporters. It decides nothing about mining.

pub mod asic;
pub mod backends;
pub mod bench;
pub mod bus;
pub mod cli;
pub mod config;
pub mod cpu;
pub mod devices;
pub mod driver;
pub mod event;
pub mod explain;
pub mod gpu;
#[cfg(all(debug_assertions, feature = "asic"))]
mod hooks;
pub mod logging;
pub mod machine;
pub mod mine;
pub mod overseer;
pub mod pool_server;
pub mod pools;
pub mod practice;
pub mod report;
pub mod settings;
pub mod signals;
pub mod version;
