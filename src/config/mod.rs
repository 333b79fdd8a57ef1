//! From flags, environment, file and defaults to [`crate::settings`]: merged, checked, and each with its origin.

mod asics;
mod check;
mod devices;
mod env;
mod error;
mod file;
mod layers;
mod origin;
mod pools;
mod resolve;
mod setting;
mod value;

#[cfg(test)]
mod tests;

pub use check::print;
pub use env::Surroundings;
pub use error::{ConfigError, Notice};
pub use file::parse;
pub use layers::Fact;
pub use origin::{ConfigText, Origin, Spot, shown, without_credentials};
pub use resolve::{Resolved, bench, mine, pool_server};
pub use setting::{ALL, Section, Setting};
pub use value::ValueError;

/// A file with every key, each explained: what `lode config example` prints.
pub const EXAMPLE: &str = include_str!("example.toml");
