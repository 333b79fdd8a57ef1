//! lode: the wiring between pools, the scheduler, backends and reporters. It decides nothing about mining.

pub mod bus;
pub mod cli;
pub mod config;
pub mod event;
pub mod logging;
pub mod pools;
pub mod report;
pub mod settings;
pub mod version;
