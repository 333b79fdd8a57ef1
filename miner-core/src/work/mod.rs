//! Units of work and the search space that they are cut from.

mod space;
mod unit;

pub use space::{Lease, SearchSpace};
pub use unit::{Granularity, NonceRange, VersionRange, WorkUnit};
